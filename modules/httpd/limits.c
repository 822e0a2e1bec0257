/* SPDX-License-Identifier: Apache-2.0
 *
 * limits: reads one line of XLimitQuota, XLimitBandwidth or XLimitUpload into an
 * xl_limit_t: key, amount, then options in any order, each known from
 * xl_options.def and each at most once. A limit that is switched off is read
 * like any other and then dropped. After the line is read the limit changes no
 * more, but for what its account says of exceeded limits (accounts.c).
 * Configuration time, or a .htaccess file in its request's pool; no lock.
 */
#include "xl_classes.h"
#include "xl_commands.h"
#include "xl_ledger.h"

#include "apr_lib.h"
#include "apr_strings.h"
#include "http_log.h"

APLOG_USE_MODULE(xlimit);

enum {
    XL_FOR_QUOTA = 1,
    XL_FOR_SESSION = 2,
    XL_FOR_CLIENT = 4,
    XL_FOR_ALL = 8,
    XL_FOR_RATE = XL_FOR_SESSION | XL_FOR_CLIENT | XL_FOR_ALL,
    XL_FOR_COUNTED = XL_FOR_QUOTA | XL_FOR_CLIENT | XL_FOR_ALL,
    XL_FOR_ANY = XL_FOR_QUOTA | XL_FOR_RATE
};

static const struct {
    const char *name;
    xl_key_e key;
    unsigned kind; /* of a bandwidth or upload */
} keys[] = {
    {"session", XL_KEY_SESSION, XL_FOR_SESSION},
    {"client", XL_KEY_CLIENT, XL_FOR_CLIENT},
    {"all", XL_KEY_ALL, XL_FOR_ALL},
};

#define KEYS (sizeof(keys) / sizeof(*keys))

typedef struct {
    const cmd_parms *cmd;
    xl_limit_t *limit;
    unsigned kind;      /* the one XL_FOR_ that it is */
    const char *key;    /* of a bandwidth or upload, in our spelling */
    const char *period; /* as written */
    unsigned seen;      /* bit per option */
} line_t;

/* "XLimitQuota", "XLimitUpload client" */
static const char *kind_name(const line_t *line)
{
    const char *directive = line->cmd->cmd->name;

    return line->key ? apr_pstrcat(line->cmd->pool, directive, " ", line->key, NULL) : directive;
}

static const char *bad_value(const line_t *line, const char *option, const char *value, const char *fault)
{
    return xl_command_error(line->cmd, "%s=\"%s\" is wrong: %s", option, value, fault);
}

static const char *read_mode(line_t *line, const char *value)
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

static const char *read_name(line_t *line, const char *value)
{
    const char *fault = xl_command_name_fault(value);

    line->limit->name = value;
    return fault ? bad_value(line, "name", value, fault) : NULL;
}

static const char *read_when(line_t *line, const char *value)
{
    ap_expr_info_t *expr = NULL;
    const char *error = xl_command_expr(line->cmd, value, 0, &expr);

    line->limit->when = expr;
    line->limit->when_text = value;
    return error;
}

static const char *read_class(line_t *line, const char *value)
{
    return xl_class_parse(line->cmd, value, &line->limit->only);
}

static const char *read_scope(line_t *line, const char *value)
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

static const char *read_exceeded(line_t *line, const char *value)
{
    return xl_action_parse(line->cmd, value, &line->limit->exceeded);
}

static const char *read_slice(line_t *line, const char *value)
{
    const char *fault = xl_units_time(value, &line->limit->slice_ms);

    return fault ? bad_value(line, "slice", value, fault) : NULL;
}

static const char *read_warn(line_t *line, const char *value)
{
    const char *fault = xl_units_percents(value, line->limit->warn, XL_WARN_MAX, &line->limit->warns);

    return fault ? bad_value(line, "warn", value, fault) : NULL;
}

static const char *read_day(line_t *line, const char *value)
{
    const char *fault = xl_period_parse_day(value, &line->limit->period);

    return fault ? bad_value(line, "day", value, fault) : NULL;
}

static const char *read_weekday(line_t *line, const char *value)
{
    const char *fault = xl_period_parse_weekday(value, &line->limit->period);

    return fault ? bad_value(line, "weekday", value, fault) : NULL;
}

static const char *read_at(line_t *line, const char *value)
{
    const char *fault = xl_period_parse_at(value, &line->limit->period);

    return fault ? bad_value(line, "at", value, fault) : NULL;
}

static const char *read_tz(line_t *line, const char *value)
{
    if (line->limit->period.kind == XL_PERIOD_TIME)
        return bad_value(line, "tz", value, "it is for the periods hour, day, week, month and year");
    return xl_zones_find(line->cmd, value, &line->limit->period.zone);
}

