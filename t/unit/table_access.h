/* SPDX-License-Identifier: Apache-2.0
 *
 * table_access: the code of the table, compiled into the test, with a call of
 * turn() before each of its atomic accesses: there a test may let another one
 * come in between, or a kill. All accesses become sequentially consistent; the
 * weaker orders that the code asks for are at work in table.c and pin.c.
 */
#ifndef TABLE_ACCESS_H
#define TABLE_ACCESS_H

#include "table.h"

static void turn(void); /* by who includes this */

static bool swap_32(_Atomic uint32_t *word, uint32_t *was, uint32_t value)
{
    return atomic_compare_exchange_strong(word, was, value);
}

static bool swap_64(_Atomic uint64_t *word, uint64_t *was, uint64_t value)
{
    return atomic_compare_exchange_strong(word, was, value);
}

#undef atomic_load
#undef atomic_load_explicit
#undef atomic_store
#undef atomic_store_explicit
#undef atomic_compare_exchange_strong
#undef atomic_compare_exchange_weak
#define atomic_load(word) (turn(), *(word))
#define atomic_load_explicit(word, order) (turn(), *(word))
#define atomic_store(word, value) (turn(), (void)(*(word) = (value)))
#define atomic_store_explicit(word, value, order) (turn(), (void)(*(word) = (value)))
#define atomic_compare_exchange_strong(word, was, value) \
    (turn(), _Generic((word), _Atomic uint32_t * : swap_32, default : swap_64)(word, was, value))
#define atomic_compare_exchange_weak(word, was, value) atomic_compare_exchange_strong(word, was, value)

#include "../../modules/store/pin.c"
#include "../../modules/store/table.c"

#endif
