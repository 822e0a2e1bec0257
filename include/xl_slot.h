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
 * Only who comes back late makes up for it, by as much as the slot before was
 * due ago: what a level did not use because nobody asked, or because another
 * level was the narrow one, is not saved up beyond burst_bytes.
 */
#ifndef XL_SLOT_H
#define XL_SLOT_H

#include "xl_meter.h"

#include <stdbool.h>

#define XL_LEVELS_MAX 16
#define XL_SLOT_CATCH_UP_NS (250 * XL_NS_PER_MS) /* most that a stall makes up for */
#define XL_SLOT_NOW_NS (20 * UINT64_C(1000))     /* due so soon is due now */
#define XL_SLOT_GRID_NS (2 * XL_NS_PER_MS)       /* due times are rounded up to it: fewer wake-ups */
#define XL_SLOT_CHUNK_NS (100 * XL_NS_PER_MS)    /* chunk time of a young response */
#define XL_SLOT_SEGMENTS_BYTES UINT64_C(2896)    /* least chunk of a shared level: two segments */
#define XL_SLOT_LEAST_BYTES UINT64_C(512)        /* least chunk of a session */

typedef struct {
    xl_meter_t *meter;
    xl_rate_t rate; /* bytes */
    uint64_t burst_bytes;
    uint32_t sharers; /* sessions active in it; 1 for the session's own level */
    bool shared;      /* false: the session's own */
} xl_level_t;

typedef struct {
    uint64_t want;        /* bytes at hand, > 0 */
    uint64_t cap;         /* most that may go at once (memory, TLS), 0: no cap */
    uint64_t age_ns;      /* of the response */
    uint32_t sessions;    /* paced in this process */
    bool first;           /* chunk of the response */
    bool last;            /* nothing comes after `want` */
    uint64_t last_due_ns; /* due_ns of the response's last slot; 0: none or not known */
} xl_slot_ask_t;

typedef struct {
    uint64_t bytes;  /* 1 .. want */
    uint64_t due_ns; /* monotonic; not before it */
} xl_slot_t;

/* Chunk time by age of the response and sessions of the process: 100 ms, 200
 * from 5 s, 400 from 10 s, 500 from 20 s of age; 1 s from 1,000 and 2 s from
 * 5,000 sessions (never more than a tenth of the age then, and never less
 * than by age alone). */
uint64_t xl_slot_chunk_ns(uint64_t age_ns, uint32_t sessions);

/* The bytes that xl_slot_reserve would take now, without taking them; moves no
 * meter. */
uint64_t xl_slot_chunk_bytes(const xl_level_t *levels, size_t n, const xl_slot_ask_t *ask);

/* Reserves in all levels. n == 0: everything up to cap, due now. */
xl_slot_t xl_slot_reserve(const xl_level_t *levels, size_t n, const xl_slot_ask_t *ask, uint64_t now_ns);

/* Gives `bytes` of reservations that were not written back to every level. */
void xl_slot_release(const xl_level_t *levels, size_t n, uint64_t bytes);

/* A session becomes active in a level where nobody was: idle time hands out
 * the burst and nothing more. */
void xl_slot_wake(const xl_level_t *level, uint64_t now_ns);

#endif
