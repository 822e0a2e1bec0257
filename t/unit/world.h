/* SPDX-License-Identifier: Apache-2.0
 *
 * world: a ledger and a table of keys in memory, and limits on them as the glue
 * would hand them to xl_decide: with an entry, and of a client with his cell
 * pinned (but for connections, which are pinned when they are charged). For the
 * tests of single dimensions and of what they do to each other.
 */
#ifndef WORLD_H
#define WORLD_H

#include "scene.h"
#include "table.h"

#include <pthread.h>

#define ROWS 4u
#define ENTRIES 64u

typedef struct {
    xl_ledger_t ledger;
    xl_table_t table;
    void *block;
    pthread_mutex_t stripes[XL_TABLE_STRIPES];
    uint32_t attached;
} world_t;

static inline bool world_lock(void *context, unsigned stripe)
{
    return !pthread_mutex_lock(&((world_t *)context)->stripes[stripe]);
}

static inline void world_unlock(void *context, unsigned stripe)
{
    pthread_mutex_unlock(&((world_t *)context)->stripes[stripe]);
}

/* All rows are of living processes. */
static inline world_t *world_new(uint32_t cells)
{
    world_t *w = calloc(1, sizeof(*w));
    size_t size = xl_ledger_size(ROWS, ENTRIES);
    xl_table_lock_t lock = { world_lock, world_unlock, w };

    if (!w || !(w->block = aligned_alloc(64, (size + 63) / 64 * 64)))
        exit(1);
    memset(w->block, 0, size);
    if (xl_ledger_init(&w->ledger, w->block, size, ROWS, "boot", T0))
        exit(1);
    for (unsigned i = 0; i < XL_TABLE_STRIPES; i++)
        pthread_mutex_init(&w->stripes[i], NULL);
    for (uint32_t i = 0; i < ROWS; i++)
        xl_ledger_row_claim(&w->ledger, 100 + i, 1);
    w->table = make_table(cells, ROWS, 4096, &lock);
    return w;
}

static inline void world_free(world_t *w, uint32_t cells)
{
    discard(&w->table, cells);
    free(w->block);
    free(w);
}

static inline xl_facts_t process(const world_t *w, uint32_t row)
{
    return (xl_facts_t){ .ledger = &w->ledger, .row = row };
}

/* With a new entry; of key client: for the client of that number. */
static inline xl_applied_t world_limit(world_t *w, const xl_limit_t *limit, const xl_action_t *action, uint32_t client)
{
    char name[16];
    uint32_t index;
    xl_applied_t a = { .limit = limit, .action = action, .cost = 1, .pin = { .cell = XL_NO_CELL }, .key.text = "" };

    snprintf(name, sizeof(name), "limit-%u", w->attached++);
    index = xl_ledger_attach(&w->ledger, XL_ENTRY_REQUESTS, "host", "", name, 1, 1);
    a.entry = xl_ledger_entry(&w->ledger, index);
    if (!a.entry)
        exit(1);
    if (limit->key != XL_KEY_CLIENT)
        return a;
    a.table = &w->table;
    a.key = (xl_table_key_t){ .id = { mix(UINT64_C(1) << 40 | (uint64_t)index << 20 | client), mix(client) },
                              .owner = index, .usage = limit->dimension == XL_DIM_QUOTA, .text = "client" };
    return a;
}

/* The same limit for another client. */
static inline xl_applied_t of_client(const xl_applied_t *like, uint32_t client)
{
    xl_applied_t a = *like;

    a.key.id[0] = mix(UINT64_C(1) << 40 | (uint64_t)a.key.owner << 20 | client);
    a.key.id[1] = mix(client);
    a.cell = NULL;
    a.pin.cell = XL_NO_CELL;
    return a;
}

static inline xl_now_t at_ns(uint64_t ns)
{
    return (xl_now_t){ .wall_ms = T0 + (int64_t)(ns / XL_NS_PER_MS), .mono_ns = BOOT_NS + ns };
}

/* What the glue does for a request before it asks. */
static inline void pin_all(xl_applied_t *list, size_t n, const xl_facts_t *facts, xl_now_t now)
{
    for (size_t i = 0; i < n; i++) {
        if (!list[i].table || list[i].limit->dimension == XL_DIM_CONNECTIONS)
            continue;
        list[i].pin = xl_table_pin(list[i].table, facts->row, &list[i].key, now.mono_ns / XL_NS_PER_MS);
        list[i].cell = list[i].pin.cell == XL_NO_CELL ? NULL : xl_table_cell(list[i].table, list[i].pin.cell);
    }
}

/* A request from its decision to its end. */
static inline xl_verdict_t serve(xl_applied_t *list, size_t n, const xl_facts_t *facts, int response, xl_now_t now)
{
    xl_verdict_t v;

    pin_all(list, n, facts, now);
    v = xl_decide(list, n, facts, now);
    if (v.decision == XL_DECISION_REFUSE)
        xl_decide_refused(list, n, now);
    xl_answered(list, n, v.decision == XL_DECISION_REFUSE ? 429 : response, now);
    xl_settle(list, n, facts);
    return v;
}

static inline xl_limit_t requests(uint64_t units, uint64_t per_ns, uint64_t burst, uint64_t delay)
{
    return (xl_limit_t){ .dimension = XL_DIM_REQUESTS, .rate = { units, per_ns }, .burst = burst, .delay = delay };
}

static inline xl_limit_t connections(uint64_t amount)
{
    return (xl_limit_t){ .dimension = XL_DIM_CONNECTIONS, .amount = amount, .delay = XL_NO_DELAY };
}

static inline xl_limit_t penalty(uint64_t events, uint64_t per_ns, uint64_t for_ms, xl_event_e event)
{
    return (xl_limit_t){ .dimension = XL_DIM_PENALTY, .rate = { events, per_ns }, .burst = events - 1,
                         .for_ms = for_ms, .event = event, .delay = XL_NO_DELAY };
}

static inline xl_limit_t keyed(xl_limit_t limit)
{
    limit.key = XL_KEY_CLIENT;
    return limit;
}

#endif
