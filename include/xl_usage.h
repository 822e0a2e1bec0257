/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_usage: a counter per period, for quotas, moved without a lock by any
 * number of processes.
 *
 *     word:  ordinal (16 bits) | start of the running period, ms (48 bits)
 *     used:  [ordinal % 2] the running period, [1 - ordinal % 2] the one before;
 *            tag (1 bit: bit 1 of the ordinal it belongs to) | amount (63 bits)
 *     end:   a memory of what the calendar said: whose it is (16 bits) |
 *            end of the running period, ms (48 bits)
 *
 * Who finds the running period over gives the slot of the one before to the
 * next one (its tag, amount 0) and only then moves the word on, each by
 * compare-and-swap. An add is a compare-and-swap too and needs the right tag:
 * one that is held up is charged to its period while that is the running one or
 * the one before, else to the running one, and never lost or charged twice (as
 * long as it is not held up for four whole periods). Who dies in between leaves
 * work that the next one does. Wall time decides; when it jumps back the running
 * period goes on, an old one is never reopened. A jump back by more than one
 * whole period of a TIME period does not reopen either.
 *
 * word 0: never used. wall_ms is milliseconds since 1970, > 0 and < 2^48.
 */
#ifndef XL_USAGE_H
#define XL_USAGE_H

#include "xl_calendar.h"

#include <stdatomic.h>

typedef struct {
    _Atomic uint64_t word;
    _Atomic uint64_t used[2];
    _Atomic uint64_t end;
} xl_usage_t;

typedef struct {
    uint64_t used;      /* in the running period */
    uint64_t previous;  /* in the one before, 0 when that was not used; of TIME periods the last one used */
    int64_t start_ms;   /* 0 for a TIME period that has not begun */
    int64_t end_ms;     /* 0 likewise */
    uint32_t ordinal;   /* changes with every period */
} xl_usage_view_t;

/* Adds n to the period that holds wall_ms, rolling over first where needed.
 * A TIME period begins with its first add of n > 0. The sum stays at 2^63-1
 * when it gets there. Returns the ordinal of the period that was charged. */
uint32_t xl_usage_add(xl_usage_t *usage, const xl_period_t *period, uint64_t n, int64_t wall_ms);

/* Takes n back from the period with that ordinal, if it still runs (a byte
 * that was handed over and did not leave, a request that was refused after
 * all); never below 0. */
void xl_usage_take_back(xl_usage_t *usage, uint64_t n, uint32_t ordinal);

/* Reads; writes nothing, so a period that has ended shows as a new one with
 * nothing used. */
xl_usage_view_t xl_usage_read(const xl_usage_t *usage, const xl_period_t *period, int64_t wall_ms);

/* Makes of two copies of one counter what is known of it: the later period,
 * and of one and the same period the larger amount. Nobody counts into `usage`
 * meanwhile. */
void xl_usage_merge(xl_usage_t *usage, const xl_usage_t *other);

#endif
