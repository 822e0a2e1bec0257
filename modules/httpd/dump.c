/* SPDX-License-Identifier: Apache-2.0
 *
 * dump: the resolved configuration as text, for `apachectl -t -D DUMP_XLIMIT`
 * and for whoever shows a limit as a line. What is printed can be read again:
 * directives stand alone on their lines, everything else is a comment. Reads
 * the finished configuration, changes nothing.
 */
#include "xl_config.h"
#include "xl_snapshot.h"

#include "apr_file_io.h"
#include "apr_strings.h"

#define BITS 8

typedef struct {
    const char *unit;
    uint64_t size;
} unit_t;

/* The value in the first unit that divides it. */
static const char *in_units(apr_pool_t *p, uint64_t value, const unit_t *units)
{
    while (!value || value % units->size)
        units++;
    return apr_psprintf(p, "%" APR_UINT64_T_FMT "%s", (apr_uint64_t)(value / units->size), units->unit);
}

static const char *size_text(apr_pool_t *p, uint64_t bytes)
{
    static const unit_t units[] = {
        {"TB", UINT64_C(1000000000000)},
        {"GB", 1000000000},
        {"MB", 1000000},
        {"kB", 1000},
        {"TiB", UINT64_C(1) << 40},
        {"GiB", 1 << 30},
        {"MiB", 1 << 20},
        {"KiB", 1 << 10},
        {"B", 1},
    };

    return bytes ? in_units(p, bytes, units) : "0";
}

static const char *time_text(apr_pool_t *p, uint64_t ms)
{
    static const unit_t units[] = {
        {"w", 604800000}, {"d", 86400000}, {"h", 3600000}, {"min", 60000}, {"s", 1000}, {"ms", 1},
    };

    return ms ? in_units(p, ms, units) : "0ms";
}

/* Whole bytes per second, else whole bits, else as near as decimals come. */
static const char *rate_text(apr_pool_t *p, xl_rate_t rate)
{
    unsigned __int128 per_s = (unsigned __int128)rate.units * XL_NS_PER_S;

    if (per_s % rate.per_ns == 0)
        return apr_pstrcat(p, size_text(p, (uint64_t)(per_s / rate.per_ns)), "/s", NULL);
    if (per_s * BITS % rate.per_ns == 0)
        return apr_psprintf(p, "%" APR_UINT64_T_FMT "bit/s", (apr_uint64_t)(per_s * BITS / rate.per_ns));
    return apr_psprintf(p, "%.9fB/s", (double)per_s / (double)rate.per_ns);
}

static const char *quoted(apr_pool_t *p, const char *text)
{
    char *out = apr_palloc(p, 2 * strlen(text) + 3), *to = out;

    *to++ = '"';
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            *to++ = '\\';
        *to++ = *text;
    }
    *to++ = '"';
    *to = '\0';
    return out;
}

/* "20/10s", as it was written or in the least time that says the same. */
static const char *frequency_text(apr_pool_t *p, xl_rate_t rate)
{
    return apr_psprintf(p, "%" APR_UINT64_T_FMT "/%s", (apr_uint64_t)rate.units,
                        time_text(p, rate.per_ns / XL_NS_PER_MS));
}

static const char *speed_text(apr_pool_t *p, const xl_action_t *action)
{
    const char *text = apr_pstrcat(p, "speed ", rate_text(p, action->rate), NULL);

    if (action->requests)
        text = apr_pstrcat(p, text, " ", frequency_text(p, action->requests->rate), NULL);
    if (action->connections)
        text = apr_psprintf(p, "%s %" APR_UINT64_T_FMT, text, (apr_uint64_t)action->connections->amount);
    return text;
}

const char *xl_config_action_text(apr_pool_t *p, const xl_action_t *action)
{
    switch (action->kind) {
    case XL_ACT_REDIRECT: {
        bool blank = strpbrk(action->url, " \t\"'\\") != NULL;

        return apr_psprintf(p, "redirect %s %d", blank ? quoted(p, action->url) : action->url, action->status);
    }
    case XL_ACT_STATUS:
        return apr_psprintf(p, "status %d", action->status);
    case XL_ACT_SPEED:
        return speed_text(p, action);
    case XL_ACT_CLOSE:
        return "close";
    case XL_ACT_PASS:
        return "pass";
    case XL_ACT_DEFAULT:
        break;
    }
    return "";
}

