/* SPDX-License-Identifier: Apache-2.0
 *
 * zone: offsets as the C library and zdump give them, changes of the clock in
 * both directions, POSIX footers, and hostile TZif bytes.
 */
#include "tap.h"
#include "xl_calendar.h"
#include "zones.h"

#define COUNT(table) (sizeof(table) / sizeof(*(table)))
#define DAY INT64_C(86400)

/* The second before a change, and what follows. From `zdump -v`. */
static const struct {
    const char *zone, *change;
    int32_t before_s, after_s;
} changes[] = {
    {"Europe/Berlin", "2024-03-31T01:00Z", 3600, 7200},
    {"Europe/Berlin", "2024-10-27T01:00Z", 7200, 3600},
    {"Europe/Berlin", "2050-03-27T01:00Z", 3600, 7200},
    {"Europe/Berlin", "2050-10-30T01:00Z", 7200, 3600},
    {"America/New_York", "2024-03-10T07:00Z", -18000, -14400},
    {"America/New_York", "2024-11-03T06:00Z", -14400, -18000},
    {"America/New_York", "2050-03-13T07:00Z", -18000, -14400},
    {"America/New_York", "2050-11-06T06:00Z", -14400, -18000},
    {"Australia/Lord_Howe", "2024-04-06T15:00Z", 39600, 37800},
    {"Australia/Lord_Howe", "2024-10-05T15:30Z", 37800, 39600},
    {"Australia/Lord_Howe", "2050-04-02T15:00Z", 39600, 37800},
    {"Australia/Lord_Howe", "2050-10-01T15:30Z", 37800, 39600},
    {"Europe/Dublin", "2050-03-27T01:00Z", 0, 3600},
    {"Europe/Dublin", "2050-10-30T01:00Z", 3600, 0},
    {"Pacific/Apia", "2011-12-30T10:00Z", -36000, 50400},
};

static void check_changes(void)
{
    for (size_t i = 0; i < COUNT(changes); i++) {
        const xl_zone_t *zone = zone_named(changes[i].zone);
        int64_t at = utc(changes[i].change);

        ok(xl_zone_offset(zone, at - 1) == changes[i].before_s && xl_zone_offset(zone, at) == changes[i].after_s,
           "%s changes its offset at %s", changes[i].zone, changes[i].change);
        is_i64(xl_zone_next(zone, at - 1), at, "which is the next change from the second before");
        ok(xl_zone_next(zone, at) > at + DAY, "and no longer from there on");
    }
}

static const struct {
    const char *zone, *local, *want;
} locals[] = {
    {"Europe/Berlin", "2024-01-15T12:00Z", "2024-01-15T11:00Z"},
    {"Europe/Berlin", "2024-07-15T12:00Z", "2024-07-15T10:00Z"},
    {"Europe/Berlin", "2024-03-31T01:59:59Z", "2024-03-31T00:59:59Z"},
    {"Europe/Berlin", "2024-03-31T02:00Z", "2024-03-31T01:00Z"}, /* does not occur */
    {"Europe/Berlin", "2024-03-31T02:59:59Z", "2024-03-31T01:00Z"},
    {"Europe/Berlin", "2024-03-31T03:00Z", "2024-03-31T01:00Z"},
    {"Europe/Berlin", "2024-03-31T03:00:01Z", "2024-03-31T01:00:01Z"},
    {"Europe/Berlin", "2024-10-27T01:59:59Z", "2024-10-26T23:59:59Z"},
    {"Europe/Berlin", "2024-10-27T02:00Z", "2024-10-27T00:00Z"}, /* occurs twice */
    {"Europe/Berlin", "2024-10-27T02:59:59Z", "2024-10-27T00:59:59Z"},
    {"Europe/Berlin", "2024-10-27T03:00Z", "2024-10-27T02:00Z"},
    {"Australia/Lord_Howe", "2024-04-07T01:45Z", "2024-04-06T14:45Z"},
    {"Australia/Lord_Howe", "2024-04-07T02:00Z", "2024-04-06T15:30Z"},
    {"Australia/Lord_Howe", "2024-10-06T02:15Z", "2024-10-05T15:30Z"},
    {"Pacific/Apia", "2011-12-29T23:59:59Z", "2011-12-30T09:59:59Z"},
    {"Pacific/Apia", "2011-12-30T12:00Z", "2011-12-30T10:00Z"},
    {"Pacific/Apia", "2011-12-31T00:00Z", "2011-12-30T10:00Z"},
    {"Pacific/Apia", "2011-12-31T00:00:01Z", "2011-12-30T10:00:01Z"},
    {"America/New_York", "2050-03-13T02:30Z", "2050-03-13T07:00Z"},
    {"America/New_York", "2050-11-06T01:30Z", "2050-11-06T05:30Z"},
};

