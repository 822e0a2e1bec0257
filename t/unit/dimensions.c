/* SPDX-License-Identifier: Apache-2.0
 *
 * What limits of requests, connections and penalties let pass, as tables of
 * moments; what they give back; who is told of a refusal.
 */
#include "scene.h"
#include "table.h"

#define S_NS XL_NS_PER_S

static xl_limit_t requests(uint64_t units, uint64_t per_ns, uint64_t burst, uint64_t delay)
{
    return (xl_limit_t){.dimension = XL_DIM_REQUESTS, .rate = {units, per_ns}, .burst = burst, .delay = delay};
}

/* ---- requests ------------------------------------------------------------ */

static void test_rate(void)
{
    static const struct {
        int64_t ms;
        bool served;
        uint64_t delay_ms, retry_s, left;
    } t[] = {
        /* 2/s, burst 3, of which one passes at once */
        {0, true, 0, 0, 3},      {0, true, 0, 0, 2},    {0, true, 500, 0, 1},
        {0, true, 1000, 0, 0},   {0, false, 0, 1, 0},   {499, false, 0, 1, 0},
        {500, true, 1000, 0, 0}, {500, false, 0, 1, 0}, {9000, true, 0, 0, 3},
    };
    scene_t *s = scene_new();
    size_t i;

    scene_add(s, requests(2, S_NS, 3, 1), &status);
    for (i = 0; i < sizeof(t) / sizeof(*t); i++) {
        xl_verdict_t v = request_at(s, t[i].ms);

        ok((v.decision == XL_DECISION_SERVE) == t[i].served && v.delay_ns == t[i].delay_ms * XL_NS_PER_MS &&
               v.retry_after_s == t[i].retry_s && v.has_remaining && v.remaining == t[i].left,
           "2/s burst=3 delay=1, request %zu at %d ms: %s", i + 1, (int)t[i].ms, t[i].served ? "served" : "refused");
    }
    scene_free(s);
}

/* Thirds of a second are no whole nanoseconds: a cost of the whole burst has to
 * pass wherever the fractions of the requests before it have ended. */
static void test_fractions(void)
{
    uint64_t units;

    for (units = 0; units < 3; units++) {
        scene_t *s = scene_new();

        scene_add(s, requests(3, S_NS, 2, XL_NO_DELAY), &status);
        atomic_store(&s->entry[0]->meter.units, units);
        s->list[0].cost = 3;
        is_u64(request_at(s, 0).decision, XL_DECISION_SERVE, "3/s burst=2: a request that costs 3, from rest");
        is_u64(s->list[0].total, 3, "... which is all that there is");
        ok(request_at(s, 999).decision == XL_DECISION_REFUSE && request_at(s, 1000).decision == XL_DECISION_SERVE,
           "... and another one a second later, not before");
        s->list[0].cost = 4;
        is_u64(request_at(s, 9000).decision, XL_DECISION_REFUSE, "... but never one that costs 4");
        is_u64(s->list[0].left, 3, "... of whom nothing is taken");
        scene_free(s);
    }
}

static void test_given_back(void)
{
    scene_t *s = scene_new();

    scene_add(s, requests(1, S_NS, 0, XL_NO_DELAY), &status);
    scene_add(s, quota(XL_UNIT_REQUESTS, 1, 3600000), &status);
    is_u64(request_at(s, 0).decision, XL_DECISION_SERVE, "the first request passes both");
    xl_decide_undo(s->list, s->n, &here);
    is_u64(request_at(s, 0).decision, XL_DECISION_SERVE, "what is undone can be taken again");
    is_u64(request_at(s, 1000).by, 1, "the next one is refused by the quota");
    is_u64(xl_meter_queue_ns(&s->entry[0]->meter, at(1000).mono_ns), 0, "... and takes nothing of the rate");
    is_u64(xl_decide_look(s->list, s->n, &here, at(1000)).decision, XL_DECISION_REFUSE, "a look says the same");
    s->limit[0].mode = s->limit[1].mode = XL_MODE_DRY_RUN;
    is_u64(request_at(s, 1000).decision, XL_DECISION_SERVE, "nobody is refused in a dry run");
    is_u64((uint64_t)s->list[1].verdict, XL_VERDICT_REJECTED_DRY_RUN, "... which says what it would have been");
    scene_free(s);
}