static const char *read_burst(line_t *line, const char *value)
{
    const char *fault = xl_units_size(value, &line->limit->burst_bytes);

    return fault ? bad_value(line, "burst", value, fault) : NULL;
}

static const char *read_after(line_t *line, const char *value)
{
    const char *fault = xl_units_size(value, &line->limit->after_bytes);

    return fault ? bad_value(line, "after", value, fault) : NULL;
}

static const struct {
    const char *name;
    unsigned kinds;
    const char *(*read)(line_t *line, const char *value);
} options[] = {
#define XL_OPTION(name, kinds, value, help) {#name, kinds, read_##name},
#include "xl_options.def"
};

#define OPTIONS (sizeof(options) / sizeof(*options))

/* "burst= after= mode= ...", those that make sense for the kind. */
static const char *known_options(const line_t *line)
{
    const char *list = "";
    size_t i;

    for (i = 0; i < OPTIONS; i++)
        if (options[i].kinds & line->kind)
            list = apr_pstrcat(line->cmd->pool, list, " ", options[i].name, "=", NULL);
    return list;
}

/* "XLimitQuota, XLimitBandwidth and XLimitUpload with key client or all" */
static const char *option_is_for(const line_t *line, unsigned kinds)
{
    const char *text = kinds & XL_FOR_QUOTA ? "XLimitQuota, " : "", *with = " with key ";
    size_t i;

    if (!(kinds & XL_FOR_RATE))
        return "XLimitQuota";
    text = apr_pstrcat(line->cmd->pool, text, "XLimitBandwidth and XLimitUpload", NULL);
    for (i = 0; i < KEYS && (kinds & XL_FOR_RATE) != XL_FOR_RATE; i++) {
        if (!(kinds & keys[i].kind))
            continue;
        text = apr_pstrcat(line->cmd->pool, text, with, keys[i].name, NULL);
        with = " or ";
    }
    return text;
}

static const char *read_option(line_t *line, const char *word)
{
    const char *equals = strchr(word, '=');
    const char *name = equals ? apr_pstrmemdup(line->cmd->pool, word, (apr_size_t)(equals - word)) : word;
    size_t i;

    if (!equals || equals == word)
        return xl_command_error(line->cmd, "\"%s\" is not an option; known here:%s", word, known_options(line));
    for (i = 0; i < OPTIONS && ap_cstr_casecmp(name, options[i].name); i++)
        continue;
    if (i == OPTIONS)
        return xl_command_error(line->cmd, "unknown option \"%s=\"; known here:%s", name, known_options(line));
    if (!(options[i].kinds & line->kind))
        return xl_command_error(line->cmd, "%s= is for %s, not for %s; known here:%s", options[i].name,
                                option_is_for(line, options[i].kinds), kind_name(line), known_options(line));
    if (line->seen & (1u << i))
        return xl_command_error(line->cmd, "%s= stands there twice", options[i].name);
    line->seen |= 1u << i;
    return options[i].read(line, equals + 1);
}

static const char *read_options(line_t *line, const char *args)
{
    const char *error, *word;

    while (!(error = xl_command_word(line->cmd, &args, &word)) && word) {
        error = read_option(line, word);
        if (error)
            return error;
    }
    return error;
}

/* The shortest time that the period can last. */
static uint64_t period_least_ms(const xl_period_t *period)
{
    static const uint64_t hours[] = {
        [XL_PERIOD_HOUR] = 1,    [XL_PERIOD_DAY] = 24,    [XL_PERIOD_WEEK] = 168,
        [XL_PERIOD_MONTH] = 672, [XL_PERIOD_YEAR] = 8760,
    };

    return period->kind == XL_PERIOD_TIME ? period->length_ms : hours[period->kind] * 3600 * 1000;
}

static const char *read_amount(line_t *line, const char *text)
{
    size_t length = strlen(text);
    bool requests = length && (text[length - 1] == 'r' || text[length - 1] == 'R');
    const char *fault;

    line->limit->unit = requests ? XL_UNIT_REQUESTS : XL_UNIT_BYTES;
    fault = requests ? xl_units_requests(text, &line->limit->amount) : xl_units_size(text, &line->limit->amount);
    if (!fault && !line->limit->amount)
        fault = "it is zero, which would refuse everything; mode=off switches a limit off";
    return fault ? xl_command_error(line->cmd, "\"%s\" is not %s: %s", text,
                                    requests ? "a count of requests" : "a size", fault)
                 : NULL;
}

static const char *read_period(line_t *line, const char *text)
{
    const char *fault = xl_period_parse(text, &line->limit->period);

    if (fault)
        return xl_command_error(line->cmd, "\"%s\" is not a period: %s", text, fault);
    if (line->limit->period.kind != XL_PERIOD_TIME)
        line->limit->period.zone = xl_zones_default(&fault);
    line->period = text;
    return NULL;
}

