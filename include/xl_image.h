/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_image: a copy against power loss, as bytes of a file with two slots that
 * are written alternately:
 *
 *     0        xl_image_head_t of slot 0       each head in a page of its own, so that writing
 *     4096     xl_image_head_t of slot 1       one cannot tear the other
 *     8192     body of slot 0, `room` bytes    records of one size, one after the other
 *     + room   body of slot 1, `room` bytes
 *
 * Which records these are, a form says: of the counters (here) the fixed part of
 * each entry in use; of keys what xl_kept.h makes of them.
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

#define XL_IMAGE_VERSION 1u
#define XL_IMAGE_SLOTS 2u
#define XL_IMAGE_PAGE 4096u
#define XL_IMAGE_LENGTH_MOST (UINT64_C(1) << 30) /* of a body of counters */
#define XL_IMAGE_NO_SLOT UINT32_MAX

/* 128 bytes, of the same form in every version. */
typedef struct {
    char magic[8];
    uint32_t version;
    uint32_t order;          /* XL_LEDGER_ORDER as the writing machine has it */
    uint32_t body_version; /* of the records */
    uint32_t record_bytes; /* of one in the body */
    uint32_t verdicts;     /* columns of an entry; 0 where records are none */
    uint32_t writer; /* process, for who reads along */
    uint64_t sequence;
    int64_t wall_ms; /* when it was written. Clocks jump, sequences do not */
    uint64_t body_at, length;
    char boot_id[XL_BOOT_ID_BYTES];
    uint64_t mono_ms; /* the same moment on the clock that begins with the boot; 0: nobody wrote it down */
    uint32_t reserved[2];
    uint32_t body_crc;
    uint32_t crc; /* CRC-32 of everything above */
} xl_image_head_t;

/* What a file of copies is of. */
typedef struct {
    const char *magic;   /* 8 characters */
    const char *suffix;  /* of its name, behind that of the state file */
    const char *strange; /* the reason when it is a file of something else */
    uint32_t body_version;
    uint32_t record_bytes, record_least, record_unit; /* earlier versions' were shorter, by whole units */
    uint32_t verdicts;
    uint64_t length_most; /* of a body: a reader takes it into memory */
    const char *(*check)(const xl_image_head_t *head, const void *body); /* the records of a body whose CRC is right */
} xl_image_form_t;

extern const xl_image_form_t xl_image_counters;

/* Bytes for a body of so many entries, whole pages; 0 when that is more than a
 * reader takes. And those of the file, and the largest room that a file of that size has. */
size_t xl_image_room(uint32_t entries);
size_t xl_image_file_bytes(size_t room);
size_t xl_image_room_of(uint64_t file_bytes);

/* Writes the entries in use, as they are at this moment, and returns how many
 * bytes; more than `room` when it would not do, and then only `room` are
 * written. An entry that is being given to another identity just now is left out. */
size_t xl_image_body(const xl_ledger_t *ledger, void *body, size_t room);

/* The head to a body: first of what, by whom, in the boot of that ledger and
 * when; then the rest. */
void xl_image_sign(xl_image_head_t *head, const xl_image_form_t *form, const xl_ledger_t *ledger, uint32_t writer,
                   int64_t wall_ms, uint64_t mono_ms);
void xl_image_seal(xl_image_head_t *head, unsigned slot, size_t room, const void *body, size_t length,
                   uint64_t sequence);

/* NULL, or a static reason why there is no image of that form behind the head,
 * in a file of that size. *newer is set when only a version is unknown. */
const char *xl_image_check_head(const xl_image_head_t *head, const xl_image_form_t *form, uint64_t file_bytes,
                                bool *newer);
bool xl_image_blank(const xl_image_head_t *head); /* nothing was ever written there */

/* What a good head says of its body: NULL, or a static reason. Each entry of a
 * ledger is looked at as xl_ledger_open does. */
const char *xl_image_check_body(const xl_image_head_t *head, const xl_image_form_t *form, const void *body);

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

/* Brings a good image of counters into a ledger on which nobody counts. What is not there is
 * added; of what is, with `raise`, each counter becomes the larger one of the
 * later period. May be done any number of times. */
xl_image_taken_t xl_image_take(xl_ledger_t *ledger, const xl_image_head_t *head, const void *body, bool raise);

uint32_t xl_image_records(const xl_image_head_t *head); /* of a good one */

#endif
