/* SPDX-License-Identifier: Apache-2.0
 *
 * Several levels above each other in virtual time (simulator.h): sessions with
 * a rate of their own, clients that share one over all their connections,
 * virtual hosts, a server, against the bounds of the design. Prints what it got
 * as rows of the table in docs/performance.md.
 */
#include "sim_report.h"

#define CLIENTS_MAX 40

static const uint32_t processes[] = {1, 2, 8};

static group_t top, mid[2], clients[CLIENTS_MAX];

/* Sessions of 500 kB/s under 10 MB/s. In the first 5 s a session's chunk is
 * 50 kB, and a second may hold one more or less of them. */
static void test_sessions(uint32_t sessions, const faults_t *f, uint32_t in)
{
    static series_t watched[100];
    group_t *above[] = {&top};
    double want = sessions < 20 ? sessions / 20.0 : 1, most = 0, ahead = 0;
    char what[TEXT];
    seconds_t got;
    uint32_t i;

    snprintf(what, sizeof what, "%u sessions of 500 kB/s under 10 MB/s", sessions);
    begin(f, in, sessions);
    top = (group_t){.rate = MBPS(10)};
    for (i = 0; i < sessions; i++) {
        watched[i] = (series_t){{0}, {0}};
        add(EPOCH, KBPS(500), ENDLESS, above, 1)->watch = &watched[i];
    }
    run_until(EPOCH + 6 * S);
    got = seconds_of(top.series.written, top.rate, 5);
    for (i = 0; i < sessions; i++) {
        seconds_t own = seconds_of(watched[i].written, KBPS(500), 5);

        most = own.first > most ? own.first : own.most > most ? own.most : most;
        ahead = world.sessions[i].ahead > ahead ? world.sessions[i].ahead : ahead;
    }
    within(what, "used, of what can be", got.mean / want, 0.98, 1.01);
    within(what, "the most of a second, of 10 MB/s", got.first > got.most ? got.first : got.most, 0, 1.01);
    within(what, "the most of a session's second, of its rate", most, 0, 1.1);
    within(what, "most ms that one is ahead", ahead / 1e6, 0, 60);
}

/* 10 sharers in one virtual host, 90 in the other, 4 MB/s each, under a server
 * of 6 MB/s: what the ninety may not have goes to the ten. */
static void test_three_levels(const faults_t *f, uint32_t in)
{
    static const char what[] = "10 and 90 share 4 MB/s each under 6 MB/s";
    seconds_t all, few, many;
    uint32_t i;

    begin(f, in, 3);
    top = (group_t){.rate = MBPS(6)};
    mid[0] = mid[1] = (group_t){.rate = MBPS(4)};
    for (i = 0; i < 100; i++) {
        group_t *above[] = {&mid[i >= 10], &top};

        add(EPOCH, NO_RATE, ENDLESS, above, 2);
    }
    run_until(EPOCH + 11 * S);
    few = seconds_of(mid[0].series.written, mid[0].rate, 10);
    many = seconds_of(mid[1].series.written, mid[1].rate, 10);
    all = seconds_of(top.series.written, top.rate, 10);
    within(what, "used of the 6 MB/s", all.mean, 0.98, 1.001);
    within(what, "the most of a second, of 6 MB/s", all.most, 0, 1.01);
    within(what, "the most of a second, of the ninety's 4 MB/s", many.most, 0, 1.01);
    within(what, "the ten get what is left, of 4 MB/s", few.mean, 0.45, 0.55);
}

static void start_clients(uint32_t n, const faults_t *f, uint32_t in)
{
    uint32_t i;

    begin(f, in, n);
    top = (group_t){.rate = MBPS(10)};
    for (i = 0; i < n; i++)
        clients[i] = (group_t){.rate = KBPS(500)};
}

/* The most of any second of any client, of its rate. */
static double clients_most(uint32_t n, unsigned seconds)
{
    double most = 0;
    uint32_t i;

    for (i = 0; i < n; i++) {
        seconds_t got = seconds_of(clients[i].series.written, clients[i].rate, seconds);

        most = got.first > most ? got.first : most;
        most = got.most > most ? got.most : most;
    }
    return most;
}

