/* SPDX-License-Identifier: Apache-2.0
 *
 * Paced sessions in virtual time: each scenario prints what it got and holds it
 * against the bounds of the design (docs/performance.md has the same measured
 * on a real server). The simulator itself is simulator.h.
 */
#include "simulator.h"
#include "tap.h"

#define TEXT 120
#define COUNT_OF(a) (sizeof(a) / sizeof *(a))

static const faults_t faults[] = {
    {"punctual", 0, 0, false},
    {"late", 5 * MS, 0, false},
    {"late, stalls", 5 * MS, 500, false},
};

static void within(double got, double low, double high, const char *what, const char *of)
{
    char text[2 * TEXT];

    snprintf(text, sizeof text, "%s: %s", what, of);
    in_range(got, low, high, text);
}

static void print_seconds(const char *what, const char *counted, seconds_t got)
{
    printf("# %-50s %-8s first %.4f, later %.4f .. %.4f, mean %.4f\n", what, counted, got.first, got.least, got.most,
           got.mean);
}

static void in_bounds(const char *what, seconds_t got)
{
    within(got.first, 0.95, 1.01, what, "the first second");
    within(got.least, 0.99, 1.01, what, "the least of the later ones");
    within(got.most, 0.99, 1.01, what, "the most of the later ones");
}

static group_t top, mid[2]; /* the levels of the running scenario */

/* One level at 10 MB/s among sharers; with 2 levels each session has a rate of
 * its own above its share, with 3 half of them are in a virtual host each that
 * would let more through. */
static void add_sharers(uint32_t sharers, unsigned levels)
{
    uint32_t i;

    top = (group_t){.rate = MBPS(10)};
    mid[0] = mid[1] = (group_t){.rate = MBPS(12)};
    for (i = 0; i < sharers; i++) {
        group_t *above[] = {&top, &mid[i % 2]};

        add(EPOCH, levels > 1 ? KBPS(15000 / sharers) : NO_RATE, ENDLESS, above, levels > 2 ? 2 : 1);
    }
}

static void add_later(uint64_t at, uint32_t n, xl_rate_t own)
{
    group_t *above[] = {&top};

    while (n--)
        add(at, own, ENDLESS, above, 1);
}

/* A chunk of 1 or 10 sharers is 10 % or 1 % of a second: one that is late at
 * the edge of a calendar second is the whole tolerance, whoever decided when it
 * was due. There, late ones count in the second in which they were due; what
 * was written must still add up over the whole time.
 *
 * 20 s, because a chunk of two segments is 3 % of what one of 1,000 gets in 10. */
static void test_shared(uint32_t sharers, unsigned levels, const faults_t *f)
{
    char what[TEXT];
    seconds_t written, due;
    double fairness;
    bool coarse = f->late_mean && sharers <= 10;

    snprintf(what, sizeof what, "%u sharers, %u level%s, %s", sharers, levels, levels > 1 ? "s" : "", f->name);
    begin(f, sharers + levels);
    add_sharers(sharers, levels);
    run_until(EPOCH + 20 * S);
    fairness = jain(0, sharers);
    run_until(EPOCH + 21 * S);
    written = seconds_of(top.written, top.rate, 20);
    due = seconds_of(top.due, top.rate, 20);
    print_seconds(what, "written", written);
    if (coarse)
        print_seconds(what, "due", due);
    printf("# %-50s Jain %.6f, %" PRIu64 " wake-ups\n", what, fairness, world.wakeups);
    in_bounds(what, coarse ? due : written);
    within(written.mean, 0.995, 1.001, what, "all of it");
    within(fairness, 0.9999, 1, what, "Jain");
}

/* What a process holds while it stands still is written when it wakes up: it
 * may move over the edge of a second, and is not lost. */
static void test_process_stalls(uint32_t sharers)
{
    static const faults_t f = {"late, a process stalls", 5 * MS, 0, true};
    char what[TEXT];
    seconds_t got;

    snprintf(what, sizeof what, "%u sharers, %s", sharers, f.name);
    begin(&f, sharers);
    add_sharers(sharers, 1);
    run_until(EPOCH + 21 * S);
    got = seconds_of(top.written, top.rate, 20);
    print_seconds(what, "written", got);
    within(got.mean, 0.995, 1.001, what, "nothing is lost");
    within(got.least, 0.9, 1, what, "the least of a second");
    within(got.most, 1, 1.1, what, "the most of a second");
}

