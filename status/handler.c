/* SPDX-License-Identifier: Apache-2.0
 *
 * The handler xlimit-status: who may ask, what for, in which format; then one
 * snapshot, rendered into the response. Only reads. Where no <Location> that
 * the request matches says who may come in, only this machine may.
 */
#include "xl_status.h"

#include "mod_xlimit.h"
#include "xl_escape.h"
#include "xl_render.h"

#include "apr_fnmatch.h"
#include "apr_strings.h"
#include "http_config.h"
#include "http_core.h"
#include "http_log.h"
#include "http_main.h"
#include "http_protocol.h"
#include "http_request.h"

APLOG_USE_MODULE(xlimit);

/* ---- who may ask --------------------------------------------------------- */

/* 127.0.0.0/8, ::1, and the former in its IPv6 form. */
static bool is_loopback(const apr_sockaddr_t *address)
{
    static const unsigned char mapped[12] = { [10] = 0xFF, [11] = 0xFF }, loopback[16] = { [15] = 1 };
    const unsigned char *bytes = address ? address->ipaddr_ptr : NULL;

    if (!bytes)
        return false;
    if (address->family == APR_INET)
        return bytes[0] == 127;
#if APR_HAVE_IPV6
    if (address->family == APR_INET6)
        return !memcmp(bytes, mapped, sizeof(mapped)) ? bytes[12] == 127 : !memcmp(bytes, loopback, sizeof(loopback));
#endif
    return false;
}

/* Both ends must be here: a proxy on this machine is not its client, and a
 * client must not become local by a header that mod_remoteip trusts. */
static bool is_local(const request_rec *r)
{
    return is_loopback(r->connection->client_addr) && is_loopback(r->useragent_addr);
}

/* As ap_location_walk matches. */
static bool matches(const core_dir_config *section, const char *uri)
{
    size_t length = section->d ? strlen(section->d) : 0;

    if (section->r)
        return !ap_regexec(section->r, uri, 0, NULL, 0);
    if (section->d_is_fnmatch)
        return apr_fnmatch(section->d, uri, APR_FNM_PATHNAME) == APR_SUCCESS;
    if (!length)
        return true;
    return !strncmp(section->d, uri, length)
           && (section->d[length - 1] == '/' || uri[length] == '/' || uri[length] == '\0');
}

/* httpd gives a section the configuration of a module at the first directive
 * of that module in it, so that having one says whether mod_authz_core (or
 * mod_access_compat) was spoken to there. The merged configuration of the
 * request would not do: it holds the `Require all granted` of the document
 * root, which was never meant for this page. */
static bool has_own_rule(ap_conf_vector_t *section)
{
    static const char *const modules[] = { "mod_authz_core.c", "mod_access_compat.c" };
    size_t i;

    for (i = 0; i < sizeof(modules) / sizeof(*modules); i++) {
        module *m = ap_find_linked_module(modules[i]);

        if (m && ap_get_module_config(section, m))
            return true;
    }
    return false;
}

static bool is_guarded(const request_rec *r)
{
    const core_server_config *core = ap_get_core_module_config(r->server->module_config);
    char *uri = apr_pstrdup(r->pool, r->uri);
    int i;

    ap_no2slash(uri);
    for (i = 0; i < core->sec_url->nelts; i++) {
        ap_conf_vector_t *section = APR_ARRAY_IDX(core->sec_url, i, ap_conf_vector_t *);

        if (has_own_rule(section) && matches(ap_get_core_module_config(section), uri))
            return true;
    }
    return false;
}

/* ---- the answer ---------------------------------------------------------- */

static int write_to_client(void *ctx, const char *data, size_t length)
{
    return ap_rwrite(data, (int)length, ctx) < 0;
}

static void set_headers(request_rec *r, const char *content_type)
{
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    apr_table_setn(r->headers_out, "X-Content-Type-Options", "nosniff");
    apr_table_setn(r->headers_out, "Referrer-Policy", "no-referrer");
    apr_table_mergen(r->headers_out, "Vary", "Accept");
    ap_set_content_type(r, content_type);
}

static void set_policy(request_rec *r, xl_format_e format)
{
    char policy[XL_CSP_MAX];

    if (format == XL_FORMAT_HTML)
        xl_html_policy(policy);
    apr_table_set(r->headers_out, "Content-Security-Policy",
                  format == XL_FORMAT_HTML ? policy : "default-src 'none'; frame-ancestors 'none'");
}

static int bad_request(request_rec *r, const char *error)
{
    set_headers(r, "text/plain; charset=utf-8");
    set_policy(r, XL_FORMAT_AUTO);
    r->status = HTTP_BAD_REQUEST;
    if (!r->header_only)
        ap_rvputs(r, error, "\n", NULL);
    return OK;
}

int xl_status_handler(request_rec *r)
{
    xl_sink_t sink = { write_to_client, r };
    char error[XL_QUERY_ERROR_MAX];
    xl_snapshot_t snapshot;
    xl_query_t query;

    if (!r->handler || strcmp(r->handler, XLIMIT_STATUS_HANDLER))
        return DECLINED;
    if (!is_local(r) && !is_guarded(r)) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, "xlimit(601): %s is not local, and no <Location> with a Require "
                      "covers %s: the status is not shown", r->useragent_ip, r->uri);
        return HTTP_FORBIDDEN;
    }
    if (r->method_number != M_GET) {
        ap_allow_methods(r, REPLACE_ALLOW, "GET", NULL);
        return HTTP_METHOD_NOT_ALLOWED;
    }
    if (!xl_query_parse(r->args, &query, error))
        return bad_request(r, error);
    if (!query.format_given)
        query.format = xl_query_accept(apr_table_get(r->headers_in, "Accept"));
    set_headers(r, xl_renderers[query.format].content_type);
    set_policy(r, query.format);
    if (r->header_only)
        return OK;
    xl_snapshot_fill(&snapshot, &query, r->pool, ap_server_conf);
    if (query.name[0])
        xl_snapshot_filter(&snapshot, query.name);
    if (query.sort[0])
        xl_snapshot_sort(&snapshot, query.sort, query.reverse);
    if (query.top)
        xl_snapshot_top(&snapshot, query.top);
    xl_renderers[query.format].render(&snapshot, &query, &sink);
    return OK;
}
