/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_table: counters by key (a client's address, ...) in one block of shared
 * memory that the caller maps. Never allocates, never fails a request, offsets
 * and indexes only, everything on a cache line of 64 bytes:
 *
 *     0        xl_table_stripe_t x 16    what is half done in a stripe, totals of what was evicted from it
 *     tops     4 bytes x rows            how many pins of a row were ever used
 *     pins     8 bytes x rows x pins     what each process holds (a row of its own, as in xl_ledger): xl_pin.h
 *     sets     xl_table_set_t x sets     64 bytes each: tags and ages of its 8 cells
 *     cells    xl_cell_t x 8 x sets      64 bytes each
 *     labels   xl_table_label_t x 8 x sets  24 bytes each: for status pages only, may be cut
 *
 * That is 96 bytes per key. The block is zeroed when it is given and is written
 * to only where a key or a pin comes, so that what is never used needs no memory.
 *
 * A key is a 128-bit fingerprint, made by the caller with a secret (xl_siphash):
 * it may stand in one of two sets, both of one stripe. Finding and pinning a key
 * that is there takes no lock; putting one in takes the lock of its stripe.
 *
 * Whoever uses a cell has it pinned: a pinned cell is never evicted. A pin is
 * announced in the row of its process, then counted in the cell, then
 * confirmed, so that the pins of a process that was killed at any instruction
 * can be taken back; what it left half done in a set is repaired by whoever
 * locks that stripe next.
 *
 * When both sets are full the cell that was used longest ago goes, of those that
 * nobody has pinned and that are not locked out (in a set with more than half of
 * its cells locked out these may go, too); what it had counted is added to the
 * totals. When none can go there is no cell, and the caller counts elsewhere.
 *
 * Who locks: the functions below do, by the caller's vtable; nobody holds a
 * lock when a function returns. Nothing that stands in the block is trusted as
 * an index or a size.
 */
#ifndef XL_TABLE_H
#define XL_TABLE_H

#include "xl_mark.h"
#include "xl_meter.h"
#include "xl_usage.h"

#include <stdbool.h>

#define XL_TABLE_WAYS 8u
#define XL_TABLE_STRIPES 16u
#define XL_TABLE_LABEL_BYTES 20u
#define XL_NO_CELL UINT32_MAX

/* One key, 64 bytes. */
typedef struct {
    uint64_t id[2];                   /* written under the lock, while nobody can have it pinned */
    _Atomic uint64_t control;         /* version, whether it is live, pins: xl_pin.h */
    union {
        struct {
            xl_meter_t meter;
            _Atomic uint64_t bytes, requests; /* since it is there */
        };
        xl_usage_t usage; /* of a quota */
    };
    _Atomic uint64_t mark; /* not evicted while its moment is to come */
} xl_cell_t;

/* For status pages only. */
typedef struct {
    uint32_t owner;                  /* as the key says; its highest bit: a cell with a usage */
    char text[XL_TABLE_LABEL_BYTES]; /* cut between characters; no 0 at its end when it is full */
} xl_table_label_t;

/* Who is looked for. */
typedef struct {
    uint64_t id[2];
    uint32_t owner;   /* below 2^31: what the caller knows its limit by */
    bool usage;       /* counts by usage, not by meter */
    const char *text; /* that people know the key by */
} xl_table_key_t;

typedef struct {
    _Atomic uint32_t tag[XL_TABLE_WAYS];   /* 32 bits of the id; 0: the cell is free */
    _Atomic uint32_t stamp[XL_TABLE_WAYS]; /* when it was last pinned, in units of 256 ms */
} xl_table_set_t;

/* Written under the lock of the stripe. `dirty` says how far an insertion is and
 * into which cell, 0: none is under way (table.c). */
typedef struct {
    _Atomic uint64_t dirty;
    _Atomic uint64_t evictions, bytes, requests;                /* of all that were evicted */
    _Atomic uint64_t then_evictions, then_bytes, then_requests; /* what these become with the next one */
    uint64_t unused;
} xl_table_stripe_t;

/* Robust: a holder that dies leaves it to the next one. false: cannot be had,
 * the caller of the table does without a new cell. */
typedef struct {
    bool (*lock)(void *context, unsigned stripe);
    void (*unlock)(void *context, unsigned stripe);
    void *context;
} xl_table_lock_t;

/* What a process knows of a table: its own sizes, and where in its own mapping the parts are. */
typedef struct {
    unsigned char *base;
    xl_table_stripe_t *stripe;
    _Atomic uint32_t *top;
    _Atomic uint64_t *entry;
    xl_table_set_t *set;
    xl_cell_t *cell;
    xl_table_label_t *label;
    uint32_t sets, rows, pins; /* pins: of each row */
    xl_table_lock_t lock;
    _Atomic uint32_t next_pin; /* where this process looks for a free pin first */
} xl_table_t;

typedef struct {
    uint32_t cell, pin; /* cell XL_NO_CELL: none */
} xl_pin_t;

/* What a status page says of it. */
typedef struct {
    uint64_t cells, used, pinned;
    uint64_t evictions, evicted_bytes, evicted_requests;
} xl_table_totals_t;

/* Bytes for at least so many cells, rounded up to a set in each stripe (128
 * cells), and for so many pins of each row, rounded up to 8; 0 when one of them
 * is 0 or it is more than can be had. */
size_t xl_table_size(uint32_t cells, uint32_t rows, uint32_t pins);

/* The most cells that fit into size bytes, 0: not one set in each stripe. */
uint32_t xl_table_cells(size_t size, uint32_t rows, uint32_t pins);

/* Makes an empty table of zeroed memory on a cache line. NULL or a static reason. */
const char *xl_table_init(xl_table_t *table, void *base, size_t size, uint32_t cells, uint32_t rows, uint32_t pins,
                          const xl_table_lock_t *lock);

/* The cell of a key, pinned for the process of that row: found, or put in with
 * a clean meter or usage. now_ms is the clock of xl_mark, which all processes
 * share; it ages cells and ends lock-outs. No cell: none may go, no pin is free,
 * the cell has as many as it can count, the lock cannot be had, or there is no
 * such row. */
xl_pin_t xl_table_pin(xl_table_t *table, uint32_t row, const xl_table_key_t *key, uint64_t now_ms);

/* The same, and no cell, with *full, when it has `most` pins already: never more,
 * however many ask at once. */
xl_pin_t xl_table_pin_most(xl_table_t *table, uint32_t row, const xl_table_key_t *key, uint64_t now_ms, uint32_t most,
                           bool *full);
void xl_table_unpin(xl_table_t *table, uint32_t row, xl_pin_t pin);

/* Puts a key into a free cell, pinned by nobody. XL_NO_CELL: none of its cells is
 * free, or it is there already. Nobody else is on the table. */
uint32_t xl_table_add(xl_table_t *table, const xl_table_key_t *key, uint64_t now_ms);

xl_cell_t *xl_table_cell(const xl_table_t *table, uint32_t cell); /* NULL when out of range */
uint32_t xl_cell_pins(const xl_cell_t *cell);                     /* of all processes */

/* The pins of a key by all processes, without having it pinned; 0: it is not there. */
uint32_t xl_table_peek(const xl_table_t *table, const uint64_t id[2]);

/* Copies what a cell is called, with a 0 at the end. Who has it not pinned may
 * get the name of the next key, or of both a part. */
uint32_t xl_table_owner(const xl_table_t *table, uint32_t cell, bool *usage);
void xl_table_text(const xl_table_t *table, uint32_t cell, char text[XL_TABLE_LABEL_BYTES + 1]);

/* Takes back every pin of a row whose process is gone; takes no lock. false:
 * one could not be told yet, since others use its cell at this very moment:
 * call again before the row gets another owner. Whoever is killed in here, or
 * does it at the same time as another, does no harm as long as the row gets no
 * new owner before all of them have returned. */
bool xl_table_settle(xl_table_t *table, uint32_t row);

/* Reads the tags of all sets. */
void xl_table_totals(const xl_table_t *table, xl_table_totals_t *totals);

/* How many of its keys are locked out. Reads all cells that are in use. */
uint64_t xl_table_locked(const xl_table_t *table, uint64_t now_ms);

/* What stands in a cell, for who has it not pinned: of one moment, unless its key
 * changes again and again meanwhile. */
typedef struct {
    uint64_t id[2];
    char text[XL_TABLE_LABEL_BYTES + 1];
    uint32_t owner, pins;
    bool has_usage;
    xl_meter_t meter;         /* either these */
    uint64_t bytes, requests;
    xl_usage_t usage;         /* or this */
    _Atomic uint64_t mark;
} xl_table_copy_t;

/* The first cell from that one on in which a key is; XL_NO_CELL: there is none. */
uint32_t xl_table_next(const xl_table_t *table, uint32_t cell);

bool xl_table_copy(const xl_table_t *table, uint32_t cell, xl_table_copy_t *copy); /* false: no key is there */

#endif
