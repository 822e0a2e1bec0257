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

#define XL_NOTSENT_LEAST_BYTES 16384               /* what may wait in the kernel unsent */
#define XL_GATHER_BYTES 4096
#define XL_SLEEP_MOST_NS (500 * XL_NS_PER_MS)      /* a sleeper looks up for an aborted connection */
#define XL_FLUSH_PATIENCE_NS (250 * XL_NS_PER_MS)
#define XL_NAP_NS (20 * XL_NS_PER_MS)              /* of a thread, for a connection that has no timer */
#define XL_PROBE_BYTES 64
#define XL_ROUNDS 32

bool xl_pace_wanted(const xl_request_t *xr)
{
    return xr->turn_ns || xl_levels_bite(&xr->down);
}

static void give_back(xl_conn_t *conn)
{
    if (conn->reserved && conn->writing)
        xl_levels_give_back(&conn->writing->down, conn->slot.bytes);
    conn->reserved = false;
}

void xl_pace_end(xl_request_t *xr)
{
    if (xr->conn->writing == xr)
        give_back(xr->conn);
    if (xr->conn->unsent_limited && !xr->conn->c->aborted)
        xl_tcp_limit_unsent(xl_park_fd(xr->conn), 0); /* as the system has it, for who comes next */
    xr->conn->unsent_limited = false;
    xl_levels_leave(&xr->down);
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

/* Who could not go on because of his client is not late: the others had his
 * turns meanwhile. */
static void client_is_slow(xl_conn_t *conn)
{
    if (conn->writing)
        conn->writing->down.idle = true;
}

static void reserve(xl_conn_t *conn, uint64_t want, uint64_t most, bool last)
{
    xl_levels_t none = { 0 };
    xl_request_t *xr = conn->writing;
    xl_slot_ask_t ask = { .want = want, .cap = most, .last = last };

    if (xr && xl_levels_bite(&xr->down))
        xl_levels_enter(xr, &xr->down);
    conn->slot = xl_levels_reserve(xr ? &xr->down : &none, &ask, xl_now().mono_ns);
    conn->reserved = true;
}

static void reserve_held(xl_conn_t *conn)
{
    reserve(conn, conn->held_bytes, xl_hold_most_at_once(conn), conn->held_end);
}

/* A reservation for what is held. One that was made while a quota was used up,
 * and waits at its speed, is made anew when that is free again. */
static void have_slot(xl_conn_t *conn)
{
    if (conn->reserved && conn->writing && xl_levels_turned(&conn->writing->down))
        give_back(conn);
    if (!conn->reserved)
        reserve_held(conn);
}

static bool is_due(const xl_conn_t *conn)
{
    return conn->slot.at_ns <= xl_now().mono_ns + XL_SLOT_NOW_NS;
}

/* Until when to wait for the request's turn or the slot, or to look whether
 * another one is to be had. */
static uint64_t wait_until_ns(const xl_conn_t *conn)
{
    uint64_t turn_ns = conn->writing ? xl_levels_turn_ns(&conn->writing->down) : UINT64_MAX;

    if (conn->writing && conn->writing->turn_ns)
        return conn->writing->turn_ns;
    return turn_ns < conn->slot.at_ns ? turn_ns : conn->slot.at_ns;
}

static apr_status_t write_chunk(xl_conn_t *conn, bool wait_for_client)
{
    apr_bucket_alloc_t *list = conn->c->bucket_alloc;
    xl_request_t *xr = conn->writing;
    apr_status_t rv;

    rv = xl_hold_take(conn, conn->slot.bytes, xl_hold_chunk(conn));
    if (rv != APR_SUCCESS)
        return rv;
    if (xr)
        xl_levels_moved(&xr->down, conn->slot.bytes);
    conn->reserved = false;
    if (APR_BRIGADE_EMPTY(conn->chunk) || !AP_BUCKET_IS_EOR(APR_BRIGADE_LAST(conn->chunk)))
        APR_BRIGADE_INSERT_TAIL(conn->chunk, wait_for_client ? apr_bucket_flush_create(list) : xl_hold_mark(list));
    if (xr)
        xr->down.idle = APR_BRIGADE_EMPTY(conn->held);
    rv = xl_conn_pass(conn, conn->chunk);
    apr_brigade_cleanup(conn->chunk);
    if (rv != APR_SUCCESS && xr && conn->writing == xr)
        xl_levels_give_back(&xr->down, conn->slot.bytes);
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

/* The first time that a response has to wait for a slot. A slow reader shall show
 * as a full socket, after about a chunk, and not take turns into the kernel. */
static void limit_unsent(xl_conn_t *conn)
{
    uint64_t bytes;

    if (!conn->writing || conn->unsent_limited || conn->primary != conn)
        return;
    bytes = xl_levels_unsent_bytes(&conn->writing->down);
    xl_tcp_limit_unsent(xl_park_fd(conn), (int)(bytes > XL_NOTSENT_LEAST_BYTES ? bytes : XL_NOTSENT_LEAST_BYTES));
    conn->unsent_limited = true;
}

/* ---- with a thread --------------------------------------------------- */

static bool is_gone(const xl_conn_t *conn)
{
    return conn->c->aborted || (conn->c->master && conn->c->master->aborted);
}

bool xl_pace_sleep(const xl_conn_t *conn, uint64_t until_ns)
{
    for (;;) {
        uint64_t now_ns = xl_now().mono_ns, left;

        if (is_gone(conn))
            return false;
        if (now_ns + XL_SLOT_NOW_NS >= until_ns)
            return true;
        left = until_ns - now_ns;
        apr_sleep((apr_interval_time_t)((left < XL_SLEEP_MOST_NS ? left : XL_SLEEP_MOST_NS) / 1000));
    }
}

/* Lets out what is held until no more than keep_memory of it is in memory;
 * with `soon` only while the next chunk is all there is and near. */
static apr_status_t drain(xl_conn_t *conn, uint64_t keep_memory, bool soon)
{
    while (!APR_BRIGADE_EMPTY(conn->held)) {
        uint64_t before_ns, turn_ns = xl_delay_until_ns(conn->writing);
        apr_status_t rv;

        if (turn_ns && soon)
            return APR_SUCCESS;
        if (turn_ns && !xl_pace_sleep(conn, turn_ns))
            return xl_pace_abandon(conn);
        if (turn_ns)
            continue;
        if (!conn->held_bytes)
            return write_rest(conn);
        if (!soon && keep_memory && conn->held_memory <= keep_memory)
            return APR_SUCCESS;
        have_slot(conn);
        if (soon && (conn->slot.bytes < conn->held_bytes
                     || conn->slot.at_ns > xl_now().mono_ns + XL_FLUSH_PATIENCE_NS))
            return APR_SUCCESS;
        if (!is_due(conn))
            limit_unsent(conn);
        if (!xl_pace_sleep(conn, wait_until_ns(conn)))
            return xl_pace_abandon(conn);
        if (!is_due(conn))
            continue;
        before_ns = xl_now().mono_ns;
        rv = write_chunk(conn, true);
        if (xl_now().mono_ns - before_ns > XL_SLOT_GRID_NS)
            client_is_slow(conn);
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

/* Of a peer that may be gone only the answer to what is sent to it tells. That
 * need not be a whole chunk, which others could have had: the first one after
 * its FIN is cut short. */
static void probe_peer(xl_conn_t *conn)
{
    if (!conn->writing || conn->probed || conn->slot.bytes <= XL_PROBE_BYTES
        || !xl_levels_shared(&conn->writing->down) || !xl_tcp_peer_finished(xl_park_fd(conn)))
        return;
    conn->probed = true;
    xl_levels_give_back(&conn->writing->down, conn->slot.bytes - XL_PROBE_BYTES);
    conn->slot.bytes = XL_PROBE_BYTES;
}

/* Lets out what is due now, without waiting for anything. */
static xl_advance_e advance(xl_conn_t *conn, apr_status_t *rv)
{
    ap_filter_t *core = core_filter(conn);

    for (int round = 0; round < XL_ROUNDS; round++) {
        *rv = core->frec->filter_func.out_func(core, NULL);
        if (*rv == APR_SUCCESS && conn->c->data_in_output_filters) {
            client_is_slow(conn);
            return XL_ADVANCE_FULL;
        }
        if (*rv == APR_SUCCESS && APR_BRIGADE_EMPTY(conn->held))
            return XL_ADVANCE_DONE;
        if (*rv == APR_SUCCESS && xl_delay_until_ns(conn->writing))
            return XL_ADVANCE_EARLY;
        if (*rv == APR_SUCCESS && !conn->held_bytes) {
            *rv = write_rest(conn);
        } else if (*rv == APR_SUCCESS) {
            have_slot(conn);
            if (!is_due(conn))
                return XL_ADVANCE_EARLY;
            probe_peer(conn);
            *rv = write_chunk(conn, false);
        }
        if (*rv != APR_SUCCESS) {
            xl_pace_abandon(conn);
            return XL_ADVANCE_FAILED;
        }
    }
    return XL_ADVANCE_MORE;
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

/* The end of a response that is one chunk, due now, as most small ones are: true
 * when it has been passed on, without being held. */
static bool pass_whole(xl_conn_t *conn, apr_bucket_brigade *bb, const xl_content_t *content, apr_status_t *rv)
{
    uint64_t want = conn->held_bytes + content->bytes;

    if (!content->end || content->eor || !want || want > XL_CHUNK_MEMORY_BYTES || conn->reserved
        || xl_delay_until_ns(conn->writing))
        return false;
    reserve(conn, want, want, true);
    if (conn->slot.bytes < want || !is_due(conn))
        return false;
    conn->reserved = false;
    if (conn->writing)
        xl_levels_moved(&conn->writing->down, want);
    APR_BRIGADE_PREPEND(bb, conn->held);
    xl_wait_handler_stays(conn); /* and holds nothing */
    *rv = xl_conn_pass(conn, bb);
    xl_hold_emptied(conn);
    return true;
}

apr_status_t xl_pace_hold(xl_conn_t *conn, apr_bucket_brigade *bb, const xl_content_t *content)
{
    uint64_t buffer = xl_config_server(ap_server_conf)->engine->buffer_bytes;
    apr_status_t rv;
    bool flush;

    if (pass_whole(conn, bb, content, &rv))
        return rv;
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

xl_advance_e xl_pace_advance(xl_conn_t *conn, uint64_t *until_ns)
{
    apr_status_t rv;
    xl_advance_e how = advance(conn, &rv);

    *until_ns = how == XL_ADVANCE_EARLY ? wait_until_ns(conn) : 0;
    return how;
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
    if (conn->waiting) { /* for its turn, and has nothing to write */
        c->data_in_output_filters = 1;
        return APR_SUCCESS;
    }
    xl_wait_handler_left(conn);
    how = advance(conn, &rv);
    if (how == XL_ADVANCE_EARLY)
        limit_unsent(conn);
    if (how == XL_ADVANCE_EARLY && !xl_park_prepare(conn)) {
        /* No timer: the MPM polls a socket that is always ready, and its
         * threads, each held for a moment, go round all such connections. */
        uint64_t until_ns = wait_until_ns(conn), most_ns = xl_now().mono_ns + XL_NAP_NS;

        xl_pace_sleep(conn, until_ns < most_ns ? until_ns : most_ns);
        how = XL_ADVANCE_MORE;
    }
    if (how == XL_ADVANCE_EARLY) {
        conn->park_until_ns = wait_until_ns(conn);
        c->cs->sense = CONN_SENSE_WANT_READ;
    }
    if (how == XL_ADVANCE_EARLY || how == XL_ADVANCE_MORE)
        c->data_in_output_filters = 1;
    return rv;
}
