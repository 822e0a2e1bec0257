/* SPDX-License-Identifier: Apache-2.0
 *
 * Kills: six processes attach entries, find them, take over old ones, claim and
 * release rows under two robust mutexes, and count without; one after the other is
 * killed and another started in its place. Two more are never killed. Who locks
 * after a dead one looks at all of the ledger before he changes anything. Now and
 * then all stand still, and it is held against what each had acknowledged.
 *
 * Entries of one sort are kept: appended bit by bit and never given away; what is
 * counted in them is known to the last unit for who is never killed (in the upper
 * half of the word), for the others to one unit for each kill. Those of the other
 * sort take each other's places: each must begin clean, and is left dirty.
 *
 * So that a kill comes between any two accesses as often as any others, all give
 * the processor away at accesses drawn by lot.
 *
 *     ledger_kill [KILLS]     so many; without a number, as many as fit into three seconds
 */
#include "kills.h"
#include "ledger_access.h"
#include "tap.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { MORTALS = 6, PROCESSES = 8, KEPT = 96, SPARE = 8, PASSING = 32, BATCH = 50, LIFE = 50, YIELDS = 24,
       SECONDS = 3 };
#define ROWS (PROCESSES + 1u)
#define CAPACITY (KEPT + SPARE)
#define EXACT (UINT64_C(1) << 32) /* what who is never killed adds */
_Static_assert(PROCESSES <= STANDING, "each has a place to stand still");
#define NEWEST UINT64_C(10) /* generations: of what is kept, and the oldest that is served */
#define OLDEST UINT64_C(5)

typedef struct {
    pthread_mutex_t mutex[2]; /* of a server, and of the orphans of another one */
    _Atomic uint64_t counted[KEPT][PROCESSES]; /* for certain */
    _Atomic bool attached[KEPT];
    _Atomic uint32_t holds[PROCESSES]; /* the kept entry in which it is active, from 1; 0: none */
    _Atomic uint32_t pid[PROCESSES];
    _Atomic uint32_t limit; /* kept entries that there may be by now */
    _Atomic uint64_t inherited, refused, faults, changes; /* locks of the dead; no room; seen under the lock */
    halt_t halt;
    _Atomic bool stop;
} shared_t;

static shared_t *shared;
static xl_ledger_t ledger;
static uint32_t family; /* whose mutex this process has */
static uint64_t killed, killed_before; /* of all lives, and before this one */

static void turn(void)
{
    static uint64_t drawn;

    drawn = mix(drawn ^ (uint64_t)getpid());
    if (drawn % YIELDS == 0)
        sched_yield();
}

static bool exists(uint32_t pid)
{
    return !kill((pid_t)pid, 0) || errno == EPERM;
}

static const char *name_of(char sort, uint32_t n)
{
    static char name[16];

    snprintf(name, sizeof(name), "%c%u", sort, n);
    return name;
}

static uint32_t attach(char sort, uint32_t n, uint64_t generation)
{
    return xl_ledger_attach(&ledger, XL_ENTRY_QUOTA, "www.example.org:80", "/", name_of(sort, n), generation, OLDEST);
}

static uint32_t find(char sort, uint32_t n)
{
    uint64_t id[2];

    xl_ledger_id(XL_ENTRY_QUOTA, "www.example.org:80", "/", name_of(sort, n), id);
    return xl_ledger_find(&ledger, id);
}

/* ---- what must hold at any time ---------------------------------------- */

static uint64_t fault(const char *what, uint32_t n)
{
    printf("# %s: %u\n", what, n);
    return fflush(stdout), 1;
}

