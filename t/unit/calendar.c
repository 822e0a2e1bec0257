/* SPDX-License-Identifier: Apache-2.0
 *
 * calendar: a year of period boundaries in four time zones, both DST changes,
 * the leap day, the far future, slices, and what the options take and refuse.
 * What is expected was made with `TZ=... date` and `zdump`, not with this code.
 */
#include "tap.h"
#include "xl_calendar.h"
#include "zones.h"

#define COUNT(table) (sizeof(table) / sizeof(*(table)))

/* Consecutive boundaries, in UTC. */
typedef struct {
    const char *zone, *period, *day, *weekday, *at;
    const char *bounds[14];
} list_t;

static const list_t lists[] = {
    {"Europe/Berlin", "month", "1", NULL, "00:00", {
        "2023-12-31T23:00Z", "2024-01-31T23:00Z", "2024-02-29T23:00Z", "2024-03-31T22:00Z",
        "2024-04-30T22:00Z", "2024-05-31T22:00Z", "2024-06-30T22:00Z", "2024-07-31T22:00Z",
        "2024-08-31T22:00Z", "2024-09-30T22:00Z", "2024-10-31T23:00Z", "2024-11-30T23:00Z",
        "2024-12-31T23:00Z"}},
    {"Europe/Berlin", "month", "31", NULL, "04:00", {
        "2024-01-31T03:00Z", "2024-02-29T03:00Z", "2024-03-31T02:00Z", "2024-04-30T02:00Z",
        "2024-05-31T02:00Z", "2024-06-30T02:00Z", "2024-07-31T02:00Z", "2024-08-31T02:00Z",
        "2024-09-30T02:00Z", "2024-10-31T03:00Z", "2024-11-30T03:00Z", "2024-12-31T03:00Z",
        "2025-01-31T03:00Z"}},
    {"Europe/Berlin", "month", "30", NULL, "00:00", {
        "2023-01-29T23:00Z", "2023-02-27T23:00Z", "2023-03-29T22:00Z", "2023-04-29T22:00Z",
        "2023-05-29T22:00Z", "2023-06-29T22:00Z", "2023-07-29T22:00Z", "2023-08-29T22:00Z",
        "2023-09-29T22:00Z", "2023-10-29T23:00Z", "2023-11-29T23:00Z", "2023-12-29T23:00Z",
        "2024-01-29T23:00Z"}},
    {"Europe/Berlin", "month", "15", NULL, "00:00", {
        "2050-01-14T23:00Z", "2050-02-14T23:00Z", "2050-03-14T23:00Z", "2050-04-14T22:00Z",
        "2050-05-14T22:00Z", "2050-06-14T22:00Z", "2050-07-14T22:00Z", "2050-08-14T22:00Z",
        "2050-09-14T22:00Z", "2050-10-14T22:00Z", "2050-11-14T23:00Z", "2050-12-14T23:00Z",
        "2051-01-14T23:00Z"}},
    {"America/New_York", "month", "1", NULL, "00:00", {
        "2024-01-01T05:00Z", "2024-02-01T05:00Z", "2024-03-01T05:00Z", "2024-04-01T04:00Z",
        "2024-05-01T04:00Z", "2024-06-01T04:00Z", "2024-07-01T04:00Z", "2024-08-01T04:00Z",
        "2024-09-01T04:00Z", "2024-10-01T04:00Z", "2024-11-01T04:00Z", "2024-12-01T05:00Z",
        "2025-01-01T05:00Z"}},
    {"America/New_York", "month", "31", NULL, "04:00", {
        "2024-01-31T09:00Z", "2024-02-29T09:00Z", "2024-03-31T08:00Z", "2024-04-30T08:00Z",
        "2024-05-31T08:00Z", "2024-06-30T08:00Z", "2024-07-31T08:00Z", "2024-08-31T08:00Z",
        "2024-09-30T08:00Z", "2024-10-31T08:00Z", "2024-11-30T09:00Z", "2024-12-31T09:00Z",
        "2025-01-31T09:00Z"}},
    {"America/New_York", "month", "30", NULL, "00:00", {
        "2023-01-30T05:00Z", "2023-02-28T05:00Z", "2023-03-30T04:00Z", "2023-04-30T04:00Z",
        "2023-05-30T04:00Z", "2023-06-30T04:00Z", "2023-07-30T04:00Z", "2023-08-30T04:00Z",
        "2023-09-30T04:00Z", "2023-10-30T04:00Z", "2023-11-30T05:00Z", "2023-12-30T05:00Z",
        "2024-01-30T05:00Z"}},
    {"America/New_York", "month", "15", NULL, "00:00", {
        "2050-01-15T05:00Z", "2050-02-15T05:00Z", "2050-03-15T04:00Z", "2050-04-15T04:00Z",
        "2050-05-15T04:00Z", "2050-06-15T04:00Z", "2050-07-15T04:00Z", "2050-08-15T04:00Z",
        "2050-09-15T04:00Z", "2050-10-15T04:00Z", "2050-11-15T05:00Z", "2050-12-15T05:00Z",
        "2051-01-15T05:00Z"}},
    {"Australia/Lord_Howe", "month", "1", NULL, "00:00", {
        "2023-12-31T13:00Z", "2024-01-31T13:00Z", "2024-02-29T13:00Z", "2024-03-31T13:00Z",
        "2024-04-30T13:30Z", "2024-05-31T13:30Z", "2024-06-30T13:30Z", "2024-07-31T13:30Z",
        "2024-08-31T13:30Z", "2024-09-30T13:30Z", "2024-10-31T13:00Z", "2024-11-30T13:00Z",
        "2024-12-31T13:00Z"}},
    {"Australia/Lord_Howe", "month", "31", NULL, "04:00", {
        "2024-01-30T17:00Z", "2024-02-28T17:00Z", "2024-03-30T17:00Z", "2024-04-29T17:30Z",
        "2024-05-30T17:30Z", "2024-06-29T17:30Z", "2024-07-30T17:30Z", "2024-08-30T17:30Z",
        "2024-09-29T17:30Z", "2024-10-30T17:00Z", "2024-11-29T17:00Z", "2024-12-30T17:00Z",
        "2025-01-30T17:00Z"}},
    {"Australia/Lord_Howe", "month", "30", NULL, "00:00", {
        "2023-01-29T13:00Z", "2023-02-27T13:00Z", "2023-03-29T13:00Z", "2023-04-29T13:30Z",
        "2023-05-29T13:30Z", "2023-06-29T13:30Z", "2023-07-29T13:30Z", "2023-08-29T13:30Z",
        "2023-09-29T13:30Z", "2023-10-29T13:00Z", "2023-11-29T13:00Z", "2023-12-29T13:00Z",
        "2024-01-29T13:00Z"}},
    {"Australia/Lord_Howe", "month", "15", NULL, "00:00", {
        "2050-01-14T13:00Z", "2050-02-14T13:00Z", "2050-03-14T13:00Z", "2050-04-14T13:30Z",
        "2050-05-14T13:30Z", "2050-06-14T13:30Z", "2050-07-14T13:30Z", "2050-08-14T13:30Z",
        "2050-09-14T13:30Z", "2050-10-14T13:00Z", "2050-11-14T13:00Z", "2050-12-14T13:00Z",
        "2051-01-14T13:00Z"}},
    {"Asia/Kolkata", "month", "1", NULL, "00:00", {
        "2023-12-31T18:30Z", "2024-01-31T18:30Z", "2024-02-29T18:30Z", "2024-03-31T18:30Z",
        "2024-04-30T18:30Z", "2024-05-31T18:30Z", "2024-06-30T18:30Z", "2024-07-31T18:30Z",
        "2024-08-31T18:30Z", "2024-09-30T18:30Z", "2024-10-31T18:30Z", "2024-11-30T18:30Z",
        "2024-12-31T18:30Z"}},
    {"Asia/Kolkata", "month", "31", NULL, "04:00", {
        "2024-01-30T22:30Z", "2024-02-28T22:30Z", "2024-03-30T22:30Z", "2024-04-29T22:30Z",
        "2024-05-30T22:30Z", "2024-06-29T22:30Z", "2024-07-30T22:30Z", "2024-08-30T22:30Z",
        "2024-09-29T22:30Z", "2024-10-30T22:30Z", "2024-11-29T22:30Z", "2024-12-30T22:30Z",
        "2025-01-30T22:30Z"}},
    {"Asia/Kolkata", "month", "30", NULL, "00:00", {
        "2023-01-29T18:30Z", "2023-02-27T18:30Z", "2023-03-29T18:30Z", "2023-04-29T18:30Z",
        "2023-05-29T18:30Z", "2023-06-29T18:30Z", "2023-07-29T18:30Z", "2023-08-29T18:30Z",
        "2023-09-29T18:30Z", "2023-10-29T18:30Z", "2023-11-29T18:30Z", "2023-12-29T18:30Z",
        "2024-01-29T18:30Z"}},
    {"Asia/Kolkata", "month", "15", NULL, "00:00", {
        "2050-01-14T18:30Z", "2050-02-14T18:30Z", "2050-03-14T18:30Z", "2050-04-14T18:30Z",
        "2050-05-14T18:30Z", "2050-06-14T18:30Z", "2050-07-14T18:30Z", "2050-08-14T18:30Z",
        "2050-09-14T18:30Z", "2050-10-14T18:30Z", "2050-11-14T18:30Z", "2050-12-14T18:30Z",
        "2051-01-14T18:30Z"}},
    {"Europe/Berlin", "year", NULL, NULL, "04:00", {
        "2023-01-01T03:00Z", "2024-01-01T03:00Z", "2025-01-01T03:00Z", "2026-01-01T03:00Z"}},
    {"America/New_York", "year", NULL, NULL, "04:00", {
        "2023-01-01T09:00Z", "2024-01-01T09:00Z", "2025-01-01T09:00Z", "2026-01-01T09:00Z"}},
    {"Australia/Lord_Howe", "year", NULL, NULL, "04:00", {
        "2022-12-31T17:00Z", "2023-12-31T17:00Z", "2024-12-31T17:00Z", "2025-12-31T17:00Z"}},
    {"Europe/Berlin", "year", NULL, NULL, "04:00", {"2050-01-01T03:00Z", "2051-01-01T03:00Z"}},
    {"Australia/Lord_Howe", "year", NULL, NULL, "04:00", {"2099-12-31T17:00Z", "2100-12-31T17:00Z"}},
    {NULL, "year", NULL, NULL, NULL, {"1969-01-01T00:00Z", "1970-01-01T00:00Z", "1971-01-01T00:00Z"}},
    /* 1900 and 2100 have no leap day, 2000 has. */
    {NULL, "month", "31", NULL, NULL, {"1900-01-31T00:00Z", "1900-02-28T00:00Z", "1900-03-31T00:00Z"}},
    {NULL, "month", "31", NULL, NULL, {"2000-01-31T00:00Z", "2000-02-29T00:00Z", "2000-03-31T00:00Z"}},
    {NULL, "month", "29", NULL, NULL, {"2100-01-29T00:00Z", "2100-02-28T00:00Z", "2100-03-29T00:00Z"}},

    /* at= in the hour that DST leaves out begins with the change, ... */
    {"Europe/Berlin", "day", NULL, NULL, "02:30", {
        "2024-03-30T01:30Z", "2024-03-31T01:00Z", "2024-04-01T00:30Z"}},
    {"America/New_York", "day", NULL, NULL, "02:30", {
        "2024-03-09T07:30Z", "2024-03-10T07:00Z", "2024-03-11T06:30Z"}},
    {"Australia/Lord_Howe", "day", NULL, NULL, "02:15", {
        "2024-10-04T15:45Z", "2024-10-05T15:30Z", "2024-10-06T15:15Z"}},
    {"Europe/Berlin", "day", NULL, NULL, "02:30", {
        "2050-03-26T01:30Z", "2050-03-27T01:00Z", "2050-03-28T00:30Z"}},
    /* ... and in the one that it repeats at its first time. */
    {"Europe/Berlin", "day", NULL, NULL, "02:30", {
        "2024-10-26T00:30Z", "2024-10-27T00:30Z", "2024-10-28T01:30Z"}},
    {"Europe/Berlin", "day", NULL, NULL, "02:00", {
        "2024-10-26T00:00Z", "2024-10-27T00:00Z", "2024-10-28T01:00Z"}},
    {"Europe/Berlin", "day", NULL, NULL, "03:00", {
        "2024-10-26T01:00Z", "2024-10-27T02:00Z", "2024-10-28T02:00Z"}},
    {"America/New_York", "day", NULL, NULL, "01:30", {
        "2024-11-02T05:30Z", "2024-11-03T05:30Z", "2024-11-04T06:30Z"}},
    {"Australia/Lord_Howe", "day", NULL, NULL, "01:45", {
        "2024-04-05T14:45Z", "2024-04-06T14:45Z", "2024-04-07T15:15Z"}},
    {"Australia/Lord_Howe", "week", NULL, "sun", "01:45", {
        "2024-03-30T14:45Z", "2024-04-06T14:45Z", "2024-04-13T15:15Z"}},
    {"Europe/Berlin", "month", "31", NULL, "02:30", {
        "2024-02-29T01:30Z", "2024-03-31T01:00Z", "2024-04-30T00:30Z"}},
    /* Samoa had no 30 December 2011. */
    {"Pacific/Apia", "day", NULL, NULL, NULL, {
        "2011-12-28T10:00Z", "2011-12-29T10:00Z", "2011-12-30T10:00Z", "2011-12-31T10:00Z"}},

    /* An hour is an hour, ... */
    {"Europe/Berlin", "hour", NULL, NULL, NULL, {
        "2024-03-30T23:00Z", "2024-03-31T00:00Z", "2024-03-31T01:00Z", "2024-03-31T02:00Z"}},
    {"Europe/Berlin", "hour", NULL, NULL, NULL, {
        "2024-10-26T23:00Z", "2024-10-27T00:00Z", "2024-10-27T01:00Z", "2024-10-27T02:00Z"}},
    {"Asia/Kolkata", "hour", NULL, NULL, NULL, {"2024-06-01T00:30Z", "2024-06-01T01:30Z", "2024-06-01T02:30Z"}},
    {"America/St_Johns", "hour", NULL, NULL, NULL, { /* changed at 00:01 then */
        "2010-03-14T02:30Z", "2010-03-14T03:30Z", "2010-03-14T04:30Z"}},
    /* ... but where the clock moves by half of one. */
    {"Australia/Lord_Howe", "hour", NULL, NULL, NULL, {
        "2024-04-06T13:00Z", "2024-04-06T14:00Z", "2024-04-06T15:00Z", "2024-04-06T15:30Z", "2024-04-06T16:30Z"}},
    {"Australia/Lord_Howe", "hour", NULL, NULL, NULL, {
        "2024-10-05T13:30Z", "2024-10-05T14:30Z", "2024-10-05T15:30Z", "2024-10-05T16:00Z", "2024-10-05T17:00Z"}},
    {NULL, "hour", NULL, NULL, NULL, {"1969-12-31T23:00Z", "1970-01-01T00:00Z", "1970-01-01T01:00Z"}},
};

