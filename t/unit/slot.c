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
    /* by age */
    {0, 100 * MS, 0},
    {5 * S, 100 * MS, 1},
    {5 * S + 50, 100 * MS + 1, 1},
    {10 * S, 200 * MS, 1},
    {25 * S - 50, 500 * MS - 1, 1},
    {25 * S, 500 * MS, 1},
    {UINT64_MAX, 500 * MS, 500},
    {UINT64_MAX, 500 * MS, 999},
    /* by many sessions, a tenth of the age */
    {2 * S, 200 * MS, 1000},
    {2 * S + 10, 200 * MS + 1, 1000},
    {10 * S, S, 1000},
    {20 * S, S, 1000},
    {15 * S, 1500 * MS, 2000},
    {20 * S, 2 * S, 2000},
    {UINT64_MAX, 2 * S, 10000},
    /* by what a process can wake up, whatever the age */
    {0, 100 * MS, 500},
    {0, 100200 * UINT64_C(1000), 501},
    {0, S, 5000},
    {0, 2 * S, 10000},
    {UINT64_MAX, 10 * S, 50000},
    {0, 10 * S, UINT32_MAX},
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

/* One reservation at NOW, of somebody who is on time: what one level gives. */
typedef struct {
    const char *what;
    uint64_t rate, burst, queue; /* the queue: from NOW on */
    uint32_t sharers;
    bool shared;
    xl_slot_ask_t ask;
    uint64_t bytes, at_after; /* written that long after NOW */
} one_t;

#define MUCH (UINT64_C(1) << 30)

