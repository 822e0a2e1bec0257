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
static const char *place_of(const xl_request_t *xr, const xl_limit_t *limit)
{
    return *limit->place ? apr_pstrcat(xr->r->pool, ", ", limit->place, NULL) : "";
}

/* Other children can write to it: it may have no end. */
static const char *vhost_of(const xl_request_t *xr, const xl_applied_t *applied)
{
    return apr_pstrndup(xr->r->pool, applied->entry->vhost, XL_LABEL_MAX - 1);
}

static void used_up(const xl_request_t *xr, const xl_applied_t *applied, xl_now_t now)
{
    const xl_limit_t *limit = applied->limit;

    if (!xl_refusal_begins(applied->entry, now.wall_ms))
        return;
    ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, xr->r,
                  "xlimit(401): %s of %s%s (%s:%d) is used up%s; worth trying again in %" APR_UINT64_T_FMT " s",
                  limit->name, vhost_of(xr, applied), place_of(xr, limit), limit->file, limit->line,
                  limit->mode == XL_MODE_DRY_RUN ? " (dry run: nothing is refused)" : "", xr->verdict.retry_after_s);
}

static void free_again(const xl_request_t *xr, const xl_applied_t *applied, xl_now_t now)
{
    int64_t since_ms;
    uint64_t suppressed;

    if (!xl_refusal_ends(applied->entry, &since_ms, &suppressed))
        return;
    ap_log_rerror(APLOG_MARK, APLOG_NOTICE, 0, xr->r,
                  "xlimit(402): %s of %s%s is free again after %" APR_INT64_T_FMT " s and %" APR_UINT64_T_FMT
                  " more requests that found it used up",
                  applied->limit->name, vhost_of(xr, applied), place_of(xr, applied->limit),
                  (now.wall_ms - since_ms) / 1000, suppressed);
}

void xl_events_decided(const xl_request_t *xr, xl_now_t now)
{
    for (size_t i = 0; i < xr->n_applied; i++) {
        const xl_applied_t *applied = &xr->applied[i];

        if (applied->limit->dimension != XL_DIM_QUOTA)
            continue;
        if (applied->over)
            used_up(xr, applied, now);
        else if (atomic_load_explicit(&applied->entry->refusing_since_ms, memory_order_relaxed))
            free_again(xr, applied, now);
    }
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
                          applied->limit->name, vhost_of(xr, applied), place_of(xr, applied->limit),
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

/* No limit of this version delays a request. */
static const char *log_delay(request_rec *r, char *arg)
{
    (void)arg;
    return xl_request_of(r) ? "0" : NULL;
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
