/* SPDX-License-Identifier: Apache-2.0
 *
 * delay: a request that has to wait for its turn (delay= of XLimitRequests).
 * Owns how it waits and how many do. Where the MPM can wait, the request stops
 * behind the fixups and its connection is parked (park.c): the hook around
 * process_connection runs the handler when its turn has come. No other hook sees
 * a request twice. A response that is there before that (a refused password, a
 * redirect, a hit of a cache) is held in HEAD until the turn (pace.c). Elsewhere
 * a few requests sleep in their threads, where they are decided.
 * Who locks: nobody; the counts are atomic words of this process.
 */
#include "mod_xlimit.h"
#include "xl_conn.h"
#include "xl_mark.h"
#include "xl_tcp.h"

#include "ap_mpm.h"
#include "http_config.h"
#include "http_connection.h"
#include "http_log.h"
#include "http_main.h"
#include "http_request.h"
#include "scoreboard.h"

APLOG_USE_MODULE(xlimit);

#define SLEEPERS_PART 4 /* of a child's threads, one in so many */
#define QUIET_MS 60000

/* An MPM that comes back to process_connection by itself; httpd before 2.4.63 has
 * none, and -DXL_OLD_MPM builds as for those. */
#if defined(AP_MPMQ_CAN_WAITIO) && !defined(XL_OLD_MPM)
#define WAITIO_STATE CONN_STATE_ASYNC_WAITIO
#define WAITIO_QUERY AP_MPMQ_CAN_WAITIO
#else
#define WAITIO_STATE CONN_STATE_WRITE_COMPLETION
#define WAITIO_QUERY (-1)
#endif

static _Atomic uint32_t waiting, sleeping; /* sleeping: those of them that hold a thread */

/* ---- places ------------------------------------------------------------- */

static uint32_t threads_of_child(void)
{
    int threads = 0;

    ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads);
    return threads > 0 ? (uint32_t)threads : 1;
}

uint32_t xl_delay_most(void)
{
    uint32_t most = xl_config_server(ap_server_conf)->engine->waiting;

    return most ? most : threads_of_child();
}

static uint32_t most_sleepers(void)
{
    uint32_t part = threads_of_child() / SLEEPERS_PART;

    return part ? part : 1;
}

static bool take_place(bool sleeps)
{
    if (!xl_place_take(&waiting, xl_delay_most()))
        return false;
    if (!sleeps || xl_place_take(&sleeping, most_sleepers()))
        return true;
    atomic_fetch_sub(&waiting, 1);
    return false;
}

static void log_places(const request_rec *r, bool sleeps, bool had)
{
    static _Atomic uint64_t full; /* of this process */
    uint64_t others, now_ms = xl_now().mono_ns / XL_NS_PER_MS;

    if (had && !atomic_load_explicit(&full, memory_order_relaxed))
        return;
    if (!had && xl_mark_refused(&full, now_ms, QUIET_MS, &others)) {
        if (sleeps)
            ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r, "xlimit(411): %u requests of this child wait for their turn "
                          "with their threads; further ones are refused; without a thread they wait on the event MPM "
                          "and HTTP/1.x alone", most_sleepers());
        else
            ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r, "xlimit(412): %u requests of this child wait for their "
                          "turn; further ones are refused; raise XLimitWaiting, or lower burst= of the limits with "
                          "delay=", xl_delay_most());
    }
    if (had && xl_mark_served(&full, now_ms, QUIET_MS, &others))
        ap_log_rerror(APLOG_MARK, APLOG_NOTICE, 0, r, "xlimit(413): requests find a place to wait for their turn "
                      "again; %" APR_UINT64_T_FMT " more were refused since", (apr_uint64_t)others);
}

/* ---- one request ---------------------------------------------------------- */

/* The first stream of a connection that was upgraded is the request that has
 * waited on it. */
static bool has_waited_already(xl_request_t *xr)
{
    uint64_t waited_ns = xr->conn->primary != xr->conn ? atomic_exchange(&xr->conn->primary->upgraded_after_ns, 0) : 0;

    xr->delayed_ns += waited_ns;
    return waited_ns;
}

static bool can_park(xl_conn_t *conn)
{
    return conn->async && conn->in_process && !conn->c->clogging_input_filters
           && conn->c->cs->state == CONN_STATE_HANDLER && xl_park_prepare(conn);
}

static bool is_gone(const xl_conn_t *conn)
{
    return conn->c->aborted || (conn->primary == conn && xl_tcp_peer_reset(xl_park_fd(conn)));
}

static void begin(xl_request_t *xr)
{
    xr->asked_ns = xl_now().mono_ns;
    xr->turn_ns = xr->asked_ns + xr->verdict.delay_ns;
}

