/* SPDX-License-Identifier: Apache-2.0
 *
 * options: reads the options of a limit's line, each by the function that the
 * table (xl_options.def) names. One that makes no sense for the limit, or stands
 * there twice, is an error. What contradicts what is limits.c's affair.
 */
#include "xl_line.h"
#include "xl_classes.h"

#include "apr_lib.h"
#include "apr_strings.h"

/* "XLimitQuota client", "XLimitUpload session" */
static const char *kind_name(const xl_line_t *line)
{
    const char *directive = line->cmd->cmd->name;

    return line->key ? apr_pstrcat(line->cmd->pool, directive, " ", line->key, NULL) : directive;
}

static const char *bad_value(const xl_line_t *line, const char *option, const char *value, const char *fault)
{
    return xl_command_error(line->cmd, "%s=\"%s\" is wrong: %s", option, value, fault);
}

static const char *read_mode(xl_line_t *line, const char *value)
{
    if (!ap_cstr_casecmp(value, "enforce"))
        line->limit->mode = XL_MODE_ENFORCE;
    else if (!ap_cstr_casecmp(value, "dry-run"))
        line->limit->mode = XL_MODE_DRY_RUN;
    else if (!ap_cstr_casecmp(value, "off"))
        line->limit->mode = XL_MODE_OFF;
    else
        return bad_value(line, "mode", value, "right would be enforce, dry-run or off");
    return NULL;
}

static const char *read_name(xl_line_t *line, const char *value)
{
    const char *fault = xl_command_name_fault(value);

    line->limit->name = value;
    return fault ? bad_value(line, "name", value, fault) : NULL;
}

static const char *read_when(xl_line_t *line, const char *value)
{
    ap_expr_info_t *expr = NULL;
    const char *error = xl_command_expr(line->cmd, value, 0, &expr);

    line->limit->when = expr;
    line->limit->when_text = value;
    return error;
}

static const char *read_class(xl_line_t *line, const char *value)
{
    return xl_class_parse(line->cmd, value, &line->limit->only);
}

static const char *read_scope(xl_line_t *line, const char *value)
{
    if (ap_cstr_casecmp(value, "server"))
        return bad_value(line, "scope", value, "right would be server");
    if (xl_command_runtime(line->cmd))
        return xl_command_error(line->cmd, "scope=server is for the server's configuration, not for .htaccess");
    if (line->limit->account)
        return xl_command_error(line->cmd, "scope=server inside <XLimitAccount> says nothing: its limits have one "
                                           "counter for all its virtual hosts; leave it out");
    if (line->cmd->server->is_virtual)
        return xl_command_error(line->cmd, "scope=server inside <VirtualHost> would count for that host alone; "
                                           "leave it out, or write the limit outside");
    line->limit->scope_server = true;
    return NULL;
}

static const char *read_exceeded(xl_line_t *line, const char *value)
{
    return xl_action_parse(line->cmd, value, &line->limit->exceeded);
}

static const char *read_slice(xl_line_t *line, const char *value)
{
    const char *fault = xl_units_time(value, &line->limit->slice_ms);

    return fault ? bad_value(line, "slice", value, fault) : NULL;
}

static const char *read_warn(xl_line_t *line, const char *value)
{
    const char *fault = xl_units_percents(value, line->limit->warn, XL_WARN_MAX, &line->limit->warns);

    return fault ? bad_value(line, "warn", value, fault) : NULL;
}

static const char *read_day(xl_line_t *line, const char *value)
{
    const char *fault = xl_period_parse_day(value, &line->limit->period);

    return fault ? bad_value(line, "day", value, fault) : NULL;
}

static const char *read_weekday(xl_line_t *line, const char *value)
{
    const char *fault = xl_period_parse_weekday(value, &line->limit->period);

    return fault ? bad_value(line, "weekday", value, fault) : NULL;
}

