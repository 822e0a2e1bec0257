/* SPDX-License-Identifier: Apache-2.0
 *
 * slot: how much of a paced response may go out, and when (contract in
 * xl_slot.h).
 *
 * Owns no state: the meters belong to the caller, who also counts sharers and
 * age. Never waits and never locks; each level moves by itself. Invariant: what
 * a reservation takes is the same number of bytes in every level, so that one
 * number gives it back.
 */
#include "xl_slot.h"

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t most(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t chunk_ns_by_age(uint64_t age_ns)
{
    if (age_ns < 5 * XL_NS_PER_S)
        return XL_SLOT_CHUNK_NS;
    if (age_ns < 10 * XL_NS_PER_S)
        return 2 * XL_SLOT_CHUNK_NS;
    if (age_ns < 20 * XL_NS_PER_S)
        return 4 * XL_SLOT_CHUNK_NS;
    return 5 * XL_SLOT_CHUNK_NS;
}

static uint64_t chunk_ns_by_sessions(uint32_t sessions)
{
    if (sessions < 1000)
        return 0;
    return sessions < 5000 ? XL_NS_PER_S : 2 * XL_NS_PER_S;
}

uint64_t xl_slot_chunk_ns(uint64_t age_ns, uint32_t sessions)
{
    return most(chunk_ns_by_age(age_ns), least(chunk_ns_by_sessions(sessions), age_ns / 10));
}

static uint64_t session_share(const xl_level_t *level, const xl_slot_ask_t *ask)
{
    uint64_t chunk_ns = xl_slot_chunk_ns(ask->age_ns, ask->sessions);

    return most(xl_rate_units(level->rate, ask->first ? chunk_ns / 4 : chunk_ns), XL_SLOT_LEAST_BYTES);
}

/* All first chunks are small: who joins a busy level is served within one turn
 * of it, however many join at once. */
static uint64_t shared_share(const xl_level_t *level, const xl_slot_ask_t *ask)
{
    if (ask->first)
        return XL_SLOT_SEGMENTS_BYTES;
    return most(xl_rate_units(level->rate, XL_SLOT_CHUNK_NS) / most(level->sharers, 1), XL_SLOT_SEGMENTS_BYTES);
}

uint64_t xl_slot_chunk_bytes(const xl_level_t *levels, size_t n, const xl_slot_ask_t *ask)
{
    uint64_t bytes = ask->cap ? least(ask->cap, ask->want) : ask->want;
    size_t i;

    for (i = 0; i < n; i++)
        bytes = least(bytes, levels[i].shared ? shared_share(&levels[i], ask) : session_share(&levels[i], ask));
    return bytes;
}

/* Never earlier than asked, and coarse only for who has to wait anyway. */
static uint64_t due_from(uint64_t due_ns, uint64_t now_ns)
{
    uint64_t late = due_ns % XL_SLOT_GRID_NS;

    if (due_ns <= now_ns || due_ns - now_ns <= XL_SLOT_NOW_NS)
        return now_ns;
    if (!late || due_ns > UINT64_MAX - XL_SLOT_GRID_NS)
        return due_ns;
    return due_ns + (XL_SLOT_GRID_NS - late);
}

static uint64_t burst_ns(const xl_level_t *level)
{
    return xl_rate_ns(level->rate, level->burst_bytes);
}

/* How far before now the slot may start. Whom a level holds back was due before
 * its TAT: nothing of it is lost. Rounding up to the grid is no lateness of his. */
static uint64_t catch_up_ns(const xl_slot_ask_t *ask, uint64_t now_ns)
{
    uint64_t late_ns = now_ns > ask->last_due_ns ? now_ns - ask->last_due_ns : 0;

    return ask->first ? 0 : least(late_ns, XL_SLOT_CATCH_UP_NS - XL_SLOT_GRID_NS) + XL_SLOT_GRID_NS;
}

xl_slot_t xl_slot_reserve(const xl_level_t *levels, size_t n, const xl_slot_ask_t *ask, uint64_t now_ns)
{
    xl_slot_t slot = {.bytes = xl_slot_chunk_bytes(levels, n, ask), .due_ns = now_ns};
    bool ends = ask->last && slot.bytes == ask->want, begins = ask->first;
    uint64_t late_ns = catch_up_ns(ask, now_ns);
    size_t i;

    for (i = 0; i < n; i++) {
        uint64_t depth_ns = most(late_ns, burst_ns(&levels[i]));
        uint64_t cost_ns;
        uint64_t start_ns =
            xl_meter_reserve(levels[i].meter, levels[i].rate, slot.bytes, depth_ns, now_ns, &cost_ns);
        uint64_t into_ns = !ends ? cost_ns / 2 : begins ? 0 : cost_ns;

        slot.due_ns = most(slot.due_ns, start_ns > UINT64_MAX - into_ns ? UINT64_MAX : start_ns + into_ns);
    }
    slot.due_ns = due_from(slot.due_ns, now_ns);
    return slot;
}

void xl_slot_release(const xl_level_t *levels, size_t n, uint64_t bytes)
{
    size_t i;

    for (i = 0; i < n; i++)
        xl_meter_release(levels[i].meter, levels[i].rate, bytes);
}

void xl_slot_wake(const xl_level_t *level, uint64_t now_ns)
{
    uint64_t saved_ns = burst_ns(level);

    xl_meter_raise(level->meter, now_ns > saved_ns ? now_ns - saved_ns : 0);
}
