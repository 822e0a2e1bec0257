/* SPDX-License-Identifier: Apache-2.0
 *
 * pace: holds a response back in HEAD and lets it out chunk by chunk, each when
 * its slot (rule/slot) is due. With the event MPM the handler returns at once
 * and TAIL, called by the MPM, lets out what is due and asks to be parked until
 * the next slot; elsewhere the same loop sleeps. A reservation is held only
 * while a chunk waits for its time, never while the client does not read.
 * Everything runs in the thread that runs the connection.
 */
#include "xl_conn.h"
#include "xl_tcp.h"

#include "apr_portable.h"
#include "http_connection.h"
#include "http_request.h"
#include "http_core.h"
#include "http_log.h"
#include "http_main.h"

APLOG_USE_MODULE(xlimit);

#define XL_CHUNK_UNPACED_BYTES (UINT64_C(1) << 20) /* counters follow a large response */
#define XL_NOTSENT_LEAST_BYTES 16384               /* what may wait in the kernel unsent */
#define XL_NOTSENT_MOST_BYTES (1 << 20)
#define XL_GATHER_BYTES 4096
#define XL_SLEEP_MOST_NS (500 * XL_NS_PER_MS)      /* a sleeper looks up for an aborted connection */
#define XL_FLUSH_PATIENCE_NS (250 * XL_NS_PER_MS)
#define XL_ROUNDS 32

/* A gauge of this process alone: how many paced responses it has. */
static _Atomic uint32_t paced_here;

/* ---- levels ---------------------------------------------------------- */

bool xl_pace_wanted(const xl_request_t *xr)
{
    return xr->n_levels > 0;
}

/* The session meter of that limit on the connection; when all are taken the
 * last one is shared, which is stricter, never looser. */
static xl_session_t *session_of(xl_conn_t *primary, uint64_t key)
{
    xl_session_t *session = primary->sessions;

    for (size_t i = 0; i < XL_SESSIONS_MAX; i++) {
        uint64_t owner = 0;

        session = &primary->sessions[i];
        if (atomic_compare_exchange_strong(&session->key, &owner, key) || owner == key)
            break;
    }
    return session;
}

void xl_pace_add_level(xl_request_t *xr, const xl_limit_t *limit, xl_entry_t *entry, xl_rate_t rate)
{
    xl_pacing_t *pacing;

    if (xr->n_levels == XL_LEVELS_MAX) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, xr->r,
                      "xlimit(302): more than %d bandwidth limits apply to one response; %s (%s:%d) and later ones "
                      "do not take part",
                      XL_LEVELS_MAX, limit->name, limit->file, limit->line);
        return;
    }
    if (!xr->levels)
        xr->levels = apr_pcalloc(xr->r->pool, XL_LEVELS_MAX * sizeof(*xr->levels));
    pacing = &xr->levels[xr->n_levels++];
    pacing->level.rate = rate;
    pacing->level.sharers = 1;
    pacing->level.burst_bytes = limit->burst_bytes;
    if (entry) {
        pacing->entry = entry;
        pacing->level.shared = true;
        pacing->level.meter = &entry->meter;
    } else {
        pacing->session = session_of(xr->conn->primary, limit->session_key);
        pacing->level.meter = &pacing->session->meter;
        pacing->free_bytes = limit->after_bytes;
    }
}

static uint32_t sharers_of(const xl_pacing_t *p)
{
    int32_t sharers;

    if (p->entry)
        return xl_entry_active(xl_segment_ledger(), p->entry);
    sharers = atomic_load(&p->session->sharers);
    return sharers > 0 ? (uint32_t)sharers : 0;
}

/* Of two that wake a level up at once, both may: it raises the same floor. */
static void begin(xl_request_t *xr)
{
    uint64_t now_ns = xl_now().mono_ns;

    xr->pacing = true;
    xr->first_chunk = true;
    xr->paced_since_ns = now_ns;
    atomic_fetch_add(&paced_here, 1);
    for (size_t i = 0; i < xr->n_levels; i++) {
        xl_pacing_t *p = &xr->levels[i];
        if (sharers_of(p) == 0)
            xl_slot_wake(&p->level, now_ns);
        if (p->entry)
            xl_entry_enter(xl_segment_ledger(), p->entry, xl_segment_row());
        else
            atomic_fetch_add(&p->session->sharers, 1);
    }
}

