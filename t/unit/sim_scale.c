/* SPDX-License-Identifier: Apache-2.0
 *
 * Ten thousand sessions, and a hundred thousand, in processes that need time for
 * each wake-up, in virtual time (simulator.h), against the bounds of the design.
 * What a fresh request would wait is how long its process is busy when it comes.
 * Prints what it got as rows of the table in docs/performance.md.
 */
#include "sim_report.h"

#define SAMPLES_MAX 100000
#define KIB16 UINT64_C(16384)

static group_t top, clients[10000];

static struct {
    double ms[SAMPLES_MAX];
    size_t n;
} waits;

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* A look at how long each process is busy, again and again. */
static void run_and_look(uint64_t until)
{
    uint32_t i;

    waits.n = 0;
    while (world.now < until) {
        run_until(world.now + 4 * MS + random_u64() % (6 * MS));
        for (i = 0; i < world.n_processes && waits.n < SAMPLES_MAX; i++) {
            uint64_t busy = world.processes[i].busy_until;

            waits.ms[waits.n++] = busy > world.now ? (double)(busy - world.now) / 1e6 : 0;
        }
    }
    qsort(waits.ms, waits.n, sizeof *waits.ms, compare);
}

static double most_wakeups(void)
{
    uint64_t most = 0;
    uint32_t i;

    for (i = 0; i < world.n_processes; i++)
        most = world.processes[i].wakeups > most ? world.processes[i].wakeups : most;
    return (double)most;
}

static void check_each(const char *what, unsigned seconds)
{
    double least = 1e9, most = 0, sum = 0, squares = 0;
    uint32_t i, finished = 0;

    for (i = 0; i < world.count; i++) {
        const session_t *s = &world.sessions[i];
        double got = s->finished ? (double)seconds * 1e9 / (double)(s->finished - s->joined) : 0;

        finished += s->finished > 0;
        least = got < least ? got : least;
        most = got > most ? got : most;
        sum += got;
        squares += got * got;
    }
    holds(what, "served to the end", finished, world.count, world.count);
    within(what, "each, of its rate", least, 0.995, 1.005);
    within(what, "each, of its rate", most, 0.995, 1.005);
    within(what, "Jain", sum * sum / squares / world.count, 0.9999, 1);
}

/* A minute of 16 KiB/s each; they come within 5 s. With `keyed` the rate is of
 * a level of its own for each of them, as for a client. */
static void test_sessions(uint32_t sessions, bool keyed, uint64_t cap, uint64_t cost, uint32_t in)
{
    const faults_t f = {"punctual", 0, 0, false, cost};
    char what[TEXT];
    double before_it;
    uint32_t i;

    snprintf(what, sizeof what, "%u %s of 16 KiB/s%s in %u process%s, %u us per wake-up", sessions,
             keyed ? "clients" : "sessions", cap ? " from memory" : "", in, in > 1 ? "es" : "",
             (unsigned)(cost / 1000));
    begin(&f, in, sessions);
    for (i = 0; i < sessions; i++) {
        group_t *above[] = {&clients[keyed ? i : 0]};
        uint64_t at = EPOCH + random_u64() % (5 * S);

        if (keyed)
            clients[i] = (group_t){.rate = BPS(KIB16)};
        add(at, keyed ? NO_RATE : BPS(KIB16), 60 * KIB16, above, keyed)->cap = cap;
    }
    run_and_look(EPOCH + 5 * S);
    within(what, "ms a fresh request waits while they come, 99 % of them", waits.ms[waits.n * 99 / 100], 0, 3);
    run_until(EPOCH + 30 * S);
    before_it = most_wakeups();
    run_and_look(EPOCH + 50 * S);
    holds(what, "ms a fresh request waits, half of them", waits.ms[waits.n / 2], 0, 1);
    within(what, "ms a fresh request waits later, 99 % of them", waits.ms[waits.n * 99 / 100], 0, 3);
    within(what, "most wake-ups a second of a process", (most_wakeups() - before_it) / 20, 0, 5500);
    run_until(EPOCH + 80 * S);
    check_each(what, 60);
}

/* All in one instant: what the joining alone takes of a process is not made up
 * for, and all is as it should be when they are in. */
static void test_at_once(uint32_t sessions, uint32_t in)
{
    static const faults_t f = {"punctual", 0, 0, false, 30000};
    char what[TEXT];
    uint64_t then;
    uint32_t i;

    snprintf(what, sizeof what, "%u sessions of 16 KiB/s begin at once in %u process%s, 30 us per wake-up", sessions,
             in, in > 1 ? "es" : "");
    begin(&f, in, sessions);
    for (i = 0; i < sessions; i++)
        add(EPOCH, BPS(KIB16), ENDLESS, NULL, 0);
    run_until(EPOCH + 20 * S);
    then = sent_by(0, sessions);
    run_until(EPOCH + 60 * S);
    within(what, "of their rates from 20 s on", (double)(sent_by(0, sessions) - then) / 40 / KIB16 / sessions, 0.98,
           1.02);
}

/* A hundred thousand sharers: their turns are longer than a second, and each has
 * one or none of them more after `turns`. */
static void test_sharers(uint64_t mbps, uint32_t in, unsigned seconds)
{
    static const faults_t f = {"punctual", 0, 0, false, 30000};
    static uint64_t then[SESSIONS_MAX];
    double sum = 0, squares = 0, before_it;
    group_t *above[] = {&top};
    char what[TEXT];
    uint32_t i;

    snprintf(what, sizeof what, "100000 share %" PRIu64 " MB/s in %u process%s, 30 us per wake-up", mbps, in,
             in > 1 ? "es" : "");
    begin(&f, in, in);
    top = (group_t){.rate = MBPS(mbps)};
    for (i = 0; i < 100000; i++)
        add(EPOCH + random_u64() % (5 * S), NO_RATE, ENDLESS, above, 1);
    run_until(EPOCH + 20 * S);
    seconds_within(what, "as written", seconds_of(top.series.written, top.rate, 20));
    for (i = 0; i < world.count; i++)
        then[i] = world.sessions[i].sent;
    before_it = most_wakeups();
    run_until(EPOCH + (20 + seconds) * S);
    within(what, "most wake-ups a second of a process", (most_wakeups() - before_it) / seconds, 0, 10500);
    for (i = 0; i < world.count; i++) {
        double got = (double)(world.sessions[i].sent - then[i]);

        sum += got;
        squares += got * got;
    }
    within(what, "all of it", sum / (double)mbps / 1e6 / seconds, 0.995, 1.001);
    if (mbps > 10)
        within(what, "Jain", sum * sum / squares / world.count, 0.9999, 1);
}

int main(void)
{
    test_sessions(1000, false, 0, 30000, 1);
    test_sessions(10000, false, 0, 30000, 2);
    test_sessions(10000, false, 0, 30000, 8);
    test_sessions(10000, false, 0, 90000, 2);
    test_sessions(10000, false, MEMORY_BYTES, 30000, 2);
    test_sessions(10000, true, 0, 30000, 2);
    test_sessions(100000, false, 0, 30000, 8);
    test_at_once(10000, 2);
    test_at_once(100000, 1);
    test_sharers(10, 1, 20);
    test_sharers(1000, 8, 300);
    print_table();
    return done_testing();
}
