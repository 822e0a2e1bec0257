/* SPDX-License-Identifier: Apache-2.0
 *
 * networks: which class an address is in: the networks of all classes, from the
 * configuration and from files, in one table of prefixes. Files are read when the
 * configuration is, and again when they change: every LOOK_NS one of the requests
 * that ask for a class looks at all of them. No thread, and nobody waits for a
 * file but the request that reads it. A file that cannot be understood changes
 * nothing.
 *
 * Who locks: a reader/writer lock around the pointer to the table. Who asks holds
 * it for one search in memory (18 steps), who exchanges tables for one
 * assignment; when he has had it nobody reads the old table any more, and its pool
 * can go. (Without it that moment would not be known: a search leaves no trace.)
 * Everything else of a file belongs to the one thread that has set `looking`.
 * Pools: what a child reads has pools of its own with an allocator of their own,
 * since no pool may be used by two threads.
 */
#include "xl_networks.h"

#include "xl_classes.h"
#include "xl_commands.h"
#include "xl_segment.h"
#include "xl_siphash.h"
#include "xl_told.h"

#include "apr_strings.h"
#include "apr_thread_rwlock.h"
#include "http_core.h"
#include "http_log.h"

#include <stdatomic.h>

APLOG_USE_MODULE(xlimit);

#define LOOK_NS (2 * XL_NS_PER_S)

typedef struct {
    apr_pool_t *pool;
    xl_prefix_table_t prefixes;
} table_t;

static apr_array_header_t *written; /* of xl_prefix_entry_t: XLimitNetwork */
static apr_array_header_t *sources; /* of const char *: files, by the `source` of an entry */
static apr_array_header_t *files;   /* of xl_network_file_t * */
static table_t *table;              /* behind `lock`, where there is one */

static apr_thread_rwlock_t *lock; /* NULL: no file, or not a child: the table stays */
static atomic_bool looking;
static _Atomic uint64_t next_look_ns;
static server_rec *server; /* whose log */

void xl_networks_reset(apr_pool_t *pconf)
{
    written = apr_array_make(pconf, 16, sizeof(xl_prefix_entry_t));
    sources = apr_array_make(pconf, 4, sizeof(const char *));
    files = apr_array_make(pconf, 4, sizeof(xl_network_file_t *));
    table = NULL;
    lock = NULL;
}

static xl_network_file_t *file_at(int i)
{
    return APR_ARRAY_IDX(files, i, xl_network_file_t *);
}

static uint32_t source_of(const char *path)
{
    int i;

    for (i = sources->nelts; i; i--)
        if (!strcmp(APR_ARRAY_IDX(sources, i - 1, const char *), path))
            return (uint32_t)i - 1;
    APR_ARRAY_PUSH(sources, const char *) = path;
    return (uint32_t)sources->nelts - 1;
}

const char *xl_networks_add(const cmd_parms *cmd, uint32_t id, const char *text)
{
    xl_prefix_entry_t entry = {.value = id, .line = (uint32_t)cmd->directive->line_num};
    const char *fault = xl_prefix_parse(text, &entry.prefix);

    if (fault)
        return xl_command_error(cmd, "\"%s\" is no network: %s", text, fault);
    entry.source = source_of(cmd->directive->filename);
    APR_ARRAY_PUSH(written, xl_prefix_entry_t) = entry;
    return NULL;
}

const char *xl_networks_add_file(const cmd_parms *cmd, uint32_t id, const char *path)
{
    xl_network_file_t *file = apr_pcalloc(cmd->pool, sizeof(*file));
    const char *fault;

    file->id = id;
    file->path = *path ? ap_server_root_relative(cmd->pool, path) : NULL;
    if (!file->path)
        return xl_command_error(cmd, "\"%s\" is not a file's path", path);
    fault = xl_network_file_look(cmd->pool, file->path, &file->stamp);
    if (fault)
        return xl_command_error(cmd, "%s cannot be read: %s; right would be a file with one network on each line",
                                file->path, fault);
    file->source = source_of(file->path);
    fault = xl_network_file_read(cmd->pool, file, &file->list);
    if (fault)
        return xl_command_error(cmd, "%s, %s", file->path, fault);
    file->n = file->list.n;
    APR_ARRAY_PUSH(files, xl_network_file_t *) = file;
    return NULL;
}

/* ---- the table of all ---- */

/* What is in force, or will be, sorted. */
static void merge(apr_pool_t *p, xl_networks_t *all)
{
    size_t n = (size_t)written->nelts;
    int i;

    for (i = 0; i < files->nelts; i++)
        n += file_at(i)->fresh.pool ? file_at(i)->fresh.n : file_at(i)->list.n;
    all->entries = apr_palloc(p, (n + 1) * sizeof(*all->entries));
    all->n = (size_t)written->nelts;
    memcpy(all->entries, written->elts, all->n * sizeof(*all->entries));
    for (i = 0; i < files->nelts; i++) {
        const xl_networks_t *list = file_at(i)->fresh.pool ? &file_at(i)->fresh : &file_at(i)->list;

        if (list->n)
            memcpy(all->entries + all->n, list->entries, list->n * sizeof(*list->entries));
        all->n += list->n;
    }
    xl_prefix_sort(all->entries, all->n);
}

