/* SPDX-License-Identifier: Apache-2.0
 *
 * The keyed table: repair of what a killed process left half done, and what
 * becomes of a block full of nonsense.
 */
#include "table_scene.h"

/* A set of eight keys with 10 bytes each, an insertion into cell 2 of which a
 * process was killed at some step: what the record says and what was done. */
static const struct {
    const char *what;
    unsigned step; /* 1 CHOSEN, 2 FOLDED */
    bool live;
    uint32_t tag;
    uint64_t bytes;              /* of the cell */
    uint64_t then_bytes, totals; /* of the record, of what was evicted so far; 100 before */
    uint32_t used;
    uint64_t want_bytes, want_evictions;
} repairs[] = {
    { "chosen, not taken", 1, true, 3, 10, 0, 100, 8, 100, 0 },
    { "chosen and taken", 1, false, 3, 10, 0, 100, 7, 110, 1 },
    { "chosen, a record begun", 1, false, 3, 10, 110, 100, 7, 110, 1 },
    { "chosen, it was free", 1, false, 0, 0, 0, 100, 7, 100, 0 },
    { "folded, totals to come", 2, false, 3, 10, 110, 100, 7, 110, 1 },
    { "folded, totals done", 2, false, 3, 10, 110, 110, 7, 110, 1 },
    { "folded, counters done", 2, false, 3, 0, 110, 110, 7, 110, 1 },
    { "folded, of a free cell", 2, false, 0, 0, 110, 110, 7, 110, 1 },
    { "folded, new tag written", 2, false, 77, 0, 110, 110, 7, 110, 1 },
    { "complete", 2, true, 77, 0, 110, 110, 8, 110, 1 },
    { "no step of ours", 9, false, 77, 0, 110, 110, 7, 110, 1 },
};

static void test_repair(void)
{
    size_t i;

    for (i = 0; i < COUNT_OF(repairs); i++) {
        xl_table_t table = fresh(SMALL);
        xl_table_stripe_t *stripe = &table.stripe[7];
        uint32_t k, at = 7 * XL_TABLE_WAYS + 2;
        xl_cell_t *cell = xl_table_cell(&table, at);
        xl_table_totals_t totals;

        for (k = 0; k < 8; k++)
            atomic_store(&xl_table_cell(&table, visit(&table, key(7, k), T0))->bytes, 10);
        atomic_store(&stripe->dirty, (uint64_t)repairs[i].step << 32 | at);
        if (!repairs[i].live)
            atomic_fetch_and(&cell->control, ~XL_CONTROL_LIVE);
        atomic_store(&table.set[7].tag[2], repairs[i].tag);
        atomic_store(&cell->bytes, repairs[i].bytes);
        atomic_store(&stripe->bytes, repairs[i].totals);
        atomic_store(&stripe->then_bytes, repairs[i].then_bytes);
        atomic_store(&stripe->then_evictions, 1);
        atomic_store(&stripe->evictions, repairs[i].totals > 100);
        for (k = 0; k < 7; k++) /* so that nothing is evicted by who repairs */
            pin(&table, 1, key(7, k < 2 ? k : k + 1), T0);
        if (repairs[i].used == 8 && repairs[i].step == 1)
            pin(&table, 1, key(7, 2), T0);
        k = pin(&table, 0, key(7, 100), T0).cell;
        xl_table_totals(&table, &totals);
        ok(k == (repairs[i].used == 8 && repairs[i].step == 1 ? XL_NO_CELL : at), "repair: %s: the cell is %s",
           repairs[i].what, k == at ? "free for the next key" : "still that of its key");
        is_u64(totals.evicted_bytes, repairs[i].want_bytes, "no byte is lost or counted twice");
        is_u64(totals.evictions, repairs[i].want_evictions + (k == at && repairs[i].used == 8), "nor an eviction");
        sound(&table, "repair");
        discard(&table, SMALL);
    }
}

/* Nonsense in every word, or in one of some: whatever it says, nothing outside of
 * the block is touched (its neighbours are pages that nobody may touch), every
 * call returns, and no lock stays. */
static unsigned use_all(xl_table_t *table, uint64_t seed)
{
    char label[XL_TABLE_LABEL_BYTES + 1];
    xl_table_totals_t totals;
    unsigned i, outside = 0;

    for (i = 0; i < 64; i++) {
        uint64_t n = mix(seed + i);
        xl_pin_t got = pin(table, (uint32_t)n % ROWS, key((unsigned)(n >> 60), (uint32_t)n % 64), T0 + UNIT * i);

        xl_table_unpin(table, (uint32_t)n % ROWS, got);
        xl_table_text(table, got.cell, label);
        outside += got.cell != XL_NO_CELL && got.cell >= DOUBLE;
    }
    xl_table_totals(table, &totals);
    for (i = 0; i < ROWS; i++)
        xl_table_settle(table, i);
    return outside;
}

static void scribble(xl_table_t *table, size_t size, uint64_t seed, uint64_t one_of)
{
    uint64_t *words = (uint64_t *)(void *)table->base;
    size_t i;

    for (i = 0; i < size / sizeof(*words); i++) {
        uint64_t n = mix(seed ^ i << 20);

        if (n % one_of == 0)
            words[i] = n & 1024 ? mix(n) : mix(n) & UINT64_C(0x00000007001FFFFF); /* often nearly right */
    }
}

static void test_nonsense(void)
{
    xl_table_t table = fresh(DOUBLE);
    size_t size = xl_table_size(DOUBLE, ROWS, PINS);
    unsigned round, stuck = 0, outside = 0;

    for (round = 0; round < 300; round++) {
        scribble(&table, size, round, round % 3 ? 1u << round % 8 : 1);
        outside += use_all(&table, round);
        stuck += log_.held != 0;
    }
    is_u64(round, 300, "the block is filled with nonsense 300 times, and every call returns");
    is_u64(stuck, 0, "without its lock");
    is_u64(outside, 0, "and with a cell of the table or none");
    memset(table.base, 0xFF, size);
    use_all(&table, 1);
    memset(table.base, 0, size);
    use_all(&table, 1);
    sound(&table, "once it is zeroed");
    discard(&table, DOUBLE);
}

int main(void)
{
    test_repair();
    test_nonsense();
    return done_testing();
}
