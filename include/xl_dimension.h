/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_dimension: what a limit of each dimension does in a decision (the inside of
 * xl_decide). Bandwidths and uploads do nothing there: they pace what is served.
 * Pure; counters are atomic words, nobody locks.
 */
#ifndef XL_DIMENSION_H
#define XL_DIMENSION_H

#include "xl_decide.h"

typedef struct {
    /* Sets over, wait_ms, delay_ns, total, left, reset_ms; changes no counter. */
    void (*look)(xl_applied_t *a, const xl_facts_t *facts, xl_now_t now);
    /* Takes what the request costs; false, with nothing taken and wait_ms set, when it is not there after all. */
    bool (*take)(xl_applied_t *a, const xl_facts_t *facts, xl_now_t now);
    /* It is served although it is over. */
    void (*take_anyway)(xl_applied_t *a, const xl_facts_t *facts, xl_now_t now);
    void (*give_back)(xl_applied_t *a, const xl_facts_t *facts);
} xl_dimension_t;

/* NULL functions: nothing is done. */
extern const xl_dimension_t *const xl_dimensions[XL_DIMS];

extern const xl_dimension_t xl_quota_dimension;
extern const xl_dimension_t xl_requests_dimension;
extern const xl_dimension_t xl_connections_dimension;
extern const xl_dimension_t xl_penalty_dimension;

/* An event of a penalty whose key is not locked out: counts it, and locks out when
 * it is one too many. */
void xl_penalty_event(xl_applied_t *a, xl_now_t now);

/* The counters of the request's key. */
static inline xl_meter_t *xl_applied_meter(const xl_applied_t *a)
{
    return a->cell ? &a->cell->meter : &a->entry->meter;
}

static inline xl_usage_t *xl_applied_usage(const xl_applied_t *a)
{
    return a->cell ? &a->cell->usage : &a->entry->usage;
}

/* Who is refused for being one too many at once has no cell pinned. */
static inline _Atomic uint64_t *xl_applied_mark(const xl_applied_t *a)
{
    return a->cell && a->limit->dimension != XL_DIM_CONNECTIONS ? &a->cell->mark : &a->entry->mark;
}

#endif
