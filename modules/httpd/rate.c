/* SPDX-License-Identifier: Apache-2.0
 *
 * rate: the session rate of one response, said by the environment variable
 * xlimit-rate or, under XLimitBackendRate, by the header X-XLimit-Rate of
 * whatever made the response; the header wins. It takes the place of the session
 * limits of this response; who shares a level with others goes on sharing it.
 * Owns the filter that takes the header away before a client could see it.
 * Runs in the request's own thread; nobody locks.
 */
#include "mod_xlimit.h"
#include "xl_conn.h"

#include "http_config.h"
#include "http_log.h"

APLOG_USE_MODULE(xlimit);

#define XL_RATE_HEADER "X-XLimit-Rate"
#define XL_COMPLAIN_EVERY_NS (60 * XL_NS_PER_S)

static ap_filter_rec_t *rate_handle;

/* A backend that does not know better says it with each response. */
static void complain(request_rec *r, const char *from, const char *value, const char *reason)
{
    static _Atomic uint64_t quiet_until_ns;
    uint64_t now_ns = xl_now().mono_ns, until_ns = atomic_load(&quiet_until_ns);

    if (now_ns < until_ns || !atomic_compare_exchange_strong(&quiet_until_ns, &until_ns, now_ns + XL_COMPLAIN_EVERY_NS))
        return;
    ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                  "xlimit(521): %s of %s is \"%.64s\": %s. Write 500kB/s, 8Mbit/s, or 0 for unlimited; until then the "
                  "configured limits stay in force, and this is said once a minute",
                  from, r->uri, value, reason);
}

static void use(xl_request_t *xr, request_rec *r, const char *from, const char *value)
{
    xl_own_rate_t own = { .given = true, .unlimited = !strcmp(value, "0") };
    const char *reason = own.unlimited ? NULL : xl_units_rate(value, &own.rate);

    if (reason) {
        complain(r, from, value, reason);
        return;
    }
    xr->own_rate = own;
    if (xr->decided) /* else there are no levels yet, and nobody knows whether it is exempt */
        xl_levels_override(xr, &xr->down);
}

/* ---- the header ------------------------------------------------------ */

/* In both tables: a CGI's headers are among those that errors keep, mod_proxy's
 * are not. */
static apr_status_t header_filter(ap_filter_t *f, apr_bucket_brigade *bb)
{
    request_rec *r = f->r;
    xl_request_t *xr = xl_request_of(r);
    const char *value = apr_table_get(r->headers_out, XL_RATE_HEADER);

    if (!value)
        value = apr_table_get(r->err_headers_out, XL_RATE_HEADER);
    if (value && xr && !xr->exempt)
        use(xr, r, XL_RATE_HEADER, value);
    apr_table_unset(r->headers_out, XL_RATE_HEADER);
    apr_table_unset(r->err_headers_out, XL_RATE_HEADER);
    ap_remove_output_filter(f);
    return ap_pass_brigade(f->next, bb);
}

/* Where a program names another resource to be sent in its place, what stands
 * in the section of the program counts. */
static bool is_listened_to(const request_rec *r)
{
    for (; r; r = r->prev)
        if (xl_config_dir(r->per_dir_config)->backend_rate == 1)
            return true;
    return false;
}

/* ---- the variable ---------------------------------------------------- */

/* httpd renames what the requests before an internal redirect had. */
static const char *from_environment(request_rec *r)
{
    const char *value = NULL;

    for (; r && !value; r = r->prev)
        value = xl_trust_variable(r, XLIMIT_ENV_RATE);
    return value;
}

void xl_rate_insert_filter(request_rec *r)
{
    xl_request_t *xr = r->main ? NULL : xl_request_of(r);
    const char *value = xr && !xr->exempt ? from_environment(r) : NULL;

    if (value)
        use(xr, r, XLIMIT_ENV_RATE, value);
    if (!r->main && is_listened_to(r))
        ap_add_output_filter_handle(rate_handle, NULL, r, r->connection);
}

/* Below all that makes or stores a response, and above what sends its head. */
void xl_rate_register(void)
{
    rate_handle = ap_register_output_filter("XLIMIT_RATE", header_filter, NULL,
                                            (ap_filter_type)(AP_FTYPE_PROTOCOL - 1));
}