/* Every zone of the system against localtime(), 1900 to 2150. */
static void check_all_zones(void)
{
    FILE *list = fopen("/usr/share/zoneinfo/zone.tab", "r");
    char line[512], name[64];
    unsigned zones = 0, wrong = 0, back_wrong = 0;
    xl_zone_t zone;

    while (list && fgets(line, sizeof(line), list)) {
        if (sscanf(line, "%*2[A-Z] %*s %63s", name) != 1 || load_zone(&zone, name))
            continue;
        setenv("TZ", name, 1);
        tzset();
        zones++;
        for (int64_t t = utc("1900-01-01T00:00Z"); t < utc("2150-01-01T00:00Z"); t += 41 * DAY + 6007) {
            time_t moment = (time_t)t;
            struct tm tm;
            int64_t back;

            localtime_r(&moment, &tm);
            wrong += tm.tm_gmtoff != xl_zone_offset(&zone, t);
            back = xl_zone_to_utc(&zone, t + tm.tm_gmtoff);
            back_wrong += back > t || back + xl_zone_offset(&zone, back) != t + tm.tm_gmtoff;
        }
    }
    if (list)
        fclose(list);
    unsetenv("TZ");
    ok(zones > 300, "%u zones of the system parse", zones);
    ok(zones && !wrong, "their offsets are localtime()'s, 1900 to 2150 (%u wrong)", wrong);
    ok(zones && !back_wrong, "each local time is found again, at its first moment (%u wrong)", back_wrong);
}

/* A TZif file of one type (UTC+0:30, to tell it from the footer) and a footer. */
static size_t make_file(unsigned char *file, const char *footer)
{
    static const unsigned char head[44] = {'T', 'Z', 'i', 'f', '2', [39] = 1, [43] = 4};
    static const unsigned char body[10] = {0, 0, 7, 8, 0, 0, 'X', 'X', 'X', 0};
    size_t n = 0;

    for (unsigned i = 0; i < 2; i++) {
        memcpy(file + n, head, sizeof(head));
        memcpy(file + n + sizeof(head), body, sizeof(body));
        n += sizeof(head) + sizeof(body);
    }
    return n + (size_t)sprintf((char *)file + n, "\n%s\n", footer);
}

