/* SPDX-License-Identifier: Apache-2.0
 *
 * usage: a quota's counter over period boundaries, over a clock that jumps,
 * over damaged words, and under four threads that cross boundaries together.
 */
#include "tap.h"
#include "xl_usage.h"
#include "zones.h"

#include <pthread.h>
#include <stdlib.h>

#define COUNT(table) (sizeof(table) / sizeof(*(table)))
#define MAX63 ((uint64_t)INT64_MAX)

/* One step of a story: add n at that moment, then read at it. */
typedef struct {
    const char *moment;
    uint64_t add;
    uint64_t used, previous;
    const char *start, *end; /* NULL: 0 */
} step_t;

typedef struct {
    const char *what, *period, *day, *at, *zone;
    step_t steps[12];
} story_t;

static const story_t stories[] = {
    {"months in Berlin", "month", NULL, NULL, "Europe/Berlin", {
        {"2024-03-10T12:00Z", 0, 0, 0, "2024-02-29T23:00Z", "2024-03-31T22:00Z"},
        {"2024-03-10T12:00Z", 5, 5, 0, "2024-02-29T23:00Z", "2024-03-31T22:00Z"},
        {"2024-03-31T21:59:59Z", 7, 12, 0, "2024-02-29T23:00Z", "2024-03-31T22:00Z"},
        {"2024-03-31T22:00Z", 0, 0, 12, "2024-03-31T22:00Z", "2024-04-30T22:00Z"},
        {"2024-03-31T22:00Z", 1, 1, 12, "2024-03-31T22:00Z", "2024-04-30T22:00Z"},
        {"2024-04-30T22:00Z", 3, 3, 1, "2024-04-30T22:00Z", "2024-05-31T22:00Z"},
        {"2024-06-01T00:00Z", 4, 4, 3, "2024-05-31T22:00Z", "2024-06-30T22:00Z"}}},
    {"months that nobody used", "month", "31", "04:00", "Europe/Berlin", {
        {"2024-01-31T03:00Z", 5, 5, 0, "2024-01-31T03:00Z", "2024-02-29T03:00Z"},
        {"2024-03-31T01:59:59Z", 6, 6, 5, "2024-02-29T03:00Z", "2024-03-31T02:00Z"},
        {"2024-05-01T00:00Z", 0, 0, 0, "2024-04-30T02:00Z", "2024-05-31T02:00Z"},
        {"2024-05-01T00:00Z", 8, 8, 0, "2024-04-30T02:00Z", "2024-05-31T02:00Z"},
        {"2050-05-01T00:00Z", 9, 9, 0, "2050-04-30T02:00Z", "2050-05-31T02:00Z"},
        {"2050-06-01T00:00Z", 1, 1, 9, "2050-05-31T02:00Z", "2050-06-30T02:00Z"}}},
    {"the clock jumps back", "day", NULL, NULL, NULL, {
        {"2024-03-10T12:00Z", 5, 5, 0, "2024-03-10T00:00Z", "2024-03-11T00:00Z"},
        {"2024-03-11T12:00Z", 7, 7, 5, "2024-03-11T00:00Z", "2024-03-12T00:00Z"},
        {"2024-03-10T12:00Z", 1, 8, 5, "2024-03-11T00:00Z", "2024-03-12T00:00Z"}, /* never reopened */
        {"2023-01-01T12:00Z", 2, 10, 5, "2024-03-11T00:00Z", "2024-03-12T00:00Z"},
        {"2024-03-11T23:59:59Z", 1, 11, 5, "2024-03-11T00:00Z", "2024-03-12T00:00Z"},
        {"2024-03-12T00:00Z", 4, 4, 11, "2024-03-12T00:00Z", "2024-03-13T00:00Z"},
        {"2024-03-11T23:59:59Z", 1, 5, 11, "2024-03-12T00:00Z", "2024-03-13T00:00Z"},
        {"2024-03-12T00:00Z", 1, 6, 11, "2024-03-12T00:00Z", "2024-03-13T00:00Z"}}},
    {"the clock jumps forth and back", "day", NULL, NULL, NULL, {
        {"2024-03-10T12:00Z", 5, 5, 0, "2024-03-10T00:00Z", "2024-03-11T00:00Z"},
        {"2024-03-20T12:00Z", 1, 1, 0, "2024-03-20T00:00Z", "2024-03-21T00:00Z"},
        {"2024-03-10T12:00Z", 2, 3, 0, "2024-03-20T00:00Z", "2024-03-21T00:00Z"},
        {"2024-03-20T23:00Z", 2, 5, 0, "2024-03-20T00:00Z", "2024-03-21T00:00Z"},
        {"2024-03-21T00:00Z", 2, 2, 5, "2024-03-21T00:00Z", "2024-03-22T00:00Z"}}},
    {"the hour that DST repeats", "hour", NULL, NULL, "Europe/Berlin", {
        {"2024-10-27T00:30Z", 5, 5, 0, "2024-10-27T00:00Z", "2024-10-27T01:00Z"},
        {"2024-10-27T01:00Z", 6, 6, 5, "2024-10-27T01:00Z", "2024-10-27T02:00Z"},
        {"2024-10-27T02:00Z", 7, 7, 6, "2024-10-27T02:00Z", "2024-10-27T03:00Z"}}},
    {"half an hour at Lord Howe", "hour", NULL, NULL, "Australia/Lord_Howe", {
        {"2024-04-06T14:59:59Z", 5, 5, 0, "2024-04-06T14:00Z", "2024-04-06T15:00Z"},
        {"2024-04-06T15:00Z", 6, 6, 5, "2024-04-06T15:00Z", "2024-04-06T15:30Z"},
        {"2024-04-06T15:30Z", 7, 7, 6, "2024-04-06T15:30Z", "2024-04-06T16:30Z"}}},
    {"a TIME begins with its first use", "1h", NULL, NULL, NULL, {
        {"2024-03-10T12:00Z", 0, 0, 0, NULL, NULL},
        {"2024-03-10T12:07Z", 5, 5, 0, "2024-03-10T12:07Z", "2024-03-10T13:07Z"},
        {"2024-03-10T13:06:59Z", 1, 6, 0, "2024-03-10T12:07Z", "2024-03-10T13:07Z"},
        {"2024-03-10T13:07Z", 0, 0, 6, NULL, NULL},
        {"2024-03-12T00:11Z", 0, 0, 6, NULL, NULL},
        {"2024-03-12T00:12Z", 2, 2, 6, "2024-03-12T00:12Z", "2024-03-12T01:12Z"},
        {"2024-03-11T23:59Z", 1, 3, 6, "2024-03-12T00:12Z", "2024-03-12T01:12Z"}, /* back, a little */
        {"2024-03-01T00:00Z", 1, 4, 6, "2024-03-12T00:12Z", "2024-03-12T01:12Z"}, /* by many periods */
        {"2024-03-12T01:12Z", 7, 7, 4, "2024-03-12T01:12Z", "2024-03-12T02:12Z"}}},
    {"years with a leap day", "year", NULL, "04:00", "America/New_York", {
        {"2024-02-29T12:00Z", 5, 5, 0, "2024-01-01T09:00Z", "2025-01-01T09:00Z"},
        {"2025-01-01T08:59:59Z", 1, 6, 0, "2024-01-01T09:00Z", "2025-01-01T09:00Z"},
        {"2025-01-01T09:00Z", 2, 2, 6, "2025-01-01T09:00Z", "2026-01-01T09:00Z"}}},
};

