/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_kept: what of the tables of keys outlives the server: who is locked out,
 * and what is used of quotas. Everything else comes to rest with the tables.
 * The body of a copy (xl_image.h) of the form xl_image_keys:
 *
 *     record 0    the secret under which keys are hashed: without it nobody finds
 *                 his counter again
 *     record 1..  keys that are locked out, then usages of periods that run
 *
 * What a limit is called by is the identity of its ledger entry, since indexes
 * may change; which table a key is of, a number that the caller makes of the
 * name of its zone. A lock-out is told on the clock of marks: the head says what
 * that and the wall clock were when it was written, so that the same body is
 * right after another boot, and does not change while nothing happens.
 *
 * Only reads tables that others count in; writes to those on which nobody is
 * yet. Who locks: nobody. Children write the file, so its reader trusts nothing.
 */
#ifndef XL_KEPT_H
#define XL_KEPT_H

#include "xl_image.h"
#include "xl_table.h"

#define XL_KEPT_MOST 65536u /* keys in a copy */
#define XL_KEPT_SECRET_BYTES 16u

typedef enum {
    XL_KEPT_NOTHING,
    XL_KEPT_SECRET,
    XL_KEPT_LOCKED, /* of penalties */
    XL_KEPT_USED    /* of quotas */
} xl_kept_e;

/* 88 bytes, without padding. */
typedef struct {
    uint64_t id[2];    /* of the key; the secret itself */
    uint64_t limit[2]; /* identity of its entry */
    uint64_t table;    /* its name */
    uint64_t word[3];  /* LOCKED: until when, 0, 0; USED: word and used[] of an xl_usage_t */
    uint32_t kind;     /* xl_kept_e */
    char text[XL_TABLE_LABEL_BYTES];
} xl_kept_t;

extern const xl_image_form_t xl_image_keys;

/* Of a limit: what is kept of its keys, in which table they are, and for USED its period. */
typedef struct {
    xl_kept_e kind;
    uint32_t table;
    const xl_period_t *period;
} xl_kept_limit_t;

typedef struct {
    xl_table_t *table; /* NULL: there is none */
    uint64_t name;
} xl_kept_table_t;

/* All of a server, as its configuration says. */
typedef struct {
    const xl_ledger_t *ledger;
    const xl_kept_limit_t *limits; /* by owner of a cell, which is the ledger index */
    const xl_kept_table_t *tables;
    uint32_t n_limits, n_tables;
    const uint8_t *secret;
} xl_kept_scope_t;

typedef struct {
    int64_t wall_ms;
    uint64_t mono_ms; /* the clock of marks */
} xl_kept_moment_t;

/* Bytes for the body of a copy, whole pages. */
size_t xl_kept_room(void);

/* Writes what is worth keeping now and returns how many bytes; more than `room`
 * when not even the secret would do. Of more than XL_KEPT_MOST keys, or what
 * there is room for, usages stay out before lock-outs; *left_out: how many do.
 * body is aligned as malloc() does. */
size_t xl_kept_body(const xl_kept_scope_t *scope, xl_kept_moment_t now, void *body, size_t room, uint64_t *left_out);

/* Of a good body. */
void xl_kept_secret(const void *body, uint8_t secret[XL_KEPT_SECRET_BYTES]);

typedef struct {
    uint32_t back;    /* are in their table again */
    uint32_t over;    /* have ended since */
    uint32_t strange; /* of limits or tables that are not there any more */
    uint32_t refused; /* that found no free cell */
} xl_kept_taken_t;

/* Puts a good image back. A lock-out lasts as long as was left of it, less the
 * time that has passed since by the clock of marks, or by the wall clock when
 * that began anew; by neither longer than was left. The ledger was opened in
 * this boot; nobody else is on the tables. */
xl_kept_taken_t xl_kept_take(const xl_kept_scope_t *scope, const xl_image_head_t *head, const void *body,
                             xl_kept_moment_t now);

#endif
