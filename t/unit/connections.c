/* SPDX-License-Identifier: Apache-2.0
 *
 * How many at once, by the columns of a limit's entry and by the pins of a key's
 * cell: who gets the last place, what gives it back, a process that is gone, the
 * answers that serve, and rivals in threads: exactly as many as may be.
 */
#include "world.h"

#include <sched.h>

#define CELLS 128u
#define MANY 8u

static uint32_t active_of(const world_t *w, const xl_applied_t *a)
{
    return a->table ? xl_table_peek(a->table, a->key.id) : xl_entry_active(&w->ledger, a->entry);
}

static xl_verdict_t ask(xl_applied_t *a, const xl_facts_t *facts)
{
    pin_all(a, 1, facts, at(0));
    return xl_decide(a, 1, facts, at(0));
}

/* Who asks, or whose request number ends, and how many are there then. */
static void test_moments(void)
{
    enum { ASK, END, UNDO, LOOK };
    static const struct {
        int what;
        unsigned request;
        uint32_t row, active;
        bool served;
    } t[] = {
        { ASK, 0, 0, 1, true },  { ASK, 1, 1, 2, true },  { ASK, 2, 2, 3, true },  { ASK, 3, 0, 3, false },
        { LOOK, 3, 0, 3, false }, { END, 3, 0, 3, true },  { END, 1, 1, 2, true },  { LOOK, 3, 0, 2, true },
        { ASK, 3, 3, 3, true },  { ASK, 4, 3, 3, false }, { UNDO, 0, 0, 2, true }, { UNDO, 0, 0, 2, true },
        { END, 0, 0, 2, true },  { ASK, 4, 1, 3, true },  { END, 2, 2, 2, true },  { END, 2, 2, 2, true },
        { END, 3, 3, 1, true },  { END, 4, 1, 0, true },  { ASK, 5, 0, 1, true },  { END, 5, 0, 0, true },
    };

    for (int key = 0; key < 2; key++) {
        xl_limit_t limit = key ? keyed(connections(3)) : connections(3);
        world_t *w = world_new(CELLS);
        xl_applied_t first = world_limit(w, &limit, &status, 1), list[MANY];

        for (unsigned i = 0; i < MANY; i++)
            list[i] = first;
        for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
            xl_facts_t facts = process(w, t[i].row);
            xl_applied_t *a = &list[t[i].request];
            bool served = true;

            if (t[i].what == ASK || t[i].what == LOOK)
                served = (t[i].what == ASK ? ask(a, &facts) : xl_decide_look(a, 1, &facts, at(0))).decision
                         == XL_DECISION_SERVE;
            else if (t[i].what == UNDO)
                xl_decide_undo(a, 1, &facts);
            else
                xl_settle(a, 1, &facts);
            printf("# key %d, step %zu\n", key, i);
            ok(served == t[i].served, "served, or not");
            is_u64(active_of(w, a), t[i].active, "active then");
            is_u64(xl_entry_active(&w->ledger, a->entry), t[i].active, "... of all keys together");
        }
        world_free(w, CELLS);
    }
}

static void test_keys(void)
{
    xl_limit_t limit = keyed(connections(1));
    world_t *w = world_new(CELLS);
    xl_facts_t facts = process(w, 0);
    xl_applied_t list[MANY];
    unsigned served = 0;

    list[0] = world_limit(w, &limit, &status, 0);
    for (unsigned i = 0; i < MANY; i++) {
        list[i] = of_client(&list[0], i);
        served += ask(&list[i], &facts).decision == XL_DECISION_SERVE;
    }
    is_u64(served, MANY, "each key has places of its own");
    is_u64(xl_entry_active(&w->ledger, list[0].entry), MANY, "which the limit sums up");
    for (unsigned i = 0; i < MANY; i++)
        xl_settle(&list[i], 1, &facts);
    is_u64(xl_entry_active(&w->ledger, list[0].entry), 0, "and none is active afterwards");
    world_free(w, CELLS);
}

static bool settle_table(world_t *w, uint32_t row)
{
    return xl_table_settle(&w->table, row);
}

