/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: virtual time over the real slot arithmetic (xl_slot.h). Events in a
 * heap, chance from fixed seeds, late wake-ups, stalls, slow readers, sessions
 * that join, end and die. It judges nothing: simulator.c does.
 *
 * A session does what the filter does: it reserves, sleeps until the slot is
 * due, writes, and only then reserves again. Who dies is noticed at the next
 * wake-up, and holds its slot and its place in `active` until then.
 */
#ifndef XL_SIMULATOR_H
#define XL_SIMULATOR_H

#include "xl_slot.h"

#include <stdbool.h>
#include <string.h>

#define MS XL_NS_PER_MS
#define S XL_NS_PER_S
#define EPOCH (1000 * S) /* when every scenario begins */
#define SECONDS 64
#define SESSIONS_MAX 1600
#define LEVELS 3
#define ENDLESS (UINT64_C(1) << 60)
#define MBPS(n) ((xl_rate_t){(n) * UINT64_C(1000000), S})
#define NO_RATE ((xl_rate_t){0, S})
#define KBPS(n) ((xl_rate_t){(n) * UINT64_C(1000), S})

typedef struct {
    xl_meter_t meter;
    xl_rate_t rate;
    uint32_t active;
    uint64_t written[SECONDS]; /* bytes by the second in which they were written */
    uint64_t due[SECONDS];     /* and by the one in which they were due */
} group_t;

typedef struct {
    group_t own; /* rate.units 0: the session has none */
    group_t *above[LEVELS];
    size_t groups;
    uint64_t size, sent, held, due;
    uint64_t joined, finished; /* moments; finished 0: not yet */
    uint64_t drain_bps;        /* of a slow reader */
    uint64_t drained, room;    /* when it will have read everything, and all but the last chunk */
    double ahead;              /* most that it ever was before its own line in its first 5 s, in ns */
    bool dead, gone;
} session_t;

typedef enum { JOIN, WRITE, READABLE, DIE } event_e;

typedef struct {
    uint64_t at, order;
    uint32_t session;
    event_e kind;
} event_t;

typedef struct {
    const char *name;
    uint64_t late_mean;    /* of a wake-up, exponential */
    uint32_t stall_one_in; /* wake-ups that come another 50..200 ms late, 0: none */
    bool processes_stall;  /* one of two stands still for 50..200 ms once in two seconds */
} faults_t;

static struct {
    session_t sessions[SESSIONS_MAX];
    uint32_t count;
    event_t heap[2 * SESSIONS_MAX];
    uint32_t events;
    uint64_t order, now, random, wakeups;
    faults_t faults;
} world;

/* Chance: xorshift, and von Neumann's way to an exponential number. */

static uint64_t random_u64(void)
{
    world.random ^= world.random << 13;
    world.random ^= world.random >> 7;
    world.random ^= world.random << 17;
    return world.random;
}

static double uniform(void)
{
    return (double)(random_u64() >> 11) / 9007199254740992.0;
}

static double exponential(void)
{
    double whole = 0;

    for (;; whole++) {
        double first = uniform(), last = first, next;
        unsigned run = 1;

        while ((next = uniform()) < last) {
            last = next;
            run++;
        }
        if (run % 2)
            return whole + first;
    }
}

/* The end of a stall of the process, when one is going on at that moment. */
static uint64_t after_stall(uint32_t process, uint64_t at)
{
    uint64_t turn = at / (2 * S), mixed = (turn * 2 + process + 1) * UINT64_C(0x9E3779B97F4A7C15) >> 16;
    uint64_t from = turn * 2 * S + mixed % (1800 * MS);
    uint64_t until = from + 50 * MS + mixed % (150 * MS);

    return at >= from && at < until ? until : at;
}

static uint64_t wakes_at(uint32_t session, uint64_t due)
{
    uint64_t at = due + (uint64_t)(exponential() * (double)world.faults.late_mean);

    if (world.faults.stall_one_in && !(random_u64() % world.faults.stall_one_in))
        at += 50 * MS + random_u64() % (150 * MS);
    return world.faults.processes_stall ? after_stall(session % 2, at) : at;
}

/* The events, a binary heap by time, then by order of arrival. */

