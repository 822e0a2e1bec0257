/* SPDX-License-Identifier: Apache-2.0
 *
 * trust: what spares a request and can be said in a .htaccess without any directive of
 * ours: variables of the environment, and the handlers that are exempt. Who may do no
 * more than FileInfo in his folder must not spare it with that. Keeps no state.
 */
#include "mod_xlimit.h"
#include "xl_conn.h"

#include "apr_strings.h"
#include "http_core.h"

#define NOTE "xlimit:"

static const char *const variables[] = { XLIMIT_ENV_EXEMPT, XLIMIT_ENV_COST, XLIMIT_ENV_RATE };

/* After SetEnvIf of the server's configuration, and before any .htaccess is read. */
int xl_trust_read(request_rec *r)
{
    for (size_t i = 0; i < sizeof(variables) / sizeof(*variables); i++) {
        const char *value = apr_table_get(r->subprocess_env, variables[i]);

        if (value)
            apr_table_setn(r->notes, apr_pstrcat(r->pool, NOTE, variables[i], NULL), value);
    }
    return DECLINED;
}

/* Whether a file was read whose owner may not say what limits there are. */
static bool is_restricted(const struct htaccess_result *file)
{
    return file->htaccess && !(file->override & OR_LIMIT);
}

const char *xl_trust_variable(request_rec *r, const char *name)
{
    for (const struct htaccess_result *file = r->htaccess; file; file = file->next)
        if (is_restricted(file))
            return apr_table_get(r->notes, apr_pstrcat(r->pool, NOTE, name, NULL));
    return apr_table_get(r->subprocess_env, name);
}

/* Its sections may name one, too. */
static bool names_a_handler(const struct htaccess_result *file)
{
    const core_dir_config *core = ap_get_core_module_config(file->htaccess);

    return core && (core->handler || core->expr_handler || core->sec_file || core->sec_if);
}

bool xl_trust_handler(const request_rec *r)
{
    for (const struct htaccess_result *file = r->htaccess; file; file = file->next)
        if (is_restricted(file) && names_a_handler(file))
            return false;
    return true;
}
