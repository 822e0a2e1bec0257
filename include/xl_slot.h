/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_slot: when how many bytes of a paced response may go out.
 *
 * A session that has a chunk to send reserves it in every level above it (its
 * own rate, its virtual host's, ...), writes it when the slot is due, and only
 * then reserves the next one. One chunk size for all sharers of a level: equal
 * turns. Who cannot write holds no reservation: what he does not use goes to
 * the others at once.
 *
 * A chunk is due at the middle of its slot, so that a session is never more
 * than half a chunk ahead of its line nor behind it; the last chunk of a
 * response is due at the slot's end, so that a whole response takes exactly
 * bytes / rate. A response that is one chunk is due at the start: from rest it
 * does not wait, and the next one on its level waits for it.
 *
 * How large the chunks of a shared level are follows from its rate and from
 * who shares it: all have their turn within 2 ms for each, at least 20 and at
 * most 100 ms of the level's time, longer only where a process could not keep
 * up with it. Two things change a chunk:
 *
 *   the queue   Where sharers leave theirs to others (slow readers, narrower
 *               levels) few stand in the queue, and whoever finds it shorter
 *               than 15 ms takes half of what lacks. Else the level would be
 *               idle whenever one of those few wakes up late.
 *   lateness    Who wakes up late stands behind those whose turn it was
 *               meanwhile. For each of them he is given his part of a chunk,
 *               so that a slow process has its share, too.
 *
 * Only who comes back late makes up for it: his slot may start before now by as
 * much as the last one was due ago. What a level did not use because nobody
 * asked, or because another level was the narrow one, is not saved up beyond
 * burst_bytes.
 */
#ifndef XL_SLOT_H
#define XL_SLOT_H

#include "xl_meter.h"

#include <stdbool.h>

#define XL_LEVELS_MAX 16
#define XL_SLOT_CATCH_UP_NS (250 * XL_NS_PER_MS)  /* most that a stall makes up for */
#define XL_SLOT_NOW_NS (20 * UINT64_C(1000))      /* due so soon is due now */
#define XL_SLOT_GRID_NS (2 * XL_NS_PER_MS)        /* writes are rounded up to it: fewer wake-ups */
#define XL_SLOT_CHUNK_NS (100 * XL_NS_PER_MS)     /* chunk time of a young response */
#define XL_SLOT_CHUNK_MOST_NS (10 * XL_NS_PER_S)
#define XL_SLOT_MANY 1000u                        /* sessions of a process for which chunks grow further */
#define XL_SLOT_WAKE_UP_NS (200 * UINT64_C(1000)) /* a process wakes up once in it, on average, or less */
#define XL_SLOT_TURN_NS (20 * XL_NS_PER_MS)       /* least time in which all sharers of a level have a turn */
#define XL_SLOT_QUEUE_NS (15 * XL_NS_PER_MS)      /* below the queue of two who want all: 1.5 of their chunks */
#define XL_SLOT_PAUSE_NS (25 * XL_NS_PER_MS)      /* a level that nobody asked for so long has been idle */
#define XL_SLOT_SEGMENTS_BYTES UINT64_C(2896)     /* least chunk of a shared level: two segments */
#define XL_SLOT_LEAST_BYTES UINT64_C(512)         /* least chunk of a session */

typedef struct {
    xl_meter_t *meter;
    xl_rate_t rate; /* bytes */
    uint64_t burst_bytes;
    uint32_t sharers; /* responses active in it, the one that asks included */
    bool shared;      /* false: the session's own, though streams may share it */
} xl_level_t;

typedef struct {
    uint64_t want;        /* bytes at hand, > 0 */
    uint64_t cap;         /* most that may go at once (memory, TLS), 0: no cap */
    uint64_t age_ns;      /* of the response */
    uint32_t sessions;    /* paced in the process that has most of them: sharers of a level in different processes
                             have equal chunks only where all of these say the same */
    bool first;           /* chunk of the response */
    bool last;            /* nothing comes after `want` */
    uint64_t last_due_ns; /* due_ns of the response's last slot, or when it could go on, if that was later; 0: none or
                             not known */
} xl_slot_ask_t;

typedef struct {
    uint64_t bytes;  /* 1 .. want */
    uint64_t due_ns; /* by the rates alone; before now, he is late. For the next ask's last_due_ns */
    uint64_t at_ns;  /* when to write it: not before now, not before it is due, after others who are later */
} xl_slot_t;

/* Chunk time of a session by age of the response and sessions of the process: a
 * fiftieth of the age, 100 to 500 ms; from 1,000 sessions a ms for each of them,
 * at most 2 s and a tenth of the age; and never less than 0.2 ms for each of
 * them, at most 10 s, so that a process is not woken up more than 5,000 times a
 * second by up to 50,000. */
uint64_t xl_slot_chunk_ns(uint64_t age_ns, uint32_t sessions);

/* What xl_slot_reserve would take of levels that are busy for somebody who is on
 * time; it may take more of an idle one, or for who is late. Moves no meter. */
uint64_t xl_slot_chunk_bytes(const xl_level_t *levels, size_t n, const xl_slot_ask_t *ask);

/* Reserves in all levels. n == 0: everything up to cap, due now. */
xl_slot_t xl_slot_reserve(const xl_level_t *levels, size_t n, const xl_slot_ask_t *ask, uint64_t now_ns);

/* Gives `bytes` of reservations that were not written back to every level. */
void xl_slot_release(const xl_level_t *levels, size_t n, uint64_t bytes);

/* A session becomes active in a level where nobody was: idle time hands out
 * the burst and nothing more. A short pause is not idle time: who asks for one
 * thing after the other, and with nobody else, has his rate over all of them. */
void xl_slot_wake(const xl_level_t *level, uint64_t now_ns);

#endif