static xl_period_t period_of(const char *text, const char *day, const char *at, const char *zone)
{
    xl_period_t period = {0};

    if (xl_period_parse(text, &period) || (day && xl_period_parse_day(day, &period)) ||
        (at && xl_period_parse_at(at, &period)))
        ok(false, "%s of the table parses", text);
    period.zone = zone ? zone_named(zone) : NULL;
    return period;
}

static int64_t ms(const char *moment)
{
    return moment ? utc(moment) * 1000 : 0;
}

static void tell(const story_t *story)
{
    xl_period_t period = period_of(story->period, story->day, story->at, story->zone);
    xl_usage_t usage = {0};
    uint32_t ordinal_before = 0;
    int64_t start_before = -1;

    for (const step_t *step = story->steps; step->moment; step++) {
        uint32_t charged = xl_usage_add(&usage, &period, step->add, ms(step->moment));
        xl_usage_view_t view = xl_usage_read(&usage, &period, ms(step->moment));

        if (!ok(view.used == step->used && view.previous == step->previous && view.start_ms == ms(step->start) &&
                    view.end_ms == ms(step->end) && view.ordinal == charged,
                "%s: %" PRIu64 " at %s", story->what, step->add, step->moment))
            printf("# used %" PRIu64 " previous %" PRIu64 " %" PRId64 "..%" PRId64 " ordinal %u, charged %u\n",
                   view.used, view.previous, view.start_ms, view.end_ms, view.ordinal, charged);
        if (view.start_ms && start_before > 0)
            ok((view.ordinal == ordinal_before) == (view.start_ms == start_before),
               "%s: the ordinal changes with the period", story->what);
        if (view.start_ms) {
            start_before = view.start_ms;
            ordinal_before = view.ordinal;
        }
    }
}

