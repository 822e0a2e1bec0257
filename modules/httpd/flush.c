/* SPDX-License-Identifier: Apache-2.0
 *
 * flush: copies the counters to the disk, and has keyfile.c copy the keys (contract
 * in xl_flush.h). Owns the file of copies while the server runs, and the lease: a
 * page that all processes share and that says who writes and when he was last seen.
 * Never loses what is counted when the disk fails: that is in the ledger, which
 * is memory. Never waits for a lock.
 * Who locks: two may believe that they have the lease, for a moment or because one
 * was stopped; who writes has the file's record lock and `busy`, which keeps the
 * threads of one process apart.
 */
#include "xl_flush.h"

#include "xl_imagefile.h"
#include "xl_keyfile.h"
#include "xl_segment.h"
#include "xl_segment_start.h"
#include "xl_shared.h"

#include "apr_optional.h"
#include "apr_strings.h"
#include "http_log.h"
#include "mod_watchdog.h"

#include <unistd.h>

APLOG_USE_MODULE(xlimit);

#define RETAINED_KEY "mod_xlimit-flush-3" /* of the layout of flush_t */
#define INSTANCE "xlimit-flush"
#define STALE_NS (UINT64_C(500) * XL_NS_PER_MS) /* five ticks of mod_watchdog */
#define LEAVING_ATTEMPTS 40                     /* of who ends, while another writes: */
#define LEAVING_PAUSE_US 5000

typedef struct {
    _Atomic uint32_t holder; /* a process, 0: none */
    _Atomic uint64_t beat_ns, flushed_ns;
} lease_t;

/* Retained; children have a copy of their own. */
typedef struct {
    xl_imagefile_t file; /* path NULL: no copies */
    lease_t *lease;
    bool told; /* that mod_watchdog is missing */
} flush_t;

static flush_t *flush;
static atomic_flag busy = ATOMIC_FLAG_INIT;

/* Of this configuration. */
static uint64_t interval_ns;
static server_rec *log_server;
static pid_t parent;

/* ---- writing ---- */

static size_t body_of_ledger(const void *of, void *body, size_t room)
{
    return xl_image_body(of, body, room);
}

static xl_source_t source_of_counters(void)
{
    return (xl_source_t){ xl_segment_ledger(), body_of_ledger, xl_segment_ledger() };
}

static void tell(xl_write_e result, const xl_write_fault_t *fault)
{
    if (result == XL_WRITE_FAILED)
        ap_log_error(APLOG_MARK, APLOG_ERR, fault->error, log_server, "xlimit(245): the copy of the counters %s %s; "
                     "a power loss would cost what is counted from now on, nothing else does; trying again",
                     flush->file.path, fault->what);
    if (result == XL_WRITE_AGAIN)
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, log_server, "xlimit(246): the copy of the counters %s is written "
                     "again", flush->file.path);
}

/* false: somebody else writes at this moment. */
static bool write_counters(void)
{
    xl_write_fault_t fault = { NULL, 0 };
    xl_source_t source = source_of_counters();
    xl_write_e result;

    if (!flush->file.path)
        return true;
    result = xl_imagefile_write(&flush->file, &source, xl_now(), &fault);
    tell(result, &fault);
    return result != XL_WRITE_BUSY;
}

typedef enum { IN_TIME, CHILD_ENDS, PARENT_ENDS } occasion_e;

/* The tables of keys are memory that the parent has as well: children that end
 * do not copy them, one after the other, when the parent will. */
static bool write_now(occasion_e occasion)
{
    bool done;

    if (atomic_flag_test_and_set(&busy))
        return false;
    done = write_counters();
    if (occasion != CHILD_ENDS)
        done = xl_keyfile_write(occasion == PARENT_ENDS) && done;
    atomic_flag_clear(&busy);
    return done;
}

/* ---- the lease ---- */

/* A beat of the future is one of another boot. */
static bool is_alive(uint32_t holder, uint64_t now_ns)
{
    return now_ns - atomic_load(&flush->lease->beat_ns) < STALE_NS && xl_segment_process_exists(holder);
}

static bool hold_lease(uint64_t now_ns)
{
    uint32_t me = (uint32_t)getpid(), holder = atomic_load(&flush->lease->holder);

    if (holder != me) {
        if (holder && is_alive(holder, now_ns))
            return false;
        atomic_store(&flush->lease->beat_ns, now_ns); /* first: without it the new holder looks dead */
        if (!atomic_compare_exchange_strong(&flush->lease->holder, &holder, me))
            return false;
        ap_log_error(APLOG_MARK, APLOG_DEBUG, 0, log_server, "xlimit(247): process %u copies the counters now, after "
                     "%u", me, holder);
    }
    atomic_store(&flush->lease->beat_ns, now_ns);
    return true;
}

static bool is_due(uint64_t now_ns)
{
    uint64_t last_ns = atomic_load(&flush->lease->flushed_ns);

    if (last_ns && now_ns - last_ns < interval_ns)
        return false;
    atomic_store(&flush->lease->flushed_ns, now_ns);
    return true;
}

