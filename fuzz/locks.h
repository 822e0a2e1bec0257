/* SPDX-License-Identifier: Apache-2.0
 *
 * locks: the lock of a table, which notices who takes it twice or leaves it held.
 */
#ifndef FUZZ_LOCKS_H
#define FUZZ_LOCKS_H

#include "fuzz.h"
#include "xl_table.h"

static int held_locks;

static inline bool lock(void *context, unsigned stripe)
{
    (void)context;
    must(stripe < XL_TABLE_STRIPES && !held_locks++);
    return true;
}

static inline void unlock(void *context, unsigned stripe)
{
    (void)context;
    must(stripe < XL_TABLE_STRIPES && !--held_locks);
}

static const xl_table_lock_t locks = {lock, unlock, NULL};

#endif
