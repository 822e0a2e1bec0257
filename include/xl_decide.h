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

typedef struct {
    int64_t wall_ms;  /* since 1970: decides periods */
    uint64_t mono_ns; /* since boot: decides rates */
} xl_now_t;

/* One limit that applies: its when= holds, its class matches. */
typedef struct {
    const xl_limit_t *limit;
    xl_entry_t *entry;         /* NULL for a session limit */
    const xl_action_t *action; /* resolved: own, XLimitExceeded's, or the default */
    bool excused;              /* this request is where the limit redirects to: it never refuses it */
    bool charged;              /* out: a request unit was taken from a quota */
    bool over;                 /* out: found used up at the decision */
    bool counts;               /* out: bytes of this request count in it */
    uint32_t ordinal;          /* out: of the period that was charged */
    int verdict;               /* out: what this limit alone comes to, XL_VERDICT_* */
} xl_applied_t;

typedef struct {
    uint64_t cost; /* units that this request takes from a quota of requests */
} xl_facts_t;

typedef enum { XL_DECISION_SERVE, XL_DECISION_REFUSE } xl_decision_e;

typedef struct {
    xl_decision_e decision;
    int verdict;                  /* XL_VERDICT_*; PACED when a bandwidth or a speed answer applies */
    size_t by;                    /* index of the limit that decided; n when none did */
    uint64_t retry_after_s;       /* REFUSE: until it is worth trying again, >= 1 */
    bool has_remaining;           /* a quota applies */
    size_t tightest;              /* index of the quota with the least left, by share of its amount */
    uint64_t remaining;           /* of it, in its unit, after this request's cost */
    uint64_t reset_s;             /* until its period (or slice) turns */
} xl_verdict_t;

/* Refusal by a redirect, status or close beats `speed`, which beats `pass`,
 * which beats a bandwidth, which beats dry-run; among equals the longest wait
 * wins, then the innermost (last) one. That one is `by`; a request that is
 * served and paced by whatever limit has the verdict PACED. A quota of N bytes
 * refuses the request that finds N or more used; a quota of N requests refuses
 * request N + 1. With slices, N is what has been released so far.
 *
 * A quota in dry-run counts as an enforced one does: what it would have
 * refused does not count in it, and other limits do not see it. It is never the
 * tightest, since nobody is held to it. */
xl_verdict_t xl_decide(xl_applied_t *list, size_t n, const xl_facts_t *facts, xl_now_t now);

/* Gives back what xl_decide charged: a later stage refused after all. */
void xl_decide_undo(xl_applied_t *list, size_t n, const xl_facts_t *facts);

/* Bytes that left: counts them in every byte quota of a request that xl_decide
 * let pass; of a refused one nothing is counted anywhere. */
void xl_account(const xl_applied_t *list, size_t n, uint64_t bytes, xl_now_t now);

/* The same bytes did not leave after all. */
void xl_account_back(const xl_applied_t *list, size_t n, uint64_t bytes, xl_now_t now);

/* Whether what is being sent at this moment is more than the quota has: a quota
 * of N requests is over with request N + 1, one of bytes when they are used up. */
bool xl_quota_over(const xl_limit_t *limit, const xl_entry_t *entry, int64_t wall_ms);

/* When a quota that is over no longer will be, with the next slice or period, if
 * nothing more is charged to it. */
int64_t xl_quota_free_ms(const xl_limit_t *limit, const xl_entry_t *entry, int64_t wall_ms);

/* Moves of one entry into and out of refusal, for the log: exactly one caller
 * gets true per transition. *since_ms and *suppressed describe the refusal
 * that ended. */
bool xl_refusal_begins(xl_entry_t *entry, int64_t wall_ms);
bool xl_refusal_ends(xl_entry_t *entry, int64_t *since_ms, uint64_t *suppressed);

/* The highest percentage of warn= that the quota has newly reached, or 0; each
 * is returned to exactly one caller per period. */
unsigned xl_quota_warning(const xl_limit_t *limit, xl_entry_t *entry, int64_t wall_ms);

#endif
