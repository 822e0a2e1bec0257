/* SPDX-License-Identifier: Apache-2.0
 *
 * A million requests that come at random, at random rates: in no window whatever
 * do more pass than its time yields, the burst, and the one that begins it (less
 * than two nanoseconds of rounding: one of the queue, one of the burst); and
 * hardly fewer than the best that anybody could let pass, reckoned here by itself
 * without any rounding.
 */
#include "world.h"

#define ROUNDS 200u
#define REQUESTS 5000u /* in each */
#define CELLS 128u

typedef __int128 wide_t;

typedef struct {
    xl_limit_t limit;
    uint64_t mean_ns; /* between two that come, 0: all at once */
    bool costs;
} course_t;

static uint64_t state = 42;

static uint64_t draw(uint64_t below)
{
    state = mix(state);
    return below ? state % below : 0;
}

/* Of rates from one in nine days to a million a second, under loads of a half to twelve. */
static course_t draw_course(unsigned round)
{
    static const uint64_t pers[] = { 1000000, XL_NS_PER_S, 7 * XL_NS_PER_S, 60 * XL_NS_PER_S, 777600 * XL_NS_PER_S };
    uint64_t units = 1 + draw(draw(2) ? 10 : 1000), per_ns = pers[draw(5)];
    course_t c = { .limit = requests(units, per_ns, draw(3) ? draw(200) : 0, XL_NO_DELAY) };

    c.mean_ns = per_ns / units / (1 + draw(24)) * 2;
    c.costs = round % 4 == 3;
    if (round % 3 == 0)
        c.limit.delay = draw(c.limit.burst + 1);
    return c;
}

/* Sums are of served units. In any closed window from i to j no more than its time
 * yields, the burst and one, to two nanoseconds. */
typedef struct {
    wide_t units, per_ns, burst;
    wide_t sum, least; /* least: of what a window that begins there has to its credit */
    bool begun;
    unsigned broken;
} window_t;

static void window_passes(window_t *w, uint64_t ns, uint64_t cost)
{
    wide_t from = w->sum * w->per_ns - w->units * (wide_t)ns;

    if (!w->begun || from < w->least)
        w->least = from;
    w->begun = true;
    w->sum += cost;
    w->broken += w->sum * w->per_ns - w->units * (wide_t)ns - w->least > (w->burst + 1) * w->per_ns + 2 * w->units;
}

/* The best that can be had: without any rounding. */
typedef struct {
    wide_t tat, units, per_ns; /* tat: in 1/units ns */
    uint64_t burst, sum;
} best_t;

static void best_gets(best_t *b, uint64_t ns, uint64_t cost)
{
    wide_t start = b->tat > ns * b->units ? b->tat : ns * b->units;

    if (!cost || start + (cost - 1) * b->per_ns > ns * b->units + b->burst * b->per_ns)
        return;
    b->tat = start + cost * b->per_ns;
    b->sum += cost;
}

typedef struct {
    uint64_t broken, early, ours, best, asked;
} result_t;

static void run_course(const course_t *c, result_t *r)
{
    world_t *w = world_new(CELLS);
    xl_facts_t facts = process(w, 0);
    xl_applied_t a = world_limit(w, &c->limit, &status, 0);
    window_t came = { .units = c->limit.rate.units, .per_ns = c->limit.rate.per_ns, .burst = c->limit.burst };
    window_t went = came;
    best_t best = { .units = came.units, .per_ns = came.per_ns, .burst = c->limit.burst };
    uint64_t ns = 0;

    went.burst = c->limit.delay == XL_NO_DELAY ? came.burst : c->limit.delay;
    for (unsigned i = 0; i < REQUESTS; i++) {
        xl_verdict_t v;

        ns += draw(4) ? draw(c->mean_ns) : draw(8) ? 0 : 5 * c->mean_ns;
        a.cost = c->costs ? draw(4) : 1;
        v = xl_decide(&a, 1, &facts, at_ns(ns));
        r->asked += a.cost;
        best_gets(&best, ns, a.cost);
        if (v.decision != XL_DECISION_SERVE)
            continue;
        window_passes(&came, ns, a.cost);
        if (!c->costs) /* of one that costs more the last unit has its turn then */
            window_passes(&went, ns + v.delay_ns, 1);
    }
    r->broken += came.broken;
    r->early += went.broken;
    r->ours += (uint64_t)came.sum;
    r->best += best.sum;
    world_free(w, CELLS);
}

static void test_courses(void)
{
    result_t all = { 0 };
    double least = 1;

    for (unsigned i = 0; i < ROUNDS; i++) {
        course_t c = draw_course(i);
        result_t r = { 0 };
        double share;

        run_course(&c, &r);
        share = (double)r.ours / (double)r.best;
        least = share < least ? share : least;
        all.broken += r.broken;
        all.early += r.early;
        all.ours += r.ours;
        all.best += r.best;
        all.asked += r.asked;
    }
    printf("# %" PRIu64 " units asked, %" PRIu64 " allowed, %" PRIu64 " granted\n", all.asked, all.best, all.ours);
    is_u64(all.broken, 0, "in no window more than its time yields and the burst");
    is_u64(all.early, 0, "nor more than that of delay=, where the others wait");
    ok(all.asked > 2 * all.best, "under overload");
    in_range(least, 0.998, 1.002, "and in no course less than 0.998 of what can be allowed");
}

/* What is allowed by the text: rate x time. */
static void test_overload(void)
{
    for (uint64_t burst = 1; burst <= 1000; burst *= 10) {
        course_t c = { .limit = requests(100, XL_NS_PER_S, burst, XL_NO_DELAY) };
        world_t *w = world_new(CELLS);
        xl_facts_t facts = process(w, 0);
        xl_applied_t a = world_limit(w, &c.limit, &status, 0);
        uint64_t ns = 0, served = 0;

        for (unsigned i = 0; i < 100000; i++) {
            ns += draw(2000000); /* a thousand in a second */
            served += xl_decide(&a, 1, &facts, at_ns(ns)).decision == XL_DECISION_SERVE;
        }
        in_range((double)served / (100.0 * (double)ns / 1e9 + (double)burst), 0.998, 1.0005,
                 "ten times overloaded: the rate, and the burst once");
        world_free(w, CELLS);
    }
}

int main(void)
{
    test_courses();
    test_overload();
    return done_testing();
}
