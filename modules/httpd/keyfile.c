/* SPDX-License-Identifier: Apache-2.0
 *
 * keyfile: brings the keys that are kept to the disk and back (contract in
 * xl_keyfile.h). Owns the file of their copies while the server runs, and one
 * page that all processes share: which generation writes, and when it may again.
 * Never writes what processes know of tables that are no longer the server's:
 * children of the generation before may have others, and orphans of a killed
 * parent have theirs to themselves.
 * Who locks: who writes has the file's record lock.
 */
#include "xl_keyfile.h"

#include "xl_conn.h"
#include "xl_imagefile.h"
#include "xl_kept.h"
#include "xl_shared.h"

#include "apr_strings.h"
#include "http_log.h"

#include <unistd.h>

APLOG_USE_MODULE(xlimit);

#define RETAINED_KEY "mod_xlimit-keyfile-2" /* of the layout of keyfile_t */
#define NS_PER_BYTE UINT64_C(1000) /* one MB a second is looked at and written, however short XLimitFlush is */

typedef struct {
    _Atomic uint64_t generation; /* the newest, which writes */
    _Atomic uint64_t rests_until_ns;
    _Atomic uint32_t crowded; /* 1: was logged */
} shared_t;

/* Retained; children have a copy of their own. */
typedef struct {
    xl_imagefile_t file; /* path NULL: nothing is kept */
    shared_t *shared;
} keyfile_t;

static keyfile_t *keyfile;

/* Of this configuration. */
static xl_kept_scope_t scope; /* n_limits 0: nothing of it is kept */
static server_rec *log_server;
static pid_t parent;

static xl_kept_moment_t moment_of(xl_now_t now)
{
    return (xl_kept_moment_t){ .wall_ms = now.wall_ms, .mono_ms = now.mono_ns / XL_NS_PER_MS };
}

/* ---- what is kept --------------------------------------------------------- */

static bool is_kept(const xl_limit_t *limit)
{
    return (limit->key == XL_KEY_CLIENT || limit->key == XL_KEY_ZONE) &&
           (limit->dimension == XL_DIM_QUOTA || limit->dimension == XL_DIM_PENALTY);
}

/* Of all virtual hosts that have it. */
static void describe_limit(xl_kept_limit_t *list, const xl_limit_t *limit, const server_rec *s)
{
    const xl_keyzone_t *zone = limit->key == XL_KEY_ZONE ? limit->keyzone : NULL;
    xl_kept_limit_t kept = { .kind = limit->dimension == XL_DIM_QUOTA ? XL_KEPT_USED : XL_KEPT_LOCKED,
                             .table = zone ? zone->index + 1 : 0, .period = &limit->period };

    for (; s; s = s->next) {
        uint32_t index = limit->entries[xl_config_server(s)->index];

        if (index < scope.n_limits)
            list[index] = kept;
    }
}

static uint64_t name_of(const xl_keyzone_t *zone)
{
    uint64_t id[2];

    xl_ledger_id(XL_ENTRY_FREE, "", "", zone ? zone->name : "", id);
    return id[0];
}

static const xl_kept_table_t *describe_tables(apr_pool_t *pconf, const apr_array_header_t *zones)
{
    xl_kept_table_t *list = apr_palloc(pconf, (1 + (size_t)zones->nelts) * sizeof(*list));

    for (int i = -1; i < zones->nelts; i++) {
        const xl_keyzone_t *zone = i < 0 ? NULL : APR_ARRAY_IDX(zones, i, const xl_keyzone_t *);

        list[i + 1] = (xl_kept_table_t){ xl_keyspace_table(zone), name_of(zone) };
    }
    return list;
}

/* Limits of .htaccess files are not among them: nobody knows them at a start. */
static void describe(apr_pool_t *pconf, const server_rec *main_server)
{
    const apr_array_header_t *registry = xl_config_registry(), *zones = xl_config_keyzones();
    const xl_ledger_t *ledger = xl_segment_ledger();
    xl_kept_limit_t *list = NULL;

    scope = (xl_kept_scope_t){ .ledger = ledger };
    for (int i = 0; i < registry->nelts; i++) {
        const xl_limit_t *limit = APR_ARRAY_IDX(registry, i, const xl_registered_t).limit;

        if (!is_kept(limit))
            continue;
        if (!list)
            list = apr_pcalloc(pconf, ledger->capacity * sizeof(*list));
        scope.n_limits = ledger->capacity;
        describe_limit(list, limit, main_server);
    }
    scope.limits = list;
    scope.tables = describe_tables(pconf, zones);
    scope.n_tables = 1 + (uint32_t)zones->nelts;
    scope.secret = xl_keyspace_secret();
}

/* ---- writing -------------------------------------------------------------- */

typedef struct {
    xl_kept_moment_t now;
    uint64_t *left_out, *length; /* how many keys did not fit, of how many bytes it is */
} making_t;

