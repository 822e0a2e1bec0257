/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of the rate arithmetic (xl_meter.h): moments as a table, exactness over
 * a million takes, the undoing of a take, and several threads on one meter.
 */
#include "tap.h"
#include "xl_meter.h"

#include <pthread.h>
#include <stdlib.h>

#define MS XL_NS_PER_MS
#define S XL_NS_PER_S
#define NEVER UINT64_MAX

static const xl_rate_t three_per_s = {3, S};
static const xl_rate_t kilo_per_s = {1000, S};
static const xl_rate_t seven_per_3s = {7, 3 * S};

typedef struct {
    const char *what;
    uint64_t tat, units, now, depth, n; /* before */
    uint64_t start, cost, tat_after;
} moment_t;

/* At 1,000 units per second: one unit is a millisecond. */
static const moment_t moments[] = {
    {"a new meter, no depth: the slot starts now", 0, 0, 5 * S, 0, 10, 5 * S, 10 * MS, 5 * S + 10 * MS},
    {"a new meter: the slot starts a depth ago", 0, 0, 5 * S, 250 * MS, 10, 4750 * MS, 10 * MS, 4760 * MS},
    {"a depth beyond the beginning of time stops at 0", 0, 0, 100 * MS, 250 * MS, 10, 0, 10 * MS, 10 * MS},
    {"one ns before the floor: moved up to it", 5 * S - 1, 0, 5 * S, 0, 1, 5 * S, MS, 5001 * MS},
    {"on the floor: starts there", 5 * S, 0, 5 * S, 0, 1, 5 * S, MS, 5001 * MS},
    {"one ns behind the floor: kept", 5 * S + 1, 0, 5 * S, 0, 1, 5 * S + 1, MS, 5001 * MS + 1},
    {"one ns before the floor of a depth", 4 * S - 1, 0, 5 * S, S, 1, 4 * S, MS, 4001 * MS},
    {"one ns behind the floor of a depth", 4 * S + 1, 0, 5 * S, S, 1, 4 * S + 1, MS, 4001 * MS + 1},
    {"a queue of 3 s: behind it", 8 * S, 0, 5 * S, 250 * MS, 500, 8 * S, 500 * MS, 8500 * MS},
    {"after a year of idling no more than the depth", 5 * S, 77, 31557600 * S, 250 * MS, 250,
     31557600 * S - 250 * MS, 250 * MS, 31557600 * S},
    {"the clock jumps back: the queue stays", 9 * S, 0, 2 * S, 250 * MS, 1, 9 * S, MS, 9001 * MS},
    {"the clock at 0", 0, 0, 0, 250 * MS, 1, 0, MS, MS},
    {"nothing taken costs nothing", 6 * S, 5, 5 * S, 0, 0, 6 * S, 0, 6 * S},
    {"units near 2^63", 6 * S, INT64_MAX - UINT64_C(1), 5 * S, 0, 4, 6 * S, 4 * MS, 6004 * MS},
    {"units that wrap at 2^64", 6 * S, UINT64_MAX - 1, 5 * S, 0, 4, 6 * S, 4 * MS, 6004 * MS},
    {"2^63 units at once", 0, 0, 5 * S, 0, UINT64_C(1) << 63, 5 * S, NEVER, NEVER},
    {"a TAT near 2^63", INT64_MAX - UINT64_C(1), 0, 5 * S, 0, 2, INT64_MAX - UINT64_C(1), 2 * MS,
     INT64_MAX - 1 + 2 * MS},
    {"a TAT at the end of time stays there", NEVER - 1, 0, 5 * S, 0, 2, NEVER - 1, 2 * MS, NEVER},
    {"a depth of everything", 0, 0, 5 * S, NEVER, 2, 0, 2 * MS, 2 * MS},
};

static void test_moments(void)
{
    size_t i;

    for (i = 0; i < sizeof moments / sizeof *moments; i++) {
        const moment_t *m = &moments[i];
        xl_meter_t meter = {m->tat, m->units};
        uint64_t cost = 0;
        uint64_t start = xl_meter_reserve(&meter, kilo_per_s, m->n, m->depth, m->now, &cost);

        if (!ok(start == m->start && cost == m->cost && meter.tat_ns == m->tat_after
                    && meter.units == m->units + m->n, "%s", m->what))
            printf("# start %" PRIu64 " cost %" PRIu64 " tat %" PRIu64 " units %" PRIu64 "\n", start, cost,
                   (uint64_t)meter.tat_ns, (uint64_t)meter.units);
    }
}

typedef struct {
    const char *what;
    xl_rate_t rate;
    uint64_t in, ns, units; /* in units cost ns; in nanoseconds yield units */
} conversion_t;

