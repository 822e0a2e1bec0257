/* SPDX-License-Identifier: Apache-2.0
 *
 * The keyed table: sizes, finding and putting in, who is evicted and who never
 * is. Pins are in pin.c, what was left half done in table_repair.c, two at once
 * in table_turns.c, real kills in table_kill.c.
 */
#include "table_scene.h"

static bool is_there(const xl_table_t *table, fingerprint_t of)
{
    uint32_t i;

    for (i = 0; i < table->sets * XL_TABLE_WAYS; i++) {
        const xl_cell_t *cell = xl_table_cell(table, i);

        if (atomic_load(&cell->control) & XL_CONTROL_LIVE && !memcmp(cell->id, of.id, sizeof(of.id)))
            return true;
    }
    return false;
}

static void test_sizes(void)
{
    static const struct {
        uint32_t cells, rows, pins, rounded;
    } t[] = { { 1, 1, 1, 128 },       { 128, 1, 8, 128 },       { 129, 64, 100, 256 },
              { 10000, 64, 1, 10112 }, { 1000000, 512, 32768, 1000064 } };
    size_t i;

    for (i = 0; i < COUNT_OF(t); i++) {
        size_t size = xl_table_size(t[i].cells, t[i].rows, t[i].pins);
        size_t twice = xl_table_size(2 * t[i].rounded, t[i].rows, t[i].pins);

        is_u64(size % 64, 0, "a size is whole cache lines");
        is_u64(xl_table_cells(size, t[i].rows, t[i].pins), t[i].rounded, "cells is the inverse of size");
        is_u64(xl_table_cells(size - 1, t[i].rows, t[i].pins), t[i].rounded - 128, "a byte less holds 128 less");
        is_u64(twice - size, 96 * (uint64_t)t[i].rounded, "96 bytes per key");
    }
    is_u64(xl_table_size(128, 65, 8) - xl_table_size(128, 64, 8), 8 * 8 + 64, "8 bytes per pin");
    is_u64(xl_table_cells(1000, 1, 1), 0, "nothing fits into 1,000 bytes");
    is_u64(xl_table_cells(SIZE_MAX, 1, 1), UINT32_MAX / 128 * 128, "of all memory there is, as many as have a number");
    ok(!xl_table_size(0, 1, 1) && !xl_table_size(1, 0, 1) && !xl_table_size(1, 1, 0), "nothing of something is no size");
    ok(!xl_table_size(UINT32_MAX, 1, 1), "more cells than have numbers are no size");
    ok(!xl_table_size(1, UINT32_MAX, UINT32_MAX), "an overflow is no size");
}

static void test_init(void)
{
    size_t size = xl_table_size(SMALL, ROWS, PINS), i, written = 0;
    unsigned char *base = guarded(size);
    xl_table_t table;

    ok(xl_table_init(&table, base, size, 0, ROWS, PINS, &lock) != NULL, "no cells are refused");
    ok(xl_table_init(&table, base, size, SMALL, 0, PINS, &lock) != NULL, "no rows are refused");
    ok(xl_table_init(&table, base, size - 1, SMALL, ROWS, PINS, &lock) != NULL, "a byte too little is refused");
    ok(xl_table_init(&table, base + 8, size, SMALL, ROWS, PINS, &lock) != NULL, "half a cache line is refused");
    is_str(xl_table_init(&table, base, size, SMALL, ROWS, PINS, &lock), NULL, "init takes a block of that size");
    for (i = 0; i < size; i++)
        written += base[i] != 0;
    is_u64(written, 0, "and writes nothing");
    ok((unsigned char *)(table.label + SMALL) == base + size, "the labels end where the block does");
    ok(!xl_table_cell(&table, SMALL) && !xl_table_cell(&table, XL_NO_CELL), "no cell out of range");
    ok(xl_table_cell(&table, SMALL - 1) == (xl_cell_t *)(void *)table.label - 1, "the last cell is before the labels");
}