/* What a read shows before an add is what the add then finds. */
static void check_read_ahead(void)
{
    static const char *const kinds[] = {"hour", "day", "month", "90min"};

    for (size_t k = 0; k < COUNT(kinds); k++) {
        xl_period_t period = period_of(kinds[k], NULL, NULL, "Australia/Lord_Howe");
        int64_t wall = ms("2024-03-25T00:00Z");
        unsigned wrong = 0, steps = 0;
        xl_usage_t usage = {0};

        for (; wall < ms("2024-10-20T00:00Z"); wall += 1234567 * (1 + steps % 7), steps++) {
            xl_usage_view_t before = xl_usage_read(&usage, &period, wall), after;

            wrong += xl_usage_add(&usage, &period, 3, wall) != before.ordinal;
            after = xl_usage_read(&usage, &period, wall);
            wrong += after.used != before.used + 3 || after.previous != before.previous;
            wrong += before.end_ms && (after.start_ms != before.start_ms || after.end_ms != before.end_ms);
        }
        ok(steps > 1000 && !wrong, "%s: %u reads foretell their adds (%u wrong)", kinds[k], steps, wrong);
    }
}

static void check_take_back(void)
{
    xl_period_t day = period_of("day", NULL, NULL, NULL);
    int64_t wall = ms("2024-03-10T12:00Z");
    xl_usage_t usage = {0};
    uint32_t first = xl_usage_add(&usage, &day, 10, wall), second;

    xl_usage_take_back(&usage, 4, first);
    is_u64(xl_usage_read(&usage, &day, wall).used, 6, "4 of 10 taken back");
    xl_usage_take_back(&usage, 1, first + 1);
    is_u64(xl_usage_read(&usage, &day, wall).used, 6, "not under another ordinal");
    xl_usage_take_back(&usage, 100, first);
    is_u64(xl_usage_read(&usage, &day, wall).used, 0, "never below 0");
    xl_usage_add(&usage, &day, 10, wall);
    second = xl_usage_add(&usage, &day, 20, wall + 86400000);
    xl_usage_take_back(&usage, 5, first);
    is_u64(xl_usage_read(&usage, &day, wall + 86400000).used, 20, "the running period keeps what is its own");
    is_u64(xl_usage_read(&usage, &day, wall + 86400000).previous, 10, "the one before no longer changes");
    xl_usage_take_back(&usage, 5, second);
    is_u64(xl_usage_read(&usage, &day, wall + 86400000).used, 15, "5 of 20 taken back");
}

