/* SPDX-License-Identifier: Apache-2.0
 *
 * mark: moves the words of xl_mark.h. Knows no clock and no log.
 * Who locks: nobody, compare-and-swap.
 */
#include "xl_mark.h"

#define COUNT_MOST ((UINT64_C(1) << 20) - 1)
#define MOMENT_MOST ((UINT64_C(1) << 44) - 1)

static uint64_t word(uint64_t moment_ms, uint64_t count)
{
    if (!moment_ms)
        moment_ms = 1; /* 0 is: nothing is so */
    return (moment_ms < MOMENT_MOST ? moment_ms : MOMENT_MOST) << 20 | (count < COUNT_MOST ? count : COUNT_MOST);
}

static bool quiet(uint64_t mark, uint64_t now_ms, uint64_t quiet_ms)
{
    return now_ms >= xl_mark_moment_ms(mark) && now_ms - xl_mark_moment_ms(mark) >= quiet_ms;
}

bool xl_mark_refused(_Atomic uint64_t *mark, uint64_t now_ms, uint64_t quiet_ms, uint64_t *others)
{
    uint64_t was = atomic_load(mark), next, moment_ms;
    bool first;

    do {
        first = !was || quiet(was, now_ms, quiet_ms);
        moment_ms = xl_mark_moment_ms(was) > now_ms ? xl_mark_moment_ms(was) : now_ms;
        next = word(moment_ms, first ? 0 : xl_mark_count(was) + 1);
    } while (!atomic_compare_exchange_weak(mark, &was, next));
    *others = first ? xl_mark_count(was) : 0;
    return first;
}

bool xl_mark_served(_Atomic uint64_t *mark, uint64_t now_ms, uint64_t quiet_ms, uint64_t *others)
{
    uint64_t was = atomic_load_explicit(mark, memory_order_relaxed);

    if (!was || !quiet(was, now_ms, quiet_ms) || !atomic_compare_exchange_strong(mark, &was, 0))
        return false;
    *others = xl_mark_count(was);
    return true;
}

bool xl_mark_minute(_Atomic uint64_t *said_ms, uint64_t now_ms)
{
    uint64_t was = atomic_load_explicit(said_ms, memory_order_relaxed);

    return (!was || now_ms >= was + XL_MARK_MINUTE_MS)
           && atomic_compare_exchange_strong(said_ms, &was, now_ms ? now_ms : 1);
}

bool xl_mark_lock(_Atomic uint64_t *mark, uint64_t now_ms, uint64_t until_ms)
{
    uint64_t was = atomic_load(mark);

    do {
        if (xl_mark_moment_ms(was) > now_ms)
            return false;
    } while (!atomic_compare_exchange_weak(mark, &was, word(until_ms, 0)));
    return true;
}

uint64_t xl_mark_locked_ms(const _Atomic uint64_t *mark, uint64_t now_ms)
{
    uint64_t until_ms = xl_mark_moment_ms(atomic_load_explicit(mark, memory_order_relaxed));

    return until_ms > now_ms ? until_ms - now_ms : 0;
}
