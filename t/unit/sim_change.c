/* SPDX-License-Identifier: Apache-2.0
 *
 * Sharers of one level that read slowly, join, leave, die, and processes that
 * stand still, in virtual time (simulator.h), against the bounds of the design.
 * Prints what it got as rows of the table in docs/performance.md.
 */
#include "sim_report.h"

static const uint32_t processes[] = {1, 2, 8};

static group_t top; /* 10 MB/s */

static void join_at(uint64_t at, uint32_t n, xl_rate_t own)
{
    group_t *above[] = {&top};

    while (n--)
        add(at, own, ENDLESS, above, 1);
}

static void start(const faults_t *f, uint32_t in, uint32_t sharers, xl_rate_t own)
{
    begin(f, in, sharers);
    top = (group_t){.rate = MBPS(10)};
    join_at(EPOCH, sharers, own);
}

/* A fifth of them reads a fifth of its share; after what the sockets take, that
 * is all they get. */
static void test_slow_readers(uint32_t sharers, const faults_t *f, uint32_t in)
{
    char what[TEXT];
    uint64_t slow = 0, fast = 0;
    uint32_t slows = sharers / 5, i;
    unsigned from;

    snprintf(what, sizeof what, "%u share 10 MB/s, 20 %% of them read slowly", sharers);
    start(f, in, sharers, NO_RATE);
    for (i = 0; i < slows; i++)
        world.sessions[i].drain_bps = UINT64_C(10000000) / sharers / 5;
    for (from = 0; from < 20; from += 5) {
        double left;

        run_until(EPOCH + (from + 5) * S);
        left = 50e6 - (double)(sent_by(0, slows) - slow);
        within(what, "of what those leave, the others get in 5 s", (double)(sent_by(slows, sharers) - fast) / left,
               0.97, 1.03);
        slow = sent_by(0, slows);
        fast = sent_by(slows, sharers);
    }
    nearly(what, "Jain of the others", jain(slows, sharers), 0.9999, 1, f->late_mean && sharers < 100 ? 0.0005 : 0);
}

/* One reads all, the others a tenth of the level each: what they leave is his in
 * every second. */
static void test_few(uint32_t slows, const faults_t *f, uint32_t in)
{
    static series_t watched;
    char what[TEXT];
    seconds_t got;
    uint32_t i;

    snprintf(what, sizeof what, "one and %u who read 1 MB/s share 10 MB/s", slows);
    start(f, in, slows + 1, NO_RATE);
    watched = (series_t){{0}, {0}};
    world.sessions[0].watch = &watched;
    for (i = 1; i <= slows; i++)
        world.sessions[i].drain_bps = 1000000;
    run_until(EPOCH + 21 * S);
    got = seconds_of(watched.written, MBPS(10 - slows), 20);
    nearly(what, "of what they leave, the one gets in a later second", got.least, 0.97, 1.03,
           f->stall_one_in ? 0.2 : f->late_mean ? 0.1 : 0); /* he is what is late */
    nearly(what, "of what they leave, the one gets in a later second", got.most, 0.97, 1.03,
           f->stall_one_in ? 0.2 : f->late_mean ? 0.1 : 0);
}

/* One wants all; the others have rates of their own, 3 MB/s together. */
static void test_alone(uint32_t sharers, const faults_t *f, uint32_t in)
{
    group_t *above[] = {&top};
    uint64_t one, others;
    char what[TEXT];

    snprintf(what, sizeof what, "%u with rates of 3 MB/s together, and one more, share 10 MB/s", sharers - 1);
    begin(f, in, sharers);
    top = (group_t){.rate = MBPS(10)};
    add(EPOCH, NO_RATE, ENDLESS, above, 1);
    while (world.count < sharers)
        add(EPOCH, BPS(3000000 / (sharers - 1)), ENDLESS, above, 1);
    run_until(EPOCH + 2 * S);
    one = sent_by(0, 1);
    others = sent_by(1, sharers);
    run_until(EPOCH + 12 * S);
    one = sent_by(0, 1) - one;
    others = sent_by(1, sharers) - others;
    nearly(what, "of what they leave, the one gets in 10 s", (double)one / (100e6 - (double)others), 0.97, 1.03,
           f->stall_one_in ? 0.1 : f->late_mean ? 0.03 : 0); /* he is what is late */
}

/* They have read all but what their sockets and a few chunks hold. */
static void test_what_slow_readers_get(uint32_t sharers)
{
    uint32_t slows = sharers / 5, i;
    uint64_t bps = UINT64_C(10000000) / sharers / 5;

    start(&kinds[1], 2, sharers, NO_RATE);
    for (i = 0; i < slows; i++)
        world.sessions[i].drain_bps = bps;
    run_until(EPOCH + 40 * S);
    for (i = 0; i < slows; i++)
        in_range((double)(world.sessions[i].sent - SOCKET_BYTES) / 40 / (double)bps, 0.95, 1.2,
                 "a slow reader has what it reads, and two chunks");
}

static void test_joining(const faults_t *f, uint32_t in)
{
    static const char what[] = "200 join 100 in one instant";
    uint32_t waiting = 0, i;
    uint64_t then;

    start(f, in, 100, NO_RATE);
    join_at(EPOCH + 5500 * MS, 200, NO_RATE);
    run_until(EPOCH + 5800 * MS);
    then = sent_by(0, 100);
    for (i = 100; i < 300; i++)
        waiting += !world.sessions[i].sent;
    holds(what, "nobody waits for a first byte after 0.3 s", waiting, 0, 0);
    run_until(EPOCH + 20 * S);
    within(what, "the first 100, of their new share from 0.3 s on", (double)(sent_by(0, 100) - then) / 14.2e6 * 3 / 10,
           0.98, 1.02);
    within(what, "Jain of the new ones", jain(100, 300), 0.9999, 1);
    run_until(EPOCH + 21 * S);
    seconds_within(what, "as written", seconds_of(top.series.written, top.rate, 20));
}

