/* SPDX-License-Identifier: Apache-2.0
 *
 * zone: what the clock on the wall shows, from the bytes of a TZif file.
 *
 * Owns nothing: a zone lies in memory of the caller and is read-only once it is
 * parsed, so nobody locks. Never opens a file and never asks the C library
 * about time. After the file's last transition its footer decides, so dates far
 * in the future are right. A zone that parsed has ascending transitions, type
 * numbers below `types` and offsets of less than 26 hours.
 */
#include "xl_calendar.h"

#include <string.h>

#define DAY_S INT64_C(86400)
#define OFFSET_MAX_S (26 * 3600)
#define MOMENT_MAX_S (INT64_C(1) << 50)
#define NEVER INT64_MAX

/* The six counts of a TZif header, in its order. */
enum { N_UT, N_STD, N_LEAP, N_TIME, N_TYPE, N_CHAR, N_COUNTS };

#define HEADER_BYTES 44

/* What is left to read of the file. */
typedef struct {
    const unsigned char *at, *end;
} cursor_t;

static bool is_leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

unsigned xl_civil_month_days(int64_t year, unsigned month)
{
    static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static int64_t days_before_year(int64_t year)
{
    int64_t past = year - 1;

    return past * 365 + floor_div(past, 4) - floor_div(past, 100) + floor_div(past, 400) - 719162;
}

int64_t xl_civil_to_days(int64_t year, unsigned month, unsigned day)
{
    static const short before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};

    return days_before_year(year) + before[month - 1] + (month > 2 && is_leap(year)) + day - 1;
}

void xl_civil_from_days(int64_t days, int64_t *year, unsigned *month, unsigned *day)
{
    int64_t y = 1970 + floor_div(days * 400, 146097);

    while (days_before_year(y) > days)
        y--;
    while (days_before_year(y + 1) <= days)
        y++;
    *year = y;
    for (*month = 12; xl_civil_to_days(y, *month, 1) > days;)
        --*month;
    *day = (unsigned)(days - xl_civil_to_days(y, *month, 1)) + 1;
}

static int64_t rule_day(const xl_zone_rule_t *rule, int64_t year)
{
    int64_t first, day;
    unsigned length;

    if (rule->form == 'n')
        return xl_civil_to_days(year, 1, 1) + rule->day;
    if (rule->form == 'J') /* 29 February has no number */
        return xl_civil_to_days(year, 1, 1) + rule->day - 1 + (rule->day >= 60 && is_leap(year));
    first = xl_civil_to_days(year, rule->month, 1);
    length = xl_civil_month_days(year, rule->month);
    /* Day 0 was a Thursday. */
    day = first + (rule->weekday + 7 - ((first + 4) % 7 + 7) % 7) % 7 + 7 * (rule->week - 1);
    return day < first + length ? day : day - 7;
}

/* The UTC second at which DST begins, or ends, in that year. */
static int64_t dst_change(const xl_zone_t *zone, int64_t year, bool begins)
{
    const xl_zone_rule_t *rule = begins ? &zone->dst_begin : &zone->dst_end;

    return rule_day(rule, year) * DAY_S + rule->at_s - (begins ? zone->std_offset_s : zone->dst_offset_s);
}

/* In which offset the footer's rules are at that moment, and until when. A rule
 * may reach a week into another year, so the years around are looked at too;
 * where one change meets the next, the later one holds. */
static int32_t footer_offset(const xl_zone_t *zone, int64_t utc_s, int64_t *until)
{
    int64_t year, last = INT64_MIN;
    unsigned month, day;
    int32_t offset = zone->std_offset_s;

    *until = NEVER;
    if (!zone->has_dst)
        return offset;
    xl_civil_from_days(floor_div(utc_s, DAY_S), &year, &month, &day);
    for (int64_t y = year - 1; y <= year + 1; y++) {
        for (int begins = 0; begins <= 1; begins++) {
            int64_t at = dst_change(zone, y, begins);

            if (at > utc_s && at < *until)
                *until = at;
            if (at > utc_s || at < last)
                continue;
            last = at;
            offset = begins ? zone->dst_offset_s : zone->std_offset_s;
        }
    }
    return offset;
}

static int64_t clamp_moment(int64_t s)
{
    return s > MOMENT_MAX_S ? MOMENT_MAX_S : s < -MOMENT_MAX_S ? -MOMENT_MAX_S : s;
}

