/* SPDX-License-Identifier: Apache-2.0
 *
 * segment: which ledger this server counts in, and its life from start to
 * start: opening, growing, rebuilding, generations, the rows of children.
 * Never counts anything itself, never looks into a request.
 * Who locks: the global mutex guards structure (entries, rows), never counting,
 * and is never held over I/O or logging. After the start the parent only tries
 * it: a child that is stopped while it holds it does not stop the parent. Orphans of
 * another server have another mutex; a word of the ledger keeps the two apart.
 * Invariants: what outlives a configuration is in xl_segment_t, allocated once
 * from the process's pool; everything of one configuration is in pconf.
 */
#include "xl_segment.h"

#include "xl_conn.h"
#include "xl_segment_start.h"
#include "xl_told.h"

#include "apr_strings.h"
#include "apr_time.h"
#include "http_core.h"
#include "http_log.h"
#include "util_mutex.h"

#include <errno.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

APLOG_USE_MODULE(xlimit);

#define RETAINED_KEY "mod_xlimit-segment-2" /* of the layout of xl_segment_t */

static xl_segment_t *segment;
static uint32_t own_row = XL_NO_ROW;

apr_status_t xl_segment_register(apr_pool_t *pconf)
{
    return ap_mutex_register(pconf, XL_MUTEX_TYPE, NULL, APR_LOCK_DEFAULT, 0);
}

xl_now_t xl_now(void)
{
    struct timespec mono;

    clock_gettime(CLOCK_MONOTONIC, &mono);
    return (xl_now_t){ .wall_ms = apr_time_as_msec(apr_time_now()),
                       .mono_ns = (uint64_t)mono.tv_sec * XL_NS_PER_S + (uint64_t)mono.tv_nsec };
}

/* ---- the lock ---- */

#define OTHERS_ATTEMPTS 200 /* to wait for orphans, whose mutex is another one; */
#define OTHERS_PAUSE_US 5000

static bool nobody_lives(uint32_t pid)
{
    (void)pid;
    return false;
}

/* An orphan changes something once in a while, and for microseconds. Who is stopped
 * in the middle of that is not waited for any longer. */
static apr_status_t lock_structure(void)
{
    apr_status_t rv = apr_global_mutex_lock(segment->mutex);
    unsigned attempts = 0;

    while (rv == APR_SUCCESS
           && !xl_ledger_take(&segment->ledger, (uint32_t)getpid(),
                              attempts < OTHERS_ATTEMPTS ? xl_segment_process_exists : nobody_lives)) {
        usleep(OTHERS_PAUSE_US);
        attempts++;
    }
    return rv;
}

static bool try_structure(void)
{
    if (apr_global_mutex_trylock(segment->mutex) != APR_SUCCESS)
        return false;
    if (xl_ledger_take(&segment->ledger, (uint32_t)getpid(), xl_segment_process_exists))
        return true;
    apr_global_mutex_unlock(segment->mutex);
    return false;
}

static void unlock_structure(void)
{
    xl_ledger_leave(&segment->ledger);
    apr_global_mutex_unlock(segment->mutex);
}

/* ---- who has an entry ---- */

static xl_entry_e kind_of(const xl_limit_t *limit)
{
    static const xl_entry_e kinds[XL_DIMS] = {
        [XL_DIM_QUOTA] = XL_ENTRY_QUOTA,
        [XL_DIM_BANDWIDTH] = XL_ENTRY_BANDWIDTH,
        [XL_DIM_UPLOAD] = XL_ENTRY_UPLOAD,
        [XL_DIM_REQUESTS] = XL_ENTRY_REQUESTS,
        [XL_DIM_CONNECTIONS] = XL_ENTRY_CONNECTIONS,
        [XL_DIM_PENALTY] = XL_ENTRY_PENALTY,
        [XL_DIM_BLOCK] = XL_ENTRY_BLOCK,
    };

    return kinds[limit->dimension];
}

static bool has_entry(const xl_limit_t *limit)
{
    return limit->key != XL_KEY_SESSION && limit->mode != XL_MODE_OFF;
}