static void check_limits(void)
{
    xl_period_t day = period_of("day", NULL, NULL, NULL), century = period_of("5200w", NULL, NULL, NULL);
    int64_t wall = ms("2024-03-10T12:00Z"), day_ms = 86400000;
    xl_usage_t usage = {0}, late = {0};
    xl_usage_view_t view;

    xl_usage_add(&usage, &day, MAX63 - 5, wall);
    xl_usage_add(&usage, &day, 3, wall);
    is_u64(xl_usage_read(&usage, &day, wall).used, MAX63 - 2, "exact up to 2^63-1");
    xl_usage_add(&usage, &day, 3, wall);
    is_u64(xl_usage_read(&usage, &day, wall).used, MAX63, "and no further");
    xl_usage_add(&usage, &day, UINT64_MAX, wall);
    is_u64(xl_usage_read(&usage, &day, wall).used, MAX63, "not by 2^64-1 either");
    for (unsigned i = 1; i <= 140000; i++)
        xl_usage_add(&usage, &day, i, wall + (int64_t)i * day_ms);
    view = xl_usage_read(&usage, &day, wall + 140000 * day_ms);
    ok(view.used == 140000 && view.previous == 139999, "140,000 periods: the ordinal goes round twice");

    xl_usage_add(&late, &century, 7, (INT64_C(1) << 48) - 2);
    view = xl_usage_read(&late, &century, (INT64_C(1) << 48) - 2);
    ok(view.used == 7 && view.end_ms == (INT64_C(1) << 48) - 1, "a period that would end past 48 bits ends there");
    for (unsigned i = 0; i < 3; i++) {
        static const int64_t beyond[] = {(INT64_C(1) << 48) - 1, INT64_C(1) << 48, INT64_MAX};
        xl_usage_t last = {0};

        xl_usage_add(&last, &day, 7, beyond[i]);
        is_u64(xl_usage_read(&last, &day, beyond[i]).used, 7, "a clock beyond 48 bits is in the last day of all");
    }
}

/* Another period in the configuration holds from the next request on. */
static void check_reconfigured(void)
{
    xl_period_t month = period_of("month", NULL, NULL, "Europe/Berlin");
    xl_period_t day = period_of("day", NULL, NULL, "Europe/Berlin");
    xl_period_t noon = period_of("day", NULL, "12:00", "Europe/Berlin");
    xl_usage_t usage = {0};
    xl_usage_view_t view;

    xl_usage_add(&usage, &month, 5, ms("2024-03-10T12:00Z"));
    view = xl_usage_read(&usage, &day, ms("2024-03-10T12:00Z"));
    ok(!view.used && view.start_ms == ms("2024-03-09T23:00Z"), "month to day: the day is new");
    xl_usage_add(&usage, &day, 2, ms("2024-03-10T12:00Z"));
    view = xl_usage_read(&usage, &day, ms("2024-03-10T12:00Z"));
    ok(view.used == 2 && view.end_ms == ms("2024-03-10T23:00Z"), "and ends as a day");
    view = xl_usage_read(&usage, &noon, ms("2024-03-10T12:00Z"));
    ok(!view.used && view.start_ms == ms("2024-03-10T11:00Z"), "a day from noon on has begun at noon");
    view = xl_usage_read(&usage, &month, ms("2024-03-20T12:00Z"));
    ok(view.used == 2 && view.end_ms == ms("2024-03-31T22:00Z"), "day to month: goes on until the month ends");
}

/* Two copies of one counter, as after a power loss: each is what a row of adds
 * came to; together they are what both know. */
static void check_merge(void)
{
    static const struct {
        const char *what, *mine[3], *theirs[3]; /* days on which 10, 20, 40 were added; NULL: not at all */
        uint64_t used, previous;
        const char *start;
    } t[] = {
        {"neither was ever used", {0}, {0}, 0, 0, NULL},
        {"only this one was used", {"2024-03-10T12:00Z"}, {0}, 10, 0, "2024-03-10T00:00Z"},
        {"only the other one was used", {0}, {"2024-03-10T12:00Z"}, 10, 0, "2024-03-10T00:00Z"},
        {"the same day, this one knows more", {"2024-03-10T12:00Z", "2024-03-10T13:00Z"}, {"2024-03-10T12:00Z"}, 30, 0,
         "2024-03-10T00:00Z"},
        {"the same day, the other one knows more", {"2024-03-10T12:00Z"}, {"2024-03-10T12:00Z", "2024-03-10T13:00Z"},
         30, 0, "2024-03-10T00:00Z"},
        {"the other one is a day further", {"2024-03-10T12:00Z"}, {"2024-03-10T12:00Z", "2024-03-11T13:00Z"}, 20, 10,
         "2024-03-11T00:00Z"},
        {"... and knew less of the day before", {"2024-03-10T12:00Z", "2024-03-10T13:00Z", "2024-03-10T14:00Z"},
         {"2024-03-10T12:00Z", "2024-03-11T13:00Z"}, 20, 70, "2024-03-11T00:00Z"},
        {"this one is a day further and knew less", {"2024-03-10T12:00Z", "2024-03-11T13:00Z"},
         {"2024-03-10T12:00Z", "2024-03-10T13:00Z", "2024-03-10T14:00Z"}, 20, 70, "2024-03-11T00:00Z"},
        {"the other one is of long ago", {"2024-03-10T12:00Z"}, {"2023-03-10T12:00Z", "2023-03-11T12:00Z"}, 10, 0,
         "2024-03-10T00:00Z"},
        {"this one is of long ago", {"2023-03-10T12:00Z", "2023-03-11T12:00Z"}, {"2024-03-10T12:00Z"}, 10, 0,
         "2024-03-10T00:00Z"},
    };
    xl_period_t day = period_of("day", NULL, NULL, NULL);

    for (size_t i = 0; i < COUNT(t); i++) {
        xl_usage_t mine = {0}, theirs = {0};
        xl_usage_view_t view;

        for (size_t j = 0; j < 3 && t[i].mine[j]; j++)
            xl_usage_add(&mine, &day, UINT64_C(10) << j, ms(t[i].mine[j]));
        for (size_t j = 0; j < 3 && t[i].theirs[j]; j++)
            xl_usage_add(&theirs, &day, UINT64_C(10) << j, ms(t[i].theirs[j]));
        for (int again = 0; again < 2; again++) {
            xl_usage_merge(&mine, &theirs);
            if (!t[i].start) {
                is_u64(atomic_load(&mine.word), 0, t[i].what);
                continue;
            }
            view = xl_usage_read(&mine, &day, ms(t[i].start));
            is_u64(view.used, t[i].used, t[i].what);
            is_u64(view.previous, t[i].previous, "... and the day before");
            is_i64(view.start_ms, ms(t[i].start), "... of that day");
        }
    }
}