static bool before(const event_t *a, const event_t *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void push(uint64_t at, uint32_t session, event_e kind)
{
    event_t event = {at, world.order++, session, kind};
    uint32_t i = world.events++;

    for (; i && before(&event, &world.heap[(i - 1) / 2]); i = (i - 1) / 2)
        world.heap[i] = world.heap[(i - 1) / 2];
    world.heap[i] = event;
}

static event_t pop(void)
{
    event_t top = world.heap[0], last = world.heap[--world.events];
    uint32_t i = 0, child;

    while ((child = 2 * i + 1) < world.events) {
        if (child + 1 < world.events && before(&world.heap[child + 1], &world.heap[child]))
            child++;
        if (!before(&world.heap[child], &last))
            break;
        world.heap[i] = world.heap[child];
        i = child;
    }
    world.heap[i] = last;
    return top;
}

/* The session. */

static size_t levels_of(session_t *s, xl_level_t levels[])
{
    size_t n = 0, i;

    if (s->own.rate.units)
        levels[n++] = (xl_level_t){&s->own.meter, s->own.rate, 0, 1, false};
    for (i = 0; i < s->groups; i++)
        levels[n++] = (xl_level_t){&s->above[i]->meter, s->above[i]->rate, 0, s->above[i]->active, true};
    return n;
}

static void join(session_t *s)
{
    xl_level_t levels[LEVELS + 1];
    size_t i;

    levels_of(s, levels);
    s->joined = world.now;
    if (s->own.rate.units)
        xl_slot_wake(&levels[0], world.now);
    for (i = 0; i < s->groups; i++)
        if (!s->above[i]->active++)
            xl_slot_wake(&levels[i + !!s->own.rate.units], world.now);
}

static void leave(session_t *s)
{
    xl_level_t levels[LEVELS + 1];
    size_t n = levels_of(s, levels), i;

    xl_slot_release(levels, n, s->held);
    for (i = 0; i < s->groups; i++)
        s->above[i]->active--;
    s->held = 0;
    s->gone = true;
}

static void note_line(session_t *s)
{
    uint64_t age = world.now - s->joined;
    double ahead = (double)xl_rate_ns(s->own.rate, s->sent) - (double)age;

    if (age <= 5 * S && ahead > s->ahead)
        s->ahead = ahead;
}

static void count(group_t *g, uint64_t due, uint64_t bytes)
{
    if (world.now < EPOCH + SECONDS * S)
        g->written[(world.now - EPOCH) / S] += bytes;
    if (due < EPOCH + SECONDS * S)
        g->due[(due - EPOCH) / S] += bytes;
}

static void write_chunk(session_t *s)
{
    uint64_t bytes = s->held;
    size_t i;

    count(&s->own, s->due, bytes);
    for (i = 0; i < s->groups; i++)
        count(s->above[i], s->due, bytes);
    s->sent += bytes;
    s->held = 0;
    if (s->own.rate.units)
        note_line(s);
    s->room = s->drained;
    if (s->drain_bps)
        s->drained = (s->drained > world.now ? s->drained : world.now) + bytes * S / s->drain_bps;
}

/* Reserves and writes until it must wait: for its slot, or for its reader,
 * whose socket takes the next chunk when it holds no more than one. */
static void go_on(uint32_t id, bool first)
{
    session_t *s = &world.sessions[id];

    for (; s->sent < s->size; first = false) {
        xl_slot_ask_t ask = {s->size - s->sent, 0, world.now - s->joined, world.count, first, true, s->due};
        xl_level_t levels[LEVELS + 1];
        xl_slot_t slot;

        if (s->room > world.now) {
            push(s->room, id, READABLE);
            return;
        }
        slot = xl_slot_reserve(levels, levels_of(s, levels), &ask, world.now);
        s->held = slot.bytes;
        s->due = slot.due_ns;
        if (s->due > world.now) {
            push(wakes_at(id, s->due), id, WRITE);
            return;
        }
        write_chunk(s);
    }
    s->finished = world.now;
    leave(s);
}

static void happen(const event_t *event)
{
    session_t *s = &world.sessions[event->session];

    if (s->gone)
        return;
    switch (event->kind) {
    case DIE:
        s->dead = true;
        return;
    case JOIN:
        join(s);
        break;
    case WRITE:
        world.wakeups++;
        if (!s->dead)
            write_chunk(s);
        break;
    case READABLE:
        break;
    }
    if (s->dead)
        leave(s);
    else
        go_on(event->session, event->kind == JOIN);
}

static void run_until(uint64_t end)
{
    while (world.events && world.heap[0].at < end) {
        event_t event = pop();

        world.now = event.at;
        happen(&event);
    }
    world.now = end;
}

static void begin(const faults_t *faults, uint64_t seed)
{
    memset(&world, 0, sizeof world);
    world.now = EPOCH;
    world.random = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
    world.faults = *faults;
}

static session_t *add(uint64_t at, xl_rate_t own, uint64_t size, group_t *const above[], size_t groups)
{
    session_t *s = &world.sessions[world.count];

    *s = (session_t){.own.rate = own, .size = size, .groups = groups};
    if (groups)
        memcpy(s->above, above, groups * sizeof *above);
    push(at, world.count++, JOIN);
    return s;
}

/* Figures. */

typedef struct {
    double first, least, most, mean; /* of the rate; least and most without the first second */
} seconds_t;

static seconds_t seconds_of(const uint64_t bytes[], xl_rate_t rate, unsigned n)
{
    double line = (double)xl_rate_units(rate, S), part = (double)bytes[0] / line;
    seconds_t got = {part, 1e9, 0, part / n};
    unsigned i;

    for (i = 1; i < n; i++) {
        part = (double)bytes[i] / line;
        got.least = part < got.least ? part : got.least;
        got.most = part > got.most ? part : got.most;
        got.mean += part / n;
    }
    return got;
}

static uint64_t sent_by(uint32_t from, uint32_t to)
{
    uint64_t sum = 0;

    while (from < to)
        sum += world.sessions[from++].sent;
    return sum;
}

/* 1: all equal; 1 / n: one has everything. */
static double jain(uint32_t from, uint32_t to)
{
    double sum = (double)sent_by(from, to), squares = 0;
    uint32_t i;

    for (i = from; i < to; i++)
        squares += (double)world.sessions[i].sent * (double)world.sessions[i].sent;
    return sum * sum / squares / (to - from);
}

#endif
