/* SPDX-License-Identifier: Apache-2.0
 *
 * A rate of requests, as tables of moments to the nanosecond: rest, burst, its
 * edges, a clock that stands or goes back, counters that are full, costs, delays
 * as nginx counts them, dry run, and the rate of a speed answer.
 */
#include "world.h"

#define MS XL_NS_PER_MS
#define SECOND XL_NS_PER_S
#define CELLS 128u

enum { PASS = XL_VERDICT_PASSED, WAIT = XL_VERDICT_DELAYED, NO = XL_VERDICT_REJECTED };

typedef struct {
    uint64_t ns, cost;
    int verdict;
    uint64_t delay_ns, retry_s, remaining, reset_s;
} moment_t;

static void play(const char *what, xl_limit_t limit, const moment_t *m, size_t n)
{
    static const xl_key_e keys[] = { XL_KEY_ALL, XL_KEY_CLIENT };

    for (size_t k = 0; k < 2; k++) {
        world_t *w = world_new(CELLS);
        xl_facts_t facts = process(w, 1);
        xl_applied_t a;

        limit.key = keys[k];
        a = world_limit(w, &limit, &status, 7);
        for (size_t i = 0; i < n; i++) {
            xl_verdict_t v;

            a.cost = m[i].cost;
            v = serve(&a, 1, &facts, 200, at_ns(m[i].ns));
            printf("# %s, key %zu, at %" PRIu64 " ns\n", what, k, m[i].ns);
            is_i64(v.verdict, m[i].verdict, "verdict");
            is_u64(v.delay_ns, m[i].delay_ns, "delay");
            is_u64(v.retry_after_s, m[i].retry_s, "retry after");
            is_u64(v.remaining, m[i].remaining, "remaining");
            is_u64(v.reset_s, m[i].reset_s, "reset");
        }
        world_free(w, CELLS);
    }
}

#define PLAY(what, limit, moments) play(what, limit, moments, sizeof(moments) / sizeof(*(moments)))

static void test_moments(void)
{
    static const moment_t burst[] = {
        /* from rest three at once */
        { 0, 1, PASS, 0, 0, 2, 1 }, { 0, 1, PASS, 0, 0, 1, 1 }, { 0, 1, PASS, 0, 0, 0, 1 }, { 0, 1, NO, 0, 1, 0, 1 },
        /* the edge of the next one, and the clock stands */
        { 100 * MS - 1, 1, NO, 0, 1, 0, 1 }, { 100 * MS, 1, PASS, 0, 0, 0, 1 }, { 100 * MS, 1, NO, 0, 1, 0, 1 },
        { 100 * MS + 1, 1, NO, 0, 1, 0, 1 },
        /* it goes back */
        { 0, 1, NO, 0, 1, 0, 1 }, { 50 * MS, 1, NO, 0, 1, 0, 1 },
        { 200 * MS - 1, 1, NO, 0, 1, 0, 1 }, { 200 * MS, 1, PASS, 0, 0, 0, 1 },
        /* a long rest saves up nothing more */
        { 1000000 * SECOND, 1, PASS, 0, 0, 2, 1 }, { 1000000 * SECOND, 1, PASS, 0, 0, 1, 1 },
        { 1000000 * SECOND, 1, PASS, 0, 0, 0, 1 }, { 1000000 * SECOND, 1, NO, 0, 1, 0, 1 },
    };
    static const moment_t none[] = {
        { 0, 1, PASS, 0, 0, 0, 1 }, { 0, 1, NO, 0, 1, 0, 1 }, { SECOND / 3 - 1, 1, NO, 0, 1, 0, 1 },
        { SECOND / 3, 1, PASS, 0, 0, 0, 1 }, { 2 * SECOND / 3 - 1, 1, NO, 0, 1, 0, 1 },
        { 2 * SECOND / 3, 1, PASS, 0, 0, 0, 1 }, { SECOND - 1, 1, NO, 0, 1, 0, 1 }, { SECOND, 1, PASS, 0, 0, 0, 1 },
    };
    static const moment_t waits[] = {
        { 0, 1, PASS, 0, 0, 3, 1 }, { 0, 1, PASS, 0, 0, 2, 1 }, { 0, 1, WAIT, 100 * MS, 0, 1, 1 },
        { 0, 1, WAIT, 200 * MS, 0, 0, 1 }, { 0, 1, NO, 0, 1, 0, 1 },
        { 100 * MS - 1, 1, NO, 0, 1, 0, 1 }, { 100 * MS, 1, WAIT, 200 * MS, 0, 0, 1 },
        { 300 * MS + 1, 1, WAIT, 100 * MS - 1, 0, 1, 1 }, { 500 * MS, 1, PASS, 0, 0, 2, 1 },
    };
    static const moment_t costs[] = {
        { 0, 4, PASS, 0, 0, 6, 1 }, { 0, 0, PASS, 0, 0, 6, 1 }, { 0, 7, NO, 0, 1, 6, 1 }, { 0, 6, PASS, 0, 0, 0, 1 },
        { 0, 0, PASS, 0, 0, 0, 1 }, { 0, 1, NO, 0, 1, 0, 1 }, { 300 * MS - 1, 3, NO, 0, 1, 2, 1 },
        { 300 * MS, 3, PASS, 0, 0, 0, 1 }, { 100 * SECOND, 11, NO, 0, 0, 10, 0 },
        { 100 * SECOND, UINT64_MAX, NO, 0, 0, 10, 0 }, { 100 * SECOND, 10, PASS, 0, 0, 0, 1 },
    };

    PLAY("10/s burst=2", requests(10, SECOND, 2, XL_NO_DELAY), burst);
    PLAY("3/s", requests(3, SECOND, 0, XL_NO_DELAY), none);
    PLAY("10/s burst=3 delay=1", requests(10, SECOND, 3, 1), waits);
    PLAY("10/s burst=9", requests(10, SECOND, 9, XL_NO_DELAY), costs);
}