const char *xl_config_period_text(apr_pool_t *p, const xl_period_t *period)
{
    static const char *const names[] = {"", "hour", "day", "week", "month", "year"};
    static const char *const weekdays[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};
    const char *text = names[period->kind];

    if (period->kind == XL_PERIOD_TIME)
        return time_text(p, period->length_ms);
    if (period->kind == XL_PERIOD_MONTH)
        text = apr_psprintf(p, "%s day=%u", text, (unsigned)period->day);
    if (period->kind == XL_PERIOD_WEEK)
        text = apr_psprintf(p, "%s weekday=%s", text, weekdays[period->weekday % 7]);
    if (period->kind != XL_PERIOD_HOUR)
        text = apr_psprintf(p, "%s at=%02u:%02u", text, (unsigned)(period->at_s / 3600),
                            (unsigned)(period->at_s / 60 % 60));
    if (period->zone && *period->zone->name)
        text = apr_pstrcat(p, text, " tz=", period->zone->name, NULL);
    return text;
}

static const char *warn_text(apr_pool_t *p, const xl_limit_t *limit)
{
    const char *text = "";
    size_t i;

    for (i = 0; i < limit->warns; i++)
        text = apr_psprintf(p, "%s%s%u", text, i ? "," : " warn=", (unsigned)limit->warn[i]);
    return text;
}

static const char *number_text(apr_pool_t *p, uint64_t number)
{
    return apr_psprintf(p, "%" APR_UINT64_T_FMT, (apr_uint64_t)number);
}

static const char *key_text(const xl_limit_t *limit)
{
    static const char *const keys[] = {[XL_KEY_ALL] = "all", [XL_KEY_SESSION] = "session", [XL_KEY_CLIENT] = "client"};

    return limit->key == XL_KEY_ZONE ? limit->zone : keys[limit->key];
}

static const char *quota_text(apr_pool_t *p, const xl_limit_t *limit)
{
    const char *amount = limit->unit == XL_UNIT_REQUESTS ? apr_pstrcat(p, number_text(p, limit->amount), "r", NULL)
                                                         : size_text(p, limit->amount);
    const char *slice = limit->slice_ms ? apr_pstrcat(p, " slice=", time_text(p, limit->slice_ms), NULL) : "";

    return apr_pstrcat(p, "XLimitQuota ", key_text(limit), " ", amount, " ", xl_config_period_text(p, &limit->period),
                       slice, warn_text(p, limit), NULL);
}

static const char *rate_limit_text(apr_pool_t *p, const xl_limit_t *limit)
{
    const char *directive = limit->dimension == XL_DIM_UPLOAD ? "XLimitUpload " : "XLimitBandwidth ";
    const char *after =
        limit->key == XL_KEY_SESSION ? apr_pstrcat(p, " after=", size_text(p, limit->after_bytes), NULL) : "";

    return apr_pstrcat(p, directive, key_text(limit), " ", rate_text(p, limit->rate),
                       " burst=", size_text(p, limit->burst), after, NULL);
}

static const char *requests_text(apr_pool_t *p, const xl_limit_t *limit)
{
    const char *delay = limit->delay == XL_NO_DELAY ? " nodelay"
                                                    : apr_pstrcat(p, " delay=", number_text(p, limit->delay), NULL);

    return apr_pstrcat(p, frequency_text(p, limit->rate), " burst=", number_text(p, limit->burst), delay, NULL);
}

static const char *event_text(apr_pool_t *p, const xl_limit_t *limit)
{
    const char *text = "status:";
    unsigned status;

    if (limit->event != XL_EVENT_STATUS)
        return limit->event == XL_EVENT_REJECTED ? "rejected" : "requests";
    for (status = 0; status < 64 * XL_STATUS_WORDS; status++)
        if (limit->statuses[status / 64] >> status % 64 & 1)
            text = apr_psprintf(p, "%s%s%u", text, text[7] ? "," : "", status);
    return text;
}