/* One counter for several servers; it stands in the main one, the first of all. */
static bool is_shared(const xl_limit_t *limit)
{
    return limit->scope_server || limit->account;
}

static const char *vhost_of(const xl_limit_t *limit, const server_rec *s)
{
    return is_shared(limit) ? "*" : xl_config_server(s)->identity;
}

/* A wish for an entry: who it is, and where its index goes. */
typedef struct {
    xl_entry_e kind;
    const char *vhost, *place, *name;
    uint32_t *index;
} wish_t;

static void wish_for(apr_array_header_t *wishes, xl_entry_e kind, const char *vhost, const char *place,
                     const char *name, uint32_t *index)
{
    *index = XL_NO_ENTRY;
    APR_ARRAY_PUSH(wishes, wish_t) = (wish_t){ kind, vhost, place, name, index };
}

static void wish_for_limit(apr_array_header_t *wishes, const xl_registered_t *r, server_rec *main_server,
                           uint32_t servers, apr_pool_t *pconf)
{
    xl_limit_t *limit = r->limit;
    server_rec *s;
    uint32_t i;

    limit->entries = apr_palloc(pconf, servers * sizeof(*limit->entries));
    for (i = 0; i < servers; i++)
        limit->entries[i] = XL_NO_ENTRY;
    for (s = main_server; s; s = s->next) {
        if (r->server != main_server && r->server != s)
            continue;
        wish_for(wishes, kind_of(limit), vhost_of(limit, s), limit->place, limit->name,
                 &limit->entries[xl_config_server(s)->index]);
        if (is_shared(limit))
            return;
    }
}

static apr_array_header_t *collect_wishes(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *main_server)
{
    const apr_array_header_t *registry = xl_config_registry();
    apr_array_header_t *wishes = apr_array_make(ptemp, 64, sizeof(wish_t));
    uint32_t servers = 0;
    server_rec *s;
    int i;

    for (s = main_server; s; s = s->next, servers++)
        wish_for(wishes, XL_ENTRY_SCOPE, xl_config_server(s)->identity, "", "", &xl_config_server(s)->entry);
    for (i = 0; i < registry->nelts; i++) {
        const xl_registered_t *r = &APR_ARRAY_IDX(registry, i, xl_registered_t);

        if (has_entry(r->limit))
            wish_for_limit(wishes, r, main_server, servers, pconf);
    }
    return wishes;
}

/* What no live generation names: old children may still count into the rest. */
static uint64_t oldest_live(void)
{
    uint64_t oldest = xl_ledger_oldest(&segment->ledger);

    return oldest < segment->generation ? oldest : segment->generation - (segment->warm ? 1 : 0);
}

/* First everything that is there is marked as wanted, then the rest attached:
 * otherwise a full ledger would give a counter away that comes later in the
 * configuration. Returns how many found no room. Mutex held. */
static unsigned grant_wishes(const apr_array_header_t *wishes)
{
    uint64_t oldest = oldest_live(), id[2];
    unsigned refused = 0;
    int i;

    for (i = 0; i < wishes->nelts; i++) {
        const wish_t *w = &APR_ARRAY_IDX(wishes, i, wish_t);

        xl_ledger_id(w->kind, w->vhost, w->place, w->name, id);
        *w->index = xl_ledger_find(&segment->ledger, id);
        if (*w->index != XL_NO_ENTRY)
            atomic_store(&xl_ledger_entry(&segment->ledger, *w->index)->generation, segment->generation);
    }
    for (i = 0; i < wishes->nelts; i++) {
        const wish_t *w = &APR_ARRAY_IDX(wishes, i, wish_t);

        if (*w->index == XL_NO_ENTRY)
            *w->index = xl_ledger_attach(&segment->ledger, w->kind, w->vhost, w->place, w->name, segment->generation,
                                         oldest);
        refused += *w->index == XL_NO_ENTRY;
    }
    return refused;
}

/* ---- start ---- */

/* fcntl and flock hand over unfairly, and each takes an open file for each of the
 * mutexes: who does not wait long for them can live with that. */