static void test_find(void)
{
    xl_table_t table = fresh(DOUBLE);
    fingerprint_t a = key(3, 1), b = key(3, 2);
    xl_pin_t first = pin(&table, 0, a, T0), again = pin(&table, 1, a, T0), other = pin(&table, 0, b, T0);
    xl_cell_t *cell = xl_table_cell(&table, first.cell);

    ok(cell && again.cell == first.cell, "one key, one cell, for whatever process");
    ok(other.cell != first.cell && other.cell != XL_NO_CELL, "another key, another cell");
    is_u64(xl_cell_pins(cell), 2, "with the pins of both");
    is_u64(log_.locks, 2, "who is there is found without the lock");
    atomic_store(&cell->meter.tat_ns, 77);
    xl_table_unpin(&table, 0, first);
    xl_table_unpin(&table, 0, first);
    is_u64(xl_cell_pins(cell), 1, "a pin goes back once");
    xl_table_unpin(&table, 0, again);
    is_u64(xl_cell_pins(cell), 1, "by who has it");
    xl_table_unpin(&table, 1, again);
    is_u64(xl_cell_pins(cell), 0, "in the end nobody has");
    again = pin(&table, 2, a, T0);
    ok(again.cell == first.cell && atomic_load(&cell->meter.tat_ns) == 77, "a key stays when nobody uses it");
    xl_table_unpin(&table, 0, (xl_pin_t){ XL_NO_CELL, 0 });
    xl_table_unpin(&table, 0, (xl_pin_t){ UINT32_MAX - 1, 0 });
    xl_table_unpin(&table, 0, (xl_pin_t){ other.cell, PINS });
    xl_table_unpin(&table, ROWS, other);
    is_u64(xl_cell_pins(xl_table_cell(&table, other.cell)), 1, "what is no pin of anything is none");
    is_u64(pin(&table, ROWS, b, T0).cell, XL_NO_CELL, "who has no row gets no cell");
    is_u64(pin(&table, UINT32_MAX, b, T0).cell, XL_NO_CELL, "nor who has none of all");
    sound(&table, "finding");
    discard(&table, DOUBLE);
}

static void test_tags(void)
{
    xl_table_t table = fresh(SMALL);
    fingerprint_t half[2];
    uint32_t cells[3], i;

    for (i = 0; i < 3; i++)
        cells[i] = visit(&table, tagged_key(5, i, 42), T0);
    ok(cells[0] != cells[1] && cells[1] != cells[2] && cells[0] != cells[2], "keys of one tag have cells of their own");
    for (i = 0; i < 3; i++)
        is_u64(visit(&table, tagged_key(5, i, 42), T0), cells[i], "in which each is found again");
    is_u64(log_.locks, 3, "without the lock");
    half[0] = half[1] = tagged_key(5, 9, 43);
    half[1].id[0]++;
    i = visit(&table, half[0], T0);
    cells[0] = visit(&table, half[1], T0);
    ok(i != cells[0] && i != XL_NO_CELL && cells[0] != XL_NO_CELL, "so have keys whose second halves are the same");
    log_.locks = 3;
    i = visit(&table, tagged_key(6, 1, 0), T0);
    is_u64(visit(&table, tagged_key(6, 1, 0), T0), i, "a key whose tag would be 0 is found, too");
    is_u64(log_.locks, 4, "without the lock");
    sound(&table, "tags");
    discard(&table, SMALL);
}

/* Both sets of a key are used to the end, and evenly. */
static void test_two_choices(void)
{
    xl_table_t table = fresh(DOUBLE), large = fresh(65536);
    xl_table_totals_t totals;
    uint32_t first = 0, i;

    for (i = 0; i < 8; i++)
        first += visit(&table, key(9, i), T0) / XL_TABLE_WAYS == 9 * 2;
    is_u64(first, 4, "half of the keys of a stripe go to each set");
    for (i = 8; i < 16; i++)
        visit(&table, key(9, i), T0);
    xl_table_totals(&table, &totals);
    is_u64(totals.evictions, 0, "sixteen keys fit into both");
    for (i = 0; i < 65536 * 3 / 4; i++)
        visit(&large, (fingerprint_t){ { mix(2 * i), mix(2 * i + 1) } }, T0);
    xl_table_totals(&large, &totals);
    in_range((double)totals.evictions, 0, 65536 * 0.75 * 0.001, "at three quarters of all cells, keys lost in 49,152");
    is_u64(totals.used + totals.evictions, 65536 * 3 / 4, "all keys are there or were evicted");
    sound(&large, "a table at three quarters");
    discard(&table, DOUBLE);
    discard(&large, 65536);
}

