/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_mark: one word that says since when something is so and how often it was
 * met, for lock-outs and for log lines that come once and not per request:
 *
 *     moment, ms of monotonic time : 44   count : 20
 *
 * 0: nothing is so. Of a penalty's key the moment is when its lock-out ends,
 * and the count how many were refused meanwhile; of all else the moment is the
 * last refusal, and the count how many there were beside the one that was told
 * of. Who locks: nobody; each function is one compare-and-swap, and of those who
 * call it for the same transition at once exactly one gets true.
 */
#ifndef XL_MARK_H
#define XL_MARK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define XL_MARK_NEVER (UINT64_MAX >> 1)
#define XL_MARK_MINUTE_MS UINT64_C(60000)

static inline uint64_t xl_mark_moment_ms(uint64_t mark)
{
    return mark >> 20;
}

static inline uint64_t xl_mark_count(uint64_t mark)
{
    return mark & ((UINT64_C(1) << 20) - 1);
}

/* Notes a refusal. true: none was noted before, or the last one is more than
 * quiet_ms ago; *others is how many of before nobody was told of. */
bool xl_mark_refused(_Atomic uint64_t *mark, uint64_t now_ms, uint64_t quiet_ms, uint64_t *others);

/* Notes that somebody was served. true: that ended what was so, since its moment
 * is at least quiet_ms ago; *others is how many nobody was told of. */
bool xl_mark_served(_Atomic uint64_t *mark, uint64_t now_ms, uint64_t quiet_ms, uint64_t *others);

/* For what is said once a minute, however long it lasts: true for one of those
 * who ask, and not again for a minute. The word is the moment, 0: not yet said. */
bool xl_mark_minute(_Atomic uint64_t *said_ms, uint64_t now_ms);

/* Locks out. true: by this call, false: it was locked already and goes on as it was. */
bool xl_mark_lock(_Atomic uint64_t *mark, uint64_t now_ms, uint64_t until_ms);

/* For how long it is still locked out, 0: it is not. */
uint64_t xl_mark_locked_ms(const _Atomic uint64_t *mark, uint64_t now_ms);

#endif
