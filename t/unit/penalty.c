/* SPDX-License-Identifier: Apache-2.0
 *
 * Penalties, as tables of moments: which event locks out, when the lock-out ends,
 * that nothing counts meanwhile, for each kind of event and in a dry run; and
 * events that end, in threads and one after the other, while others lock out.
 */
#include "world.h"
#include "xl_dimension.h"

#define CELLS 128u

enum { PASS = XL_VERDICT_PASSED, NO = XL_VERDICT_REJECTED };

typedef struct {
    uint64_t ns, cost;
    int response, verdict;
    uint64_t retry_s;
} moment_t;

static void play(const char *what, xl_limit_t limit, const moment_t *m, size_t n)
{
    static const xl_key_e keys[] = { XL_KEY_ALL, XL_KEY_CLIENT };
    static const xl_mode_e modes[] = { XL_MODE_ENFORCE, XL_MODE_DRY_RUN };

    for (size_t k = 0; k < 4; k++) {
        world_t *w = world_new(CELLS);
        xl_facts_t facts = process(w, 1);
        xl_applied_t a;

        limit.key = keys[k / 2];
        limit.mode = modes[k % 2];
        a = world_limit(w, &limit, &status, 7);
        for (size_t i = 0; i < n; i++) {
            xl_verdict_t v;
            bool refused = m[i].verdict == NO;

            a.cost = m[i].cost;
            v = serve(&a, 1, &facts, m[i].response, at_ns(m[i].ns));
            printf("# %s, key and mode %zu, at %" PRIu64 " ns\n", what, k, m[i].ns);
            is_i64(v.verdict, refused && k % 2 ? XL_VERDICT_REJECTED_DRY_RUN : m[i].verdict, "verdict");
            is_u64(v.retry_after_s, k % 2 ? 0 : m[i].retry_s, "retry after");
            ok(!v.has_remaining, "nothing is said of what remains");
        }
        world_free(w, CELLS);
    }
}

#define PLAY(what, limit, moments) play(what, limit, moments, sizeof(moments) / sizeof(*(moments)))
#define MS XL_NS_PER_MS
#define SECOND XL_NS_PER_S

static void test_moments(void)
{
    static const moment_t by_request[] = {
        { 0, 1, 200, PASS, 0 }, { 0, 1, 200, PASS, 0 }, { 0, 1, 200, PASS, 0 }, { 0, 1, 200, NO, 5 },
        /* tries do not prolong it, whether the clock stands or goes back */
        { 0, 1, 200, NO, 5 }, { 2500 * MS, 1, 200, NO, 3 }, { 1 * MS, 1, 200, NO, 5 }, { 4999 * MS, 1, 200, NO, 1 },
        { 5000 * MS - 1, 1, 200, NO, 1 },
        /* afterwards the bucket is empty */
        { 5000 * MS, 1, 200, PASS, 0 }, { 5000 * MS, 1, 200, PASS, 0 }, { 5000 * MS, 1, 200, PASS, 0 },
        { 5000 * MS, 1, 200, NO, 5 },
        /* it leaks one in a second */
        { 20 * SECOND, 1, 200, PASS, 0 }, { 20 * SECOND, 1, 200, PASS, 0 }, { 20 * SECOND, 1, 200, PASS, 0 },
        { 21 * SECOND, 1, 200, PASS, 0 }, { 22 * SECOND - 1, 1, 200, NO, 5 },
        { 40 * SECOND, 1, 200, PASS, 0 }, { 40 * SECOND, 1, 200, PASS, 0 }, { 40 * SECOND, 1, 200, PASS, 0 },
        { 41 * SECOND, 1, 200, PASS, 0 }, { 42 * SECOND, 1, 200, PASS, 0 }, { 1000000 * SECOND, 3, 200, PASS, 0 },
        { 1000000 * SECOND, 0, 200, PASS, 0 }, { 1000000 * SECOND, 1, 200, NO, 5 },
        { 1000005 * SECOND, 4, 200, NO, 5 }, { 1000010 * SECOND, UINT64_MAX, 200, NO, 5 },
    };
    static const moment_t by_status[] = {
        /* the event that is one too many is served: it is known too late */
        { 0, 1, 401, PASS, 0 }, { 0, 1, 200, PASS, 0 }, { 0, 1, 401, PASS, 0 }, { 0, 1, 404, PASS, 0 },
        { 0, 1, 401, PASS, 0 }, { 0, 1, 302, PASS, 0 }, { 0, 1, 599, PASS, 0 }, { 0, 1, 200, NO, 5 },
        { 5 * SECOND - 1, 1, 200, NO, 1 }, { 5 * SECOND, 1, 200, PASS, 0 },
        /* no status, and such as cannot be */
        { 5 * SECOND, 1, 0, PASS, 0 }, { 5 * SECOND, 1, -1, PASS, 0 }, { 5 * SECOND, 1, 1024, PASS, 0 },
        { 5 * SECOND, 1, INT32_MAX, PASS, 0 }, { 5 * SECOND, 3, 401, PASS, 0 }, { 5 * SECOND, 1, 200, PASS, 0 },
        { 5 * SECOND, 0, 401, PASS, 0 }, { 5 * SECOND, 1, 599, PASS, 0 }, { 5 * SECOND, 1, 200, NO, 5 },
    };
    xl_limit_t statuses = penalty(3, 3 * SECOND, 5000, XL_EVENT_STATUS);

    statuses.statuses[401 / 64] |= UINT64_C(1) << 401 % 64;
    statuses.statuses[599 / 64] |= UINT64_C(1) << 599 % 64;
    PLAY("3/3s for=5s", penalty(3, 3 * SECOND, 5000, XL_EVENT_REQUESTS), by_request);
    PLAY("of statuses", statuses, by_status);
}