static const conversion_t conversions[] = {
    {"nothing", {7, 3 * S}, 0, 0, 0},
    {"1 at 3/s", {3, S}, 1, 333333333, 0},
    {"a third of a second at 3/s", {3, S}, 333333333, UINT64_C(111111111000000000), 0},
    {"one ns more", {3, S}, 333333334, UINT64_C(111111111333333333), 1},
    {"3 s at 7 per 3 s", {7, 3 * S}, 3 * S, UINT64_C(1285714285714285714), 7},
    {"more than 2^64 ns", {1, S}, UINT64_C(1) << 40, NEVER, 1099},
    {"more than 2^64 units", {S, 1}, UINT64_C(1) << 40, 1099, NEVER},
    {"the largest of all", {NEVER, NEVER}, NEVER, NEVER, NEVER},
};

static void test_conversions(void)
{
    size_t i;

    for (i = 0; i < sizeof conversions / sizeof *conversions; i++) {
        const conversion_t *c = &conversions[i];
        char what[120];

        snprintf(what, sizeof what, "ns: %s", c->what);
        is_u64(xl_rate_ns(c->rate, c->in), c->ns, what);
        snprintf(what, sizeof what, "units: %s", c->what);
        is_u64(xl_rate_units(c->rate, c->in), c->units, what);
    }
    is_u64(xl_rate_ns_up(three_per_s, 3), S, "rounded up, what is whole stays as it is");
    is_u64(xl_rate_ns_up(three_per_s, 2), 666666667, "... and a fraction becomes one more");
    is_u64(xl_rate_ns_up(three_per_s, 0), 0, "... and nothing stays nothing");
    is_u64(xl_rate_ns_up((xl_rate_t){2, UINT64_MAX}, UINT64_MAX), UINT64_MAX, "... and it saturates");
}

/* A taker that comes whenever the meter lets him: at R the depth-less meter
 * must give exactly R x t units, however the fractions fall. */
static uint64_t units_until(xl_rate_t rate, uint64_t n, uint64_t end)
{
    xl_meter_t meter = {0, 0};
    uint64_t now = 0, taken = 0, cost;

    while (now < end) {
        now = xl_meter_reserve(&meter, rate, n, 0, now, &cost) + cost;
        if (now <= end)
            taken += n;
    }
    return taken;
}

static void test_drift(void)
{
    xl_meter_t meter = {0, 0};
    uint64_t cost, sum = 0, i, start = 0;

    is_u64(units_until(three_per_s, 1, UINT64_C(1000000) * S), 3000000, "3/s for 10^6 s are 3 x 10^6 units");
    is_u64(units_until(seven_per_3s, 1, UINT64_C(300000) * S), 700000, "7 per 3 s for 300,000 s are 700,000");
    is_u64(units_until(seven_per_3s, 7, UINT64_C(300000) * S), 700000, "the same, taken by sevens");
    is_u64(units_until((xl_rate_t){UINT64_C(999999937), S}, 1000003, 600 * S),
           UINT64_C(999999937) * 600 / 1000003 * 1000003, "primes: all whole chunks that fit into 10 min");

    for (i = 0; i < 100000; i++) {
        start = xl_meter_reserve(&meter, seven_per_3s, i % 11, 0, 0, &cost);
        sum += cost;
    }
    is_u64(start + cost, sum, "a queue's end is the sum of its costs");
    is_u64(sum, xl_rate_ns(seven_per_3s, meter.units), "uneven takes cost what their sum costs");
}

static void test_request_burst(void)
{
    static const xl_rate_t rate = {10, S};
    xl_meter_t meter = {0, 0};
    uint64_t cost, passed = 0, t;

    for (t = 0; t < 50; t++)
        if (xl_meter_reserve(&meter, rate, 1, 2 * S, 100 * S, &cost) + cost <= 100 * S)
            passed++;
        else
            xl_meter_release(&meter, rate, 1);
    is_u64(passed, 20, "10/s with 2 s of depth: 20 at once from rest while the clock stands still, then none");
    ok(xl_meter_reserve(&meter, rate, 1, 2 * S, 100 * S + 100 * MS - 1, &cost) + cost > 100 * S + 100 * MS - 1,
       "one ns before the next is earned: none");
    xl_meter_release(&meter, rate, 1);
    ok(xl_meter_reserve(&meter, rate, 1, 2 * S, 100 * S + 100 * MS, &cost) + cost <= 100 * S + 100 * MS,
       "at that very moment: one");
}