/* A child is killed with requests under way. */
static void test_killed(void)
{
    for (int key = 0; key < 2; key++) {
        xl_limit_t limit = key ? keyed(connections(2)) : connections(2);
        world_t *w = world_new(CELLS);
        xl_facts_t killed = process(w, 1), other = process(w, 2);
        xl_applied_t first = world_limit(w, &limit, &status, 1), a = first, b = first, c = first;

        ok(ask(&a, &killed).decision == XL_DECISION_SERVE && ask(&b, &other).decision == XL_DECISION_SERVE
           && ask(&c, &other).decision == XL_DECISION_REFUSE, "two are served, a third one is not");
        ok(settle_table(w, 1), "what a dead child held is taken back");
        xl_ledger_row_release(&w->ledger, 101, NULL);
        is_u64(active_of(w, &first), 1, "one is left");
        ok(ask(&c, &other).decision == XL_DECISION_SERVE, "and there is room for another");
        xl_settle(&b, 1, &other);
        xl_settle(&c, 1, &other);
        is_u64(active_of(w, &first), 0, "none is left");
        world_free(w, CELLS);
    }
}

/* pass and speed serve whoever comes, and count him. */
static void test_served_anyway(void)
{
    static const xl_limit_t at_once = { .dimension = XL_DIM_CONNECTIONS, .amount = 3, .delay = XL_NO_DELAY };

    for (int key = 0; key < 2; key++)
        for (int parts = 0; parts < 2; parts++) {
            xl_limit_t limit = key ? keyed(connections(2)) : connections(2);
            world_t *w = world_new(CELLS);
            xl_facts_t facts = process(w, 0);
            xl_applied_t list[MANY][2] = { { world_limit(w, &limit, parts ? &speed : &pass, 1) } };
            size_t n = parts ? 2 : 1;
            unsigned served = 0, last = parts ? 5 : MANY;

            list[0][1] = of_client(&list[0][0], 77);
            list[0][1].table = &w->table; /* parts have a cell whatever the key is */
            list[0][1].key.id[1] = 12345;
            list[0][1].limit = &at_once;
            list[0][1].action = &status;
            list[0][1].part_of = 1;
            printf("# key %d, parts %d\n", key, parts);
            for (unsigned i = 0; i < MANY; i++) {
                memcpy(list[i], list[0], sizeof(list[i]));
                for (unsigned p = 0; p < 2; p++) {
                    list[i][p].cell = NULL;
                    list[i][p].pin.cell = XL_NO_CELL;
                    list[i][p].charged = false;
                }
                served += xl_decide(list[i], n, &facts, at(0)).decision == XL_DECISION_SERVE;
            }
            is_u64(served, last, "two and whoever exceeds, or as many of these as the answer says");
            is_u64(active_of(w, &list[0][0]), last, "each is counted");
            is_u64(xl_entry_active(&w->ledger, list[0][0].entry), last, "... once");
            for (unsigned i = 0; i < MANY; i++)
                xl_settle(list[i], n, &facts);
            is_u64(active_of(w, &list[0][0]) + active_of(w, &list[0][1]), 0, "none is active afterwards");
            is_u64(xl_entry_active(&w->ledger, list[0][0].entry), 0, "... of all keys");
            world_free(w, CELLS);
        }
}

/* Nothing stays behind of one that another limit refuses, not even a count. */
static void test_refused_by_another(void)
{
    xl_limit_t limit = keyed(connections(5)), one = requests(1, XL_NS_PER_S, 0, XL_NO_DELAY);
    world_t *w = world_new(CELLS);
    xl_facts_t facts = process(w, 0);
    xl_applied_t rate = world_limit(w, &one, &status, 0), list[3] = { world_limit(w, &limit, &status, 1), rate, rate };
    xl_pin_t pin;

    ok(xl_decide(list, 3, &facts, at(0)).decision == XL_DECISION_REFUSE, "of two requests for one unit one is refused");
    is_u64(active_of(w, &list[0]), 0, "the place is given back");
    pin = xl_table_pin(&w->table, 0, &list[0].key, 0);
    is_u64(atomic_load(&xl_table_cell(&w->table, pin.cell)->requests), 0, "and the request not counted");
    world_free(w, CELLS);
}

