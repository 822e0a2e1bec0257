/* SPDX-License-Identifier: Apache-2.0
 *
 * The decision, as tables of moments: what a request at that time comes to,
 * what is left, when to try again, and what was charged for it.
 */
#include "scene.h"

#include <pthread.h>
#include <sched.h>

#define BY_NONE 99u

/* A request at a time, what it comes to, then the bytes that leave for it. */
typedef struct {
    int64_t ms;
    int verdict;
    uint64_t retry_s, remaining, reset_s;
    uint64_t bytes;
} moment_t;

static void play(const char *what, xl_limit_t limit, const xl_action_t *action, const moment_t *m, size_t n)
{
    scene_t *s = scene_new();
    size_t i;

    scene_add(s, limit, action);
    for (i = 0; i < n; i++) {
        xl_verdict_t v = request_at(s, m[i].ms);
        bool refused = m[i].verdict == XL_VERDICT_REJECTED || m[i].verdict == XL_VERDICT_REDIRECTED;

        printf("# %s, at %" PRId64 " ms\n", what, m[i].ms);
        is_i64(v.verdict, m[i].verdict, "verdict");
        ok(v.decision == (refused ? XL_DECISION_REFUSE : XL_DECISION_SERVE), "decision");
        is_u64(v.by, m[i].verdict == XL_VERDICT_PASSED ? 1 : 0, "by whom");
        is_u64(v.retry_after_s, m[i].retry_s, "retry after");
        is_u64(v.remaining, m[i].remaining, "remaining");
        is_u64(v.reset_s, m[i].reset_s, "reset");
        xl_account(s->list, s->n, m[i].bytes, at(m[i].ms));
    }
    scene_free(s);
}

#define PLAY(what, limit, action, moments) play(what, limit, action, moments, sizeof(moments) / sizeof(*(moments)))

static void test_moments(void)
{
    static const moment_t bytes[] = {
        { 0, XL_VERDICT_PASSED, 0, 100, 10, 60 },      { 500, XL_VERDICT_PASSED, 0, 40, 10, 39 },
        { 2000, XL_VERDICT_PASSED, 0, 1, 8, 51 },      { 2001, XL_VERDICT_REJECTED, 8, 0, 8, 1000 },
        { 9999, XL_VERDICT_REJECTED, 1, 0, 1, 1000 },  { 10000, XL_VERDICT_PASSED, 0, 100, 10, 0 },
        { 90000, XL_VERDICT_PASSED, 0, 100, 10, 100 }, { 90000, XL_VERDICT_REJECTED, 10, 0, 10, 0 },
    };
    static const moment_t requests[] = {
        { 0, XL_VERDICT_PASSED, 0, 2, 10, 7 },       { 1, XL_VERDICT_PASSED, 0, 1, 10, 7 },
        { 5000, XL_VERDICT_PASSED, 0, 0, 5, 7 },     { 5000, XL_VERDICT_REDIRECTED, 5, 0, 5, 7 },
        { 9001, XL_VERDICT_REDIRECTED, 1, 0, 1, 7 }, { 10000, XL_VERDICT_PASSED, 0, 2, 10, 7 },
    };
    static const moment_t slices[] = {
        { 0, XL_VERDICT_PASSED, 0, 10, 1, 10 },      { 500, XL_VERDICT_REJECTED, 1, 0, 1, 0 },
        { 1000, XL_VERDICT_PASSED, 0, 10, 1, 35 },   { 1500, XL_VERDICT_REJECTED, 3, 0, 1, 0 },
        { 3999, XL_VERDICT_REJECTED, 1, 0, 1, 0 },   { 4000, XL_VERDICT_PASSED, 0, 5, 1, 0 },
        { 9500, XL_VERDICT_PASSED, 0, 55, 1, 55 },   { 9600, XL_VERDICT_REJECTED, 1, 0, 1, 0 },
        { 10000, XL_VERDICT_PASSED, 0, 10, 1, 0 },
    };
    static const moment_t paced[] = {
        { 0, XL_VERDICT_PASSED, 0, 1, 10, 0 },
        { 0, XL_VERDICT_PASSED, 0, 0, 10, 0 },
        { 0, XL_VERDICT_PACED, 0, 0, 10, 0 },
        { 10000, XL_VERDICT_PASSED, 0, 1, 10, 0 },
    };
    static const moment_t day[] = {
        { 0, XL_VERDICT_PASSED, 0, 100, 6400, 100 },
        { 6399000, XL_VERDICT_REJECTED, 1, 0, 1, 0 },
        { 6400000, XL_VERDICT_PASSED, 0, 100, 86400, 0 },
    };
    xl_limit_t sliced = quota(XL_UNIT_BYTES, 100, 10000), daily = quota(XL_UNIT_BYTES, 100, 0);

    sliced.slice_ms = 1000;
    daily.period = (xl_period_t){ .kind = XL_PERIOD_DAY, .day = 1, .weekday = 1 };
    PLAY("100 bytes per 10 s", quota(XL_UNIT_BYTES, 100, 10000), &status, bytes);
    PLAY("3 requests per 10 s", quota(XL_UNIT_REQUESTS, 3, 10000), &redirect, requests);
    PLAY("100 bytes per 10 s in slices of 1 s", sliced, &status, slices);
    PLAY("2 requests per 10 s, then slower", quota(XL_UNIT_REQUESTS, 2, 10000), &speed, paced);
    PLAY("100 bytes per day of UTC", daily, &shut, day);
}

