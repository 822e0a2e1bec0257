/* SPDX-License-Identifier: Apache-2.0
 *
 * collect: which limits apply to a request, each with its entry, its key, the
 * pinned cell of that, what it costs and what happens to who exceeds it. Decides
 * nothing and charges nothing; what is pinned here is let go by xl_settle.
 * Runs in the request's own thread; nobody locks.
 */
#include "mod_xlimit.h"
#include "xl_classes.h"
#include "xl_conn.h"
#include "xl_told.h"

#include "ap_expr.h"
#include "http_core.h"
#include "http_log.h"
#include "http_request.h"

APLOG_USE_MODULE(xlimit);

#define COST_MOST UINT64_C(1000000000)

xl_facts_t xl_facts_here(void)
{
    return (xl_facts_t){ .ledger = xl_segment_ledger(), .row = xl_segment_row() };
}

/* ---- who is exempt ---------------------------------------------------- */

/* A condition, and what it comes to when it cannot be evaluated: an error never
 * opens a gate. */
typedef struct {
    const void *expr; /* NULL: always */
    const char *text, *file;
    int line;
    bool on_error;
} when_t;

static bool holds(request_rec *r, const when_t *when)
{
    const char *error = NULL;
    int result;

    if (!when->expr)
        return true;
    result = ap_expr_exec(r, when->expr, &error);
    if (result < 0 && xl_told_minute(XL_TOLD_WHEN))
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, "xlimit(501): when=\"%.128s\" (%s:%d) cannot be evaluated: %s; the "
                      "request is limited, and this is said once a minute", when->text, when->file, when->line,
                      error);
    return result < 0 ? when->on_error : result > 0;
}

static bool limit_holds(request_rec *r, const xl_limit_t *limit)
{
    return holds(r, &(when_t){ limit->when, limit->when_text, limit->file, limit->line, true });
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
    if (exempt->handler)
        return handler && !strcmp(handler, exempt->handler);
    return holds(r, &(when_t){ exempt->when, exempt->when_text, exempt->file, exempt->line, false });
}

static bool is_exempt(request_rec *r, const xl_dir_conf_t *conf)
{
    const char *handler = xl_trust_handler(r) ? handler_of(r) : NULL;

    if (xl_trust_variable(r, XLIMIT_ENV_EXEMPT))
        return true;
    if (handler && (!strcmp(handler, XLIMIT_STATUS_HANDLER) || !strcmp(handler, "server-status")))
        return true;
    for (int i = 0; conf->exempts && i < conf->exempts->nelts; i++)
        if (spares(r, &APR_ARRAY_IDX(conf->exempts, i, xl_exempt_t), handler))
            return true;
    return false;
}

/* ---- what a request costs --------------------------------------------- */

/* A whole number; what is none is 1, and is said once a minute. */
static uint64_t number_of(const request_rec *r, const char *text, const char *what)
{
    uint64_t number = 0;

    if (text && (!strcmp(text, "0") || !xl_units_number(text, COST_MOST, &number)))
        return number;
    if (xl_told_minute(XL_TOLD_COST))
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, "xlimit(503): %s came to \"%.64s\", right would be a whole number of "
                      "at most 1000000000; it counts as 1, and this is said once a minute", what, text ? text : "");
    return 1;
}

static uint64_t cost_of(request_rec *r, const xl_limit_t *limit)
{
    const char *error = NULL, *text;

    if (limit->cost)
        return number_of(r, ap_expr_str_exec(r, limit->cost, &error), "cost=");
    text = xl_trust_variable(r, XLIMIT_ENV_COST);
    return text ? number_of(r, text, XLIMIT_ENV_COST) : 1;
}

static bool has_cost(const xl_limit_t *limit)
{
    return limit->dimension == XL_DIM_REQUESTS || limit->dimension == XL_DIM_PENALTY
           || (limit->dimension == XL_DIM_QUOTA && limit->unit == XL_UNIT_REQUESTS);
}

/* ---- the list ---------------------------------------------------------- */

void *xl_grow(apr_pool_t *p, const void *list, size_t *room, size_t least, size_t size)
{
    size_t more = *room ? 2 * *room : least;
    void *longer = apr_palloc(p, more * size);

    if (*room)
        memcpy(longer, list, *room * size);
    *room = more;
    return longer;
}