static const char *at_accept(xl_line_t *line)
{
    const cmd_parms *cmd = line->cmd;

    if (line->kind == XL_FOR_CONNECTIONS && line->limit->key != XL_KEY_CLIENT)
        return xl_command_error(cmd, "at=accept is for the key client: nothing else is known before a byte is read");
    if (cmd->server->is_virtual || cmd->path)
        return xl_command_error(cmd, "at=accept is for the server's configuration, outside of all sections: which "
                                     "host or place is asked for is not known before a byte is read");
    line->limit->at_accept = true;
    return NULL;
}

static const char *read_at(xl_line_t *line, const char *value)
{
    const char *fault;

    if (!(line->kind & XL_FOR_ANY_QUOTA))
        return ap_cstr_casecmp(value, "accept") ? bad_value(line, "at", value, "right would be accept")
                                                : at_accept(line);
    fault = xl_period_parse_at(value, &line->limit->period);
    return fault ? bad_value(line, "at", value, fault) : NULL;
}

static const char *read_tz(xl_line_t *line, const char *value)
{
    if (line->limit->period.kind == XL_PERIOD_TIME)
        return bad_value(line, "tz", value, "it is for the periods hour, day, week, month and year");
    return xl_zones_find(line->cmd, value, &line->limit->period.zone);
}

#define COUNT_MOST UINT64_C(1000000000)

/* A number of requests; 0 is one. */
static const char *read_count_of(const xl_line_t *line, const char *option, const char *value, uint64_t *count)
{
    *count = 0;
    if (!strcmp(value, "0") || !xl_units_number(value, COUNT_MOST, count))
        return NULL;
    return bad_value(line, option, value, "right would be a number of requests, 0 to 1000000000");
}

static const char *read_burst(xl_line_t *line, const char *value)
{
    const char *fault;

    if (line->kind == XL_FOR_REQUESTS)
        return read_count_of(line, "burst", value, &line->limit->burst);
    fault = xl_units_size(value, &line->limit->burst);
    return fault ? bad_value(line, "burst", value, fault) : NULL;
}

static const char *read_delay(xl_line_t *line, const char *value)
{
    return read_count_of(line, "delay", value, &line->limit->delay);
}

static const char *read_nodelay(xl_line_t *line, const char *value)
{
    (void)value;
    line->limit->delay = XL_NO_DELAY;
    return NULL;
}

static const char *read_cost(xl_line_t *line, const char *value)
{
    ap_expr_info_t *expr = NULL;
    const char *error = xl_command_expr(line->cmd, value, AP_EXPR_FLAG_STRING_RESULT, &expr);

    line->limit->cost = expr;
    line->limit->cost_text = value;
    return error;
}

/* "401,404" into bits. */
static const char *read_statuses(const xl_line_t *line, const char *value, const char *list)
{
    static const char right[] = "right would be statuses from 100 to 599: status:401,404";
    uint64_t status;

    do {
        const char *end = strchr(list, ',');
        size_t length = end ? (size_t)(end - list) : strlen(list);

        if (length != 3 || xl_units_number(apr_pstrmemdup(line->cmd->pool, list, length), 599, &status) || status < 100)
            return bad_value(line, "count", value, right);
        line->limit->statuses[status / 64] |= UINT64_C(1) << status % 64;
        list = end ? end + 1 : NULL;
    } while (list);
    line->limit->event = XL_EVENT_STATUS;
    return NULL;
}

static const char *read_count(xl_line_t *line, const char *value)
{
    if (!ap_cstr_casecmpn(value, "status:", 7))
        return read_statuses(line, value, value + 7);
    if (!ap_cstr_casecmp(value, "requests"))
        line->limit->event = XL_EVENT_REQUESTS;
    else if (!ap_cstr_casecmp(value, "rejected"))
        line->limit->event = XL_EVENT_REJECTED;
    else
        return bad_value(line, "count", value, "right would be requests, rejected or status:401,404");
    return NULL;
}

static const char *read_for(xl_line_t *line, const char *value)
{
    const char *fault = xl_units_time(value, &line->limit->for_ms);

    return fault ? bad_value(line, "for", value, fault) : NULL;
}

static const char *read_after(xl_line_t *line, const char *value)
{
    const char *fault = xl_units_size(value, &line->limit->after_bytes);

    return fault ? bad_value(line, "after", value, fault) : NULL;
}