/* The next entry from *at on that is in another class than the one before it,
 * which is the same network; NULL: there is none. */
static const xl_prefix_entry_t *contradiction(const xl_networks_t *all, size_t *at)
{
    for (; *at < all->n; ++*at) {
        const xl_prefix_entry_t *entry = &all->entries[*at];

        if (*at && entry->value != entry[-1].value && xl_prefix_same(&entry->prefix, &entry[-1].prefix))
            return entry;
    }
    return NULL;
}

static const char *contradiction_text(apr_pool_t *p, const xl_prefix_entry_t *entry)
{
    const xl_prefix_entry_t *before = entry - 1;
    char buf[XL_PREFIX_TEXT];

    return apr_psprintf(p, "the network %s is in the class \"%s\" and, on line %u of %s, in the class \"%s\"; right "
                        "would be one of them", xl_prefix_print(buf, &entry->prefix), xl_class_name(entry->value),
                        (unsigned)before->line, APR_ARRAY_IDX(sources, (int)before->source, const char *),
                        xl_class_name(before->value));
}

static table_t *make_table(apr_pool_t *p, apr_pool_t *own, const xl_networks_t *all)
{
    table_t *made = apr_pcalloc(p, sizeof(*made));
    size_t size = xl_prefix_table_size(all->n);

    made->pool = own;
    xl_prefix_table_make(&made->prefixes, all->entries, all->n, apr_palloc(p, size), size);
    return made;
}

int xl_networks_check(apr_pool_t *pconf, apr_pool_t *ptemp)
{
    const xl_prefix_entry_t *entry;
    int result = OK;
    size_t at = 0;
    xl_networks_t all;

    merge(ptemp, &all);
    for (; (entry = contradiction(&all, &at)) != NULL; at++) {
        ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_ERR, 0, NULL,
                     "xlimit(112): Syntax error on line %u of %s: %s", (unsigned)entry->line,
                     APR_ARRAY_IDX(sources, (int)entry->source, const char *), contradiction_text(ptemp, entry));
        result = HTTP_INTERNAL_SERVER_ERROR;
    }
    table = make_table(pconf, NULL, &all);
    return result;
}

/* ---- what is told ---- */

/* Whether this child is the first to see it. */
static bool is_news(apr_pool_t *p, const xl_network_file_t *file, const char *what)
{
    static const uint8_t key[16];
    const xl_stamp_t *stamp = &file->stamp;
    const char *text = apr_psprintf(p, "%s\n%s\n%" APR_INT64_T_FMT " %" APR_INT64_T_FMT " %" APR_INT64_T_FMT
                                    " %" APR_UINT64_T_FMT, file->path, what, stamp->mtime, stamp->ctime,
                                    (apr_int64_t)stamp->size, (apr_uint64_t)stamp->inode);
    uint64_t id[2];

    xl_siphash128(key, text, strlen(text), id);
    return atomic_exchange(xl_told_file(file->source), id[0]) != id[0];
}

static void tell_not_taken(apr_pool_t *p, const xl_network_file_t *file, const char *why)
{
    if (is_news(p, file, why))
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, server, "xlimit(542): the networks of %s are not taken over, those read "
                     "before stay in force: %s", file->path, why);
}

static void tell_gone(apr_pool_t *p, const xl_network_file_t *file, const char *why)
{
    if (is_news(p, file, why))
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, server, "xlimit(543): %s is no longer there, the networks read from it "
                     "stay in force: %s", file->path, why);
}

static void tell_taken(apr_pool_t *p, const xl_network_file_t *file)
{
    if (is_news(p, file, ""))
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, server, "xlimit(544): %s was read again: %" APR_SIZE_T_FMT
                     " networks of the class \"%s\"", file->path, file->list.n, xl_class_name(file->id));
}

/* ---- reading again, by one thread at a time ---- */

static apr_pool_t *own_pool(void)
{
    apr_pool_t *pool = NULL;

    return apr_pool_create_unmanaged_ex(&pool, NULL, NULL) == APR_SUCCESS ? pool : NULL;
}

static void drop(xl_networks_t *list)
{
    if (list->pool)
        apr_pool_destroy(list->pool);
    *list = (xl_networks_t){0};
}

/* Whether any file is another one than at the last look. */
static bool see_changes(apr_pool_t *p)
{
    bool any = false;
    int i;

    for (i = 0; i < files->nelts; i++) {
        xl_network_file_t *file = file_at(i);
        xl_stamp_t before = file->stamp;
        const char *fault = xl_network_file_look(p, file->path, &file->stamp);

        if (fault && before.there)
            tell_gone(p, file, fault);
        file->changed = !fault && !xl_network_file_same(&before, &file->stamp);
        any = any || file->changed;
    }
    return any;
}