static apr_status_t tick(int state, void *data, apr_pool_t *pool)
{
    uint64_t now_ns = xl_now().mono_ns;

    (void)data;
    (void)pool;
    if (state == AP_WATCHDOG_STATE_RUNNING && hold_lease(now_ns) && is_due(now_ns))
        write_now(IN_TIME);
    return APR_SUCCESS; /* anything else would be the last tick */
}

static bool watch(apr_pool_t *pconf)
{
    APR_OPTIONAL_FN_TYPE(ap_watchdog_get_instance) *get = APR_RETRIEVE_OPTIONAL_FN(ap_watchdog_get_instance);
    APR_OPTIONAL_FN_TYPE(ap_watchdog_register_callback) *add = APR_RETRIEVE_OPTIONAL_FN(ap_watchdog_register_callback);
    ap_watchdog_t *watchdog;

    return get && add && get(&watchdog, INSTANCE, 0, 0, pconf) == APR_SUCCESS
           && add(watchdog, AP_WD_TM_SLICE, flush, tick) == APR_SUCCESS;
}

/* ---- leaving ---- */

static void write_last(occasion_e occasion)
{
    for (unsigned i = 0; i < LEAVING_ATTEMPTS && !write_now(occasion); i++)
        usleep(LEAVING_PAUSE_US);
}

static apr_status_t child_leaves(void *data)
{
    uint32_t me = (uint32_t)getpid();

    (void)data;
    write_last(CHILD_ENDS);
    atomic_compare_exchange_strong(&flush->lease->holder, &me, 0);
    return APR_SUCCESS;
}

/* A child that ends takes its copy of pconf along. */
static apr_status_t parent_leaves(void *data)
{
    (void)data;
    if (getpid() == parent)
        write_last(PARENT_ENDS);
    return APR_SUCCESS;
}

void xl_flush_child(apr_pool_t *pchild)
{
    if (flush && flush->lease)
        apr_pool_pre_cleanup_register(pchild, NULL, child_leaves);
}

/* ---- start ---- */

/* One for each file: who still writes into an older one has nothing to say of
 * this. Children have that yet. */
static void take_lease(lease_t *lease)
{
    xl_shared_free(flush->lease, sizeof(*flush->lease));
    flush->lease = lease;
}

static void without_copies(const char *path, const char *reason, server_rec *s)
{
    ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, "xlimit(243): the copy of the counters %s %s; there is none, so that "
                 "a power loss may cost all of them; move it away and restart", path, reason);
}

static bool open_cold(const char *path, size_t room, apr_pool_t *ptemp, server_rec *s)
{
    xl_copy_t copy;
    const char *reason = xl_imagefile_open(&flush->file, &copy, path, &xl_image_counters, room, ptemp);

    if (copy.aside)
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, "xlimit(244): the copy of the counters %s is spoilt (%s) and now "
                     "called %s; a new one is begun", path, copy.reason, copy.aside);
    if (reason)
        without_copies(path, reason, s);
    return !reason;
}

static void make_room(size_t room, apr_pool_t *ptemp, server_rec *s)
{
    xl_source_t source = source_of_counters();
    const char *reason = "no memory for its lease";
    lease_t *lease;

    if (flush->file.room >= room)
        return;
    lease = xl_shared_make(sizeof(*lease));
    if (lease && !(reason = xl_imagefile_grow(&flush->file, room, &source, xl_now(), ptemp))) {
        take_lease(lease);
        return;
    }
    xl_shared_free(lease, sizeof(*lease));
    ap_log_error(APLOG_MARK, APLOG_ERR, 0, s, "xlimit(248): the copy of the counters %s cannot grow: %s",
                 flush->file.path, reason);
}

static bool open_counters(apr_pool_t *ptemp, server_rec *s)
{
    const char *path = flush->file.path;
    size_t room = xl_image_room(xl_segment_ledger()->capacity);

    if (!path) /* once: that pool lives as long as the server */
        path = xl_imagefile_path(s->process->pool, xl_segment_path(), &xl_image_counters);
    if (!flush->lease && !(flush->lease = xl_shared_make(sizeof(*flush->lease)))) {
        without_copies(path, "has no memory for its lease", s);
        return false;
    }
    if (!flush->file.path && !open_cold(path, room, ptemp, s))
        return false;
    make_room(room, ptemp, s);
    return true;
}

void xl_flush_open(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *main_server)
{
    bool counters, keys;

    flush = ap_retained_data_get(RETAINED_KEY);
    if (!flush)
        flush = ap_retained_data_create(RETAINED_KEY, sizeof(*flush));
    flush->file.form = &xl_image_counters; /* this module may have been loaded anew, elsewhere */
    interval_ns = xl_config_server(main_server)->engine->flush_ms * XL_NS_PER_MS;
    log_server = main_server;
    parent = getpid();
    if (!strcmp(xl_segment_path(), "none"))
        return;
    counters = open_counters(ptemp, main_server);
    keys = xl_keyfile_open(pconf, ptemp, main_server);
    if (!flush->lease || (!counters && !keys))
        return;
    apr_pool_pre_cleanup_register(pconf, NULL, parent_leaves);
    if (!watch(pconf) && !flush->told) {
        flush->told = true;
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, main_server, "xlimit(249): mod_watchdog is not loaded: counters are "
                     "copied only when a child or the server ends, and keys when the server does, not every "
                     "XLimitFlush; load it");
    }
}