static const one_t ones[] = {
    {"a session's chunk, at the middle of its slot", 500000, 0, 0, 1, false, {MUCH, 0, S, 1, false, false, NOW}, 50000,
     50 * MS},
    {"a session's first chunk, rounded up to the grid", 500000, 0, 0, 1, false, {MUCH, 0, 0, 1, true, false, 0}, 12500,
     14 * MS},
    {"an old session's", 500000, 0, 0, 1, false, {MUCH, 0, 25 * S, 1, false, false, NOW}, 250000, 250 * MS},
    {"one of many sessions", 16384, 0, 0, 1, false, {MUCH, 0, 20 * S, 5000, false, false, NOW}, 32768, S},
    {"one of four streams", 500000, 0, 0, 4, false, {MUCH, 0, S, 1, false, false, NOW}, 12500, 14 * MS},
    {"a cap", 500000, 0, 0, 1, false, {MUCH, 4000, S, 1, false, false, NOW}, 4000, 4 * MS},
    {"less at hand than a chunk", 500000, 0, 0, 1, false, {3000, 4000, S, 1, false, false, NOW}, 3000, 4 * MS},
    {"the last of a response, at the end of its slot", 500000, 0, 0, 1, false, {3000, 0, S, 1, false, true, NOW}, 3000,
     6 * MS},
    {"the last that does not fit in a chunk, at the middle", 500000, 0, 0, 1, false,
     {50001, 0, S, 1, false, true, NOW}, 50000, 50 * MS},
    {"never less than 512 bytes", 1000, 0, 0, 1, false, {MUCH, 0, S, 1, false, false, NOW}, 512, 256 * MS},
    {"but less when no more is there", 1000, 0, 0, 1, false, {1, 0, S, 1, false, true, NOW}, 1, 2 * MS},

    {"20 ms for ten turns", 10000000, 0, 18 * MS, 10, true, {MUCH, 0, S, 1, false, false, NOW}, 20000, 20 * MS},
    {"and for two", 10000000, 0, 18 * MS, 2, true, {MUCH, 0, S, 1, false, false, NOW}, 100000, 24 * MS},
    {"2 ms for each of thirty", 10000000, 0, 60 * MS, 30, true, {MUCH, 0, S, 1, false, false, NOW}, 20000, 62 * MS},
    {"100 ms for all of a hundred", 10000000, 0, 90 * MS, 100, true, {MUCH, 0, S, 1, false, false, NOW}, 10000,
     92 * MS},
    {"2 ms for one alone", 10000000, 0, 16 * MS, 1, true, {MUCH, 0, S, 1, false, false, NOW}, 20000, 18 * MS},
    {"a turn has a ms for each session of the process", 10000000, 0, 60 * MS, 10, true,
     {MUCH, 0, S, 60, false, false, NOW}, 60000, 64 * MS},
    {"up to 100 ms", 10000000, 0, 99 * MS, 10, true, {MUCH, 0, S, 500, false, false, NOW}, 100000, 104 * MS},
    {"and what many sessions need", 10000000, 0, S, 10, true, {MUCH, 0, S, 5000, false, false, NOW}, 1000000,
     1050 * MS},
    {"whatever its age", 10000000, 0, S, 10, true, {MUCH, 0, 99 * S, 5000, false, false, NOW}, 1000000, 1050 * MS},
    {"but alone, the age counts", 1000000, 0, S, 1, true, {MUCH, 0, 20 * S, 5000, false, false, NOW}, 2000000, 2 * S},
    {"a first chunk is two segments", 10000000, 0, 0, 10, true, {MUCH, 0, 0, 1, true, false, 0}, 2896, 2 * MS},
    {"a share is never less", 10000000, 0, 280 * MS, 1000, true, {MUCH, 0, S, 1, false, false, NOW}, 2896, 282 * MS},
    {"no sharers count as one", 10000000, 0, 16 * MS, 0, true, {MUCH, 0, S, 1, false, false, NOW}, 20000, 18 * MS},

    {"no queue: half of 15 ms", 10000000, 0, 0, 10, true, {MUCH, 0, S, 1, false, false, NOW}, 75000, 4 * MS},
    {"a queue of 5 ms: half of the other 10", 10000000, 0, 5 * MS, 10, true, {MUCH, 0, S, 1, false, false, NOW}, 50000,
     8 * MS},
    {"a queue of 11 ms: a turn is as much", 10000000, 0, 11 * MS, 10, true, {MUCH, 0, S, 1, false, false, NOW}, 20000,
     12 * MS},

    {"inside the burst: now", 500000, 50000, 0, 1, false, {MUCH, 0, S, 1, false, false, NOW}, 50000, 0},
    {"the last one, just inside the burst: now", 500000, 3000, 0, 1, false, {3000, 0, S, 1, false, true, NOW}, 3000, 0},
    {"the last one, 20 us more than the burst: now", 500000, 2990, 0, 1, false, {3000, 0, S, 1, false, true, NOW}, 3000,
     0},
    {"the last one, 22 us more than the burst", 500000, 2989, 0, 1, false, {3000, 0, S, 1, false, true, NOW}, 3000,
     2 * MS},
    {"a response of one chunk does not wait from rest", 500000, 0, 0, 1, false, {3000, 0, S, 1, true, true, 0}, 3000,
     0},
    {"on a shared level neither", 500000, 0, 0, 10, true, {2896, 0, S, 1, true, true, 0}, 2896, 0},
    {"one of two chunks does", 500000, 0, 0, 1, false, {20000, 0, S, 1, true, true, 0}, 12500, 14 * MS},
    {"a burst longer than the clock has run", 1, UINT64_MAX, 0, 1, false, {600, 0, S, 1, false, true, NOW}, 512, 0},
    {"the slowest of all, in a queue without end", 1, 0, 0, 1, true, {UINT64_MAX, 0, S, 1, false, false, NOW}, 2896,
     1448 * S},
    {"the fastest of all", UINT64_MAX, 0, 0, 1, false, {UINT64_MAX, 0, S, 1, false, false, NOW},
     UINT64_C(1844674407370955161), 50 * MS},
    {"the fastest of all, shared and late", UINT64_MAX, 0, 20 * MS, 10, true,
     {UINT64_MAX, 0, S, 1, false, false, NOW - 240 * MS}, UINT64_C(36893488147419103) * 13, 34 * MS},
};

