/* SPDX-License-Identifier: Apache-2.0
 *
 * decide: from the limits that apply to a request to one verdict, and what is
 * charged for it; what each dimension looks at and takes is its own affair
 * (xl_dimension.h).
 * Never reads a clock or a request, never decides how a refusal looks.
 * Who locks: nobody; counters are atomic words.
 * Invariant: a refused request leaves every counter as it was, but for events
 * of penalties that count refusals.
 */
#include "xl_dimension.h"

#define QUIET_MS 60000 /* so long nobody was refused when a refusal counts as over */

/* Who wins over whom; see the header. */
typedef enum {
    RANK_NONE,
    RANK_DRY_PACED,
    RANK_DRY_DELAYED,
    RANK_DRY_REFUSED,
    RANK_PACED,
    RANK_PASS,
    RANK_DELAYED,
    RANK_SPEED,
    RANK_REFUSE
} rank_e;

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

static rank_e rank_of_over(const xl_applied_t *a, bool dry)
{
    if (a->action->kind == XL_ACT_SPEED)
        return dry ? RANK_DRY_PACED : RANK_SPEED;
    if (a->action->kind == XL_ACT_PASS)
        return dry ? RANK_NONE : RANK_PASS;
    return dry ? RANK_DRY_REFUSED : RANK_REFUSE;
}

static rank_e rank_of(const xl_applied_t *a)
{
    bool dry = a->limit->mode == XL_MODE_DRY_RUN;

    if (a->limit->mode == XL_MODE_OFF)
        return RANK_NONE;
    if (xl_dimension_paces(a->limit->dimension))
        return dry ? RANK_DRY_PACED : RANK_PACED;
    if (a->over && !a->excused)
        return rank_of_over(a, dry);
    if (a->delay_ns)
        return dry ? RANK_DRY_DELAYED : RANK_DELAYED;
    return RANK_NONE;
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
    case RANK_DELAYED:
        return XL_VERDICT_DELAYED;
    case RANK_DRY_DELAYED:
        return XL_VERDICT_DELAYED_DRY_RUN;
    case RANK_PASS:
    case RANK_NONE:
        break;
    }
    return XL_VERDICT_PASSED;
}

/* ---- looking, then charging ------------------------------------------- */

/* A part of a speed answer takes no part while what it answers to is not over;
 * what has no counter at all takes none either. */
static const xl_dimension_t *dimension_of(const xl_applied_t *list, size_t i)
{
    static const xl_dimension_t none;
    const xl_applied_t *a = &list[i];
    bool rests = a->limit->mode == XL_MODE_OFF || (!a->entry && !a->cell && !a->table)
                 || (a->part_of && !list[a->part_of - 1].over);

    return rests ? &none : xl_dimensions[a->limit->dimension];
}

static bool look_at_all(xl_applied_t *list, size_t n, const xl_facts_t *facts, xl_now_t now)
{
    bool refused = false;

    for (size_t i = 0; i < n; i++) {
        xl_applied_t *a = &list[i];

        a->charged = a->over = a->counts = a->locked = false;
        a->ordinal = 0;
        a->delay_ns = a->wait_ms = a->total = 0;
        if (dimension_of(list, i)->look)
            dimension_of(list, i)->look(a, facts, now);
        refused |= refuses(a);
    }
    return refused;
}

/* Charges one limit; false when it refuses after all. */
static bool charge(xl_applied_t *list, size_t i, const xl_facts_t *facts, xl_now_t now)
{
    const xl_dimension_t *d = dimension_of(list, i);
    xl_applied_t *a = &list[i];

    if (would_refuse(a) || !d->take)
        return true;
    if (!a->over && d->take(a, facts, now))
        return true;
    a->over = true;
    if (!would_refuse(a) && d->take_anyway)
        d->take_anyway(a, facts, now);
    return !refuses(a);
}

/* All or nothing. Penalties come last: the event that locks out is one that all
 * others let pass. */