/* A whole year of periods of one length, but for the two in which DST changes. */
typedef struct {
    const char *zone, *period, *weekday, *at, *first;
    unsigned count;
    int64_t length_s;
    struct {
        const char *holds; /* a moment in it */
        int64_t more_s;
    } odd[2];
} walk_t;

#define HOUR INT64_C(3600)

static const walk_t walks[] = {
    {"Europe/Berlin", "day", NULL, "00:00", "2023-12-31T23:00Z", 367, 24 * HOUR,
     {{"2024-03-31T01:00Z", -HOUR}, {"2024-10-27T01:00Z", HOUR}}},
    {"Europe/Berlin", "day", NULL, "04:00", "2024-01-01T03:00Z", 367, 24 * HOUR,
     {{"2024-03-31T01:00Z", -HOUR}, {"2024-10-27T01:00Z", HOUR}}},
    {"America/New_York", "day", NULL, "00:00", "2024-01-01T05:00Z", 367, 24 * HOUR,
     {{"2024-03-10T07:00Z", -HOUR}, {"2024-11-03T06:00Z", HOUR}}},
    {"Australia/Lord_Howe", "day", NULL, "04:00", "2023-12-31T17:00Z", 367, 24 * HOUR,
     {{"2024-04-06T15:00Z", HOUR / 2}, {"2024-10-05T15:30Z", -HOUR / 2}}},
    {"Asia/Kolkata", "day", NULL, "00:00", "2023-12-31T18:30Z", 367, 24 * HOUR, {{NULL, 0}, {NULL, 0}}},
    {"Europe/Berlin", "day", NULL, "00:00", "2049-12-31T23:00Z", 366, 24 * HOUR,
     {{"2050-03-27T01:00Z", -HOUR}, {"2050-10-30T01:00Z", HOUR}}},
    /* 1 January 2024 was a Monday. */
    {"Europe/Berlin", "week", NULL, NULL, "2023-12-31T23:00Z", 53, 168 * HOUR,
     {{"2024-03-31T01:00Z", -HOUR}, {"2024-10-27T01:00Z", HOUR}}},
    {"America/New_York", "week", "sun", "04:00", "2023-12-31T09:00Z", 53, 168 * HOUR,
     {{"2024-03-10T07:00Z", -HOUR}, {"2024-11-03T06:00Z", HOUR}}},
    {"Australia/Lord_Howe", "week", "sat", NULL, "2023-12-29T13:00Z", 53, 168 * HOUR,
     {{"2024-04-06T15:00Z", HOUR / 2}, {"2024-10-05T15:30Z", -HOUR / 2}}},
    {"Asia/Kolkata", "week", "wed", "18:15", "2024-01-03T12:45Z", 53, 168 * HOUR, {{NULL, 0}, {NULL, 0}}},
    {"Europe/Berlin", "hour", NULL, NULL, "2023-12-31T23:00Z", 8784, HOUR, {{NULL, 0}, {NULL, 0}}},
    {NULL, "week", "thu", NULL, "1969-12-25T00:00Z", 4, 168 * HOUR, {{NULL, 0}, {NULL, 0}}},
};

