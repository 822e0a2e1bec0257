/* SPDX-License-Identifier: Apache-2.0
 *
 * request: from a request_rec to a verdict and to its settlement. Reads the
 * request once, decides once (subrequests, internal redirects and error
 * documents belong to the original request), counts once. Registers a pool
 * cleanup when it begins to count, so that each take has its give however the
 * request ends. What a verdict does to the response is respond.c's affair.
 */
#include "mod_xlimit.h"
#include "xl_conn.h"
#include "xl_tcp.h"

#include "ap_expr.h"
#include "http_core.h"
#include "http_log.h"
#include "http_request.h"

APLOG_USE_MODULE(xlimit);

#define OWN_QUICK_HANDLERS 3

static request_rec *original(request_rec *r)
{
    while (r->main || r->prev)
        r = r->main ? r->main : r->prev;
    return r;
}

xl_request_t *xl_request_of(request_rec *r)
{
    return ap_get_module_config(original(r)->request_config, &xlimit_module);
}

const request_rec *xl_request_last(const request_rec *r)
{
    while (r->next)
        r = r->next;
    return r;
}

bool xl_request_is_interim(const xl_request_t *xr)
{
    int status = xl_request_last(xr->r)->status;

    return ap_is_HTTP_INFO(status) && status != HTTP_SWITCHING_PROTOCOLS;
}

/* ---- settlement ------------------------------------------------------ */

/* Of a connection that was broken off, by the client or by the MPM: what had been
 * handed down and does not arrive, as far as anybody can know. */
static void take_back_unsent(xl_request_t *xr)
{
    xl_conn_t *conn = xr->conn;
    uint64_t arrives, unsent, end = xr->wire_end ? xr->wire_end : conn->wire_bytes;

    if (!conn->c->aborted || conn->primary != conn || !xr->sent_bytes
        || !xl_tcp_break_off(xl_park_fd(conn), &arrives) || arrives >= end)
        return;
    unsent = end - arrives;
    if (conn->memory_only) /* records of TLS: as much less as they are longer */
        unsent = (uint64_t)((unsigned __int128)unsent * conn->plain_bytes / (conn->wire_bytes ? conn->wire_bytes : 1));
    xl_request_unsent(xr, unsent);
}

/* Not that of an interim response, after which the client sends what the handler
 * waits for. Older httpds send such a one without saying so in the status: what is
 * another one in the end is counted then. */
void xl_request_answered(xl_request_t *xr)
{
    int status = xl_request_last(xr->r)->status;

    if (status == xr->answered || xl_request_is_interim(xr))
        return;
    xr->answered = status;
    if (!xr->n_applied)
        return;
    xl_answered(xr->applied, xr->n_applied, status, xl_now());
    xl_events_locked(xr);
}

/* Lets go of all that its limits hold. */
static void end_decision(xl_request_t *xr)
{
    xl_facts_t here = xl_facts_here();

    xl_settle(xr->applied, xr->n_applied, &here);
    xr->n_applied = 0;
}

static apr_status_t settle(void *data)
{
    xl_request_t *xr = data;
    xl_conn_t *conn = xr->conn;

    if (xr->uncounted_bytes)
        xl_request_sent(xr, 0);
    xl_delay_end(xr);
    xl_pace_end(xr);
    xl_levels_leave(&xr->up);
    xl_stream_end(xr);
    xl_spool_end(conn);
    take_back_unsent(xr);
    xl_events_warn(xr);
    xl_request_answered(xr);
    end_decision(xr);
    if (xr->active && xr->scope)
        xl_entry_leave(xl_segment_ledger(), xr->scope, xl_segment_row());
    if (conn->writing == xr)
        conn->writing = NULL;
    if (conn->r == xr->r)
        conn->r = NULL;
    return APR_SUCCESS;
}

void xl_request_end(xl_request_t *xr)
{
    apr_pool_cleanup_run(xr->r->pool, xr, settle);
}

static xl_request_t *make(request_rec *r, xl_conn_t *conn)
{
    xl_request_t *xr = ap_get_module_config(r->request_config, &xlimit_module);

    if (xr)
        return xr;
    xr = apr_pcalloc(r->pool, sizeof(*xr));
    xr->r = r;
    xr->conn = conn;
    xr->verdict.verdict = XL_VERDICT_PASSED;
    ap_set_module_config(r->request_config, &xlimit_module, xr);
    /* Before all other cleanups: mod_cgid's waits for its program, when the response has long ended. */
    apr_pool_pre_cleanup_register(r->pool, xr, settle);
    return xr;
}

/* With its account, whose end is also that of conn->r: a connection that ends
 * without a further request destroys this one unread. */