/* Refusals of others are events, its own are none. */
static void test_rejected(void)
{
    static const struct {
        int64_t ms;
        bool served, locked;
    } t[] = {
        { 0, true, false },     { 0, false, false },     { 0, false, false },     { 0, false, false },
        { 0, false, false }, /* which locks out */
        { 4000, false, true },  { 9999, false, true },   { 10000, false, false }, { 10001, false, false },
        { 10002, false, false }, { 10003, false, false }, { 10004, false, true },  { 20002, false, true },
        { 20003, false, false },
    };
    xl_limit_t rate = requests(1, 3600 * SECOND, 0, XL_NO_DELAY);
    xl_limit_t limit = keyed(penalty(3, 1000 * SECOND, 10000, XL_EVENT_REJECTED));
    world_t *w = world_new(CELLS);
    xl_facts_t facts = process(w, 0);
    xl_applied_t list[2] = { world_limit(w, &rate, &status, 0), world_limit(w, &limit, &shut, 1) };

    for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
        xl_verdict_t v = serve(list, 2, &facts, 200, at(t[i].ms));

        printf("# step %zu, at %" PRId64 " ms\n", i, t[i].ms);
        ok((v.decision == XL_DECISION_SERVE) == t[i].served, "served, or not");
        ok(list[1].over == t[i].locked, "locked out, or not");
    }
    world_free(w, CELLS);
}

/* Requests that began before the lock-out, and end in it. */
static void test_events_while_locked(void)
{
    for (int key = 0; key < 2; key++) {
        xl_limit_t limit = penalty(3, 3 * SECOND, 2000, XL_EVENT_STATUS);
        world_t *w = world_new(CELLS);
        xl_facts_t facts = process(w, 0);
        xl_applied_t first, list[10];
        unsigned passed = 0;

        limit.key = key ? XL_KEY_CLIENT : XL_KEY_ALL;
        limit.statuses[401 / 64] |= UINT64_C(1) << 401 % 64;
        first = world_limit(w, &limit, &status, 1);
        for (int i = 0; i < 10; i++) {
            list[i] = first;
            pin_all(&list[i], 1, &facts, at(0));
            xl_decide(&list[i], 1, &facts, at(0));
        }
        for (int i = 0; i < 10; i++) {
            xl_answered(&list[i], 1, 401, at(i));
            xl_settle(&list[i], 1, &facts);
            ok(list[i].locked == (i == 3), "the fourth one locks out, and no other");
        }
        ok(serve(&first, 1, &facts, 200, at(2002)).decision == XL_DECISION_REFUSE, "until its time is over");
        for (int i = 0; i < 10; i++)
            passed += serve(&first, 1, &facts, 401, at(2003)).decision == XL_DECISION_SERVE;
        is_u64(passed, 4, "what ended meanwhile does not count afterwards");
        world_free(w, CELLS);
    }
}

