/* SPDX-License-Identifier: Apache-2.0
 *
 * limits: made up limits with counters of their own, for targets that decide.
 */
#ifndef FUZZ_LIMITS_H
#define FUZZ_LIMITS_H

#include "fuzz.h"
#include "xl_decide.h"

#define LIMITS_MOST 6u
#define ENTRY_BYTES ((sizeof(xl_entry_t) + 127) / 64 * 64)

static const xl_facts_t here = {0}; /* a process without a ledger */

static const xl_action_t actions[] = {
    {.kind = XL_ACT_STATUS, .status = 503},
    {.kind = XL_ACT_REDIRECT, .status = 302, .url = "/"},
    {.kind = XL_ACT_CLOSE},
    {.kind = XL_ACT_SPEED, .rate = {1000, XL_NS_PER_S}},
    {.kind = XL_ACT_PASS},
};

typedef struct {
    xl_limit_t limit[LIMITS_MOST];
    xl_applied_t list[LIMITS_MOST];
    unsigned char *entries;
    size_t n;
} scene_t;

static inline void add_limit(fuzz_t *f, scene_t *s, size_t i)
{
    static const xl_dimension_e kinds[] = {XL_DIM_QUOTA, XL_DIM_BANDWIDTH, XL_DIM_REQUESTS, XL_DIM_PENALTY,
                                           XL_DIM_BLOCK};
    unsigned form = fuzz_byte(f), what = fuzz_byte(f);
    xl_limit_t *limit = &s->limit[i];

    *limit = (xl_limit_t){.dimension = kinds[form % 5],
                          .mode = (xl_mode_e)(form / 5 % 3),
                          .name = "n",
                          .unit = (xl_unit_e)(form / 15 % 2),
                          .event = (xl_event_e)(what / 5 % 3)};
    limit->amount = fuzz_number(f) >> 1;
    limit->period = (xl_period_t){.kind = (xl_period_e)(what / 15 % 6), .day = 1, .weekday = 1};
    limit->period.length_ms = 1 + (fuzz_number(f) & 0xFFFFFFFFF);
    limit->slice_ms = what & 128 ? fuzz_number(f) >> 1 : 0;
    limit->rate = (xl_rate_t){1 + (fuzz_number(f) >> 1), 1 + (fuzz_number(f) >> 1)};
    limit->burst = fuzz_number(f) >> 1;
    limit->delay = what & 64 ? fuzz_number(f) : XL_NO_DELAY;
    limit->for_ms = 1 + (fuzz_number(f) >> 21);
    limit->statuses[404 / 64] = UINT64_C(1) << 404 % 64;
    s->list[i] = (xl_applied_t){.limit = limit,
                                .entry = (xl_entry_t *)(s->entries + i * ENTRY_BYTES),
                                .action = &actions[what % 5],
                                .pin = {.cell = XL_NO_CELL}};
}

/* What no later request may find changed when this one was refused. */
static inline void take_down(const scene_t *s, xl_now_t now, uint64_t words[LIMITS_MOST])
{
    for (size_t i = 0; i < s->n; i++)
        words[i] = s->limit[i].dimension == XL_DIM_QUOTA
                       ? xl_usage_read(&s->list[i].entry->usage, &s->limit[i].period, now.wall_ms).used
                       : atomic_load(&s->list[i].entry->meter.units);
}

#endif
