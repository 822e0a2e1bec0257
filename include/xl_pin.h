/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_pin: who uses which cell of a table (the inside of xl_table). A pin is an
 * entry in the row of its process and one more in the control word of the cell:
 *
 *     entry    FREE --> INTENT(cell) --> HELD(cell) --> LEAVING(cell) --> FREE
 *     counted    0         0 or 1            1              0 or 1          0
 *
 *     entry    state << 32 | cell
 *     control  version : 43   live : 1   pins : 20
 *
 * Each change of a control word gives it another version. A cell gets or loses
 * its `live` only under the lock of its stripe, and loses it only without pins:
 * so what is pinned and live stays the same key.
 *
 * A dead process leaves entries that are not FREE. Settling makes each of them
 * GONE, which is: belongs to nobody, may still be counted. How many pins a cell
 * has by right is then the number of HELD entries for it, provided that no
 * living process is just changing its own; and that this was so at one instant
 * is proved by a version that did not change meanwhile.
 *
 * Who locks: nobody. Every loop but two ends after a number of turns known
 * beforehand: those that add and remove a pin go on as long as others change
 * the same cell.
 */
#ifndef XL_PIN_H
#define XL_PIN_H

#include "xl_table.h"

typedef enum { XL_PIN_FREE, XL_PIN_INTENT, XL_PIN_HELD, XL_PIN_LEAVING, XL_PIN_GONE } xl_pin_e;

#define XL_NO_PIN UINT32_MAX
#define XL_CONTROL_PINS ((UINT64_C(1) << 20) - 1)
#define XL_CONTROL_LIVE (UINT64_C(1) << 20)
#define XL_CONTROL_VERSION (UINT64_C(1) << 21)

static inline uint64_t xl_pin_word(xl_pin_e state, uint32_t cell)
{
    return (uint64_t)state << 32 | cell;
}

/* The control word that follows on another. */
static inline uint64_t xl_control_next(uint64_t control, bool live, uint64_t pins)
{
    return (control & ~(XL_CONTROL_VERSION - 1)) + XL_CONTROL_VERSION + (live ? XL_CONTROL_LIVE : 0) + pins;
}

/* A free entry of the row becomes the caller's, for no cell yet. XL_NO_PIN: none
 * is free. It goes back by xl_pin_give_up, or by xl_table_unpin once it holds. */
uint32_t xl_pin_take(xl_table_t *table, uint32_t row);
void xl_pin_give_up(xl_table_t *table, uint32_t row, uint32_t pin);

/* Pins the cell when it is live and of that key; *full: it is, and has `most` pins. */
bool xl_pin_hold(xl_table_t *table, uint32_t row, uint32_t pin, uint32_t cell, const uint64_t id[2], uint32_t most,
                 bool *full);

#endif