static xl_applied_t *push(xl_request_t *xr, request_rec *r)
{
    if (xr->n_applied == xr->room_applied)
        xr->applied = xl_grow(r->pool, xr->applied, &xr->room_applied, 4, sizeof(*xr->applied));
    return &xr->applied[xr->n_applied++];
}

/* The cell of its key. What is counted by being pinned is pinned when it is
 * charged, and levels pin when they pace. */
static void pin(xl_applied_t *a, const request_rec *r, xl_now_t now)
{
    if (a->limit->dimension == XL_DIM_CONNECTIONS && a->table)
        return;
    a->cell = xl_keys_pin(a->limit, a->entry, r->server, a->table, &a->key, now.mono_ns, &a->pin);
}

static bool has_cell(const xl_limit_t *limit)
{
    return (limit->key == XL_KEY_CLIENT || limit->key == XL_KEY_ZONE) && !xl_dimension_paces(limit->dimension);
}

/* What more holds for whoever exceeds a limit and is served at a speed. In a dry
 * run nothing does. */
static void collect_part(xl_request_t *xr, request_rec *r, size_t of, const xl_limit_t *part, xl_salt_e salt,
                         xl_now_t now)
{
    static const xl_action_t refuses = { .kind = XL_ACT_STATUS, .status = HTTP_TOO_MANY_REQUESTS };
    xl_applied_t a = { .limit = part, .action = &refuses, .part_of = of + 1, .cost = 1, .pin = { .cell = XL_NO_CELL } };

    if (!part || xr->applied[of].limit->mode != XL_MODE_ENFORCE)
        return;
    a.entry = xr->applied[of].entry;
    if (!xl_keys_find(xr, r, xr->applied[of].limit, a.entry, salt, &a.table, &a.key))
        return;
    pin(&a, r, now);
    *push(xr, r) = a;
}

static bool takes_part(request_rec *r, const xl_limit_t *limit)
{
    return !limit->at_accept && (limit->dimension != XL_DIM_UPLOAD || ap_request_has_body(r))
           && xl_class_holds(r, &limit->only) && limit_holds(r, limit);
}

/* Fills in a place of the list; false: the request does not meet the limit after all. */
static bool meet(xl_applied_t *a, xl_request_t *xr, request_rec *r, const xl_dir_conf_t *conf, xl_limit_t *limit,
                 xl_now_t now)
{
    *a = (xl_applied_t){ .limit = limit, .pin = { .cell = XL_NO_CELL }, .cost = 1 };
    a->entry = limit->key == XL_KEY_SESSION ? NULL : xl_segment_entry(limit, r->server);
    if (!a->entry && limit->key != XL_KEY_SESSION)
        return false; /* the ledger is full: logged where it was found out */
    if (has_cell(limit) && !xl_keys_find(xr, r, limit, a->entry, XL_SALT_NONE, &a->table, &a->key))
        return false;
    a->action = xl_config_action(conf, limit);
    if (has_cost(limit))
        a->cost = cost_of(r, limit);
    if (has_cell(limit))
        pin(a, r, now);
    return true;
}

static void collect_limit(xl_request_t *xr, request_rec *r, const xl_dir_conf_t *conf, xl_limit_t *limit, xl_now_t now)
{
    size_t at = xr->n_applied;
    const xl_action_t *action;

    if (!takes_part(r, limit))
        return;
    if (!meet(push(xr, r), xr, r, conf, limit, now)) {
        xr->n_applied = at;
        return;
    }
    action = xr->applied[at].action;
    if (action->kind != XL_ACT_SPEED)
        return;
    collect_part(xr, r, at, action->requests, XL_SALT_REQUESTS, now);
    collect_part(xr, r, at, action->connections, XL_SALT_CONNECTIONS, now);
}

void xl_collect(xl_request_t *xr, request_rec *r, xl_now_t now)
{
    const xl_dir_conf_t *conf = xl_config_dir(r->per_dir_config);

    xr->exempt = is_exempt(r, conf);
    for (int i = 0; !xr->exempt && conf->limits && i < conf->limits->nelts; i++)
        collect_limit(xr, r, conf, APR_ARRAY_IDX(conf->limits, i, xl_limit_t *), now);
}