static size_t make_body(const void *of, void *body, size_t room)
{
    const making_t *making = of;

    return *making->length = xl_kept_body(&scope, making->now, body, room, making->left_out);
}

static void tell(xl_write_e result, const xl_write_fault_t *fault, uint64_t keys, uint64_t left_out)
{
    if (result == XL_WRITE_FAILED)
        ap_log_error(APLOG_MARK, APLOG_ERR, fault->error, log_server, "xlimit(253): the copy of the keys %s %s; "
                     "lock-outs and quotas of keys from now on would end with the server; trying again",
                     keyfile->file.path, fault->what);
    if (result == XL_WRITE_AGAIN)
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, log_server, "xlimit(254): the copy of the keys %s is written again",
                     keyfile->file.path);
    if (left_out && !atomic_exchange(&keyfile->shared->crowded, 1))
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, log_server, "xlimit(255): the copy of the keys %s has room for %"
                     APR_UINT64_T_FMT "; %" APR_UINT64_T_FMT " more, usages of quotas before lock-outs, would end with "
                     "the server; this is said once", keyfile->file.path, (apr_uint64_t)keys, (apr_uint64_t)left_out);
}

/* A child whose parent was killed has another one. */
static bool is_of_server(void)
{
    return (getpid() == parent || getppid() == parent) &&
           atomic_load(&keyfile->shared->generation) == xl_segment_generation();
}

bool xl_keyfile_write(bool last)
{
    xl_now_t now = xl_now();
    uint64_t left_out = 0, length = 0;
    making_t making = { moment_of(now), &left_out, &length };
    xl_source_t source = { xl_segment_ledger(), make_body, &making };
    xl_write_fault_t fault = { NULL, 0 };
    xl_write_e result;

    if (!keyfile || !keyfile->file.path || !scope.n_limits || !is_of_server())
        return true;
    if (!last && now.mono_ns < atomic_load(&keyfile->shared->rests_until_ns))
        return true;
    result = xl_imagefile_write(&keyfile->file, &source, now, &fault);
    if (result == XL_WRITE_BUSY)
        return false;
    atomic_store(&keyfile->shared->rests_until_ns, now.mono_ns + length * NS_PER_BYTE);
    tell(result, &fault, length / sizeof(xl_kept_t) - 1, left_out);
    return true;
}

/* ---- start ---------------------------------------------------------------- */

static void put_back(const xl_copy_t *copy, server_rec *s)
{
    uint8_t secret[XL_KEPT_SECRET_BYTES];
    xl_kept_taken_t taken;

    xl_kept_secret(copy->body, secret);
    xl_keyspace_set_secret(secret);
    taken = xl_kept_take(&scope, &copy->head, copy->body, moment_of(xl_now()));
    ap_log_error(APLOG_MARK, taken.refused ? APLOG_WARNING : APLOG_INFO, 0, s, "xlimit(256): %u keys of %s are locked "
                 "out, or have used of their quota, as before; %u have ended since, %u were of limits or zones that "
                 "are not there, %u found no room in their table", taken.back, copy->path, taken.over, taken.strange,
                 taken.refused);
}

static bool open_cold(const char *path, apr_pool_t *ptemp, server_rec *s)
{
    const char *reason = NULL;
    xl_copy_t copy = { .state = XL_COPY_NONE };

    if (!keyfile->shared && !(keyfile->shared = xl_shared_make(sizeof(*keyfile->shared))))
        reason = "has no memory for what its writers share";
    if (!reason)
        reason = xl_imagefile_open(&keyfile->file, &copy, path, &xl_image_keys, xl_kept_room(), ptemp);
    if (copy.aside)
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, "xlimit(252): the copy of the keys %s is spoilt (%s) and now "
                     "called %s; nobody is locked out, and nothing is used of the quotas of keys", path, copy.reason,
                     copy.aside);
    if (reason) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, "xlimit(251): the copy of the keys %s %s; there is none, so that "
                     "lock-outs and quotas of keys end with the server; move it away and restart", path, reason);
        return false;
    }
    if (copy.state == XL_COPY_GOOD && xl_keyspace_is_new())
        put_back(&copy, s);
    return true;
}

bool xl_keyfile_open(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *main_server)
{
    keyfile = ap_retained_data_get(RETAINED_KEY);
    if (!keyfile)
        keyfile = ap_retained_data_create(RETAINED_KEY, sizeof(*keyfile));
    keyfile->file.form = &xl_image_keys; /* this module may have been loaded anew, elsewhere */
    log_server = main_server;
    parent = getpid();
    describe(pconf, main_server);
    if (!scope.n_limits)
        return false;
    if (!keyfile->file.path) {
        const char *path = xl_imagefile_path(main_server->process->pool, xl_segment_path(), &xl_image_keys);

        if (!open_cold(path, ptemp, main_server))
            return false;
    }
    atomic_store(&keyfile->shared->generation, xl_segment_generation());
    return true;
}
