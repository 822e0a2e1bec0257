/* SPDX-License-Identifier: Apache-2.0
 *
 * Sharers of one level and single sessions in virtual time (simulator.h),
 * against the bounds of the design. Prints what it got as rows of the table in
 * docs/performance.md; a line of a session is read by bench/session, too.
 */
#include "sim_report.h"

static const uint32_t processes[] = {1, 2, 8};

static group_t top, mid[2]; /* the levels of the running scenario */

/* One level among sharers; with 2 levels each session has a rate of its own above
 * its share, with 3 half of them are in a virtual host each that would let more
 * through. `memory`: every other one sends from memory. */
static void add_sharers(uint64_t mbps, uint32_t sharers, unsigned levels, bool memory)
{
    uint32_t i;

    top = (group_t){.rate = MBPS(mbps)};
    mid[0] = mid[1] = (group_t){.rate = MBPS(mbps * 6 / 5)};
    for (i = 0; i < sharers; i++) {
        group_t *above[] = {&top, &mid[i % 2]};
        session_t *s =
            add(EPOCH, levels > 1 ? KBPS(mbps * 1500 / sharers) : NO_RATE, ENDLESS, above, levels > 2 ? 2 : 1);

        s->cap = memory && i % 2 ? MEMORY_BYTES : 0;
    }
}

/* Of few sharers much is under way at any moment: 5 ms that one wakes up late
 * are half a percent of a second for one, and more than the tolerance for some
 * of ten, whoever decided when it was due. Those count in the second in which
 * they were due, too; what was written must still add up. */
static void check_seconds(const char *what, uint32_t sharers)
{
    seconds_t written = seconds_of(top.series.written, top.rate, 20);
    double some = !world.faults.late_mean || sharers >= 100 ? 0 : sharers > 1 ? 0.01 : 0.02;

    if (world.faults.stall_one_in && sharers == 1)
        some = 0.2; /* he is what stands still */
    seconds_nearly(what, "as written", written, some);
    if (some > 0 && sharers > 1)
        seconds_within(what, "as due", seconds_of(top.series.due, top.rate, 20));
    within(what, "all of 20 s", written.mean, 0.995, 1.001);
}

/* 20 s, because a chunk of two segments is 3 % of what one of 1,000 gets in 10. */
static void test_shared(uint32_t sharers, unsigned levels, const faults_t *f, uint32_t in)
{
    char what[TEXT];
    double fairness;

    snprintf(what, sizeof what, "%u share%s 10 MB/s", sharers, sharers > 1 ? "" : "s");
    begin(f, in, sharers + levels);
    add_sharers(10, sharers, levels, false);
    run_until(EPOCH + 20 * S);
    fairness = jain(0, sharers);
    run_until(EPOCH + 21 * S);
    check_seconds(what, sharers);
    if (sharers > 1)
        within(what, "Jain", fairness, 0.9999, 1);
}

/* What goes out of memory at once is less than a chunk of few sharers that have
 * much: those who send files then get more. */
static void test_memory(uint64_t mbps, uint32_t sharers, double some, const faults_t *f, uint32_t in)
{
    char what[TEXT];

    snprintf(what, sizeof what, "%u share %" PRIu64 " MB/s, every other one sends from memory", sharers, mbps);
    begin(f, in, sharers);
    add_sharers(mbps, sharers, 1, true);
    run_until(EPOCH + 20 * S);
    nearly(what, "Jain", jain(0, sharers), 0.9999, 1, some);
    run_until(EPOCH + 21 * S);
    within(what, "all of 20 s", seconds_of(top.series.written, top.rate, 20).mean, 0.995, 1.001);
}

/* One response of ten seconds, alone with a rate of its own. */
static void test_session(uint64_t kbps, double least, double most, uint64_t cap, const faults_t *f)
{
    char what[TEXT];
    session_t *s;
    double got;

    snprintf(what, sizeof what, "one session at %" PRIu64 " kB/s%s", kbps, cap ? ", from memory" : "");
    begin(f, 1, kbps);
    s = add(EPOCH, KBPS(kbps), kbps * 10000, NULL, 0);
    s->cap = cap;
    run_until(EPOCH + 12 * S);
    got = 10e9 / (double)(s->finished - EPOCH);
    printf("# %s, %-30s %.4f of asked over 10 s, at most %.1f ms ahead in the first 5 s\n", what, f->name, got,
           s->ahead / 1e6);
    within(what, "average over 10 s", got, least, most);
    within(what, "most ms ahead in the first 5 s", s->ahead / 1e6, 0, 60);
}

/* One request after the other on a kept connection for a minute. */
static void test_kept(const faults_t *f)
{
    static const char what[] = "one session at 500 kB/s, responses of 1 to 200 kB on one connection";
    session_t *s;

    begin(f, 1, 500);
    s = add(EPOCH, KBPS(500), 1000, NULL, 0);
    s->size_most = 200000;
    s->more = UINT64_MAX;
    s->pause = MS;
    run_until(EPOCH + 60 * S);
    within(what, "of its rate over a minute", (double)s->sent / 30e6, 0.995, 1.02);
    within(what, "most ms ahead in the first 5 s", s->ahead / 1e6, 0, 60);
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
        char text[2 * TEXT];
        session_t *s;

        begin(&kinds[0], 1, 1);
        s = add(EPOCH, r->rate, r->bytes, NULL, 0);
        run_until(EPOCH + 60 * S);
        took = (double)s->finished - (double)EPOCH;
        snprintf(text, sizeof text, "%" PRIu64 " bytes that take %.3f s: %s", r->bytes, line / 1e9,
                 r->one_chunk ? "at once" : "their line, to the grid");
        in_range(took / line, r->one_chunk ? 0 : 1, r->one_chunk ? 0 : 1 + 2e6 / line, text);
    }
}

int main(void)
{
    static const uint32_t sharers[] = {1, 10, 100, 1000};
    static const uint64_t kbps[] = {100, 500, 5000, 50000};
    const faults_t *f;
    unsigned levels;
    size_t i, p;

    for (f = kinds; f < kinds + KINDS; f++) {
        for (i = 0; i < COUNT_OF(sharers); i++)
            for (p = 0; p < COUNT_OF(processes); p++)
                for (levels = 1; levels <= 3; levels++)
                    test_shared(sharers[i], levels, f, processes[p]);
        for (p = 0; p < COUNT_OF(processes); p++) {
            test_memory(10, 2, 0.2, f, processes[p]);
            test_memory(10, 10, f->stall_one_in ? 0.0001 : 0, f, processes[p]);
            test_memory(100, 10, 0.4, f, processes[p]);
        }
        test_session(10, 0.98, 1.02, 0, f);
        for (i = 0; i < COUNT_OF(kbps); i++)
            test_session(kbps[i], 0.997, 1.003, 0, f);
        test_session(5000, 0.997, 1.003, MEMORY_BYTES, f);
        test_session(50000, 0.997, 1.003, MEMORY_BYTES, f);
        test_kept(f);
    }
    test_responses();
    print_table();
    return done_testing();
}