void xl_delay_end(xl_request_t *xr)
{
    if (!xr->turn_ns)
        return;
    xr->delayed_ns += xl_now().mono_ns - xr->asked_ns;
    xr->turn_ns = 0;
    atomic_fetch_sub(&waiting, 1);
    if (xr->conn->waiting == xr)
        xr->conn->waiting = NULL;
}

uint64_t xl_delay_until_ns(xl_request_t *xr)
{
    if (!xr || !xr->turn_ns)
        return 0;
    if (xr->turn_ns > xl_now().mono_ns + XL_SLOT_NOW_NS)
        return xr->turn_ns;
    xl_delay_end(xr);
    return 0;
}

xl_delay_e xl_delay(xl_request_t *xr, request_rec *r)
{
    bool sleeps, there;

    if (has_waited_already(xr))
        return XL_DELAY_OVER;
    sleeps = !can_park(xr->conn);
    there = take_place(sleeps);
    log_places(r, sleeps, there);
    if (!there)
        return XL_DELAY_FULL;
    begin(xr);
    if (!sleeps)
        return XL_DELAY_LATER;
    there = xl_pace_sleep(xr->conn, xr->turn_ns) && !is_gone(xr->conn);
    xl_delay_end(xr);
    atomic_fetch_sub(&sleeping, 1);
    return there ? XL_DELAY_OVER : XL_DELAY_GONE;
}

void xl_delay_response(xl_request_t *xr)
{
    if (xr->verdict.delay_ns && xr->conn->async && take_place(false))
        begin(xr);
}

int xl_delay_fixups(request_rec *r)
{
    xl_request_t *xr = r->main || r->prev ? NULL : xl_request_of(r);

    if (!xr || !xl_delay_until_ns(xr))
        return DECLINED;
    xr->conn->waiting = xr;
    return SUSPENDED;
}

/* ---- the connection -------------------------------------------------------- */

static bool can_wait_for_io(void)
{
    static int can = -1; /* the same for the whole life of a process */

    if (can < 0 && (WAITIO_QUERY < 0 || ap_mpm_query(WAITIO_QUERY, &can) != APR_SUCCESS))
        can = 0;
    return can;
}

/* The MPM shall come back to process_connection when the timer has expired that
 * the suspend hook puts in the socket's place. One that knows no state for that
 * does it for a connection that has something to write and clogging filters. */
static void wait_in_pollset(xl_conn_t *conn)
{
    conn_rec *c = conn->c;

    conn->park_until_ns = conn->waiting->turn_ns;
    c->cs->sense = CONN_SENSE_WANT_READ;
    c->cs->state = can_wait_for_io() ? WAITIO_STATE : CONN_STATE_WRITE_COMPLETION;
    if (!can_wait_for_io())
        c->clogging_input_filters = 1;
}

/* As the function does that has read the request, behind that. */
static void serve(xl_conn_t *conn, xl_request_t *xr)
{
    conn_rec *c = conn->c;

    xl_delay_end(xr);
    xr->resumes = true;
    xl_wait_handler_begins();
    c->cs->state = CONN_STATE_HANDLER;
    ap_update_child_status(c->sbh, SERVER_BUSY_WRITE, xr->r);
    ap_process_async_request(xr->r);
    if (c->cs->state == CONN_STATE_HANDLER)
        c->cs->state = CONN_STATE_LINGER;
}

static void come_back(xl_conn_t *conn)
{
    xl_request_t *xr = conn->waiting;

    if (!can_wait_for_io()) {
        conn->c->clogging_input_filters = 0;
        conn->c->data_in_output_filters = 0;
    }
    conn->c->cs->state = CONN_STATE_SUSPENDED;
    if (is_gone(conn) || !xl_delay_until_ns(xr))
        serve(conn, xr);
}

int xl_delay_process_connection(conn_rec *c)
{
    xl_conn_t *conn = xl_conn_of(c);
    int rv = OK;

    if (!conn || !conn->async || conn->in_process)
        return DECLINED;
    conn->in_process = true;
    if (conn->waiting)
        come_back(conn);
    else
        rv = ap_run_process_connection(c);
    conn->in_process = false;
    if (conn->waiting && c->cs->state == CONN_STATE_SUSPENDED)
        wait_in_pollset(conn);
    return rv == DECLINED ? HTTP_INTERNAL_SERVER_ERROR : rv; /* not once more */
}

int xl_delay_quick_handler(request_rec *r, int lookup)
{
    const xl_request_t *xr = lookup || r->main || r->prev ? NULL : xl_request_of(r);

    if (!xr || !xr->resumes)
        return DECLINED;
    return is_gone(xr->conn) ? xl_respond_gone(r) : ap_invoke_handler(r);
}
