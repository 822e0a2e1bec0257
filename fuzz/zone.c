/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a time zone file: refused, or a zone in which offsets are bounded,
 * times go forward, and the periods of a calendar lie end to end.
 * Input: the kind of period and a moment in nine bytes, then the file.
 */
#include "fuzz.h"
#include "xl_calendar.h"

#define HEAD_BYTES 9
#define DAY_S 86400
#define SECONDS_MOST (INT64_C(1) << 40)

static void check_moment(const xl_zone_t *zone, int64_t utc_s)
{
    int64_t next = xl_zone_next(zone, utc_s), local = utc_s + xl_zone_offset(zone, utc_s);
    int64_t to = xl_zone_to_utc(zone, local);

    must(local > utc_s - 26 * 3600 && local < utc_s + 26 * 3600);
    must(next > utc_s);
    must(to <= utc_s && to >= utc_s - 53 * 3600); /* the first moment at which the clock shows it, or more */
    must(xl_zone_to_utc(zone, local + 1) >= to);
}

static void check_period(const xl_zone_t *zone, xl_period_e kind, unsigned options, int64_t wall_ms)
{
    xl_period_t period = {.kind = kind,
                          .zone = zone,
                          .day = (uint8_t)(1 + options % 31),
                          .weekday = (uint8_t)(options % 7),
                          .at_s = options * 60 % DAY_S};
    int64_t start, end, other_start, other_end;

    xl_period_bounds(&period, wall_ms, &start, &end);
    must(start <= wall_ms && wall_ms < end);
    xl_period_bounds(&period, end - 1, &other_start, &other_end);
    must(other_start == start && other_end == end);
    xl_period_bounds(&period, end, &other_start, &other_end);
    must(other_start == end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static xl_zone_t zone = {.name = "Fuzz/Zone"};
    fuzz_t f = {data, data + size};
    unsigned kind = fuzz_byte(&f), options = kind / 5u * 29;
    int64_t moment = 0;
    uint8_t *tzif;
    size_t length, i;
    const char *fault;

    for (i = 1; i < HEAD_BYTES; i++)
        moment = (int64_t)((uint64_t)moment << 8 | fuzz_byte(&f));
    moment %= SECONDS_MOST;
    length = (size_t)(f.end - f.at);
    tzif = malloc(length ? length : 1);
    if (!tzif)
        exit(1);
    memcpy(tzif, f.at, length);
    fault = xl_zone_parse(&zone, tzif, length);
    free(tzif);
    must(!strcmp(zone.name, "Fuzz/Zone"));
    must(!fault || (!xl_zone_offset(&zone, moment) && xl_zone_next(&zone, moment) == INT64_MAX));
    check_moment(&zone, moment);
    for (i = 0; i < zone.transitions; i++)
        if (zone.at_s[i] > -SECONDS_MOST && zone.at_s[i] < SECONDS_MOST)
            check_moment(&zone, zone.at_s[i] - 1);
    check_period(&zone, (xl_period_e)(XL_PERIOD_HOUR + kind % 5), options, moment * 1000 + 1);
    return 0;
}