/* Words as a broken file may hold them: every call returns, and what is added
 * from then on is there. */
static void check_damaged(void)
{
    static const char *const kinds[] = {"hour", "day", "week", "month", "year", "1ms", "30d"};
    static const uint64_t bad[] = {0, 1, UINT64_MAX, UINT64_MAX - 1, UINT64_C(1) << 63, UINT64_C(1) << 48,
                                   UINT64_C(0xffff) << 48, (UINT64_C(1) << 48) - 1, UINT64_C(0x00018e5a1b2c3d4e)};
    int64_t wall = ms("2024-03-10T12:00Z");
    unsigned wrong = 0, tried = 0;

    for (size_t k = 0; k < COUNT(kinds); k++) {
        xl_period_t period = period_of(kinds[k], NULL, NULL, "Europe/Berlin");

        for (size_t i = 0; i < COUNT(bad) * COUNT(bad) * COUNT(bad); i++, tried++) {
            uint64_t word = bad[i % COUNT(bad)], used = bad[i / COUNT(bad) % COUNT(bad)],
                     end = bad[i / COUNT(bad) / COUNT(bad)], before;
            xl_usage_t usage = {word, {used, ~used}, end};
            xl_usage_view_t view;

            before = xl_usage_read(&usage, &period, wall).used;
            xl_usage_add(&usage, &period, 5, wall);
            view = xl_usage_read(&usage, &period, wall);
            wrong += view.used != (before > MAX63 - 5 ? MAX63 : before + 5);
            xl_usage_take_back(&usage, 5, view.ordinal);
            wrong += xl_usage_read(&usage, &period, wall).used != view.used - 5;
        }
    }
    ok(tried && !wrong, "%u sets of damaged words count on (%u wrong)", tried, wrong);
}

/* Somebody died after giving the slot away and before moving the word. */
static void check_death_in_between(void)
{
    xl_period_t day = period_of("day", NULL, NULL, NULL);
    int64_t wall = ms("2024-03-10T12:00Z"), next = wall + 86400000;
    xl_usage_t usage = {0};
    xl_usage_view_t view;

    xl_usage_add(&usage, &day, 5, wall);
    atomic_store(&usage.used[0], UINT64_C(1) << 63); /* ordinal 2, amount 0 */
    view = xl_usage_read(&usage, &day, next);
    ok(view.used == 0 && view.previous == 5, "read as if nothing had happened");
    xl_usage_add(&usage, &day, 6, next);
    view = xl_usage_read(&usage, &day, next);
    ok(view.used == 6 && view.previous == 5 && view.ordinal == 2, "the next one does the rest");
}