static void test_ones(void)
{
    size_t i;

    for (i = 0; i < COUNT_OF(ones); i++) {
        const one_t *t = &ones[i];
        xl_meter_t meter = {t->queue ? NOW + t->queue : 0, 0};
        xl_level_t level = {&meter, {t->rate, S}, t->burst, t->sharers, t->shared};
        xl_slot_t slot;

        xl_slot_wake(&level, NOW);
        slot = xl_slot_reserve(&level, 1, &t->ask, NOW);
        if (!ok(slot.bytes == t->bytes && slot.at_ns == NOW + t->at_after, "%s", t->what))
            printf("# %" PRIu64 " bytes, after %" PRIu64 " us\n", slot.bytes, (slot.at_ns - NOW) / 1000);
    }
}

/* Ten sharers of 10 MB/s, a chunk is 20 kB and 2 ms: a tenth of a chunk for each
 * turn that began since. */
static void test_missed_turns(void)
{
    static const struct {
        const char *what;
        uint64_t late;
        uint32_t sharers;
        bool first;
        uint64_t bytes;
    } rows[] = {
        {"on time", 0, 10, false, 20000},
        {"1 ns before the next one's turn", 2 * MS - 1, 10, false, 20000},
        {"one turn late", 2 * MS, 10, false, 22000},
        {"not quite two", 4 * MS - 1, 10, false, 22000},
        {"ten turns: twice as much", 20 * MS, 10, false, 40000},
        {"125 turns", 250 * MS, 10, false, 270000},
        {"no more than those", S, 10, false, 270000},
        {"nobody else there: none", 250 * MS, 1, false, 20000},
        {"the first chunk of a response: none", 250 * MS, 10, true, 2896},
    };
    size_t i;

    for (i = 0; i < COUNT_OF(rows); i++) {
        xl_meter_t meter = {NOW + 20 * MS, 0};
        xl_level_t level = {&meter, {10000000, S}, 0, rows[i].sharers, true};
        xl_slot_ask_t ask = {MUCH, 0, S, 1, rows[i].first, false, NOW - rows[i].late};

        is_u64(xl_slot_reserve(&level, 1, &ask, NOW).bytes, rows[i].bytes, rows[i].what);
    }
}

/* What would be taken of a busy level by somebody on time, whatever the level is
 * and however late he is; a question moves nothing. */
static void test_chunk_bytes(void)
{
    xl_meter_t own = {0, 7}, host = {0, 9};
    xl_level_t levels[] = {{&own, {500000, S}, 0, 1, false}, {&host, {10000000, S}, 0, 10, true}};
    xl_slot_ask_t ask = {MUCH, 0, S, 1, false, false, 0};

    is_u64(xl_slot_chunk_bytes(levels, 2, &ask), 20000, "the chunk of a busy level");
    is_u64(xl_slot_chunk_bytes(levels, 1, &ask), 50000, "of a session");
    ask.want = 19999;
    is_u64(xl_slot_chunk_bytes(levels, 2, &ask), 19999, "no more than is at hand");
    ask.cap = 48;
    is_u64(xl_slot_chunk_bytes(levels, 2, &ask), 48, "nor than the cap");
    is_u64(xl_slot_chunk_bytes(NULL, 0, &ask), 48, "nor without a level");
    ok(!own.tat_ns && !host.tat_ns && own.units == 7 && host.units == 9, "no meter has moved");
}

static void test_no_level(void)
{
    xl_slot_ask_t ask = {100000, 0, 0, 1, true, true, 0};
    xl_slot_t slot = xl_slot_reserve(NULL, 0, &ask, NOW + 1);

    is_u64(slot.bytes, 100000, "no level: everything");
    is_u64(slot.at_ns, NOW + 1, "no level: now, not rounded");
    ask.cap = 4096;
    is_u64(xl_slot_reserve(NULL, 0, &ask, NOW).bytes, 4096, "no level: up to the cap");
}

