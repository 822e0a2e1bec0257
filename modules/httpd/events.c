/* SPDX-License-Identifier: Apache-2.0
 *
 * events: what the error log and the access log learn. One line per transition
 * of a limit into and out of refusal, however many requests and children see
 * it; one per announced percentage and period. The numbers in xlimit(NNN)
 * never change their meaning.
 */
#include "mod_xlimit.h"
#include "xl_conn.h"

#include "apr_strings.h"
#include "http_log.h"
#include "mod_log_config.h"

APLOG_USE_MODULE(xlimit);

/* ", Location /dl", or nothing for what stands in the host itself. */
static const char *place_of(apr_pool_t *p, const xl_limit_t *limit)
{
    return *limit->place ? apr_pstrcat(p, ", ", limit->place, NULL) : "";
}

/* Other children can write to it: it may have no end. */
static const char *vhost_of(apr_pool_t *p, const xl_applied_t *a)
{
    return apr_pstrndup(p, a->entry->vhost, XL_LABEL_MAX - 1);
}

/* ", key \"192.0.2.7\"", or nothing for a counter of all. */
static const char *key_of(apr_pool_t *p, const xl_applied_t *a)
{
    return a->table && *a->key.text ? apr_psprintf(p, ", key \"%.64s\"", a->key.text) : "";
}

static const char *mode_of(const xl_limit_t *limit)
{
    return limit->mode == XL_MODE_DRY_RUN ? " (dry run: nothing is refused)" : "";
}

/* What is wrong, by dimension; their numbers never change. */
static const struct {
    int id; /* 0: refuses nobody */
    const char *text;
} refusals[XL_DIMS] = {
    [XL_DIM_QUOTA] = { 401, "is used up" },
    [XL_DIM_REQUESTS] = { 404, "has more requests than may come" },
    [XL_DIM_CONNECTIONS] = { 405, "has as many at once as may be" },
    [XL_DIM_PENALTY] = { 406, "is locked out" },
    [XL_DIM_BLOCK] = { 407, "is met" },
};

static const char *again(apr_pool_t *p, const xl_applied_t *a)
{
    if (a->limit->dimension == XL_DIM_BLOCK)
        return "";
    if (a->wait_ms == XL_WAIT_NEVER)
        return "; this request costs more than there ever is at once";
    return apr_psprintf(p, "; worth trying again in %" APR_UINT64_T_FMT " s",
                        (apr_uint64_t)(a->wait_ms / 1000 + (a->wait_ms % 1000 != 0)));
}

static const char *refusal_text(apr_pool_t *p, const xl_applied_t *a)
{
    const xl_limit_t *limit = a->limit;

    return apr_psprintf(p, "xlimit(%d): %s of %s%s (%s:%d)%s %s%s%s", refusals[limit->dimension].id, limit->name,
                        vhost_of(p, a), place_of(p, limit), limit->file, limit->line, key_of(p, a),
                        refusals[limit->dimension].text, mode_of(limit), again(p, a));
}

static const char *end_text(apr_pool_t *p, const xl_applied_t *a, xl_now_t now, int64_t since_ms, uint64_t others)
{
    const char *seconds = "";

    if (since_ms && since_ms <= now.wall_ms) /* else the clock was turned back meanwhile */
        seconds = apr_psprintf(p, "%" APR_INT64_T_FMT " s and ", (now.wall_ms - since_ms) / 1000);
    return apr_psprintf(p, "xlimit(402): %s of %s%s%s is free again after %s%" APR_UINT64_T_FMT
                        " more requests that found it %s", a->limit->name, vhost_of(p, a), place_of(p, a->limit),
                        key_of(p, a), seconds, others, a->limit->dimension == XL_DIM_QUOTA ? "used up" : "so");
}