static void test_slow_readers(uint32_t sharers, const faults_t *f)
{
    char what[TEXT], of[TEXT];
    uint64_t slow = 0, fast = 0;
    uint32_t slows = sharers / 5, i;
    unsigned from;

    snprintf(what, sizeof what, "%u sharers, 20 %% slow, %s", sharers, f->name);
    begin(f, sharers);
    add_sharers(sharers, 1);
    for (i = 0; i < slows; i++)
        world.sessions[i].drain_bps = UINT64_C(10000000) / sharers / 5;
    for (from = 0; from < 20; from += 5) {
        double slow_part, got;

        run_until(EPOCH + (from + 5) * S);
        slow_part = (double)(sent_by(0, slows) - slow) / 50e6;
        got = (double)(sent_by(slows, sharers) - fast) / 50e6 / (1 - slow_part);
        printf("# %-50s from %2u s  the slow %.4f of all, the others %.4f of what is left\n", what, from, slow_part,
               got);
        snprintf(of, sizeof of, "what is left goes to the others, from second %u", from);
        within(got, 0.97, 1.03, what, of);
        slow = sent_by(0, slows);
        fast = sent_by(slows, sharers);
    }
    within((double)slow / (20 * 10e6 / 25), 0.95, 1.2, what, "the slow have what they read and two chunks");
    within(jain(slows, sharers), 0.9999, 1, what, "Jain of the others");
}

static void test_joining(const faults_t *f)
{
    char what[TEXT];
    uint64_t then;
    seconds_t got;
    uint32_t waiting = 0, i;

    snprintf(what, sizeof what, "200 join 100 in one instant, %s", f->name);
    begin(f, 300);
    add_sharers(100, 1);
    add_later(EPOCH + 5500 * MS, 200, NO_RATE);
    run_until(EPOCH + 5800 * MS);
    then = sent_by(0, 100);
    for (i = 100; i < 300; i++)
        waiting += !world.sessions[i].sent;
    within(waiting, 0, 0, what, "nobody waits longer than 0.3 s for a first byte");
    run_until(EPOCH + 20 * S);
    within((double)(sent_by(0, 100) - then) / 14.2e6 * 3 / 10, 0.98, 1.02, what, "the old have a third from then on");
    within(jain(100, 300), 0.9999, 1, what, "Jain of the new");
    run_until(EPOCH + 21 * S);
    got = seconds_of(top.written, top.rate, 20);
    print_seconds(what, "written", got);
    in_bounds(what, got);
}

static void test_leaving(const faults_t *f)
{
    char what[TEXT];
    uint64_t then;
    seconds_t got;
    uint32_t i;

    snprintf(what, sizeof what, "200 of 300 die in one instant, %s", f->name);
    begin(f, 300);
    add_sharers(300, 1);
    for (i = 0; i < 200; i++)
        push(EPOCH + 5300 * MS, i, DIE);
    run_until(EPOCH + 5600 * MS);
    then = sent_by(200, 300);
    within(top.active, 100, 100, what, "counted out at their next wake-up");
    run_until(EPOCH + 6600 * MS);
    within((double)(sent_by(200, 300) - then) / 10e6, 0.97, 1.03, what, "the rest have everything after 0.3 s");
    run_until(EPOCH + 11 * S);
    got = seconds_of(top.written, top.rate, 10);
    print_seconds(what, "written", got);
    in_bounds(what, got);
}

static void test_churn(const faults_t *f)
{
    char what[TEXT];
    seconds_t got;
    uint32_t gone = 0, i;

    snprintf(what, sizeof what, "100 sharers, 50 a second die and join, %s", f->name);
    begin(f, 50);
    add_sharers(100, 1);
    for (i = 0; i < 500; i++) {
        push(EPOCH + S + i * 20 * MS, i, DIE);
        add_later(EPOCH + S + i * 20 * MS, 1, NO_RATE);
    }
    run_until(EPOCH + 12 * S);
    got = seconds_of(top.written, top.rate, 11);
    print_seconds(what, "written", got);
    in_bounds(what, got);
    for (i = 0; i < 500; i++)
        gone += world.sessions[i].gone && !world.sessions[i].held;
    within(gone, 500, 500, what, "who died is gone and holds nothing");
    within(top.active, 100, 100, what, "100 are active");
}

