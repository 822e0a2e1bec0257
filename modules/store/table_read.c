/* SPDX-License-Identifier: Apache-2.0
 *
 * table_read: what a status page, or a copy of the keys, wants to know of the cells
 * of a table. Only reads, pins nothing, and takes whatever stands there for what it is: who uses
 * a copy trusts no number and no text in it.
 * Who locks: nobody; that a cell kept its key is told by its id and by `live`.
 */
#include "xl_pin.h"

#include <string.h>

#define TRIES 4

static uint64_t load(const _Atomic uint64_t *word)
{
    return atomic_load_explicit(word, memory_order_relaxed);
}

static bool is_used(const xl_table_t *table, uint32_t cell)
{
    return atomic_load_explicit(&table->set[cell / XL_TABLE_WAYS].tag[cell % XL_TABLE_WAYS], memory_order_acquire);
}

static void read_cell(const xl_table_t *table, uint32_t cell, xl_table_copy_t *copy)
{
    const xl_cell_t *c = &table->cell[cell];

    memset(copy, 0, sizeof(*copy));
    memcpy(copy->id, c->id, sizeof(copy->id));
    xl_table_text(table, cell, copy->text);
    copy->owner = xl_table_owner(table, cell, &copy->has_usage);
    copy->pins = xl_cell_pins(c);
    copy->mark = load(&c->mark);
    if (copy->has_usage) {
        copy->usage.word = load(&c->usage.word);
        copy->usage.used[0] = load(&c->usage.used[0]);
        copy->usage.used[1] = load(&c->usage.used[1]);
        copy->usage.end = load(&c->usage.end);
        return;
    }
    copy->meter.tat_ns = load(&c->meter.tat_ns);
    copy->meter.units = load(&c->meter.units);
    copy->bytes = load(&c->bytes);
    copy->requests = load(&c->requests);
}

/* A control word changes with each pin, too: it is the key that counts. */
bool xl_table_copy(const xl_table_t *table, uint32_t cell, xl_table_copy_t *copy)
{
    const xl_cell_t *c = xl_table_cell(table, cell);

    if (!c || !is_used(table, cell))
        return false;
    for (int i = 0; i < TRIES; i++) {
        uint64_t id[2] = { c->id[0], c->id[1] };

        if (!(atomic_load(&c->control) & XL_CONTROL_LIVE))
            return false;
        read_cell(table, cell, copy);
        atomic_thread_fence(memory_order_acquire);
        if (c->id[0] == id[0] && c->id[1] == id[1] && load(&c->control) & XL_CONTROL_LIVE)
            return true;
    }
    return true;
}

static bool is_empty(const xl_table_set_t *set)
{
    uint32_t tags = 0;

    for (unsigned i = 0; i < XL_TABLE_WAYS; i++)
        tags |= atomic_load_explicit(&set->tag[i], memory_order_relaxed);
    return !tags;
}

uint32_t xl_table_next(const xl_table_t *table, uint32_t cell)
{
    while (cell / XL_TABLE_WAYS < table->sets) {
        if (is_used(table, cell))
            return cell;
        cell += cell % XL_TABLE_WAYS == 0 && is_empty(&table->set[cell / XL_TABLE_WAYS]) ? XL_TABLE_WAYS : 1;
    }
    return XL_NO_CELL;
}

uint64_t xl_table_locked(const xl_table_t *table, uint64_t now_ms)
{
    uint64_t n = 0;

    for (uint32_t i = 0; i < table->sets * XL_TABLE_WAYS; i++)
        n += is_used(table, i) && xl_mark_locked_ms(&table->cell[i].mark, now_ms) > 0;
    return n;
}