/*
 * Four threads add while the clock that they share goes on. Each keeps its own
 * books by the ordinal that an add returned; what the counter says of a period
 * must be the sum of the books.
 */
#define THREADS 4
#define ROUNDS 300
#define ADDS 400
#define ORDINALS 65536

typedef struct {
    xl_usage_t usage;
    xl_period_t period;
    _Atomic int64_t wall_ms;
    int64_t step_ms;
    pthread_barrier_t barrier;
    unsigned rounds_wrong;
    struct {
        uint64_t added[ORDINALS], total;
        unsigned number;
    } books[THREADS];
} race_t;

static race_t race;

static uint64_t booked(uint32_t ordinal)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < THREADS; i++)
        sum += race.books[i].added[ordinal % ORDINALS];
    return sum;
}

static void add_some(unsigned me, unsigned round)
{
    for (unsigned i = 0; i < ADDS; i++) {
        uint64_t n = 1 + (i * 7 + me * 3 + round) % 50;
        int64_t wall = atomic_fetch_add(&race.wall_ms, race.step_ms);
        uint32_t ordinal;

        if (i % 16 == 5)
            wall -= 40 * race.step_ms; /* another process's clock reads a little less */
        ordinal = xl_usage_add(&race.usage, &race.period, n, wall);
        if (i % 5 == 0) {
            xl_usage_add(&race.usage, &race.period, 0, wall);
            xl_usage_read(&race.usage, &race.period, wall);
        }
        race.books[me].added[ordinal] += n;
        race.books[me].total += n;
    }
}

/* Nobody adds while this looks: used and previous are final or complete. */
static void compare_books(void)
{
    xl_usage_view_t view = xl_usage_read(&race.usage, &race.period, atomic_load(&race.wall_ms) - race.step_ms * 40);

    race.rounds_wrong += view.used != booked(view.ordinal) || view.previous != booked(view.ordinal - 1);
}

static void *run(void *arg)
{
    unsigned me = *(unsigned *)arg;

    for (unsigned round = 0; round < ROUNDS; round++) {
        pthread_barrier_wait(&race.barrier);
        add_some(me, round);
        pthread_barrier_wait(&race.barrier);
        if (!me)
            compare_books();
    }
    return NULL;
}

/* A round is THREADS x ADDS steps of the clock. It must be less than four
 * periods, because an add that is held up for longer may meet its tag again. */
static void race_over(const char *kind, const char *zone, int64_t step_ms, unsigned least_periods)
{
    pthread_t threads[THREADS];
    uint64_t total = 0, in_books = 0;
    unsigned periods = 0;

    memset(&race, 0, sizeof(race));
    race.period = period_of(kind, NULL, NULL, zone);
    race.step_ms = step_ms;
    atomic_store(&race.wall_ms, ms("2024-01-01T00:00Z"));
    pthread_barrier_init(&race.barrier, NULL, THREADS);
    for (unsigned i = 0; i < THREADS; i++) {
        race.books[i].number = i;
        if (pthread_create(&threads[i], NULL, run, &race.books[i].number)) {
            printf("Bail out! no thread\n");
            exit(1);
        }
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&race.barrier);
    for (unsigned i = 0; i < THREADS; i++)
        total += race.books[i].total;
    for (unsigned i = 0; i < ORDINALS; i++) {
        in_books += booked(i);
        periods += booked(i) > 0;
    }
    ok(!race.rounds_wrong, "%s, clock by %" PRId64 " ms: used and previous are the sums, after %d rounds (%u wrong)",
       kind, step_ms, ROUNDS, race.rounds_wrong);
    ok(total && total == in_books && periods >= least_periods, "%" PRIu64 " added, all of it in one of %u periods",
       total, periods);
}

int main(void)
{
    for (size_t i = 0; i < COUNT(stories); i++)
        tell(&stories[i]);
    check_read_ahead();
    check_take_back();
    check_limits();
    check_reconfigured();
    check_merge();
    check_damaged();
    check_death_in_between();
    /* Fewer boundaries than rounds: every period's final sum is compared. */
    race_over("hour", "Europe/Berlin", 1500, 180);
    race_over("1h", NULL, 1500, 180);
    /* Up to three in one round: threads are held up over more than one. */
    race_over("day", "America/New_York", 140000, 700);
    race_over("2s", NULL, 3, 600);
    return done_testing();
}