static const char *penalty_text(apr_pool_t *p, const xl_limit_t *limit)
{
    return apr_pstrcat(p, frequency_text(p, limit->rate), " for=", time_text(p, limit->for_ms),
                       " count=", event_text(p, limit), NULL);
}

const char *xl_config_allows(apr_pool_t *p, const xl_limit_t *limit)
{
    switch (limit->dimension) {
    case XL_DIM_REQUESTS:
        return requests_text(p, limit);
    case XL_DIM_CONNECTIONS:
        return number_text(p, limit->amount);
    case XL_DIM_PENALTY:
        return penalty_text(p, limit);
    default:
        return NULL;
    }
}

static const char *amount_text(apr_pool_t *p, const xl_limit_t *limit)
{
    static const char *const directives[XL_DIMS] = {
        [XL_DIM_REQUESTS] = "XLimitRequests ",
        [XL_DIM_CONNECTIONS] = "XLimitConnections ",
        [XL_DIM_PENALTY] = "XLimitPenalty ",
    };

    if (limit->dimension == XL_DIM_QUOTA)
        return quota_text(p, limit);
    if (limit->dimension == XL_DIM_BLOCK)
        return "XLimitBlock";
    if (!directives[limit->dimension])
        return rate_limit_text(p, limit);
    return apr_pstrcat(p, directives[limit->dimension], key_text(limit), " ", xl_config_allows(p, limit), NULL);
}

/* " option=value", or nothing. */
static const char *option_text(apr_pool_t *p, const char *option, const char *value)
{
    return value ? apr_pstrcat(p, " ", option, "=", quoted(p, value), NULL) : "";
}

static const char *exceeded_text(apr_pool_t *p, const xl_dir_conf_t *conf, const xl_limit_t *limit)
{
    const xl_action_t *action = conf ? xl_config_action(conf, limit) : &limit->exceeded;
    bool paces = limit->dimension == XL_DIM_BANDWIDTH || limit->dimension == XL_DIM_UPLOAD;

    return paces || action->kind == XL_ACT_DEFAULT ? "" : option_text(p, "exceeded", xl_config_action_text(p, action));
}

const char *xl_config_line(apr_pool_t *p, const xl_dir_conf_t *conf, const xl_limit_t *limit)
{
    static const char *const modes[] = {"enforce", "dry-run", "off"};

    return apr_pstrcat(p, amount_text(p, limit), limit->at_accept ? " at=accept" : "", exceeded_text(p, conf, limit),
                       " mode=", modes[limit->mode], option_text(p, "when", limit->when_text),
                       option_text(p, "cost", limit->cost_text), limit->scope_server ? " scope=server" : "",
                       " name=", limit->name, NULL);
}

/* ---- all of it ---- */

typedef struct {
    apr_file_t *out;
    apr_pool_t *pool;
    server_rec *main_server;
} dump_t;

static void dump_engine(const dump_t *dump, const xl_engine_conf_t *engine)
{
    static const char *const engines[] = {"auto", "async", "blocking"};
    apr_file_t *out = dump->out;

    if (engine->state_file)
        apr_file_printf(out, "XLimitStateFile %s\n", quoted(dump->pool, engine->state_file));
    else
        apr_file_printf(out, "# XLimitStateFile: xlimit.state under the state directory\n");
    apr_file_printf(out, "XLimitStateError %s\n", engine->state_error_fail ? "fail" : "fresh");
    if (engine->memory_bytes)
        apr_file_printf(out, "XLimitMemory %s\n", size_text(dump->pool, engine->memory_bytes));
    else
        apr_file_printf(out, "# XLimitMemory: sized from the scopes\n");
    apr_file_printf(out, "XLimitEngine %s\n", engines[engine->engine]);
    if (engine->waiting)
        apr_file_printf(out, "XLimitWaiting %u\n", engine->waiting);
    else
        apr_file_printf(out, "# XLimitWaiting: ThreadsPerChild\n");
    apr_file_printf(out, "XLimitBuffer %s\n", size_text(dump->pool, engine->buffer_bytes));
    if (!engine->spool_bytes)
        apr_file_printf(out, "XLimitSpool off\n");
    else
        apr_file_printf(out, "XLimitSpool %s%s%s\n", size_text(dump->pool, engine->spool_bytes),
                        engine->spool_dir ? " " : "", engine->spool_dir ? quoted(dump->pool, engine->spool_dir) : "");
}