/* How many of twenty pass at once. */
static unsigned at_once(world_t *w, xl_applied_t *a, xl_now_t now)
{
    xl_facts_t facts = process(w, 0);
    unsigned n = 0;

    for (int i = 0; i < 20; i++)
        n += xl_decide(a, 1, &facts, now).decision == XL_DECISION_SERVE;
    return n;
}

static void test_extremes(void)
{
    static const uint64_t units[] = { 0, INT64_MAX, (uint64_t)INT64_MAX + 1, UINT64_MAX - 3, UINT64_MAX };
    static const uint64_t clocks[] = { 0, 1, BOOT_NS, INT64_MAX, (uint64_t)INT64_MAX + 1 };
    xl_limit_t limit = requests(7, SECOND, 4, XL_NO_DELAY), slow = requests(1, INT64_MAX, 1000000000, XL_NO_DELAY);
    world_t *w = world_new(CELLS);
    xl_applied_t a = world_limit(w, &limit, &status, 0), b = world_limit(w, &slow, &status, 0);
    xl_facts_t facts = process(w, 0);

    for (size_t u = 0; u < sizeof(units) / sizeof(*units); u++)
        for (size_t c = 0; c < sizeof(clocks) / sizeof(*clocks); c++) {
            xl_now_t now = { .wall_ms = T0, .mono_ns = clocks[c] }, later = now;

            later.mono_ns += SECOND + 1; /* seven sevenths, whatever was rounded */
            atomic_store(&a.entry->meter.units, units[u]);
            atomic_store(&a.entry->meter.tat_ns, 0);
            is_u64(at_once(w, &a, now), 5, "five from rest, whatever was counted before and what the clock says");
            is_u64(at_once(w, &a, later), 5, "and no more after a long rest");
        }
    atomic_store(&a.entry->meter.tat_ns, UINT64_MAX);
    ok(xl_decide(&a, 1, &facts, at(0)).decision == XL_DECISION_REFUSE, "a queue without end refuses");
    is_u64(atomic_load(&a.entry->meter.tat_ns), UINT64_MAX, "and does not begin anew");
    is_u64(at_once(w, &b, at(0)), 20, "a burst that takes longer than time lasts is no overflow");
    world_free(w, CELLS);
}

/* ngx_http_limit_req_lookup() and _account(), in thousandths of a request. */
typedef struct {
    int64_t excess, last_ms;
    bool begun;
} nginx_t;