static xl_period_t period_of(const char *zone, const char *text, const char *day, const char *weekday, const char *at)
{
    xl_period_t period = {0};

    if (xl_period_parse(text, &period) || (day && xl_period_parse_day(day, &period)) ||
        (weekday && xl_period_parse_weekday(weekday, &period)) || (at && xl_period_parse_at(at, &period)))
        ok(false, "%s of the table parses", text);
    period.zone = zone ? zone_named(zone) : NULL;
    return period;
}

/* Asked at its beginning, in its middle and in its last millisecond. */
static bool holds(const xl_period_t *period, int64_t start_s, int64_t end_s)
{
    int64_t moments[4] = {start_s * 1000, start_s * 1000 + 1, (start_s + end_s) * 500, end_s * 1000 - 1};

    for (unsigned i = 0; i < 4; i++) {
        int64_t start = 0, end = 0;

        xl_period_bounds(period, moments[i], &start, &end);
        if (start == start_s * 1000 && end == end_s * 1000)
            continue;
        printf("# at %" PRId64 ": got %" PRId64 " .. %" PRId64 "\n#     want %" PRId64 " .. %" PRId64 "\n", moments[i],
               start, end, start_s * 1000, end_s * 1000);
        return false;
    }
    return true;
}

static void check_list(const list_t *list)
{
    xl_period_t period = period_of(list->zone, list->period, list->day, list->weekday, list->at);

    for (unsigned i = 0; list->bounds[i + 1]; i++)
        ok(holds(&period, utc(list->bounds[i]), utc(list->bounds[i + 1])), "%s %s day=%s weekday=%s at=%s: %s",
           list->zone ? list->zone : "UTC", list->period, list->day ? list->day : "-",
           list->weekday ? list->weekday : "-", list->at ? list->at : "-", list->bounds[i]);
}