void xl_request_pre_read(request_rec *r, conn_rec *c)
{
    xl_conn_t *conn = xl_conn_of(c);

    if (conn) {
        conn->r = r;
        make(r, conn);
        xl_wait_handler_begins();
    }
}

/* ---- the decision ---------------------------------------------------- */

/* Nobody is sent to where he already is. What is decided anew no longer says whom
 * this request has locked out. */
static bool excuse(xl_request_t *xr, request_rec *r)
{
    xl_applied_t *by = &xr->applied[xr->verdict.by];

    if (by->action->kind != XL_ACT_REDIRECT || by->excused || !xl_respond_is_target(r, by->action))
        return false;
    by->excused = true;
    xl_events_locked(xr);
    return true;
}

/* What is decided now, charged or only looked at. */
static void look(xl_request_t *xr, request_rec *r, bool may_refuse, bool charge, xl_now_t now)
{
    xl_facts_t here = xl_facts_here();

    end_decision(xr);
    xr->zone_values = NULL; /* of an earlier look, before the URL was mapped */
    xl_collect(xr, r, now);
    for (size_t i = 0; !may_refuse && i < xr->n_applied; i++)
        xr->applied[i].excused = xr->applied[i].action->kind != XL_ACT_SPEED; /* which refuses nobody */
    do {
        xr->verdict = charge ? xl_decide(xr->applied, xr->n_applied, &here, now)
                             : xl_decide_look(xr->applied, xr->n_applied, &here, now);
    } while (xr->verdict.decision == XL_DECISION_REFUSE && excuse(xr, r));
}

/* Of a part of a speed answer that is one at once it shows in the cell alone. */
static void count_in_cell(const xl_applied_t *applied, int requests)
{
    if (applied->cell && !applied->key.usage && (!applied->part_of || applied->limit->dimension == XL_DIM_CONNECTIONS))
        atomic_fetch_add_explicit(&applied->cell->requests, (uint64_t)requests, memory_order_relaxed);
}

/* In each limit that it met; -1: never mind. */
static void count_in_limits(const xl_request_t *xr, int requests)
{
    for (size_t i = 0; i < xr->n_applied; i++) {
        const xl_applied_t *applied = &xr->applied[i];

        count_in_cell(applied, requests);
        if (!applied->entry || applied->part_of)
            continue;
        atomic_fetch_add(&applied->entry->requests, (uint64_t)requests); /* modulo 2^64 */
        atomic_fetch_add(&applied->entry->verdicts[applied->verdict], (uint64_t)requests);
    }
}

static void count_decision(xl_request_t *xr)
{
    if (xr->scope) {
        atomic_fetch_add(&xr->scope->requests, 1);
        atomic_fetch_add(&xr->scope->verdicts[xr->verdict.verdict], 1);
        xl_entry_enter(xl_segment_ledger(), xr->scope, xl_segment_row());
        xr->active = true;
    }
    count_in_limits(xr, 1);
}

/* What was counted as something else was rejected after all. */
static void count_as_rejected(xl_entry_t *entry, int counted)
{
    if (!entry)
        return;
    atomic_fetch_sub(&entry->verdicts[counted], 1);
    atomic_fetch_add(&entry->verdicts[XL_VERDICT_REJECTED], 1);
}

void xl_request_refused_late(xl_request_t *xr, request_rec *r)
{
    count_as_rejected(xr->scope, xr->verdict.verdict);
    xr->verdict.verdict = XL_VERDICT_REJECTED;
    xl_respond_environment(xr, r);
}

/* httpd has answered 101 and hands the connection to HTTP/2: its first stream is this
 * request, and is decided and counted as such; here nothing has happened. A 101 of
 * anybody else is a response. */
int xl_request_switching(conn_rec *c, request_rec *r, server_rec *s, const char *protocol)
{
    xl_facts_t here = xl_facts_here();
    xl_request_t *xr = r ? xl_request_of(r) : NULL;

    (void)c;
    (void)s;
    if (!xr || !xr->active || strcmp(protocol, "h2c") != 0)
        return DECLINED;
    xl_account_back(xr->applied, xr->n_applied, xr->sent_bytes);
    xr->conn->upgraded_after_ns = xr->delayed_ns;
    xl_pace_end(xr);
    xr->down.n = 0;
    count_in_limits(xr, -1);
    xl_decide_undo(xr->applied, xr->n_applied, &here);
    end_decision(xr);
    atomic_fetch_sub(&xr->scope->requests, 1);
    atomic_fetch_sub(&xr->scope->verdicts[xr->verdict.verdict], 1);
    xl_entry_leave(xl_segment_ledger(), xr->scope, xl_segment_row());
    xr->active = false;
    return DECLINED;
}

