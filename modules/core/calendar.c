/* SPDX-License-Identifier: Apache-2.0
 *
 * calendar: which period of a quota a moment lies in, and what of the amount
 * its slices have released.
 *
 * Owns nothing, keeps nothing, locks nothing. Periods of one kind are numbered;
 * period k begins where the zone's clock first shows its local beginning. Those
 * moments never fall as k rises, so the periods lie end to end over every DST
 * change, and one that a zone leaves out (a day at the date line) is empty and
 * never found.
 */
#include "xl_calendar.h"
#include "xl_units.h"

#include <string.h>

#define DAY_S INT64_C(86400)
#define HOUR_S INT64_C(3600)
#define THURSDAY 4 /* 1970-01-01 */
#define WALL_MAX_MS (INT64_C(1) << 55)

#define PERIOD_FORM "a period is hour, day, week, month, year or a time such as 30d"

__extension__ typedef unsigned __int128 wide_t;

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static const xl_zone_t *zone_of(const xl_period_t *period)
{
    static const xl_zone_t utc = {.name = "UTC", .types = 1};

    return period->zone ? period->zone : &utc;
}

static int64_t month_day(int64_t index, unsigned day)
{
    int64_t year = floor_div(index, 12);
    unsigned month = (unsigned)(index - year * 12) + 1, length = xl_civil_month_days(year, month);

    return xl_civil_to_days(year, month, day > length ? length : day);
}

/* The day on which period number `index` begins. */
static int64_t first_day(const xl_period_t *period, int64_t index)
{
    switch (period->kind) {
    case XL_PERIOD_WEEK:
        return index * 7 + period->weekday - THURSDAY;
    case XL_PERIOD_MONTH:
        return month_day(index, period->day ? period->day : 1);
    case XL_PERIOD_YEAR:
        return xl_civil_to_days(index, 1, 1);
    default:
        return index;
    }
}

/* The number of the period in which that day lies, give or take one. */
static int64_t index_near(const xl_period_t *period, int64_t days)
{
    int64_t year;
    unsigned month, day;

    if (period->kind == XL_PERIOD_WEEK)
        return floor_div(days - period->weekday + THURSDAY, 7);
    if (period->kind == XL_PERIOD_DAY)
        return days;
    xl_civil_from_days(days, &year, &month, &day);
    return period->kind == XL_PERIOD_YEAR ? year : year * 12 + month - 1;
}

static int64_t begin_s(const xl_period_t *period, int64_t index)
{
    return xl_zone_to_utc(zone_of(period), first_day(period, index) * DAY_S + period->at_s);
}

static void day_bounds(const xl_period_t *period, int64_t utc_s, int64_t *start_s, int64_t *end_s)
{
    int64_t local = utc_s + xl_zone_offset(zone_of(period), utc_s) - period->at_s;
    int64_t index = index_near(period, floor_div(local, DAY_S));

    while ((*start_s = begin_s(period, index)) > utc_s)
        index--;
    while ((*end_s = begin_s(period, index + 1)) <= utc_s) {
        *start_s = *end_s;
        index++;
    }
}

/* Full hours of the local clock; a change by a part of an hour ends one. */
static void hour_bounds(const xl_zone_t *zone, int64_t utc_s, int64_t *start_s, int64_t *end_s)
{
    int64_t offset = xl_zone_offset(zone, utc_s), local = utc_s + offset, change;

    *start_s = floor_div(local, HOUR_S) * HOUR_S - offset;
    *end_s = *start_s + HOUR_S;
    for (change = xl_zone_next(zone, *start_s); change < *end_s; change = xl_zone_next(zone, change)) {
        if ((xl_zone_offset(zone, change) - xl_zone_offset(zone, change - 1)) % HOUR_S == 0)
            continue;
        if (change <= utc_s)
            *start_s = change;
        else
            *end_s = change;
    }
}

void xl_period_bounds(const xl_period_t *period, int64_t wall_ms, int64_t *start_ms, int64_t *end_ms)
{
    int64_t wall = wall_ms > WALL_MAX_MS ? WALL_MAX_MS : wall_ms < -WALL_MAX_MS ? -WALL_MAX_MS : wall_ms;
    int64_t utc_s = floor_div(wall, 1000), start_s, end_s;

    if (period->kind == XL_PERIOD_HOUR)
        hour_bounds(zone_of(period), utc_s, &start_s, &end_s);
    else
        day_bounds(period, utc_s, &start_s, &end_s);
    *start_ms = start_s * 1000;
    *end_ms = end_s * 1000;
}

