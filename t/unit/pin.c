/* SPDX-License-Identifier: Apache-2.0
 *
 * Pins: how many there are and who gets them, threads that share a row, and
 * how the row of a dead process is settled from whatever it was killed in.
 */
#include "table.h"
#include "tap.h"

#include <pthread.h>

#define COUNT_OF(a) (sizeof(a) / sizeof *(a))
#define ROWS 4u
#define PINS 64u
#define CELLS 128u /* one set in each stripe */
#define T0 UINT64_C(1000000)

static lock_log_t log_;
static const xl_table_lock_t lock = { log_lock, log_unlock, &log_ };

static xl_table_t fresh(void)
{
    log_ = (lock_log_t){ 0 };
    return make_table(CELLS, ROWS, PINS, &lock);
}

static xl_pin_t pin(xl_table_t *table, uint32_t row, fingerprint_t of)
{
    return pin_named(table, row, of, "192.0.2.1", T0);
}

/* The cell of a key that nobody has pinned. */
static uint32_t unpinned(xl_table_t *table, fingerprint_t of)
{
    xl_pin_t got = pin(table, ROWS - 1, of);

    xl_table_unpin(table, ROWS - 1, got);
    return got.cell;
}

static void sound(const xl_table_t *table, const char *what)
{
    audit_t audit = audit_table(table);

    ok(!faults_of(&audit), "%s: the table is sound", what);
    print_faults(&audit);
}

static void test_pins_exhausted(void)
{
    xl_table_t table = fresh();
    xl_pin_t got[PINS];
    xl_cell_t *cell;
    uint32_t i, missed = 0;

    for (i = 0; i < PINS; i++) {
        got[i] = pin(&table, 0, key(i % 16, i % 32));
        missed += got[i].cell == XL_NO_CELL;
    }
    is_u64(missed, 0, "every pin of a row can be had");
    is_u64(pin(&table, 0, key(1, 1)).cell, XL_NO_CELL, "and no more");
    ok(pin(&table, 1, key(1, 1)).cell != XL_NO_CELL, "while another row has its own");
    sound(&table, "no pin free");
    xl_table_unpin(&table, 0, got[17]);
    got[17] = pin(&table, 0, key(1, 1));
    ok(got[17].cell != XL_NO_CELL, "one that went back can be had again");

    cell = xl_table_cell(&table, got[17].cell);
    atomic_fetch_or(&cell->control, XL_CONTROL_PINS);
    is_u64(pin(&table, 2, key(1, 1)).cell, XL_NO_CELL, "a cell that can count no more pins gets none");
    is_u64(xl_cell_pins(cell), XL_CONTROL_PINS, "and none runs over");
    is_u64(audit_table(&table).duplicates, 0, "nor does its key come a second time");
    discard(&table, CELLS);
}

/* Used entries stay few: settling reads all of them. */
static void test_few_entries(void)
{
    xl_table_t table = fresh();
    uint32_t i;

    for (i = 0; i < 1000; i++) {
        xl_pin_t a = pin(&table, 0, key(1, 1)), b = pin(&table, 0, key(1, 2));

        xl_table_unpin(&table, 0, a);
        xl_table_unpin(&table, 0, b);
    }
    is_u64(atomic_load(&table.top[0]), 2, "who holds two at most has used two entries");
    atomic_store(&table.top[0], UINT32_MAX);
    ok(pin(&table, 0, key(1, 3)).cell != XL_NO_CELL, "a count that is nonsense is not followed");
    ok(xl_table_settle(&table, 0), "nor by who settles");
    sound(&table, "few entries");
    discard(&table, CELLS);
}

/* ---- threads --------------------------------------------------------- */

enum { THREADS = 4, TURNS = 30000, HELD = 4 };

typedef struct {
    xl_table_t *table;
    uint32_t row;
    uint64_t seed, added, none;
} worker_t;

static pthread_mutex_t stripes[XL_TABLE_STRIPES];

