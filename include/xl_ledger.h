/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_ledger: the counters of configured scopes in one block of shared memory
 * that the caller maps. Offsets and indexes only, everything 64-byte aligned:
 *
 *     0        xl_ledger_head_t       magic, version, sizes, CRC of these; boot id, entries used
 *     4096     xl_row_t x rows        which process owns which column of `active`
 *     entries  xl_entry_t x capacity  entry_bytes each: identity, counters, active[rows]
 *
 * Growing appends entries at the end; nothing moves, so that a mapping of the
 * old size and one of the new size work on the same pages. How many entries
 * there are follows from the size of the block alone.
 *
 * Who locks: xl_ledger_attach, _row_claim, _row_release and _sweep want the
 * structure mutex, and xl_ledger_take under it; everything else is atomic words and may be called by
 * anybody at any time. A process keeps its own copy of the sizes (xl_ledger_t)
 * and checks every index against it: what stands in the block is not trusted.
 */
#ifndef XL_LEDGER_H
#define XL_LEDGER_H

#include "xl_meter.h"
#include "xl_usage.h"

#include <stdatomic.h>
#include <stdbool.h>

#define XL_LEDGER_MAGIC "xlimit\r\n"
#define XL_LEDGER_VERSION 2u
#define XL_NO_ENTRY UINT32_MAX
#define XL_NO_ROW UINT32_MAX
#define XL_LABEL_MAX 128
#define XL_BOOT_ID_BYTES 40
#define XL_GENERATION_MOST (UINT64_C(1) << 48) /* what is more was never one */

/* The first 64 bytes keep their form in every version, so that a newer file can
 * be told from a broken one. They never change after xl_ledger_init. */
typedef struct {
    char magic[8];
    uint32_t version;
    uint32_t order; /* XL_LEDGER_ORDER as the writing machine has it */
    uint32_t head_bytes, row_bytes, rows;
    uint32_t entry_fixed_bytes; /* sizeof(xl_entry_t) */
    uint32_t entry_bytes;       /* with its columns */
    uint32_t verdicts;
    int64_t created_ms;
    uint32_t reserved[3];
    uint32_t crc; /* CRC-32 of everything above */

    char boot_id[XL_BOOT_ID_BYTES];
    _Alignas(64) _Atomic uint32_t used; /* no entry at or after it was ever attached */
    _Atomic uint32_t rows_claimed;      /* no row at or after it was ever claimed */
    _Atomic uint32_t holder;            /* process that changes entries or rows; 0: none */
} xl_ledger_head_t;

#define XL_LEDGER_ORDER UINT32_C(0x01020304)
#define XL_LEDGER_HEAD_BYTES 4096u
#define XL_LEDGER_FIXED_BYTES 64u

enum { /* index of a counter in xl_entry_t.verdicts */
#define XL_VERDICT(id, token, text) XL_VERDICT_##id,
#include "xl_verdicts.def"
    XL_VERDICTS
};

typedef enum {
    XL_ENTRY_FREE = 0,
    XL_ENTRY_SCOPE = 1,
    XL_ENTRY_QUOTA = 2,
    XL_ENTRY_BANDWIDTH = 3,
    XL_ENTRY_UPLOAD = 4,
    XL_ENTRY_REQUESTS = 5,
    XL_ENTRY_CONNECTIONS = 6,
    XL_ENTRY_PENALTY = 7,
    XL_ENTRY_BLOCK = 8,
    XL_ENTRY_KINDS
} xl_entry_e;

/* Identity is written once, before `kind` leaves FREE; labels are for status
 * pages and may be cut, the fingerprint is what counts. */