static uint64_t slices(uint64_t slice_ms, int64_t start_ms, int64_t end_ms)
{
    uint64_t length = end_ms > start_ms ? (uint64_t)end_ms - (uint64_t)start_ms : 0;

    return !slice_ms || slice_ms >= length ? 1 : length / slice_ms + (length % slice_ms != 0);
}

uint64_t xl_period_released(uint64_t amount, uint64_t slice_ms, int64_t start_ms, int64_t end_ms, int64_t wall_ms)
{
    uint64_t all = slices(slice_ms, start_ms, end_ms), begun = 1;

    if (all == 1)
        return amount;
    if (wall_ms > start_ms)
        begun += ((uint64_t)wall_ms - (uint64_t)start_ms) / slice_ms;
    return begun >= all ? amount : (uint64_t)((wide_t)amount * begun / all);
}

int64_t xl_period_release_time(uint64_t amount, uint64_t need, uint64_t slice_ms, int64_t start_ms, int64_t end_ms)
{
    uint64_t all = slices(slice_ms, start_ms, end_ms), begun;

    if (need > amount)
        return end_ms;
    if (!need || all == 1)
        return start_ms;
    begun = (uint64_t)(((wide_t)need * all + amount - 1) / amount);
    return start_ms + (int64_t)((begun - 1) * slice_ms);
}

const char *xl_period_parse(const char *text, xl_period_t *period)
{
    static const struct {
        const char *name;
        xl_period_e kind;
    } calendar[] = {{"hour", XL_PERIOD_HOUR},
                    {"day", XL_PERIOD_DAY},
                    {"week", XL_PERIOD_WEEK},
                    {"month", XL_PERIOD_MONTH},
                    {"year", XL_PERIOD_YEAR}};
    xl_period_t parsed = {.kind = XL_PERIOD_TIME, .day = 1, .weekday = 1};
    const char *error;

    if (*text >= '0' && *text <= '9') {
        if (!(error = xl_units_time(text, &parsed.length_ms)))
            *period = parsed;
        return error;
    }
    for (size_t i = 0; i < sizeof(calendar) / sizeof(*calendar); i++)
        if (!strcmp(text, calendar[i].name)) {
            parsed.kind = calendar[i].kind;
            *period = parsed;
            return NULL;
        }
    return *text ? "unknown period: " PERIOD_FORM : "the period is empty: " PERIOD_FORM;
}

const char *xl_period_parse_day(const char *text, xl_period_t *period)
{
    uint64_t day;

    if (period->kind != XL_PERIOD_MONTH)
        return "day= goes with the period month only";
    if (xl_units_number(text, 31, &day))
        return "day= is a day of the month from 1 to 31";
    period->day = (uint8_t)day;
    return NULL;
}

const char *xl_period_parse_weekday(const char *text, xl_period_t *period)
{
    static const char names[7][4] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

    if (period->kind != XL_PERIOD_WEEK)
        return "weekday= goes with the period week only";
    for (uint8_t i = 0; i < 7; i++)
        if (!strcmp(text, names[i])) {
            period->weekday = i;
            return NULL;
        }
    return "weekday= is mon, tue, wed, thu, fri, sat or sun";
}

static bool two_digits(const char *text, unsigned max, unsigned *number)
{
    if (text[0] < '0' || text[0] > '9' || text[1] < '0' || text[1] > '9')
        return false;
    *number = (unsigned)(text[0] - '0') * 10 + (unsigned)(text[1] - '0');
    return *number <= max;
}

const char *xl_period_parse_at(const char *text, xl_period_t *period)
{
    unsigned hour, minute;

    if (period->kind == XL_PERIOD_TIME || period->kind == XL_PERIOD_HOUR)
        return "at= goes with the periods day, week, month and year only";
    if (!two_digits(text, 23, &hour) || text[2] != ':' || !two_digits(text + 3, 59, &minute) || text[5])
        return "at= is a time of day from 00:00 to 23:59, such as 04:00";
    period->at_s = hour * 3600 + minute * 60;
    return NULL;
}

uint64_t xl_period_mark(const xl_period_t *period)
{
    const uint64_t odd = UINT64_C(0x9e3779b97f4a7c15);
    const xl_zone_t *zone = period->zone;
    uint64_t h = ((uint64_t)period->kind + 1) * odd;

    h = (h ^ h >> 32 ^ period->length_ms) * odd;
    h = (h ^ h >> 32 ^ ((uint64_t)period->at_s << 16 | (uint64_t)period->day << 8 | period->weekday)) * odd;
    if (zone)
        h = (h ^ h >> 32 ^ ((uint64_t)(uint32_t)zone->std_offset_s << 32 | (uint32_t)zone->dst_offset_s)) * odd +
            zone->transitions;
    h = (h ^ h >> 32) * odd;
    return h | 1;
}
