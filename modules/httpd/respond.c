/* SPDX-License-Identifier: Apache-2.0
 *
 * respond: turns a verdict into what the client, a CGI and a log see: redirect,
 * status, problem document, closed connection, environment, header fields.
 * Decides nothing.
 */
#include "mod_xlimit.h"
#include "xl_conn.h"
#include "xl_ratelimit.h"
#include "xl_told.h"
#include "xl_url.h"

#include "ap_expr.h"
#include "apr_strings.h"
#include "http_core.h"
#include "http_log.h"
#include "http_protocol.h"
#include "util_script.h"

APLOG_USE_MODULE(xlimit);

#define HTTP_CLIENT_CLOSED_REQUEST 499 /* of no RFC; of nginx's logs */
#define HTTP_BANDWIDTH_LIMIT_EXCEEDED 509 /* of no RFC, and known to every hosting customer */

static const struct {
    const char *title, *detail;
} reasons[XL_DIMS] = {
#define XL_REASON(id, title, detail) [XL_DIM_##id] = { title, detail },
#include "xl_verdicts.def"
};

static const char *const tokens[XL_VERDICTS] = {
#define XL_VERDICT(id, token, text) token,
#include "xl_verdicts.def"
};

const char *xl_respond_token(const xl_request_t *xr)
{
    return tokens[xr->verdict.verdict];
}

/* As the printf family would, at a tenth of its cost: once per request. */
static const char *decimal(apr_pool_t *p, uint64_t n)
{
    char text[24], *first = text + sizeof(text) - 1;

    *first = '\0';
    do {
        *--first = (char)('0' + n % 10);
        n /= 10;
    } while (n);
    return apr_pstrmemdup(p, first, (size_t)(text + sizeof(text) - 1 - first));
}

/* What is there by then is overwritten; the first time nothing is, and looking for
 * it among names that begin alike is what costs. */
static void set_variable(apr_table_t *env, bool first, const char *name, const char *value)
{
    if (first)
        apr_table_addn(env, name, value);
    else
        apr_table_setn(env, name, value);
}

void xl_respond_environment(const xl_request_t *xr, request_rec *r)
{
    apr_table_t *env = r->subprocess_env;
    bool first = !apr_table_get(env, XLIMIT_ENV_STATUS);

    if (xr->by)
        set_variable(env, first, XLIMIT_ENV_LIMIT, xr->by->name);
    if (xr->verdict.retry_after_s)
        set_variable(env, first, XLIMIT_ENV_RETRY_AFTER, decimal(r->pool, xr->verdict.retry_after_s));
    if (xr->verdict.has_remaining)
        set_variable(env, first, XLIMIT_ENV_REMAINING, decimal(r->pool, xr->verdict.remaining));
    set_variable(env, first, XLIMIT_ENV_STATUS, xl_respond_token(xr));
}

/* ---- RateLimit fields ------------------------------------------------ */

void xl_respond_headers(const xl_request_t *xr, request_rec *r, xl_headers_e style)
{
    const xl_verdict_t *v = &xr->verdict;
    apr_table_t *out = r->err_headers_out; /* with refusals too */
    const xl_applied_t *tightest;
    char text[XL_RATELIMIT_MAX];

    if (!v->has_remaining || (style != XL_HEADERS_DRAFT10 && style != XL_HEADERS_LEGACY))
        return;
    tightest = &xr->applied[v->tightest];
    if (style == XL_HEADERS_LEGACY) {
        apr_table_setn(out, "X-RateLimit-Limit", apr_psprintf(r->pool, "%" APR_UINT64_T_FMT, tightest->total));
        apr_table_setn(out, "X-RateLimit-Remaining", apr_psprintf(r->pool, "%" APR_UINT64_T_FMT, v->remaining));
        apr_table_setn(out, "X-RateLimit-Reset", apr_psprintf(r->pool, "%" APR_UINT64_T_FMT, v->reset_s));
        return;
    }
    xl_ratelimit_policy(text, tightest, xl_now().wall_ms);
    apr_table_setn(out, "RateLimit-Policy", apr_pstrdup(r->pool, text));
    xl_ratelimit_state(text, tightest, v->remaining, v->reset_s);
    apr_table_setn(out, "RateLimit", apr_pstrdup(r->pool, text));
}

/* ---- redirect -------------------------------------------------------- */

/* NULL, and an error in the log, when an expression fails or yields what is no
 * URL: a header is never made of control characters. */
static const char *target_of(request_rec *r, const xl_action_t *action)
{
    const char *error = NULL, *url = action->url;

    if (action->url_expr)
        url = ap_expr_str_exec(r, action->url_expr, &error);
    if (error || !url || !*url) {
        if (xl_told_minute(XL_TOLD_TARGET))
            ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, "xlimit(511): redirect to \"%s\" cannot be evaluated: %s; "
                          "this is said once a minute", action->url, error ? error : "it is empty");
        return NULL;
    }
    if (!xl_url_is_clean(url)) {
        if (xl_told_minute(XL_TOLD_TARGET))
            ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, "xlimit(512): redirect to \"%s\" yields a URL with a space or "
                          "control character; this is said once a minute", action->url);
        return NULL;
    }
    return *url == '/' ? ap_construct_url(r->pool, url, r) : url;
}

