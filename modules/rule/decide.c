/* SPDX-License-Identifier: Apache-2.0
 *
 * decide: from the limits that apply to a request to one verdict, and what is
 * charged for it.
 * Never reads a clock or a request, never decides how a refusal looks.
 * Who locks: nobody; counters are atomic words. A unit of a request quota is
 * taken first and looked at then, so that of two requests that meet at the
 * last unit one gives its own back.
 * Invariants: a refused request leaves every counter as it was; granted units
 * of a request quota never exceed its amount.
 */
#include "xl_decide.h"

#define TAKE_ATTEMPTS 1000

/* Who wins over whom; see the header. */
typedef enum { RANK_NONE, RANK_DRY_PACED, RANK_DRY_REFUSED, RANK_PACED, RANK_PASS, RANK_SPEED, RANK_REFUSE } rank_e;

/* One quota at one moment. */
typedef struct {
    xl_usage_view_t view;
    int64_t start_ms, end_ms; /* also of a TIME period that has not begun */
    uint64_t allowed;         /* of the amount, released by now */
} quota_t;

static bool is_quota(const xl_applied_t *a)
{
    return a->limit->dimension == XL_DIM_QUOTA && a->limit->mode != XL_MODE_OFF && a->entry;
}

static bool is_request_quota(const xl_applied_t *a)
{
    return is_quota(a) && a->limit->unit == XL_UNIT_REQUESTS;
}

static bool is_byte_quota(const xl_applied_t *a)
{
    return is_quota(a) && a->limit->unit == XL_UNIT_BYTES;
}