/* What a second may have more when its first chunks are late ones. */
static double late(const faults_t *f, double late_only, double stalls)
{
    return f->stall_one_in ? stalls : f->late_mean ? late_only : 0;
}

/* Clients of 500 kB/s with as many connections each under a virtual host of
 * 10 MB/s: a client's chunk is what a second of it may have more. */
static void test_clients(uint32_t n, uint32_t connections, const faults_t *f, uint32_t in)
{
    double want = n < 20 ? n / 20.0 : 1, chunk = connections > 1 ? 0.02 : 0.04;
    char what[TEXT];
    seconds_t got;
    uint32_t i;

    snprintf(what, sizeof what, "%u clients of 500 kB/s under 10 MB/s, %u connection%s each", n, connections,
             connections > 1 ? "s" : "");
    start_clients(n, f, in);
    for (i = 0; i < n * connections; i++) {
        group_t *above[] = {&clients[i % n], &top};

        add(EPOCH + (i / n) * 40 * MS, NO_RATE, ENDLESS, above, 2);
    }
    run_until(EPOCH + 11 * S);
    got = seconds_of(top.series.written, top.rate, 10);
    within(what, "used, of what can be", got.mean / want, 0.98, 1.01);
    within(what, "the most of a second, of 10 MB/s", got.first > got.most ? got.first : got.most, 0, 1.01);
    nearly(what, "the most of a client's second, of its rate", clients_most(n, 10), 0, 1 + chunk, late(f, 0.04, 0.1));
}

/* One client for a minute: responses one after the other on each connection,
 * all kinds of sizes. `reconnects`: each on a connection of its own. With one
 * connection a stall at the end of a response is a client that does not ask. */
static void test_minute(uint32_t connections, uint64_t least, uint64_t most, bool reconnects, const faults_t *f,
                        uint32_t in)
{
    char what[TEXT];
    seconds_t got;
    uint32_t i;

    snprintf(what, sizeof what, "a client of 500 kB/s, %u connection%s, responses of %" PRIu64 " to %" PRIu64 " kB%s",
             connections, connections > 1 ? "s" : "", least / 1000, most / 1000, reconnects ? ", reconnecting" : "");
    start_clients(1, f, in);
    for (i = 0; i < connections; i++) {
        group_t *above[] = {&clients[0], &top};
        session_t *s = add(EPOCH, NO_RATE, least, above, 2);

        s->size_most = most;
        s->more = UINT64_MAX;
        s->reconnects = reconnects;
        s->pause = reconnects ? 3 * MS : MS; /* until the next request is here */
        s->process = reconnects ? i % in : s->process;
    }
    run_until(EPOCH + 60 * S);
    got = seconds_of(clients[0].series.written, clients[0].rate, 60);
    nearly(what, "of its rate over a minute", got.mean, 0.995, 1.02, connections > 1 ? 0 : late(f, 0.002, 0.03));
    nearly(what, "the most of a second", got.first > got.most ? got.first : got.most, 0, 1.02, late(f, 0.02, 0.15));
}

int main(void)
{
    static const uint32_t sessions[] = {4, 20, 100}, connections[] = {1, 2, 8};
    const faults_t *f;
    size_t i, p;

    for (p = 0; p < COUNT_OF(processes); p++) {
        for (f = kinds; f < kinds + KINDS; f++) {
            for (i = 0; i < COUNT_OF(sessions); i++)
                test_sessions(sessions[i], f, processes[p]);
            test_three_levels(f, processes[p]);
            for (i = 0; i < COUNT_OF(connections); i++) {
                test_clients(4, connections[i], f, processes[p]);
                test_clients(40, connections[i], f, processes[p]);
            }
            test_minute(8, 1000, 2000000, false, f, processes[p]);
            test_minute(8, 1000, 100000, true, f, processes[p]);
            test_minute(1, 1000, 2000000, false, f, processes[p]);
            test_minute(1, 100000, 100000, false, f, processes[p]);
        }
    }
    print_table();
    return done_testing();
}
