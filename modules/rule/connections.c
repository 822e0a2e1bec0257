/* SPDX-License-Identifier: Apache-2.0
 *
 * connections: how many requests are being served at once. Of a key that is
 * the number of pins of its cell, which never becomes more than is allowed
 * however many ask at once; of all it is the sum of the processes' columns, where
 * each enters first and looks then, and who finds one too many leaves again.
 * Either is right again when a process is killed. Nobody locks.
 */
#include "xl_dimension.h"

#define ATTEMPTS 1000
#define TRY_AGAIN_MS 1000 /* nobody knows when one of them ends */

static uint32_t most_of(const xl_applied_t *a)
{
    return a->limit->amount < UINT32_MAX ? (uint32_t)a->limit->amount : UINT32_MAX;
}

static uint32_t active(const xl_applied_t *a, const xl_facts_t *facts)
{
    return a->table ? xl_table_peek(a->table, a->key.id) : xl_entry_active(facts->ledger, a->entry);
}

static void note(xl_applied_t *a, uint32_t now)
{
    a->total = a->limit->amount;
    a->left = now < most_of(a) ? most_of(a) - now : 0;
}

static void look(xl_applied_t *a, const xl_facts_t *facts, xl_now_t now)
{
    uint32_t n = active(a, facts);

    (void)now;
    a->over = n >= most_of(a);
    a->wait_ms = TRY_AGAIN_MS;
    note(a, n);
}

/* Where the entry is the one that a speed answer stands in, that counts its own. */
static bool counts_in_entry(const xl_applied_t *a)
{
    return a->entry && !a->part_of;
}

/* The entry's own column goes along, for the sum over all keys. */
static bool take_key(xl_applied_t *a, const xl_facts_t *facts, uint32_t most, xl_now_t now)
{
    bool full;

    a->pin = xl_table_pin_most(a->table, facts->row, &a->key, now.mono_ns / XL_NS_PER_MS, most, &full);
    if (a->pin.cell == XL_NO_CELL)
        return false;
    a->cell = xl_table_cell(a->table, a->pin.cell);
    if (counts_in_entry(a))
        xl_entry_enter(facts->ledger, a->entry, facts->row);
    return true;
}

/* What another one has entered for and not yet left may hide the last place for a
 * moment: the last one to leave looks again and gets it. */
static bool take_entry(const xl_applied_t *a, const xl_facts_t *facts)
{
    for (int i = 0; i < ATTEMPTS && active(a, facts) < most_of(a); i++) {
        xl_entry_enter(facts->ledger, a->entry, facts->row);
        atomic_thread_fence(memory_order_seq_cst); /* of two rivals at least one sees the other */
        if (active(a, facts) <= most_of(a))
            return true;
        xl_entry_leave(facts->ledger, a->entry, facts->row);
    }
    return false;
}

static bool take(xl_applied_t *a, const xl_facts_t *facts, xl_now_t now)
{
    a->charged = a->table ? take_key(a, facts, most_of(a), now) : take_entry(a, facts);
    if (a->charged && a->left)
        a->left--;
    return a->charged;
}

static void take_anyway(xl_applied_t *a, const xl_facts_t *facts, xl_now_t now)
{
    a->charged = a->table ? take_key(a, facts, UINT32_MAX, now) : true;
    if (!a->table)
        xl_entry_enter(facts->ledger, a->entry, facts->row);
}

static void give_back(xl_applied_t *a, const xl_facts_t *facts)
{
    if (a->table)
        xl_table_unpin(a->table, facts->row, a->pin);
    if (!a->table || counts_in_entry(a))
        xl_entry_leave(facts->ledger, a->entry, facts->row);
    a->pin.cell = XL_NO_CELL;
    a->cell = NULL;
}

const xl_dimension_t xl_connections_dimension = { look, take, take_anyway, give_back };