/* Eight cells of one set: ages in units before the newcomer's, and what hinders each from going. */
typedef struct {
    const char *what;
    int64_t age[8];
    const char *state; /* of each cell: '.' nothing, 'p' pinned, 'L' locked out, 'B' both, 'x' no longer locked out */
    int goes;          /* -1: nobody */
} row_t;

static const row_t evictions[] = {
    { "the oldest", { 3, 4, 9, 1, 0, 2, 5, 6 }, "........", 2 },
    { "the oldest but one that is pinned", { 3, 4, 9, 1, 0, 2, 5, 6 }, "..p.....", 7 },
    { "the only one that may", { 9, 9, 9, 9, 9, 0, 9, 9 }, "ppppp.pp", 5 },
    { "a stamp that is ahead counts as new", { 1, 2, -9, 1, -1000000, 1, 1, 1 }, "........", 1 },
    { "nobody when all are pinned", { 9, 8, 7, 6, 5, 4, 3, 2 }, "pppppppp", -1 },
    { "not who is locked out", { 9, 8, 7, 6, 5, 4, 3, 2 }, "LLLL....", 4 },
    { "who no longer is", { 9, 8, 7, 6, 5, 4, 3, 2 }, "LxLL....", 1 },
    { "nobody when half is locked out and half is pinned", { 9, 8, 7, 6, 5, 4, 3, 2 }, "LpLpLpLp", -1 },
    { "the oldest when more than half is locked out", { 5, 6, 7, 6, 5, 4, 3, 2 }, "LLLLL...", 2 },
    { "the oldest, though not locked out itself", { 5, 6, 7, 6, 5, 4, 3, 8 }, "LLLLL...", 7 },
    { "a locked-out one when the rest is pinned", { 5, 6, 7, 6, 5, 4, 3, 8 }, "LLLLLppp", 2 },
    { "the oldest of all that are locked out", { 5, 6, 7, 9, 5, 4, 3, 8 }, "LLLLLLLL", 3 },
    { "of those not who is pinned", { 5, 6, 7, 9, 5, 4, 3, 8 }, "LLLBLLLL", 7 },
    { "nobody when all are locked out and pinned", { 1, 2, 3, 4, 5, 6, 7, 8 }, "BBBBBBBB", -1 },
};

static void fill_set(xl_table_t *table, const row_t *t, uint64_t now_ms)
{
    int i;

    for (i = 0; i < 8; i++) {
        xl_pin_t got = pin(table, 1, key(7, (uint32_t)i), now_ms - UNIT * (uint64_t)t->age[i]);
        xl_cell_t *cell = xl_table_cell(table, got.cell);

        atomic_store(&cell->bytes, 1u << i);
        if (t->state[i] == 'L' || t->state[i] == 'B')
            atomic_store(&cell->mark, (now_ms + 1) << 20);
        if (t->state[i] == 'x')
            atomic_store(&cell->mark, (now_ms) << 20);
        if (t->state[i] != 'p' && t->state[i] != 'B')
            xl_table_unpin(table, 1, got);
    }
}

