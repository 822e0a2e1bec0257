/* SPDX-License-Identifier: Apache-2.0
 *
 * Kills: eight processes of two threads each work on one table that is too
 * small for their keys, each holding a few at any time; one after the other is
 * killed, its row settled, and another started in its place. Now and then all
 * are made to stand still, and the table is held against what each of them had
 * acknowledged in memory of its own.
 *
 * Two more processes do the same and are never killed. What they add is counted
 * in the upper half of the bytes, and must be there to the last one; what the
 * others add, one at a time, may be one more for each thread that was killed.
 *
 * So that a kill finds a process within any two accesses to the table as often
 * as within any others, all give the processor away at accesses drawn by lot.
 *
 *     table_kill [KILLS]     so many; without a number, as many as fit into six seconds
 */
#include "kills.h"
#include "table_access.h"
#include "tap.h"

#include <errno.h>

enum { MORTALS = 8, PROCESSES = 10, THREADS = 2, HELD = 4, CELLS = 128, KEYS = 600, PINS = 16, BATCH = 100, YIELDS = 64 };
#define ROWS (PROCESSES + 1u) /* the last one is the parent's */
#define EXACT (UINT64_C(1) << 32) /* what who is never killed adds */
#define SECONDS 6

_Static_assert(PROCESSES * THREADS <= STANDING, "each has a place to stand still");

typedef struct {
    pthread_mutex_t stripe[XL_TABLE_STRIPES];
    _Atomic uint64_t bytes[PROCESSES][THREADS], requests[PROCESSES][THREADS]; /* added for certain */
    _Atomic uint64_t without; /* calls that got no cell */
    _Atomic uint64_t inherited; /* locks whose holder had died */
    _Atomic uint64_t now_ms;
    halt_t halt;
    _Atomic bool stop;
} shared_t;

typedef struct {
    uint64_t kills;
    uint64_t unsettled; /* rows that could not be settled */
    uint64_t in_pin;    /* threads that were killed between INTENT and HELD, or LEAVING and FREE */
} score_t;

static shared_t *shared;
static xl_table_t table;

static void turn(void)
{
    static _Thread_local uint64_t drawn;

    if (!drawn)
        drawn = mix((uint64_t)getpid() << 32 ^ (uintptr_t)&drawn);
    drawn ^= drawn << 13;
    drawn ^= drawn >> 7;
    drawn ^= drawn << 17;
    if (drawn % YIELDS == 0)
        sched_yield();
}

/* ---- the lock ---------------------------------------------------------- */

static bool lock_stripe(void *context, unsigned stripe)
{
    int rc = pthread_mutex_lock(&shared->stripe[stripe]);

    (void)context;
    if (rc == EOWNERDEAD) {
        atomic_fetch_add(&shared->inherited, 1);
        rc = pthread_mutex_consistent(&shared->stripe[stripe]);
    }
    return !rc;
}

static void unlock_stripe(void *context, unsigned stripe)
{
    (void)context;
    pthread_mutex_unlock(&shared->stripe[stripe]);
}

static void make_shared(void)
{
    static const xl_table_lock_t locks = { lock_stripe, unlock_stripe, NULL };
    unsigned i;

    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        exit(1);
    for (i = 0; i < XL_TABLE_STRIPES; i++)
        robust_mutex(&shared->stripe[i]);
    atomic_store(&shared->now_ms, 1000000);
    table = make_table(CELLS, ROWS, PINS, &locks);
}

/* ---- a process ---------------------------------------------------------- */

typedef struct {
    uint32_t row;
    int thread;
    pid_t parent;
} worker_t;

static fingerprint_t key_number(uint32_t n)
{
    return (fingerprint_t){ { mix(2 * n), mix(2 * n + 1) } };
}

/* Half of all visits are to eight keys. Acknowledged is what was added before. */
static void visit(const worker_t *w, xl_pin_t *pin, uint64_t random)
{
    uint64_t now_ms = atomic_load(&shared->now_ms), bytes = w->row < MORTALS ? 1 : EXACT;
    uint32_t n = (uint32_t)(random & 1 ? random >> 1 & 7 : (random >> 1) % KEYS);
    xl_cell_t *cell;

    *pin = pin_named(&table, w->row, key_number(n), "a key", now_ms);
    cell = xl_table_cell(&table, pin->cell);
    if (!cell) {
        atomic_fetch_add(&shared->without, 1);
        return;
    }
    atomic_fetch_add(&cell->bytes, bytes);
    atomic_fetch_add(&shared->bytes[w->row][w->thread], bytes);
    atomic_fetch_add(&cell->requests, 1);
    atomic_fetch_add(&shared->requests[w->row][w->thread], 1);
    if (random >> 32 & 1)
        atomic_store(&cell->mark, (now_ms + 1000) << 20);
}

static void *work(void *data)
{
    const worker_t *w = data;
    xl_pin_t held[HELD];
    uint64_t seed = mix((uint64_t)getpid() << 8 | (uint64_t)w->thread), i;

    for (i = 0; i < HELD; i++)
        held[i].cell = XL_NO_CELL;
    for (i = 0; !atomic_load(&shared->stop) && (i % 1024 || getppid() == w->parent); i++) {
        uint64_t random = mix(seed + i);

        xl_table_unpin(&table, w->row, held[random % HELD]);
        visit(w, &held[random % HELD], random >> 2);
        halt_here(&shared->halt, w->row * THREADS + (unsigned)w->thread, w->parent);
    }
    for (i = 0; i < HELD; i++)
        xl_table_unpin(&table, w->row, held[i]);
    return NULL;
}