/* A queue of full slots at 1 MB/s, chunks of 100 kB. */
static void test_grid(void)
{
    static const struct {
        const char *what;
        uint64_t tat, at, due;
    } rows[] = {
        {"due long ago: now", NOW - 240 * MS, NOW + 7, NOW - 190 * MS},
        {"due one ns ago: now", NOW - 50 * MS + 6, NOW + 7, NOW + 6},
        {"due now: now, not on the grid", NOW - 50 * MS + 7, NOW + 7, NOW + 7},
        {"due in 20 us: now", NOW - 50 * MS + 20007, NOW + 7, NOW + 20007},
        {"due one ns later: the next grid point", NOW - 50 * MS + 20008, NOW + 2 * MS, NOW + 20008},
        {"due on the grid: then", NOW, NOW + 50 * MS, NOW + 50 * MS},
        {"due one ns behind the grid", NOW + 1, NOW + 52 * MS, NOW + 50 * MS + 1},
        {"due at the end of time", UINT64_MAX - 1, UINT64_MAX, UINT64_MAX},
    };
    size_t i;

    for (i = 0; i < COUNT_OF(rows); i++) {
        xl_meter_t meter = {rows[i].tat, 0};
        xl_level_t level = {&meter, {1000000, S}, 0, 1, false};
        xl_slot_ask_t ask = {MUCH, 0, S, 1, false, false, 0};
        xl_slot_t slot = xl_slot_reserve(&level, 1, &ask, NOW + 7);

        is_u64(slot.at_ns, rows[i].at, rows[i].what);
        is_u64(slot.due_ns, rows[i].due, "... and what it is due at is not rounded");
    }
}

/* At 1 MB/s, TAT a second ago: how much of it a reservation takes up. */
static void test_catch_up(void)
{
    static const struct {
        const char *what;
        uint64_t last_due, burst;
        uint32_t sharers;
        bool first;
        uint64_t start;
    } rows[] = {
        {"a first chunk catches up nothing", 0, 0, 2, true, NOW},
        {"nor when it knows of another", NOW - 30 * MS, 0, 2, true, NOW},
        {"alone it goes on where the level ended, up to a pause", 0, 0, 1, true, NOW - 25 * MS},
        {"it has the burst", 0, 100000, 2, true, NOW - 100 * MS},
        {"who comes in time has a moment", NOW, 0, 2, false, NOW - 2 * MS},
        {"who comes early likewise", NOW + S, 0, 2, false, NOW - 2 * MS},
        {"who is 30 ms late has them, too", NOW - 30 * MS, 0, 2, false, NOW - 32 * MS},
        {"or the burst when that is more", NOW - 30 * MS, 100000, 2, false, NOW - 100 * MS},
        {"250 ms are the most", NOW - 250 * MS, 0, 2, false, NOW - 252 * MS},
        {"251 are no more", NOW - 251 * MS, 0, 2, false, NOW - 252 * MS},
        {"not known: the most", 0, 0, 2, false, NOW - 252 * MS},
    };
    size_t i;

    for (i = 0; i < COUNT_OF(rows); i++) {
        xl_meter_t meter = {NOW - S, 0};
        xl_level_t level = {&meter, {1000000, S}, rows[i].burst, rows[i].sharers, true};
        xl_slot_ask_t ask = {1000, 0, S, 1, rows[i].first, false, rows[i].last_due};

        xl_slot_reserve(&level, 1, &ask, NOW);
        is_u64(meter.tat_ns, rows[i].start + MS, rows[i].what);
    }
}

/* All stood still for 50 ms; the level has 40 of them to give. Who wakes up has
 * his chunk after those who do so now, and is late until he has caught up. */