typedef struct {
    _Atomic uint32_t kind;
    uint32_t reserved;
    uint64_t id[2];
    _Atomic uint64_t generation; /* newest configuration that names it */
    char vhost[XL_LABEL_MAX], place[XL_LABEL_MAX], name[XL_LABEL_MAX];

    _Alignas(64) xl_meter_t meter; /* a bandwidth, an upload, a rate of requests or events */
    xl_meter_t speed;              /* the pace of a `speed` answer */
    xl_usage_t usage;              /* quotas */
    _Atomic uint64_t mark;         /* lock-out and refusals: xl_mark.h */
    _Atomic uint64_t requests, sent_bytes;
    _Atomic uint64_t refusing_since_ms; /* wall; 0: not in refusal */
    _Atomic uint64_t warned;            /* ordinal << 8 | highest percentage announced */
    _Atomic uint64_t verdicts[XL_VERDICTS];
    _Atomic uint64_t crowded;           /* of the limit, its keys have found no cell: xl_mark.h */

    _Alignas(64) _Atomic int32_t active[]; /* requests being served, one column per row */
} xl_entry_t;

typedef struct {
    _Atomic uint32_t pid; /* 0: free */
    uint32_t reserved;
    _Atomic uint64_t generation; /* of the configuration that the process serves */
    _Atomic uint64_t spooled_bytes; /* that the process has on disk for paced responses */
    _Atomic uint64_t paced;         /* responses and bodies that the process paces */
    uint64_t unused[4];
} xl_row_t;

typedef struct {
    unsigned char *base;
    size_t size;
    size_t entry_bytes;
    uint32_t rows, capacity;
    uint32_t version; /* an older one may only be read, and copied into a new ledger */
} xl_ledger_t;

/* Bytes that so many rows and entries take; 0 when that overflows. */
size_t xl_ledger_size(uint32_t rows, uint32_t capacity);

/* How many entries fit into size bytes; 0 when none does. */
uint32_t xl_ledger_capacity(uint32_t rows, size_t size);

/* Makes an empty ledger of zeroed memory. NULL or a static reason. */
const char *xl_ledger_init(xl_ledger_t *ledger, void *base, size_t size, uint32_t rows, const char *boot_id,
                           int64_t wall_ms);

/* Takes a block that an earlier server left: magic, version, sizes, CRC and
 * every entry's labels are checked. NULL or a static reason, *offset says where.
 * *newer is set when only its version is unknown. size may be larger than when
 * it was written: the ledger has grown. */
const char *xl_ledger_open(xl_ledger_t *ledger, void *base, size_t size, size_t *offset, bool *newer);

/* The same ledger in a larger block, or a larger mapping of it; no less bytes
 * than before. */
void xl_ledger_extend(xl_ledger_t *ledger, void *base, size_t size);

/* Of that the part about the head alone, which must be there whole. */
const char *xl_ledger_check_head(const xl_ledger_head_t *head, size_t size, size_t *offset, bool *newer);

/* Of that the part about one entry, which stands at `at`. */
const char *xl_ledger_check_entry(const xl_entry_t *entry, size_t at, size_t *offset);

/* CRC-32 (IEEE 802.3) of the head's fixed part. */
uint32_t xl_ledger_checksum(const xl_ledger_head_t *head);

/* Copies every entry that is in use, its identity and its counters but not
 * what is active, into an empty ledger with another number of rows, out of one
 * of this version or an older one. NULL or a static reason. */
const char *xl_ledger_copy(xl_ledger_t *to, const xl_ledger_t *from);

/* After a boot monotonic time began anew: puts every meter at rest when the
 * block was written under another boot id, frees all rows (their processes are
 * gone and the numbers mean others now), and notes the new one. "" is no boot
 * that is known: another one each time. */
void xl_ledger_rebase(xl_ledger_t *ledger, const char *boot_id);

/* Whether the block was last opened under that boot id, which is known. */
bool xl_ledger_of_boot(const xl_ledger_t *ledger, const char *boot_id);

/* The boot id as noted, always with an end. */
void xl_ledger_boot(const xl_ledger_t *ledger, char boot_id[XL_BOOT_ID_BYTES]);

/* The entry of that identity, which the caller has checked: the one that is
 * there as it is, else a copy of all of it (*added). XL_NO_ENTRY: full. Nobody
 * else is on the ledger. */