static void check_walk(const walk_t *walk)
{
    xl_period_t period = period_of(walk->zone, walk->period, NULL, walk->weekday, walk->at);
    int64_t start = utc(walk->first), end;
    unsigned right = 0;

    for (unsigned i = 0; i < walk->count; i++, start = end) {
        end = start + walk->length_s;
        for (unsigned k = 0; k < 2 && walk->odd[k].holds; k++) {
            int64_t moment = utc(walk->odd[k].holds);

            if (moment >= start && moment < end)
                end += walk->odd[k].more_s;
        }
        if (!holds(&period, start, end))
            break;
        right++;
    }
    ok(right == walk->count, "%s %s weekday=%s at=%s: %u periods end to end from %s",
       walk->zone ? walk->zone : "UTC", walk->period, walk->weekday ? walk->weekday : "-", walk->at ? walk->at : "-",
       walk->count, walk->first);
}

static void check_extremes(void)
{
    static const int64_t moments[] = {0, -1, INT64_C(1) << 47, -(INT64_C(1) << 47), INT64_C(1) << 54};
    static const char *const kinds[] = {"hour", "day", "week", "month", "year"};
    int64_t start, end;

    for (size_t k = 0; k < COUNT(kinds); k++) {
        xl_period_t period = period_of("Europe/Berlin", kinds[k], NULL, NULL, NULL);

        for (size_t i = 0; i < COUNT(moments); i++) {
            xl_period_bounds(&period, moments[i], &start, &end);
            ok(start <= moments[i] && moments[i] < end, "%s holds %" PRId64, kinds[k], moments[i]);
        }
        xl_period_bounds(&period, INT64_MAX, &start, &end);
        ok(start < end, "%s at the end of all time is no empty period", kinds[k]);
        xl_period_bounds(&period, INT64_MIN, &start, &end);
        ok(start < end, "%s at the beginning of all time is no empty period", kinds[k]);
    }
}