static int64_t nginx_delay(nginx_t *n, int64_t rate, int64_t burst, int64_t delay, int64_t ms)
{
    int64_t excess = n->begun ? n->excess - rate * (ms - n->last_ms) / 1000 + 1000 : 0;

    excess = excess < 0 ? 0 : excess;
    if (excess > burst * 1000)
        return -1;
    *n = (nginx_t){ excess, ms, true };
    return excess <= delay * 1000 ? 0 : (excess - delay * 1000) * 1000 / rate;
}

static void test_nginx(void)
{
    static const int64_t rates[] = { 1, 2, 10, 100, 1000 };
    uint64_t random = 1;
    unsigned wrong = 0, waited = 0, refused = 0;

    for (int64_t burst = 0; burst < 6; burst++)
        for (int64_t delay = 0; delay <= burst; delay++)
            for (size_t r = 0; r < sizeof(rates) / sizeof(*rates); r++) {
                xl_limit_t limit = requests((uint64_t)rates[r], SECOND, (uint64_t)burst, (uint64_t)delay);
                world_t *w = world_new(CELLS);
                xl_applied_t a = world_limit(w, &limit, &status, 0);
                xl_facts_t facts = process(w, 0);
                nginx_t nginx = { 0 };
                int64_t ms = 0;

                for (int i = 0; i < 300; i++) {
                    xl_verdict_t v = xl_decide(&a, 1, &facts, at(ms));
                    int64_t theirs = nginx_delay(&nginx, rates[r] * 1000, burst, delay, ms);
                    int64_t ours = v.decision == XL_DECISION_REFUSE ? -1 : (int64_t)(v.delay_ns / MS);

                    wrong += ours != theirs;
                    waited += ours > 0;
                    refused += ours < 0;
                    random = mix(random);
                    ms += random % 3 ? 0 : (int64_t)(random >> 8) % (2500 / rates[r] + 2);
                }
                world_free(w, CELLS);
            }
    is_u64(wrong, 0, "nginx refuses the same requests, and lets the same ones wait as long");
    ok(waited > 1000 && refused > 1000, "%u waited, %u were refused", waited, refused);
}

static void test_dry_run(void)
{
    xl_limit_t limits[2] = { requests(10, SECOND, 3, 1), requests(10, SECOND, 3, 1) };
    world_t *w = world_new(CELLS);
    xl_facts_t facts = process(w, 0);
    unsigned wrong = 0, refused = 0;
    uint64_t random = 5, ns = 0;
    xl_applied_t a, b;

    limits[1].mode = XL_MODE_DRY_RUN;
    a = world_limit(w, &limits[0], &status, 0);
    b = world_limit(w, &limits[1], &status, 0);
    for (int i = 0; i < 1000; i++) {
        xl_verdict_t v = xl_decide(&a, 1, &facts, at_ns(ns)), dry = xl_decide(&b, 1, &facts, at_ns(ns));

        wrong += dry.decision != XL_DECISION_SERVE || dry.delay_ns || dry.has_remaining;
        wrong += (v.verdict == NO) != (dry.verdict == XL_VERDICT_REJECTED_DRY_RUN);
        wrong += (v.verdict == WAIT) != (dry.verdict == XL_VERDICT_DELAYED_DRY_RUN);
        wrong += a.entry->meter.tat_ns != b.entry->meter.tat_ns || a.entry->meter.units != b.entry->meter.units;
        refused += v.verdict == NO;
        random = mix(random);
        ns += random % 60 * MS;
    }
    is_u64(wrong, 0, "a dry run serves all at once and counts as if it did not");
    ok(refused > 100, "%u were refused", refused);
    world_free(w, CELLS);
}

