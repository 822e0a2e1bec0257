/* SPDX-License-Identifier: Apache-2.0
 *
 * table_scene: what the tests of one process on a table begin with: a table whose
 * lock is counted, keys that come and go, and whether all is as it must be.
 */
#ifndef TABLE_SCENE_H
#define TABLE_SCENE_H

#include "table.h"
#include "tap.h"

#define COUNT_OF(a) (sizeof(a) / sizeof *(a))
#define ROWS 4u
#define PINS 64u
#define SMALL 128u  /* cells: one set in each stripe */
#define DOUBLE 256u /* both sets of a stripe are the two of each key */
#define T0 UINT64_C(1000000)
#define UNIT UINT64_C(256) /* of an age, in ms */

static lock_log_t log_;
static const xl_table_lock_t lock = { log_lock, log_unlock, &log_ };

static inline xl_table_t fresh(uint32_t cells)
{
    log_ = (lock_log_t){ 0 };
    return make_table(cells, ROWS, PINS, &lock);
}

static inline xl_pin_t pin(xl_table_t *table, uint32_t row, fingerprint_t of, uint64_t now_ms)
{
    return pin_named(table, row, of, "192.0.2.1", now_ms);
}

/* Puts a key in and leaves it unpinned. */
static inline uint32_t visit(xl_table_t *table, fingerprint_t of, uint64_t now_ms)
{
    xl_pin_t got = pin(table, 0, of, now_ms);

    xl_table_unpin(table, 0, got);
    return got.cell;
}

static inline void sound(const xl_table_t *table, const char *what)
{
    audit_t audit = audit_table(table);

    ok(!faults_of(&audit) && !log_.held, "%s: the table is sound, no lock is held", what);
    print_faults(&audit);
}

#endif
