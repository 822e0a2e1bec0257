/* SPDX-License-Identifier: Apache-2.0
 *
 * penalty: so many events in a time, and the next one locks the key out. Events
 * fill a bucket that leaks at the configured rate, COUNT deep (the GCRA with a
 * burst of COUNT - 1). While it is locked out nothing counts, so that tries do
 * not prolong it, and afterwards the bucket is empty. Nobody locks (the word is
 * the other kind of lock).
 */
#include "xl_dimension.h"

static uint64_t now_ms(xl_now_t now)
{
    return now.mono_ns / XL_NS_PER_MS;
}

static bool is_locked(xl_applied_t *a, xl_now_t now)
{
    a->wait_ms = xl_mark_locked_ms(xl_applied_mark(a), now_ms(now));
    return a->wait_ms > 0;
}

static void look(xl_applied_t *a, const xl_facts_t *facts, xl_now_t now)
{
    (void)facts;
    a->over = is_locked(a, now);
}

/* false: it is one too many, and its key is locked out; or another one was while
 * this request was under way. */
static bool count(xl_applied_t *a, xl_now_t now)
{
    const xl_limit_t *limit = a->limit;
    uint64_t ahead_ns = xl_rate_ns_up(limit->rate, limit->burst), wait_ns;

    if (is_locked(a, now))
        return false;
    if (xl_meter_take(xl_applied_meter(a), limit->rate, a->cost, ahead_ns, now.mono_ns, &wait_ns))
        return true;
    a->wait_ms = limit->for_ms;
    a->locked = xl_mark_lock(xl_applied_mark(a), now_ms(now), now_ms(now) + limit->for_ms);
    if (a->locked)
        xl_meter_rest(xl_applied_meter(a));
    return false;
}

static bool take(xl_applied_t *a, const xl_facts_t *facts, xl_now_t now)
{
    (void)facts;
    if (a->limit->event != XL_EVENT_REQUESTS)
        return true;
    a->charged = count(a, now);
    return a->charged;
}

static void give_back(xl_applied_t *a, const xl_facts_t *facts)
{
    (void)facts;
    xl_meter_release(xl_applied_meter(a), a->limit->rate, a->cost);
}

void xl_penalty_event(xl_applied_t *a, xl_now_t now)
{
    count(a, now);
}

const xl_dimension_t xl_penalty_dimension = { look, take, NULL, give_back };