/* The speed of a quota is a level from the start, and takes part as long as the
 * quota is used up; that of another limit is one for the response of a request
 * that exceeded it. */
static void add_levels(xl_request_t *xr)
{
    for (size_t i = 0; i < xr->n_applied; i++) {
        const xl_applied_t *applied = &xr->applied[i];
        xl_dimension_e dimension = applied->limit->dimension;
        bool speed = applied->action->kind == XL_ACT_SPEED && !applied->excused
                     && (dimension == XL_DIM_QUOTA || applied->over);

        if (applied->limit->mode != XL_MODE_ENFORCE || (!xl_dimension_paces(dimension) && !speed))
            continue;
        if (!xl_levels_add(xr, dimension == XL_DIM_UPLOAD ? &xr->up : &xr->down, applied))
            break;
    }
    if (xr->own_rate.given && !xr->exempt) /* by a quick handler's response, before any decision */
        xl_levels_override(xr, &xr->down);
}

/* NULL: none did. A part of a speed answer has no name of its own. */
static const xl_limit_t *who_decided(const xl_request_t *xr)
{
    size_t by = xr->verdict.by;

    if (by < xr->n_applied && xr->applied[by].part_of)
        by = xr->applied[by].part_of - 1;
    return by < xr->n_applied ? xr->applied[by].limit : NULL;
}

static void decide(xl_request_t *xr, request_rec *r, bool may_refuse)
{
    const xl_server_conf_t *server = xl_config_server(r->server);
    xl_now_t now = xl_now();

    xr->decided = true;
    xr->scope = xl_ledger_entry(xl_segment_ledger(), server->entry);
    look(xr, r, may_refuse, true, now);
    if (xr->verdict.decision == XL_DECISION_REFUSE)
        xl_decide_refused(xr->applied, xr->n_applied, now);
    xr->by = who_decided(xr);
    count_decision(xr);
    xl_events_decided(xr, now);
}

/* While the request is still being read the MPM closes right after the response:
 * nothing may be held. */
static void begin_late(xl_request_t *xr, const request_rec *r)
{
    const conn_rec *c = r->connection;

    if (c->cs && c->cs->state != CONN_STATE_HANDLER)
        return;
    add_levels(xr);
    xl_delay_response(xr);
}

/* A response that was begun by somebody who runs before the decision (a quick
 * handler, a redirect at translation, an error in the request itself): it is
 * too late to refuse, not to count and to pace. */
static void decide_late(xl_request_t *xr, request_rec *r)
{
    decide(xr, r, false);
    begin_late(xr, r);
}

/* An error from before the decision, which has a page: its program can be refused yet,
 * and httpd says the error itself. */
static int decide_page(xl_request_t *xr, request_rec *r)
{
    decide(xr, r, true);
    xl_respond_environment(xr, r);
    if (xr->verdict.decision == XL_DECISION_REFUSE)
        return xl_respond_refuse(xr, r);
    begin_late(xr, r);
    return DECLINED;
}

static int decided_before(xl_request_t *xr, request_rec *r)
{
    xl_respond_environment(xr, r);
    if (xr->verdict.decision == XL_DECISION_REFUSE)
        r->status_line = r->prev->status_line; /* httpd drops it when it is of another status */
    return DECLINED;
}

xl_request_t *xl_request_writing(xl_conn_t *conn)
{
    xl_request_t *xr;

    if (conn->writing || !conn->r || conn->multiplexed)
        return conn->writing;
    xr = make(conn->r, conn);
    conn->writing = xr;
    if (!xr->decided)
        decide_late(xr, conn->r);
    return xr;
}

/* Where too many wait already the limit that asks for the longest wait refuses, as without delay=. */
static void refuse_to_wait(xl_request_t *xr)
{
    xl_facts_t here = xl_facts_here();
    xl_applied_t *by = NULL;

    for (size_t i = 0; i < xr->n_applied; i++)
        if (xr->applied[i].verdict == XL_VERDICT_DELAYED && (!by || xr->applied[i].delay_ns >= by->delay_ns)) {
            by = &xr->applied[i];
            xr->verdict.by = i;
        }
    xl_decide_undo(xr->applied, xr->n_applied, &here);
    count_as_rejected(by->entry, XL_VERDICT_DELAYED);
    count_as_rejected(xr->scope, xr->verdict.verdict);
    xr->by = by->limit;
    xr->verdict.decision = XL_DECISION_REFUSE;
    xr->verdict.verdict = XL_VERDICT_REJECTED;
    xr->verdict.retry_after_s = 1 + xr->verdict.delay_ns / XL_NS_PER_S;
    xl_decide_refused(xr->applied, xr->n_applied, xl_now());
    xl_events_locked(xr);
}

