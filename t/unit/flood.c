/* SPDX-License-Identifier: Apache-2.0
 *
 * A million keys through a table for a hundred thousand, each of them a request
 * under a rate, as they come from somebody with a new address each time: nobody
 * is refused who would not be in a table of any size, who is being served or
 * locked out stays, and the others go oldest first.
 */
#include "world.h"

#define CELLS 100000u
#define KEYS 1000000u
#define LOCKED 50u
#define HELD 50u
#define ALWAYS 20u /* keys that come again and again */

static uint64_t state = 7;

static uint64_t draw(uint64_t below)
{
    state = mix(state);
    return state % below;
}

/* The time: a thousand requests in a second. */
static xl_now_t when(uint32_t request)
{
    return at((int64_t)request);
}

static bool is_there(const xl_applied_t *a)
{
    xl_pin_t pin = xl_table_pin(a->table, 0, &a->key, when(KEYS).mono_ns / XL_NS_PER_MS);
    bool there = pin.cell != XL_NO_CELL && atomic_load(&xl_table_cell(a->table, pin.cell)->meter.units) > 0;

    xl_table_unpin(a->table, 0, pin);
    return there;
}

typedef struct {
    world_t *world;
    xl_limit_t rate, locks;
    xl_applied_t by_rate, by_penalty;
    xl_applied_t held[HELD];
    unsigned refused, without;
} flood_t;

static void one(flood_t *f, uint32_t client, uint32_t request)
{
    xl_facts_t facts = process(f->world, 0);
    xl_applied_t a = of_client(&f->by_rate, client);

    pin_all(&a, 1, &facts, when(request));
    f->without += !a.cell;
    f->refused += xl_decide(&a, 1, &facts, when(request)).decision == XL_DECISION_REFUSE;
    if (a.cell)
        atomic_fetch_add(&a.cell->requests, 1);
    xl_settle(&a, 1, &facts);
}

/* They lock themselves out, and others hold a place, before the flood comes. */
static void before(flood_t *f)
{
    xl_facts_t facts = process(f->world, 1);

    for (uint32_t i = 0; i < LOCKED; i++) {
        xl_applied_t a = of_client(&f->by_penalty, i);

        serve(&a, 1, &facts, 200, when(0));
        ok(serve(&a, 1, &facts, 200, when(0)).decision == XL_DECISION_REFUSE, "locked out");
    }
    for (uint32_t i = 0; i < HELD; i++) {
        f->held[i] = of_client(&f->by_rate, KEYS + i);
        pin_all(&f->held[i], 1, &facts, when(0));
        xl_decide(&f->held[i], 1, &facts, when(0));
    }
}

static void after(flood_t *f)
{
    xl_facts_t facts = process(f->world, 1);
    unsigned locked = 0, held = 0, always = 0, recent = 0, old = 0;
    xl_table_totals_t totals;

    for (uint32_t i = 0; i < LOCKED; i++) {
        xl_applied_t a = of_client(&f->by_penalty, i);

        locked += serve(&a, 1, &facts, 200, when(KEYS)).decision == XL_DECISION_REFUSE;
    }
    is_u64(locked, LOCKED, "no flood frees who is locked out");
    for (uint32_t i = 0; i < HELD; i++) {
        held += xl_table_peek(&f->world->table, f->held[i].key.id) == 1
                && atomic_load(&f->held[i].cell->meter.units) == 1;
        xl_settle(&f->held[i], 1, &facts);
    }
    is_u64(held, HELD, "nor whom somebody serves");
    for (uint32_t i = 0; i < ALWAYS; i++) {
        xl_applied_t a = of_client(&f->by_rate, 2 * KEYS + i);

        always += is_there(&a);
    }
    is_u64(always, ALWAYS, "who came a moment ago is known");
    xl_table_totals(&f->world->table, &totals);
    ok(totals.used > CELLS * 0.98, "the table is full");
    in_range((double)(totals.evictions + totals.used), KEYS + LOCKED + HELD + ALWAYS, 1.05 * KEYS,
             "each key stands there or made room");
    is_u64(totals.pinned, 0, "nobody is served any more");
    for (uint32_t i = 0; i < 1000; i++) {
        xl_applied_t young = of_client(&f->by_rate, KEYS - 1 - (uint32_t)draw(CELLS / 2));
        xl_applied_t aged = of_client(&f->by_rate, (uint32_t)draw(KEYS - 2 * CELLS));

        recent += is_there(&young);
        old += is_there(&aged);
    }
    printf("# %u of 1000 younger than half a table, %u older than two\n", recent, old);
    ok(recent > 980, "what came lately is there");
    ok(old < 20, "what is old is not");
}

int main(void)
{
    flood_t *f = calloc(1, sizeof(*f));
    audit_t audit;

    if (!f)
        return 1;
    f->world = world_new(CELLS);
    f->rate = keyed(requests(1, 3600 * XL_NS_PER_S, 0, XL_NO_DELAY));
    f->locks = keyed(penalty(1, 3600 * XL_NS_PER_S, 3600000, XL_EVENT_REQUESTS));
    f->by_rate = world_limit(f->world, &f->rate, &status, 0);
    f->by_penalty = world_limit(f->world, &f->locks, &status, 0);
    before(f);
    for (uint32_t i = 0; i < KEYS; i++) {
        one(f, i, i);
        if (i % 1000 == 0)
            for (uint32_t k = 0; k < ALWAYS; k++) {
                unsigned refused = f->refused;

                one(f, 2 * KEYS + k, i);
                f->refused = refused + (i > 0 && f->refused == refused);
            }
    }
    is_u64(f->refused, 0, "of a million each is served, and who comes again each second is refused from then on");
    is_u64(f->without, 0, "each has a counter of his own");
    after(f);
    audit = audit_table(&f->world->table);
    is_u64(faults_of(&audit), 0, "and the table is sound");
    world_free(f->world, CELLS);
    free(f);
    return done_testing();
}