/* Over and served all the same: nothing is taken, and who does so pays by the rate of the answer. */
static void test_speed(void)
{
    static const xl_limit_t rate = { .dimension = XL_DIM_REQUESTS, .rate = { 2, SECOND }, .delay = XL_NO_DELAY };
    static const struct {
        uint64_t ms;
        int verdict;
        uint64_t by;
    } t[] = {
        { 0, PASS, 2 },                     { 0, XL_VERDICT_PACED, 0 },   { 0, NO, 1 },
        { 499, NO, 1 },                     { 500, XL_VERDICT_PACED, 0 }, { 999, NO, 1 },
        { 1000, PASS, 2 },                  { 1000, XL_VERDICT_PACED, 0 }, { 1001, NO, 1 },
    };
    xl_limit_t limit = keyed(requests(1, SECOND, 0, XL_NO_DELAY));
    world_t *w = world_new(CELLS);
    xl_facts_t facts = process(w, 0);
    xl_applied_t list[2] = { world_limit(w, &limit, &speed, 1) };

    list[1] = of_client(&list[0], 2); /* another cell, as another salt makes it */
    list[1].limit = &rate;
    list[1].action = &status;
    list[1].part_of = 1;
    for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
        xl_verdict_t v = serve(list, 2, &facts, 200, at((int64_t)t[i].ms));

        printf("# at %" PRIu64 " ms\n", t[i].ms);
        is_i64(v.verdict, t[i].verdict, "verdict");
        is_u64(v.by, t[i].by, "by whom");
        is_i64(list[0].verdict, t[i].verdict, "which is what the limit comes to");
    }
    world_free(w, CELLS);
}

static void test_excused(void)
{
    xl_limit_t limit = requests(1, SECOND, 0, XL_NO_DELAY);
    world_t *w = world_new(CELLS);
    xl_applied_t a = world_limit(w, &limit, &redirect, 0);
    uint64_t tat_ns;

    is_u64(at_once(w, &a, at(0)), 1, "one passes");
    tat_ns = atomic_load(&a.entry->meter.tat_ns);
    a.excused = true;
    is_u64(at_once(w, &a, at(0)), 20, "who is where he would be sent is never refused");
    is_u64(atomic_load(&a.entry->meter.tat_ns), tat_ns, "and does not make the others wait longer");
    world_free(w, CELLS);
}

/* It fitted when it was looked at, and no longer when it was to be taken. */
static void test_too_late(void)
{
    xl_limit_t limit = requests(10, SECOND, 1, 0);
    world_t *w = world_new(CELLS);
    xl_facts_t facts = process(w, 0);
    xl_applied_t list[2] = { world_limit(w, &limit, &status, 0) };
    xl_verdict_t v;

    list[1] = list[0]; /* the same counter: the first of them takes what both saw */
    ok(xl_decide(list, 1, &facts, at(0)).verdict == PASS, "one passes");
    v = xl_decide(list, 2, &facts, at(0));
    ok(v.decision == XL_DECISION_REFUSE && v.verdict == NO, "of two for the last place not both get it");
    is_u64(v.retry_after_s, 1, "and the time to try again is that of the refusal, not of the wait that it was not");
    is_u64(v.delay_ns, 0, "nobody waits");
    is_u64(v.remaining, 0, "nothing is left");
    is_u64(xl_meter_queue_ns(&list[0].entry->meter, at(0).mono_ns), 100 * MS, "and what was taken is given back");
    world_free(w, CELLS);
}

/* Whom another limit refuses does not wait, and counts nowhere as one who did. */
static void test_refused_by_another(void)
{
    static const xl_mode_e modes[] = { XL_MODE_ENFORCE, XL_MODE_DRY_RUN };

    for (size_t m = 0; m < 2; m++) {
        xl_limit_t limit = requests(10, SECOND, 5, 0), block = { .dimension = XL_DIM_BLOCK };
        world_t *w = world_new(CELLS);
        xl_facts_t facts = process(w, 0);
        xl_applied_t list[2];

        limit.mode = modes[m];
        list[0] = world_limit(w, &limit, &status, 0);
        list[1] = world_limit(w, &block, &status, 0);
        xl_decide(list, 1, &facts, at(0));
        xl_decide(list, 1, &facts, at(0));
        ok(list[0].delay_ns == 100 * MS, "who comes second waits, or would");
        ok(xl_decide(list, 2, &facts, at(0)).decision == XL_DECISION_REFUSE, "who is blocked is refused");
        ok(!list[0].delay_ns && list[0].verdict == PASS, "and not let wait");
        world_free(w, CELLS);
    }
}

int main(void)
{
    test_moments();
    test_extremes();
    test_nginx();
    test_dry_run();
    test_speed();
    test_excused();
    test_too_late();
    test_refused_by_another();
    return done_testing();
}
