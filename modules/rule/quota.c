/* SPDX-License-Identifier: Apache-2.0
 *
 * quota: bytes or requests per period. Bytes are charged as they leave
 * (xl_account), requests when they are decided: a unit is taken first and looked
 * at then, so that of two that meet at the last one, one gives its own back.
 * Never reads a clock. Who locks: nobody; counters are atomic words.
 * Invariant: granted units of a request quota never exceed its amount.
 */
#include "xl_dimension.h"

#define TAKE_ATTEMPTS 1000

/* One quota at one moment. */
typedef struct {
    xl_usage_view_t view;
    int64_t start_ms, end_ms; /* also of a TIME period that has not begun */
    uint64_t allowed;         /* of the amount, released by now */
} quota_t;

static quota_t quota_at(const xl_limit_t *limit, const xl_usage_t *usage, int64_t wall_ms)
{
    quota_t q = { .view = xl_usage_read(usage, &limit->period, wall_ms) };

    q.start_ms = q.view.start_ms;
    q.end_ms = q.view.end_ms;
    if (!q.end_ms) {
        q.start_ms = wall_ms;
        q.end_ms = wall_ms + (int64_t)limit->period.length_ms;
    }
    q.allowed = xl_period_released(limit->amount, limit->slice_ms, q.start_ms, q.end_ms, wall_ms);
    return q;
}

static uint64_t sum(uint64_t a, uint64_t b)
{
    return a + b < a ? UINT64_MAX : a + b;
}

/* When `need` units will be there: with a slice, or with the next period. */
static int64_t release_ms(const xl_limit_t *limit, const quota_t *q, uint64_t need)
{
    if (!limit->slice_ms || need > limit->amount)
        return q->end_ms;
    return xl_period_release_time(limit->amount, need, limit->slice_ms, q->start_ms, q->end_ms);
}

static uint64_t until(int64_t then_ms, int64_t wall_ms)
{
    return then_ms > wall_ms ? (uint64_t)(then_ms - wall_ms) : 0;
}

/* What must be released for this request to be served. */
static uint64_t needed(const xl_applied_t *a, const quota_t *q)
{
    return sum(q->view.used, a->limit->unit == XL_UNIT_REQUESTS ? a->cost : 1);
}

/* In any period. */
static bool costs_too_much(const xl_applied_t *a)
{
    return a->limit->unit == XL_UNIT_REQUESTS && a->cost > a->limit->amount;
}

static void note(xl_applied_t *a, const quota_t *q, int64_t wall_ms)
{
    a->total = a->limit->amount;
    a->left = q->allowed > q->view.used ? q->allowed - q->view.used : 0;
    a->reset_ms = until(release_ms(a->limit, q, sum(q->allowed, 1)), wall_ms);
}

static void look_at(xl_applied_t *a, int64_t wall_ms)
{
    quota_t q = quota_at(a->limit, xl_applied_usage(a), wall_ms);

    a->over = needed(a, &q) > q.allowed;
    if (a->over)
        a->wait_ms = costs_too_much(a) ? XL_WAIT_NEVER : until(release_ms(a->limit, &q, needed(a, &q)), wall_ms);
    note(a, &q, wall_ms);
}

static void look(xl_applied_t *a, const xl_facts_t *facts, xl_now_t now)
{
    (void)facts;
    look_at(a, now.wall_ms);
}

/* What another request has taken and not yet given back may hide the last units
 * for a moment: the last one to give back looks again and gets them. */
static bool take_requests(xl_applied_t *a, int64_t wall_ms)
{
    xl_usage_t *usage = xl_applied_usage(a);

    for (int attempt = 0; attempt < TAKE_ATTEMPTS; attempt++) {
        quota_t q;

        if (attempt)
            look_at(a, wall_ms);
        if (a->over)
            return false;
        a->ordinal = xl_usage_add(usage, &a->limit->period, a->cost, wall_ms);
        q = quota_at(a->limit, usage, wall_ms);
        if (q.view.used <= q.allowed) {
            note(a, &q, wall_ms);
            return a->charged = true;
        }
        xl_usage_take_back(usage, a->cost, a->ordinal);
    }
    return false;
}

static bool take(xl_applied_t *a, const xl_facts_t *facts, xl_now_t now)
{
    (void)facts;
    a->counts = a->limit->unit == XL_UNIT_BYTES;
    return a->counts || take_requests(a, now.wall_ms);
}

static void take_anyway(xl_applied_t *a, const xl_facts_t *facts, xl_now_t now)
{
    (void)facts;
    a->counts = a->limit->unit == XL_UNIT_BYTES;
    if (a->counts)
        return;
    a->ordinal = xl_usage_add(xl_applied_usage(a), &a->limit->period, a->cost, now.wall_ms);
    a->charged = true;
}

static void give_back(xl_applied_t *a, const xl_facts_t *facts)
{
    (void)facts;
    xl_usage_take_back(xl_applied_usage(a), a->cost, a->ordinal);
}

const xl_dimension_t xl_quota_dimension = { look, take, take_anyway, give_back };

void xl_account(xl_applied_t *list, size_t n, uint64_t bytes, xl_now_t now)
{
    for (size_t i = 0; i < n; i++)
        if (list[i].counts)
            list[i].ordinal = xl_usage_add(xl_applied_usage(&list[i]), &list[i].limit->period, bytes, now.wall_ms);
}

void xl_account_back(const xl_applied_t *list, size_t n, uint64_t bytes)
{
    for (size_t i = 0; i < n; i++)
        if (list[i].counts)
            xl_usage_take_back(xl_applied_usage(&list[i]), bytes, list[i].ordinal);
}

bool xl_quota_over(const xl_limit_t *limit, const xl_usage_t *usage, int64_t wall_ms)
{
    quota_t q = quota_at(limit, usage, wall_ms);

    return q.view.used + (limit->unit == XL_UNIT_BYTES ? 1 : 0) > q.allowed;
}

int64_t xl_quota_free_ms(const xl_limit_t *limit, const xl_usage_t *usage, int64_t wall_ms)
{
    quota_t q = quota_at(limit, usage, wall_ms);

    return release_ms(limit, &q, sum(q.view.used, limit->unit == XL_UNIT_BYTES ? 1 : 0));
}

static unsigned highest_reached(const xl_limit_t *limit, uint64_t used)
{
    double percent = limit->amount ? 100.0 * (double)used / (double)limit->amount : 100;
    unsigned reached = 0;
    size_t i;

    for (i = 0; i < limit->warns && i < XL_WARN_MAX; i++)
        if (percent >= limit->warn[i])
            reached = limit->warn[i];
    return reached;
}

unsigned xl_quota_warning(const xl_limit_t *limit, xl_entry_t *entry, int64_t wall_ms)
{
    xl_usage_view_t view;
    uint64_t noted;
    unsigned reached;

    if (!limit->warns)
        return 0;
    view = xl_usage_read(&entry->usage, &limit->period, wall_ms);
    reached = highest_reached(limit, view.used);
    noted = atomic_load(&entry->warned);
    do {
        if (!reached || (noted >> 8 == view.ordinal && (noted & 0xFF) >= reached))
            return 0;
    } while (!atomic_compare_exchange_weak(&entry->warned, &noted, (uint64_t)view.ordinal << 8 | reached));
    return reached;
}