static void test_yielding(void)
{
    static const struct {
        const char *what;
        uint32_t sharers;
        uint64_t burst, own_bytes_per_s, at;
    } rows[] = {
        {"nobody else there: now", 1, 0, UINT64_C(1000000000), NOW},
        {"after the others who are late", 10, 0, UINT64_C(1000000000), NOW + 20001},
        {"the burst is his to take: now", 10, 400000, UINT64_C(1000000000), NOW},
        {"another level is what holds him back: now", 10, 0, 50000, NOW},
    };
    size_t i;

    for (i = 0; i < COUNT_OF(rows); i++) {
        xl_meter_t own = {NOW - 200 * MS, 0}, host = {NOW - 40 * MS, 0};
        xl_level_t levels[] = {
            {&own, {rows[i].own_bytes_per_s, S}, 0, 1, false},
            {&host, {10000000, S}, rows[i].burst, rows[i].sharers, true},
        };
        xl_slot_ask_t ask = {MUCH, 0, S, 1, false, false, NOW - 200 * MS};
        xl_slot_t slot = xl_slot_reserve(levels, 2, &ask, NOW);

        is_u64(slot.at_ns, rows[i].at, rows[i].what);
        ok(slot.due_ns < NOW, "... and he is late still");
    }
}

/* Held back by a level, a chunk is due when that lets it; not held back, when the
 * level says in which there is most to catch up. */
static void test_due(void)
{
    xl_meter_t own = {NOW - 100 * MS, 0}, host = {NOW - 10 * MS, 0};
    xl_level_t levels[] = {{&own, {100000, S}, 0, 1, false}, {&host, {10000000, S}, 0, 1, true}};
    xl_slot_ask_t ask = {1000, 0, S, 1, false, false, NOW - 100 * MS};

    is_u64(xl_slot_reserve(levels, 2, &ask, NOW).due_ns, NOW - 95 * MS, "not held back: the earliest");
    host.tat_ns = NOW + 30 * MS;
    is_u64(xl_slot_reserve(levels, 2, &ask, NOW).due_ns, NOW + 30 * MS + 50000, "held back: the latest");
}

static void test_levels(void)
{
    xl_meter_t own = {NOW, 0}, host = {NOW + 300 * MS, 0}, server = {NOW + 20 * MS, 0};
    xl_level_t levels[] = {
        {&own, {500000, S}, 0, 1, false},
        {&host, {2000000, S}, 0, 10, true},
        {&server, {10000000, S}, 0, 20, true},
    };
    xl_slot_ask_t ask = {MUCH, 0, S, 1, false, false, NOW};
    xl_slot_t slot = xl_slot_reserve(levels, 3, &ask, NOW);

    is_u64(slot.bytes, 4000, "the smallest share of three levels");
    is_u64(slot.at_ns, NOW + 302 * MS, "due when the last of them is");
    is_u64(own.tat_ns, NOW + 8 * MS, "the session is charged");
    is_u64(host.tat_ns, NOW + 302 * MS, "the virtual host is charged");
    is_u64(server.tat_ns, NOW + 20400 * UINT64_C(1000), "the server is charged");
    is_u64(own.units + host.units + server.units, 12000, "the same bytes in each");
    xl_slot_release(levels, 3, 3000);
    ok(own.units == 1000 && host.units == 1000 && server.units == 1000, "what was not written goes back to each");
    xl_slot_release(levels, 3, 1000);
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
        {"after a pause it has not been idle", NOW - 25 * MS + 1, 0, NOW - 25 * MS + 1},
        {"after a longer one it has", NOW - 25 * MS, 0, NOW},
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
    xl_slot_ask_t ask = {UINT64_C(1) << 40, 0, S, 1, false, false, NOW};
    uint64_t sent = 0;
    xl_slot_t slot;

    xl_slot_wake(&level, NOW);
    while ((slot = xl_slot_reserve(&level, 1, &ask, NOW)).at_ns == NOW)
        sent += slot.bytes;
    return sent;
}