/* Who calls has the mutex, or nobody works. */
static uint64_t audit_entries(void)
{
    uint64_t faults = 0;
    uint32_t i, j, last = 0;
    size_t offset;

    for (i = 0; i < CAPACITY; i++) {
        const xl_entry_t *entry = xl_ledger_entry(&ledger, i);

        if (atomic_load(&entry->kind) == XL_ENTRY_FREE)
            continue;
        last = i + 1;
        if (xl_ledger_check_entry(entry, 0, &offset))
            faults += fault("half an entry", i);
        for (j = 0; j < i; j++)
            if (atomic_load(&xl_ledger_entry(&ledger, j)->kind) != XL_ENTRY_FREE
                && !memcmp(xl_ledger_entry(&ledger, j)->id, entry->id, sizeof(entry->id)))
                faults += fault("an entry twice", i);
    }
    if (used_entries(&ledger) < last)
        faults += fault("an entry beyond the count", last);
    return faults;
}

/* ---- the lock ---------------------------------------------------------- */

static void lock_ledger(void)
{
    int rc = pthread_mutex_lock(&shared->mutex[family]);

    while (!xl_ledger_take(&ledger, (uint32_t)getpid(), exists))
        sched_yield();
    if (rc == EOWNERDEAD) {
        atomic_fetch_add(&shared->inherited, 1);
        rc = pthread_mutex_consistent(&shared->mutex[family]);
        atomic_fetch_add(&shared->faults, audit_entries());
    }
    if (rc)
        _exit(1);
}

static void unlock_ledger(void)
{
    xl_ledger_leave(&ledger);
    pthread_mutex_unlock(&shared->mutex[family]);
}

static void make_shared(void)
{
    size_t size = xl_ledger_size(ROWS, CAPACITY);
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED || shared == MAP_FAILED || xl_ledger_init(&ledger, base, size, ROWS, "boot", 1000))
        exit(1);
    robust_mutex(&shared->mutex[0]);
    robust_mutex(&shared->mutex[1]);
}

/* ---- a process ---------------------------------------------------------- */

typedef struct {
    uint32_t number, row;
    pid_t parent;
} worker_t;

static void let_go(const worker_t *w)
{
    uint32_t held = atomic_exchange(&shared->holds[w->number], 0);

    if (held)
        xl_entry_leave(&ledger, xl_ledger_entry(&ledger, held - 1), w->row);
}

/* Acknowledged is what was counted before. */
static void use_kept(const worker_t *w, uint32_t n)
{
    xl_entry_t *entry;
    uint32_t index;

    lock_ledger();
    index = attach('k', n, NEWEST);
    unlock_ledger();
    entry = xl_ledger_entry(&ledger, index);
    if (!entry) {
        atomic_fetch_add(&shared->refused, 1);
        return;
    }
    atomic_store(&shared->attached[n], true);
    atomic_fetch_add(&entry->sent_bytes, w->number < MORTALS ? 1 : EXACT);
    atomic_fetch_add(&shared->counted[n][w->number], w->number < MORTALS ? 1 : EXACT);
    let_go(w);
    xl_entry_enter(&ledger, entry, w->row);
    atomic_store(&shared->holds[w->number], index + 1);
}

static bool is_clean(const xl_entry_t *entry)
{
    static const unsigned char nothing[sizeof(xl_entry_t)];

    return !memcmp((const unsigned char *)entry + offsetof(xl_entry_t, meter), nothing + offsetof(xl_entry_t, meter),
                   sizeof(*entry) - offsetof(xl_entry_t, meter))
           && !xl_entry_active(&ledger, entry);
}

/* It may lose its place as soon as the mutex is free. */
static void use_passing(const worker_t *w, uint32_t n, uint64_t generation)
{
    uint32_t before, index;
    xl_entry_t *entry;

    lock_ledger();
    before = find('p', n);
    index = attach('p', n, generation);
    entry = xl_ledger_entry(&ledger, index);
    atomic_fetch_add(&shared->refused, !entry);
    atomic_fetch_add(&shared->changes, before == XL_NO_ENTRY);
    if (entry) {
        if (before == XL_NO_ENTRY && !is_clean(entry))
            atomic_fetch_add(&shared->faults, fault("an entry that begins with what another one had", index));
        for (size_t at = offsetof(xl_entry_t, meter); at < sizeof(*entry); at++)
            ((unsigned char *)entry)[at] = 0xFF;
        xl_entry_enter(&ledger, entry, w->row);
    }
    unlock_ledger();
}

