/* SPDX-License-Identifier: Apache-2.0
 *
 * ratelimit: writes the values of the RateLimit fields (xl_ratelimit.h). Reads
 * what the decision left in xl_applied_t and decides nothing itself.
 */
#include "xl_ratelimit.h"

#include "xl_dimension.h"

#include <inttypes.h>
#include <stdio.h>

#define INTEGER_MAX UINT64_C(999999999999999) /* RFC 8941 */
#define NAME_MAX_BYTES 180

static uint64_t integer(uint64_t n)
{
    return n < INTEGER_MAX ? n : INTEGER_MAX;
}

uint64_t xl_ratelimit_window_s(const xl_applied_t *a, int64_t wall_ms)
{
    const xl_period_t *period = &a->limit->period;
    xl_usage_view_t view;
    uint64_t whole_ns;

    if (a->limit->dimension == XL_DIM_REQUESTS) {
        whole_ns = xl_rate_ns(a->limit->rate, a->total);
        return whole_ns / XL_NS_PER_S + (whole_ns % XL_NS_PER_S != 0);
    }
    if (period->kind == XL_PERIOD_TIME)
        return period->length_ms / 1000;
    view = xl_usage_read(xl_applied_usage(a), period, wall_ms);
    return view.end_ms > view.start_ms ? (uint64_t)(view.end_ms - view.start_ms) / 1000 : 0;
}

/* Of the name only what a quoted string may hold as it is. */
static int name_length(const char *name)
{
    int n = 0;

    while (n < NAME_MAX_BYTES && name[n] >= ' ' && name[n] < 0x7F && name[n] != '"' && name[n] != '\\')
        n++;
    return n;
}

static bool is_of_bytes(const xl_limit_t *limit)
{
    return limit->dimension == XL_DIM_QUOTA && limit->unit == XL_UNIT_BYTES;
}

const char *xl_ratelimit_policy(char buf[XL_RATELIMIT_MAX], const xl_applied_t *a, int64_t wall_ms)
{
    snprintf(buf, XL_RATELIMIT_MAX, "\"%.*s\";q=%" PRIu64 "%s;w=%" PRIu64, name_length(a->limit->name), a->limit->name,
             integer(a->total), is_of_bytes(a->limit) ? ";qu=\"content-bytes\"" : "",
             integer(xl_ratelimit_window_s(a, wall_ms)));
    return buf;
}

const char *xl_ratelimit_state(char buf[XL_RATELIMIT_MAX], const xl_applied_t *a, uint64_t remaining, uint64_t reset_s)
{
    snprintf(buf, XL_RATELIMIT_MAX, "\"%.*s\";r=%" PRIu64 ";t=%" PRIu64, name_length(a->limit->name), a->limit->name,
             integer(remaining), integer(reset_s));
    return buf;
}