/* One quota that is used up: what each action comes to, and what it charges. */
static void test_actions(void)
{
    static const struct {
        const xl_action_t *action;
        xl_mode_e mode;
        bool excused;
        int verdict;
        uint64_t by;
        bool refuses, counts, remaining;
    } t[] = {
        { &redirect, XL_MODE_ENFORCE, false, XL_VERDICT_REDIRECTED, 0, true, false, true },
        { &status, XL_MODE_ENFORCE, false, XL_VERDICT_REJECTED, 0, true, false, true },
        { &shut, XL_MODE_ENFORCE, false, XL_VERDICT_REJECTED, 0, true, false, true },
        { &speed, XL_MODE_ENFORCE, false, XL_VERDICT_PACED, 0, false, true, true },
        { &pass, XL_MODE_ENFORCE, false, XL_VERDICT_PASSED, 0, false, true, true },
        { &redirect, XL_MODE_ENFORCE, true, XL_VERDICT_PASSED, BY_NONE, false, true, true },
        { &redirect, XL_MODE_DRY_RUN, false, XL_VERDICT_REDIRECTED_DRY_RUN, 0, false, false, false },
        { &status, XL_MODE_DRY_RUN, false, XL_VERDICT_REJECTED_DRY_RUN, 0, false, false, false },
        { &shut, XL_MODE_DRY_RUN, false, XL_VERDICT_REJECTED_DRY_RUN, 0, false, false, false },
        { &speed, XL_MODE_DRY_RUN, false, XL_VERDICT_PACED_DRY_RUN, 0, false, true, false },
        { &pass, XL_MODE_DRY_RUN, false, XL_VERDICT_PASSED, BY_NONE, false, true, false },
        { &status, XL_MODE_OFF, false, XL_VERDICT_PASSED, BY_NONE, false, false, false },
    };
    static const xl_unit_e units[] = { XL_UNIT_BYTES, XL_UNIT_REQUESTS };
    size_t i, u;

    for (i = 0; i < sizeof(t) / sizeof(*t); i++)
        for (u = 0; u < 2; u++) {
            scene_t *s = scene_new();
            xl_limit_t limit = quota(units[u], 10, 60000);
            xl_verdict_t v;

            limit.mode = t[i].mode;
            scene_add(s, limit, t[i].action);
            s->list[0].excused = t[i].excused;
            use(s, 0, 10, 0);
            v = request_at(s, 1);
            xl_account(s->list, s->n, 1, at(1));
            printf("# action %zu, unit %zu\n", i, u);
            is_i64(v.verdict, t[i].verdict, "verdict");
            is_i64(s->list[0].verdict, t[i].verdict, "and that of the limit");
            is_u64(v.by, t[i].by == BY_NONE ? 1 : t[i].by, "by whom");
            ok((v.decision == XL_DECISION_REFUSE) == t[i].refuses, "decision");
            is_u64(v.retry_after_s, t[i].refuses ? 60 : 0, "retry after");
            ok(v.has_remaining == t[i].remaining, "whether something remains");
            is_u64(used_at(s, 0, 1), t[i].counts ? 11 : 10, "what was charged");
            scene_free(s);
        }
}

