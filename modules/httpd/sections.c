/* SPDX-License-Identifier: Apache-2.0
 *
 * sections: what <XLimitAccount NAME> and <XLimitClass NAME> have in common: a
 * name, and what may stand in them and nowhere else. httpd tells a directive
 * where it stands by bits of its own; while the content of such a section is
 * read, the bit of that section alone is set (cmd->override) and cmd->path is its
 * name. Keeps nothing; configuration time, one thread.
 */
#include "xl_commands.h"

#include "apr_strings.h"

extern module AP_MODULE_DECLARE_DATA xlimit_module;

const char *xl_section_name(cmd_parms *cmd, const char *args, const char *of, const char **name)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY), *end = ap_strrchr_c(args, '>'), *more;

    if (error)
        return error;
    if (!end)
        return xl_command_error(cmd, "the closing > is missing; right would be: %s NAME>", cmd->cmd->name);
    args = apr_pstrmemdup(cmd->pool, args, (apr_size_t)(end - args));
    if ((error = xl_command_word(cmd, &args, name)) || (error = xl_command_word(cmd, &args, &more)))
        return error;
    if (!*name)
        return xl_command_error(cmd, "the name is missing; right would be: %s NAME>", cmd->cmd->name);
    if (more)
        return xl_command_error(cmd, "%s has one name; right would be: %s NAME>", of, cmd->cmd->name);
    error = xl_command_name_fault(*name);
    return error ? xl_command_error(cmd, "\"%s\" is no name of %s: %s", *name, of, error) : NULL;
}

/* "XLimitQuota, XLimitBandwidth, ..." */
static const char *known_directives(apr_pool_t *p, int in)
{
    const char *list = NULL;
    const command_rec *known;

    for (known = xl_commands; known->name; known++)
        if (known->req_override & in)
            list = list ? apr_pstrcat(p, list, ", ", known->name, NULL) : known->name;
    return list;
}

static bool may_stand(const ap_directive_t *directive, int in)
{
    const command_rec *known;

    for (known = xl_commands; known->name; known++)
        if (!ap_cstr_casecmp(known->name, directive->directive))
            return known->req_override & in;
    return false;
}

/* httpd would say no more than that it is not allowed there. */
static const char *check_content(cmd_parms *cmd, int in, const char *name)
{
    const ap_directive_t *inner;

    for (inner = cmd->directive->first_child; inner; inner = inner->next) {
        if (may_stand(inner, in))
            continue;
        cmd->err_directive = inner;
        return apr_psprintf(cmd->pool, "%s%s makes no sense in %s %s>; right there would be %s", inner->directive,
                            *inner->directive == '<' ? ">" : "", cmd->cmd->name, name,
                            known_directives(cmd->pool, in));
    }
    return NULL;
}

const char *xl_section_content(cmd_parms *cmd, int in, const char *name, xl_dir_conf_t **conf)
{
    ap_conf_vector_t *section = ap_create_per_dir_config(cmd->pool);
    const char *error = check_content(cmd, in, name);
    const cmd_parms outer = *cmd;

    if (error)
        return error;
    cmd->path = apr_pstrdup(cmd->pool, name);
    cmd->override = in;
    *conf = ap_set_config_vectors(cmd->server, section, cmd->path, &xlimit_module, cmd->pool);
    error = ap_walk_config(cmd->directive->first_child, cmd, section);
    cmd->path = outer.path;
    cmd->override = outer.override;
    if (error)
        return error;
    cmd->cmd = outer.cmd;
    cmd->directive = outer.directive;
    return NULL;
}
