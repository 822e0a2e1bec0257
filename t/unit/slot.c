/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of the slot arithmetic (xl_slot.h): sizes and due times as tables, the
 * burst, giving back, and the bound on any interval. What many sessions make of
 * it together is in simulator.c.
 */
#include "tap.h"
#include "xl_slot.h"

#define MS XL_NS_PER_MS
#define S XL_NS_PER_S
#define NOW (1000 * S)
#define COUNT_OF(a) (sizeof(a) / sizeof *(a))

typedef struct {
    uint64_t age, chunk;
    uint32_t sessions;
} chunk_time_t;

static const chunk_time_t chunk_times[] = {
    {0, 100 * MS, 0},
    {5 * S - 1, 100 * MS, 999},
    {5 * S, 200 * MS, 1},
    {10 * S - 1, 200 * MS, 1},
    {10 * S, 400 * MS, 1},
    {20 * S - 1, 400 * MS, 1},
    {20 * S, 500 * MS, 999},
    {UINT64_MAX, 500 * MS, 999},
    {0, 100 * MS, 10000},
    {1000 * MS, 100 * MS, 10000},
    {3 * S, 300 * MS, 1000},
    {5 * S, 500 * MS, 1000},
    {10 * S, S, 1000},
    {3600 * S, S, 4999},
    {10 * S, S, 5000},
    {15 * S, 1500 * MS, 5000},
    {20 * S, 2 * S, 5000},
    {UINT64_MAX, 2 * S, UINT32_MAX},
};

static void test_chunk_times(void)
{
    size_t i;

    for (i = 0; i < COUNT_OF(chunk_times); i++) {
        const chunk_time_t *t = &chunk_times[i];
        char what[100];

        snprintf(what, sizeof what, "chunk time at age %" PRIu64 " ms, %u sessions", t->age / MS, t->sessions);
        is_u64(xl_slot_chunk_ns(t->age, t->sessions), t->chunk, what);
    }
}

/* One reservation at rest from NOW on: what one level gives. */
typedef struct {
    const char *what;
    uint64_t rate, burst;
    uint32_t sharers;
    bool shared;
    xl_slot_ask_t ask;
    uint64_t bytes, due_after; /* due that long after NOW */
} one_t;

static const one_t ones[] = {
    {"a session's chunk, at the middle of its slot", 500000, 0, 1, false, {1 << 30, 0, S, 1, false, false, 0}, 50000,
     50 * MS},
    {"a session's first chunk, rounded up to the grid", 500000, 0, 1, false, {1 << 30, 0, 0, 1, true, false, 0}, 12500,
     14 * MS},
    {"an old session's", 500000, 0, 1, false, {1 << 30, 0, 20 * S, 1, false, false, 0}, 250000, 250 * MS},
    {"one of many sessions", 16384, 0, 1, false, {1 << 30, 0, 20 * S, 5000, false, false, 0}, 32768, S},
    {"a cap", 500000, 0, 1, false, {1 << 30, 4000, S, 1, false, false, 0}, 4000, 4 * MS},
    {"less at hand than a chunk", 500000, 0, 1, false, {3000, 4000, S, 1, false, false, 0}, 3000, 4 * MS},
    {"the last of a response, at the end of its slot", 500000, 0, 1, false, {3000, 0, S, 1, false, true, 0}, 3000,
     6 * MS},
    {"the last that does not fit in a chunk, at the middle", 500000, 0, 1, false, {50001, 0, S, 1, false, true, 0},
     50000,
     50 * MS},
    {"never less than 512 bytes", 1000, 0, 1, false, {1 << 30, 0, S, 1, false, false, 0}, 512, 256 * MS},
    {"but less when no more is there", 1000, 0, 1, false, {1, 0, S, 1, false, true, 0}, 1, 2 * MS},
    {"a share of ten", 10000000, 0, 10, true, {1 << 30, 0, S, 1, false, false, 0}, 100000, 6 * MS},
    {"a share that age does not grow", 10000000, 0, 10, true, {1 << 30, 0, 99 * S, 9999, false, false, 0},
     100000, 6 * MS},
    {"a first chunk is two segments", 10000000, 0, 10, true, {1 << 30, 0, 0, 1, true, false, 0}, 2896, 2 * MS},
    {"a share is never less", 10000000, 0, 1000, true, {1 << 30, 0, S, 1, false, false, 0}, 2896, 2 * MS},
    {"no sharers count as one", 10000000, 0, 0, true, {1 << 30, 0, S, 1, false, false, 0}, 1000000, 50 * MS},
    {"inside the burst: now", 500000, 50000, 1, false, {1 << 30, 0, S, 1, false, false, 0}, 50000, 0},
    {"the last one, just inside the burst: now", 500000, 3000, 1, false, {3000, 0, S, 1, false, true, 0}, 3000, 0},
    {"the last one, 20 us more than the burst: now", 500000, 2990, 1, false, {3000, 0, S, 1, false, true, 0}, 3000, 0},
    {"the last one, 22 us more than the burst", 500000, 2989, 1, false, {3000, 0, S, 1, false, true, 0}, 3000, 2 * MS},
    {"a response of one chunk does not wait from rest", 500000, 0, 1, false, {3000, 0, S, 1, true, true, 0}, 3000, 0},
    {"on a shared level neither", 500000, 0, 10, true, {2896, 0, S, 1, true, true, 0}, 2896, 0},
    {"one of two chunks does", 500000, 0, 1, false, {20000, 0, S, 1, true, true, 0}, 12500, 14 * MS},
    {"a burst longer than the clock has run", 1, UINT64_MAX, 1, false, {600, 0, S, 1, false, true, 0}, 512, 0},
    {"the slowest of all, in a queue without end", 1, 0, 1, true, {UINT64_MAX, 0, S, 1, false, false, 0},
     2896, 1448 * S},
    {"the fastest of all", UINT64_MAX, 0, 1, false, {UINT64_MAX, 0, S, 1, false, false, 0},
     UINT64_C(1844674407370955161),
     50 * MS},
};