static const char *check_slice(const line_t *line)
{
    if (line->limit->slice_ms < period_least_ms(&line->limit->period))
        return NULL;
    return xl_command_error(line->cmd, "the slice is not shorter than the period \"%s\"", line->period);
}

/* Made from dimension, key and period: the same line has the same name, and
 * with it its counter, after every restart. */
static const char *default_name(const line_t *line)
{
    apr_pool_t *p = line->cmd->pool;
    char *period;

    if (line->key)
        return apr_pstrcat(p, line->limit->dimension == XL_DIM_UPLOAD ? "upload-" : "bandwidth-", line->key, NULL);
    period = apr_pstrdup(p, line->period);
    ap_str_tolower(period);
    return apr_pstrcat(p, "quota-all-", period, line->limit->unit == XL_UNIT_REQUESTS ? "-requests" : NULL, NULL);
}

/* The same limit for another class is another limit. */
static const char *with_class(apr_pool_t *p, const char *name, const xl_class_cond_t *only)
{
    if (!only->id)
        return name;
    return apr_pstrcat(p, name, only->others ? "-not-" : "-", only->text + only->others, NULL);
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

static const char *add_limit(const line_t *line, xl_dir_conf_t *conf)
{
    xl_limit_t *limit = line->limit;
    const xl_limit_t *other;

    if (!limit->name)
        limit->name = with_class(line->cmd->pool, default_name(line), &limit->only);
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

/* The next word, which must be there. */
static const char *required(const line_t *line, const char **args, const char **word, const char *what)
{
    const char *error = xl_command_word(line->cmd, args, word);

    if (!error && !*word)
        error = xl_command_error(line->cmd, "%s is missing; right would be: %s %s", what, line->cmd->cmd->name,
                                 line->cmd->cmd->errmsg);
    return error;
}

static const char *begin(line_t *line, cmd_parms *cmd, xl_dir_conf_t *conf, xl_dimension_e dimension)
{
    line->cmd = cmd;
    line->limit = apr_pcalloc(cmd->pool, sizeof(*line->limit));
    line->limit->dimension = dimension;
    line->limit->account = xl_command_account(cmd);
    return xl_command_in_scope(cmd, conf);
}

const char *xl_set_quota(cmd_parms *cmd, void *dir, const char *args)
{
    line_t line = {.kind = XL_FOR_QUOTA};
    const char *error = begin(&line, cmd, dir, XL_DIM_QUOTA), *word;

    if (error || (error = required(&line, &args, &word, "the key")))
        return error;
    if (ap_cstr_casecmp(word, "all"))
        return xl_command_error(cmd, "\"%s\" is not a key of a quota; right would be all", word);
    if ((error = required(&line, &args, &word, "the amount")) || (error = read_amount(&line, word)))
        return error;
    if ((error = required(&line, &args, &word, "the period")) || (error = read_period(&line, word)))
        return error;
    if ((error = read_options(&line, args)) || (error = check_slice(&line)))
        return error;
    return add_limit(&line, dir);
}

static const char *read_key(line_t *line, const char *word)
{
    size_t i;

    for (i = 0; i < KEYS && ap_cstr_casecmp(word, keys[i].name); i++)
        continue;
    if (i == KEYS)
        return xl_command_error(line->cmd, "\"%s\" is not a key of %s; right would be session, client or all", word,
                                line->limit->dimension == XL_DIM_UPLOAD ? "an upload" : "a bandwidth");
    line->key = keys[i].name;
    line->kind = keys[i].kind;
    line->limit->key = keys[i].key;
    return NULL;
}

static const char *set_rate(cmd_parms *cmd, void *dir, const char *args, xl_dimension_e dimension)
{
    line_t line = {0};
    const char *error = begin(&line, cmd, dir, dimension), *word, *fault;

    if (error || (error = required(&line, &args, &word, "the key")) || (error = read_key(&line, word)))
        return error;
    if ((error = required(&line, &args, &word, "the rate")))
        return error;
    fault = xl_units_rate(word, &line.limit->rate);
    if (fault)
        return xl_command_error(cmd, "\"%s\" is not a rate: %s", word, fault);
    error = read_options(&line, args);
    return error ? error : add_limit(&line, dir);
}

const char *xl_set_bandwidth(cmd_parms *cmd, void *dir, const char *args)
{
    return set_rate(cmd, dir, args, XL_DIM_BANDWIDTH);
}

const char *xl_set_upload(cmd_parms *cmd, void *dir, const char *args)
{
    return set_rate(cmd, dir, args, XL_DIM_UPLOAD);
}