static const struct {
    const char *footer, *moment;
    int32_t want_s;
} footers[] = {
    {"", "2024-07-01T00:00Z", 1800}, /* no rules: the file's last type stays */
    {"UTC0", "2024-07-01T00:00Z", 0},
    {"EST5", "2024-07-01T00:00Z", -18000},
    {"<+0330>-3:30", "2024-07-01T00:00Z", 12600},
    {"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "2024-03-31T00:59:59Z", -7200},
    {"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "2024-03-31T01:00Z", -3600},
    {"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "2024-10-27T00:59:59Z", -3600},
    {"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "2024-10-27T01:00Z", -7200},
    {"IST-1GMT0,M10.5.0,M3.5.0/1", "2024-03-31T00:59:59Z", 0},
    {"IST-1GMT0,M10.5.0,M3.5.0/1", "2024-03-31T01:00Z", 3600},
    {"IST-1GMT0,M10.5.0,M3.5.0/1", "2024-10-27T01:00Z", 0},
    {"XXX-3:30:15YYY-4,J60/2,J300/3", "2024-03-31T00:00Z", 14400},
    {"XXX-3:30:15YYY-4,J60/2,J300/3", "2024-10-27T00:00Z", 12615},
    {"XXX3YYY,59,299", "2024-02-29T04:59:59Z", -10800}, /* counts 29 February */
    {"XXX3YYY,59,299", "2024-02-29T05:00Z", -7200},
    {"XXX3YYY,59,299", "2023-03-01T04:59:59Z", -10800},
    {"XXX3YYY,59,299", "2023-03-01T05:00Z", -7200},
    {"XXX3YYY,J60,J300", "2024-03-01T04:59:59Z", -10800}, /* does not */
    {"XXX3YYY,J60,J300", "2024-03-01T05:00Z", -7200},
    {"XXX3YYY,J60,J300", "2023-03-01T05:00Z", -7200},
    {"EST5EDT,0/0,J365/25", "2024-01-01T04:59:59Z", -14400}, /* RFC 8536: DST all year */
    {"EST5EDT,0/0,J365/25", "2024-07-01T00:00Z", -14400},
    {"EST5EDT,0/0,J365/25", "2025-01-01T05:00Z", -14400},
};

static const char *const bad_footers[] = {
    "E5DT", "5", "EST", "EST25", "EST5:60", "EST5EDT", "EST5EDT,M3.2.0", "EST5EDT,M13.1.0,M11.1.0",
    "EST5EDT,M0.1.0,M11.1.0", "EST5EDT,M3.6.0,M11.1.0", "EST5EDT,M3.0.0,M11.1.0", "EST5EDT,M3.2.7,M11.1.0",
    "EST5EDT,M3.2.0,M11.1.0x", "EST5EDT,M3.2.0,M11.1.0/168", "EST5EDT,J0,J365", "EST5EDT,J1,J366", "EST5EDT,1,366",
    "<EST5", "EST5EDT,M3.2.0/,M11.1.0", "EST5EDT4:", "EST99999999999999999999", "EST5EDT,M3.2,M11.1.0",
};

static void check_footers(void)
{
    unsigned char file[256];
    xl_zone_t zone = {.name = "made up"};

    for (size_t i = 0; i < COUNT(footers); i++) {
        const char *fault = xl_zone_parse(&zone, file, make_file(file, footers[i].footer));

        ok(!fault, "footer \"%s\" is taken", footers[i].footer);
        is_i64(xl_zone_offset(&zone, utc(footers[i].moment)), footers[i].want_s, footers[i].moment);
    }
    is_str(zone.name, "made up", "the name is the caller's");
    for (size_t i = 0; i < COUNT(bad_footers); i++) {
        const char *fault = xl_zone_parse(&zone, file, make_file(file, bad_footers[i]));

        /* "E5DT" is a name of one letter, and then a name where a rule should be. */
        ok(fault && strstr(fault, "footer"), "footer \"%s\" is refused", bad_footers[i]);
        ok(!xl_zone_offset(&zone, 0) && xl_zone_next(&zone, 0) == INT64_MAX, "and leaves UTC behind");
    }
}

static void check_faults(void)
{
    static const struct {
        size_t at;
        unsigned char byte;
        const char *fault;
    } table[] = {
        {0, 'X', "no TZif"},        {4, 0, "version 1"},       {54, 'x', "no TZif"},    {54 + 4, 0, "version 1"},
        {40, 255, "cut off"},       {54 + 31, 1, "leap"},      {54 + 39, 0, "no local time type"},
        {54 + 39, 33, "more types"}, {54 + 34, 3, "transitions than"}, {54 + 35, 1, "cut off"},
        {54 + 44, 127, "26 hours"}, {108, 'x', "footer is missing"},
    };
    unsigned char file[256];
    xl_zone_t zone = {.name = "made up"};

    for (size_t i = 0; i < COUNT(table); i++) {
        size_t n = make_file(file, "");
        const char *fault;

        file[table[i].at] = table[i].byte;
        fault = xl_zone_parse(&zone, file, n);
        if (!ok(fault && strstr(fault, table[i].fault), "byte %zu = %u: %s", table[i].at, table[i].byte,
                table[i].fault))
            printf("# got %s\n", fault ? fault : "no fault");
    }
}

/* Whatever parsed must answer, and its periods must hold the moment asked for. */
static bool answers(const xl_zone_t *zone)
{
    static const int64_t moments_ms[] = {0, INT64_C(1711846800000), INT64_C(2547946800000), -INT64_C(3000000000000)};
    static const xl_period_e kinds[] = {XL_PERIOD_HOUR, XL_PERIOD_DAY, XL_PERIOD_MONTH};
    int64_t start, end;

    for (size_t k = 0; k < COUNT(kinds); k++)
        for (size_t i = 0; i < COUNT(moments_ms); i++) {
            xl_period_t period = {.kind = kinds[k], .day = 31, .weekday = 1, .at_s = 9000, .zone = zone};

            if (kinds[k] == XL_PERIOD_HOUR)
                period.at_s = 0;
            xl_period_bounds(&period, moments_ms[i], &start, &end);
            if (start > moments_ms[i] || end <= moments_ms[i])
                return false;
        }
    return xl_zone_next(zone, 0) > 0 && xl_zone_next(zone, INT64_MIN) > -(INT64_C(1) << 51);
}

/* From a heap block of exactly that length, so that a sanitizer sees it all. */
static const char *parse_copy(xl_zone_t *zone, const unsigned char *bytes, size_t n)
{
    unsigned char *copy = malloc(n ? n : 1);
    const char *fault;

    memcpy(copy, bytes, n);
    fault = xl_zone_parse(zone, copy, n);
    free(copy);
    return fault;
}

static void check_hostile(const char *name)
{
    static const unsigned char flips[] = {0x01, 0x10, 0x80, 0xff};
    static unsigned char bytes[ZONE_BYTES_MAX];
    size_t n = read_zone_file(name, bytes);
    unsigned taken = 0, wrong = 0;
    static xl_zone_t zone;

    for (size_t cut = 0; cut < n; cut++)
        taken += !parse_copy(&zone, bytes, cut);
    ok(n && !taken, "%s cut off at each of %zu lengths is refused", name, n);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < COUNT(flips); k++) {
            bytes[i] ^= flips[k];
            if (!parse_copy(&zone, bytes, n))
                taken++;
            wrong += !answers(&zone);
            bytes[i] ^= flips[k];
        }
    ok(n && taken && !wrong, "%s with each byte changed: %u of %zu still parse, %u answer wrong", name, taken,
       n * COUNT(flips), wrong);
}

static void check_civil(void)
{
    unsigned wrong = 0, days = 0;

    for (int64_t day = -800000; day < 800000; day += 13, days++) {
        time_t moment = (time_t)(day * DAY);
        struct tm tm;
        int64_t year;
        unsigned month, mday;

        gmtime_r(&moment, &tm);
        xl_civil_from_days(day, &year, &month, &mday);
        wrong += year != tm.tm_year + 1900 || (int)month != tm.tm_mon + 1 || (int)mday != tm.tm_mday ||
                 xl_civil_to_days(year, month, mday) != day;
    }
    ok(days && !wrong, "%u dates from the year -220 on are gmtime()'s (%u wrong)", days, wrong);
}

int main(void)
{
    xl_zone_t zone;

    xl_zone_utc(&zone);
    ok(!strcmp(zone.name, "UTC") && !xl_zone_offset(&zone, 0) && xl_zone_to_utc(&zone, 1234567890) == 1234567890,
       "UTC is UTC");
    check_civil();
    check_changes();
    for (size_t i = 0; i < COUNT(locals); i++) {
        char what[96];

        snprintf(what, sizeof(what), "%s local %.19s", locals[i].zone, locals[i].local);
        is_i64(xl_zone_to_utc(zone_named(locals[i].zone), utc(locals[i].local)), utc(locals[i].want), what);
    }
    check_all_zones();
    check_footers();
    check_faults();
    check_hostile("Europe/Berlin");
    check_hostile("Australia/Lord_Howe");
    return done_testing();
}
