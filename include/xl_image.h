/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_image: a copy of the counters against power loss, as bytes of a file with
 * two slots that are written alternately:
 *
 *     0        xl_image_head_t of slot 0       each head in a page of its own, so that writing
 *     4096     xl_image_head_t of slot 1       one cannot tear the other
 *     8192     body of slot 0, `room` bytes    the fixed part of each entry in use, one after the other
 *     + room   body of slot 1, `room` bytes
 *
 * The caller reads and writes the file; here are only blocks of memory. He
 * writes the body, waits until that is on the disk, writes the head, waits
 * again, and only then may write to the other slot: whatever moment power
 * fails at, one slot is whole. A write that failed, or of which nobody knows how
 * it ended, is done again into the same slot, whole: the kernel may have
 * forgotten what it could not write.
 *
 * Children write the file, so its reader trusts nothing in it.
 */
#ifndef XL_IMAGE_H
#define XL_IMAGE_H

#include "xl_ledger.h"

#define XL_IMAGE_MAGIC "xlimitAB"
#define XL_IMAGE_VERSION 1u
#define XL_IMAGE_SLOTS 2u
#define XL_IMAGE_PAGE 4096u
#define XL_IMAGE_LENGTH_MOST (UINT64_C(1) << 30) /* of a body: a reader takes it into memory */
#define XL_IMAGE_NO_SLOT UINT32_MAX

/* 128 bytes, of the same form in every version. */
typedef struct {
    char magic[8];
    uint32_t version;
    uint32_t order;          /* XL_LEDGER_ORDER as the writing machine has it */
    uint32_t ledger_version; /* of the entries */
    uint32_t entry_bytes;    /* of one in the body: sizeof(xl_entry_t) */
    uint32_t verdicts;
    uint32_t writer; /* process, for who reads along */
    uint64_t sequence;
    int64_t wall_ms; /* for messages alone: clocks jump, sequences do not */
    uint64_t body_at, length;
    char boot_id[XL_BOOT_ID_BYTES];
    uint32_t reserved[4];
    uint32_t body_crc;
    uint32_t crc; /* CRC-32 of everything above */
} xl_image_head_t;

/* Bytes for a body of so many entries, whole pages; 0 when that is more than a
 * reader takes. And those of the file, and the largest room that a file of that size has. */
size_t xl_image_room(uint32_t entries);
size_t xl_image_file_bytes(size_t room);
size_t xl_image_room_of(uint64_t file_bytes);

/* Writes the entries in use, as they are at this moment, and returns how many
 * bytes; more than `room` when it would not do, and then only `room` are
 * written. An entry that is being given to another identity just now is left out. */
size_t xl_image_body(const xl_ledger_t *ledger, void *body, size_t room);

/* The head to a body. Where the ledger was opened, and when. */
void xl_image_seal(xl_image_head_t *head, unsigned slot, size_t room, const void *body, size_t length,
                   uint64_t sequence, int64_t wall_ms);
void xl_image_sign(xl_image_head_t *head, const xl_ledger_t *ledger, uint32_t writer);

/* NULL, or a static reason why there is no image of ours behind the head, in a
 * file of that size. *newer is set when only a version is unknown. */
const char *xl_image_check_head(const xl_image_head_t *head, uint64_t file_bytes, bool *newer);
bool xl_image_blank(const xl_image_head_t *head); /* nothing was ever written there */

/* What a good head says of its body: NULL, or a static reason. Each entry is
 * looked at as xl_ledger_open does. */
const char *xl_image_check_body(const xl_image_head_t *head, const void *body);

/* Of two heads the one with the higher sequence among those that are good;
 * XL_IMAGE_NO_SLOT: none is. */
unsigned xl_image_newest(const xl_image_head_t head[XL_IMAGE_SLOTS], const bool good[XL_IMAGE_SLOTS]);

/* Where the next image goes, and its sequence. `unfinished`: the slot of which
 * nobody knows how its last write ended, or XL_IMAGE_NO_SLOT. */
unsigned xl_image_next(const xl_image_head_t head[XL_IMAGE_SLOTS], const bool good[XL_IMAGE_SLOTS],
                       unsigned unfinished, uint64_t *sequence);

typedef struct {
    uint32_t added, raised; /* entries that were not there, and whose counters were lower */
    uint32_t refused;       /* that found no room: again after the ledger has grown */
} xl_image_taken_t;

/* Brings a good image into a ledger on which nobody counts. What is not there is
 * added; of what is, with `raise`, each counter becomes the larger one of the
 * later period. May be done any number of times. */
xl_image_taken_t xl_image_take(xl_ledger_t *ledger, const xl_image_head_t *head, const void *body, bool raise);

uint32_t xl_image_entries(const xl_image_head_t *head);

#endif
