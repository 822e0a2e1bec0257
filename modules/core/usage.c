/* SPDX-License-Identifier: Apache-2.0
 *
 * usage: the counter of a quota and its change from one period to the next.
 *
 * Owns the four words of an xl_usage_t and nothing else; never reads a clock.
 * Nobody locks. Invariants: the start of the running period never falls; a slot
 * is added to only under the tag of its ordinal; the slot of the period before
 * is given away before the word moves on, so no add is lost in between. Words
 * that a broken state file brought end every loop all the same: a slot of a
 * wrong tag counts as 0.
 */
#include "xl_usage.h"

#define START_BITS 48
#define START_MAX ((UINT64_C(1) << START_BITS) - 1)
#define AMOUNT_MAX ((uint64_t)INT64_MAX)
#define TAG_BIT (UINT64_C(1) << 63)
#define READ_ATTEMPTS 8 /* a reader that is overtaken more often shows a moment of change */

/* The word, taken apart. */
typedef struct {
    uint64_t ordinal; /* 16 bits */
    uint64_t start_ms;
} state_t;

static state_t unpack(uint64_t word)
{
    return (state_t){word >> START_BITS, word & START_MAX};
}

static uint64_t pack(state_t state)
{
    return state.ordinal << START_BITS | state.start_ms;
}

static uint64_t ordinal_after(uint64_t ordinal)
{
    return (ordinal + 1) & 0xffff;
}

static uint64_t to_start(int64_t ms)
{
    return ms < 0 ? 0 : (uint64_t)ms > START_MAX ? START_MAX : (uint64_t)ms;
}

/* A moment that is asked about: before the end of any period that can be kept, so
 * that no period beyond the last one is looked for. */
static uint64_t to_moment(int64_t wall_ms)
{
    uint64_t wall = to_start(wall_ms);

    return wall < START_MAX ? wall : START_MAX - 1;
}

static uint64_t tag_of(uint64_t ordinal)
{
    return ordinal & 2 ? TAG_BIT : 0;
}

static uint64_t amount_in(uint64_t slot, uint64_t ordinal)
{
    return (slot & TAG_BIT) == tag_of(ordinal) ? slot & AMOUNT_MAX : 0;
}

/* 16 bits that tell one ordinal under one configuration from any other. */
static uint64_t owner_of_end(const xl_period_t *period, uint64_t ordinal)
{
    uint64_t mark = period->mark ? period->mark : xl_period_mark(period);

    return (mark + ordinal * UINT64_C(0x9e3779b97f4a7c15)) >> START_BITS;
}

static uint64_t end_of_time(const xl_period_t *period, uint64_t start_ms)
{
    return period->length_ms > START_MAX - start_ms ? START_MAX : start_ms + period->length_ms;
}

/* The end of the period that began then. The calendar takes too long for every
 * request: what it says is kept in the row; *fresh is what to keep, or 0. */
static uint64_t end_of(const xl_usage_t *usage, const xl_period_t *period, state_t state, uint64_t *fresh)
{
    uint64_t known, owner, end;
    int64_t start_ms, end_ms;

    *fresh = 0;
    if (period->kind == XL_PERIOD_TIME)
        return end_of_time(period, state.start_ms);
    known = atomic_load(&usage->end);
    owner = owner_of_end(period, state.ordinal);
    if (known >> START_BITS == owner && (known & START_MAX) > state.start_ms)
        return known & START_MAX;
    xl_period_bounds(period, (int64_t)state.start_ms, &start_ms, &end_ms);
    end = to_start(end_ms);
    *fresh = owner << START_BITS | end;
    return end;
}

/* The state to move to when the period is over at that moment. When a whole
 * calendar period was not used at all, the one before the moment's own comes
 * first, so that `previous` is empty then. */
static state_t state_after(const xl_period_t *period, state_t state, uint64_t end, uint64_t wall)
{
    state_t next = {ordinal_after(state.ordinal), wall};
    int64_t start_ms, end_ms;

    if (period->kind == XL_PERIOD_TIME)
        return next;
    xl_period_bounds(period, (int64_t)wall, &start_ms, &end_ms);
    if (state.start_ms && to_start(start_ms) > end)
        xl_period_bounds(period, start_ms - 1, &start_ms, &end_ms);
    next.start_ms = to_start(start_ms);
    return next;
}

static bool is_over(state_t state, uint64_t end, uint64_t wall)
{
    return !pack(state) || (wall >= end && end > state.start_ms);
}

/* Gives the slot of the period before to the next one, then moves the word. If
 * somebody else is faster, either swap fails and there is nothing to do. */
static void roll(xl_usage_t *usage, uint64_t word, state_t next)
{
    _Atomic uint64_t *slot = &usage->used[next.ordinal % 2];
    uint64_t old = atomic_load(slot);

    while (old != tag_of(next.ordinal)) {
        if (atomic_load(&usage->word) != word)
            return;
        if (atomic_compare_exchange_weak(slot, &old, tag_of(next.ordinal)))
            break;
    }
    atomic_compare_exchange_strong(&usage->word, &word, pack(next));
}