static void test_ones(void)
{
    size_t i;

    for (i = 0; i < COUNT_OF(ones); i++) {
        const one_t *t = &ones[i];
        xl_meter_t meter = {0, 0};
        xl_level_t level = {&meter, {t->rate, S}, t->burst, t->sharers, t->shared};
        xl_slot_t slot;

        xl_slot_wake(&level, NOW);
        slot = xl_slot_reserve(&level, 1, &t->ask, NOW);
        if (!ok(slot.bytes == t->bytes && slot.due_ns == NOW + t->due_after, "%s", t->what))
            printf("# %" PRIu64 " bytes, due after %" PRIu64 " us\n", slot.bytes, (slot.due_ns - NOW) / 1000);
    }
}

static void test_no_level(void)
{
    xl_slot_ask_t ask = {100000, 0, 0, 1, true, true, 0};
    xl_slot_t slot = xl_slot_reserve(NULL, 0, &ask, NOW + 1);

    is_u64(slot.bytes, 100000, "no level: everything");
    is_u64(slot.due_ns, NOW + 1, "no level: now, not rounded");
    ask.cap = 4096;
    is_u64(xl_slot_reserve(NULL, 0, &ask, NOW).bytes, 4096, "no level: up to the cap");
}

/* A queue of full slots at 1 MB/s, chunks of 100 kB. */
static void test_grid(void)
{
    static const struct {
        const char *what;
        uint64_t tat, due;
    } rows[] = {
        {"due long ago: now", NOW - 240 * MS, NOW + 7},
        {"due one ns ago: now", NOW - 50 * MS + 6, NOW + 7},
        {"due now: now, not on the grid", NOW - 50 * MS + 7, NOW + 7},
        {"due in 20 us: now", NOW - 50 * MS + 20007, NOW + 7},
        {"due one ns later: the next grid point", NOW - 50 * MS + 20008, NOW + 2 * MS},
        {"due on the grid: then", NOW, NOW + 50 * MS},
        {"due one ns behind the grid", NOW + 1, NOW + 52 * MS},
        {"due at the end of time", UINT64_MAX - 1, UINT64_MAX},
    };
    size_t i;

    for (i = 0; i < COUNT_OF(rows); i++) {
        xl_meter_t meter = {rows[i].tat, 0};
        xl_level_t level = {&meter, {1000000, S}, 0, 1, true};
        xl_slot_ask_t ask = {1 << 30, 0, S, 1, false, false, 0};

        is_u64(xl_slot_reserve(&level, 1, &ask, NOW + 7).due_ns, rows[i].due, rows[i].what);
    }
}