static quota_t quota_at(const xl_limit_t *limit, const xl_entry_t *entry, int64_t wall_ms)
{
    quota_t q = { .view = xl_usage_read(&entry->usage, &limit->period, wall_ms) };

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

/* What must be released for this request to be served. */
static uint64_t needed(const xl_limit_t *limit, const quota_t *q, const xl_facts_t *facts)
{
    return sum(q->view.used, limit->unit == XL_UNIT_REQUESTS ? facts->cost : 1);
}

static bool used_up(const xl_limit_t *limit, const quota_t *q, const xl_facts_t *facts)
{
    return needed(limit, q, facts) > q->allowed;
}

/* When `need` units will be there: with a slice, or with the next period. */
static int64_t release_ms(const xl_limit_t *limit, const quota_t *q, uint64_t need)
{
    if (!limit->slice_ms || need > limit->amount)
        return q->end_ms;
    return xl_period_release_time(limit->amount, need, limit->slice_ms, q->start_ms, q->end_ms);
}

static uint64_t seconds_until(int64_t then_ms, int64_t wall_ms)
{
    return then_ms > wall_ms ? ((uint64_t)(then_ms - wall_ms) + 999) / 1000 : 0;
}

static uint64_t wait_s(const xl_applied_t *a, const xl_facts_t *facts, int64_t wall_ms)
{
    quota_t q = quota_at(a->limit, a->entry, wall_ms);
    uint64_t wait = seconds_until(release_ms(a->limit, &q, needed(a->limit, &q, facts)), wall_ms);

    return wait ? wait : 1;
}

static bool serves(xl_action_e action)
{
    return action == XL_ACT_SPEED || action == XL_ACT_PASS;
}

/* As if it were enforced; a caller that cares looks at the mode. */
static bool would_refuse(const xl_applied_t *a)
{
    return a->over && !a->excused && !serves(a->action->kind);
}

static bool refuses(const xl_applied_t *a)
{
    return would_refuse(a) && a->limit->mode == XL_MODE_ENFORCE;
}

static rank_e rank_of(const xl_applied_t *a)
{
    bool dry = a->limit->mode == XL_MODE_DRY_RUN;

    if (a->limit->mode == XL_MODE_OFF)
        return RANK_NONE;
    if (a->limit->dimension != XL_DIM_QUOTA)
        return dry ? RANK_DRY_PACED : RANK_PACED;
    if (!a->over || a->excused)
        return RANK_NONE;
    if (a->action->kind == XL_ACT_SPEED)
        return dry ? RANK_DRY_PACED : RANK_SPEED;
    if (a->action->kind == XL_ACT_PASS)
        return dry ? RANK_NONE : RANK_PASS;
    return dry ? RANK_DRY_REFUSED : RANK_REFUSE;
}

static int verdict_of(const xl_applied_t *a)
{
    bool redirect = a->action && a->action->kind == XL_ACT_REDIRECT;

    switch (rank_of(a)) {
    case RANK_REFUSE:
        return redirect ? XL_VERDICT_REDIRECTED : XL_VERDICT_REJECTED;
    case RANK_DRY_REFUSED:
        return redirect ? XL_VERDICT_REDIRECTED_DRY_RUN : XL_VERDICT_REJECTED_DRY_RUN;
    case RANK_SPEED:
    case RANK_PACED:
        return XL_VERDICT_PACED;
    case RANK_DRY_PACED:
        return XL_VERDICT_PACED_DRY_RUN;
    case RANK_PASS:
    case RANK_NONE:
        break;
    }
    return XL_VERDICT_PASSED;
}

/* Takes the request's units if they are there. What another request has taken
 * and not yet given back may hide the last units for a moment: the last one to
 * give back looks again and gets them. */
static bool take(xl_applied_t *a, const xl_facts_t *facts, int64_t wall_ms)
{
    xl_usage_t *usage = &a->entry->usage;
    int attempt;

    for (attempt = 0; attempt < TAKE_ATTEMPTS; attempt++) {
        quota_t q = quota_at(a->limit, a->entry, wall_ms);

        if (used_up(a->limit, &q, facts))
            return false;
        a->ordinal = xl_usage_add(usage, &a->limit->period, facts->cost, wall_ms);
        q = quota_at(a->limit, a->entry, wall_ms);
        if (q.view.used <= q.allowed) {
            a->charged = true;
            return true;
        }
        xl_usage_take_back(usage, facts->cost, a->ordinal);
    }
    return false;
}

/* A served request counts in a quota that is over, too. */
static void take_anyway(xl_applied_t *a, const xl_facts_t *facts, int64_t wall_ms)
{
    a->ordinal = xl_usage_add(&a->entry->usage, &a->limit->period, facts->cost, wall_ms);
    a->charged = true;
}

static void look(xl_applied_t *a, const xl_facts_t *facts, int64_t wall_ms)
{
    a->charged = a->over = a->counts = false;
    a->ordinal = 0;
    if (is_quota(a)) {
        quota_t q = quota_at(a->limit, a->entry, wall_ms);

        a->over = used_up(a->limit, &q, facts);
    }
}

/* Charges one request quota; false when it refuses after all. */
static bool charge(xl_applied_t *a, const xl_facts_t *facts, int64_t wall_ms)
{
    if (!is_request_quota(a) || would_refuse(a))
        return true;
    if (!a->over && take(a, facts, wall_ms))
        return true;
    a->over = true;
    if (!would_refuse(a))
        take_anyway(a, facts, wall_ms);
    return !refuses(a);
}

static bool look_at_all(xl_applied_t *list, size_t n, const xl_facts_t *facts, int64_t wall_ms)
{
    bool refused = false;
    size_t i;

    for (i = 0; i < n; i++) {
        look(&list[i], facts, wall_ms);
        refused |= refuses(&list[i]);
    }
    return refused;
}

/* All or nothing. */
static bool charge_all(xl_applied_t *list, size_t n, const xl_facts_t *facts, int64_t wall_ms)
{
    size_t i;

    for (i = 0; i < n; i++) {
        list[i].counts = is_byte_quota(&list[i]) && !would_refuse(&list[i]);
        if (!charge(&list[i], facts, wall_ms)) {
            xl_decide_undo(list, n, facts);
            return false;
        }
    }
    return true;
}

/* Who decides, and what comes of it. */
static void conclude(xl_verdict_t *v, xl_applied_t *list, size_t n, const xl_facts_t *facts, int64_t wall_ms)
{
    rank_e best = RANK_NONE;
    uint64_t longest = 0;
    bool paced = false;
    size_t i;

    for (i = 0; i < n; i++) {
        rank_e rank = rank_of(&list[i]);
        uint64_t wait = is_quota(&list[i]) && rank != RANK_NONE ? wait_s(&list[i], facts, wall_ms) : 0;

        list[i].verdict = verdict_of(&list[i]);
        paced |= rank == RANK_PACED;
        if (rank == RANK_NONE || rank < best || (rank == best && wait < longest))
            continue;
        best = rank;
        longest = wait;
        v->by = i;
    }
    v->verdict = v->by < n ? list[v->by].verdict : XL_VERDICT_PASSED;
    if (best == RANK_REFUSE) {
        v->decision = XL_DECISION_REFUSE;
        v->retry_after_s = longest;
    } else if (paced) {
        v->verdict = XL_VERDICT_PACED;
    }
}

/* When more of the quota than now is there. */
static uint64_t reset_s(const xl_limit_t *limit, const quota_t *q, int64_t wall_ms)
{
    return seconds_until(release_ms(limit, q, sum(q->allowed, 1)), wall_ms);
}

static void find_tightest(xl_verdict_t *v, const xl_applied_t *list, size_t n, int64_t wall_ms)
{
    double least = 2;
    size_t i;

    for (i = 0; i < n; i++) {
        const xl_limit_t *limit = list[i].limit;
        uint64_t left;
        double share;
        quota_t q;

        if (!is_quota(&list[i]) || limit->mode != XL_MODE_ENFORCE)
            continue;
        q = quota_at(limit, list[i].entry, wall_ms);
        left = q.allowed > q.view.used ? q.allowed - q.view.used : 0;
        share = limit->amount ? (double)left / (double)limit->amount : 0;
        if (share >= least)
            continue;
        least = share;
        v->has_remaining = true;
        v->tightest = i;
        v->remaining = left;
        v->reset_s = reset_s(limit, &q, wall_ms);
    }
}

xl_verdict_t xl_decide(xl_applied_t *list, size_t n, const xl_facts_t *facts, xl_now_t now)
{
    xl_verdict_t v = { .decision = XL_DECISION_SERVE, .verdict = XL_VERDICT_PASSED, .by = n, .tightest = n };

    if (!look_at_all(list, n, facts, now.wall_ms))
        charge_all(list, n, facts, now.wall_ms);
    conclude(&v, list, n, facts, now.wall_ms);
    find_tightest(&v, list, n, now.wall_ms);
    return v;
}

void xl_decide_undo(xl_applied_t *list, size_t n, const xl_facts_t *facts)
{
    size_t i;

    for (i = 0; i < n; i++) {
        if (list[i].charged)
            xl_usage_take_back(&list[i].entry->usage, facts->cost, list[i].ordinal);
        list[i].charged = list[i].counts = false;
    }
}

void xl_account(const xl_applied_t *list, size_t n, uint64_t bytes, xl_now_t now)
{
    size_t i;

    for (i = 0; i < n; i++)
        if (list[i].counts)
            xl_usage_add(&list[i].entry->usage, &list[i].limit->period, bytes, now.wall_ms);
}

void xl_account_back(const xl_applied_t *list, size_t n, uint64_t bytes, xl_now_t now)
{
    size_t i;

    for (i = 0; i < n; i++) {
        xl_entry_t *entry = list[i].entry;

        if (list[i].counts)
            xl_usage_take_back(&entry->usage, bytes,
                               xl_usage_read(&entry->usage, &list[i].limit->period, now.wall_ms).ordinal);
    }
}

bool xl_quota_over(const xl_limit_t *limit, const xl_entry_t *entry, int64_t wall_ms)
{
    quota_t q = quota_at(limit, entry, wall_ms);

    return q.view.used + (limit->unit == XL_UNIT_BYTES ? 1 : 0) > q.allowed;
}

int64_t xl_quota_free_ms(const xl_limit_t *limit, const xl_entry_t *entry, int64_t wall_ms)
{
    quota_t q = quota_at(limit, entry, wall_ms);

    return release_ms(limit, &q, sum(q.view.used, limit->unit == XL_UNIT_BYTES ? 1 : 0));
}

bool xl_refusal_begins(xl_entry_t *entry, int64_t wall_ms)
{
    uint64_t at_rest = 0;

    if (atomic_compare_exchange_strong(&entry->refusing_since_ms, &at_rest, (uint64_t)wall_ms))
        return true;
    atomic_fetch_add(&entry->suppressed, 1);
    return false;
}

bool xl_refusal_ends(xl_entry_t *entry, int64_t *since_ms, uint64_t *suppressed)
{
    uint64_t since;

    if (!atomic_load(&entry->refusing_since_ms))
        return false;
    since = atomic_exchange(&entry->refusing_since_ms, 0);
    if (!since)
        return false;
    *since_ms = (int64_t)since;
    *suppressed = atomic_exchange(&entry->suppressed, 0);
    return true;
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
