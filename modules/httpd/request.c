/* SPDX-License-Identifier: Apache-2.0
 *
 * request: from a request_rec to a verdict and to its settlement. Reads the
 * request once, decides once (subrequests, internal redirects and error
 * documents belong to the original request), counts once. Registers a pool
 * cleanup when it begins to count, so that each take has its give however the
 * request ends. What a verdict does to the response is respond.c's affair.
 */
#include "mod_xlimit.h"
#include "xl_classes.h"
#include "xl_conn.h"
#include "xl_tcp.h"

#include "ap_expr.h"
#include "http_core.h"
#include "http_log.h"
#include "http_request.h"

APLOG_USE_MODULE(xlimit);

xl_request_t *xl_request_of(request_rec *r)
{
    while (r->main || r->prev)
        r = r->main ? r->main : r->prev;
    return ap_get_module_config(r->request_config, &xlimit_module);
}

/* ---- settlement ------------------------------------------------------ */

/* Of a client that went away: what had been handed down and was never
 * acknowledged did not leave, as far as anybody can know. */
static void take_back_unsent(xl_request_t *xr)
{
    xl_conn_t *conn = xr->conn;
    uint64_t acked, unsent, end = xr->wire_end ? xr->wire_end : conn->wire_bytes;

    if (!conn->c->aborted || conn->primary != conn || !xr->sent_bytes
        || !xl_tcp_acknowledged(xl_park_fd(conn), &acked) || acked >= end)
        return;
    unsent = end - acked;
    if (conn->memory_only) /* records of TLS: as much less as they are longer */
        unsent = (uint64_t)((unsigned __int128)unsent * conn->plain_bytes / (conn->wire_bytes ? conn->wire_bytes : 1));
    xl_request_unsent(xr, unsent);
}

static apr_status_t settle(void *data)
{
    xl_request_t *xr = data;
    xl_conn_t *conn = xr->conn;

    if (xr->uncounted_bytes)
        xl_request_sent(xr, 0);
    xl_pace_end(xr);
    xl_levels_leave(&xr->up);
    xl_stream_end(xr);
    xl_spool_end(conn);
    take_back_unsent(xr);
    xl_events_warn(xr);
    if (xr->active && xr->scope)
        xl_entry_leave(xl_segment_ledger(), xr->scope, xl_segment_row());
    if (conn->writing == xr)
        conn->writing = NULL;
    if (conn->r == xr->r)
        conn->r = NULL;
    return APR_SUCCESS;
}

static xl_request_t *make(request_rec *r, xl_conn_t *conn)
{
    xl_request_t *xr = ap_get_module_config(r->request_config, &xlimit_module);

    if (xr)
        return xr;
    xr = apr_pcalloc(r->pool, sizeof(*xr));
    xr->r = r;
    xr->conn = conn;
    xr->facts.cost = 1;
    xr->verdict.verdict = XL_VERDICT_PASSED;
    ap_set_module_config(r->request_config, &xlimit_module, xr);
    apr_pool_cleanup_register(r->pool, xr, settle, apr_pool_cleanup_null);
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

/* ---- what applies ---------------------------------------------------- */

/* An expression that cannot be evaluated limits: an error never opens a gate. */
static bool holds(request_rec *r, const void *expr, bool on_error)
{
    const char *error = NULL;
    int result;

    if (!expr)
        return true;
    result = ap_expr_exec(r, expr, &error);
    if (result < 0)
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, "xlimit(501): when= cannot be evaluated: %s", error);
    return result < 0 ? on_error : result > 0;
}

/* The handler that will serve it, before the fixups that would say so. */
static const char *handler_of(request_rec *r)
{
    const core_dir_config *core = ap_get_core_module_config(r->per_dir_config);
    const char *error = NULL, *handler = NULL;

    if (r->handler || !core->expr_handler)
        return r->handler ? r->handler : core->handler;
    handler = ap_expr_str_exec(r, core->expr_handler, &error); /* SetHandler's, without an expression as well */
    return error ? NULL : handler;
}

static bool spares(request_rec *r, const xl_exempt_t *exempt, const char *handler)
{
    if (exempt->clients.id)
        return xl_class_holds(r, &exempt->clients);
    return exempt->handler ? handler && !strcmp(handler, exempt->handler) : holds(r, exempt->when, false);
}

static bool is_exempt(request_rec *r, const xl_dir_conf_t *conf)
{
    const char *handler = handler_of(r);

    if (apr_table_get(r->subprocess_env, XLIMIT_ENV_EXEMPT))
        return true;
    if (handler && (!strcmp(handler, XLIMIT_STATUS_HANDLER) || !strcmp(handler, "server-status")))
        return true;
    for (int i = 0; conf->exempts && i < conf->exempts->nelts; i++)
        if (spares(r, &APR_ARRAY_IDX(conf->exempts, i, xl_exempt_t), handler))
            return true;
    return false;
}