static const struct {
    uint64_t amount, slice;
    int64_t start, end, wall;
    uint64_t want;
} released[] = {
    {1000, 0, 100, 200, 100, 1000},   {1000, 10, 100, 200, 100, 100},  {1000, 10, 100, 200, 109, 100},
    {1000, 10, 100, 200, 110, 200},   {1000, 10, 100, 200, 189, 900},  {1000, 10, 100, 200, 190, 1000},
    {1000, 10, 100, 200, 199, 1000},  {1000, 10, 100, 200, 200, 1000}, {1000, 10, 100, 200, 5000, 1000},
    {1000, 10, 100, 200, 99, 100},    {1000, 10, 100, 200, -9, 100},   {1000, 100, 100, 200, 150, 1000},
    {1000, 5000, 100, 200, 150, 1000}, {0, 10, 100, 200, 150, 0},      {7, 30, 0, 100, 0, 1},
    {7, 30, 0, 100, 30, 3},           {7, 30, 0, 100, 60, 5},          {7, 30, 0, 100, 90, 7},
    {3, 10, 0, 100, 0, 0},            {3, 10, 0, 100, 30, 1},          {3, 10, 0, 100, 90, 3},
    {INT64_MAX, 1, 0, 1000, 499, INT64_MAX / 2}, {1000, 10, 0, 0, 0, 1000},
};