static void test_burst(void)
{
    is_u64(at_once(100000, 1000000, false), 1000000, "a session's burst of 10 s goes out at once");
    is_u64(at_once(100000, 1013600, true), 1013600, "and a shared level's, of 350 chunks");
    is_u64(at_once(100000, 1004997, false), 1000000, "half a chunk more but 30 us of it waits");
    is_u64(at_once(100000, 1005000, false), 1010000, "half a chunk more goes with it");
    is_u64(at_once(10000000, 100000, false), 0, "a burst below half a chunk moves the chunk, not the start");
    is_u64(at_once(100000, 0, false), 0, "no burst: nothing at once, though a stall could catch up");
}

typedef struct {
    const char *what;
    uint64_t rate, burst, late;
    bool shared;
} interval_t;

/* One session by chance: it wakes up late, has little or much at hand, ends a
 * response and begins another. Returns by how many bytes the worst interval went
 * over rate x time, and the worst one that begins at rest. */
static double worst_interval(const interval_t *t, double *rest_excess)
{
    xl_meter_t meter = {0, 0};
    xl_level_t level = {&meter, {t->rate, S}, t->burst, 1, t->shared};
    uint64_t now = NOW, due = 0, chance = 12345, i;
    double sent = 0, lowest = 0, worst = 0;

    *rest_excess = 0;
    xl_slot_wake(&level, now);
    for (i = 0; i < 20000; i++) {
        xl_slot_ask_t ask = {1 + (chance >> 20) % (t->rate / 5), 0, S, 1, !i, chance % 7 == 0, due};
        xl_slot_t slot = xl_slot_reserve(&level, 1, &ask, now);
        double over;

        chance = chance * UINT64_C(6364136223846793005) + 1442695040888963407;
        due = slot.due_ns;
        if (slot.at_ns > now)
            now = slot.at_ns + (t->late ? (chance >> 33) % t->late : 0);
        over = sent - (double)t->rate * (double)(now - NOW) / 1e9;
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
    static const interval_t rows[] = {
        {"1 MB/s, punctual", 1000000, 0, 0, false},
        {"1 MB/s, burst 300 kB, punctual", 1000000, 300000, 0, false},
        {"1 MB/s, late by up to 20 ms", 1000000, 0, 20 * MS, false},
        {"1 MB/s, late by up to 2 s", 1000000, 0, 2 * S, false},
        {"1 MB/s, burst 3 MB, late by up to 2 s", 1000000, 3000000, 2 * S, false},
        {"1 MB/s of a shared level, punctual", 1000000, 0, 0, true},
        {"1 MB/s of a shared level, late by up to 20 ms", 1000000, 0, 20 * MS, true},
        {"1 MB/s of a shared level, late by up to 2 s", 1000000, 0, 2 * S, true},
    };
    size_t i;

    for (i = 0; i < COUNT_OF(rows); i++) {
        double chunk = rows[i].shared ? 7500 : (double)rows[i].rate / 10, rest, worst, saved = (double)rows[i].burst;
        double catch_up = rows[i].late ? (double)rows[i].rate / 4 : 0;
        double grid = 0.002 * (double)rows[i].rate, now = 1 + 20e-6 * (double)rows[i].rate; /* due so soon is due now */
        char what[160];

        worst = worst_interval(&rows[i], &rest);
        printf("# %s: from rest %.0f bytes over the line, in any interval %.0f\n", rows[i].what, rest, worst);
        snprintf(what, sizeof what, "%s: from rest the burst and half a chunk over the line", rows[i].what);
        in_range(rest, rows[i].late ? 0 : saved, saved + chunk / 2 + now, what);
        snprintf(what, sizeof what, "%s: in any interval burst or catch-up and a chunk and a half", rows[i].what);
        in_range(worst, chunk, (saved > catch_up ? saved : catch_up) + 1.5 * chunk + grid, what);
    }
}

int main(void)
{
    test_chunk_times();
    test_ones();
    test_missed_turns();
    test_chunk_bytes();
    test_no_level();
    test_grid();
    test_catch_up();
    test_yielding();
    test_due();
    test_levels();
    test_wake();
    test_burst();
    test_intervals();
    return done_testing();
}