static void dump_limit(const dump_t *dump, const xl_dir_conf_t *conf, const xl_limit_t *limit, bool inherited)
{
    apr_file_printf(dump->out, "    # %s:%d%s\n    %s\n", limit->file, limit->line,
                    inherited ? ", inherited from the main server" : "", xl_config_line(dump->pool, conf, limit));
}

static void dump_exempt(const dump_t *dump, const xl_exempt_t *exempt)
{
    apr_file_printf(dump->out, "    # %s:%d\n    XLimitExempt %s%s\n", exempt->file, exempt->line,
                    exempt->handler ? "handler=" : "when=",
                    quoted(dump->pool, exempt->handler ? exempt->handler : exempt->when_text));
}

static void dump_action(const dump_t *dump, const char *what, const xl_action_t *action)
{
    if (action->kind != XL_ACT_DEFAULT)
        apr_file_printf(dump->out, "    XLimitExceeded %s %s\n", what, xl_config_action_text(dump->pool, action));
}

/* What a scope says besides its limits. */
static void dump_rest(const dump_t *dump, const xl_dir_conf_t *conf)
{
    static const char *const headers[] = {"", "Off", "Draft10", "Legacy"};
    int i;

    for (i = 0; conf->exempts && i < conf->exempts->nelts; i++) {
        const xl_exempt_t *exempt = &APR_ARRAY_IDX(conf->exempts, i, xl_exempt_t);

        if (!exempt->account)
            dump_exempt(dump, exempt);
    }
    for (i = 0; i < XL_DIMS; i++)
        dump_action(dump, xl_snapshot_dimension((xl_dimension_e)i), &conf->exceeded[i]);
    dump_action(dump, "any", &conf->exceeded_any);
    if (conf->headers != XL_HEADERS_UNSET)
        apr_file_printf(dump->out, "    XLimitHeaders %s\n", headers[conf->headers]);
    if (conf->backend_rate >= 0)
        apr_file_printf(dump->out, "    XLimitBackendRate %s\n", conf->backend_rate ? "On" : "Off");
    if (conf->inherit >= 0)
        apr_file_printf(dump->out, "    XLimitInherit %s\n", conf->inherit ? "On" : "Off");
}

static bool stands_in_main(const dump_t *dump, const xl_limit_t *limit)
{
    const apr_array_header_t *all = xl_config_registry();
    int i;

    for (i = 0; i < all->nelts; i++)
        if (APR_ARRAY_IDX(all, i, xl_registered_t).limit == limit)
            return APR_ARRAY_IDX(all, i, xl_registered_t).server == dump->main_server;
    return false;
}

/* Of the main server the virtual hosts have, too. */
static void dump_sections(const dump_t *dump, server_rec *s)
{
    const apr_array_header_t *all = xl_config_sections();
    int i, j;

    for (i = 0; i < all->nelts; i++) {
        const xl_section_t *section = &APR_ARRAY_IDX(all, i, xl_section_t);
        const apr_array_header_t *limits = section->conf->limits;
        xl_dir_conf_t *merged;

        if (section->server != s && section->server != dump->main_server)
            continue;
        merged = xl_config_merge_dir(dump->pool, xl_config_dir(s->lookup_defaults), section->conf);
        apr_file_printf(dump->out, "  # <%s>\n", section->place);
        dump_rest(dump, section->conf);
        for (j = 0; limits && j < limits->nelts; j++)
            dump_limit(dump, merged, APR_ARRAY_IDX(limits, j, const xl_limit_t *), section->server != s);
    }
}

/* What the section of its account gives a server: a comment, since reading
 * XLimitAccount again gives it, too. */
