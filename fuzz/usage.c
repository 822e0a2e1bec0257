/* SPDX-License-Identifier: Apache-2.0
 *
 * A counter per period against a plain one that knows all it was told: the same
 * sums whatever the clock does, never below 0, never over 2^63-1, a period that
 * is over never comes back. On words that anybody may have written every call
 * returns.
 */
#include "fuzz.h"
#include "xl_usage.h"

#define STEPS_MOST 200
#define MOST ((uint64_t)INT64_MAX)

typedef struct {
    unsigned __int128 used;
    int64_t start, end; /* 0: none has begun */
    uint32_t ordinal;
} model_t;

static void turn(model_t *m, const xl_period_t *period, int64_t wall)
{
    if (m->end && wall < m->end)
        return;
    *m = (model_t){.start = wall, .end = wall + (int64_t)period->length_ms};
    if (period->kind != XL_PERIOD_TIME)
        xl_period_bounds(period, wall, &m->start, &m->end);
}

static void check(const xl_usage_t *usage, const xl_period_t *period, const model_t *m, int64_t wall)
{
    xl_usage_view_t view = xl_usage_read(usage, period, wall);

    must(view.used <= MOST && view.previous <= MOST);
    if (!m->end)
        must(!view.used);
    else if (wall >= m->end)
        must(!view.used && (!view.start_ms || view.start_ms >= m->end));
    else
        must(view.used == (uint64_t)m->used && view.end_ms == m->end);
}

static void count(fuzz_t *f, const xl_period_t *period, int64_t wall)
{
    xl_usage_t usage = {0};
    model_t m = {0};

    for (int i = 0; i < STEPS_MOST && f->at < f->end; i++) {
        unsigned what = fuzz_byte(f);
        uint64_t n = fuzz_number(f) & MOST;

        if (what & 1) {
            wall += (int64_t)(fuzz_number(f) & 0xFFFFFFFFF) * (what & 2 ? -1 : 1);
            wall = wall < 1 ? 1 : wall > INT64_C(1) << 47 ? INT64_C(1) << 47 : wall;
        } else if (what & 4) {
            xl_usage_take_back(&usage, n, m.ordinal);
            m.used = m.used > n ? m.used - n : 0;
        } else if (n || period->kind != XL_PERIOD_TIME) {
            turn(&m, period, wall);
            m.ordinal = xl_usage_add(&usage, period, n, wall);
            m.used = m.used + n > MOST ? MOST : m.used + n;
        }
        check(&usage, period, &m, wall);
    }
}

static void endure(fuzz_t *f, const xl_period_t *period)
{
    xl_usage_t usage = {.word = fuzz_number(f), .used = {fuzz_number(f), fuzz_number(f)}, .end = fuzz_number(f)};
    int64_t wall = (int64_t)fuzz_number(f);
    uint32_t ordinal = xl_usage_add(&usage, period, fuzz_number(f), wall);

    xl_usage_take_back(&usage, fuzz_number(f), ordinal);
    must(xl_usage_read(&usage, period, (int64_t)fuzz_number(f)).used <= MOST);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_t f = {data, data + size};
    xl_period_t period = {.kind = (xl_period_e)(fuzz_byte(&f) % 6), .day = 1, .weekday = 1};

    period.length_ms = 1 + (fuzz_number(&f) & 0xFFFFFFFFF);
    endure(&f, &period);
    count(&f, &period, 1 + (int64_t)(fuzz_number(&f) & ((UINT64_C(1) << 47) - 1)));
    return 0;
}
