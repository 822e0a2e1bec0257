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

/* The first that is not empty: others in front of it must hide it from nobody. */
static const char *cookie(ap_expr_eval_ctx_t *ctx, const void *data, const char *name)
{
    const char *value = ctx->r ? apr_table_get(ctx->r->headers_in, "Cookie") : NULL;
    size_t length = 0;

    (void)data;
    while (value && (value = xl_named_find(value, "; \t", name, &length)) && !length)
        continue;
    return value ? apr_pstrmemdup(ctx->p, value, length) : "";
}

/* As it stands there when it cannot be decoded. */
static const char *decoded(apr_pool_t *p, const char *text)
{
    char *copy = apr_pstrdup(p, text);

    return ap_unescape_urlencoded(copy) == OK ? copy : text;
}

/* Programs decode the names, too. */
static const char *query(ap_expr_eval_ctx_t *ctx, const void *data, const char *name)
{
    char *rest = apr_pstrdup(ctx->p, ctx->r && ctx->r->args ? ctx->r->args : ""), *state;

    (void)data;
    for (char *pair = apr_strtok(rest, "&", &state); pair; pair = apr_strtok(NULL, "&", &state)) {
        char *value = strchr(pair, '=');

        if (!value || !value[1])
            continue;
        *value++ = '\0';
        if (!strcmp(decoded(ctx->p, pair), name))
            return decoded(ctx->p, value);
    }
    return "";
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