uint32_t xl_ledger_adopt(xl_ledger_t *ledger, const xl_entry_t *entry, bool *added);

xl_entry_t *xl_ledger_entry(const xl_ledger_t *ledger, uint32_t index); /* NULL when out of range */
uint32_t xl_ledger_index(const xl_ledger_t *ledger, const xl_entry_t *entry); /* of one that _entry returned */
uint32_t xl_ledger_find(const xl_ledger_t *ledger, const uint64_t id[2]);

/* Finds or appends; when full, reuses the entry that no configuration from
 * `oldest_generation` on names and whose last one is the longest ago. An
 * identity that is there already keeps its counters. Marks it
 * with `generation`. XL_NO_ENTRY: full. Mutex held. */
uint32_t xl_ledger_attach(xl_ledger_t *ledger, xl_entry_e kind, const char *vhost, const char *place, const char *name,
                          uint64_t generation, uint64_t oldest_generation);

/* The fingerprint of an identity: SipHash-2-4-128 under a fixed key. */
void xl_ledger_id(xl_entry_e kind, const char *vhost, const char *place, const char *name, uint64_t id[2]);

/* The newest generation that names an entry, 0 when none does, and the oldest
 * one that a claimed row serves, UINT64_MAX when none is claimed. */
uint64_t xl_ledger_newest(const xl_ledger_t *ledger);
uint64_t xl_ledger_oldest(const xl_ledger_t *ledger);

/* A server beside the orphans of another one has another mutex than they have: so
 * who holds one of them also puts his number into the ledger before he changes
 * entries or rows, and takes it away afterwards. Takes over from who is dead; false
 * when somebody else is at it whom `alive` knows. */
bool xl_ledger_take(xl_ledger_t *ledger, uint32_t pid, bool (*alive)(uint32_t pid));
void xl_ledger_leave(xl_ledger_t *ledger);

/* A column for a process; zeroes what an earlier owner left. XL_NO_ROW: all
 * taken. Mutex held. */
uint32_t xl_ledger_row_claim(xl_ledger_t *ledger, uint32_t pid, uint64_t generation);

/* Of a process that is gone. Its column is zeroed; then `gone` (may be NULL)
 * settles what that row has elsewhere, and where it says false the row stays
 * claimed until it is asked again. */
void xl_ledger_row_release(xl_ledger_t *ledger, uint32_t pid, bool (*gone)(uint32_t row));

/* Releases the rows whose process `alive` denies, as above; returns how many. */
uint32_t xl_ledger_sweep(xl_ledger_t *ledger, bool (*alive)(uint32_t pid), bool (*gone)(uint32_t row));

/* Active requests: +1 / -1 in the own column, and the sum of all columns. A sum
 * below 0 (a column zeroed under its owner) reads as 0. */
void xl_entry_enter(const xl_ledger_t *ledger, xl_entry_t *entry, uint32_t row);
void xl_entry_leave(const xl_ledger_t *ledger, xl_entry_t *entry, uint32_t row);
uint32_t xl_entry_active(const xl_ledger_t *ledger, const xl_entry_t *entry);

/* What a process paces: +1 / -1 in its row, and how many the process has that
 * paces most. Without a row nothing is counted. */
void xl_ledger_paced_begin(const xl_ledger_t *ledger, uint32_t row);
void xl_ledger_paced_end(const xl_ledger_t *ledger, uint32_t row);
uint32_t xl_ledger_paced_most(const xl_ledger_t *ledger);

/* Room on disk for paced responses: takes bytes for a process when all rows
 * together then have no more than `most`; false and nothing taken otherwise.
 * A process without a row has the whole of it to itself. */
bool xl_ledger_spool_take(const xl_ledger_t *ledger, uint32_t row, uint64_t bytes, uint64_t most);
void xl_ledger_spool_release(const xl_ledger_t *ledger, uint32_t row, uint64_t bytes);

#endif