static void collect(xl_request_t *xr, request_rec *r, const xl_dir_conf_t *conf)
{
    xr->n_applied = 0;
    if (!conf->limits)
        return;
    xr->applied = apr_pcalloc(r->pool, (size_t)conf->limits->nelts * sizeof(*xr->applied));
    for (int i = 0; i < conf->limits->nelts; i++) {
        xl_limit_t *limit = APR_ARRAY_IDX(conf->limits, i, xl_limit_t *);
        xl_applied_t *applied = &xr->applied[xr->n_applied];

        if ((limit->dimension == XL_DIM_UPLOAD && !ap_request_has_body(r)) || !xl_class_holds(r, &limit->only)
            || !holds(r, limit->when, true))
            continue;
        applied->entry = limit->key == XL_KEY_SESSION ? NULL : xl_segment_entry(limit, r->server);
        if (!applied->entry && limit->key != XL_KEY_SESSION)
            continue; /* the ledger is full: logged where it was found out */
        applied->limit = limit;
        applied->action = xl_config_action(conf, limit);
        xr->n_applied++;
    }
}

/* ---- the decision ---------------------------------------------------- */

/* Nobody is sent to where he already is. */
static bool excuse(xl_request_t *xr, request_rec *r)
{
    xl_applied_t *by = &xr->applied[xr->verdict.by];

    if (by->action->kind != XL_ACT_REDIRECT || by->excused || !xl_respond_is_target(r, by->action))
        return false;
    by->excused = true;
    return true;
}

static void look(xl_request_t *xr, request_rec *r, bool may_refuse, xl_now_t now)
{
    const xl_dir_conf_t *conf = xl_config_dir(r->per_dir_config);

    xr->n_applied = 0;
    xr->exempt = is_exempt(r, conf);
    if (!xr->exempt)
        collect(xr, r, conf);
    for (size_t i = 0; !may_refuse && i < xr->n_applied; i++)
        xr->applied[i].excused = xr->applied[i].action->kind != XL_ACT_SPEED; /* which refuses nobody */
    do {
        xr->verdict = xl_decide(xr->applied, xr->n_applied, &xr->facts, now);
    } while (xr->verdict.decision == XL_DECISION_REFUSE && excuse(xr, r));
}

static void count_decision(xl_request_t *xr)
{
    if (xr->scope) {
        atomic_fetch_add(&xr->scope->requests, 1);
        atomic_fetch_add(&xr->scope->verdicts[xr->verdict.verdict], 1);
        xl_entry_enter(xl_segment_ledger(), xr->scope, xl_segment_row());
        xr->active = true;
    }
    for (size_t i = 0; i < xr->n_applied; i++) {
        const xl_applied_t *applied = &xr->applied[i];

        if (!applied->entry)
            continue;
        atomic_fetch_add(&applied->entry->requests, 1);
        atomic_fetch_add(&applied->entry->verdicts[applied->verdict], 1);
    }
}

/* Counted as served so far. */
void xl_request_refused_late(xl_request_t *xr, request_rec *r)
{
    if (xr->scope) {
        atomic_fetch_sub(&xr->scope->verdicts[xr->verdict.verdict], 1);
        atomic_fetch_add(&xr->scope->verdicts[XL_VERDICT_REJECTED], 1);
    }
    xr->verdict.verdict = XL_VERDICT_REJECTED;
    xl_respond_environment(xr, r);
}

/* To HTTP/2: its first stream is this request, and is decided and counted as
 * such; here nothing has happened. */
void xl_request_switching(xl_request_t *xr)
{
    /* What httpd answered is no longer in headers_out. */
    if (!xr->active || !ap_find_token(xr->r->pool, apr_table_get(xr->r->headers_in, "Upgrade"), "h2c"))
        return;
    xl_pace_end(xr);
    xr->down.n = 0;
    xl_decide_undo(xr->applied, xr->n_applied, &xr->facts);
    for (size_t i = 0; i < xr->n_applied; i++) {
        if (!xr->applied[i].entry)
            continue;
        atomic_fetch_sub(&xr->applied[i].entry->requests, 1);
        atomic_fetch_sub(&xr->applied[i].entry->verdicts[xr->applied[i].verdict], 1);
    }
    xr->n_applied = 0;
    atomic_fetch_sub(&xr->scope->requests, 1);
    atomic_fetch_sub(&xr->scope->verdicts[xr->verdict.verdict], 1);
    xl_entry_leave(xl_segment_ledger(), xr->scope, xl_segment_row());
    xr->active = false;
}