/* As a process that ends and another of the same number that begins. */
static void change_row(worker_t *w, bool sweep)
{
    lock_ledger();
    if (sweep)
        xl_ledger_sweep(&ledger, exists, NULL);
    let_go(w);
    xl_ledger_row_release(&ledger, (uint32_t)getpid(), NULL);
    w->row = xl_ledger_row_claim(&ledger, (uint32_t)getpid(), NEWEST);
    atomic_fetch_add(&shared->refused, w->row == XL_NO_ROW);
    unlock_ledger();
}

static void work(worker_t *w)
{
    uint64_t seed = mix((uint64_t)getpid()), i;

    family = w->number % 2;
    change_row(w, false);
    for (i = 0; !atomic_load(&shared->stop) && (i % 256 || getppid() == w->parent); i++) {
        uint64_t random = mix(seed + i), draw = random >> 8;

        if (random % 8 < 4)
            use_kept(w, (uint32_t)draw % atomic_load(&shared->limit));
        else if (random % 8 < 7)
            use_passing(w, (uint32_t)draw % PASSING, 1 + (draw >> 32) % (OLDEST - 1));
        else
            change_row(w, draw & 1);
        halt_here(&shared->halt, w->number, w->parent);
    }
    let_go(w);
}

static void start(uint32_t number)
{
    worker_t w = { number, XL_NO_ROW, getpid() };
    pid_t pid;

    atomic_store(&shared->holds[number], 0);
    pid = fork();
    if (pid < 0)
        exit(1);
    if (!pid) {
        work(&w);
        _exit(0);
    }
    atomic_store(&shared->pid[number], (uint32_t)pid);
}

/* ---- the parent --------------------------------------------------------- */

static void kill_one(uint64_t random)
{
    uint32_t number = (uint32_t)random % MORTALS, limit = atomic_load(&shared->limit);
    pid_t pid = (pid_t)atomic_load(&shared->pid[number]);

    if (limit < KEPT)
        atomic_store(&shared->limit, limit + 2);
    usleep((useconds_t)(random >> 32) % 500);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    lock_ledger();
    xl_ledger_sweep(&ledger, exists, NULL);
    unlock_ledger();
    killed++;
    start(number);
}

static uint64_t sum(uint32_t n, uint32_t from, uint32_t to)
{
    return from < to ? atomic_load(&shared->counted[n][from]) + sum(n, from + 1, to) : 0;
}

static uint64_t audit_counts(void)
{
    uint64_t faults = 0, more = 0;
    uint32_t n;

    for (n = 0; n < KEPT; n++) {
        const xl_entry_t *entry = xl_ledger_entry(&ledger, find('k', n));
        uint64_t sent = entry ? atomic_load(&entry->sent_bytes) : 0, mortal = sum(n, 0, MORTALS);

        if (atomic_load(&shared->attached[n]) && !entry)
            faults += fault("an entry lost", n);
        if ((sent >> 32) != sum(n, MORTALS, PROCESSES) >> 32 || (sent & (EXACT - 1)) < mortal)
            faults += fault("counted units lost", n);
        more += (sent & (EXACT - 1)) - mortal;
    }
    if (more > killed - killed_before)
        faults += fault("units counted twice", (uint32_t)more);
    return faults;
}