/* ---- connections --------------------------------------------------------- */

typedef struct {
    scene_t *s;
    xl_ledger_t ledger;
    xl_table_t table;
    xl_facts_t facts;
} place_t;

static void place_make(place_t *p, const xl_action_t *action, bool keyed)
{
    static lock_log_t log;
    static const xl_table_lock_t lock = {log_lock, log_unlock, &log};
    static const fingerprint_t who = {{5, 6}};
    size_t size = xl_ledger_size(2, 1);

    *p = (place_t){.s = scene_new()};
    scene_add(p->s, (xl_limit_t){.dimension = XL_DIM_CONNECTIONS, .amount = 2}, action);
    if (xl_ledger_init(&p->ledger, guarded(size), size, 2, "b", 1))
        exit(1);
    xl_ledger_attach(&p->ledger, XL_ENTRY_CONNECTIONS, "", "", "c", 1, 0);
    free(p->s->entry[0]);
    p->s->entry[0] = NULL;
    p->s->list[0].entry = xl_ledger_entry(&p->ledger, 0);
    p->facts = (xl_facts_t){&p->ledger, xl_ledger_row_claim(&p->ledger, 1, 1)};
    p->table = make_table(128, 2, 8, &lock);
    if (keyed) {
        p->s->list[0].table = &p->table;
        p->s->list[0].key = named(who, "client");
    }
}

static void test_connections(bool keyed)
{
    place_t p;
    xl_applied_t one, two, three;
    const char *of = keyed ? "of a key" : "of all";

    place_make(&p, &status, keyed);
    one = two = three = p.s->list[0];
    ok(xl_decide(&one, 1, &p.facts, at(0)).decision == XL_DECISION_SERVE && one.left == 1, "one at once %s", of);
    ok(xl_decide(&two, 1, &p.facts, at(0)).decision == XL_DECISION_SERVE && two.left == 0, "two at once %s", of);
    is_u64(xl_decide(&three, 1, &p.facts, at(0)).decision, XL_DECISION_REFUSE, "not three");
    is_u64(xl_entry_active(&p.ledger, one.entry), 2, "two are in the sum");
    xl_settle(&three, 1, &p.facts);
    is_u64(xl_decide(&three, 1, &p.facts, at(0)).decision, XL_DECISION_REFUSE, "who was refused gives no place back");
    xl_settle(&one, 1, &p.facts);
    is_u64(xl_decide(&three, 1, &p.facts, at(1)).decision, XL_DECISION_SERVE, "who ends does");
    xl_decide_undo(&three, 1, &p.facts);
    xl_settle(&two, 1, &p.facts);
    is_u64(xl_entry_active(&p.ledger, p.s->list[0].entry), 0, "in the end nobody is there");
    scene_free(p.s);
}

static void test_connections_anyway(bool keyed)
{
    place_t p;
    xl_applied_t list[4];

    place_make(&p, &pass, keyed);
    for (size_t i = 0; i < 4; i++) {
        list[i] = p.s->list[0];
        is_u64(xl_decide(&list[i], 1, &p.facts, at(0)).decision, XL_DECISION_SERVE, "exceeded=pass serves all");
    }
    is_u64(xl_entry_active(&p.ledger, list[0].entry), 4, "... and counts them");
    ok(!list[1].over && list[2].over, "... the third is one too many");
    for (size_t i = 0; i < 4; i++)
        xl_settle(&list[i], 1, &p.facts);
    is_u64(xl_entry_active(&p.ledger, list[0].entry), 0, "... until they end");
    scene_free(p.s);
}

/* ---- penalties ----------------------------------------------------------- */

static xl_limit_t penalty(xl_event_e event)
{
    xl_limit_t limit = {
        .dimension = XL_DIM_PENALTY, .event = event, .rate = {2, 10 * S_NS}, .burst = 1, .for_ms = 30000};

    limit.statuses[404 / 64] = UINT64_C(1) << 404 % 64;
    return limit;
}

