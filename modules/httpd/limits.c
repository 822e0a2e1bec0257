/* SPDX-License-Identifier: Apache-2.0
 *
 * limits: the directives that limit, one reader for each dimension: its amount,
 * and what in its line contradicts itself. Keys, names and where a limit is noted
 * are line.c's, options options.c's. Configuration time, one thread; .htaccess
 * at a request, in that request's pool.
 */
#include "xl_line.h"

#include "apr_strings.h"

/* The shortest time that the period can last. */
static uint64_t period_least_ms(const xl_period_t *period)
{
    static const uint64_t hours[] = {
        [XL_PERIOD_HOUR] = 1,    [XL_PERIOD_DAY] = 24,    [XL_PERIOD_WEEK] = 168,
        [XL_PERIOD_MONTH] = 672, [XL_PERIOD_YEAR] = 8760,
    };

    return period->kind == XL_PERIOD_TIME ? period->length_ms : hours[period->kind] * 3600 * 1000;
}

static const char *read_amount(xl_line_t *line, const char *text)
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

static const char *read_period(xl_line_t *line, const char *text)
{
    const char *fault = xl_period_parse(text, &line->limit->period);

    if (fault)
        return xl_command_error(line->cmd, "\"%s\" is not a period: %s", text, fault);
    if (line->limit->period.kind != XL_PERIOD_TIME)
        line->limit->period.zone = xl_zones_default(&fault);
    line->period = text;
    return NULL;
}

static const char *check_slice(const xl_line_t *line)
{
    if (line->limit->slice_ms < period_least_ms(&line->limit->period))
        return NULL;
    return xl_command_error(line->cmd, "the slice is not shorter than the period \"%s\"", line->period);
}

const char *xl_set_quota(cmd_parms *cmd, void *dir, const char *args)
{
    xl_line_t line = { 0 };
    const char *error = xl_line_begin(&line, cmd, dir, XL_DIM_QUOTA), *word;

    if (error || (error = xl_line_required(&line, &args, &word, "the key")) ||
        (error = xl_line_key(&line, word, false)))
        return error;
    line.kind = line.limit->key == XL_KEY_ALL ? XL_FOR_QUOTA : XL_FOR_KEYED_QUOTA;
    if ((error = xl_line_required(&line, &args, &word, "the amount")) || (error = read_amount(&line, word)))
        return error;
    if ((error = xl_line_required(&line, &args, &word, "the period")) || (error = read_period(&line, word)))
        return error;
    if ((error = xl_line_options(&line, args)) || (error = check_slice(&line)))
        return error;
    if (line.limit->cost && line.limit->unit == XL_UNIT_BYTES)
        return xl_command_error(cmd, "cost= is for a quota of requests (1000r), not of bytes");
    return xl_line_end(&line);
}

static const char *set_rate(cmd_parms *cmd, void *dir, const char *args, xl_dimension_e dimension)
{
    static const unsigned kinds[] = { [XL_KEY_ALL] = XL_FOR_ALL, [XL_KEY_SESSION] = XL_FOR_SESSION,
                                      [XL_KEY_CLIENT] = XL_FOR_CLIENT, [XL_KEY_ZONE] = XL_FOR_CLIENT };
    xl_line_t line = { 0 };
    const char *error = xl_line_begin(&line, cmd, dir, dimension), *word, *fault;

    if (error || (error = xl_line_required(&line, &args, &word, "the key")) ||
        (error = xl_line_key(&line, word, true)))
        return error;
    line.kind = kinds[line.limit->key];
    if ((error = xl_line_required(&line, &args, &word, "the rate")))
        return error;
    fault = xl_units_rate(word, &line.limit->rate);
    if (fault)
        return xl_command_error(cmd, "\"%s\" is not a rate: %s", word, fault);
    error = xl_line_options(&line, args);
    return error ? error : xl_line_end(&line);
}

const char *xl_set_bandwidth(cmd_parms *cmd, void *dir, const char *args)
{
    return set_rate(cmd, dir, args, XL_DIM_BANDWIDTH);
}

const char *xl_set_upload(cmd_parms *cmd, void *dir, const char *args)
{
    return set_rate(cmd, dir, args, XL_DIM_UPLOAD);
}