/* At 1 MB/s, TAT a second ago: how much of it a reservation takes up. */
static void test_catch_up(void)
{
    static const struct {
        const char *what;
        uint64_t last_due, burst, start;
        bool first;
    } rows[] = {
        {"a first chunk catches up nothing", 0, 0, NOW, true},
        {"a first chunk has the burst", 0, 100000, NOW - 100 * MS, true},
        {"who comes in time has the grid", NOW, 0, NOW - 2 * MS, false},
        {"who comes early likewise", NOW + S, 0, NOW - 2 * MS, false},
        {"who is 30 ms late has them", NOW - 30 * MS, 0, NOW - 32 * MS, false},
        {"or the burst when that is more", NOW - 30 * MS, 100000, NOW - 100 * MS, false},
        {"248 ms are the most", NOW - 248 * MS, 0, NOW - 250 * MS, false},
        {"249 are no more", NOW - 249 * MS, 0, NOW - 250 * MS, false},
        {"not known: the most", 0, 0, NOW - 250 * MS, false},
    };
    size_t i;

    for (i = 0; i < COUNT_OF(rows); i++) {
        xl_meter_t meter = {NOW - S, 0};
        xl_level_t level = {&meter, {1000000, S}, rows[i].burst, 1, true};
        xl_slot_ask_t ask = {1000, 0, S, 1, rows[i].first, false, rows[i].last_due};

        xl_slot_reserve(&level, 1, &ask, NOW);
        is_u64(meter.tat_ns, rows[i].start + MS, rows[i].what);
    }
}

static void test_levels(void)
{
    xl_meter_t own = {NOW, 0}, host = {NOW + 300 * MS, 0}, server = {NOW + 20 * MS, 0};
    xl_level_t levels[] = {
        {&own, {500000, S}, 0, 1, false},
        {&host, {2000000, S}, 0, 10, true},
        {&server, {10000000, S}, 0, 20, true},
    };
    xl_slot_ask_t ask = {1 << 30, 0, S, 1, false, false, 0};
    xl_slot_t slot = xl_slot_reserve(levels, 3, &ask, NOW);

    is_u64(slot.bytes, 20000, "the smallest share of three levels");
    is_u64(slot.due_ns, NOW + 306 * MS, "due when the last of them is");
    is_u64(own.tat_ns, NOW + 40 * MS, "the session is charged");
    is_u64(host.tat_ns, NOW + 310 * MS, "the virtual host is charged");
    is_u64(server.tat_ns, NOW + 22 * MS, "the server is charged");
    is_u64(own.units + host.units + server.units, 60000, "the same bytes in each");
    xl_slot_release(levels, 3, 15000);
    ok(own.units == 5000 && host.units == 5000 && server.units == 5000, "what was not written goes back to each");
    xl_slot_release(levels, 3, 5000);
    ok(own.tat_ns == NOW && host.tat_ns == NOW + 300 * MS && server.tat_ns == NOW + 20 * MS,
       "given back in parts, nothing is left of the reservation");
}

static void test_wake(void)
{
    static const struct {
        const char *what;
        uint64_t tat, burst, want;
    } rows[] = {
        {"without a burst idle time hands out nothing", NOW - 900 * S, 0, NOW},
        {"idle time hands out the burst", NOW - 900 * S, 500000, NOW - 500 * MS},
        {"what was used of the burst a moment ago stays used", NOW - 100 * MS, 500000, NOW - 100 * MS},
        {"a queue stays", NOW + S, 500000, NOW + S},
        {"a burst as long as the clock has run", 0, UINT64_C(1000000000), 0},
        {"a burst without end", 0, UINT64_MAX, 0},
    };
    size_t i;

    for (i = 0; i < COUNT_OF(rows); i++) {
        xl_meter_t meter = {rows[i].tat, 5};
        xl_level_t level = {&meter, {1000000, S}, rows[i].burst, 1, true};

        xl_slot_wake(&level, NOW);
        is_u64(meter.tat_ns, rows[i].want, rows[i].what);
    }
}

