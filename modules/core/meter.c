/* SPDX-License-Identifier: Apache-2.0
 *
 * meter: the arithmetic of a rate (contract in xl_meter.h).
 *
 * Owns the two words of a meter and nothing else. Never reads a clock and never
 * waits: `units` moves by one atomic add, the TAT by compare-and-swap. Nobody
 * locks. Invariant: every take owns its own range of units, so the costs of
 * all takes add up to the cost of their sum, whatever the order of the swaps.
 *
 * The order is relaxed throughout: no other memory is published by these words.
 */
#include "xl_meter.h"

typedef unsigned __int128 wide_t; /* holds every product of two 64-bit words */

static uint64_t saturate(wide_t value)
{
    return value > UINT64_MAX ? UINT64_MAX : (uint64_t)value;
}

static uint64_t add(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static uint64_t subtract(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

uint64_t xl_rate_ns(xl_rate_t rate, uint64_t n)
{
    return saturate((wide_t)n * rate.per_ns / rate.units);
}

uint64_t xl_rate_ns_up(xl_rate_t rate, uint64_t n)
{
    return saturate(((wide_t)n * rate.per_ns + rate.units - 1) / rate.units);
}

uint64_t xl_rate_units(xl_rate_t rate, uint64_t ns)
{
    return saturate((wide_t)ns * rate.units / rate.per_ns);
}

/* floor((from + n) / R) - floor(from / R), without the sum that may not fit. */
static uint64_t range_ns(xl_rate_t rate, uint64_t from, uint64_t n)
{
    uint64_t carried = (uint64_t)((wide_t)from * rate.per_ns % rate.units);

    return saturate(((wide_t)n * rate.per_ns + carried) / rate.units);
}

uint64_t xl_meter_reserve(xl_meter_t *meter, xl_rate_t rate, uint64_t n, uint64_t depth_ns, uint64_t now_ns,
                          uint64_t *cost_ns)
{
    uint64_t from = atomic_fetch_add_explicit(&meter->units, n, memory_order_relaxed);
    uint64_t cost = range_ns(rate, from, n);
    uint64_t floor_ns = subtract(now_ns, depth_ns);
    uint64_t tat = atomic_load_explicit(&meter->tat_ns, memory_order_relaxed);
    uint64_t start;

    do {
        start = tat > floor_ns ? tat : floor_ns;
    } while (!atomic_compare_exchange_weak_explicit(&meter->tat_ns, &tat, add(start, cost), memory_order_relaxed,
                                                    memory_order_relaxed));
    *cost_ns = cost;
    return start;
}

/* Whether something that begins then, its first n - 1 units lasting body_ns, may. */
static bool conforms(uint64_t start_ns, uint64_t body_ns, uint64_t ahead_ns, uint64_t now_ns, uint64_t *wait_ns)
{
    uint64_t last_ns = add(start_ns, body_ns), latest_ns = add(now_ns, ahead_ns);

    *wait_ns = subtract(last_ns, last_ns <= latest_ns ? now_ns : latest_ns);
    return last_ns <= latest_ns;
}

bool xl_meter_fits(const xl_meter_t *meter, xl_rate_t rate, uint64_t n, uint64_t ahead_ns, uint64_t now_ns,
                   uint64_t *wait_ns)
{
    uint64_t from = atomic_load_explicit(&meter->units, memory_order_relaxed);
    uint64_t tat = atomic_load_explicit(&meter->tat_ns, memory_order_relaxed);

    *wait_ns = 0;
    return !n || conforms(tat > now_ns ? tat : now_ns, range_ns(rate, from, n - 1), ahead_ns, now_ns, wait_ns);
}

/* Looked at first, so that who is refused again and again moves nothing. */
bool xl_meter_take(xl_meter_t *meter, xl_rate_t rate, uint64_t n, uint64_t ahead_ns, uint64_t now_ns,
                   uint64_t *wait_ns)
{
    uint64_t from, tat, start;

    if (!xl_meter_fits(meter, rate, n, ahead_ns, now_ns, wait_ns) || !n)
        return !n;
    from = atomic_fetch_add_explicit(&meter->units, n, memory_order_relaxed);
    tat = atomic_load_explicit(&meter->tat_ns, memory_order_relaxed);
    do {
        start = tat > now_ns ? tat : now_ns;
        if (!conforms(start, range_ns(rate, from, n - 1), ahead_ns, now_ns, wait_ns)) {
            atomic_fetch_sub_explicit(&meter->units, n, memory_order_relaxed);
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&meter->tat_ns, &tat, add(start, range_ns(rate, from, n)),
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

void xl_meter_release(xl_meter_t *meter, xl_rate_t rate, uint64_t n)
{
    uint64_t upto = atomic_fetch_sub_explicit(&meter->units, n, memory_order_relaxed);
    uint64_t cost = range_ns(rate, upto - n, n);
    uint64_t tat = atomic_load_explicit(&meter->tat_ns, memory_order_relaxed);

    while (!atomic_compare_exchange_weak_explicit(&meter->tat_ns, &tat, subtract(tat, cost), memory_order_relaxed,
                                                  memory_order_relaxed))
        ;
}

uint64_t xl_meter_queue_ns(const xl_meter_t *meter, uint64_t now_ns)
{
    return subtract(atomic_load_explicit(&meter->tat_ns, memory_order_relaxed), now_ns);
}

void xl_meter_rest(xl_meter_t *meter)
{
    atomic_store_explicit(&meter->tat_ns, 0, memory_order_relaxed);
}

void xl_meter_raise(xl_meter_t *meter, uint64_t floor_ns)
{
    uint64_t tat = atomic_load_explicit(&meter->tat_ns, memory_order_relaxed);

    while (tat < floor_ns && !atomic_compare_exchange_weak_explicit(&meter->tat_ns, &tat, floor_ns,
                                                                    memory_order_relaxed, memory_order_relaxed))
        ;
}