/* What the log learns of one limit, and at which level; NULL: nothing. */
static const char *transition(apr_pool_t *p, const xl_applied_t *a, xl_now_t now, int *level)
{
    uint64_t others;
    int64_t since_ms;

    if (!refusals[a->limit->dimension].id || a->part_of)
        return NULL;
    *level = APLOG_WARNING;
    if (a->locked || (a->over && xl_refusal_begins(a, now, &others)))
        return refusal_text(p, a);
    *level = APLOG_NOTICE;
    if (!a->over && xl_refusal_lasts(a) && xl_refusal_ends(a, now, &since_ms, &others))
        return end_text(p, a, now, since_ms, others);
    return NULL;
}

void xl_events_decided(const xl_request_t *xr, xl_now_t now)
{
    for (size_t i = 0; i < xr->n_applied; i++) {
        int level;
        const char *text = transition(xr->r->pool, &xr->applied[i], now, &level);

        if (text)
            ap_log_rerror(APLOG_MARK, level, 0, xr->r, "%s", text);
    }
}

void xl_events_accepted(const conn_rec *c, const xl_applied_t *list, size_t n, xl_now_t now)
{
    for (size_t i = 0; i < n; i++) {
        int level;
        const char *text = transition(c->pool, &list[i], now, &level);

        if (text)
            ap_log_cerror(APLOG_MARK, level, 0, c, "%s", text);
    }
}

void xl_events_locked(const xl_request_t *xr)
{
    for (size_t i = 0; i < xr->n_applied; i++)
        if (xr->applied[i].locked)
            ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, xr->r, "%s", refusal_text(xr->r->pool, &xr->applied[i]));
}

void xl_events_warn(const xl_request_t *xr)
{
    for (size_t i = 0; i < xr->n_applied; i++) {
        const xl_applied_t *applied = &xr->applied[i];
        unsigned percent;

        if (!applied->limit->warns)
            continue;
        percent = xl_quota_warning(applied->limit, applied->entry, xl_now().wall_ms);
        if (percent)
            ap_log_rerror(APLOG_MARK, APLOG_NOTICE, 0, xr->r, "xlimit(403): %s of %s%s (%s:%d) has reached %u %%",
                          applied->limit->name, vhost_of(xr->r->pool, applied), place_of(xr->r->pool, applied->limit),
                          applied->limit->file, applied->limit->line, percent);
    }
}

/* ---- %^XS %^XL %^XD %^XR of the access log ---------------------------- */

static const char *log_status(request_rec *r, char *arg)
{
    const xl_request_t *xr = xl_request_of(r);

    (void)arg;
    return xr && xr->decided ? xl_respond_token(xr) : NULL;
}

static const char *log_limit(request_rec *r, char *arg)
{
    const xl_request_t *xr = xl_request_of(r);

    (void)arg;
    return xr && xr->by ? xr->by->name : NULL;
}

static const char *log_delay(request_rec *r, char *arg)
{
    const xl_request_t *xr = xl_request_of(r);

    (void)arg;
    return xr ? apr_psprintf(r->pool, "%" APR_UINT64_T_FMT, (apr_uint64_t)(xr->delayed_ns / 1000)) : NULL;
}

static const char *log_remaining(request_rec *r, char *arg)
{
    const xl_request_t *xr = xl_request_of(r);

    (void)arg;
    return xr && xr->verdict.has_remaining ? apr_psprintf(r->pool, "%" APR_UINT64_T_FMT, xr->verdict.remaining) : NULL;
}

void xl_events_register_log_items(apr_pool_t *p)
{
    APR_OPTIONAL_FN_TYPE(ap_register_log_handler) *add = APR_RETRIEVE_OPTIONAL_FN(ap_register_log_handler);
    static char status[] = "^XS", limit[] = "^XL", delay[] = "^XD", remaining[] = "^XR";

    if (!add) /* mod_log_config is not loaded */
        return;
    add(p, status, log_status, 0);
    add(p, limit, log_limit, 0);
    add(p, delay, log_delay, 0);
    add(p, remaining, log_remaining, 0);
}
