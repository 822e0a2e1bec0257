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

static uint64_t after(uint64_t at_ns, uint64_t ns)
{
    return at_ns > UINT64_MAX - ns ? UINT64_MAX : at_ns + ns;
}

/* ---- how much -------------------------------------------------------- */

uint64_t xl_slot_chunk_ns(uint64_t age_ns, uint32_t sessions)
{
    uint64_t by_age = least(most(age_ns / 50, XL_SLOT_CHUNK_NS), 5 * XL_SLOT_CHUNK_NS);
    uint64_t by_sessions =
        sessions < XL_SLOT_MANY ? 0 : least(least(sessions * XL_NS_PER_MS, 2 * XL_NS_PER_S), age_ns / 10);
    uint64_t affordable = least(sessions * XL_SLOT_WAKE_UP_NS, XL_SLOT_CHUNK_MOST_NS);

    return most(most(by_age, by_sessions), affordable);
}

static uint64_t sharers_of(const xl_level_t *level)
{
    return most(level->sharers, 1);
}

static uint64_t session_share(const xl_level_t *level, const xl_slot_ask_t *ask)
{
    uint64_t chunk_ns = xl_slot_chunk_ns(ask->age_ns, ask->sessions);

    return most(xl_rate_units(level->rate, ask->first ? chunk_ns / 4 : chunk_ns) / sharers_of(level),
                XL_SLOT_LEAST_BYTES);
}

/* A sharer's part of the time in which each of them has a turn: short where that
 * costs few wake-ups. Only who is alone goes by his own age. */
static uint64_t part_ns(const xl_level_t *level, const xl_slot_ask_t *ask)
{
    uint64_t n = sharers_of(level), longest_ns = xl_slot_chunk_ns(n > 1 ? 0 : ask->age_ns, ask->sessions);
    uint64_t turn_ns = n > 1 ? most(n * XL_SLOT_GRID_NS, XL_SLOT_TURN_NS) : XL_SLOT_GRID_NS;

    return least(most(turn_ns, ask->sessions * XL_NS_PER_MS), longest_ns) / n;
}

/* Who comes late to his turn stands behind those whose turn it is meanwhile, and
 * is given his part of what goes to them. */
static uint64_t missed_bytes(const xl_level_t *level, uint64_t share, uint64_t late_ns)
{
    uint64_t turn_ns = most(xl_rate_ns(level->rate, share), 1);

    return level->sharers > 1 ? share * (late_ns / turn_ns) / level->sharers : 0;
}

/* Half of what the queue lacks: turns become equal again, however many really
 * take part, and longer when those are few. First chunks are all small: who
 * joins a busy level is served within one turn of it, however many join at once. */
static uint64_t shared_share(const xl_level_t *level, const xl_slot_ask_t *ask, uint64_t late_ns, uint64_t queue_ns)
{
    uint64_t lack_ns = XL_SLOT_QUEUE_NS - least(queue_ns, XL_SLOT_QUEUE_NS), share;

    if (ask->first)
        return XL_SLOT_SEGMENTS_BYTES;
    share = most(xl_rate_units(level->rate, most(part_ns(level, ask), lack_ns / 2)), XL_SLOT_SEGMENTS_BYTES);
    return share + missed_bytes(level, share, late_ns);
}

static uint64_t share_of(const xl_level_t *level, const xl_slot_ask_t *ask, uint64_t late_ns, uint64_t queue_ns)
{
    return level->shared ? shared_share(level, ask, late_ns, queue_ns) : session_share(level, ask);
}

static uint64_t at_hand(const xl_slot_ask_t *ask)
{
    return ask->cap ? least(ask->cap, ask->want) : ask->want;
}

uint64_t xl_slot_chunk_bytes(const xl_level_t *levels, size_t n, const xl_slot_ask_t *ask)
{
    uint64_t bytes = at_hand(ask);
    size_t i;

    for (i = 0; i < n; i++)
        bytes = least(bytes, share_of(&levels[i], ask, 0, XL_SLOT_QUEUE_NS));
    return bytes;
}