/* The levels that take part in the next chunk; *free_bytes is what may go
 * before one that after= leaves out so far joins them. */
static size_t taking_part(const xl_request_t *xr, xl_level_t *levels, uint64_t *free_bytes)
{
    size_t n = 0;

    *free_bytes = UINT64_MAX;
    for (size_t i = 0; i < xr->n_levels; i++) {
        const xl_pacing_t *p = &xr->levels[i];

        if (!p->free_bytes)
            levels[n++] = p->level;
        else if (p->free_bytes < *free_bytes)
            *free_bytes = p->free_bytes;
    }
    return n;
}

static void refresh_sharers(xl_request_t *xr)
{
    for (size_t i = 0; i < xr->n_levels; i++) {
        uint32_t sharers = sharers_of(&xr->levels[i]);

        xr->levels[i].level.sharers = sharers > 1 ? sharers : 1;
    }
}

static void give_back(xl_conn_t *conn)
{
    xl_level_t levels[XL_LEVELS_MAX];
    uint64_t unused;

    if (conn->reserved && conn->writing)
        xl_slot_release(levels, taking_part(conn->writing, levels, &unused), conn->slot.bytes);
    conn->reserved = false;
}

void xl_pace_end(xl_request_t *xr)
{
    if (!xr->pacing)
        return;
    if (xr->conn->writing == xr)
        give_back(xr->conn);
    xr->pacing = false;
    if (xr->conn->unsent_limited && !xr->conn->c->aborted)
        xl_tcp_limit_unsent(xl_park_fd(xr->conn), 0); /* as the system has it, for who comes next */
    xr->conn->unsent_limited = false;
    atomic_fetch_sub(&paced_here, 1);
    for (size_t i = 0; i < xr->n_levels; i++) {
        xl_pacing_t *p = &xr->levels[i];

        if (p->entry)
            xl_entry_leave(xl_segment_ledger(), p->entry, xl_segment_row());
        else
            atomic_fetch_sub(&p->session->sharers, 1);
    }
}

/* ---- chunks ---------------------------------------------------------- */

apr_status_t xl_pace_abandon(xl_conn_t *conn)
{
    conn->c->aborted = 1;
    xl_wait_handler_left(conn); /* the MPM closes without asking TAIL */
    give_back(conn);
    apr_brigade_cleanup(conn->held);
    xl_hold_emptied(conn);
    return APR_ECONNABORTED;
}

static void reserve(xl_conn_t *conn)
{
    xl_request_t *xr = conn->writing;
    xl_level_t levels[XL_LEVELS_MAX];
    xl_slot_ask_t ask = { .want = conn->held_bytes, .cap = xl_hold_most_at_once(conn), .last = conn->held_end };
    uint64_t now_ns = xl_now().mono_ns, free_bytes = UINT64_MAX;
    size_t n = 0;

    if (xr && xr->n_levels) {
        refresh_sharers(xr);
        n = taking_part(xr, levels, &free_bytes);
        ask.age_ns = now_ns - xr->paced_since_ns;
        ask.sessions = paced_here;
        ask.first = xr->first_chunk;
        ask.last_due_ns = xr->last_due_ns;
        xr->first_chunk = xr->first_chunk && !n; /* the first paced one */
    }
    if (free_bytes < ask.cap)
        ask.cap = free_bytes;
    if (!n && ask.cap > XL_CHUNK_UNPACED_BYTES)
        ask.cap = XL_CHUNK_UNPACED_BYTES;
    conn->slot = xl_slot_reserve(levels, n, &ask, now_ns);
    if (n)
        xr->last_due_ns = conn->slot.due_ns;
    conn->reserved = true;
}