/* A request that was looked at before another one locked its key out. */
static void test_too_late(void)
{
    xl_limit_t limit = penalty(1, SECOND, 2000, XL_EVENT_REQUESTS);
    world_t *w = world_new(CELLS);
    xl_facts_t facts = process(w, 0);
    xl_applied_t a = world_limit(w, &limit, &status, 0), list[3] = { a, a, a };
    xl_verdict_t v = xl_decide(list, 3, &facts, at(0));

    ok(v.decision == XL_DECISION_REFUSE && !list[0].charged && list[1].locked,
       "one of three events too many locks out");
    a = list[0];
    a.over = a.locked = false; /* as it was looked at */
    ok(!xl_penalty_dimension.take(&a, &facts, at(1)), "and nobody passes any more");
    is_u64(a.wait_ms, 1999, "who is told how long it lasts");
    ok(!a.charged && !a.locked && !xl_meter_queue_ns(&a.entry->meter, at(1).mono_ns), "and nothing counts");
    world_free(w, CELLS);
}

enum { RIVALS = 4, ROUNDS = 500 };

typedef struct {
    world_t *world;
    xl_applied_t like;
    uint32_t row;
    unsigned locked, served;
} rival_t;

static void *compete(void *data)
{
    rival_t *r = data;
    xl_facts_t facts = process(r->world, r->row);

    for (int i = 0; i < ROUNDS; i++) {
        xl_applied_t a = r->like;

        pin_all(&a, 1, &facts, at(0));
        r->served += xl_decide(&a, 1, &facts, at(0)).decision == XL_DECISION_SERVE;
        r->locked += a.locked;
        xl_settle(&a, 1, &facts);
    }
    return NULL;
}

static void test_rivals(void)
{
    xl_limit_t limit = keyed(penalty(100, 1000 * SECOND, 1000000, XL_EVENT_REQUESTS));
    world_t *w = world_new(CELLS);
    xl_applied_t like = world_limit(w, &limit, &status, 1);
    unsigned locked = 0, served = 0;
    pthread_t thread[RIVALS];
    rival_t rival[RIVALS];

    for (uint32_t i = 0; i < RIVALS; i++) {
        rival[i] = (rival_t){ .world = w, .like = like, .row = i };
        if (pthread_create(&thread[i], NULL, compete, &rival[i]))
            exit(1);
    }
    for (unsigned i = 0; i < RIVALS; i++) {
        pthread_join(thread[i], NULL);
        locked += rival[i].locked;
        served += rival[i].served;
    }
    is_u64(locked, 1, "of four that go on and on one locks their key out, once");
    is_u64(served, 100, "and as many as may be were served before");
    world_free(w, CELLS);
}

/* One is excused: where he is sent to he is served, and his lock-out goes on. */
static void test_excused(void)
{
    xl_limit_t limit = penalty(1, SECOND, 2000, XL_EVENT_REQUESTS);
    world_t *w = world_new(CELLS);
    xl_facts_t facts = process(w, 0);
    xl_applied_t a = world_limit(w, &limit, &redirect, 0);

    xl_decide(&a, 1, &facts, at(0));
    is_i64(xl_decide(&a, 1, &facts, at(0)).verdict, XL_VERDICT_REDIRECTED, "locked out");
    a.excused = true;
    is_i64(xl_decide(&a, 1, &facts, at(1999)).verdict, PASS, "there he is served");
    a.excused = false;
    is_i64(xl_decide(&a, 1, &facts, at(1999)).verdict, XL_VERDICT_REDIRECTED, "and nowhere else");
    is_i64(xl_decide(&a, 1, &facts, at(2000)).verdict, PASS, "until then");
    world_free(w, CELLS);
}

int main(void)
{
    test_moments();
    test_rejected();
    test_events_while_locked();
    test_too_late();
    test_rivals();
    test_excused();
    return done_testing();
}