static void test_eviction(uint64_t now_ms)
{
    size_t i;

    for (i = 0; i < COUNT_OF(evictions); i++) {
        const row_t *t = &evictions[i];
        xl_table_t table = fresh(SMALL);
        xl_table_totals_t totals;
        uint32_t gone = 0, cell, k;

        fill_set(&table, t, now_ms);
        cell = pin(&table, 0, key(7, 100), now_ms).cell;
        for (k = 0; k < 8; k++)
            gone |= is_there(&table, key(7, k)) ? 0 : 1u << k;
        xl_table_totals(&table, &totals);
        ok((cell == XL_NO_CELL) == (t->goes < 0) && gone == (t->goes < 0 ? 0 : 1u << t->goes), "goes: %s", t->what);
        is_u64(totals.evicted_bytes, gone, "with its bytes");
        is_u64(totals.evictions, gone != 0, "which is one eviction or none");
        is_u64(audit_table(&table).bytes, 255, "and nothing is lost");
        sound(&table, "eviction");
        discard(&table, SMALL);
    }
}

/* A pin makes a key young; what an evicted key counted, the next one has not. */
static void test_ageing(void)
{
    xl_table_t table = fresh(SMALL);
    xl_pin_t got;
    xl_cell_t *cell;
    uint32_t i;

    for (i = 0; i < 8; i++)
        visit(&table, key(1, i), T0 + UNIT * i);
    got = pin(&table, 0, key(1, 1), T0);
    cell = xl_table_cell(&table, got.cell);
    atomic_store(&cell->meter.tat_ns, 1);
    atomic_store(&cell->meter.units, 2);
    atomic_store(&cell->requests, 3);
    atomic_store(&cell->mark, (T0) << 20);
    xl_table_unpin(&table, 0, got);
    visit(&table, key(1, 0), T0 + UNIT * 20);
    got = pin(&table, 0, key(1, 50), T0 + UNIT * 21);
    ok(xl_table_cell(&table, got.cell) == cell, "who was seen again stays, the next oldest goes");
    ok(!atomic_load(&cell->meter.tat_ns) && !atomic_load(&cell->meter.units) && !atomic_load(&cell->bytes) &&
           !atomic_load(&cell->requests) && !atomic_load(&cell->mark), "a new key begins with nothing");
    is_u64(audit_table(&table).requests, 3, "requests are folded as bytes are");
    sound(&table, "ageing");
    discard(&table, SMALL);
}

static void test_refused_lock(void)
{
    xl_table_t table = fresh(SMALL);
    uint32_t cell = visit(&table, key(2, 1), T0);

    log_.refuses = true;
    is_u64(visit(&table, key(2, 1), T0), cell, "without the lock who is there is still found");
    is_u64(pin(&table, 0, key(2, 2), T0).cell, XL_NO_CELL, "and a new key gets no cell");
    log_.refuses = false;
    ok(visit(&table, key(2, 2), T0) != XL_NO_CELL, "until it can be had again");
    sound(&table, "a lock that could not be had");
    discard(&table, SMALL);
}

static void test_labels(void)
{
    static const struct {
        const char *text, *want;
    } t[] = {
        { "192.0.2.7", "192.0.2.7" },
        { "", "" },
        { "12345678901234567890", "12345678901234567890" },
        { "123456789012345678901", "12345678901234567890" },
        { "2001:db8:1111:2222:3333:4444:5555:6666", "2001:db8:1111:2222:3" },
        { "2001:db8:1111:2222::", "2001:db8:1111:2222::" },
        { "1234567890123456789\303\251", "1234567890123456789" },
        { "12345678901234567\342\202\254\342\202\254", "12345678901234567\342\202\254" },
        { "1234567890123456\342\202\254\342\202\254", "1234567890123456\342\202\254" },
    };
    xl_table_t table = fresh(SMALL);
    char label[XL_TABLE_LABEL_BYTES + 1];
    uint32_t i;

    for (i = 0; i < COUNT_OF(t); i++) {
        xl_pin_t got = pin_named(&table, 0, key(0, i), t[i].text, T0);

        xl_table_text(&table, got.cell, label);
        is_str(label, t[i].want, "a label is cut between characters");
        xl_table_unpin(&table, 0, got);
    }
    memset(table.label, 'x', SMALL * sizeof(*table.label));
    xl_table_text(&table, 1, label);
    is_u64(strlen(label), XL_TABLE_LABEL_BYTES, "whatever stands there, a label ends");
    xl_table_text(&table, XL_NO_CELL, label);
    is_str(label, "", "no cell, no label");
    discard(&table, SMALL);
}

