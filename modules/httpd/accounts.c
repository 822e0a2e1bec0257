/* SPDX-License-Identifier: Apache-2.0
 *
 * accounts: <XLimitAccount NAME>, a section with limits that several servers
 * share, and XLimitAccount, by which a server says whose it is. Sections are
 * kept as written while configuration files are read; when all is merged, what
 * they hold is put into the configuration of their servers, which nobody has to
 * ask for accounts then. The list is written at configuration time and read-only
 * after it; no lock. Invariant: the configuration that servers share is never
 * changed, a server that gets something gets a copy first.
 */
#include "xl_commands.h"

#include "apr_strings.h"
#include "http_core.h"
#include "http_log.h"

APLOG_USE_MODULE(xlimit);

extern module AP_MODULE_DECLARE_DATA xlimit_module;

static apr_array_header_t *accounts; /* of xl_account_t */

void xl_accounts_reset(apr_pool_t *pconf)
{
    accounts = apr_array_make(pconf, 8, sizeof(xl_account_t));
}

const apr_array_header_t *xl_config_accounts(void)
{
    return accounts;
}

static xl_account_t *find(const char *name)
{
    int i;

    for (i = 0; i < accounts->nelts; i++)
        if (!strcmp(APR_ARRAY_IDX(accounts, i, xl_account_t).name, name))
            return &APR_ARRAY_IDX(accounts, i, xl_account_t);
    return NULL;
}

/* ---- the section ---- */

const char *xl_command_account(const cmd_parms *cmd)
{
    return cmd->override == XL_IN_ACCOUNT ? cmd->path : NULL;
}

const char *xl_open_account(cmd_parms *cmd, void *dir, const char *args)
{
    const char *name, *error = xl_section_name(cmd, args, "an account", &name);
    xl_account_t account = {.file = cmd->directive->filename, .line = cmd->directive->line_num};
    const xl_account_t *other;

    (void)dir;
    if (error)
        return error;
    other = find(name);
    if (other)
        return xl_command_error(cmd, "the account \"%s\" has its section on line %d of %s already; write all of its "
                                     "limits there", name, other->line, other->file);
    error = xl_section_content(cmd, XL_IN_ACCOUNT, name, &account.conf);
    if (error)
        return error;
    account.name = name;
    APR_ARRAY_PUSH(accounts, xl_account_t) = account;
    return NULL;
}

/* ---- who belongs to it ---- */

const char *xl_set_account(cmd_parms *cmd, void *dir, const char *name)
{
    xl_server_conf_t *conf = xl_config_server(cmd->server);
    const char *error = ap_check_cmd_context(cmd, NOT_IN_DIR_CONTEXT);

    (void)dir;
    if (error)
        return error;
    error = xl_command_name_fault(name);
    if (error)
        return xl_command_error(cmd, "\"%s\" is no name of an account: %s", name, error);
    if (conf->account && strcmp(conf->account, name))
        return xl_command_error(cmd, "line %d of %s says that this server belongs to the account \"%s\"; it can "
                                     "belong to one", conf->account_line, conf->account_file, conf->account);
    conf->account = name;
    conf->account_file = cmd->directive->filename;
    conf->account_line = cmd->directive->line_num;
    return NULL;
}

/* ---- when all is merged ---- */

/* What the section says of exceeded limits is for its own limits alone. */
static void settle_exceeded(const xl_dir_conf_t *conf)
{
    int i;

    for (i = 0; conf->limits && i < conf->limits->nelts; i++) {
        xl_limit_t *limit = APR_ARRAY_IDX(conf->limits, i, xl_limit_t *);
        const xl_action_t *said = &conf->exceeded[limit->dimension];

        if (said->kind == XL_ACT_DEFAULT)
            said = &conf->exceeded_any;
        if (limit->exceeded.kind == XL_ACT_DEFAULT)
            limit->exceeded = *said;
    }
}

/* A list with another one put in behind its first `at` elements. */
static apr_array_header_t *insert(apr_pool_t *p, apr_array_header_t *list, apr_array_header_t *more, int at)
{
    apr_array_header_t *result, rest;

    if (!list || !more)
        return list ? list : more;
    result = apr_array_copy(p, list);
    result->nelts = at;
    apr_array_cat(result, more);
    rest = *list;
    rest.elts += at * rest.elt_size;
    rest.nelts -= at;
    apr_array_cat(result, &rest);
    return result;
}

static int length(const apr_array_header_t *list)
{
    return list ? list->nelts : 0;
}

/* outer: what the server has from the main server, NULL: nothing. */
static void join(apr_pool_t *p, server_rec *s, const xl_account_t *account, const xl_dir_conf_t *outer)
{
    xl_dir_conf_t *conf = apr_pmemdup(p, xl_config_dir(s->lookup_defaults), sizeof(*conf));

    conf->limits = insert(p, conf->limits, account->conf->limits, outer ? length(outer->limits) : 0);
    conf->exempts = insert(p, conf->exempts, account->conf->exempts, outer ? length(outer->exempts) : 0);
    ap_set_module_config(s->lookup_defaults, &xlimit_module, conf);
}

static int log_unknown(const xl_server_conf_t *conf)
{
    ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_ERR, 0, NULL,
                 "xlimit(103): Syntax error on line %d of %s: XLimitAccount: there is no account \"%s\"; right would "
                 "be the name of an <XLimitAccount NAME> section",
                 conf->account_line, conf->account_file, conf->account);
    return HTTP_INTERNAL_SERVER_ERROR;
}

int xl_accounts_apply(apr_pool_t *pconf, server_rec *main_server)
{
    const char *of_main = xl_config_server(main_server)->account;
    const xl_dir_conf_t *outer = xl_config_dir(main_server->lookup_defaults);
    int i, result = OK;
    server_rec *s;

    for (i = 0; i < accounts->nelts; i++)
        settle_exceeded(APR_ARRAY_IDX(accounts, i, xl_account_t).conf);
    for (s = main_server; s; s = s->next) {
        xl_server_conf_t *conf = xl_config_server(s);
        bool inherited = s != main_server && conf->account == of_main, apart = s != main_server && conf->apart;
        const xl_account_t *account;

        if (inherited && apart)
            conf->account = NULL;
        account = conf->account ? find(conf->account) : NULL;
        if (account)
            join(pconf, s, account, apart ? NULL : outer);
        else if (conf->account && !inherited)
            result = log_unknown(conf);
    }
    return result;
}
