/* SPDX-License-Identifier: Apache-2.0
 *
 * pin: takes, confirms, returns and settles pins (contract in xl_pin.h).
 * Owns the entries of the rows and the pins of the control words; never touches
 * tags, counters or labels, and never a cell's `live`.
 * Nobody locks. Invariants: an entry says INTENT before its cell counts it and
 * LEAVING before its cell no longer does; what a settler takes out of a control
 * word, it takes out of the very version that it had looked at.
 */
#include "xl_pin.h"

#define PROBES 8u   /* entries looked at before the used part of a row grows */
#define RECOUNTS 16u /* of one cell */
#define RECOUNTS_AT_ONCE 256u /* of one call: the parent does not count for ever what a child scribbles over */

_Static_assert(sizeof(xl_cell_t) == 64, "one cell fills one cache line");

static _Atomic uint64_t *entry_of(const xl_table_t *table, uint32_t row, uint32_t pin)
{
    return &table->entry[(size_t)row * table->pins + pin];
}

static uint32_t top_of(const xl_table_t *table, uint32_t row)
{
    uint32_t top = atomic_load(&table->top[row]);

    return top < table->pins ? top : table->pins;
}

static uint32_t pins_of(uint64_t control)
{
    return (uint32_t)(control & XL_CONTROL_PINS);
}

uint32_t xl_cell_pins(const xl_cell_t *cell)
{
    return pins_of(atomic_load_explicit(&cell->control, memory_order_relaxed));
}

/* ---- a pin's life ---------------------------------------------------- */

static bool take(_Atomic uint64_t *entry)
{
    uint64_t none = xl_pin_word(XL_PIN_FREE, 0);

    return atomic_load_explicit(entry, memory_order_relaxed) == none &&
           atomic_compare_exchange_strong(entry, &none, xl_pin_word(XL_PIN_INTENT, XL_NO_CELL));
}

/* One more entry of the row counts as used, before it is. */
static uint32_t grow(xl_table_t *table, uint32_t row)
{
    uint32_t top = atomic_load(&table->top[row]);

    while (top < table->pins && !atomic_compare_exchange_weak(&table->top[row], &top, top + 1))
        ;
    return top;
}

/* Few looks while the used part has room, and hardly more used than ever held:
 * settling reads all of it. */
uint32_t xl_pin_take(xl_table_t *table, uint32_t row)
{
    uint32_t top = top_of(table, row), pin, i;
    uint32_t start = atomic_load_explicit(&table->next_pin, memory_order_relaxed);

    atomic_store_explicit(&table->next_pin, start + 1, memory_order_relaxed);
    for (i = 0; i < PROBES && i < top; i++) {
        pin = (start + i) % top;
        if (take(entry_of(table, row, pin)))
            return pin;
    }
    while ((pin = grow(table, row)) < table->pins)
        if (take(entry_of(table, row, pin)))
            return pin;
    for (pin = 0; pin < table->pins; pin++)
        if (take(entry_of(table, row, pin)))
            return pin;
    return XL_NO_PIN;
}

void xl_pin_give_up(xl_table_t *table, uint32_t row, uint32_t pin)
{
    atomic_store_explicit(entry_of(table, row, pin), xl_pin_word(XL_PIN_FREE, 0), memory_order_release);
}

static bool count(xl_cell_t *cell, uint32_t most, bool *full)
{
    uint64_t was = atomic_load(&cell->control);

    do {
        *full = was & XL_CONTROL_LIVE && pins_of(was) >= most;
        if (!(was & XL_CONTROL_LIVE) || pins_of(was) == XL_CONTROL_PINS || *full)
            return false;
    } while (!atomic_compare_exchange_weak(&cell->control, &was, xl_control_next(was, true, pins_of(was) + 1)));
    return true;
}

static void discount(xl_cell_t *cell)
{
    uint64_t was = atomic_load(&cell->control);

    do {
        if (!(was & XL_CONTROL_LIVE) || !pins_of(was))
            return;
    } while (!atomic_compare_exchange_weak(&cell->control, &was, xl_control_next(was, true, pins_of(was) - 1)));
}

static bool is_of(const xl_cell_t *cell, const uint64_t id[2])
{
    return cell->id[0] == id[0] && cell->id[1] == id[1];
}