/* The number of transitions at or before that moment. */
static uint32_t transitions_until(const xl_zone_t *zone, int64_t utc_s)
{
    uint32_t low = 0, high = zone->transitions;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (zone->at_s[middle] <= utc_s)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int32_t offset_until(const xl_zone_t *zone, int64_t utc_s, int64_t *until)
{
    uint32_t n = transitions_until(zone, utc_s);

    if (n == zone->transitions && zone->has_footer)
        return footer_offset(zone, utc_s, until);
    *until = n < zone->transitions ? zone->at_s[n] : NEVER;
    return zone->offset_s[n ? zone->type[n - 1] : 0];
}

int32_t xl_zone_offset(const xl_zone_t *zone, int64_t utc_s)
{
    int64_t until;

    return offset_until(zone, clamp_moment(utc_s), &until);
}

int64_t xl_zone_next(const xl_zone_t *zone, int64_t utc_s)
{
    int64_t until;

    offset_until(zone, clamp_moment(utc_s), &until);
    return until;
}

/* The first moment at which the clock shows local_s or more: walks over the
 * stretches of constant offset around it. Never falls with a larger local_s,
 * which is what makes calendar periods lie without gap and overlap. */
int64_t xl_zone_to_utc(const xl_zone_t *zone, int64_t local_s)
{
    int64_t local = clamp_moment(local_s), from = local - OFFSET_MAX_S;

    for (;;) {
        int64_t until, utc = local - offset_until(zone, from, &until);

        if (utc < until)
            return utc > from ? utc : from;
        from = until;
    }
}

static bool has(const cursor_t *c, uint64_t bytes)
{
    return (uint64_t)(c->end - c->at) >= bytes;
}

static uint64_t read_be(const unsigned char *p, unsigned bytes)
{
    uint64_t x = 0;

    while (bytes--)
        x = x << 8 | *p++;
    return x;
}

/* A header of version 2 or later; the cursor moves behind it. */
static const char *read_header(cursor_t *c, uint64_t counts[N_COUNTS])
{
    if (!has(c, HEADER_BYTES) || memcmp(c->at, "TZif", 4) != 0)
        return "it is no TZif file";
    if (c->at[4] < '2')
        return "it is a TZif file of version 1, which ends in 2037; zic -b slim or fat writes version 2";
    for (unsigned i = 0; i < N_COUNTS; i++)
        counts[i] = read_be(c->at + 20 + 4 * i, 4);
    c->at += HEADER_BYTES;
    return NULL;
}

static uint64_t block_bytes(const uint64_t counts[N_COUNTS], unsigned time_bytes)
{
    return counts[N_TIME] * (time_bytes + 1) + counts[N_TYPE] * 6 + counts[N_CHAR] +
           counts[N_LEAP] * (time_bytes + 4) + counts[N_STD] + counts[N_UT];
}

static const char *read_block(cursor_t *c, const uint64_t counts[N_COUNTS], xl_zone_t *zone)
{
    const unsigned char *times = c->at, *types, *infos;

    if (counts[N_LEAP])
        return "it counts leap seconds (a \"right/\" zone); take the zone without them";
    if (!counts[N_TYPE] || counts[N_TYPE] > XL_ZONE_MAX_TYPES || counts[N_TIME] > XL_ZONE_MAX_TRANSITIONS)
        return "it has no local time type, or more types or transitions than any real zone";
    if (!has(c, block_bytes(counts, 8)))
        return "it is cut off";
    types = times + counts[N_TIME] * 8;
    infos = types + counts[N_TIME];
    for (uint32_t i = 0; i < counts[N_TIME]; i++) {
        zone->at_s[i] = (int64_t)read_be(times + 8 * i, 8);
        zone->type[i] = types[i];
        if (types[i] >= counts[N_TYPE] || (i && zone->at_s[i] <= zone->at_s[i - 1]))
            return "its transitions are out of order or of an unknown type";
    }
    for (uint32_t i = 0; i < counts[N_TYPE]; i++) {
        zone->offset_s[i] = (int32_t)read_be(infos + 6 * i, 4);
        if (zone->offset_s[i] <= -OFFSET_MAX_S || zone->offset_s[i] >= OFFSET_MAX_S)
            return "an offset in it is 26 hours or more";
    }
    c->at += block_bytes(counts, 8);
    return NULL;
}

static bool take(cursor_t *c, char wanted)
{
    if (c->at >= c->end || *c->at != (unsigned char)wanted)
        return false;
    c->at++;
    return true;
}

static bool peek_digit(const cursor_t *c)
{
    return c->at < c->end && *c->at >= '0' && *c->at <= '9';
}

static bool take_number(cursor_t *c, unsigned max, unsigned *number)
{
    if (!peek_digit(c))
        return false;
    for (*number = 0; peek_digit(c); c->at++) {
        *number = *number * 10 + (unsigned)(*c->at - '0');
        if (*number > max)
            return false;
    }
    return true;
}

/* [+-]h[h[h]][:mm[:ss]] in seconds. */
static bool take_clock(cursor_t *c, unsigned max_hours, int32_t *seconds)
{
    bool negative = take(c, '-');
    unsigned hours, minutes = 0, s = 0;

    if (!negative)
        take(c, '+');
    if (!take_number(c, max_hours, &hours))
        return false;
    if (take(c, ':') && (!take_number(c, 59, &minutes) || (take(c, ':') && !take_number(c, 59, &s))))
        return false;
    *seconds = (int32_t)(hours * 3600 + minutes * 60 + s);
    if (negative)
        *seconds = -*seconds;
    return true;
}

/* "CEST" or "<+0530>"; the name itself does not matter here. */
static bool skip_name(cursor_t *c)
{
    const unsigned char *begin = c->at;

    if (take(c, '<')) {
        while (c->at < c->end && *c->at != '>')
            c->at++;
        return take(c, '>');
    }
    while (c->at < c->end && ((*c->at >= 'A' && *c->at <= 'Z') || (*c->at >= 'a' && *c->at <= 'z')))
        c->at++;
    return c->at > begin;
}

static bool take_rule_day(cursor_t *c, xl_zone_rule_t *rule)
{
    unsigned month, week, weekday, day;

    if (take(c, 'M')) {
        if (!take_number(c, 12, &month) || !take(c, '.') || !take_number(c, 5, &week) || !take(c, '.') ||
            !take_number(c, 6, &weekday) || !month || !week)
            return false;
        *rule = (xl_zone_rule_t){'M', (uint8_t)month, (uint8_t)week, (uint8_t)weekday, 0, 0};
        return true;
    }
    rule->form = take(c, 'J') ? 'J' : 'n';
    if (!take_number(c, 365, &day) || (rule->form == 'J' && !day))
        return false;
    rule->day = (uint16_t)day;
    return true;
}

static bool take_rule(cursor_t *c, xl_zone_rule_t *rule)
{
    if (!take(c, ',') || !take_rule_day(c, rule))
        return false;
    rule->at_s = 2 * 3600;
    return !take(c, '/') || take_clock(c, 167, &rule->at_s);
}

/* The POSIX TZ string, as RFC 8536 extends it: "CET-1CEST,M3.5.0,M10.5.0/3".
 * Its offsets count west of UTC. */
static bool take_footer(cursor_t *c, xl_zone_t *zone)
{
    int32_t west;

    if (!skip_name(c) || !take_clock(c, 24, &west))
        return false;
    zone->std_offset_s = -west;
    if (c->at == c->end)
        return true;
    if (!skip_name(c))
        return false;
    zone->dst_offset_s = zone->std_offset_s + 3600;
    if (c->at < c->end && *c->at != ',') {
        if (!take_clock(c, 24, &west))
            return false;
        zone->dst_offset_s = -west;
    }
    zone->has_dst = true;
    return take_rule(c, &zone->dst_begin) && take_rule(c, &zone->dst_end) && c->at == c->end;
}

static const char *read_footer(cursor_t *c, xl_zone_t *zone)
{
    const unsigned char *end;

    if (!take(c, '\n') || !(end = memchr(c->at, '\n', (size_t)(c->end - c->at))))
        return "its footer is missing or cut off";
    c->end = end;
    if (c->at == end)
        return NULL;
    if (!take_footer(c, zone))
        return "its footer is no POSIX time zone";
    zone->has_footer = true;
    return NULL;
}

/* Everything but the name. */
static void forget(xl_zone_t *zone)
{
    char name[sizeof(zone->name)];

    memcpy(name, zone->name, sizeof(name));
    memset(zone, 0, sizeof(*zone));
    memcpy(zone->name, name, sizeof(name));
    zone->types = 1;
}

void xl_zone_utc(xl_zone_t *zone)
{
    memset(zone, 0, sizeof(*zone));
    memcpy(zone->name, "UTC", sizeof("UTC"));
    zone->types = 1;
}

const char *xl_zone_parse(xl_zone_t *zone, const unsigned char *tzif, size_t length)
{
    cursor_t c = {tzif, tzif + length};
    uint64_t counts[N_COUNTS];
    const char *error;

    forget(zone);
    /* The first block, in 32 bits, is there for readers of 1995. */
    if ((error = read_header(&c, counts)))
        return error;
    if (!has(&c, block_bytes(counts, 4)))
        return "it is cut off";
    c.at += block_bytes(counts, 4);
    if (!(error = read_header(&c, counts)) && !(error = read_block(&c, counts, zone)))
        error = read_footer(&c, zone);
    if (error) {
        forget(zone);
        return error;
    }
    zone->transitions = (uint32_t)counts[N_TIME];
    zone->types = (uint32_t)counts[N_TYPE];
    return NULL;
}