static const struct {
    const char *name;
    unsigned kinds;
    const char *value;
    const char *(*read)(xl_line_t *line, const char *value);
} options[] = {
#define XL_OPTION(name, kinds, value, help) { #name, kinds, value, read_##name },
#include "xl_options.def"
};

#define OPTIONS (sizeof(options) / sizeof(*options))

/* "burst= after= nodelay ...", those that make sense for the kind. */
static const char *known_options(const xl_line_t *line)
{
    const char *list = "";
    size_t i;

    for (i = 0; i < OPTIONS; i++)
        if (options[i].kinds & line->kind)
            list = apr_pstrcat(line->cmd->pool, list, " ", options[i].name, options[i].value ? "=" : "", NULL);
    return list;
}

/* "XLimitQuota, XLimitRequests, XLimitBandwidth and XLimitUpload with key client or all" */
static const char *option_is_for(const xl_line_t *line, unsigned kinds)
{
    static const struct {
        unsigned kinds;
        const char *name;
    } all[] = {
        { XL_FOR_ANY_QUOTA, "XLimitQuota" },     { XL_FOR_REQUESTS, "XLimitRequests" },
        { XL_FOR_CONNECTIONS, "XLimitConnections" }, { XL_FOR_PENALTY, "XLimitPenalty" },
        { XL_FOR_BLOCK, "XLimitBlock" },         { XL_FOR_RATE, "XLimitBandwidth and XLimitUpload" },
    };
    static const struct {
        unsigned kind;
        const char *key;
    } keys[] = { { XL_FOR_QUOTA, "all" }, { XL_FOR_SESSION, "session" }, { XL_FOR_CLIENT, "client" },
                 { XL_FOR_ALL, "all" } };
    const char *text = NULL, *with;
    apr_pool_t *p = line->cmd->pool;
    size_t i, k;

    for (i = 0; i < sizeof(all) / sizeof(*all); i++) {
        if (!(kinds & all[i].kinds))
            continue;
        text = text ? apr_pstrcat(p, text, ", ", all[i].name, NULL) : all[i].name;
        with = " with key ";
        for (k = 0; k < sizeof(keys) / sizeof(*keys) && (kinds & all[i].kinds) != all[i].kinds; k++)
            if (kinds & all[i].kinds & keys[k].kind) {
                text = apr_pstrcat(p, text, with, keys[k].key, NULL);
                with = " or ";
            }
    }
    return text;
}

static const char *read_option(xl_line_t *line, const char *word)
{
    const char *equals = strchr(word, '=');
    const char *name = equals ? apr_pstrmemdup(line->cmd->pool, word, (apr_size_t)(equals - word)) : word;
    size_t i;

    for (i = 0; i < OPTIONS && ap_cstr_casecmp(name, options[i].name); i++)
        continue;
    if (!*name || (i == OPTIONS ? !equals : !equals != !options[i].value))
        return xl_command_error(line->cmd, "\"%s\" is not an option; known here:%s", word, known_options(line));
    if (i == OPTIONS)
        return xl_command_error(line->cmd, "unknown option \"%s=\"; known here:%s", name, known_options(line));
    if (!(options[i].kinds & line->kind))
        return xl_command_error(line->cmd, "%s%s is for %s, not for %s; known here:%s", options[i].name,
                                options[i].value ? "=" : "",
                                option_is_for(line, options[i].kinds), kind_name(line), known_options(line));
    if (line->seen & (1u << i))
        return xl_command_error(line->cmd, "%s%s stands there twice", options[i].name,
                                options[i].value ? "=" : "");
    line->seen |= 1u << i;
    return options[i].read(line, equals ? equals + 1 : NULL);
}

const char *xl_line_options(xl_line_t *line, const char *args)
{
    const char *error, *word;

    while (!(error = xl_command_word(line->cmd, &args, &word)) && word) {
        error = read_option(line, word);
        if (error)
            return error;
    }
    return error;
}

bool xl_line_saw(const xl_line_t *line, const char *option)
{
    size_t i;

    for (i = 0; i < OPTIONS; i++)
        if (!strcmp(options[i].name, option))
            return line->seen >> i & 1;
    return false;
}