/* false: the client has not waited for it. */
static bool take_turn(xl_request_t *xr, request_rec *r)
{
    xl_delay_e how = xl_delay(xr, r);

    if (how == XL_DELAY_FULL)
        refuse_to_wait(xr);
    return how != XL_DELAY_GONE;
}

int xl_request_decide(request_rec *r)
{
    xl_conn_t *conn = xl_conn_of(r->connection);
    xl_request_t *xr;

    if (!conn || r->main)
        return DECLINED;
    conn->r = original(r); /* an HTTP/2 stream's request may be made without being read */
    xr = make(conn->r, conn);
    if (xr->decided)
        return r->prev ? decided_before(xr, r) : DECLINED;
    if (r->prev)
        return decide_page(xr, r);
    decide(xr, r, true);
    if (xr->verdict.delay_ns && !take_turn(xr, r))
        return xl_respond_gone(r);
    xl_respond_environment(xr, r);
    xl_respond_headers(xr, r, xl_config_dir(r->per_dir_config)->headers);
    if (xr->verdict.decision == XL_DECISION_REFUSE) {
        xl_upload_refuse(r);
        return xl_respond_refuse(xr, r);
    }
    add_levels(xr);
    if (xr->up.n)
        xl_upload_begin(xr, r);
    return DECLINED;
}

/* TRACE is answered where URLs are mapped, and has no file: what <Location> and
 * the host say of it is all there is. Directories would be merged next, into the
 * host's alone. */
int xl_request_decide_trace(request_rec *r)
{
    int rv;

    if (r->method_number != M_TRACE || r->proxyreq)
        return DECLINED;
    if ((rv = ap_location_walk(r)) != OK || (rv = ap_if_walk(r)) != OK)
        return rv;
    return xl_request_decide(r);
}

/* Quick handlers (mod_cache's) answer before a URL is mapped and before
 * anything here could refuse. They look at GET alone: a request that would be
 * refused is shown to them as something else. */
int xl_request_hide_from_quick_handlers(request_rec *r, int lookup)
{
    xl_conn_t *conn = xl_conn_of(r->connection);
    xl_request_t *xr;

    if (!conn || lookup || r->main || r->prev || ap_hook_get_quick_handler()->nelts <= OWN_QUICK_HANDLERS)
        return DECLINED;
    xr = make(r, conn);
    look(xr, r, true, false, xl_now());
    if (xr->verdict.decision == XL_DECISION_REFUSE) {
        xr->hidden_method = r->method_number + 1; /* 0 is M_GET */
        r->method_number = M_INVALID;
    }
    end_decision(xr);
    return DECLINED;
}

int xl_request_show_again(request_rec *r, int lookup)
{
    xl_request_t *xr = lookup || r->main || r->prev ? NULL : xl_request_of(r);

    if (xr && xr->hidden_method) {
        r->method_number = xr->hidden_method - 1;
        xr->hidden_method = 0;
    }
    return DECLINED;
}

/* What an upload's entry counts is received: levels.c does. */
static bool has_sent_bytes(const xl_applied_t *applied)
{
    return applied->entry && !applied->part_of && applied->limit->dimension != XL_DIM_UPLOAD;
}

/* Of the key, too, where its cell counts anything but a quota. */
static void add_bytes(xl_request_t *xr, uint64_t bytes)
{
    if (xr->scope)
        atomic_fetch_add(&xr->scope->sent_bytes, bytes);
    for (size_t i = 0; i < xr->n_applied; i++) {
        const xl_applied_t *applied = &xr->applied[i];

        if (!has_sent_bytes(applied))
            continue;
        atomic_fetch_add(&applied->entry->sent_bytes, bytes);
        if (applied->cell && !applied->key.usage && applied->limit->dimension != XL_DIM_CONNECTIONS) /* by its pin */
            atomic_fetch_add_explicit(&applied->cell->bytes, bytes, memory_order_relaxed);
    }
}

void xl_request_sent(xl_request_t *xr, uint64_t bytes)
{
    bytes += xr->uncounted_bytes;
    xr->uncounted_bytes = 0;
    xr->sent_bytes += bytes;
    add_bytes(xr, bytes);
    xl_account(xr->applied, xr->n_applied, bytes, xl_now());
}

void xl_request_unsent(xl_request_t *xr, uint64_t bytes)
{
    if (xr->uncounted_bytes)
        xl_request_sent(xr, 0);
    if (bytes > xr->sent_bytes)
        bytes = xr->sent_bytes;
    xr->sent_bytes -= bytes;
    add_bytes(xr, -bytes); /* modulo 2^64 */
    xl_account_back(xr->applied, xr->n_applied, bytes);
}