/* 24 GB a day in slices of an hour, on the days of 23 and 25 hours too. */
static void check_slices_of_a_day(void)
{
    static const struct {
        const char *moment;
        uint64_t want;
    } table[] = {
        {"2024-01-09T23:00Z", 1000},  {"2024-01-10T00:00Z", 2000},  {"2024-01-10T10:59Z", 12000},
        {"2024-01-10T22:00Z", 24000}, {"2024-03-30T23:00Z", 1043},  {"2024-03-31T20:59Z", 22956},
        {"2024-03-31T21:00Z", 24000}, {"2024-10-26T22:00Z", 960},   {"2024-10-27T21:59Z", 23040},
        {"2024-10-27T22:00Z", 24000},
    };
    xl_period_t day = period_of("Europe/Berlin", "day", NULL, NULL, NULL);

    for (size_t i = 0; i < COUNT(table); i++) {
        int64_t wall = utc(table[i].moment) * 1000, start, end;

        xl_period_bounds(&day, wall, &start, &end);
        is_u64(xl_period_released(24000, 3600000, start, end, wall), table[i].want, table[i].moment);
    }
}

/* Released at that time, and not a millisecond before. */
static void check_release_time(void)
{
    static const uint64_t amounts[] = {1, 3, 7, 100, 1000, INT64_MAX}, slice_lengths[] = {0, 1, 7, 30, 99, 100, 101};
    unsigned asked = 0, wrong = 0;

    for (size_t a = 0; a < COUNT(amounts); a++)
        for (size_t s = 0; s < COUNT(slice_lengths); s++)
            for (uint64_t part = 1; part <= 20; part++) {
                uint64_t amount = amounts[a], slice = slice_lengths[s], need = amount / 20 * part + amount % 20;
                int64_t when;

                need = need > amount ? amount : need;
                when = xl_period_release_time(amount, need, slice, 1000, 1100);
                asked++;
                wrong += xl_period_released(amount, slice, 1000, 1100, when) < need || when < 1000 || when >= 1100;
                wrong += when > 1000 && xl_period_released(amount, slice, 1000, 1100, when - 1) >= need;
            }
    ok(asked == 840 && !wrong, "%u release times, %u wrong", asked, wrong);
    is_i64(xl_period_release_time(1000, 250, 10, 100, 200), 120, "250 of 1000 with the third slice");
    is_i64(xl_period_release_time(1000, 1000, 10, 100, 200), 190, "all of it with the last slice");
    is_i64(xl_period_release_time(1000, 1001, 10, 100, 200), 200, "more than all: with the next period");
    is_i64(xl_period_release_time(1000, 0, 10, 100, 200), 100, "nothing: at once");
    is_i64(xl_period_release_time(0, 1, 10, 100, 200), 200, "something of nothing: with the next period");
}

