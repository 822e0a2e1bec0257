/* SPDX-License-Identifier: Apache-2.0
 *
 * scene: limits with their entries and answers, as the glue would hand them to
 * xl_decide, for the tests of decisions.
 */
#ifndef SCENE_H
#define SCENE_H

#include "tap.h"
#include "xl_decide.h"

#include <stdlib.h>

#define T0 INT64_C(1700000000000) /* 2023-11-14T22:13:20Z */
#define BOOT_NS (1000 * XL_NS_PER_S)
#define MAX_LIMITS 8u

static const xl_action_t redirect __attribute__((unused)) = { .kind = XL_ACT_REDIRECT, .status = 302, .url = "/over" };
static const xl_action_t status __attribute__((unused)) = { .kind = XL_ACT_STATUS, .status = 503 };
static const xl_action_t shut __attribute__((unused)) = { .kind = XL_ACT_CLOSE };
static const xl_action_t speed __attribute__((unused)) = { .kind = XL_ACT_SPEED, .rate = { 1000, XL_NS_PER_S } };
static const xl_action_t pass __attribute__((unused)) = { .kind = XL_ACT_PASS };

static const xl_facts_t here __attribute__((unused)) = { 0 }; /* a process without a ledger */

/* Limits with their entries, as the glue would hand them over. */
typedef struct {
    xl_limit_t limit[MAX_LIMITS];
    xl_entry_t *entry[MAX_LIMITS];
    xl_applied_t list[MAX_LIMITS];
    size_t n;
} scene_t;

static inline scene_t *scene_new(void)
{
    scene_t *s = calloc(1, sizeof(*s));

    if (!s)
        exit(1);
    return s;
}

static inline void scene_add(scene_t *s, xl_limit_t limit, const xl_action_t *action)
{
    size_t i = s->n++;

    s->limit[i] = limit;
    if (limit.key != XL_KEY_SESSION) {
        s->entry[i] = aligned_alloc(64, sizeof(xl_entry_t) + 64);
        if (!s->entry[i])
            exit(1);
        memset(s->entry[i], 0, sizeof(xl_entry_t) + 64);
    }
    s->list[i] = (xl_applied_t){ .limit = &s->limit[i], .entry = s->entry[i], .action = action, .cost = 1,
                                  .pin = { .cell = XL_NO_CELL } };
}

static inline void scene_free(scene_t *s)
{
    size_t i;

    for (i = 0; i < s->n; i++)
        free(s->entry[i]);
    free(s);
}

static inline xl_limit_t quota(xl_unit_e unit, uint64_t amount, uint64_t period_ms)
{
    return (xl_limit_t){ .dimension = XL_DIM_QUOTA, .unit = unit, .amount = amount,
                         .period = { .kind = XL_PERIOD_TIME, .length_ms = period_ms } };
}

static inline xl_limit_t bandwidth(xl_key_e key, xl_mode_e mode)
{
    return (xl_limit_t){ .dimension = XL_DIM_BANDWIDTH, .key = key, .mode = mode, .rate = { 1000, XL_NS_PER_S } };
}

static inline xl_now_t at(int64_t ms)
{
    return (xl_now_t){ .wall_ms = T0 + ms, .mono_ns = BOOT_NS + (uint64_t)ms * XL_NS_PER_MS };
}

static inline xl_verdict_t request_at(scene_t *s, int64_t ms)
{
    return xl_decide(s->list, s->n, &here, at(ms));
}

static inline uint64_t used_at(const scene_t *s, size_t i, int64_t ms)
{
    return xl_usage_read(&s->entry[i]->usage, &s->limit[i].period, T0 + ms).used;
}

static inline void use(scene_t *s, size_t i, uint64_t n, int64_t ms)
{
    xl_usage_add(&s->entry[i]->usage, &s->limit[i].period, n, T0 + ms);
}

#endif
