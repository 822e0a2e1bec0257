/* SPDX-License-Identifier: Apache-2.0
 *
 * classes: <XLimitClass NAME>, class=NAME of whatever has it, and the class of a
 * request. Names become numbers when they are read; a name may be used before its
 * section comes, and what is left without one is an error of the whole. The list
 * is written at configuration time and read-only after it; no lock. Which
 * networks a class has is networks.c's affair.
 */
#include "xl_classes.h"
#include "xl_commands.h"
#include "xl_conn.h"
#include "xl_networks.h"

#include "apr_strings.h"
#include "http_core.h"
#include "http_log.h"

APLOG_USE_MODULE(xlimit);


/* Where a class was asked for. */
typedef struct {
    uint32_t id;
    const char *directive, *file;
    int line;
} use_t;

static apr_array_header_t *classes; /* of xl_class_t */
static apr_array_header_t *uses;    /* of use_t */

void xl_classes_reset(apr_pool_t *pconf)
{
    classes = apr_array_make(pconf, 8, sizeof(xl_class_t));
    uses = apr_array_make(pconf, 8, sizeof(use_t));
    xl_networks_reset(pconf);
}

const apr_array_header_t *xl_config_classes(void)
{
    return classes;
}

static xl_class_t *class_at(uint32_t id)
{
    return &APR_ARRAY_IDX(classes, (int)id - 1, xl_class_t);
}

static uint32_t number_of(const char *name)
{
    uint32_t id;

    for (id = (uint32_t)classes->nelts; id; id--)
        if (!strcmp(class_at(id)->name, name))
            break;
    return id;
}

/* Gives the name a number when it has none. */
static uint32_t number(const char *name)
{
    uint32_t id = number_of(name);

    if (id)
        return id;
    APR_ARRAY_PUSH(classes, xl_class_t) = (xl_class_t){.name = name};
    return (uint32_t)classes->nelts;
}

/* ---- class=NAME ---- */

const char *xl_class_parse(const cmd_parms *cmd, const char *text, xl_class_cond_t *cond)
{
    bool others = *text == '!', runtime = xl_command_runtime(cmd);
    const char *name = text + others, *fault = xl_command_name_fault(name);
    uint32_t id;

    if (fault)
        return xl_command_error(cmd, "class=\"%s\" is not the name of a class, nor ! and such a name: %s", text, fault);
    id = runtime ? number_of(name) : number(name);
    if (!id)
        return xl_command_error(cmd, "there is no class \"%s\"; right would be the name of an <XLimitClass NAME> "
                                     "section", name);
    if (!runtime)
        APR_ARRAY_PUSH(uses, use_t) =
            (use_t){id, cmd->cmd->name, cmd->directive->filename, cmd->directive->line_num};
    *cond = (xl_class_cond_t){id, others, text};
    return NULL;
}

/* ---- the section ---- */

const char *xl_open_class(cmd_parms *cmd, void *dir, const char *args)
{
    const char *name, *error = xl_section_name(cmd, args, "a class", &name);
    xl_dir_conf_t *unused;
    xl_class_t *class;
    uint32_t id;

    (void)dir;
    if (error)
        return error;
    id = number(name);
    class = class_at(id);
    if (class->file)
        return xl_command_error(cmd, "the class \"%s\" has its section on line %d of %s already; write all of its "
                                     "networks there", name, class->line, class->file);
    class->file = cmd->directive->filename;
    class->line = cmd->directive->line_num;
    error = xl_section_content(cmd, XL_IN_CLASS, name, &unused);
    if (error)
        return error;
    if (!cmd->directive->first_child)
        return xl_command_error(cmd, "the class \"%s\" has no network; right in it would be XLimitNetwork or "
                                     "XLimitNetworkFile", name);
    return NULL;
}

/* AllowOverrideList lets a .htaccess file come here. */
static const char *class_of_section(const cmd_parms *cmd, uint32_t *id)
{
    if (cmd->override != XL_IN_CLASS)
        return xl_command_error(cmd, "it is for <XLimitClass NAME>");
    *id = number_of(cmd->path);
    return NULL;
}

const char *xl_set_network(cmd_parms *cmd, void *dir, const char *arg)
{
    uint32_t id = XL_CLASS_NONE;
    const char *error = class_of_section(cmd, &id);

    (void)dir;
    return error ? error : xl_networks_add(cmd, id, arg);
}

const char *xl_set_network_file(cmd_parms *cmd, void *dir, const char *arg)
{
    uint32_t id = XL_CLASS_NONE;
    const char *error = class_of_section(cmd, &id);

    (void)dir;
    return error ? error : xl_networks_add_file(cmd, id, arg);
}

/* ---- when all is read ---- */

int xl_classes_check(apr_pool_t *pconf, apr_pool_t *ptemp)
{
    int i, result = xl_networks_check(pconf, ptemp);

    for (i = 0; i < uses->nelts; i++) {
        const use_t *use = &APR_ARRAY_IDX(uses, i, use_t);

        if (class_at(use->id)->file)
            continue;
        ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_ERR, 0, NULL,
                     "xlimit(111): Syntax error on line %d of %s: %s: there is no class \"%s\"; right would be the "
                     "name of an <XLimitClass NAME> section",
                     use->line, use->file, use->directive, class_at(use->id)->name);
        result = HTTP_INTERNAL_SERVER_ERROR;
    }
    return result;
}

/* ---- at a request ---- */

uint32_t xl_class_find(const apr_sockaddr_t *client)
{
    if (!client || !classes->nelts)
        return XL_CLASS_NONE;
    if (client->family == APR_INET)
        return xl_networks_find(xl_prefix_address((const uint8_t *)&client->sa.sin.sin_addr, 4));
#if APR_HAVE_IPV6
    if (client->family == APR_INET6)
        return xl_networks_find(xl_prefix_address((const uint8_t *)&client->sa.sin6.sin6_addr, 16));
#endif
    return XL_CLASS_NONE;
}

uint32_t xl_class_of(request_rec *r)
{
    xl_request_t *xr = xl_request_of(r);

    if (!xr)
        return xl_class_find(r->useragent_addr);
    if (xr->classified != r->useragent_addr) {
        xr->classified = r->useragent_addr;
        xr->class_id = xl_class_find(r->useragent_addr);
    }
    return xr->class_id;
}

bool xl_class_holds(request_rec *r, const xl_class_cond_t *cond)
{
    return !cond->id || (xl_class_of(r) == cond->id) != cond->others;
}

const char *xl_class_name(uint32_t id)
{
    return id ? class_at(id)->name : "";
}