static bool charge_all(xl_applied_t *list, size_t n, const xl_facts_t *facts, xl_now_t now)
{
    for (int last = 0; last < 2; last++)
        for (size_t i = 0; i < n; i++)
            if ((list[i].limit->dimension == XL_DIM_PENALTY) == last && !charge(list, i, facts, now)) {
                xl_decide_undo(list, n, facts);
                return false;
            }
    return true;
}

void xl_decide_undo(xl_applied_t *list, size_t n, const xl_facts_t *facts)
{
    for (size_t i = 0; i < n; i++) {
        if (list[i].charged)
            xl_dimensions[list[i].limit->dimension]->give_back(&list[i], facts);
        list[i].charged = list[i].counts = false;
    }
}

/* ---- the verdict ------------------------------------------------------- */

static uint64_t seconds_of(uint64_t ms)
{
    return ms == XL_WAIT_NEVER ? XL_WAIT_NEVER : ms / 1000 + (ms % 1000 != 0);
}

static uint64_t retry_after(uint64_t seconds)
{
    if (seconds == XL_WAIT_NEVER)
        return 0;
    return seconds ? seconds : 1;
}

/* Whom a part of a speed answer refuses, the limit with that answer does. */
static void note_verdict(xl_applied_t *list, size_t i)
{
    list[i].verdict = verdict_of(&list[i]);
    if (list[i].part_of && refuses(&list[i]))
        list[list[i].part_of - 1].verdict = list[i].verdict;
}

/* Whom one refuses, no other lets wait. */
static void forget_delays(xl_applied_t *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!list[i].delay_ns)
            continue;
        list[i].delay_ns = 0;
        list[i].verdict = verdict_of(&list[i]);
    }
}

/* Who decides, and what comes of it. */
static void conclude(xl_verdict_t *v, xl_applied_t *list, size_t n)
{
    rank_e best = RANK_NONE;
    uint64_t longest = 0;
    bool paced = false;

    for (size_t i = 0; i < n; i++) {
        rank_e rank = rank_of(&list[i]);
        uint64_t wait = list[i].delay_ns ? list[i].delay_ns : seconds_of(list[i].wait_ms);

        note_verdict(list, i);
        paced |= rank == RANK_PACED;
        if (rank == RANK_DELAYED && list[i].delay_ns > v->delay_ns)
            v->delay_ns = list[i].delay_ns;
        if (rank == RANK_NONE || rank < best || (rank == best && wait < longest))
            continue;
        best = rank;
        longest = wait;
        v->by = i;
    }
    v->verdict = v->by < n ? list[v->by].verdict : XL_VERDICT_PASSED;
    if (best == RANK_REFUSE) {
        v->decision = XL_DECISION_REFUSE;
        v->retry_after_s = retry_after(longest);
        v->delay_ns = 0;
        forget_delays(list, n);
    } else if (best == RANK_SPEED && v->delay_ns) {
        v->verdict = XL_VERDICT_DELAYED;
    } else if (paced && best < RANK_DELAYED) {
        v->verdict = XL_VERDICT_PACED;
    }
}

static void find_tightest(xl_verdict_t *v, const xl_applied_t *list, size_t n)
{
    double least = 2;

    for (size_t i = 0; i < n; i++) {
        const xl_applied_t *a = &list[i];
        double share = a->total ? (double)a->left / (double)a->total : 2;

        if (a->limit->mode != XL_MODE_ENFORCE || a->limit->dimension == XL_DIM_CONNECTIONS || share >= least)
            continue;
        least = share;
        v->has_remaining = true;
        v->tightest = i;
        v->remaining = a->left;
        v->reset_s = seconds_of(a->reset_ms);
    }
}