static pid_t start(uint32_t row)
{
    worker_t workers[THREADS];
    pthread_t threads[THREADS];
    pid_t parent = getpid(), pid = fork();
    int i;

    if (pid)
        return pid;
    for (i = 0; i < THREADS; i++) {
        workers[i] = (worker_t){ row, i, parent };
        if (i && pthread_create(&threads[i], NULL, work, &workers[i]))
            _exit(1);
    }
    work(&workers[0]);
    for (i = 1; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    _exit(0);
}

/* ---- the parent --------------------------------------------------------- */

/* What the row shows of the instant of the kill. */
static void look(uint32_t row, score_t *score)
{
    uint32_t i;

    for (i = 0; i < PINS; i++) {
        uint64_t state = atomic_load(&table.entry[row * PINS + i]) >> 32;

        score->in_pin += state == XL_PIN_INTENT || state == XL_PIN_LEAVING;
    }
}

/* The others use the cells all the while, so that one can take several tries. */
static bool settle(uint32_t row)
{
    int tries;

    for (tries = 0; tries < 2000; tries++) {
        if (xl_table_settle(&table, row))
            return true;
        usleep(1000);
    }
    return false;
}

static void kill_one(pid_t *pids, uint64_t random, score_t *score)
{
    uint32_t row = (uint32_t)random % MORTALS;

    usleep((useconds_t)(random >> 32) % 500);
    kill(pids[row], SIGKILL);
    waitpid(pids[row], NULL, 0);
    look(row, score);
    score->unsettled += !settle(row);
    score->kills++;
    pids[row] = start(row);
    atomic_fetch_add(&shared->now_ms, 100);
}

static uint64_t sum(const _Atomic uint64_t counted[PROCESSES][THREADS])
{
    uint64_t all = 0;
    int row, i;

    for (row = 0; row < PROCESSES; row++)
        for (i = 0; i < THREADS; i++)
            all += atomic_load(&counted[row][i]);
    return all;
}

/* Nobody works. A key that is not there makes the parent lock its stripe, and
 * so repair it. Returns how many faults there are. */
static unsigned check(const score_t *score, uint32_t *pinned)
{
    uint64_t bytes = sum(shared->bytes), requests = sum(shared->requests), more = score->kills * THREADS;
    audit_t audit;
    unsigned i;

    for (i = 0; i < XL_TABLE_STRIPES; i++) {
        uint64_t now_ms = atomic_fetch_add(&shared->now_ms, 1);

        xl_table_unpin(&table, PROCESSES, pin_named(&table, PROCESSES, key(i, (uint32_t)now_ms), "new", now_ms));
    }
    audit = audit_table(&table);
    print_faults(&audit);
    *pinned = audit.pinned;
    if (audit.bytes < bytes || audit.bytes > bytes + more || audit.requests < requests || audit.requests > requests + more)
        printf("# %#" PRIx64 " bytes and %" PRIu64 " requests in the table, %#" PRIx64 " and %" PRIu64
               " acknowledged\n", audit.bytes, audit.requests, bytes, requests);
    return faults_of(&audit) + (audit.bytes < bytes) + (audit.bytes > bytes + more) + (audit.requests < requests) +
           (audit.requests > requests + more);
}

/* false: somebody hangs. */
static bool batch(pid_t *pids, unsigned long kills, score_t *score, unsigned *faults, uint32_t *least_pinned)
{
    uint32_t pinned;
    unsigned i;

    for (i = 0; i < BATCH && score->kills < kills; i++)
        kill_one(pids, mix(score->kills), score);
    if (!halt_all(&shared->halt, PROCESSES * THREADS))
        return false;
    *faults += check(score, &pinned);
    if (pinned < *least_pinned)
        *least_pinned = pinned;
    halt_ends(&shared->halt);
    return true;
}

int main(int argc, char **argv)
{
    unsigned long kills = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
    uint64_t until = seconds() + SECONDS, odd_ends = 0;
    uint32_t row, pinned = UINT32_MAX;
    score_t score = { 0 };
    pid_t pids[PROCESSES];
    unsigned faults = 0;
    xl_table_totals_t totals;
    bool alive = true;
    int status;

    fflush(stdout);
    make_shared();
    for (row = 0; row < PROCESSES; row++)
        pids[row] = start(row);
    while (alive && (kills ? score.kills < kills : seconds() < until))
        alive = batch(pids, kills ? kills : KILLS_MOST, &score, &faults, &pinned);
    ok(alive, "nobody hangs");
    is_u64(faults, 0, "after each batch no key stands twice, no pin is leaked, no byte is lost or counted twice");
    in_range(pinned, 1, PROCESSES * THREADS * HELD, "cells that were held then, at least");
    atomic_store(&shared->stop, true);
    for (row = 0; row < PROCESSES; row++) {
        if (!alive)
            kill(pids[row], SIGKILL);
        waitpid(pids[row], &status, 0);
        odd_ends += status != 0;
        score.unsettled += !xl_table_settle(&table, row);
    }
    is_u64(odd_ends, 0, "whoever was not killed came to his end");
    is_u64(check(&score, &pinned), 0, "so it is in the end");
    is_u64(pinned, 0, "when nobody holds anything");
    is_u64(score.unsettled, 0, "the row of each that was killed was settled");
    xl_table_totals(&table, &totals);
    ok(score.kills >= (kills ? kills : 50), "%" PRIu64 " kills, %" PRIu64 " in the middle of a pin, %" PRIu64
       " with a lock held", score.kills, score.in_pin, atomic_load(&shared->inherited));
    ok(totals.evictions > score.kills, "%" PRIu64 " evictions, %" PRIu64 " requests, %" PRIu64 " calls without a cell",
       totals.evictions, sum(shared->requests), atomic_load(&shared->without));
    return done_testing();
}