/* One response of ten seconds, alone with a rate of its own. */
static void test_session(uint64_t kbps, double least, double most, const faults_t *f)
{
    char what[TEXT];
    session_t *s;
    double got;

    snprintf(what, sizeof what, "one session at %" PRIu64 " kB/s, %s", kbps, f->name);
    begin(f, kbps);
    s = add(EPOCH, KBPS(kbps), kbps * 10000, NULL, 0);
    run_until(EPOCH + 12 * S);
    got = 10e9 / (double)(s->finished - EPOCH);
    printf("# %-50s %.4f of asked over 10 s, at most %.1f ms ahead in the first 5 s\n", what, got, s->ahead / 1e6);
    within(got, least, most, what, "average over 10 s");
    within(s->ahead / 1e6, 0, 60, what, "ms ahead of its line");
}

/* One that fits into its first chunk goes at once, from rest; what comes after
 * it on its level waits for it. */
typedef struct {
    uint64_t bytes;
    xl_rate_t rate;
    bool one_chunk;
} response_t;

static const response_t responses[] = {
    {UINT64_C(10000), KBPS(10), false},      {UINT64_C(100001), KBPS(100), false},
    {UINT64_C(300000), KBPS(100), false},    {UINT64_C(1048576), KBPS(1000), false},
    {UINT64_C(3333333), KBPS(500), false},   {UINT64_C(50000000), MBPS(50), false},
    {UINT64_C(1000000000), MBPS(50), false}, {UINT64_C(2500000), KBPS(100), false},
    {UINT64_C(123456), {100003, 3 * S}, false}, {UINT64_C(5000), {1000, 3 * S}, false},
    {UINT64_C(7), {1, S}, true},             {UINT64_C(2500), KBPS(100), true},
    {UINT64_C(2501), KBPS(100), false},
};

static void test_responses(void)
{
    size_t i;

    for (i = 0; i < COUNT_OF(responses); i++) {
        const response_t *r = &responses[i];
        double line = (double)xl_rate_ns(r->rate, r->bytes), took;
        char what[TEXT];
        session_t *s;

        snprintf(what, sizeof what, "%" PRIu64 " bytes that take %.3f s", r->bytes, line / 1e9);
        begin(&faults[0], 1);
        s = add(EPOCH, r->rate, r->bytes, NULL, 0);
        run_until(EPOCH + 60 * S);
        took = (double)s->finished - (double)EPOCH;
        printf("# %-50s took %.4f s, %.5f of it\n", what, took / 1e9, took / line);
        if (r->one_chunk)
            within(took / line, 0, 0, what, "at once");
        else
            within(took / line, 1, 1.01 + 2e6 / line, what, "its line, to the grid");
    }
}

/* Sessions of 500 kB/s under 10 MB/s. In the first 5 s a session's chunk is
 * 50 kB, and a second may hold one more or less of them. */
static void test_two_levels(uint32_t sessions, const faults_t *f)
{
    char what[TEXT];
    double want = sessions < 20 ? sessions / 20.0 : 1, most = 0, ahead = 0;
    seconds_t got;
    uint32_t i;

    snprintf(what, sizeof what, "%u of 500 kB/s under 10 MB/s, %s", sessions, f->name);
    begin(f, sessions);
    add_sharers(0, 1);
    add_later(EPOCH, sessions, KBPS(500));
    run_until(EPOCH + 6 * S);
    got = seconds_of(top.written, top.rate, 5);
    for (i = 0; i < sessions; i++) {
        seconds_t own = seconds_of(world.sessions[i].own.written, KBPS(500), 5);

        most = own.first > most ? own.first : own.most > most ? own.most : most;
        ahead = world.sessions[i].ahead > ahead ? world.sessions[i].ahead : ahead;
    }
    print_seconds(what, "written", got);
    printf("# %-50s a session's most in a second %.4f, %.1f ms ahead\n", what, most, ahead / 1e6);
    within(got.mean / want, 0.98, 1.01, what, "used as far as possible");
    within(got.first, 0, 1.01, what, "the level in the first second");
    within(got.most, 0, 1.01, what, "the level in any later one");
    within(most, sessions > 20 ? 0.2 : 1, 1.1, what, "a session in any second, and a chunk");
    within(ahead / 1e6, 0, 60, what, "ms that a session is ahead of its line");
}