void xl_decide_refused(xl_applied_t *list, size_t n, xl_now_t now)
{
    for (size_t i = 0; i < n; i++)
        if (list[i].limit->dimension == XL_DIM_PENALTY && list[i].limit->event == XL_EVENT_REJECTED
            && list[i].limit->mode != XL_MODE_OFF && !list[i].over)
            xl_penalty_event(&list[i], now);
}

static xl_verdict_t verdict(xl_applied_t *list, size_t n)
{
    xl_verdict_t v = { .decision = XL_DECISION_SERVE, .verdict = XL_VERDICT_PASSED, .by = n, .tightest = n };

    conclude(&v, list, n);
    find_tightest(&v, list, n);
    return v;
}

xl_verdict_t xl_decide_look(xl_applied_t *list, size_t n, const xl_facts_t *facts, xl_now_t now)
{
    look_at_all(list, n, facts, now);
    return verdict(list, n);
}

xl_verdict_t xl_decide(xl_applied_t *list, size_t n, const xl_facts_t *facts, xl_now_t now)
{
    if (!look_at_all(list, n, facts, now))
        charge_all(list, n, facts, now);
    return verdict(list, n);
}

/* ---- the end ----------------------------------------------------------- */

static bool is_event(const xl_applied_t *a, int status)
{
    const xl_limit_t *limit = a->limit;

    return limit->dimension == XL_DIM_PENALTY && limit->event == XL_EVENT_STATUS && limit->mode != XL_MODE_OFF
           && !a->over && status > 0 && status < 64 * XL_STATUS_WORDS && limit->statuses[status / 64] >> status % 64 & 1;
}

void xl_answered(xl_applied_t *list, size_t n, int status, xl_now_t now)
{
    for (size_t i = 0; i < n; i++) {
        list[i].locked = false;
        if (is_event(&list[i], status))
            xl_penalty_event(&list[i], now);
    }
}

void xl_settle(xl_applied_t *list, size_t n, const xl_facts_t *facts)
{
    for (size_t i = 0; i < n; i++) {
        xl_applied_t *a = &list[i];

        if (a->limit->dimension == XL_DIM_CONNECTIONS && a->charged)
            xl_connections_dimension.give_back(a, facts);
        else if (a->cell)
            xl_table_unpin(a->table, facts->row, a->pin);
        a->charged = a->counts = false;
        a->cell = NULL;
    }
}

/* ---- who is told of it -------------------------------------------------- */

static bool ends_with_the_first(const xl_limit_t *limit)
{
    return limit->dimension == XL_DIM_QUOTA || limit->dimension == XL_DIM_PENALTY;
}

/* Since when is of the entry, as the mark is. */
static bool is_of_entry(const xl_applied_t *a)
{
    return a->entry && xl_applied_mark(a) == &a->entry->mark;
}

bool xl_refusal_begins(const xl_applied_t *a, xl_now_t now, uint64_t *others)
{
    uint64_t at_rest = 0, quiet_ms = ends_with_the_first(a->limit) ? XL_MARK_NEVER : QUIET_MS;

    if (is_of_entry(a))
        atomic_compare_exchange_strong(&a->entry->refusing_since_ms, &at_rest, (uint64_t)now.wall_ms);
    return xl_mark_refused(xl_applied_mark(a), now.mono_ns / XL_NS_PER_MS, quiet_ms, others);
}

bool xl_refusal_lasts(const xl_applied_t *a)
{
    return atomic_load_explicit(xl_applied_mark(a), memory_order_relaxed);
}

bool xl_refusal_ends(const xl_applied_t *a, xl_now_t now, int64_t *since_ms, uint64_t *others)
{
    uint64_t quiet_ms = ends_with_the_first(a->limit) ? 0 : QUIET_MS;

    if (!xl_mark_served(xl_applied_mark(a), now.mono_ns / XL_NS_PER_MS, quiet_ms, others))
        return false;
    *since_ms = is_of_entry(a) ? (int64_t)atomic_exchange(&a->entry->refusing_since_ms, 0) : 0;
    return true;
}