static bool lock_stripe(void *context, unsigned stripe)
{
    (void)context;
    return !pthread_mutex_lock(&stripes[stripe]);
}

static void unlock_stripe(void *context, unsigned stripe)
{
    (void)context;
    pthread_mutex_unlock(&stripes[stripe]);
}

static void *come_and_go(void *data)
{
    worker_t *w = data;
    xl_pin_t held[HELD];
    uint32_t i;

    for (i = 0; i < HELD; i++)
        held[i].cell = XL_NO_CELL;
    for (i = 0; i < TURNS; i++) {
        uint64_t n = mix(w->seed + i);
        xl_pin_t *p = &held[i % HELD];

        xl_table_unpin(w->table, w->row, *p);
        *p = pin_named(w->table, w->row, key(n >> 60 & 3, (uint32_t)n % 24), "x", T0 + i);
        if (p->cell == XL_NO_CELL) {
            w->none++;
            continue;
        }
        atomic_fetch_add(&xl_table_cell(w->table, p->cell)->bytes, 3);
        w->added += 3;
    }
    for (i = 0; i < HELD; i++)
        xl_table_unpin(w->table, w->row, held[i]);
    return NULL;
}

/* Two rows with two threads each, 96 keys in 32 cells. */
static void test_threads(void)
{
    static const xl_table_lock_t locks = { lock_stripe, unlock_stripe, NULL };
    xl_table_t table = make_table(CELLS, ROWS, PINS, &locks);
    worker_t workers[THREADS];
    pthread_t threads[THREADS];
    uint64_t added = 0, none = 0;
    audit_t audit;
    int i;

    for (i = 0; i < (int)XL_TABLE_STRIPES; i++)
        pthread_mutex_init(&stripes[i], NULL);
    for (i = 0; i < THREADS; i++) {
        workers[i] = (worker_t){ &table, (uint32_t)i % 2, 1000003u * (uint64_t)i, 0, 0 };
        if (pthread_create(&threads[i], NULL, come_and_go, &workers[i]))
            exit(1);
    }
    for (i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        added += workers[i].added;
        none += workers[i].none;
    }
    audit = audit_table(&table);
    is_u64(audit.bytes, added, "threads: no byte is lost");
    is_u64(audit.pinned, 0, "nor a pin");
    ok(!faults_of(&audit), "the table is sound");
    print_faults(&audit);
    in_range((double)none, 0, THREADS * TURNS * 0.01, "calls that got no cell, where there was one for nearly all");
    ok(xl_table_settle(&table, 0) && xl_table_settle(&table, 1), "nothing is left to be settled");
    discard(&table, CELLS);
}

/* ---- what a dead process leaves -------------------------------------- */

/* The entries of row 0, which is dead, and of row 1 for one cell, and what it counts. */
static const struct {
    const char *what;
    xl_pin_e dead[3], other[2];
    uint32_t counted, settled; /* settled: what is left; UINT32_MAX: cannot be told */
} settlements[] = {
    { "nothing", { 0, 0, 0 }, { 0, 0 }, 0, 0 },
    { "one held", { XL_PIN_HELD, 0, 0 }, { 0, 0 }, 1, 0 },
    { "three held", { XL_PIN_HELD, XL_PIN_HELD, XL_PIN_HELD }, { XL_PIN_HELD, 0 }, 4, 1 },
    { "announced, not counted", { XL_PIN_INTENT, 0, 0 }, { 0, 0 }, 0, 0 },
    { "announced and counted", { XL_PIN_INTENT, 0, 0 }, { 0, 0 }, 1, 0 },
    { "leaving, still counted", { XL_PIN_LEAVING, 0, 0 }, { XL_PIN_HELD, XL_PIN_HELD }, 3, 2 },
    { "leaving, no longer counted", { XL_PIN_LEAVING, 0, 0 }, { XL_PIN_HELD, XL_PIN_HELD }, 2, 2 },
    { "all at once", { XL_PIN_INTENT, XL_PIN_HELD, XL_PIN_LEAVING }, { XL_PIN_HELD, 0 }, 3, 1 },
    { "left by a settler", { XL_PIN_GONE, XL_PIN_GONE, 0 }, { XL_PIN_HELD, 0 }, 2, 1 },
    { "beside what another settler left", { XL_PIN_HELD, XL_PIN_LEAVING, 0 }, { XL_PIN_GONE, XL_PIN_HELD }, 4, 1 },
    { "held while another comes", { XL_PIN_HELD, 0, 0 }, { XL_PIN_INTENT, 0 }, 1, 0 },
    { "announced while another comes", { XL_PIN_INTENT, 0, 0 }, { XL_PIN_INTENT, 0 }, 1, UINT32_MAX },
    { "leaving while another leaves", { XL_PIN_LEAVING, 0, 0 }, { XL_PIN_HELD, XL_PIN_LEAVING }, 2, UINT32_MAX },
    { "what is no state", { (xl_pin_e)7, (xl_pin_e)255, 0 }, { XL_PIN_HELD, 0 }, 2, 1 },
};