/* A level that is used in part saves nothing up for a crowd that joins: what
 * was reserved before they came and is not yet written, at most 0.1 s of it, is
 * all that a second may have more. Nor does a session save up what the crowd
 * kept from it. */
static void test_crowd(uint32_t before, const faults_t *f)
{
    char what[TEXT];
    double most = 0;
    uint32_t i, second;

    snprintf(what, sizeof what, "a crowd comes to %u of 500 kB/s and goes, %s", before, f->name);
    begin(f, before);
    add_sharers(0, 1);
    add_later(EPOCH, before, KBPS(500));
    add_later(EPOCH + 2 * S, 300, KBPS(500));
    for (i = before; i < world.count; i++)
        push(EPOCH + 5 * S, i, DIE);
    run_until(EPOCH + 9 * S);
    for (i = 0; i < before; i++)
        for (second = 5; second < 8; second++)
            if ((double)world.sessions[i].own.written[second] / 500e3 > most)
                most = (double)world.sessions[i].own.written[second] / 500e3;
    printf("# %-50s the second it comes %.4f, a session's most when it goes %.4f\n", what,
           (double)top.written[2] / 10e6, most);
    within((double)top.written[2] / 10e6, 0.99, 1.0 + before / 200.0 + 0.01, what, "the second it comes");
    within((double)top.written[3] / 10e6, 0.99, 1.01, what, "the second after");
    within(most, 1, 1.201, what, "a session's most when it has gone, and a chunk of 200 ms");
}

/* 10 sharers in one virtual host, 90 in the other, 4 MB/s each, under a server
 * of 6 MB/s: what the ninety may not have goes to the ten. */
static void test_three_levels(const faults_t *f)
{
    char what[TEXT];
    seconds_t few, many, all;
    uint32_t i;

    snprintf(what, sizeof what, "10 and 90 in 4 MB/s each under 6 MB/s, %s", f->name);
    begin(f, 3);
    top = (group_t){.rate = MBPS(6)};
    mid[0] = mid[1] = (group_t){.rate = MBPS(4)};
    for (i = 0; i < 100; i++) {
        group_t *above[] = {&mid[i >= 10], &top};

        add(EPOCH, NO_RATE, ENDLESS, above, 2);
    }
    run_until(EPOCH + 11 * S);
    few = seconds_of(mid[0].written, mid[0].rate, 10);
    many = seconds_of(mid[1].written, mid[1].rate, 10);
    all = seconds_of(top.written, top.rate, 10);
    print_seconds(what, "ten", few);
    print_seconds(what, "ninety", many);
    print_seconds(what, "server", all);
    within(all.mean, 0.98, 1.001, what, "the server is used");
    within(all.most, 0.99, 1.01, what, "and never exceeded");
    within(many.most, 0.99, 1.01, what, "nor the virtual host");
    within(few.mean, 0.45, 0.55, what, "what is left goes to the ten");
}

int main(void)
{
    static const uint32_t sharers[] = {1, 10, 100, 1000}, sessions[] = {4, 20, 100};
    static const uint64_t kbps[] = {100, 500, 5000, 50000};
    const faults_t *f;
    unsigned levels;
    size_t i;

    for (f = faults; f < faults + COUNT_OF(faults); f++) {
        for (i = 0; i < COUNT_OF(sharers); i++)
            for (levels = 1; levels <= 3; levels++)
                test_shared(sharers[i], levels, f);
        for (i = 1; i < COUNT_OF(sharers); i++)
            test_slow_readers(sharers[i], f);
        for (i = 0; i < COUNT_OF(kbps); i++)
            test_session(kbps[i], 0.997, 1.003, f);
        test_session(10, 0.98, 1.02, f);
        for (i = 0; i < COUNT_OF(sessions); i++)
            test_two_levels(sessions[i], f);
        test_crowd(4, f);
        test_crowd(19, f);
        test_joining(f);
        test_leaving(f);
        test_churn(f);
        test_three_levels(f);
    }
    for (i = 1; i < COUNT_OF(sharers); i++)
        test_process_stalls(sharers[i]);
    test_responses();
    return done_testing();
}