bool xl_pin_hold(xl_table_t *table, uint32_t row, uint32_t pin, uint32_t cell, const uint64_t id[2], uint32_t most,
                 bool *full)
{
    _Atomic uint64_t *entry = entry_of(table, row, pin);
    xl_cell_t *c = &table->cell[cell];

    atomic_store(entry, xl_pin_word(XL_PIN_INTENT, cell));
    if (!count(c, most, full)) {
        *full = *full && is_of(c, id);
        return false;
    }
    if (!is_of(c, id)) {
        discount(c);
        return false;
    }
    atomic_store_explicit(entry, xl_pin_word(XL_PIN_HELD, cell), memory_order_release);
    return true;
}

void xl_table_unpin(xl_table_t *table, uint32_t row, xl_pin_t pin)
{
    xl_cell_t *cell = xl_table_cell(table, pin.cell);
    _Atomic uint64_t *entry;

    if (!cell || row >= table->rows || pin.pin >= table->pins)
        return;
    entry = entry_of(table, row, pin.pin);
    if (atomic_load_explicit(entry, memory_order_relaxed) != xl_pin_word(XL_PIN_HELD, pin.cell))
        return;
    atomic_store(entry, xl_pin_word(XL_PIN_LEAVING, pin.cell));
    discount(cell);
    xl_pin_give_up(table, row, pin.pin);
}

/* ---- settling -------------------------------------------------------- */

/* Makes an entry GONE, and free at once when it was HELD and nobody changed its
 * cell since before: then it was counted and no longer is. Of several settlers
 * one gets it; whether the cell still counts it is not asked again here. */
static void abandon(const xl_table_t *table, _Atomic uint64_t *entry)
{
    uint64_t was = atomic_load(entry), gone = xl_pin_word(XL_PIN_GONE, (uint32_t)was), control;
    xl_cell_t *cell = xl_table_cell(table, (uint32_t)was);

    if (was == xl_pin_word(XL_PIN_FREE, 0) || was == gone)
        return;
    control = cell ? atomic_load(&cell->control) : 0;
    if (!atomic_compare_exchange_strong(entry, &was, gone) || was != xl_pin_word(XL_PIN_HELD, (uint32_t)was))
        return;
    if (control & XL_CONTROL_LIVE && pins_of(control) &&
        atomic_compare_exchange_strong(&cell->control, &control, xl_control_next(control, true, pins_of(control) - 1)))
        atomic_compare_exchange_strong(entry, &gone, xl_pin_word(XL_PIN_FREE, 0));
}

/* Entries of all rows that hold the cell; false: somebody is just coming or leaving. */
static bool count_held(const xl_table_t *table, uint32_t cell, uint64_t *held)
{
    uint32_t row, pin;

    *held = 0;
    for (row = 0; row < table->rows; row++)
        for (pin = top_of(table, row); pin > 0; pin--) {
            uint64_t word = atomic_load(entry_of(table, row, pin - 1));

            if (word == xl_pin_word(XL_PIN_INTENT, cell) || word == xl_pin_word(XL_PIN_LEAVING, cell))
                return false;
            *held += word == xl_pin_word(XL_PIN_HELD, cell);
        }
    return true;
}

/* Leaves the cell with the pins of who holds it. A cell that is not live has
 * none: it could not have lost that with one. */
static bool recount(const xl_table_t *table, uint32_t index, unsigned *left)
{
    xl_cell_t *cell = &table->cell[index];
    unsigned i;

    for (i = 0; i < RECOUNTS && *left; i++) {
        uint64_t held, was = atomic_load(&cell->control);

        if (!(was & XL_CONTROL_LIVE))
            return true;
        --*left;
        if (!count_held(table, index, &held) || held > XL_CONTROL_PINS)
            continue;
        if (atomic_compare_exchange_strong(&cell->control, &was, xl_control_next(was, true, held)))
            return true;
    }
    return false;
}

bool xl_table_settle(xl_table_t *table, uint32_t row)
{
    uint32_t pin, top = row < table->rows ? top_of(table, row) : 0;
    unsigned left = RECOUNTS_AT_ONCE;
    bool settled = true;

    for (pin = 0; pin < top; pin++) /* all of them, since a recount stops at what is not GONE yet */
        abandon(table, entry_of(table, row, pin));
    for (pin = 0; pin < top; pin++) {
        _Atomic uint64_t *entry = entry_of(table, row, pin);
        uint64_t word = atomic_load(entry);

        if (word == xl_pin_word(XL_PIN_FREE, 0))
            continue;
        if (xl_table_cell(table, (uint32_t)word) && !recount(table, (uint32_t)word, &left))
            settled = false;
        else
            atomic_compare_exchange_strong(entry, &word, xl_pin_word(XL_PIN_FREE, 0));
    }
    return settled;
}