static bool read_fresh(apr_pool_t *p, xl_network_file_t *file)
{
    xl_networks_t fresh = {.pool = own_pool()};
    const char *fault = fresh.pool ? xl_network_file_read(fresh.pool, file, &fresh) : "there is no memory";

    file->at_odds = false;
    if (fault) {
        tell_not_taken(p, file, fault);
        drop(&fresh);
        return false;
    }
    file->fresh = fresh;
    return true;
}

static bool read_changed(apr_pool_t *p)
{
    bool any = false;
    int i;

    for (i = 0; i < files->nelts; i++)
        if (file_at(i)->changed || (file_at(i)->at_odds && file_at(i)->stamp.there))
            any = read_fresh(p, file_at(i)) || any;
    return any;
}

static void refuse_fresh(apr_pool_t *p, const char *why)
{
    int i;

    for (i = 0; i < files->nelts; i++) {
        xl_network_file_t *file = file_at(i);

        if (!file->fresh.pool)
            continue;
        tell_not_taken(p, file, why);
        file->at_odds = true;
        drop(&file->fresh);
    }
}

static void take_fresh(apr_pool_t *p)
{
    int i;

    for (i = 0; i < files->nelts; i++) {
        xl_network_file_t *file = file_at(i);

        if (!file->fresh.pool)
            continue;
        drop(&file->list);
        file->list = file->fresh;
        file->fresh = (xl_networks_t){0};
        atomic_store(&file->n, file->list.n);
        tell_taken(p, file);
    }
}

static void exchange(table_t *fresh)
{
    table_t *old;

    if (apr_thread_rwlock_wrlock(lock) != APR_SUCCESS)
        return;
    old = table;
    table = fresh;
    apr_thread_rwlock_unlock(lock);
    if (old->pool)
        apr_pool_destroy(old->pool);
}

static void look_again(apr_pool_t *p)
{
    const xl_prefix_entry_t *entry;
    apr_pool_t *own;
    size_t at = 0;
    xl_networks_t all;

    if (!see_changes(p) || !read_changed(p))
        return;
    merge(p, &all);
    entry = contradiction(&all, &at);
    own = entry ? NULL : own_pool();
    if (!own) {
        refuse_fresh(p, entry ? apr_psprintf(p, "on line %u of %s, %s", (unsigned)entry->line,
                                             APR_ARRAY_IDX(sources, (int)entry->source, const char *),
                                             contradiction_text(p, entry)) : "there is no memory");
        return;
    }
    exchange(make_table(own, own, &all));
    take_fresh(p);
}

/* Who comes while another one looks goes on with what there is. */
static void look_when_due(void)
{
    uint64_t now_ns = xl_now().mono_ns, due_ns = atomic_load_explicit(&next_look_ns, memory_order_relaxed);
    apr_pool_t *p;

    if (now_ns < due_ns || atomic_exchange(&looking, true))
        return;
    p = now_ns >= atomic_load(&next_look_ns) ? own_pool() : NULL;
    if (p) {
        atomic_store(&next_look_ns, now_ns + LOOK_NS);
        look_again(p);
        apr_pool_destroy(p);
    }
    atomic_store(&looking, false);
}

/* ---- at a request ---- */

void xl_networks_child(apr_pool_t *pchild, server_rec *s)
{
    apr_status_t rv;

    server = s;
    if (!files->nelts)
        return;
    atomic_store(&next_look_ns, xl_now().mono_ns);
    rv = apr_thread_rwlock_create(&lock, pchild);
    if (rv == APR_SUCCESS)
        return;
    lock = NULL;
    ap_log_error(APLOG_MARK, APLOG_ERR, rv, s, "xlimit(545): no lock for the networks of classes in this child: it "
                 "does not read the files again");
}

uint32_t xl_networks_find(xl_address_t address)
{
    uint32_t id;

    if (!lock)
        return table ? xl_prefix_find(&table->prefixes, address) : XL_PREFIX_NONE;
    look_when_due();
    if (apr_thread_rwlock_rdlock(lock) != APR_SUCCESS)
        return XL_PREFIX_NONE;
    id = xl_prefix_find(&table->prefixes, address);
    apr_thread_rwlock_unlock(lock);
    return id;
}

/* ---- for who shows it ---- */

const apr_array_header_t *xl_networks_written(void)
{
    return written;
}

const char *xl_networks_file(uint32_t id, size_t i)
{
    int j;

    for (j = 0; j < files->nelts; j++)
        if (file_at(j)->id == id && !i--)
            return file_at(j)->path;
    return NULL;
}

size_t xl_networks_count(uint32_t id)
{
    size_t n = 0;
    int i;

    for (i = 0; i < written->nelts; i++)
        n += APR_ARRAY_IDX(written, i, xl_prefix_entry_t).value == id;
    for (i = 0; i < files->nelts; i++)
        n += file_at(i)->id == id ? atomic_load(&file_at(i)->n) : 0;
    return n;
}