/* The word of the period that holds the moment, rolled over to if need be. */
static uint64_t running_word(xl_usage_t *usage, const xl_period_t *period, uint64_t wall)
{
    for (;;) {
        uint64_t word = atomic_load(&usage->word), fresh = 0, end = 0;
        state_t state = unpack(word);

        if (word)
            end = end_of(usage, period, state, &fresh);
        if (!is_over(state, end, wall)) {
            if (fresh)
                atomic_store(&usage->end, fresh);
            return word;
        }
        roll(usage, word, state_after(period, state, end, wall));
    }
}

static uint64_t sum(uint64_t slot, uint64_t n)
{
    uint64_t amount = slot & AMOUNT_MAX;

    return (slot & TAG_BIT) | (n > AMOUNT_MAX - amount ? AMOUNT_MAX : amount + n);
}

uint32_t xl_usage_add(xl_usage_t *usage, const xl_period_t *period, uint64_t n, int64_t wall_ms)
{
    uint64_t wall = to_moment(wall_ms);

    if (!n && period->kind == XL_PERIOD_TIME)
        return xl_usage_read(usage, period, wall_ms).ordinal;
    for (;;) {
        uint64_t word = running_word(usage, period, wall), ordinal = unpack(word).ordinal;
        _Atomic uint64_t *slot = &usage->used[ordinal % 2];
        uint64_t old = atomic_load(slot);

        while ((old & TAG_BIT) == tag_of(ordinal))
            if (atomic_compare_exchange_weak(slot, &old, sum(old, n)))
                return (uint32_t)ordinal;
        /* Given away: the word has moved on. If it has not, the slot is damaged. */
        if (atomic_load(&usage->word) == word &&
            atomic_compare_exchange_strong(slot, &old, sum(tag_of(ordinal), n)))
            return (uint32_t)ordinal;
    }
}

void xl_usage_take_back(xl_usage_t *usage, uint64_t n, uint32_t ordinal)
{
    _Atomic uint64_t *slot = &usage->used[ordinal % 2];
    uint64_t old = atomic_load(slot), amount;

    do {
        amount = amount_in(old, ordinal);
        if (!amount || unpack(atomic_load(&usage->word)).ordinal != ordinal)
            return;
    } while (!atomic_compare_exchange_weak(slot, &old, old - (n < amount ? n : amount)));
}

/* What the four words say, as of one moment. */
static xl_usage_view_t read_words(const xl_usage_t *usage, state_t *state)
{
    xl_usage_view_t view = {0};
    uint64_t word = atomic_load(&usage->word), again;

    for (unsigned i = 0; i < READ_ATTEMPTS; i++) {
        *state = unpack(word);
        view.used = amount_in(atomic_load(&usage->used[state->ordinal % 2]), state->ordinal);
        view.previous = amount_in(atomic_load(&usage->used[1 - state->ordinal % 2]), state->ordinal - 1);
        again = atomic_load(&usage->word);
        if (again == word)
            break;
        word = again;
    }
    return view;
}

xl_usage_view_t xl_usage_read(const xl_usage_t *usage, const xl_period_t *period, int64_t wall_ms)
{
    uint64_t wall = to_moment(wall_ms), end = 0, fresh;
    state_t state;
    xl_usage_view_t view = read_words(usage, &state);

    if (pack(state))
        end = end_of(usage, period, state, &fresh);
    while (is_over(state, end, wall)) {
        view.previous = view.used;
        view.used = 0;
        if (period->kind == XL_PERIOD_TIME) {
            view.ordinal = (uint32_t)ordinal_after(state.ordinal);
            return view;
        }
        state = state_after(period, state, end, wall);
        end = end_of(usage, period, state, &fresh);
    }
    view.start_ms = (int64_t)state.start_ms;
    view.end_ms = (int64_t)end;
    view.ordinal = (uint32_t)state.ordinal;
    return view;
}

static void raise_slot(xl_usage_t *usage, uint64_t ordinal, uint64_t had, uint64_t amount)
{
    if (amount > had)
        atomic_store(&usage->used[ordinal % 2], tag_of(ordinal) | amount);
}

static void take_all(xl_usage_t *usage, const xl_usage_t *other)
{
    atomic_store(&usage->used[0], atomic_load(&other->used[0]));
    atomic_store(&usage->used[1], atomic_load(&other->used[1]));
    atomic_store(&usage->end, atomic_load(&other->end));
    atomic_store(&usage->word, atomic_load(&other->word));
}

/* `previous` may be what the other one still had as its running period. */
void xl_usage_merge(xl_usage_t *usage, const xl_usage_t *other)
{
    state_t mine, theirs;
    xl_usage_view_t a = read_words(usage, &mine), b = read_words(other, &theirs);

    if (!pack(theirs))
        return;
    if (!pack(mine) || theirs.start_ms > mine.start_ms) {
        take_all(usage, other);
        if (pack(mine) && theirs.ordinal == ordinal_after(mine.ordinal))
            raise_slot(usage, mine.ordinal, b.previous, a.used);
    } else if (theirs.start_ms == mine.start_ms) {
        raise_slot(usage, mine.ordinal, a.used, b.used);
        raise_slot(usage, mine.ordinal - 1, a.previous, b.previous);
    } else if (mine.ordinal == ordinal_after(theirs.ordinal)) {
        raise_slot(usage, theirs.ordinal, a.previous, b.used);
    }
}
