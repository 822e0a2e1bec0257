/* SPDX-License-Identifier: Apache-2.0
 *
 * variables: what expressions may ask of this module, besides httpd's own: the
 * address that counts as the client, a cookie, a parameter of the query string.
 * Reads the request, keeps nothing. Runs in the request's own thread.
 */
#include "xl_conn.h"

#include "ap_expr.h"
#include "apr_strings.h"
#include "http_protocol.h"

static const char *address(ap_expr_eval_ctx_t *ctx, const void *data)
{
    xl_address_t found;

    (void)data;
    return ctx->r && xl_keys_address(ctx->r->useragent_addr, ctx->r->server, &found)
               ? xl_keys_address_text(ctx->p, &found)
               : "";
}

/* The value of NAME in "a=b; NAME=value; ...", or NULL. */
static const char *named(apr_pool_t *p, const char *list, const char *separators, const char *name)
{
    size_t length = strlen(name);

    for (const char *at = list; at && *at; at = *at ? at + 1 : at) {
        at += strspn(at, separators);
        if (!strncmp(at, name, length) && at[length] == '=')
            return apr_pstrmemdup(p, at + length + 1, strcspn(at + length + 1, separators));
        at += strcspn(at, separators);
    }
    return NULL;
}

static const char *cookie(ap_expr_eval_ctx_t *ctx, const void *data, const char *name)
{
    const char *value = ctx->r ? named(ctx->p, apr_table_get(ctx->r->headers_in, "Cookie"), "; \t", name) : NULL;

    (void)data;
    return value ? value : "";
}

static const char *query(ap_expr_eval_ctx_t *ctx, const void *data, const char *name)
{
    const char *value = ctx->r ? named(ctx->p, ctx->r->args, "&", name) : NULL;
    char *decoded = apr_pstrdup(ctx->p, value ? value : "");

    (void)data;
    return ap_unescape_urlencoded(decoded) == OK ? decoded : "";
}

/* Functions can be called by anybody: they read the request and nothing else. */
int xl_variables_lookup(ap_expr_lookup_parms *parms)
{
    static const struct {
        const char *name;
        ap_expr_string_func_t *function;
    } functions[] = { { "xlimit_cookie", cookie }, { "xlimit_query", query } };
    size_t i;

    if (parms->type == AP_EXPR_FUNC_VAR && !strcasecmp(parms->name, "XLIMIT_ADDR")) {
        *parms->func = (const void *)address;
        *parms->data = NULL;
        return OK;
    }
    for (i = 0; parms->type == AP_EXPR_FUNC_STRING && i < sizeof(functions) / sizeof(*functions); i++)
        if (!strcasecmp(parms->name, functions[i].name)) {
            *parms->func = (const void *)functions[i].function;
            *parms->data = NULL;
            return OK;
        }
    return DECLINED;
}
