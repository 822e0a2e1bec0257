/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: virtual time over the real slot arithmetic (xl_slot.h). Events in a
 * heap, chance from fixed seeds, processes that wake up late, stand still and
 * need time for each wake-up, readers that are slow, sessions that join, end,
 * come again and die. It judges nothing: the programs that include it do.
 *
 * A session does what the filter does: it reserves, sleeps until the slot is
 * due, writes, and only then reserves again. While its socket is full it holds
 * no reservation, and is not late when it goes on. Who dies is noticed at the
 * next wake-up, and holds its slot and its place in `active` until then.
 */
#ifndef XL_SIMULATOR_H
#define XL_SIMULATOR_H

#include "xl_slot.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#define MS XL_NS_PER_MS
#define S XL_NS_PER_S
#define EPOCH (1000 * S) /* when every scenario begins */
#define SECONDS 64
#define SESSIONS_MAX 100000
#define PROCESSES_MAX 8
#define LEVELS 3
#define ENDLESS (UINT64_C(1) << 60)
#define MEMORY_BYTES UINT64_C(49152) /* most that goes at once of memory, and over TLS */
#define SOCKET_BYTES UINT64_C(65536) /* that the kernels take of who does not read */
#define MBPS(n) ((xl_rate_t){(n) * UINT64_C(1000000), S})
#define KBPS(n) ((xl_rate_t){(n) * UINT64_C(1000), S})
#define BPS(n) ((xl_rate_t){(n), S})
#define NO_RATE ((xl_rate_t){0, S})

typedef struct {
    uint64_t written[SECONDS]; /* bytes by the second in which they were written */
    uint64_t due[SECONDS];     /* and by the one in which they were due */
} series_t;

typedef struct {
    xl_meter_t meter;
    xl_rate_t rate; /* units 0: there is none */
    uint32_t active;
    series_t series;
} group_t;

typedef struct {
    xl_meter_t own; /* of the connection */
    xl_rate_t rate; /* units 0: it has none */
    group_t *above[LEVELS];
    size_t groups;
    uint64_t size, size_most; /* of each response: all `size`, or by chance up to the latter */
    uint64_t more;            /* responses that follow */
    uint64_t pause;           /* until the next one is asked for */
    bool reconnects;          /* for each of them */
    uint64_t cap;             /* MEMORY_BYTES; 0: files by sendfile */
    uint64_t drain_bps;       /* of a slow reader */
    series_t *watch;          /* its bytes by the second; may be NULL */
    uint32_t process;

    uint64_t left, held, due; /* of the response; reserved and not written; of its last slot */
    uint64_t sent;
    uint64_t joined, asked, finished; /* moments: of the session, of the response; finished 0: not yet */
    uint64_t drained;                 /* when a slow reader will have read everything */
    double ahead; /* most that it ever was before its own line in its first 5 s, in ns */
    bool first, dead, gone;
} session_t;

typedef enum { JOIN, WRITE, READABLE, DIE } event_e;

typedef struct {
    uint64_t at, order;
    uint32_t session;
    uint8_t kind;
    bool granted; /* its process has time for it */
} event_t;

/* What goes wrong; each process has its own part of it. */
typedef struct {
    const char *name;
    uint64_t late_mean;    /* of a wake-up over all processes, exponential */
    uint32_t stall_one_in; /* wake-ups that come another 50..200 ms late, in every other process; 0: none */
    bool stands_still;     /* each process, for 50..200 ms once in two seconds, when it is its turn */
    uint64_t cost;         /* of a wake-up, in time of the process's core */
} faults_t;

typedef struct {
    uint64_t late_mean;
    uint32_t stall_one_in, sessions;
    uint64_t busy_until, wakeups;
} process_t;

static struct {
    session_t sessions[SESSIONS_MAX];
    uint32_t count;
    event_t heap[2 * SESSIONS_MAX];
    uint32_t events;
    process_t processes[PROCESSES_MAX];
    uint32_t n_processes;
    uint64_t order, now, random;
    faults_t faults;
} world;

/* Chance: xorshift, and von Neumann's way to an exponential number. */

static inline uint64_t random_u64(void)
{
    world.random ^= world.random << 13;
    world.random ^= world.random >> 7;
    world.random ^= world.random << 17;
    return world.random;
}

static inline double uniform(void)
{
    return (double)(random_u64() >> 11) / 9007199254740992.0;
}

static inline double exponential(void)
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