/* The speed of a quota is a level from the start, and takes part as long as the
 * quota is used up. */
static void add_levels(xl_request_t *xr)
{
    for (size_t i = 0; i < xr->n_applied; i++) {
        const xl_applied_t *applied = &xr->applied[i];
        bool speed = applied->limit->dimension == XL_DIM_QUOTA;

        if (applied->limit->mode != XL_MODE_ENFORCE
            || (speed && (applied->excused || applied->action->kind != XL_ACT_SPEED)))
            continue;
        if (!xl_levels_add(xr, applied->limit->dimension == XL_DIM_UPLOAD ? &xr->up : &xr->down, applied))
            break;
    }
    if (xr->own_rate.given && !xr->exempt) /* by a quick handler's response, before any decision */
        xl_levels_override(xr, &xr->down);
}

static void decide(xl_request_t *xr, request_rec *r, bool may_refuse)
{
    const xl_server_conf_t *server = xl_config_server(r->server);
    xl_now_t now = xl_now();

    xr->decided = true;
    xr->scope = xl_ledger_entry(xl_segment_ledger(), server->entry);
    look(xr, r, may_refuse, now);
    xr->by = xr->verdict.by < xr->n_applied ? xr->applied[xr->verdict.by].limit : NULL;
    count_decision(xr);
    xl_events_decided(xr, now);
}

/* A response that was begun by somebody who runs before the decision (a quick
 * handler, a redirect at translation, an error in the request itself): it is
 * too late to refuse, not to count and to pace. While the request is still
 * being read the MPM closes right after the response: nothing may be held. */
static void decide_late(xl_request_t *xr, request_rec *r)
{
    const conn_rec *c = r->connection;

    decide(xr, r, false);
    if (!c->cs || c->cs->state == CONN_STATE_HANDLER)
        add_levels(xr);
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

int xl_request_decide(request_rec *r)
{
    xl_conn_t *conn = xl_conn_of(r->connection);
    xl_request_t *xr;

    if (!conn || r->main)
        return DECLINED;
    if (r->prev) {
        xr = xl_request_of(r);
        if (xr && xr->decided) {
            xl_respond_environment(xr, r);
            if (xr->verdict.decision == XL_DECISION_REFUSE)
                r->status_line = r->prev->status_line; /* httpd drops it when it is of another status */
        }
        return DECLINED;
    }
    conn->r = r; /* an HTTP/2 stream's request may be made without being read */
    xr = make(r, conn);
    if (xr->decided)
        return DECLINED;
    decide(xr, r, true);
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

/* Quick handlers (mod_cache's) answer before a URL is mapped and before
 * anything here could refuse. They look at GET alone: a request that would be
 * refused is shown to them as something else. */
int xl_request_hide_from_quick_handlers(request_rec *r, int lookup)
{
    xl_conn_t *conn = xl_conn_of(r->connection);
    xl_request_t *xr;

    if (!conn || lookup || r->main || r->prev || ap_hook_get_quick_handler()->nelts <= 2)
        return DECLINED;
    xr = make(r, conn);
    look(xr, r, true, xl_now());
    if (xr->verdict.decision == XL_DECISION_REFUSE) {
        xr->hidden_method = r->method_number + 1; /* 0 is M_GET */
        r->method_number = M_INVALID;
    } else {
        xl_decide_undo(xr->applied, xr->n_applied, &xr->facts);
    }
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
    return applied->entry && applied->limit->dimension != XL_DIM_UPLOAD;
}

void xl_request_sent(xl_request_t *xr, uint64_t bytes)
{
    bytes += xr->uncounted_bytes;
    xr->uncounted_bytes = 0;
    xr->sent_bytes += bytes;
    if (xr->scope)
        atomic_fetch_add(&xr->scope->sent_bytes, bytes);
    for (size_t i = 0; i < xr->n_applied; i++) {
        if (has_sent_bytes(&xr->applied[i]))
            atomic_fetch_add(&xr->applied[i].entry->sent_bytes, bytes);
    }
    xl_account(xr->applied, xr->n_applied, bytes, xl_now());
}

void xl_request_unsent(xl_request_t *xr, uint64_t bytes)
{
    if (xr->uncounted_bytes)
        xl_request_sent(xr, 0);
    if (bytes > xr->sent_bytes)
        bytes = xr->sent_bytes;
    xr->sent_bytes -= bytes;
    if (xr->scope)
        atomic_fetch_sub(&xr->scope->sent_bytes, bytes);
    for (size_t i = 0; i < xr->n_applied; i++) {
        if (has_sent_bytes(&xr->applied[i]))
            atomic_fetch_sub(&xr->applied[i].entry->sent_bytes, bytes);
    }
    xl_account_back(xr->applied, xr->n_applied, bytes, xl_now());
}
