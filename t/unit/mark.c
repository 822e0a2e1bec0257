/* SPDX-License-Identifier: Apache-2.0
 *
 * Marks: who is told of a refusal, who of its end, and how long a lock-out lasts,
 * as tables of moments.
 */
#include "tap.h"
#include "xl_mark.h"

#define QUIET 60000

typedef enum { REFUSED, SERVED, LOCKED } what_e;

typedef struct {
    what_e what;
    uint64_t ms;
    bool told;
    uint64_t others;
    uint64_t locked_ms; /* afterwards, at the same moment */
} moment_t;

static void play(const char *title, uint64_t quiet_ms, const moment_t *m, size_t n)
{
    _Atomic uint64_t mark = 0;

    for (size_t i = 0; i < n; i++) {
        uint64_t others = 0;
        bool told = m[i].what == REFUSED  ? xl_mark_refused(&mark, m[i].ms, quiet_ms, &others)
                    : m[i].what == SERVED ? xl_mark_served(&mark, m[i].ms, quiet_ms, &others)
                                          : xl_mark_lock(&mark, m[i].ms, m[i].ms + 5000);

        printf("# %s, moment %zu\n", title, i);
        ok(told == m[i].told, "told or not");
        is_u64(others, m[i].others, "others");
        is_u64(xl_mark_locked_ms(&mark, m[i].ms), m[i].locked_ms, "locked");
    }
}

#define PLAY(title, quiet, ...) \
    play(title, quiet, (const moment_t[]){ __VA_ARGS__ }, sizeof((const moment_t[]){ __VA_ARGS__ }) / sizeof(moment_t))

static void test_many(void)
{
    _Atomic uint64_t mark = 0;
    uint64_t others, i;

    xl_mark_refused(&mark, 1000, QUIET, &others);
    for (i = 0; i < 1100000; i++)
        xl_mark_refused(&mark, 1000, QUIET, &others);
    is_u64(xl_mark_moment_ms(mark), 1000, "a count that is full does not run into the moment");
    ok(xl_mark_served(&mark, 1000 + QUIET, QUIET, &others), "it ends");
    is_u64(others, (1u << 20) - 1, "the most that can be counted");
    xl_mark_lock(&mark, 1000, UINT64_MAX);
    is_u64(xl_mark_moment_ms(mark), (UINT64_C(1) << 44) - 1, "for as long as can be said");
}

/* Again and again: the same line, not more than once a minute, and not less. */
static void test_minute(void)
{
    static const struct {
        uint64_t ms;
        bool said;
    } t[] = { { 0, true }, { 1, false }, { 60000, false }, { 60001, true }, { 60002, false }, { 5, false },
              { 120000, false }, { 120001, true }, { 999999, true } };
    _Atomic uint64_t said_ms = 0;

    for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++)
        is_u64(xl_mark_minute(&said_ms, t[i].ms), t[i].said, "once a minute");
}

int main(void)
{
    PLAY("a key that comes and goes", QUIET, { SERVED, 1, false, 0, 0 }, { REFUSED, 1, true, 0, 0 },
         { REFUSED, 10, false, 0, 0 }, { SERVED, 20, false, 0, 0 }, { REFUSED, 30, false, 0, 0 },
         { SERVED, 30 + QUIET - 1, false, 0, 0 }, { SERVED, 30 + QUIET, true, 2, 0 }, { SERVED, 99999, false, 0, 0 },
         { REFUSED, 100000, true, 0, 0 });
    PLAY("refused again after a long time", QUIET, { REFUSED, 5, true, 0, 0 }, { REFUSED, 6, false, 0, 0 },
         { REFUSED, 6 + QUIET, true, 1, 0 }, { REFUSED, 7 + QUIET, false, 0, 0 });
    PLAY("a quota", 0, { REFUSED, 5, true, 0, 0 }, { SERVED, 5, true, 0, 0 }, { REFUSED, 6, true, 0, 0 });
    PLAY("an episode without end", XL_MARK_NEVER, { REFUSED, 5, true, 0, 0 },
         { REFUSED, UINT64_C(1) << 43, false, 0, 0 });
    PLAY("a clock that goes backwards", QUIET, { REFUSED, 70000, true, 0, 0 }, { REFUSED, 5, false, 0, 69995 },
         { SERVED, 5, false, 0, 69995 }, { SERVED, 70000 + QUIET, true, 1, 0 });
    PLAY("a lock-out", 0, { LOCKED, 1000, true, 0, 5000 }, { LOCKED, 2000, false, 0, 4000 },
         { REFUSED, 3000, false, 0, 3000 }, { REFUSED, 5999, false, 0, 1 }, { SERVED, 5999, false, 0, 1 },
         { SERVED, 6000, true, 2, 0 }, { LOCKED, 6000, true, 0, 5000 }, { LOCKED, 11000, true, 0, 5000 });
    test_many();
    test_minute();
    return done_testing();
}