static void warn_of_mechanism(apr_global_mutex_t *mutex, server_rec *s)
{
    apr_lockmech_e mechanism = apr_global_mutex_mech(mutex);

    if (mechanism == APR_LOCK_FCNTL || mechanism == APR_LOCK_FLOCK)
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, "xlimit(209): the mutex is of the mechanism \"%s\", which lets one "
                     "process wait while others go by; better would be \"Mutex pthread " XL_MUTEX_TYPE "\" or sysvsem",
                     apr_global_mutex_name(mutex));
}

/* A holder that is killed leaves a POSIX semaphore taken for ever. */
static bool mutex_create(apr_global_mutex_t **mutex, apr_pool_t *p, server_rec *s)
{
    apr_status_t rv = ap_global_mutex_create(mutex, NULL, XL_MUTEX_TYPE, NULL, s, p, 0);

    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, rv, s, "xlimit(201): the mutex cannot be had; see the Mutex directive, "
                     "type " XL_MUTEX_TYPE);
        return false;
    }
    if (apr_global_mutex_mech(*mutex) == APR_LOCK_POSIXSEM) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s, "xlimit(202): \"Mutex posixsem\" would stop the server when a "
                     "process is killed that holds it; choose another mechanism for " XL_MUTEX_TYPE ", e.g. pthread");
        return false;
    }
    return true;
}

static bool open_cold(apr_pool_t *ptemp, server_rec *s, const xl_segment_need_t *need)
{
    if (!segment->mutex) {
        if (!mutex_create(&segment->mutex, s->process->pool, s))
            return false;
        warn_of_mechanism(segment->mutex, s);
    }
    return xl_segment_start(segment, need, ptemp, s);
}

static void warn_of_changes(server_rec *s, const xl_segment_need_t *need)
{
    if (strcmp(segment->path, need->path))
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, "xlimit(203): XLimitStateFile is now %s, but counters stay in %s "
                     "until the server is stopped and started", need->path, segment->path);
}

int xl_segment_look(apr_pool_t *ptemp, server_rec *main_server)
{
    uint32_t entries = (uint32_t)collect_wishes(ptemp, ptemp, main_server)->nelts;
    apr_global_mutex_t *probe;
    xl_segment_need_t need;

    return mutex_create(&probe, ptemp, main_server)
                   && xl_segment_need(&need, xl_config_server(main_server)->engine, entries, main_server)
                   && xl_segment_foresee(&need, ptemp, main_server)
               ? OK
               : HTTP_INTERNAL_SERVER_ERROR;
}

int xl_segment_open(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *main_server)
{
    apr_array_header_t *wishes = collect_wishes(pconf, ptemp, main_server);
    xl_segment_need_t need;
    unsigned refused;
    apr_status_t rv;

    segment = ap_retained_data_get(RETAINED_KEY);
    if (!segment)
        segment = ap_retained_data_create(RETAINED_KEY, sizeof(*segment));
    segment->warm = segment->ledger.base != NULL;
    if (!xl_segment_need(&need, xl_config_server(main_server)->engine, (uint32_t)wishes->nelts, main_server))
        return HTTP_INTERNAL_SERVER_ERROR;
    if (segment->warm)
        warn_of_changes(main_server, &need);
    if (segment->warm ? !xl_segment_grow(segment, &need, ptemp, main_server) : !open_cold(ptemp, main_server, &need))
        return HTTP_INTERNAL_SERVER_ERROR;

    rv = lock_structure();
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, rv, main_server, "xlimit(204): the mutex cannot be locked");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    segment->generation = 1 + (segment->generation > xl_ledger_newest(&segment->ledger)
                                   ? segment->generation : xl_ledger_newest(&segment->ledger));
    refused = grant_wishes(wishes);
    unlock_structure();
    if (!refused)
        return OK;
    ap_log_error(APLOG_MARK, APLOG_CRIT, 0, main_server, "xlimit(205): %s has room for %u counters, and %u of the %d "
                 "that the configuration names did not fit; raise XLimitMemory, or leave it out", segment->path,
                 segment->ledger.capacity, refused, wishes->nelts);
    return HTTP_INTERNAL_SERVER_ERROR;
}

/* ---- children ---- */