static uint64_t at_once(uint64_t rate, uint64_t burst, bool shared)
{
    xl_meter_t meter = {0, 0};
    xl_level_t level = {&meter, {rate, S}, burst, 1, shared};
    xl_slot_ask_t ask = {UINT64_C(1) << 40, 0, S, 1, false, false, 0};
    uint64_t sent = 0;
    xl_slot_t slot;

    xl_slot_wake(&level, NOW);
    while ((slot = xl_slot_reserve(&level, 1, &ask, NOW)).due_ns == NOW)
        sent += slot.bytes;
    return sent;
}

static void test_burst(void)
{
    is_u64(at_once(100000, 1000000, false), 1000000, "a session's burst of 10 s goes out at once");
    is_u64(at_once(100000, 1000000, true), 1000000, "and a shared level's");
    is_u64(at_once(100000, 1004997, false), 1000000, "half a chunk more but 30 us of it waits");
    is_u64(at_once(100000, 1005000, false), 1010000, "half a chunk more goes with it");
    is_u64(at_once(10000000, 100000, false), 0, "a burst below half a chunk moves the chunk, not the start");
    is_u64(at_once(100000, 0, false), 0, "no burst: nothing at once, though a stall could catch up");
}

/* One session by chance: it wakes up late, has little or much at hand, ends a
 * response and begins another. Returns by how many bytes the worst interval went
 * over rate x time, and the worst one that begins at rest. */
static double worst_interval(uint64_t rate, uint64_t burst, uint64_t late, double *rest_excess)
{
    xl_meter_t meter = {0, 0};
    xl_level_t level = {&meter, {rate, S}, burst, 1, false};
    uint64_t now = NOW, due = 0, chance = 12345, i;
    double sent = 0, lowest = 0, worst = 0;

    *rest_excess = 0;
    xl_slot_wake(&level, now);
    for (i = 0; i < 20000; i++) {
        xl_slot_ask_t ask = {1 + (chance >> 20) % (rate / 5), 0, S, 1, !i, chance % 7 == 0, due};
        xl_slot_t slot = xl_slot_reserve(&level, 1, &ask, now);
        double over;

        chance = chance * UINT64_C(6364136223846793005) + 1442695040888963407;
        due = slot.due_ns;
        now = due + (late ? (chance >> 33) % late : 0);
        over = sent - (double)rate * (double)(now - NOW) / 1e9;
        lowest = over < lowest ? over : lowest;
        sent += (double)slot.bytes;
        over += (double)slot.bytes;
        worst = over - lowest > worst ? over - lowest : worst;
        *rest_excess = over > *rest_excess ? over : *rest_excess;
    }
    return worst;
}

static void test_intervals(void)
{
    static const struct {
        const char *what;
        uint64_t rate, burst, late;
    } rows[] = {
        {"1 MB/s, punctual", 1000000, 0, 0},
        {"1 MB/s, burst 300 kB, punctual", 1000000, 300000, 0},
        {"1 MB/s, late by up to 20 ms", 1000000, 0, 20 * MS},
        {"1 MB/s, late by up to 2 s", 1000000, 0, 2 * S},
        {"1 MB/s, burst 3 MB, late by up to 2 s", 1000000, 3000000, 2 * S},
    };
    size_t i;

    for (i = 0; i < COUNT_OF(rows); i++) {
        double chunk = (double)rows[i].rate / 10, rest, worst, saved = (double)rows[i].burst;
        double catch_up = rows[i].late ? (double)rows[i].rate / 4 : 0;
        double grid = 0.002 * (double)rows[i].rate;
        char what[160];

        worst = worst_interval(rows[i].rate, rows[i].burst, rows[i].late, &rest);
        printf("# %s: from rest %.0f bytes over the line, in any interval %.0f\n", rows[i].what, rest, worst);
        snprintf(what, sizeof what, "%s: from rest the burst and half a chunk over the line", rows[i].what);
        in_range(rest, rows[i].late ? 0 : saved, saved + chunk / 2 + 1, what);
        snprintf(what, sizeof what, "%s: in any interval burst or catch-up and a chunk and a half", rows[i].what);
        in_range(worst, chunk, (saved > catch_up ? saved : catch_up) + 1.5 * chunk + grid, what);
    }
}

int main(void)
{
    test_chunk_times();
    test_ones();
    test_no_level();
    test_grid();
    test_catch_up();
    test_levels();
    test_wake();
    test_burst();
    test_intervals();
    return done_testing();
}