typedef const char *(*parse_t)(const char *text, xl_period_t *period);

static const struct {
    parse_t parse;
    const char *of, *text;
    const char *error; /* words of it, NULL: taken */
} parses[] = {
    {xl_period_parse, NULL, "hour", NULL},
    {xl_period_parse, NULL, "day", NULL},
    {xl_period_parse, NULL, "week", NULL},
    {xl_period_parse, NULL, "month", NULL},
    {xl_period_parse, NULL, "year", NULL},
    {xl_period_parse, NULL, "30d", NULL},
    {xl_period_parse, NULL, "250ms", NULL},
    {xl_period_parse, NULL, "", "empty"},
    {xl_period_parse, NULL, "Month", "unknown period"},
    {xl_period_parse, NULL, "months", "unknown period"},
    {xl_period_parse, NULL, "fortnight", "unknown period"},
    {xl_period_parse, NULL, "-1d", "unknown period"},
    {xl_period_parse, NULL, "30", "no unit"},
    {xl_period_parse, NULL, "0s", "too short"},
    {xl_period_parse, NULL, "1month", "unknown unit"},
    {xl_period_parse_day, "month", "1", NULL},
    {xl_period_parse_day, "month", "31", NULL},
    {xl_period_parse_day, "month", "0", "from 1 to 31"},
    {xl_period_parse_day, "month", "32", "from 1 to 31"},
    {xl_period_parse_day, "month", "-1", "from 1 to 31"},
    {xl_period_parse_day, "month", "257", "from 1 to 31"},
    {xl_period_parse_day, "month", "last", "from 1 to 31"},
    {xl_period_parse_day, "month", "", "from 1 to 31"},
    {xl_period_parse_day, "week", "1", "month only"},
    {xl_period_parse_day, "30d", "1", "month only"},
    {xl_period_parse_weekday, "week", "mon", NULL},
    {xl_period_parse_weekday, "week", "tue", NULL},
    {xl_period_parse_weekday, "week", "wed", NULL},
    {xl_period_parse_weekday, "week", "thu", NULL},
    {xl_period_parse_weekday, "week", "fri", NULL},
    {xl_period_parse_weekday, "week", "sat", NULL},
    {xl_period_parse_weekday, "week", "sun", NULL},
    {xl_period_parse_weekday, "week", "monday", "is mon"},
    {xl_period_parse_weekday, "week", "1", "is mon"},
    {xl_period_parse_weekday, "week", "", "is mon"},
    {xl_period_parse_weekday, "month", "mon", "week only"},
    {xl_period_parse_at, "day", "00:00", NULL},
    {xl_period_parse_at, "week", "04:00", NULL},
    {xl_period_parse_at, "month", "23:59", NULL},
    {xl_period_parse_at, "year", "12:30", NULL},
    {xl_period_parse_at, "day", "24:00", "time of day"},
    {xl_period_parse_at, "day", "12:60", "time of day"},
    {xl_period_parse_at, "day", "4:00", "time of day"},
    {xl_period_parse_at, "day", "04:0", "time of day"},
    {xl_period_parse_at, "day", "04:000", "time of day"},
    {xl_period_parse_at, "day", "0400", "time of day"},
    {xl_period_parse_at, "day", "0", "time of day"},
    {xl_period_parse_at, "day", "", "time of day"},
    {xl_period_parse_at, "day", "-1:00", "time of day"},
    {xl_period_parse_at, "hour", "04:00", "day, week, month and year"},
    {xl_period_parse_at, "2h", "04:00", "day, week, month and year"},
};

