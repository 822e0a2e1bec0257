/* SPDX-License-Identifier: Apache-2.0
 *
 * access: code of ours that is compiled into a test behind this header calls turn()
 * before each of its atomic accesses: there a test may let another one come in
 * between, or a kill. All accesses become sequentially consistent.
 */
#ifndef ACCESS_H
#define ACCESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

static void turn(void); /* by who includes this */

static inline bool swap_32(_Atomic uint32_t *word, uint32_t *was, uint32_t value)
{
    return atomic_compare_exchange_strong(word, was, value);
}

static inline bool swap_64(_Atomic uint64_t *word, uint64_t *was, uint64_t value)
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

#endif