/* Two limits that both answer; the position of the winner, and the verdict. */
static void test_ranks(void)
{
    enum { RED, STA, SPD, PAS, BW, SES, DRY, DRB, LONG };
    static const struct {
        int first, second;
        uint64_t by;
        int verdict;
    } t[] = {
        { RED, SPD, 0, XL_VERDICT_REDIRECTED }, { SPD, RED, 1, XL_VERDICT_REDIRECTED },
        { SPD, PAS, 0, XL_VERDICT_PACED },      { PAS, DRY, 0, XL_VERDICT_PASSED },
        { DRY, PAS, 1, XL_VERDICT_PASSED },     { PAS, BW, 0, XL_VERDICT_PACED },
        { DRY, BW, 1, XL_VERDICT_PACED },       { SES, DRY, 0, XL_VERDICT_PACED },
        { DRB, DRY, 1, XL_VERDICT_REJECTED_DRY_RUN }, { DRB, DRB, 1, XL_VERDICT_PACED_DRY_RUN },
        { SES, DRB, 0, XL_VERDICT_PACED },      { RED, STA, 1, XL_VERDICT_REJECTED },
        { STA, RED, 1, XL_VERDICT_REDIRECTED }, { LONG, RED, 0, XL_VERDICT_REJECTED },
        { RED, LONG, 1, XL_VERDICT_REJECTED },  { SES, RED, 1, XL_VERDICT_REDIRECTED },
        { SES, BW, 1, XL_VERDICT_PACED },
    };
    size_t i, side;

    for (i = 0; i < sizeof(t) / sizeof(*t); i++) {
        scene_t *s = scene_new();
        xl_verdict_t v;

        for (side = 0; side < 2; side++) {
            int kind = side ? t[i].second : t[i].first;
            xl_limit_t limit = quota(XL_UNIT_BYTES, 10, kind == LONG ? 60000 : 30000);

            limit.mode = kind == DRY ? XL_MODE_DRY_RUN : XL_MODE_ENFORCE;
            if (kind == BW || kind == SES || kind == DRB)
                limit = bandwidth(kind == SES ? XL_KEY_SESSION : XL_KEY_ALL,
                                  kind == DRB ? XL_MODE_DRY_RUN : XL_MODE_ENFORCE);
            scene_add(s, limit, kind == RED ? &redirect : kind == SPD ? &speed : kind == PAS ? &pass : &status);
            if (limit.dimension == XL_DIM_QUOTA)
                use(s, side, 10, 0);
        }
        v = request_at(s, 0);
        printf("# pair %zu\n", i);
        is_u64(v.by, t[i].by, "the right one of two decides");
        is_i64(v.verdict, t[i].verdict, "verdict");
        scene_free(s);
    }
}

static void test_all_or_nothing(void)
{
    scene_t *s = scene_new();
    xl_verdict_t v;

    scene_add(s, quota(XL_UNIT_REQUESTS, 5, 60000), &status);
    scene_add(s, quota(XL_UNIT_BYTES, 100, 60000), &status);
    scene_add(s, quota(XL_UNIT_BYTES, 1000, 60000), &status);
    v = request_at(s, 0);
    is_u64(v.tightest, 0, "four fifths are less than all");
    is_u64(v.remaining, 4, "after this request");
    xl_account(s->list, s->n, 100, at(0));
    is_u64(used_at(s, 2, 0), 100, "bytes count in every byte quota");
    is_u64(used_at(s, 0, 0), 1, "and not in one of requests");
    v = request_at(s, 0);
    is_u64(v.by, 1, "the byte quota refuses");
    is_u64(v.tightest, 1, "and is the tightest");
    xl_account(s->list, s->n, 500, at(0));
    is_u64(used_at(s, 0, 0), 1, "nothing is charged for a refused request");
    is_u64(used_at(s, 1, 0), 100, "no byte of its answer");
    is_u64(used_at(s, 2, 0), 100, "in no quota");

    s->list[1].excused = true;
    v = request_at(s, 0);
    is_i64(v.verdict, XL_VERDICT_PASSED, "excused it is served");
    is_u64(used_at(s, 0, 0), 2, "and charged");
    xl_account(s->list, s->n, 30, at(0));
    xl_account_back(s->list, s->n, 10);
    is_u64(used_at(s, 2, 0), 120, "bytes that did not leave are given back");
    xl_decide_undo(s->list, s->n, &here);
    is_u64(used_at(s, 0, 0), 1, "undone, the request is given back");
    xl_decide_undo(s->list, s->n, &here);
    is_u64(used_at(s, 0, 0), 1, "once");
    xl_account(s->list, s->n, 30, at(0));
    is_u64(used_at(s, 2, 0), 120, "and its bytes count no more");
    scene_free(s);
}

