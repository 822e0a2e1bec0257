/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_calendar: in which period a moment lies. Wall time is an argument, in
 * milliseconds since 1970-01-01T00:00:00Z; the calendar is the proleptic
 * Gregorian one, weeks begin on Monday unless weekday= says otherwise.
 *
 * A zone is a parsed TZif file (RFC 8536, version 2+ with its POSIX footer),
 * held in memory of the caller: no tz database access, no TZ variable, no
 * localtime() here, so that several zones live in one process.
 *
 * Moments are taken up to some million years on either side of 1970; what lies
 * beyond is moved to there, so that no arithmetic overflows.
 */
#ifndef XL_CALENDAR_H
#define XL_CALENDAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Days since 1970-01-01 of a date, month 1..12, day 1..; and back. */
int64_t xl_civil_to_days(int64_t year, unsigned month, unsigned day);
void xl_civil_from_days(int64_t days, int64_t *year, unsigned *month, unsigned *day);
unsigned xl_civil_month_days(int64_t year, unsigned month);

#define XL_ZONE_MAX_TRANSITIONS 512
#define XL_ZONE_MAX_TYPES 32

/* One yearly change of a POSIX TZ footer: Mm.w.d, Jn or n, and its hour. */
typedef struct {
    char form; /* 'M', 'J' or 'n' */
    uint8_t month, week, weekday;
    uint16_t day;
    int32_t at_s; /* local wall seconds after midnight, may be negative */
} xl_zone_rule_t;

typedef struct {
    char name[64];
    uint32_t transitions;
    int64_t at_s[XL_ZONE_MAX_TRANSITIONS]; /* ascending, UTC */
    uint8_t type[XL_ZONE_MAX_TRANSITIONS];
    int32_t offset_s[XL_ZONE_MAX_TYPES]; /* east of UTC */
    uint32_t types;
    bool has_footer, has_dst;
    int32_t std_offset_s, dst_offset_s;
    xl_zone_rule_t dst_begin, dst_end;
} xl_zone_t;

/* The zone UTC. */
void xl_zone_utc(xl_zone_t *zone);

/* Reads a TZif file's bytes; the name stays what the caller made it. NULL, or a
 * static sentence about the fault, and then the zone keeps UTC's time; every
 * count and index of the file is checked. */
const char *xl_zone_parse(xl_zone_t *zone, const unsigned char *tzif, size_t length);

/* Seconds east of UTC at that moment. */
int32_t xl_zone_offset(const xl_zone_t *zone, int64_t utc_s);

/* The first moment after utc_s at which the zone's rules change, INT64_MAX if
 * there is none. */
int64_t xl_zone_next(const xl_zone_t *zone, int64_t utc_s);

/* Local wall seconds (as if they were UTC) -> UTC. A local time that occurs
 * twice gives its first moment, one that does not occur the moment the clock
 * jumps over it. */
int64_t xl_zone_to_utc(const xl_zone_t *zone, int64_t local_s);

typedef enum {
    XL_PERIOD_TIME, /* length_ms from the first use on */
    XL_PERIOD_HOUR,
    XL_PERIOD_DAY,
    XL_PERIOD_WEEK,
    XL_PERIOD_MONTH,
    XL_PERIOD_YEAR
} xl_period_e;

typedef struct {
    xl_period_e kind;
    uint64_t length_ms; /* XL_PERIOD_TIME only */
    uint8_t day;        /* MONTH: 1..31, a shorter month ends earlier; default 1 */
    uint8_t weekday;    /* WEEK: 0 = Sunday .. 6; default 1, Monday */
    uint32_t at_s;      /* local seconds after midnight at which DAY.. begin */
    const xl_zone_t *zone; /* NULL: UTC */
    uint64_t mark;         /* xl_period_mark of the rest once it is final, or 0: made when needed */
} xl_period_t;

/* A number, not 0, that tells this period and zone from others. */
uint64_t xl_period_mark(const xl_period_t *period);

/* A TIME ("30d"), or one of hour day week month year, with the defaults
 * above; the options day=, weekday=, at=, tz= are set by the next three and by
 * the caller (zone). NULL or a static sentence. */
const char *xl_period_parse(const char *text, xl_period_t *period);
const char *xl_period_parse_day(const char *text, xl_period_t *period);     /* "1".."31", month only */
const char *xl_period_parse_weekday(const char *text, xl_period_t *period); /* "mon".."sun", week only */
const char *xl_period_parse_at(const char *text, xl_period_t *period);      /* "04:00", day and longer */

/* The calendar period that holds wall_ms: *start <= wall_ms < *end. Not for
 * XL_PERIOD_TIME, whose start is where its first use was (see xl_usage.h). A
 * day is as long as the zone's day is (23 to 25 hours with DST); an hour is an
 * hour, also the one that DST repeats, except where a zone moves by a part of
 * an hour: the change itself then is a boundary. */
void xl_period_bounds(const xl_period_t *period, int64_t wall_ms, int64_t *start_ms, int64_t *end_ms);

/* What of `amount` is released at wall_ms when it is released slice by slice:
 * amount x (slices begun / all slices), the last slice possibly shorter, and
 * all of it in the last one. slice_ms 0: all at once. Before the start (the
 * clock jumped back) it is what the first slice releases. */
uint64_t xl_period_released(uint64_t amount, uint64_t slice_ms, int64_t start_ms, int64_t end_ms, int64_t wall_ms);

/* The moment at which `need` of `amount` will have been released, or end_ms. */
int64_t xl_period_release_time(uint64_t amount, uint64_t need, uint64_t slice_ms, int64_t start_ms, int64_t end_ms);

#endif
