/* SPDX-License-Identifier: Apache-2.0
 *
 * A table of keys whose bytes anybody may have written, between pages that nobody
 * may touch: keys are pinned, unpinned, peeked at, rows settled, bytes spoilt in
 * between; every call returns, inside, and no lock is left held. As long as
 * nothing was spoilt, no key has more pins than are held, and none is lost.
 */
#include "locks.h"
#include "xl_pin.h"

#define CELLS 128u
#define ROWS 3u
#define PINS 8u
#define STEPS_MOST 512
#define HELD_MOST 32u

typedef struct {
    xl_pin_t pin;
    uint32_t row;
} holder_t;

static void read_all(const xl_table_t *table)
{
    char text[XL_TABLE_LABEL_BYTES + 1];
    xl_table_totals_t totals;
    bool usage;

    for (uint32_t i = 0; i <= CELLS; i++) {
        xl_table_text(table, i, text);
        must(strlen(text) <= XL_TABLE_LABEL_BYTES && xl_table_owner(table, i, &usage) < UINT32_C(1) << 31);
    }
    xl_table_totals(table, &totals);
    must(totals.used <= CELLS && totals.pinned <= totals.used && totals.cells == CELLS);
    must(!xl_table_cell(table, CELLS) && !held_locks);
}

/* A key of one stripe, so that its 8 cells are wanted by many. */
static void step(fuzz_t *f, xl_table_t *table, holder_t *holder, bool sound)
{
    uint8_t what = fuzz_byte(f), which = fuzz_byte(f);
    xl_table_key_t key = {
        .id = {which % 24u, which % 24u + 1u}, .owner = which, .usage = what & 64, .text = "\303\274key"};
    uint64_t now_ms = fuzz_number(f);
    bool full;

    if (what % 4 == 0 && holder->pin.cell == XL_NO_CELL) {
        holder->row = which % (ROWS + 1);
        holder->pin = xl_table_pin_most(table, holder->row, &key, now_ms, what & 32 ? 2 : UINT32_MAX, &full);
        must(!sound || holder->pin.cell == XL_NO_CELL || xl_table_peek(table, key.id) > 0);
    } else if (what % 4 == 3 && which > 250) {
        xl_table_settle(table, what / 4 % (ROWS + 1)); /* its pins are gone; unpinning them does nothing */
    } else {
        xl_table_unpin(table, holder->row, holder->pin);
        holder->pin.cell = XL_NO_CELL;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t room = xl_table_size(CELLS, ROWS, PINS);
    unsigned char *base = fuzz_guarded(room);
    holder_t holders[HELD_MOST];
    fuzz_t f = {data, data + size};
    xl_table_t table;
    bool sound = true;
    unsigned i;

    held_locks = 0;
    memset(holders, 0xFF, sizeof(holders));
    must(!xl_table_init(&table, base, room, CELLS, ROWS, PINS, &locks));
    for (i = 0; i < STEPS_MOST && f.at < f.end; i++) {
        if (*f.at % 8 == 7 && f.at++) {
            fuzz_spoil(&f, base, room);
            sound = false;
        } else {
            step(&f, &table, &holders[fuzz_byte(&f) % HELD_MOST], sound);
        }
    }
    read_all(&table);
    fuzz_unguard(base, room);
    return 0;
}