/* A response that began in one period, and of which something did not leave in the next. */
static void test_back_in_another_period(void)
{
    scene_t *s = scene_new();
    xl_applied_t late[1];

    scene_add(s, quota(XL_UNIT_BYTES, 1000, 10000), &status);
    request_at(s, 0);
    xl_account(s->list, 1, 600, at(0));
    late[0] = s->list[0];
    request_at(s, 10000);
    xl_account(s->list, 1, 100, at(10000));
    xl_account_back(late, 1, 500);
    is_u64(used_at(s, 0, 10000), 100, "what another period has is not given back");
    xl_account_back(s->list, 1, 40);
    is_u64(used_at(s, 0, 10000), 60, "what it was charged itself is");
    scene_free(s);
}

static void test_cost(void)
{
    static const struct {
        uint64_t cost, used, remaining;
        int verdict;
    } t[] = {
        { 4, 4, 6, XL_VERDICT_PASSED },         { 0, 4, 6, XL_VERDICT_PASSED },  { 7, 4, 6, XL_VERDICT_REJECTED },
        { UINT64_MAX, 4, 6, XL_VERDICT_REJECTED }, { 6, 10, 0, XL_VERDICT_PASSED }, { 0, 10, 0, XL_VERDICT_PASSED },
        { 1, 10, 0, XL_VERDICT_REJECTED },
    };
    scene_t *s = scene_new();
    size_t i;

    scene_add(s, quota(XL_UNIT_REQUESTS, 10, 60000), &status);
    for (i = 0; i < sizeof(t) / sizeof(*t); i++) {
        xl_verdict_t v;

        s->list[0].cost = t[i].cost;
        v = xl_decide(s->list, s->n, &here, at(0));
        printf("# cost %" PRIu64 "\n", t[i].cost);
        is_i64(v.verdict, t[i].verdict, "verdict");
        is_u64(used_at(s, 0, 0), t[i].used, "used");
        is_u64(v.remaining, t[i].remaining, "remaining");
    }
    scene_free(s);
}

static void test_nothing(void)
{
    scene_t *s = scene_new();
    xl_verdict_t v = request_at(s, 0);

    ok(v.decision == XL_DECISION_SERVE && v.verdict == XL_VERDICT_PASSED && v.by == 0 && !v.has_remaining,
       "without limits every request passes");
    scene_add(s, quota(XL_UNIT_BYTES, 0, 1000), &status);
    s->list[0].entry = NULL;
    v = request_at(s, 0);
    ok(v.verdict == XL_VERDICT_PASSED && !v.has_remaining, "a quota that found no room in the ledger refuses nobody");
    scene_free(s);
}

enum { RIVALS = 2, ROUNDS = 20000 };

/* In each round all rivals meet, and one unit is there for them. */
typedef struct {
    scene_t *scene;
    unsigned char *entries;
    _Atomic unsigned arrived, granted[ROUNDS];
} contest_t;

static xl_entry_t *prize(const contest_t *contest, unsigned round)
{
    return (xl_entry_t *)(void *)(contest->entries + round * sizeof(xl_entry_t));
}

static void *compete(void *data)
{
    contest_t *contest = data;
    unsigned i;

    for (i = 0; i < ROUNDS; i++) {
        xl_applied_t mine[2] = { contest->scene->list[0], contest->scene->list[1] };

        mine[1].entry = prize(contest, i);
        atomic_fetch_add(&contest->arrived, 1);
        while (atomic_load(&contest->arrived) < RIVALS * (i + 1))
            sched_yield();
        if (xl_decide(mine, 2, &here, at(0)).decision == XL_DECISION_SERVE)
            atomic_fetch_add(&contest->granted[i], 1);
    }
    return NULL;
}