void xl_segment_child(apr_pool_t *pchild, server_rec *main_server)
{
    apr_status_t rv;

    if (!segment || !segment->ledger.base)
        return;
    xl_statefile_child(&segment->file);
    rv = apr_global_mutex_child_init(&segment->mutex, apr_global_mutex_lockfile(segment->mutex), pchild);
    if (rv == APR_SUCCESS)
        rv = lock_structure();
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_ERR, rv, main_server, "xlimit(206): the mutex cannot be locked in this child; "
                     "its active requests are not counted");
        return;
    }
    own_row = xl_ledger_row_claim(&segment->ledger, (uint32_t)getpid(), segment->generation);
    xl_keyspace_gone(own_row); /* a process of the same number may have had it, and died unseen */
    unlock_structure();
    if (own_row == XL_NO_ROW)
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, main_server, "xlimit(207): %s has rows for %u processes and all are "
                     "taken; active requests of this child are not counted", segment->path, segment->ledger.rows);
}

/* A row that cannot be freed now is freed by the next sweep. */
void xl_segment_child_gone(uint32_t pid)
{
    if (!segment || !segment->ledger.base || !try_structure())
        return;
    xl_ledger_row_release(&segment->ledger, pid, xl_keyspace_gone);
    unlock_structure();
}

void xl_segment_sweep(void)
{
    if (!segment || !segment->ledger.base || !try_structure())
        return;
    xl_ledger_sweep(&segment->ledger, xl_segment_process_exists, xl_keyspace_gone);
    unlock_structure();
}

/* The number comes from memory that children write to: -1 would be everybody. */
bool xl_segment_process_exists(uint32_t pid)
{
    return pid && pid <= INT32_MAX && (!kill((pid_t)pid, 0) || errno == EPERM);
}

/* ---- requests ---- */

const xl_ledger_t *xl_segment_ledger(void)
{
    return segment ? &segment->ledger : NULL;
}

uint32_t xl_segment_row(void)
{
    return own_row;
}

uint64_t xl_segment_generation(void)
{
    return segment ? segment->generation : 0;
}

const char *xl_segment_path(void)
{
    return segment && segment->path ? segment->path : "none";
}

/* So that a counter in use is not the one that is reused next. */
static void mark_as_used(xl_entry_t *entry)
{
    uint64_t seen = atomic_load(&entry->generation);

    while (seen < segment->generation)
        if (atomic_compare_exchange_weak(&entry->generation, &seen, segment->generation))
            break;
}

static xl_entry_t *attach_at_run_time(const xl_limit_t *limit, const char *vhost, const server_rec *s)
{
    uint32_t index = XL_NO_ENTRY;
    apr_status_t rv = lock_structure();

    if (rv == APR_SUCCESS) {
        index = xl_ledger_attach(&segment->ledger, kind_of(limit), vhost, limit->place, limit->name,
                                 segment->generation, oldest_live());
        unlock_structure();
    }
    if (index == XL_NO_ENTRY && xl_told_minute(XL_TOLD_ENTRY))
        ap_log_error(APLOG_MARK, APLOG_ERR, rv, s, "xlimit(208): no counter for limit \"%s\" on line %d of %s, which "
                     "therefore does not apply: %s has room for %u; raise XLimitMemory", limit->name, limit->line,
                     limit->file, segment->path, segment->ledger.capacity);
    return xl_ledger_entry(&segment->ledger, index);
}

xl_entry_t *xl_segment_entry(xl_limit_t *limit, const server_rec *s)
{
    const char *vhost;
    xl_entry_t *entry;
    uint64_t id[2];

    if (!segment || !segment->ledger.base || !has_entry(limit))
        return NULL;
    if (!limit->runtime && !limit->entries)
        return NULL;
    if (!limit->runtime)
        return xl_ledger_entry(&segment->ledger, limit->entries[is_shared(limit) ? 0 : xl_config_server(s)->index]);
    vhost = vhost_of(limit, s);
    xl_ledger_id(kind_of(limit), vhost, limit->place, limit->name, id);
    entry = xl_ledger_entry(&segment->ledger, xl_ledger_find(&segment->ledger, id));
    if (!entry)
        return attach_at_run_time(limit, vhost, s);
    mark_as_used(entry);
    return entry;
}