bool xl_respond_is_target(request_rec *r, const xl_action_t *action)
{
    const char *url = target_of(r, action);
    apr_uri_t uri;
    char *path;

    if (!url || !r->uri || apr_uri_parse(r->pool, url, &uri) != APR_SUCCESS)
        return false;
    if (!uri.scheme || strcasecmp(uri.scheme, ap_http_scheme(r)) != 0)
        return false;
    if (!uri.hostname || !r->hostname || strcasecmp(uri.hostname, r->hostname) != 0)
        return false;
    if ((uri.port ? uri.port : apr_uri_port_of_scheme(uri.scheme)) != ap_get_server_port(r))
        return false;
    path = apr_pstrdup(r->pool, uri.path ? uri.path : "/");
    return ap_unescape_url(path) == OK && !strcmp(path, r->uri);
}

static bool redirect(request_rec *r, const xl_action_t *action)
{
    const char *url = target_of(r, action);

    if (!url)
        return false;
    apr_table_setn(r->headers_out, "Location", url);
    apr_table_setn(r->err_headers_out, "Cache-Control", "no-store");
    return true;
}

/* ---- status ---------------------------------------------------------- */

/* The q of a media type that Accept names itself, -1 when it does not. */
static double quality_of(request_rec *r, const char *accept, const char *type)
{
    size_t length = strlen(type);
    const char *item;

    while ((item = ap_get_list_item(r->pool, &accept)) != NULL) {
        const char *q;

        if (strncasecmp(item, type, length) != 0 || (item[length] && item[length] != ';' && item[length] != ' '))
            continue;
        q = ap_strcasestr(item + length, "q=");
        return q ? atof(q + 2) : 1.0;
    }
    return -1;
}

static bool wants_problem(request_rec *r)
{
    const char *accept = apr_table_get(r->headers_in, "Accept");
    double problem, json;

    if (!accept)
        return false;
    problem = quality_of(r, accept, "application/problem+json");
    json = quality_of(r, accept, "application/json");
    if (json > problem)
        problem = json;
    return problem > 0 && problem >= quality_of(r, accept, "text/html");
}

/* RFC 9457. Every string in it is ours or of [A-Za-z0-9._-]. */
static int send_problem(const xl_request_t *xr, request_rec *r, int status)
{
    int rv;

    r->status = status; /* first: nobody is told to go on with his body */
    rv = ap_discard_request_body(r);
    if (rv != OK)
        return rv;
    ap_set_content_type(r, "application/problem+json");
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    if (r->header_only)
        return DONE;
    ap_rprintf(r, "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,\"detail\":\"%s\",\"limit\":\"%s\"",
               reasons[xr->by->dimension].title, status, reasons[xr->by->dimension].detail, xr->by->name);
    if (xr->verdict.retry_after_s)
        ap_rprintf(r, ",\"retry_after\":%" APR_UINT64_T_FMT, xr->verdict.retry_after_s);
    ap_rputs("}\n", r);
    return DONE;
}

static int refuse(const xl_request_t *xr, request_rec *r, int status)
{
    if (xr->verdict.retry_after_s && (status == HTTP_TOO_MANY_REQUESTS || status == HTTP_SERVICE_UNAVAILABLE))
        apr_table_setn(r->err_headers_out, "Retry-After",
                       apr_psprintf(r->pool, "%" APR_UINT64_T_FMT, xr->verdict.retry_after_s));
    if (status == HTTP_BANDWIDTH_LIMIT_EXCEEDED)
        r->status_line = "509 Bandwidth Limit Exceeded";
    else if (status != HTTP_INTERNAL_SERVER_ERROR && !strncmp(ap_get_status_line(status), "500", 3))
        r->status_line = apr_psprintf(r->pool, "%d Refused", status); /* unknown to httpd, which would say 500 */
    return wants_problem(r) ? send_problem(xr, r, status) : status;
}

/* Nothing more is read from this client and nothing written to it. The status is
 * for the access log alone. */
static int hang_up(request_rec *r, int status)
{
    r->connection->keepalive = AP_CONN_CLOSE;
    r->connection->aborted = 1;
    r->status = status;
    return DONE;
}

int xl_respond_gone(request_rec *r)
{
    return hang_up(r, HTTP_CLIENT_CLOSED_REQUEST);
}

int xl_respond_refuse(xl_request_t *xr, request_rec *r)
{
    const xl_action_t *action = xr->applied[xr->verdict.by].action;

    switch (action->kind) {
    case XL_ACT_REDIRECT:
        return redirect(r, action) ? action->status : refuse(xr, r, HTTP_SERVICE_UNAVAILABLE);
    case XL_ACT_CLOSE:
        return hang_up(r, HTTP_FORBIDDEN);
    case XL_ACT_STATUS:
        return refuse(xr, r, action->status);
    default:
        return refuse(xr, r, HTTP_SERVICE_UNAVAILABLE);
    }
}