static void test_last_unit(void)
{
    contest_t *contest = calloc(1, sizeof(*contest));
    unsigned i, wrong = 0, miscounted = 0;
    pthread_t thread[RIVALS];
    scene_t *s = scene_new();

    scene_add(s, quota(XL_UNIT_REQUESTS, RIVALS * ROUNDS, 60000), &status);
    scene_add(s, quota(XL_UNIT_REQUESTS, 1, 60000), &status);
    if (!contest || !(contest->entries = aligned_alloc(64, ROUNDS * sizeof(xl_entry_t))))
        exit(1);
    memset(contest->entries, 0, ROUNDS * sizeof(xl_entry_t));
    contest->scene = s;
    for (i = 0; i < RIVALS; i++)
        if (pthread_create(&thread[i], NULL, compete, contest))
            exit(1);
    for (i = 0; i < RIVALS; i++)
        pthread_join(thread[i], NULL);
    for (i = 0; i < ROUNDS; i++) {
        wrong += atomic_load(&contest->granted[i]) != 1;
        miscounted += xl_usage_read(&prize(contest, i)->usage, &s->limit[1].period, T0).used != 1;
    }
    is_u64(wrong, 0, "of rivals for the last unit exactly one gets it, each time");
    is_u64(miscounted, 0, "and exactly one is counted");
    is_u64(used_at(s, 0, 0), ROUNDS, "in the other quota too");
    free(contest->entries);
    free(contest);
    scene_free(s);
}

static void test_transitions(void)
{
    scene_t *s = scene_new();
    const xl_applied_t *a = &s->list[0];
    uint64_t others;
    int64_t since;

    scene_add(s, quota(XL_UNIT_BYTES, 1, 1000), &status);
    ok(!xl_refusal_ends(a, at(0), &since, &others), "what has not begun does not end");
    ok(xl_refusal_begins(a, at(0), &others), "a refusal begins once");
    ok(!xl_refusal_begins(a, at(5), &others) && !xl_refusal_begins(a, at(90000), &others), "and lasts, however long");
    ok(xl_refusal_ends(a, at(90000), &since, &others), "it ends once");
    is_i64(since, T0, "it had begun then");
    is_u64(others, 2, "two were not told of");
    ok(!xl_refusal_ends(a, at(90000), &since, &others), "and not again");
    ok(xl_refusal_begins(a, at(90001), &others), "another one begins");
    ok(xl_refusal_ends(a, at(90002), &since, &others) && others == 0, "with nobody untold of");
    scene_free(s);
}

static void test_warnings(void)
{
    static const struct {
        uint64_t bytes;
        int64_t ms;
        unsigned warning;
    } t[] = {
        { 0, 0, 0 },      { 799, 0, 0 },     { 1, 1, 80 },    { 0, 2, 0 },         { 100, 3, 0 },
        { 50, 4, 95 },    { 1000, 5, 0 },    { 0, 10000, 0 }, { 799, 10000, 0 },   { 500, 10001, 95 },
        { 0, 10002, 0 },
    };
    scene_t *s = scene_new();
    xl_limit_t limit = quota(XL_UNIT_BYTES, 1000, 10000);
    size_t i;

    limit.warn[0] = 80;
    limit.warn[1] = 95;
    limit.warns = 2;
    scene_add(s, limit, &status);
    for (i = 0; i < sizeof(t) / sizeof(*t); i++) {
        if (t[i].bytes)
            use(s, 0, t[i].bytes, t[i].ms);
        is_u64(xl_quota_warning(&s->limit[0], s->entry[0], T0 + t[i].ms), t[i].warning, "percentage newly reached");
    }
    scene_free(s);
}

int main(void)
{
    test_nothing();
    test_moments();
    test_actions();
    test_ranks();
    test_all_or_nothing();
    test_back_in_another_period();
    test_cost();
    test_last_unit();
    test_transitions();
    test_warnings();
    return done_testing();
}