/* Key and COUNT/TIME. */
static const char *read_frequency(xl_line_t *line, const char **args)
{
    const char *error, *word, *fault;

    if ((error = xl_line_required(line, args, &word, "the key")) || (error = xl_line_key(line, word, false)) ||
        (error = xl_line_required(line, args, &word, "the rate")))
        return error;
    fault = xl_units_per_time(word, &line->limit->rate);
    return fault ? xl_command_error(line->cmd, "\"%s\" is not a count per time: %s", word, fault) : NULL;
}

const char *xl_set_requests(cmd_parms *cmd, void *dir, const char *args)
{
    xl_line_t line = { .kind = XL_FOR_REQUESTS };
    const char *error = xl_line_begin(&line, cmd, dir, XL_DIM_REQUESTS);
    const xl_limit_t *limit = line.limit;

    if (error || (error = read_frequency(&line, &args)) || (error = xl_line_options(&line, args)))
        return error;
    if (xl_line_saw(&line, "delay") && xl_line_saw(&line, "nodelay"))
        return xl_command_error(cmd, "delay= and nodelay contradict each other; leave one of them out");
    if (limit->delay != XL_NO_DELAY && limit->delay > limit->burst)
        return xl_command_error(cmd, "delay=%" APR_UINT64_T_FMT " is more than burst=%" APR_UINT64_T_FMT ": nobody would "
                                     "ever wait; right would be at most the burst, or nodelay",
                                (apr_uint64_t)limit->delay, (apr_uint64_t)limit->burst);
    return xl_line_end(&line);
}

const char *xl_set_penalty(cmd_parms *cmd, void *dir, const char *args)
{
    xl_line_t line = { .kind = XL_FOR_PENALTY };
    const char *error = xl_line_begin(&line, cmd, dir, XL_DIM_PENALTY);

    if (error || (error = read_frequency(&line, &args)) || (error = xl_line_options(&line, args)))
        return error;
    if (!line.limit->for_ms)
        return xl_command_error(cmd, "for= is missing: for how long it locks out, for=5min");
    line.limit->burst = line.limit->rate.units - 1; /* of 20/10s, 20 at once */
    return xl_line_end(&line);
}

/* What is refused before a byte is read can only be closed. */
static const char *check_accept(const xl_line_t *line)
{
    const xl_limit_t *limit = line->limit;
    xl_action_e kind = limit->exceeded.kind;

    if (!limit->at_accept)
        return NULL;
    if (kind != XL_ACT_DEFAULT && kind != XL_ACT_CLOSE && kind != XL_ACT_PASS)
        return xl_command_error(line->cmd, "at=accept answers nobody: right would be exceeded=close, exceeded=pass or no "
                                           "exceeded= at all");
    if (limit->when)
        return xl_command_error(line->cmd, "when= asks for a request, of which nothing is known at=accept; right would "
                                           "be class=NAME, or no at=accept");
    return NULL;
}

#define CONNECTIONS_MOST UINT64_C(1000000)

const char *xl_set_connections(cmd_parms *cmd, void *dir, const char *args)
{
    xl_line_t line = { .kind = XL_FOR_CONNECTIONS };
    const char *error = xl_line_begin(&line, cmd, dir, XL_DIM_CONNECTIONS), *word;

    if (error || (error = xl_line_required(&line, &args, &word, "the key")) ||
        (error = xl_line_key(&line, word, false)) || (error = xl_line_required(&line, &args, &word, "the count")))
        return error;
    if (xl_units_number(word, CONNECTIONS_MOST, &line.limit->amount))
        return xl_command_error(cmd, "\"%s\" is not a count; right would be 1 to 1000000", word);
    if ((error = xl_line_options(&line, args)) || (error = check_accept(&line)))
        return error;
    return xl_line_end(&line);
}

const char *xl_set_block(cmd_parms *cmd, void *dir, const char *args)
{
    xl_line_t line = { .kind = XL_FOR_BLOCK };
    const char *error = xl_line_begin(&line, cmd, dir, XL_DIM_BLOCK);

    if (error || (error = xl_line_options(&line, args)) || (error = check_accept(&line)))
        return error;
    if (!xl_line_saw(&line, "when") && !xl_line_saw(&line, "class"))
        return xl_command_error(cmd, "it would block everybody; right would be class=NAME or when=\"expr\"");
    return xl_line_end(&line);
}
