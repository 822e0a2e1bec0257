/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_meter: the arithmetic of rates as one theoretical arrival time (TAT).
 *
 * A rate meter is two 64-bit words that any number of processes move without a
 * lock: the monotonic nanosecond at which all that was taken so far will have
 * been worked off, and the units ever taken. Taking n units at rate R:
 *
 *     start = max(now - depth, TAT)       TAT' = start + cost
 *
 * which is the GCRA of ITU-T I.371 used as a queue. The cost of the units
 * u..u+n is floor((u+n)/R) - floor(u/R): the fractions of a nanosecond
 * telescope, so that a rate never drifts, however many takes it is made of.
 */
#ifndef XL_METER_H
#define XL_METER_H

#include "xl_units.h"

#include <stdatomic.h>
#include <stdbool.h>

typedef struct {
    _Atomic uint64_t tat_ns; /* monotonic; 0: at rest since ever */
    _Atomic uint64_t units;  /* taken less given back, modulo 2^64 */
} xl_meter_t;

/* Nanoseconds that n units cost at the rate, rounded down; saturates. */
uint64_t xl_rate_ns(xl_rate_t rate, uint64_t n);

/* The same, rounded up: at least what any n units in succession cost in a meter,
 * wherever their fractions fall. What a tolerance (ahead_ns) is made of. */
uint64_t xl_rate_ns_up(xl_rate_t rate, uint64_t n);

/* Units that the rate yields in ns nanoseconds, rounded down; saturates. */
uint64_t xl_rate_units(xl_rate_t rate, uint64_t ns);

/* Takes n units and returns the start of their slot, which may lie up to
 * depth_ns before now or any time after it. *cost_ns is the slot's length. */
uint64_t xl_meter_reserve(xl_meter_t *meter, xl_rate_t rate, uint64_t n, uint64_t depth_ns, uint64_t now_ns,
                          uint64_t *cost_ns);

/* Takes n units of which the last may begin up to ahead_ns after now (the
 * tolerance of the GCRA); false, and nothing taken, when it would begin later.
 * *wait_ns: when taken, how long after now it begins; else, how long from now
 * it would be refused. n == 0 takes nothing and is always granted. */
bool xl_meter_take(xl_meter_t *meter, xl_rate_t rate, uint64_t n, uint64_t ahead_ns, uint64_t now_ns,
                   uint64_t *wait_ns);

/* The same answer without taking anything. */
bool xl_meter_fits(const xl_meter_t *meter, xl_rate_t rate, uint64_t n, uint64_t ahead_ns, uint64_t now_ns,
                   uint64_t *wait_ns);

/* Gives n of the units of an earlier reservation back: everybody behind moves
 * up. The TAT never falls below 0. */
void xl_meter_release(xl_meter_t *meter, xl_rate_t rate, uint64_t n);

/* How long who takes something now has to wait for the start of his slot; 0: not
 * at all. */
uint64_t xl_meter_queue_ns(const xl_meter_t *meter, uint64_t now_ns);

/* As if nothing had ever been taken. */
void xl_meter_rest(xl_meter_t *meter);

/* Forgets what an idle meter has saved up: TAT is at least floor_ns. */
void xl_meter_raise(xl_meter_t *meter, uint64_t floor_ns);

#endif