static void dump_shared(const dump_t *dump, const xl_dir_conf_t *conf, const xl_limit_t *limit)
{
    apr_file_printf(dump->out, "    # %s:%d, of the account %s\n    # %s\n", limit->file, limit->line,
                    limit->account, xl_config_line(dump->pool, conf, limit));
}

/* What a server says that no section can. */
static void dump_host(const dump_t *dump, const xl_server_conf_t *conf)
{
    if (conf->account)
        apr_file_printf(dump->out, "    # %s:%d\n    XLimitAccount %s\n", conf->account_file, conf->account_line,
                        conf->account);
    if (conf->prefix_v4)
        apr_file_printf(dump->out, "    XLimitClientPrefix %d %d\n", conf->prefix_v4, conf->prefix_v6);
}

static void dump_server(const dump_t *dump, server_rec *s)
{
    const xl_dir_conf_t *conf = xl_config_dir(s->lookup_defaults);
    int i;

    if (s->is_virtual)
        apr_file_printf(dump->out, "\n# %s: virtual host of %s:%u\n", xl_config_server(s)->identity, s->defn_name,
                        s->defn_line_number);
    else
        apr_file_printf(dump->out, "\n# %s: main server\n", xl_config_server(s)->identity);
    dump_host(dump, xl_config_server(s));
    dump_rest(dump, conf);
    for (i = 0; conf->limits && i < conf->limits->nelts; i++) {
        const xl_limit_t *limit = APR_ARRAY_IDX(conf->limits, i, xl_limit_t *);

        if (limit->account)
            dump_shared(dump, conf, limit);
        else
            dump_limit(dump, conf, limit, s->is_virtual && stands_in_main(dump, limit));
    }
    dump_sections(dump, s);
}

/* As written, but for XLimitExceeded: its limits have that as exceeded=. */
static void dump_account(const dump_t *dump, const xl_account_t *account)
{
    const xl_dir_conf_t *conf = account->conf;
    int i;

    apr_file_printf(dump->out, "\n# %s:%d\n<XLimitAccount %s>\n", account->file, account->line, account->name);
    for (i = 0; conf->exempts && i < conf->exempts->nelts; i++)
        dump_exempt(dump, &APR_ARRAY_IDX(conf->exempts, i, xl_exempt_t));
    for (i = 0; conf->limits && i < conf->limits->nelts; i++)
        dump_limit(dump, NULL, APR_ARRAY_IDX(conf->limits, i, xl_limit_t *), false);
    apr_file_printf(dump->out, "</XLimitAccount>\n");
}

static void dump_zones(const dump_t *dump)
{
    const apr_array_header_t *all = xl_config_keyzones();
    int i;

    for (i = 0; i < all->nelts; i++) {
        const xl_keyzone_t *zone = APR_ARRAY_IDX(all, i, const xl_keyzone_t *);

        apr_file_printf(dump->out, "\n# %s:%d\nXLimitZone %s key=%s entries=%u\n", zone->file, zone->line, zone->name,
                        quoted(dump->pool, zone->key_text), zone->entries);
    }
}

static void dump_accounts(const dump_t *dump)
{
    const apr_array_header_t *all = xl_config_accounts();
    int i;

    for (i = 0; i < all->nelts; i++)
        dump_account(dump, &APR_ARRAY_IDX(all, i, xl_account_t));
}

/* In the order of the file: httpd lists virtual hosts last first. */
static void dump_hosts(const dump_t *dump, server_rec *last)
{
    if (!last)
        return;
    dump_hosts(dump, last->next);
    dump_server(dump, last);
}

void xl_config_dump(apr_pool_t *pconf, server_rec *main_server)
{
    dump_t dump = {.pool = pconf, .main_server = main_server};

    if (apr_file_open_stdout(&dump.out, pconf) != APR_SUCCESS)
        return;
    apr_file_printf(dump.out, "# mod_xlimit: the configuration as it was understood\n");
    dump_engine(&dump, xl_config_server(main_server)->engine);
    dump_zones(&dump);
    dump_accounts(&dump);
    dump_server(&dump, main_server);
    dump_hosts(&dump, main_server->next);
}
