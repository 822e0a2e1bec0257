/* SPDX-License-Identifier: Apache-2.0
 *
 * text: values, actions and limits in the words of the configuration language,
 * every default spelled out, for whoever shows them: a dump, a status page.
 * Reading what is written here gives the same again. Keeps nothing.
 */
#include "xl_text.h"

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

const char *xl_text_size(apr_pool_t *p, uint64_t bytes)
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

const char *xl_text_time(apr_pool_t *p, uint64_t ms)
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
        return apr_pstrcat(p, xl_text_size(p, (uint64_t)(per_s / rate.per_ns)), "/s", NULL);
    if (per_s * BITS % rate.per_ns == 0)
        return apr_psprintf(p, "%" APR_UINT64_T_FMT "bit/s", (apr_uint64_t)(per_s * BITS / rate.per_ns));
    return apr_psprintf(p, "%.9fB/s", (double)per_s / (double)rate.per_ns);
}

const char *xl_text_quoted(apr_pool_t *p, const char *text)
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
                        xl_text_time(p, rate.per_ns / XL_NS_PER_MS));
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

const char *xl_text_action(apr_pool_t *p, const xl_action_t *action)
{
    switch (action->kind) {
    case XL_ACT_REDIRECT: {
        bool blank = strpbrk(action->url, " \t\"'\\") != NULL;

        return apr_psprintf(p, "redirect %s %d", blank ? xl_text_quoted(p, action->url) : action->url, action->status);
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

const char *xl_text_period(apr_pool_t *p, const xl_period_t *period)
{
    static const char *const names[] = {"", "hour", "day", "week", "month", "year"};
    static const char *const weekdays[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};
    const char *text = names[period->kind];

    if (period->kind == XL_PERIOD_TIME)
        return xl_text_time(p, period->length_ms);
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
                                                         : xl_text_size(p, limit->amount);
    const char *slice = limit->slice_ms ? apr_pstrcat(p, " slice=", xl_text_time(p, limit->slice_ms), NULL) : "";

    return apr_pstrcat(p, "XLimitQuota ", key_text(limit), " ", amount, " ", xl_text_period(p, &limit->period),
                       slice, warn_text(p, limit), NULL);
}

static const char *rate_limit_text(apr_pool_t *p, const xl_limit_t *limit)
{
    const char *directive = limit->dimension == XL_DIM_UPLOAD ? "XLimitUpload " : "XLimitBandwidth ";
    const char *after =
        limit->key == XL_KEY_SESSION ? apr_pstrcat(p, " after=", xl_text_size(p, limit->after_bytes), NULL) : "";

    return apr_pstrcat(p, directive, key_text(limit), " ", rate_text(p, limit->rate),
                       " burst=", xl_text_size(p, limit->burst), after, NULL);
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
    return apr_pstrcat(p, frequency_text(p, limit->rate), " for=", xl_text_time(p, limit->for_ms),
                       " count=", event_text(p, limit), NULL);
}

const char *xl_text_allows(apr_pool_t *p, const xl_limit_t *limit)
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
    return apr_pstrcat(p, directives[limit->dimension], key_text(limit), " ", xl_text_allows(p, limit), NULL);
}

/* " option=value", or nothing. */
static const char *option_text(apr_pool_t *p, const char *option, const char *value)
{
    return value ? apr_pstrcat(p, " ", option, "=", xl_text_quoted(p, value), NULL) : "";
}

static const char *exceeded_text(apr_pool_t *p, const xl_dir_conf_t *conf, const xl_limit_t *limit)
{
    const xl_action_t *action = conf ? xl_config_action(conf, limit) : &limit->exceeded;

    return xl_dimension_paces(limit->dimension) || action->kind == XL_ACT_DEFAULT
               ? ""
               : option_text(p, "exceeded", xl_text_action(p, action));
}

const char *xl_text_limit(apr_pool_t *p, const xl_dir_conf_t *conf, const xl_limit_t *limit)
{
    static const char *const modes[] = {"enforce", "dry-run", "off"};

    return apr_pstrcat(p, amount_text(p, limit), limit->at_accept ? " at=accept" : "", exceeded_text(p, conf, limit),
                       " mode=", modes[limit->mode], option_text(p, "when", limit->when_text),
                       limit->only.id ? apr_pstrcat(p, " class=", limit->only.text, NULL) : "",
                       option_text(p, "cost", limit->cost_text), limit->scope_server ? " scope=server" : "",
                       " name=", limit->name, NULL);
}
