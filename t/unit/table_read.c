/* SPDX-License-Identifier: Apache-2.0
 *
 * What a status page reads of a table: a copy of each cell that has a key, with
 * its counters, its name and who uses it; nothing of free cells, of cells out of
 * range, or of a block full of rubbish; and how many keys are locked out.
 */
#include "tap.h"

#include "table.h"

#define SMALL 128u
#define T0 UINT64_C(1000000)

static lock_log_t log_;
static const xl_table_lock_t lock = { log_lock, log_unlock, &log_ };

static uint32_t copies_of(const xl_table_t *table, xl_table_copy_t *last)
{
    xl_table_copy_t copy = { 0 };
    uint32_t i, n = 0;

    for (i = 0; xl_table_cell(table, i); i++) {
        if (!xl_table_copy(table, i, &copy))
            continue;
        *last = copy;
        n++;
    }
    return n;
}

/* The cells with a key, one after the other, are those that have one. */
static void cells_in_turn(const xl_table_t *table, const char *what)
{
    uint32_t next = xl_table_next(table, 0), i, cells = table->sets * XL_TABLE_WAYS;
    unsigned wrong = 0;

    for (i = 0; i < cells; i++) {
        bool has_key = atomic_load(&table->set[i / XL_TABLE_WAYS].tag[i % XL_TABLE_WAYS]) != 0;

        wrong += has_key != (next == i);
        if (next == i)
            next = xl_table_next(table, i + 1);
    }
    ok(!wrong && next == XL_NO_CELL && xl_table_next(table, cells) == XL_NO_CELL &&
       xl_table_next(table, XL_NO_CELL) == XL_NO_CELL, "cells with a key in turn: %s", what);
}

static void test_meter(void)
{
    xl_table_t table = make_table(SMALL, 2, 64, &lock);
    xl_table_copy_t copy = { 0 };
    xl_pin_t pin;
    xl_cell_t *cell;

    is_u64(copies_of(&table, &copy), 0, "an empty table has no rows");
    cells_in_turn(&table, "of none");
    pin = pin_named(&table, 0, key(3, 1), "2001:db8:1234:5678::", T0);
    cell = xl_table_cell(&table, pin.cell);
    atomic_store(&cell->bytes, 500);
    atomic_store(&cell->requests, 7);
    atomic_store(&cell->meter.tat_ns, 9);
    xl_mark_lock(&cell->mark, T0, T0 + 60000);
    pin_named(&table, 1, key(3, 1), "", T0);
    is_u64(copies_of(&table, &copy), 1, "one key, one row");
    is_str(copy.text, "2001:db8:1234:5678::", "its name, which has no 0 behind it in the table");
    ok(copy.owner == 7 && !copy.has_usage && copy.pins == 2, "its limit, and two who use it");
    ok(copy.bytes == 500 && copy.requests == 7 && copy.meter.tat_ns == 9, "its counters");
    is_u64(xl_mark_locked_ms(&copy.mark, T0), 60000, "for how long it is locked out");
    ok(!xl_table_copy(&table, SMALL, &copy) && !xl_table_copy(&table, XL_NO_CELL, &copy), "no cell is out of range");
    is_u64(log_.locks, 1, "without a lock, but for putting it in");
    discard(&table, SMALL);
}

static void test_usage(void)
{
    static const xl_period_t hour = { .kind = XL_PERIOD_TIME, .length_ms = 3600000 };
    xl_table_t table = make_table(SMALL, 2, 64, &lock);
    xl_table_key_t wanted = named(key(4, 1), "quota");
    xl_table_copy_t copy = { 0 };
    xl_pin_t pin;

    wanted.usage = true;
    pin = xl_table_pin(&table, 0, &wanted, T0);
    xl_usage_add(&xl_table_cell(&table, pin.cell)->usage, &hour, 5000, T0);
    is_u64(copies_of(&table, &copy), 1, "a quota");
    ok(copy.has_usage && !copy.bytes && !copy.requests, "has a usage and no totals");
    is_u64(xl_usage_read(&copy.usage, &hour, T0).used, 5000, "which reads as that of the cell");
    discard(&table, SMALL);
}

static void test_locked(void)
{
    xl_table_t table = make_table(SMALL, 2, 64, &lock);
    uint32_t i;

    for (i = 0; i < 6; i++) {
        xl_pin_t pin = pin_named(&table, 0, key(i, i), "x", T0);

        if (i % 2)
            xl_mark_lock(&xl_table_cell(&table, pin.cell)->mark, T0, T0 + 1000 * i);
        xl_table_unpin(&table, 0, pin);
    }
    cells_in_turn(&table, "of six");
    for (i = 6; i < 4 * SMALL; i++)
        xl_table_unpin(&table, 0, pin_named(&table, 0, key(i, i), "x", T0));
    cells_in_turn(&table, "of as many as there is room for");
    is_u64(xl_table_locked(&table, T0), 3, "three of all are locked out");
    is_u64(xl_table_locked(&table, T0 + 1000), 2, "one no longer");
    is_u64(xl_table_locked(&table, T0 + 5000), 0, "none any more");
    discard(&table, SMALL);
}

/* Others write to the block: whatever stands there is read, and ends in bounds. */
static void test_rubbish(void)
{
    xl_table_t table = make_table(SMALL, 2, 64, &lock);
    size_t size = xl_table_size(SMALL, 2, 64), i;
    xl_table_copy_t copy = { 0 };
    unsigned round, long_texts = 0;
    uint32_t n = 0;

    for (round = 0; round < 20; round++) {
        for (i = 0; i + 8 <= size; i += 8) {
            uint64_t word = round ? mix(round * size + i) : UINT64_MAX;

            memcpy(table.base + i, &word, sizeof(word));
        }
        n += copies_of(&table, &copy);
        cells_in_turn(&table, "of rubbish");
        long_texts += strlen(copy.text) > XL_TABLE_LABEL_BYTES;
        ok(xl_table_locked(&table, T0) <= SMALL, "so many are locked out at most");
    }
    ok(n > 0 && n <= 20 * SMALL, "what has a tag is read");
    is_u64(long_texts, 0, "no text is longer than it may be");
    discard(&table, SMALL);
}

int main(void)
{
    test_meter();
    test_usage();
    test_locked();
    test_rubbish();
    return done_testing();
}
