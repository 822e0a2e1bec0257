/* SPDX-License-Identifier: Apache-2.0
 *
 * requests: a rate of requests, by the GCRA of xl_meter: the burst is how far a
 * request may run ahead of its turn, and delay= how far without waiting for it.
 * Never waits itself. Nobody locks.
 */
#include "xl_dimension.h"

/* Rounded up: a burst is one wherever the fractions of a nanosecond fall. */
static uint64_t ahead_ns(const xl_limit_t *limit)
{
    return xl_rate_ns_up(limit->rate, limit->burst);
}

static uint64_t ms_of(uint64_t ns)
{
    return ns / XL_NS_PER_MS + (ns % XL_NS_PER_MS != 0);
}

/* How long a request waits that would be early by so much. */
static uint64_t delay_of(const xl_limit_t *limit, uint64_t early_ns)
{
    uint64_t free_ns;

    if (limit->delay == XL_NO_DELAY)
        return 0;
    free_ns = xl_rate_ns_up(limit->rate, limit->delay);
    return early_ns > free_ns ? early_ns - free_ns : 0;
}

/* What does not fit at rest never does. */
static uint64_t wait_of(const xl_applied_t *a, uint64_t wait_ns)
{
    return a->cost && a->cost - 1 > a->limit->burst ? XL_WAIT_NEVER : ms_of(wait_ns);
}

static void look(xl_applied_t *a, const xl_facts_t *facts, xl_now_t now)
{
    const xl_limit_t *limit = a->limit;
    uint64_t wait_ns, queue_ns = xl_meter_queue_ns(xl_applied_meter(a), now.mono_ns);

    (void)facts;
    a->over = !xl_meter_fits(xl_applied_meter(a), limit->rate, a->cost, ahead_ns(limit), now.mono_ns, &wait_ns);
    a->wait_ms = a->over ? wait_of(a, wait_ns) : 0;
    a->delay_ns = a->over ? 0 : delay_of(limit, wait_ns);
    a->total = limit->burst + 1;
    a->left = queue_ns <= ahead_ns(limit) ? xl_rate_units(limit->rate, ahead_ns(limit) - queue_ns) + 1 : 0;
    a->left = a->left < a->total ? a->left : a->total;
    a->reset_ms = ms_of(queue_ns);
}

static bool take(xl_applied_t *a, const xl_facts_t *facts, xl_now_t now)
{
    const xl_limit_t *limit = a->limit;
    uint64_t wait_ns;

    (void)facts;
    if (!xl_meter_take(xl_applied_meter(a), limit->rate, a->cost, ahead_ns(limit), now.mono_ns, &wait_ns)) {
        a->wait_ms = wait_of(a, wait_ns);
        a->left = a->delay_ns = 0;
        return false;
    }
    a->delay_ns = delay_of(limit, wait_ns);
    a->left -= a->cost < a->left ? a->cost : a->left;
    a->reset_ms = ms_of(xl_meter_queue_ns(xl_applied_meter(a), now.mono_ns));
    a->charged = true;
    return true;
}

static void give_back(xl_applied_t *a, const xl_facts_t *facts)
{
    (void)facts;
    xl_meter_release(xl_applied_meter(a), a->limit->rate, a->cost);
    a->delay_ns = 0;
}

/* Who is served although there are too many does not make the others wait longer:
 * nothing is taken. */
const xl_dimension_t xl_requests_dimension = { look, take, NULL, give_back };