static void test_release(void)
{
    xl_meter_t meter = {7 * S, 12345};
    uint64_t cost, i, wrong = 0;

    for (i = 0; i < 10000; i++) {
        uint64_t tat = meter.tat_ns, units = meter.units, n = i * i % 1009;

        xl_meter_reserve(&meter, seven_per_3s, n, S, 5 * S, &cost);
        xl_meter_release(&meter, seven_per_3s, n);
        wrong += meter.tat_ns != tat || meter.units != units;
        xl_meter_reserve(&meter, seven_per_3s, 1, S, 5 * S, &cost);
    }
    is_u64(wrong, 0, "a release undoes its reservation in both words, at every phase of the fraction");

    meter = (xl_meter_t){0, 0};
    for (i = 1; i <= 1000; i++)
        xl_meter_reserve(&meter, seven_per_3s, i, 0, 0, &cost);
    for (i = 1; i <= 1000; i++)
        xl_meter_release(&meter, seven_per_3s, i);
    ok(!meter.tat_ns && !meter.units, "given back in another order than taken: nothing is left");

    meter = (xl_meter_t){UINT64_MAX - 1, UINT64_MAX - 2};
    xl_meter_reserve(&meter, kilo_per_s, 5, 0, 0, &cost);
    xl_meter_release(&meter, kilo_per_s, 5);
    is_u64(meter.units, UINT64_MAX - 2, "units come back over the wrap at 2^64");

    meter = (xl_meter_t){3 * MS, 10};
    xl_meter_release(&meter, kilo_per_s, 4);
    is_u64(meter.tat_ns, 0, "the TAT never falls below 0");
    is_u64(meter.units, 6, "and the units are given back all the same");
}

static void test_raise(void)
{
    xl_meter_t meter = {5 * S, 9};

    xl_meter_raise(&meter, 5 * S - 1);
    is_u64(meter.tat_ns, 5 * S, "a lower floor changes nothing");
    xl_meter_raise(&meter, 5 * S + 1);
    is_u64(meter.tat_ns, 5 * S + 1, "a higher one does");
    is_u64(meter.units, 9, "and takes no units");
}

static void test_queue(void)
{
    xl_meter_t meter = {5 * S, 9};

    is_u64(xl_meter_queue_ns(&meter, 5 * S - 1), 1, "a queue that ends in 1 ns");
    is_u64(xl_meter_queue_ns(&meter, 5 * S), 0, "one that ends now is none");
    is_u64(xl_meter_queue_ns(&meter, NEVER), 0, "nor is one that has ended");
    is_u64(xl_meter_queue_ns(&meter, 0), 5 * S, "all of the clock");
    ok(meter.tat_ns == 5 * S && meter.units == 9, "a look moves nothing");
}

#define THREADS 4
#define TAKES 300000
#define START (100 * S)

static pthread_barrier_t all_there; /* or the first would be done before the last begins */

typedef struct {
    xl_meter_t *meter;
    uint64_t seed;
    uint64_t kept, costs;
} taker_t;

static void *take_and_give(void *data)
{
    taker_t *taker = data;
    uint64_t i, cost;

    pthread_barrier_wait(&all_there);
    for (i = 0; i < TAKES; i++) {
        uint64_t n = (taker->seed + i * 7919) % 1500;

        xl_meter_reserve(taker->meter, seven_per_3s, n, 0, START, &cost);
        if (i % 3) {
            taker->kept += n;
            taker->costs += cost;
        } else {
            xl_meter_release(taker->meter, seven_per_3s, n);
        }
    }
    return NULL;
}

/* Without releases the ranges are disjoint: the costs add up to the nanosecond. */
static void *only_take(void *data)
{
    taker_t *taker = data;
    uint64_t i, cost;

    pthread_barrier_wait(&all_there);
    for (i = 0; i < TAKES; i++) {
        xl_meter_reserve(taker->meter, seven_per_3s, i % 5, 250 * MS, START, &cost);
        taker->kept += i % 5;
        taker->costs += cost;
    }
    return NULL;
}

/* All threads on one meter; what they kept and what it cost together. */
static taker_t run_threads(xl_meter_t *meter, void *(*work)(void *))
{
    taker_t takers[THREADS], sum = {meter, 0, 0, 0};
    pthread_t threads[THREADS];
    unsigned i;

    pthread_barrier_init(&all_there, NULL, THREADS);
    for (i = 0; i < THREADS; i++) {
        takers[i] = (taker_t){meter, i * 131, 0, 0};
        if (pthread_create(&threads[i], NULL, work, &takers[i])) {
            printf("Bail out! no thread %u\n", i);
            exit(1);
        }
    }
    for (i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        sum.kept += takers[i].kept;
        sum.costs += takers[i].costs;
    }
    pthread_barrier_destroy(&all_there);
    return sum;
}

/* In the first the queue's end stays far behind now, so that the floor never
 * moves it; in the second it begins below the floor. */
static void test_threads(void)
{
    xl_meter_t meter = {2 * START, 0};
    taker_t all = run_threads(&meter, take_and_give);

    is_u64(meter.units, all.kept, "no take and no release of 4 threads is lost");
    is_u64(meter.tat_ns, 2 * START + xl_rate_ns(seven_per_3s, all.kept), "4 threads queue for exactly their sum");

    meter = (xl_meter_t){0, 0};
    all = run_threads(&meter, only_take);
    is_u64(all.costs, xl_rate_ns(seven_per_3s, all.kept), "the slots of 4 threads are disjoint parts of one line");
    is_u64(meter.tat_ns, START - 250 * MS + all.costs, "which begins one depth ago");
}

int main(void)
{
    test_moments();
    test_conversions();
    test_drift();
    test_request_burst();
    test_release();
    test_raise();
    test_queue();
    test_threads();
    return done_testing();
}