static bool same_period(const xl_period_t *a, const xl_period_t *b)
{
    return a->kind == b->kind && a->length_ms == b->length_ms && a->day == b->day && a->weekday == b->weekday &&
           a->at_s == b->at_s && a->zone == b->zone;
}

static void check_parsing(void)
{
    xl_period_t period;

    for (size_t i = 0; i < COUNT(parses); i++) {
        xl_period_t before = period_of(NULL, parses[i].of ? parses[i].of : "1w", NULL, NULL, NULL);
        const char *error;

        period = before;
        error = parses[i].parse(parses[i].text, &period);
        if (!ok(parses[i].error ? error && strstr(error, parses[i].error) && same_period(&period, &before) : !error,
                "%s \"%s\" %s %s", parses[i].of ? parses[i].of : "period", parses[i].text,
                parses[i].error ? "is refused:" : "is taken", parses[i].error ? parses[i].error : ""))
            printf("# got %s\n", error ? error : "no error");
    }
    period = period_of(NULL, "30d", NULL, NULL, NULL);
    ok(period.kind == XL_PERIOD_TIME && period.length_ms == UINT64_C(2592000000), "30d is 2592000 seconds");
    period = period_of(NULL, "week", NULL, NULL, NULL);
    ok(period.weekday == 1 && period.day == 1 && !period.at_s && !period.zone, "a week begins on Monday at 00:00 UTC");
}

int main(void)
{
    for (size_t i = 0; i < COUNT(lists); i++)
        check_list(&lists[i]);
    for (size_t i = 0; i < COUNT(walks); i++)
        check_walk(&walks[i]);
    check_extremes();
    for (size_t i = 0; i < COUNT(released); i++) {
        char what[96];

        snprintf(what, sizeof(what), "of %" PRIu64 " by %" PRIu64 " at %" PRId64, released[i].amount,
                 released[i].slice, released[i].wall);
        is_u64(xl_period_released(released[i].amount, released[i].slice, released[i].start, released[i].end,
                                  released[i].wall), released[i].want, what);
    }
    check_slices_of_a_day();
    check_release_time();
    check_parsing();
    return done_testing();
}