/* The processes. */

/* The end of a stall of the process, when one is going on at that moment. */
static inline uint64_t after_stall(uint32_t process, uint64_t at)
{
    uint64_t turn = at / (2 * S), mixed = (turn * PROCESSES_MAX + process + 1) * UINT64_C(0x9E3779B97F4A7C15) >> 16;
    uint64_t from = turn * 2 * S + mixed % (1800 * MS);
    uint64_t until = from + 50 * MS + mixed % (150 * MS);

    return at >= from && at < until ? until : at;
}

static inline uint64_t wakes_at(uint32_t process, uint64_t at)
{
    const process_t *p = &world.processes[process];

    if (p->late_mean)
        at += (uint64_t)(exponential() * (double)p->late_mean);
    if (p->stall_one_in && !(random_u64() % p->stall_one_in))
        at += 50 * MS + random_u64() % (150 * MS);
    return world.faults.stands_still ? after_stall(process, at) : at;
}

/* Of n processes the last has n times as many sessions as the first; alike for
 * any few that follow each other. */
static inline uint32_t process_of(uint32_t session)
{
    uint32_t n = world.n_processes, parts = n * (n + 1) / 2, part = session * 7 % parts, process = 0;

    while (part > process) {
        part -= process + 1;
        process++;
    }
    return process;
}

/* What all processes agree on (xl_slot_ask_t.sessions). */
static inline uint32_t most_sessions(void)
{
    uint32_t most = 0, i;

    for (i = 0; i < world.n_processes; i++)
        if (world.processes[i].sessions > most)
            most = world.processes[i].sessions;
    return most;
}

static inline uint64_t wakeups(void)
{
    uint64_t sum = 0;
    uint32_t i;

    for (i = 0; i < world.n_processes; i++)
        sum += world.processes[i].wakeups;
    return sum;
}

/* The events, a binary heap by time, then by order of arrival. */