static apr_status_t write_chunk(xl_conn_t *conn, bool wait_for_client)
{
    apr_bucket_alloc_t *list = conn->c->bucket_alloc;
    xl_request_t *xr = conn->writing;
    apr_status_t rv;

    rv = xl_hold_take(conn, conn->slot.bytes, xl_hold_chunk(conn));
    if (rv != APR_SUCCESS)
        return rv;
    if (xr) {
        for (size_t i = 0; i < xr->n_levels; i++) {
            xl_pacing_t *p = &xr->levels[i];

            p->free_bytes -= p->free_bytes < conn->slot.bytes ? p->free_bytes : conn->slot.bytes;
        }
    }
    conn->reserved = false;
    if (APR_BRIGADE_EMPTY(conn->chunk) || !AP_BUCKET_IS_EOR(APR_BRIGADE_LAST(conn->chunk)))
        APR_BRIGADE_INSERT_TAIL(conn->chunk, wait_for_client ? apr_bucket_flush_create(list) : xl_hold_mark(list));
    rv = xl_conn_pass(conn, conn->chunk);
    apr_brigade_cleanup(conn->chunk);
    if (rv == APR_SUCCESS && APR_BRIGADE_EMPTY(conn->held))
        xl_hold_emptied(conn);
    return rv;
}

/* Only metadata is left, or nothing: no slot is needed for it. */
static apr_status_t write_rest(xl_conn_t *conn)
{
    conn->slot.bytes = 0;
    return write_chunk(conn, false);
}

/* ---- with a thread --------------------------------------------------- */

static bool is_gone(const xl_conn_t *conn)
{
    return conn->c->aborted || (conn->c->master && conn->c->master->aborted);
}

static bool sleep_until(const xl_conn_t *conn, uint64_t due_ns)
{
    for (;;) {
        uint64_t now_ns = xl_now().mono_ns, left;

        if (is_gone(conn))
            return false;
        if (now_ns + XL_SLOT_NOW_NS >= due_ns)
            return true;
        left = due_ns - now_ns;
        apr_sleep((apr_interval_time_t)((left < XL_SLEEP_MOST_NS ? left : XL_SLEEP_MOST_NS) / 1000));
    }
}

/* Lets out what is held until no more than keep_memory of it is in memory;
 * with `soon` only while the next chunk is all there is and near. */
static apr_status_t drain(xl_conn_t *conn, uint64_t keep_memory, bool soon)
{
    while (!APR_BRIGADE_EMPTY(conn->held)) {
        apr_status_t rv;

        if (!conn->held_bytes)
            return write_rest(conn);
        if (!soon && keep_memory && conn->held_memory <= keep_memory)
            return APR_SUCCESS;
        if (!conn->reserved)
            reserve(conn);
        if (soon && (conn->slot.bytes < conn->held_bytes
                     || conn->slot.due_ns > xl_now().mono_ns + XL_FLUSH_PATIENCE_NS))
            return APR_SUCCESS;
        if (!sleep_until(conn, conn->slot.due_ns))
            return xl_pace_abandon(conn);
        rv = write_chunk(conn, true);
        if (rv != APR_SUCCESS) {
            xl_pace_abandon(conn); /* nothing may go out behind a gap */
            return rv;
        }
    }
    return APR_SUCCESS;
}

/* ---- without a thread ------------------------------------------------ */

/* The handler's bytes go both ways at once in a tunnel, and it never returns to
 * let the MPM write. */
static bool is_tunnel(const request_rec *r)
{
    return r && (r->status == HTTP_SWITCHING_PROTOCOLS || r->method_number == M_CONNECT);
}

static ap_filter_t *core_filter(xl_conn_t *conn)
{
    for (ap_filter_t *f = conn->head; f && !conn->core; f = f->next) {
        if (f->next == conn->tail)
            conn->core = f;
    }
    return conn->core;
}

/* Lets out what is due now, without waiting for anything. */
static xl_advance_e advance(xl_conn_t *conn, apr_status_t *rv)
{
    ap_filter_t *core = core_filter(conn);

    for (int round = 0; round < XL_ROUNDS; round++) {
        *rv = core->frec->filter_func.out_func(core, NULL);
        if (*rv == APR_SUCCESS && conn->c->data_in_output_filters)
            return XL_ADVANCE_FULL;
        if (*rv == APR_SUCCESS && APR_BRIGADE_EMPTY(conn->held))
            return XL_ADVANCE_DONE;
        if (*rv == APR_SUCCESS && !conn->held_bytes) {
            *rv = write_rest(conn);
        } else if (*rv == APR_SUCCESS) {
            if (!conn->reserved)
                reserve(conn);
            if (conn->slot.due_ns > xl_now().mono_ns + XL_SLOT_NOW_NS)
                return XL_ADVANCE_EARLY;
            *rv = write_chunk(conn, false);
        }
        if (*rv != APR_SUCCESS) {
            xl_pace_abandon(conn);
            return XL_ADVANCE_FAILED;
        }
    }
    return XL_ADVANCE_MORE;
}