static void test_settling(void)
{
    size_t i, k;

    for (i = 0; i < COUNT_OF(settlements); i++) {
        xl_table_t table = fresh();
        uint32_t at = unpinned(&table, key(4, 1)), left = 0;
        xl_cell_t *cell = xl_table_cell(&table, at);
        bool known = settlements[i].settled != UINT32_MAX;

        for (k = 0; k < 3; k++)
            if (settlements[i].dead[k])
                atomic_store(&table.entry[k], xl_pin_word(settlements[i].dead[k], at));
        for (k = 0; k < 2; k++)
            if (settlements[i].other[k])
                atomic_store(&table.entry[PINS + k], xl_pin_word(settlements[i].other[k], at));
        atomic_store(&table.top[0], 3);
        atomic_store(&table.top[1], 2);
        atomic_fetch_add(&cell->control, settlements[i].counted);
        ok(xl_table_settle(&table, 0) == known, "settle: %s: can%s be told", settlements[i].what, known ? "" : "not");
        is_u64(xl_cell_pins(cell), known ? settlements[i].settled : settlements[i].counted, "the pins of the others stay");
        for (k = 0; k < PINS; k++)
            left += atomic_load(&table.entry[k]) != 0;
        is_u64(left, known ? 0 : 1, "and nothing of the dead");
        for (k = 0; k < 2; k++) /* the other is through, one way or the other */
            atomic_store(&table.entry[PINS + k], 0);
        ok(xl_table_settle(&table, 0) && xl_table_settle(&table, 1), "once nobody comes or leaves, it can be told");
        discard(&table, CELLS);
    }
}

/* Rows of two that died in the same instant, on the same cell. */
static void test_settling_both(void)
{
    xl_table_t table = fresh();
    uint32_t at = unpinned(&table, key(4, 1)), i;
    xl_cell_t *cell = xl_table_cell(&table, at);

    for (i = 0; i < 2; i++) {
        atomic_store(&table.top[i], 1);
        atomic_store(&table.entry[i * PINS], xl_pin_word(XL_PIN_LEAVING, at));
    }
    atomic_fetch_add(&cell->control, 1);
    ok(!xl_table_settle(&table, 0), "one may be waiting for the other");
    ok(xl_table_settle(&table, 1), "but not for ever");
    ok(xl_table_settle(&table, 0), "nor the first");
    sound(&table, "two that died at once");
    atomic_store(&table.entry[0], xl_pin_word(XL_PIN_INTENT, 1)); /* a cell without a key */
    ok(xl_table_settle(&table, 0), "who was about to pin what is gone now is settled");
    sound(&table, "a cell that is not live stays so");
    ok(xl_table_settle(&table, ROWS) && xl_table_settle(&table, UINT32_MAX), "no row, nothing to settle");
    discard(&table, CELLS);
}

int main(void)
{
    test_pins_exhausted();
    test_few_entries();
    test_threads();
    test_settling();
    test_settling_both();
    return done_testing();
}