/* They are noticed when their slots are due. Dead in a row, those leave a gap in
 * which nobody else has a slot; that is not made up for, or a level that nobody
 * asks would save up as much. */
static void test_leaving(bool in_a_row, const faults_t *f, uint32_t in)
{
    const char *what = in_a_row ? "200 of 300 die in one instant, all in a row" : "200 of 300 die in one instant";
    uint64_t then;
    uint32_t i;

    start(f, in, 300, NO_RATE);
    for (i = 0; i < 200; i++)
        push(EPOCH + 5300 * MS, in_a_row ? i : i * 3 / 2, DIE);
    run_until(EPOCH + 5600 * MS);
    then = sent_by(0, 300);
    holds(what, "100 are active after 0.3 s", top.active, 100, 100);
    run_until(EPOCH + 6600 * MS);
    within(what, "of all, the rest get from 0.3 s on", (double)(sent_by(0, 300) - then) / 10e6, 0.97, 1.03);
    run_until(EPOCH + 11 * S);
    seconds_nearly(what, "as written", seconds_of(top.series.written, top.rate, 10), in_a_row ? 0.03 : 0);
}

static void test_churn(const faults_t *f, uint32_t in)
{
    static const char what[] = "100 share 10 MB/s, 50 a second die and 50 join";
    uint32_t gone = 0, i;

    start(f, in, 100, NO_RATE);
    for (i = 0; i < 500; i++) {
        push(EPOCH + S + i * 20 * MS, i, DIE);
        join_at(EPOCH + S + i * 20 * MS, 1, NO_RATE);
    }
    run_until(EPOCH + 12 * S);
    seconds_nearly(what, "as written", seconds_of(top.series.written, top.rate, 11), f->late_mean ? 0.005 : 0);
    for (i = 0; i < 500; i++)
        gone += world.sessions[i].gone && !world.sessions[i].held;
    holds(what, "500 are gone and hold nothing", gone, 500, 500);
    holds(what, "100 are active", top.active, 100, 100);
}

/* A level that is used in part saves nothing up for a crowd that joins: what
 * was reserved before they came and is not yet written, at most 0.1 s of it, is
 * all that a second may have more. Nor does a session save up what the crowd
 * kept from it. */
static void test_crowd(uint32_t before_it, const faults_t *f, uint32_t in)
{
    static series_t watched[20];
    double most = 0, high = 1.0 + before_it / 200.0 + 0.01;
    char what[TEXT];
    uint32_t i, second;

    snprintf(what, sizeof what, "300 come to %u of 500 kB/s under 10 MB/s, and go", before_it);
    start(f, in, before_it, KBPS(500));
    for (i = 0; i < before_it; i++) {
        watched[i] = (series_t){{0}, {0}};
        world.sessions[i].watch = &watched[i];
    }
    join_at(EPOCH + 2 * S, 300, KBPS(500));
    for (i = before_it; i < world.count; i++)
        push(EPOCH + 5 * S, i, DIE);
    run_until(EPOCH + 9 * S);
    for (i = 0; i < before_it; i++)
        for (second = 5; second < 8; second++)
            if ((double)watched[i].written[second] / 500e3 > most)
                most = (double)watched[i].written[second] / 500e3;
    within(what, "the second in which they come", (double)top.series.written[2] / 10e6, 0.99, high);
    within(what, "the second after", (double)top.series.written[3] / 10e6, 0.99, 1.01);
    within(what, "a session's most of its rate when they have gone", most, 0.98, 1.2);
}

/* What a process holds while it stands still is written when it wakes up: it
 * may move over the edge of a second, and is not lost. */
static void test_standing_still(uint32_t sharers, uint32_t in)
{
    static const faults_t f = {"late, processes stand still", 5 * MS, 0, true, 0};
    char what[TEXT];
    seconds_t got;

    snprintf(what, sizeof what, "%u share 10 MB/s, each process stands still for 0.05 to 0.2 s of two", sharers);
    start(&f, in, sharers, NO_RATE);
    run_until(EPOCH + 21 * S);
    got = seconds_of(top.series.written, top.rate, 20);
    within(what, "all of 20 s", got.mean, 0.995, 1.001);
    within(what, "the least of a second", got.least, 0.8, 1);
    within(what, "the most of a second", got.most, 1, 1.2);
    nearly(what, "Jain", jain(0, sharers), 0.9999, 1, 0.001);
}

int main(void)
{
    static const uint32_t sharers[] = {10, 100, 1000};
    const faults_t *f;
    size_t i, p;

    for (p = 0; p < COUNT_OF(processes); p++) {
        for (f = kinds; f < kinds + KINDS; f++) {
            for (i = 0; i < COUNT_OF(sharers); i++)
                test_slow_readers(sharers[i], f, processes[p]);
            test_few(1, f, processes[p]);
            test_few(4, f, processes[p]);
            test_alone(10, f, processes[p]);
            test_alone(100, f, processes[p]);
            test_joining(f, processes[p]);
            test_leaving(false, f, processes[p]);
            test_leaving(true, f, processes[p]);
            test_churn(f, processes[p]);
            test_crowd(4, f, processes[p]);
            test_crowd(19, f, processes[p]);
        }
        for (i = 0; i < COUNT_OF(sharers); i++)
            test_standing_still(sharers[i], processes[p]);
    }
    test_what_slow_readers_get(100);
    print_table();
    return done_testing();
}