static void test_refusing(void)
{
    for (int key = 0; key < 2; key++) {
        xl_limit_t limit = key ? keyed(connections(1)) : connections(1);
        world_t *w = world_new(CELLS);
        xl_facts_t facts = process(w, 0);
        xl_applied_t a = world_limit(w, &limit, &status, 1), b = a;
        uint64_t others;
        int64_t since_ms;

        ask(&a, &facts);
        ask(&b, &facts);
        ok(b.over && xl_refusal_begins(&b, at(0), &others), "a refusal begins");
        ok(!xl_refusal_begins(&b, at(1), &others), "and goes on");
        xl_settle(&a, 1, &facts);
        ask(&a, &facts);
        ok(!xl_refusal_ends(&a, at(10000), &since_ms, &others), "for a minute nobody says that it is over");
        ok(xl_refusal_ends(&a, at(61001), &since_ms, &others), "then it is");
        is_u64(atomic_load(&a.entry->refusing_since_ms), 0, "and the status says so");
        world_free(w, CELLS);
    }
}

/* ---- rivals ------------------------------------------------------------- */

enum { RIVALS = 4, ROUNDS = 4000, MOST = 2 };

typedef struct {
    world_t *world;
    const xl_applied_t *like;
    uint32_t row;
    _Atomic unsigned *arrived, *granted, *holding, *worst;
} rival_t;

static void meet(_Atomic unsigned *arrived, unsigned n)
{
    atomic_fetch_add(arrived, 1);
    while (atomic_load(arrived) < n)
        sched_yield();
}

/* In even rounds all keep what they got until all have asked; in odd ones nobody waits. */
static void *compete(void *data)
{
    rival_t *r = data;
    xl_facts_t facts = process(r->world, r->row);

    for (unsigned i = 0; i < ROUNDS; i++) {
        xl_applied_t a = *r->like;

        meet(r->arrived, RIVALS * (2 * i + 1));
        for (unsigned turn = 0; turn < (i % 2 ? 5 : 1); turn++) {
            bool served = xl_decide(&a, 1, &facts, at(0)).decision == XL_DECISION_SERVE;
            unsigned now = served ? atomic_fetch_add(r->holding, 1) + 1 : 0;

            if (now > MOST)
                atomic_fetch_add(r->worst, 1);
            if (served && i % 2 == 0)
                atomic_fetch_add(&r->granted[i], 1);
            if (i % 2 == 0)
                meet(r->arrived, RIVALS * (2 * i + 2));
            if (served)
                atomic_fetch_sub(r->holding, 1);
            xl_settle(&a, 1, &facts);
        }
        if (i % 2)
            meet(r->arrived, RIVALS * (2 * i + 2));
    }
    return NULL;
}

static void test_rivals(void)
{
    for (int key = 0; key < 2; key++) {
        xl_limit_t limit = key ? keyed(connections(MOST)) : connections(MOST);
        world_t *w = world_new(CELLS);
        xl_applied_t like = world_limit(w, &limit, &status, 1);
        static _Atomic unsigned granted[ROUNDS];
        _Atomic unsigned arrived = 0, holding = 0, worst = 0;
        pthread_t thread[RIVALS];
        rival_t rival[RIVALS];
        unsigned wrong = 0;

        for (unsigned i = 0; i < ROUNDS; i++)
            atomic_store(&granted[i], 0);
        for (unsigned i = 0; i < RIVALS; i++) {
            rival[i] = (rival_t){ w, &like, i, &arrived, granted, &holding, &worst };
            if (pthread_create(&thread[i], NULL, compete, &rival[i]))
                exit(1);
        }
        for (unsigned i = 0; i < RIVALS; i++)
            pthread_join(thread[i], NULL);
        for (unsigned i = 0; i < ROUNDS; i += 2)
            wrong += atomic_load(&granted[i]) != MOST;
        is_u64(wrong, 0, key ? "of four of one key always two are served" : "of four always two are served");
        is_u64(atomic_load(&worst), 0, "and never more at once");
        is_u64(active_of(w, &like), 0, "none is active afterwards");
        is_u64(xl_entry_active(&w->ledger, like.entry), 0, "... of all keys");
        world_free(w, CELLS);
    }
}

int main(void)
{
    test_moments();
    test_keys();
    test_killed();
    test_served_anyway();
    test_refused_by_another();
    test_refusing();
    test_rivals();
    return done_testing();
}
