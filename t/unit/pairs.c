/* SPDX-License-Identifier: Apache-2.0
 *
 * Nothing is charged when another limit refuses: all pairs of dimensions and
 * keys, in both orders, refused when they are looked at and refused when they are
 * charged, and each way in which what was taken goes back.
 */
#include "world.h"

#define CELLS 128u
#define SECOND XL_NS_PER_S

typedef enum { BYTES, COUNT, RATE, AT_ONCE, BY_REQUEST, BY_REJECTED, BY_STATUS, BLOCK, KINDS } kind_e;

static const char *const names[] = { "bytes", "requests of a quota", "requests", "connections", "penalty by requests",
                                     "penalty by refusals", "penalty by statuses", "block" };

static xl_limit_t limit_of(kind_e kind, bool key)
{
    xl_limit_t limit = { .dimension = XL_DIM_BLOCK, .delay = XL_NO_DELAY };

    switch (kind) {
    case BYTES:
        limit = quota(XL_UNIT_BYTES, 10, 3600000);
        break;
    case COUNT:
        limit = quota(XL_UNIT_REQUESTS, 3, 3600000);
        break;
    case RATE:
        limit = requests(1, 3600 * SECOND, 2, XL_NO_DELAY);
        break;
    case AT_ONCE:
        limit = connections(3);
        break;
    case BY_REQUEST:
    case BY_REJECTED:
    case BY_STATUS:
        limit = penalty(3, 3600 * SECOND, 3600000, kind == BY_REQUEST ? XL_EVENT_REQUESTS
                                                   : kind == BY_REJECTED ? XL_EVENT_REJECTED : XL_EVENT_STATUS);
        limit.statuses[500 / 64] |= UINT64_C(1) << 500 % 64;
        break;
    case BLOCK:
    case KINDS:
        break;
    }
    limit.key = key ? XL_KEY_CLIENT : XL_KEY_ALL;
    return limit;
}

/* What the next request would find. */
typedef struct {
    uint64_t used, queue_ns, mark, requests;
    uint32_t active, of_all, pins;
} counters_t;

static counters_t counters_of(world_t *w, const xl_applied_t *a)
{
    xl_applied_t b = *a;
    counters_t c = { 0 };
    xl_usage_t *usage = &a->entry->usage;
    xl_meter_t *meter = &a->entry->meter;
    _Atomic uint64_t *mark = &a->entry->mark;

    c.of_all = xl_entry_active(&w->ledger, a->entry);
    if (a->table) {
        c.pins = c.active = xl_table_peek(a->table, a->key.id);
        b.pin = xl_table_pin(a->table, 0, &a->key, 0);
        b.cell = xl_table_cell(a->table, b.pin.cell);
        usage = &b.cell->usage;
        meter = &b.cell->meter;
        mark = &b.cell->mark;
        if (!a->key.usage)
            c.requests = atomic_load(&b.cell->requests);
    }
    if (a->limit->dimension == XL_DIM_QUOTA)
        c.used = xl_usage_read(usage, &a->limit->period, T0).used;
    else
        c.queue_ns = xl_meter_queue_ns(meter, at(0).mono_ns);
    c.mark = atomic_load(mark);
    if (a->table)
        xl_table_unpin(a->table, 0, b.pin);
    return c;
}

/* Used up, so that the next request is refused. */
static void exhaust(world_t *w, const xl_applied_t *like)
{
    xl_facts_t facts = process(w, 1);
    xl_applied_t list[4];

    for (int i = 0; i < 4; i++) {
        list[i] = *like;
        pin_all(&list[i], 1, &facts, at(0));
        xl_decide(&list[i], 1, &facts, at(0));
        xl_account(&list[i], 1, 10, at(0));
    }
    for (int i = 0; i < 4; i++) {
        if (like->limit->event == XL_EVENT_REJECTED)
            xl_decide_refused(&list[i], 1, at(0));
        if (like->limit->dimension != XL_DIM_CONNECTIONS) {
            xl_answered(&list[i], 1, 500, at(0));
            xl_settle(&list[i], 1, &facts);
        }
    }
}

/* Which steps a request takes after it was decided. */
typedef enum { SETTLE, UNDO_SETTLE, UNDO_TWICE, WAYS } way_e;

static void end(xl_applied_t *list, size_t n, const xl_facts_t *facts, way_e way)
{
    if (way != SETTLE)
        xl_decide_undo(list, n, facts);
    if (way == UNDO_TWICE)
        xl_decide_undo(list, n, facts);
    xl_answered(list, n, 503, at(0));
    xl_settle(list, n, facts);
}

static bool same(const counters_t *a, const counters_t *b)
{
    return a->used == b->used && a->queue_ns == b->queue_ns && a->mark == b->mark && a->active == b->active
           && a->of_all == b->of_all && a->pins == b->pins && a->requests == b->requests;
}

