/* SPDX-License-Identifier: Apache-2.0
 *
 * variables: what expressions may ask of this module, besides httpd's own: the
 * address that counts as the client and its class, a cookie, a parameter of the
 * query string.
 * Reads the request, keeps nothing. Runs in the request's own thread.
 */
#include "xl_classes.h"
#include "xl_conn.h"
#include "xl_named.h"

#include "ap_expr.h"
#include "apr_strings.h"
#include "http_protocol.h"

static const char *address(ap_expr_eval_ctx_t *ctx, const void *data)
{
    xl_client_address_t found;

    (void)data;
    return ctx->r && xl_keys_address(ctx->r->useragent_addr, ctx->r->server, &found)
               ? xl_keys_address_text(ctx->p, &found)
               : "";
}

static const char *class_name(ap_expr_eval_ctx_t *ctx, const void *data)
{
    (void)data;
    if (ctx->r)
        return xl_class_name(xl_class_of(ctx->r));
    return xl_class_name(ctx->c ? xl_class_find(ctx->c->client_addr) : XL_CLASS_NONE);
}

/* The value of NAME in "a=b; NAME=value; ...", or NULL. */
static const char *named(apr_pool_t *p, const char *list, const char *separators, const char *name)
{
    size_t length;
    const char *value = xl_named_find(list, separators, name, &length);

    return value ? apr_pstrmemdup(p, value, length) : NULL;
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

/* All may be called by anybody: they read the request and nothing else. */
static const struct {
    int type;
    const char *name;
    const void *function;
} known[] = {
    { AP_EXPR_FUNC_VAR, "XLIMIT_ADDR", (const void *)address },
    { AP_EXPR_FUNC_VAR, "XLIMIT_CLASS", (const void *)class_name },
    { AP_EXPR_FUNC_STRING, "xlimit_cookie", (const void *)cookie },
    { AP_EXPR_FUNC_STRING, "xlimit_query", (const void *)query },
};

int xl_variables_lookup(ap_expr_lookup_parms *parms)
{
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
        if (parms->type == known[i].type && !ap_cstr_casecmp(parms->name, known[i].name)) {
            *parms->func = known[i].function;
            *parms->data = NULL;
            return OK;
        }
    return DECLINED;
}