static void test_penalty_of_requests(void)
{
    scene_t *s = scene_new();
    xl_verdict_t v;

    scene_add(s, penalty(XL_EVENT_REQUESTS), &status);
    is_u64(request_at(s, 0).decision, XL_DECISION_SERVE, "one event passes");
    is_u64(request_at(s, 0).decision, XL_DECISION_SERVE, "... and a second one");
    v = request_at(s, 1);
    ok(v.decision == XL_DECISION_REFUSE && v.retry_after_s == 30 && s->list[0].locked, "the third locks out for 30 s");
    v = request_at(s, 29000);
    ok(v.decision == XL_DECISION_REFUSE && v.retry_after_s == 2 && !s->list[0].locked, "who tries does not prolong it");
    is_u64(request_at(s, 30001).decision, XL_DECISION_SERVE, "then one passes again");
    is_u64(request_at(s, 30001).decision, XL_DECISION_SERVE, "... and a second one");
    scene_free(s);
}

static void test_penalty_of_statuses(void)
{
    static const int statuses[] = {200, 404, 0, -1, 99999, 404, 403, 404};
    scene_t *s = scene_new();
    size_t i;

    scene_add(s, penalty(XL_EVENT_STATUS), &status);
    for (i = 0; i < sizeof(statuses) / sizeof(*statuses); i++) {
        is_u64(request_at(s, 0).decision, XL_DECISION_SERVE, "not locked out yet");
        xl_answered(s->list, s->n, statuses[i], at(0));
        xl_settle(s->list, s->n, &here);
        is_u64(s->list[0].locked, i == 7, "the third 404 locks out, nothing else counts");
    }
    is_u64(request_at(s, 1).decision, XL_DECISION_REFUSE, "the next request is refused");
    scene_free(s);
}

static void test_penalty_of_refusals(void)
{
    scene_t *s = scene_new();
    int i;

    scene_add(s, (xl_limit_t){.dimension = XL_DIM_BLOCK}, &status);
    scene_add(s, penalty(XL_EVENT_REJECTED), &status);
    for (i = 0; i < 3; i++) {
        is_u64(request_at(s, 0).by, 0, "blocked");
        xl_decide_refused(s->list, s->n, at(0));
    }
    ok(s->list[1].locked, "the third refusal locks out");
    s->limit[0].mode = XL_MODE_OFF;
    is_u64(request_at(s, 1).by, 1, "... who then is refused for that");
    xl_decide_refused(s->list, s->n, at(1));
    is_u64(request_at(s, 30001).decision, XL_DECISION_SERVE, "... which is no event");
    scene_free(s);
}

static void test_undone_event(void)
{
    scene_t *s = scene_new();
    int i;

    scene_add(s, penalty(XL_EVENT_REQUESTS), &status);
    for (i = 0; i < 5; i++) {
        is_u64(request_at(s, 0).decision, XL_DECISION_SERVE, "an event that is undone does not count");
        xl_decide_undo(s->list, s->n, &here);
    }
    scene_free(s);
}

/* ---- who is told --------------------------------------------------------- */

static void test_told(void)
{
    scene_t *s = scene_new();
    uint64_t others = 9;
    int64_t since_ms = 0;
    xl_applied_t *a;

    scene_add(s, requests(1, S_NS, 0, XL_NO_DELAY), &status);
    a = &s->list[0];
    ok(!xl_refusal_lasts(a), "nobody was refused");
    ok(xl_refusal_begins(a, at(0), &others) && !others, "the first refusal is told");
    ok(!xl_refusal_begins(a, at(10), &others) && !xl_refusal_begins(a, at(20), &others), "the next two are not");
    ok(xl_refusal_lasts(a) && !xl_refusal_ends(a, at(60000), &since_ms, &others), "within a minute it is not over");
    ok(xl_refusal_ends(a, at(60020), &since_ms, &others) && others == 2 && since_ms == T0, "then it is, with the two");
    ok(!xl_refusal_ends(a, at(60020), &since_ms, &others) && !xl_refusal_lasts(a), "once");
    s->limit[0].dimension = XL_DIM_QUOTA;
    ok(xl_refusal_begins(a, at(0), &others) && xl_refusal_ends(a, at(1), &since_ms, &others) && !others,
       "a quota's ends with the first who is served");
    scene_free(s);
}

int main(void)
{
    test_rate();
    test_fractions();
    test_given_back();
    test_connections(false);
    test_connections(true);
    test_connections_anyway(false);
    test_connections_anyway(true);
    test_penalty_of_requests();
    test_penalty_of_statuses();
    test_penalty_of_refusals();
    test_undone_event();
    test_told();
    return done_testing();
}