/* The least share of all levels, and whose it is. */
static uint64_t narrowest(const xl_level_t *levels, size_t n, const xl_slot_ask_t *ask, uint64_t late_ns,
                          uint64_t now_ns, size_t *where)
{
    uint64_t bytes = UINT64_MAX;
    size_t i;

    *where = n;
    for (i = 0; i < n; i++) {
        uint64_t share = share_of(&levels[i], ask, late_ns, xl_meter_queue_ns(levels[i].meter, now_ns));

        if (share < bytes) {
            bytes = share;
            *where = i;
        }
    }
    return bytes;
}

/* ---- when ------------------------------------------------------------ */

/* Never earlier than asked, and coarse only for who has to wait anyway. */
static uint64_t at_from(uint64_t due_ns, uint64_t now_ns)
{
    uint64_t late_ns = due_ns % XL_SLOT_GRID_NS;

    if (due_ns <= after(now_ns, XL_SLOT_NOW_NS))
        return now_ns;
    return late_ns ? after(due_ns, XL_SLOT_GRID_NS - late_ns) : due_ns;
}

static uint64_t behind_ns(const xl_slot_ask_t *ask, uint64_t now_ns)
{
    if (ask->first || now_ns <= ask->last_due_ns)
        return 0;
    return least(now_ns - ask->last_due_ns, XL_SLOT_CATCH_UP_NS);
}

static uint64_t burst_ns(const xl_level_t *level)
{
    return xl_rate_ns(level->rate, level->burst_bytes);
}

/* How far before now a slot may start: as late as he is, and a moment for those
 * whose source has to be waited for between two chunks. Whom a level holds back
 * was due before its TAT: nothing of it is lost. Who is alone and begins another
 * response goes on where the last one ended, if that was a moment ago
 * (xl_slot_wake); with others there he begins now. */
static uint64_t depth_ns(const xl_level_t *level, const xl_slot_ask_t *ask, uint64_t late_ns)
{
    uint64_t back_ns = !ask->first ? late_ns + XL_SLOT_GRID_NS : level->sharers < 2 ? XL_SLOT_PAUSE_NS : 0;

    return most(back_ns, burst_ns(level));
}

/* What a shared level is behind belongs to all who are late, not to the first of
 * them to wake up: where that is what holds them back he takes one chunk of it
 * and lets the others take theirs. */
xl_slot_t xl_slot_reserve(const xl_level_t *levels, size_t n, const xl_slot_ask_t *ask, uint64_t now_ns)
{
    uint64_t late_ns = behind_ns(ask, now_ns), first_ns = now_ns, last_ns = 0;
    bool ends, yields = false;
    size_t where, i;
    xl_slot_t slot;

    slot.bytes = least(at_hand(ask), narrowest(levels, n, ask, late_ns, now_ns, &where));
    ends = ask->last && slot.bytes == ask->want;
    for (i = 0; i < n; i++) {
        uint64_t cost_ns, due_ns;
        uint64_t start_ns = xl_meter_reserve(levels[i].meter, levels[i].rate, slot.bytes,
                                             depth_ns(&levels[i], ask, late_ns), now_ns, &cost_ns);

        due_ns = after(start_ns, !ends ? cost_ns / 2 : ask->first ? 0 : cost_ns);
        first_ns = least(first_ns, due_ns);
        last_ns = most(last_ns, due_ns);
        yields = yields || (i == where && levels[i].sharers > 1 && after(start_ns, burst_ns(&levels[i])) < now_ns);
    }
    slot.due_ns = last_ns > now_ns ? last_ns : first_ns;
    slot.at_ns = at_from(slot.due_ns, now_ns);
    if (yields)
        slot.at_ns = most(slot.at_ns, after(now_ns, XL_SLOT_NOW_NS + 1));
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
    uint64_t since_ns = now_ns > XL_SLOT_PAUSE_NS ? now_ns - XL_SLOT_PAUSE_NS : 0, saved_ns = burst_ns(level);

    if (!xl_meter_queue_ns(level->meter, since_ns))
        xl_meter_raise(level->meter, now_ns > saved_ns ? now_ns - saved_ns : 0);
}