/* Each that lives has a row and is active in what it holds; nobody else is anywhere. */
static uint64_t audit_rows(void)
{
    uint64_t faults = 0;
    uint32_t n, number, row, claimed = 0;

    for (row = 0; row < ROWS; row++)
        claimed += atomic_load(&row_of(&ledger, row)->pid) != 0;
    for (number = 0; number < PROCESSES; number++)
        faults += row_with(&ledger, atomic_load(&shared->pid[number])) == XL_NO_ROW ? fault("no row", number) : 0;
    if (claimed != PROCESSES)
        faults += fault("rows of nobody", claimed);
    for (n = 0; n < KEPT; n++) {
        uint32_t index = find('k', n), active = 0;

        for (number = 0; number < PROCESSES; number++)
            active += atomic_load(&shared->holds[number]) == index + 1;
        if (index != XL_NO_ENTRY && xl_entry_active(&ledger, xl_ledger_entry(&ledger, index)) != active)
            faults += fault("active in vain", n);
    }
    for (row = 0; row < ROWS; row++)
        for (n = 0; n < CAPACITY && !atomic_load(&row_of(&ledger, row)->pid); n++)
            if (atomic_load(&xl_ledger_entry(&ledger, n)->active[row]))
                faults += fault("a free row that is not clean", n);
    return faults;
}

/* Every place can be had: none is lost to an entry that was never finished. */
static uint64_t fill_up(void)
{
    uint64_t faults = 0;
    uint32_t n;

    for (n = 0; n < KEPT; n++)
        faults += attach('k', n, NEWEST) == XL_NO_ENTRY ? fault("no room for", n) : 0;
    for (n = 0; n < SPARE; n++)
        faults += attach('l', n, NEWEST) == XL_NO_ENTRY ? fault("no room for a last", n) : 0;
    faults += attach('l', SPARE, NEWEST) != XL_NO_ENTRY ? fault("one more than fit", SPARE) : 0;
    return faults + audit_entries();
}

/* false: somebody hangs. */
static bool batch(unsigned long kills, uint64_t *faults)
{
    for (unsigned i = 0; i < BATCH && killed < kills; i++)
        kill_one(mix(killed));
    if (!halt_all(&shared->halt, PROCESSES))
        return false;
    *faults += audit_entries() + audit_counts() + audit_rows();
    halt_ends(&shared->halt);
    return true;
}

static void begin_life(void)
{
    memset(ledger.base + XL_LEDGER_HEAD_BYTES, 0, ledger.size - XL_LEDGER_HEAD_BYTES);
    atomic_store(&head_of(&ledger)->used, 0);
    memset(shared->counted, 0, sizeof(shared->counted));
    memset(shared->attached, 0, sizeof(shared->attached));
    atomic_store(&shared->stop, false);
    atomic_store(&shared->limit, 2);
    killed_before = killed;
    for (uint32_t number = 0; number < PROCESSES; number++)
        start(number);
}

/* From an empty ledger to a full one. */
static bool life(unsigned long kills, uint64_t *faults)
{
    bool alive = true;
    int status;

    begin_life();
    while (alive && killed < killed_before + LIFE && killed < kills)
        alive = batch(kills, faults);
    atomic_store(&shared->stop, true);
    for (uint32_t number = 0; number < PROCESSES; number++) {
        pid_t pid = (pid_t)atomic_load(&shared->pid[number]);

        if (!alive)
            kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
        *faults += status ? fault("did not come to its end", number) : 0;
    }
    xl_ledger_sweep(&ledger, exists, NULL);
    *faults += audit_counts() + fill_up();
    return alive;
}

int main(int argc, char **argv)
{
    unsigned long kills = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
    uint64_t until = seconds() + SECONDS, faults = 0, inherited;
    bool alive = true;

    make_shared();
    while (alive && (kills ? killed < kills : seconds() < until))
        alive = life(kills ? kills : KILLS_MOST, &faults);
    inherited = atomic_load(&shared->inherited);
    ok(alive, "nobody hangs");
    is_u64(atomic_load(&shared->faults), 0,
           "who locks after a dead one finds no entry twice, none half made, and each that begins is clean");
    is_u64(faults, 0, "no entry, unit or place is lost or there twice, nobody is active who is gone");
    is_u64(atomic_load(&shared->refused), 0, "nobody is refused an entry or a row");
    ok(killed >= (kills ? kills : 50) && inherited > killed / 50, "%" PRIu64 " kills, %" PRIu64
       " with the lock held, %" PRIu64 " entries that began", killed, inherited, atomic_load(&shared->changes));
    return done_testing();
}