static inline bool before(const event_t *a, const event_t *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static inline void push_event(event_t event)
{
    uint32_t i = world.events++;

    event.order = world.order++;
    for (; i && before(&event, &world.heap[(i - 1) / 2]); i = (i - 1) / 2)
        world.heap[i] = world.heap[(i - 1) / 2];
    world.heap[i] = event;
}

static inline void push(uint64_t at, uint32_t session, event_e kind)
{
    push_event((event_t){at, 0, session, (uint8_t)kind, false});
}

static inline event_t pop(void)
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

static inline size_t levels_of(session_t *s, xl_level_t levels[])
{
    size_t n = 0, i;

    if (s->rate.units)
        levels[n++] = (xl_level_t){&s->own, s->rate, 0, 1, false};
    for (i = 0; i < s->groups; i++)
        levels[n++] = (xl_level_t){&s->above[i]->meter, s->above[i]->rate, 0, s->above[i]->active, true};
    return n;
}

/* A response begins. */
static inline void enter(session_t *s)
{
    xl_level_t levels[LEVELS + 1];
    size_t i;

    levels_of(s, levels);
    if (s->rate.units)
        xl_slot_wake(&levels[0], world.now);
    for (i = 0; i < s->groups; i++)
        if (!s->above[i]->active++)
            xl_slot_wake(&levels[i + !!s->rate.units], world.now);
    world.processes[s->process].sessions++;
    s->asked = world.now;
    s->left = s->size_most > s->size ? s->size + random_u64() % (s->size_most - s->size + 1) : s->size;
    s->first = true;
    s->due = 0;
}

static inline void leave(session_t *s)
{
    xl_level_t levels[LEVELS + 1];
    size_t n = levels_of(s, levels), i;

    if (s->held)
        xl_slot_release(levels, n, s->held);
    for (i = 0; i < s->groups; i++)
        s->above[i]->active--;
    world.processes[s->process].sessions--;
    s->held = 0;
}

static inline void note_line(session_t *s)
{
    uint64_t age = world.now - s->joined;
    double ahead = (double)xl_rate_ns(s->rate, s->sent) - (double)age;

    if (age <= 5 * S && ahead > s->ahead)
        s->ahead = ahead;
}

static inline void count(series_t *series, uint64_t due, uint64_t bytes)
{
    if (world.now < EPOCH + SECONDS * S)
        series->written[(world.now - EPOCH) / S] += bytes;
    if (due < EPOCH + SECONDS * S)
        series->due[(due - EPOCH) / S] += bytes;
}

static inline void write_chunk(session_t *s)
{
    uint64_t bytes = s->held;
    size_t i;

    if (s->watch)
        count(s->watch, s->due, bytes);
    for (i = 0; i < s->groups; i++)
        count(&s->above[i]->series, s->due, bytes);
    s->sent += bytes;
    s->left -= bytes;
    s->held = 0;
    if (s->rate.units)
        note_line(s);
    if (s->drain_bps)
        s->drained = (s->drained > world.now ? s->drained : world.now) + bytes * S / s->drain_bps;
}

/* When the socket takes more: what it holds was read but for its room. */
static inline uint64_t writable_at(const session_t *s)
{
    uint64_t room = s->drain_bps ? SOCKET_BYTES * S / s->drain_bps : 0;

    return s->drained > room ? s->drained - room : 0;
}

static inline void respond_again(uint32_t id)
{
    session_t *s = &world.sessions[id];

    leave(s);
    s->gone = !s->more;
    s->finished = s->gone ? world.now : 0;
    if (s->gone)
        return;
    s->more--;
    if (s->reconnects)
        s->own = (xl_meter_t){0, 0};
    push(world.now + s->pause, id, JOIN);
}

/* Reserves and writes until it must wait: for its slot, for its reader, or for
 * the next request. */
static inline void go_on(uint32_t id)
{
    session_t *s = &world.sessions[id];

    while (s->left) {
        xl_slot_ask_t ask = {s->left, s->cap, world.now - s->asked, most_sessions(), s->first, true, s->due};
        xl_level_t levels[LEVELS + 1];
        uint64_t writable = writable_at(s);
        xl_slot_t slot;

        if (writable > world.now) {
            push(wakes_at(s->process, writable), id, READABLE);
            return;
        }
        slot = xl_slot_reserve(levels, levels_of(s, levels), &ask, world.now);
        s->first = false;
        s->held = slot.bytes;
        s->due = slot.due_ns;
        if (slot.at_ns > world.now) {
            push(wakes_at(s->process, slot.at_ns), id, WRITE);
            return;
        }
        write_chunk(s);
    }
    respond_again(id);
}

static inline void happen(const event_t *event)
{
    session_t *s = &world.sessions[event->session];

    if (s->gone)
        return;
    if (event->kind == DIE) {
        s->dead = true;
        return;
    }
    if (event->kind == JOIN)
        enter(s);
    else
        world.processes[s->process].wakeups++;
    if (event->kind == WRITE && !s->dead)
        write_chunk(s);
    if (event->kind == READABLE)
        s->due = world.now; /* it was the reader who was late */
    if (s->dead) {
        leave(s);
        s->gone = true;
    } else {
        go_on(event->session);
    }
}

/* Whether the process can attend to it now; otherwise it will, in its turn. */
static inline bool has_time(event_t event)
{
    process_t *p = &world.processes[world.sessions[event.session].process];

    if (!world.faults.cost || event.granted || event.kind == DIE)
        return true;
    event.granted = true;
    event.at = p->busy_until > world.now ? p->busy_until : world.now;
    p->busy_until = event.at + world.faults.cost;
    if (event.at > world.now)
        push_event(event);
    return event.at == world.now;
}

static inline void run_until(uint64_t end)
{
    while (world.events && world.heap[0].at < end) {
        event_t event = pop();

        world.now = event.at;
        if (has_time(event))
            happen(&event);
    }
    world.now = end;
}

/* The scenario: begin, then as many sessions as it wants. */

static inline void begin(const faults_t *faults, uint32_t processes, uint64_t seed)
{
    uint32_t i;

    world.count = world.events = 0;
    world.order = 0;
    world.now = EPOCH;
    world.random = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
    world.faults = *faults;
    world.n_processes = processes;
    for (i = 0; i < processes; i++)
        world.processes[i] = (process_t){.late_mean = faults->late_mean * 2 * (i + 1) / (processes + 1),
                                         .stall_one_in = i % 2 ? 0 : faults->stall_one_in};
}

static inline session_t *add(uint64_t at, xl_rate_t own, uint64_t size, group_t *const above[], size_t groups)
{
    session_t *s = &world.sessions[world.count];

    *s = (session_t){.rate = own, .size = size, .groups = groups, .joined = at};
    s->process = process_of(world.count);
    if (groups)
        memcpy(s->above, above, groups * sizeof *above);
    push(at, world.count++, JOIN);
    return s;
}

#endif
