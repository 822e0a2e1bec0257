/* SPDX-License-Identifier: Apache-2.0
 *
 * line: what all lines of limits have in common: where they may stand, their
 * key, their name, and where they are noted. What is special to a dimension
 * stands in limits.c, what an option means in options.c.
 */
#include "xl_line.h"
#include "xl_ledger.h"

#include "apr_strings.h"

const char *xl_line_begin(xl_line_t *line, cmd_parms *cmd, xl_dir_conf_t *conf, xl_dimension_e dimension)
{
    line->cmd = cmd;
    line->conf = conf;
    line->limit = apr_pcalloc(cmd->pool, sizeof(*line->limit));
    line->limit->dimension = dimension;
    line->limit->delay = XL_NO_DELAY;
    line->limit->account = xl_command_account(cmd);
    return xl_command_in_scope(cmd, conf);
}

const char *xl_line_required(const xl_line_t *line, const char **args, const char **word, const char *what)
{
    const char *error = xl_command_word(line->cmd, args, word);

    if (!error && !*word)
        error = xl_command_error(line->cmd, "%s is missing; right would be: %s %s", what, line->cmd->cmd->name,
                                 line->cmd->cmd->errmsg);
    return error;
}

const char *xl_line_key(xl_line_t *line, const char *word, bool session)
{
    static const char *const names[] = { [XL_KEY_ALL] = "all", [XL_KEY_SESSION] = "session", [XL_KEY_CLIENT] = "client" };
    const char *fault;

    for (xl_key_e key = XL_KEY_ALL; key <= XL_KEY_CLIENT; key++)
        if (!ap_cstr_casecmp(word, names[key]) && (session || key != XL_KEY_SESSION)) {
            line->limit->key = key;
            line->key = names[key];
            return NULL;
        }
    fault = xl_command_name_fault(word);
    if (fault || !ap_cstr_casecmp(word, names[XL_KEY_SESSION]))
        return xl_command_error(line->cmd, "\"%s\" is not a key; right would be %sclient, all or the name of an "
                                           "XLimitZone", word, session ? "session, " : "");
    line->limit->key = XL_KEY_ZONE;
    line->limit->zone = line->key = word;
    return xl_command_runtime(line->cmd) ? xl_keyzones_use(line->cmd, line->limit) : NULL;
}

/* Made from dimension, key, period and class: the same line has the same name,
 * and with it its counter, after every restart. */
static const char *default_name(const xl_line_t *line)
{
    static const char *const dimensions[XL_DIMS] = {
        [XL_DIM_QUOTA] = "quota",       [XL_DIM_BANDWIDTH] = "bandwidth",     [XL_DIM_UPLOAD] = "upload",
        [XL_DIM_REQUESTS] = "requests", [XL_DIM_CONNECTIONS] = "connections", [XL_DIM_PENALTY] = "penalty",
        [XL_DIM_BLOCK] = "block",
    };
    const char *name = dimensions[line->limit->dimension];
    const xl_class_cond_t *only = &line->limit->only;
    apr_pool_t *p = line->cmd->pool;
    char *period;

    if (line->key)
        name = apr_pstrcat(p, name, "-", line->key, NULL);
    if (line->period) {
        period = apr_pstrdup(p, line->period);
        ap_str_tolower(period);
        name = apr_pstrcat(p, name, "-", period, line->limit->unit == XL_UNIT_REQUESTS ? "-requests" : NULL, NULL);
    }
    if (only->id)
        name = apr_pstrcat(p, name, only->others ? "-not-" : "-", only->text + only->others, NULL);
    return name;
}

/* Another limit of the same section that has its name, or NULL. */
static const xl_limit_t *namesake(const xl_dir_conf_t *conf, const xl_limit_t *limit)
{
    int i;

    for (i = 0; conf->limits && i < conf->limits->nelts; i++) {
        const xl_limit_t *other = APR_ARRAY_IDX(conf->limits, i, xl_limit_t *);

        if (!strcmp(other->name, limit->name))
            return other;
    }
    return NULL;
}

/* What would be computed anew at each request. */
static void prepare(xl_limit_t *limit)
{
    uint64_t id[2];

    limit->period.mark = xl_period_mark(&limit->period);
    xl_ledger_id(limit->dimension == XL_DIM_UPLOAD ? XL_ENTRY_UPLOAD : XL_ENTRY_BANDWIDTH, "session", limit->place,
                 limit->name, id);
    limit->session_key = id[0] | 1;
}

const char *xl_line_end(xl_line_t *line)
{
    xl_dir_conf_t *conf = line->conf;
    xl_limit_t *limit = line->limit;
    const xl_limit_t *other;

    if (!limit->name)
        limit->name = default_name(line);
    limit->place = xl_command_place(line->cmd);
    limit->file = apr_pstrdup(line->cmd->pool, line->cmd->directive->filename);
    limit->line = line->cmd->directive->line_num;
    limit->runtime = xl_command_runtime(line->cmd);
    prepare(limit);
    if (limit->mode == XL_MODE_OFF)
        return NULL;
    other = namesake(conf, limit);
    if (other)
        return xl_command_error(line->cmd,
                                "the limit of line %d of %s is called \"%s\" too; give one of them another "
                                "name with name=NAME",
                                other->line, other->file, limit->name);
    if (!conf->limits)
        conf->limits = apr_array_make(line->cmd->pool, 4, sizeof(xl_limit_t *));
    APR_ARRAY_PUSH(conf->limits, xl_limit_t *) = limit;
    if (!limit->runtime)
        xl_config_register(line->cmd, conf, limit);
    return NULL;
}