/* A slow reader shall show as a full socket, after about a chunk. */
static int unsent_bytes(const xl_request_t *xr)
{
    uint64_t least = XL_NOTSENT_MOST_BYTES;

    for (size_t i = 0; i < xr->n_levels; i++) {
        uint64_t chunk = xl_rate_units(xr->levels[i].level.rate, XL_SLOT_CHUNK_NS) / xr->levels[i].level.sharers;

        least = chunk < least ? chunk : least;
    }
    return (int)(least < XL_NOTSENT_LEAST_BYTES ? XL_NOTSENT_LEAST_BYTES : least);
}

/* Blocks: for an MPM without a way to wait, and for a tunnel, where bytes go both
 * ways at once and each piece is waited for. */
static apr_status_t hold_with_thread(xl_conn_t *conn, bool flush)
{
    /* The head of a response comes by itself: one chunk with what follows. */
    if (!is_tunnel(conn->r) && !conn->held_end && !flush && conn->held_bytes < XL_GATHER_BYTES)
        return APR_SUCCESS;
    return drain(conn, 0, false);
}

apr_status_t xl_pace_hold(xl_conn_t *conn, apr_bucket_brigade *bb)
{
    uint64_t buffer = xl_config_server(ap_server_conf)->engine->buffer_bytes;
    xl_request_t *xr = conn->writing;
    apr_status_t rv;
    bool flush;

    if (xr && xr->n_levels && !xr->pacing)
        begin(xr);
    rv = xl_hold_keep(conn, bb, &flush);
    if (rv != APR_SUCCESS)
        return rv;
    if (!conn->async || is_tunnel(conn->r))
        return hold_with_thread(conn, flush);
    /* A handler that goes on and on without waiting lets out what is due. */
    if (!conn->held_end && conn->held_bytes >= XL_GATHER_BYTES && advance(conn, &rv) == XL_ADVANCE_FAILED)
        return rv;
    if (conn->held_memory > buffer) {
        rv = xl_spool_held(conn);
        if (rv != APR_SUCCESS)
            rv = drain(conn, buffer, false);
    }
    if (rv == APR_SUCCESS && flush)
        rv = drain(conn, 0, true);
    xl_wait_handler_stays(conn);
    return rv;
}

xl_advance_e xl_pace_advance(xl_conn_t *conn, uint64_t *due_ns)
{
    apr_status_t rv;
    xl_advance_e how = advance(conn, &rv);

    *due_ns = how == XL_ADVANCE_EARLY ? conn->slot.due_ns : 0;
    return how;
}

/* The first time that this response has to wait for a slot. */
static bool prepare_to_park(xl_conn_t *conn)
{
    if (conn->writing && !conn->unsent_limited) {
        xl_tcp_limit_unsent(xl_park_fd(conn), unsent_bytes(conn->writing));
        conn->unsent_limited = true;
    }
    return xl_park_prepare(conn);
}

/* What the MPM calls when the connection may be written to. Returns with
 * data_in_output_filters set as long as there is more to come: either the
 * socket is full (the MPM waits for it), or the next slot is not due (the
 * suspend hook parks the connection), or others want this thread too. */
apr_status_t xl_pace_tail(xl_conn_t *conn)
{
    conn_rec *c = conn->c;
    apr_status_t rv;
    xl_advance_e how;

    xl_park_leave(conn);
    xl_wait_handler_left(conn);
    how = advance(conn, &rv);
    if (how == XL_ADVANCE_EARLY && !prepare_to_park(conn))
        return drain(conn, 0, false);
    if (how == XL_ADVANCE_EARLY) {
        conn->park_until_ns = conn->slot.due_ns;
        c->cs->sense = CONN_SENSE_WANT_READ;
    }
    if (how == XL_ADVANCE_EARLY || how == XL_ADVANCE_MORE)
        c->data_in_output_filters = 1;
    return rv;
}