static void check_pair(kind_e refuses, bool refuser_key, kind_e fits, bool key, bool first, way_e way)
{
    xl_limit_t limits[2] = { limit_of(refuses, refuser_key), limit_of(fits, key) };
    world_t *w = world_new(CELLS);
    xl_facts_t facts = process(w, 0);
    xl_applied_t list[2];
    counters_t before[2], after[2];
    xl_verdict_t v;

    list[!first] = world_limit(w, &limits[0], &status, 1);
    list[first] = world_limit(w, &limits[1], &status, 2);
    if (fits == BLOCK)
        list[first].excused = true;
    exhaust(w, &list[!first]);
    for (int i = 0; i < 2; i++)
        before[i] = counters_of(w, &list[i]);
    pin_all(list, 2, &facts, at(0));
    v = xl_decide(list, 2, &facts, at(0));
    xl_account(list, 2, 1000, at(0));
    end(list, 2, &facts, way);
    for (int i = 0; i < 2; i++)
        after[i] = counters_of(w, &list[i]);
    ok(v.decision == XL_DECISION_REFUSE && same(&before[0], &after[0]) && same(&before[1], &after[1]),
       "%s%s refuses, %s %s%s keeps what it has (end %d)", names[refuses], refuser_key ? " of a client" : "",
       first ? "then" : "before it", names[fits], key ? " of a client" : "", way);
    world_free(w, CELLS);
}

static void test_pairs(void)
{
    for (int refuses = 0; refuses < KINDS; refuses++)
        for (int fits = 0; fits < KINDS; fits++)
            for (int bits = 0; bits < 8; bits++)
                for (int way = 0; way < WAYS; way++)
                    check_pair((kind_e)refuses, bits & 1, (kind_e)fits, bits & 2, bits & 4, (way_e)way);
}

/* Both see the last place of one counter, and the second one does not get it: what
 * stands before, between and behind them was charged already. */
static void check_too_late(kind_e refuses, bool refuser_key, kind_e fits, bool key, unsigned place)
{
    xl_limit_t limits[2] = { limit_of(refuses, refuser_key), limit_of(fits, key) };
    world_t *w = world_new(CELLS);
    xl_facts_t facts = process(w, 0);
    xl_applied_t other, own, list[3];
    counters_t before, after, own_before, own_after;
    xl_verdict_t v;

    if (refuses == COUNT || refuses == AT_ONCE)
        limits[0].amount = 1;
    limits[0].burst = 0;
    own = world_limit(w, &limits[0], &status, 1);
    other = world_limit(w, &limits[1], &status, 2);
    for (unsigned i = 0; i < 3; i++)
        list[i] = i == place ? other : own;
    before = counters_of(w, &other);
    own_before = counters_of(w, &own);
    pin_all(list, 3, &facts, at(0));
    v = xl_decide(list, 3, &facts, at(0));
    xl_account(list, 3, 1000, at(0));
    xl_answered(list, 3, 503, at(0));
    xl_settle(list, 3, &facts);
    after = counters_of(w, &other);
    own_after = counters_of(w, &own);
    if (refuses == BY_REQUEST)
        own_before.mark = own_after.mark; /* that event has locked out */
    ok(v.decision == XL_DECISION_REFUSE && same(&before, &after) && same(&own_before, &own_after),
       "%s%s refuses at the last moment, %s%s at place %u gets back what it took", names[refuses],
       refuser_key ? " of a client" : "", names[fits], key ? " of a client" : "", place);
    world_free(w, CELLS);
}

static void test_too_late(void)
{
    static const kind_e race[] = { COUNT, RATE, AT_ONCE, BY_REQUEST };

    for (size_t r = 0; r < sizeof(race) / sizeof(*race); r++)
        for (int fits = 0; fits < BLOCK; fits++)
            for (unsigned bits = 0; bits < 4; bits++)
                for (unsigned place = 0; place < 3; place++)
                    check_too_late(race[r], bits & 1, (kind_e)fits, bits & 2, place);
}

/* And what was taken by a request that all let pass goes back when it is undone. */
static void test_undo(void)
{
    for (int kind = 0; kind < BLOCK; kind++)
        for (int bits = 0; bits < 4; bits++) {
            xl_limit_t limit = limit_of((kind_e)kind, bits & 1);
            world_t *w = world_new(CELLS);
            xl_facts_t facts = process(w, 0);
            xl_applied_t like = world_limit(w, &limit, &status, 1), a = like;
            counters_t before, after;

            if (bits & 2) {
                xl_applied_t earlier = like;

                serve(&earlier, 1, &facts, 200, at(0));
            }
            before = counters_of(w, &like);
            pin_all(&a, 1, &facts, at(0));
            ok(xl_decide(&a, 1, &facts, at(0)).decision == XL_DECISION_SERVE, "%s%s lets one pass", names[kind],
               bits & 1 ? " of a client" : "");
            xl_decide_undo(&a, 1, &facts);
            xl_account(&a, 1, 1000, at(0));
            xl_settle(&a, 1, &facts);
            after = counters_of(w, &like);
            ok(same(&before, &after), "... and is as before when that is undone");
            world_free(w, CELLS);
        }
}

int main(void)
{
    test_pairs();
    test_too_late();
    test_undo();
    return done_testing();
}
