/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_decide: what happens to a request. Pure: the limits that apply to it with
 * their ledger entries, what is known of it, and the time go in; one verdict
 * by value comes out. All limits are looked at before any is charged, and
 * nothing is charged when one refuses.
 */
#ifndef XL_DECIDE_H
#define XL_DECIDE_H

#include "xl_ledger.h"
#include "xl_limit.h"
#include "xl_table.h"

typedef struct {
    int64_t wall_ms;  /* since 1970: decides periods */
    uint64_t mono_ns; /* since boot: decides rates */
} xl_now_t;

#define XL_WAIT_NEVER UINT64_MAX /* ms: its cost is more than will ever be there at once */

/* One limit that applies: its when= holds, its class matches. The caller fills in
 * what is above `excused`, and what `out` says is of the last decision. */
typedef struct {
    const xl_limit_t *limit;
    xl_entry_t *entry;         /* of the limit; NULL for a session limit */
    const xl_action_t *action; /* resolved: own, XLimitExceeded's, or the default */
    xl_cell_t *cell;           /* of the request's key, pinned; NULL: key all, or none was to be had and the entry's own
                                  counters serve all keys that find none */
    xl_pin_t pin;
    xl_table_t *table;         /* where its key belongs; NULL: key all */
    xl_table_key_t key;
    size_t part_of;            /* the speed answer of limit part_of - 1, which stands before it; 0: of none */
    uint64_t cost;             /* units that the request takes; 1 where nothing else is said */

    bool excused;     /* this request is where the limit redirects to: it never refuses it */
    bool charged;     /* out: something was taken that can be given back */
    bool over;        /* out: found used up, locked out, blocked */
    bool counts;      /* out: bytes of this request count in it */
    bool locked;      /* out: this very request locked its key out */
    uint32_t ordinal; /* out: of the period that was charged */
    int verdict;      /* out: what this limit alone comes to, XL_VERDICT_* */
    uint64_t wait_ms; /* out, over: until it is worth trying again, or XL_WAIT_NEVER */
    uint64_t delay_ns; /* out: how long the request has to wait for its turn */
    uint64_t total, left, reset_ms; /* out: units of a quota, or of a burst; until more than now is left. total 0: says
                                       nothing */
} xl_applied_t;

/* In which process this is: for what is being served at once. */
typedef struct {
    const xl_ledger_t *ledger;
    uint32_t row;
} xl_facts_t;

typedef enum { XL_DECISION_SERVE, XL_DECISION_REFUSE } xl_decision_e;

typedef struct {
    xl_decision_e decision;
    int verdict;            /* XL_VERDICT_*; PACED when a bandwidth or a speed answer applies */
    size_t by;              /* index of the limit that decided; n when none did */
    uint64_t retry_after_s; /* REFUSE: until it is worth trying again, >= 1; 0: it never is */
    uint64_t delay_ns;      /* SERVE: not before so long from now */
    bool has_remaining;     /* a quota or a rate of requests applies */
    size_t tightest;        /* index of the one with the least left, by share of its total */
    uint64_t remaining;     /* of it, in its unit, after this request's cost */
    uint64_t reset_s;       /* until its period or slice turns, or its burst is whole again */
} xl_verdict_t;

/* Refusal by a redirect, status or close beats `speed`, which beats waiting,
 * which beats `pass`, which beats a bandwidth, which beats dry-run; among equals
 * the longest wait wins, then the innermost (last) one. That one is `by`.
 *
 *   quota        N bytes refuse the request that finds N or more used, N requests
 *                refuse request N + 1; with slices, N is what was released so far
 *   requests     the GCRA: from rest burst + 1 units pass at once, and never more
 *                than rate x t + burst + 1 in any time t (to two nanoseconds)
 *   connections  never more at once, however many ask at the same time
 *   penalty      refuses who is locked out, and the event that is one too many
 *   block        refuses
 *
 * A limit in dry-run counts as an enforced one does: what it would have refused
 * does not count in it, and other limits do not see it. It is never the
 * tightest, since nobody is held to it. */
xl_verdict_t xl_decide(xl_applied_t *list, size_t n, const xl_facts_t *facts, xl_now_t now);

/* The same, charging nothing: what would be decided now. */
xl_verdict_t xl_decide_look(xl_applied_t *list, size_t n, const xl_facts_t *facts, xl_now_t now);

/* The request was really refused: an event for penalties that count these,
 * unless the refusal was their own. */
void xl_decide_refused(xl_applied_t *list, size_t n, xl_now_t now);

/* Gives back what xl_decide charged: a later stage refused after all. */
void xl_decide_undo(xl_applied_t *list, size_t n, const xl_facts_t *facts);

/* Once for each status that it turns out to have, before its client knows it: the
 * event that it is. `locked` of those whose key that locks out. */
void xl_answered(xl_applied_t *list, size_t n, int status, xl_now_t now);

/* The end of a request: what is no longer being served, pins. */
void xl_settle(xl_applied_t *list, size_t n, const xl_facts_t *facts);

/* Bytes that left: counts them in every byte quota of a request that xl_decide
 * let pass; of a refused one nothing is counted anywhere. */
void xl_account(xl_applied_t *list, size_t n, uint64_t bytes, xl_now_t now);

/* The last of these bytes did not leave after all; what a later period has is not its. */
void xl_account_back(const xl_applied_t *list, size_t n, uint64_t bytes);

/* Whether what is being sent at this moment is more than the quota has: a quota
 * of N requests is over with request N + 1, one of bytes when they are used up. */
bool xl_quota_over(const xl_limit_t *limit, const xl_usage_t *usage, int64_t wall_ms);

/* When a quota that is over no longer will be, with the next slice or period, if
 * nothing more is charged to it. */
int64_t xl_quota_free_ms(const xl_limit_t *limit, const xl_usage_t *usage, int64_t wall_ms);

/* Notes what was decided for the counter (the key's, where it has a cell): who is
 * told of a refusal, and of its end, with how many nobody was told of. A quota's
 * and a penalty's refusal ends with the first request that is served, all
 * others' when for a minute nobody was refused. *since_ms: wall time, 0: not
 * known. */
bool xl_refusal_begins(const xl_applied_t *a, xl_now_t now, uint64_t *others);
bool xl_refusal_lasts(const xl_applied_t *a); /* one was noted and has not ended */
bool xl_refusal_ends(const xl_applied_t *a, xl_now_t now, int64_t *since_ms, uint64_t *others);

/* The highest percentage of warn= that the quota has newly reached, or 0; each
 * is returned to exactly one caller per period. */
unsigned xl_quota_warning(const xl_limit_t *limit, xl_entry_t *entry, int64_t wall_ms);

#endif