static void test_most(void)
{
    xl_table_t table = fresh(SMALL);
    xl_table_key_t wanted = named(key(3, 1), "x");
    xl_pin_t got[3];
    bool full;
    int i;

    is_u64(xl_table_peek(&table, wanted.id), 0, "who is not there has no pins");
    for (i = 0; i < 3; i++) {
        got[i] = xl_table_pin_most(&table, 0, &wanted, T0, 2, &full);
        ok((got[i].cell != XL_NO_CELL) == (i < 2) && full == (i == 2), "two of two, and no third");
    }
    is_u64(xl_table_peek(&table, wanted.id), 2, "two pins are seen from outside");
    ok(pin(&table, 1, key(3, 1), T0).cell == got[0].cell, "who names no bound is let in");
    xl_table_unpin(&table, 0, got[0]);
    ok(xl_table_pin_most(&table, 1, &wanted, T0, 2, &full).cell == XL_NO_CELL && full, "three less one are too many");
    xl_table_unpin(&table, 0, got[1]);
    ok(xl_table_pin_most(&table, 1, &wanted, T0, 2, &full).cell != XL_NO_CELL && !full, "one less are not");
    sound(&table, "bounded pins");
    discard(&table, SMALL);
}

static void test_usage(void)
{
    static const xl_period_t hour = { .kind = XL_PERIOD_TIME, .length_ms = 3600000 };
    xl_table_t table = fresh(SMALL);
    xl_table_key_t wanted = named(key(4, 100), "quota");
    xl_table_totals_t totals;
    bool usage;
    xl_pin_t got;
    uint32_t i;

    wanted.usage = true;
    got = xl_table_pin(&table, 0, &wanted, T0);
    xl_usage_add(&xl_table_cell(&table, got.cell)->usage, &hour, 5000, T0);
    is_u64(xl_usage_read(&xl_table_cell(&table, got.cell)->usage, &hour, T0).used, 5000, "a cell counts by usage");
    ok(xl_table_owner(&table, got.cell, &usage) == 7 && usage, "its label says so");
    xl_table_unpin(&table, 0, got);
    for (i = 0; i < 9; i++)
        visit(&table, key(4, 200 + i), T0 + UNIT * (i + 1));
    xl_table_totals(&table, &totals);
    ok(totals.evictions == 2 && !totals.evicted_bytes && !totals.evicted_requests, "what it used is no total");
    for (i = 0; i < XL_TABLE_WAYS; i++)
        ok(!atomic_load(&table.cell[4 * XL_TABLE_WAYS + i].meter.units), "and nothing of it stays in the cell");
    discard(&table, SMALL);
}

static void test_totals(void)
{
    xl_table_t table = fresh(SMALL);
    xl_table_totals_t totals;
    uint32_t i;

    for (i = 0; i < 20; i++)
        visit(&table, key(i % 2, i), T0 + UNIT * i);
    pin(&table, 0, key(0, 18), T0 + UNIT * 30);
    pin(&table, 1, key(0, 18), T0 + UNIT * 30);
    xl_table_totals(&table, &totals);
    is_u64(totals.cells, SMALL, "all cells");
    is_u64(totals.used, 16, "those with a key");
    is_u64(totals.pinned, 1, "those in use");
    is_u64(totals.evictions, 4, "keys that went");
    discard(&table, SMALL);
}

int main(void)
{
    test_sizes();
    test_init();
    test_find();
    test_tags();
    test_two_choices();
    test_eviction(T0);
    test_eviction(((UINT64_C(1) << 32) + 2) * UNIT + 100); /* stamps of both sides of their end */
    test_ageing();
    test_refused_lock();
    test_labels();
    test_most();
    test_usage();
    test_totals();
    return done_testing();
}
