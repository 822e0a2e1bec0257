/* SPDX-License-Identifier: Apache-2.0
 *
 * image: the heads of copies of any form; and makes a copy of a ledger's
 * counters as bytes, checks one, and brings it back (contract in xl_image.h).
 * Never reads or writes a file, and takes no offset or count from a head that
 * xl_image_check_head has not seen.
 * Nobody locks: who counts goes on meanwhile, a word is copied as it is.
 * Invariants: a body holds sound entries only; an entry of an earlier version is
 * a shorter one, since fields are only ever appended.
 */
#include "xl_image.h"

#include "xl_crc.h"

#include <stddef.h>
#include <string.h>

#define BODIES_AT ((size_t)XL_IMAGE_SLOTS * XL_IMAGE_PAGE)
#define SEQUENCE_MOST (UINT64_C(1) << 62)
#define ENTRY_LEAST 640u /* version 1's */

_Static_assert(sizeof(xl_image_head_t) == 128, "a head has no padding, which would be under its CRC");
_Static_assert(sizeof(xl_entry_t) >= ENTRY_LEAST, "entries only grow");

/* ---- layout ---- */

size_t xl_image_room(uint32_t entries)
{
    uint64_t bytes = (uint64_t)entries * sizeof(xl_entry_t);

    bytes = (bytes + XL_IMAGE_PAGE - 1) / XL_IMAGE_PAGE * XL_IMAGE_PAGE;
    return bytes <= XL_IMAGE_LENGTH_MOST ? (size_t)bytes : 0;
}

size_t xl_image_file_bytes(size_t room)
{
    return BODIES_AT + XL_IMAGE_SLOTS * room;
}

size_t xl_image_room_of(uint64_t file_bytes)
{
    uint64_t room = file_bytes > BODIES_AT ? (file_bytes - BODIES_AT) / XL_IMAGE_SLOTS : 0;

    if (room > XL_IMAGE_LENGTH_MOST)
        room = XL_IMAGE_LENGTH_MOST;
    return (size_t)(room / XL_IMAGE_PAGE * XL_IMAGE_PAGE);
}

uint32_t xl_image_records(const xl_image_head_t *head)
{
    return (uint32_t)(head->length / head->record_bytes);
}

/* ---- writing ---- */

/* A copy that is of one identity: it is so before and after, and sound. */
static bool copy_entry(xl_entry_t *copy, const xl_entry_t *entry)
{
    uint32_t kind = atomic_load(&entry->kind);
    size_t offset;

    if (kind == XL_ENTRY_FREE)
        return false;
    memcpy(copy, entry, sizeof(*copy));
    atomic_thread_fence(memory_order_acquire);
    return atomic_load(&entry->kind) == kind && !memcmp(entry->id, copy->id, sizeof(copy->id)) &&
           !xl_ledger_check_entry(copy, 0, &offset);
}

size_t xl_image_body(const xl_ledger_t *ledger, void *body, size_t room)
{
    _Alignas(64) unsigned char space[sizeof(xl_entry_t)];
    const xl_entry_t *entry;
    size_t length = 0;
    uint32_t i;

    for (i = 0; (entry = xl_ledger_entry(ledger, i)); i++) {
        if (!copy_entry((xl_entry_t *)space, entry))
            continue;
        if (length + sizeof(space) <= room)
            memcpy((unsigned char *)body + length, space, sizeof(space));
        length += sizeof(space);
    }
    return length;
}

void xl_image_sign(xl_image_head_t *head, const xl_image_form_t *form, const xl_ledger_t *ledger, uint32_t writer,
                   int64_t wall_ms, uint64_t mono_ms)
{
    memset(head, 0, sizeof(*head));
    memcpy(head->magic, form->magic, sizeof(head->magic));
    head->version = XL_IMAGE_VERSION;
    head->order = XL_LEDGER_ORDER;
    head->body_version = form->body_version;
    head->record_bytes = form->record_bytes;
    head->verdicts = form->verdicts;
    head->writer = writer;
    head->wall_ms = wall_ms;
    head->mono_ms = mono_ms;
    xl_ledger_boot(ledger, head->boot_id);
}

void xl_image_seal(xl_image_head_t *head, unsigned slot, size_t room, const void *body, size_t length,
                   uint64_t sequence)
{
    head->sequence = sequence;
    head->body_at = BODIES_AT + slot * room;
    head->length = length;
    head->body_crc = xl_crc32(body, length);
    head->crc = xl_crc32(head, offsetof(xl_image_head_t, crc));
}

/* ---- checking ---- */

bool xl_image_blank(const xl_image_head_t *head)
{
    static const xl_image_head_t blank;

    return !memcmp(head, &blank, sizeof(blank));
}

static const char *check_layout(const xl_image_head_t *head, const xl_image_form_t *form)
{
    if (!head->body_version || head->version != XL_IMAGE_VERSION)
        return "of an unknown version";
    if (head->verdicts != form->verdicts || head->record_bytes % form->record_unit ||
        head->record_bytes < form->record_least || head->record_bytes > form->record_bytes ||
        (head->body_version == form->body_version && head->record_bytes != form->record_bytes))
        return "written with another layout";
    return NULL;
}

static const char *check_sizes(const xl_image_head_t *head, const xl_image_form_t *form, uint64_t file_bytes)
{
    if (head->length > form->length_most || head->length % head->record_bytes)
        return "of an absurd length";
    if (head->body_at < BODIES_AT || head->body_at % XL_IMAGE_PAGE || head->body_at > file_bytes ||
        head->length > file_bytes - head->body_at)
        return "shorter than its head says";
    if (!head->sequence || head->sequence > SEQUENCE_MOST)
        return "of an absurd sequence";
    return memchr(head->boot_id, '\0', sizeof(head->boot_id)) ? NULL : "with a boot id that does not end";
}

const char *xl_image_check_head(const xl_image_head_t *head, const xl_image_form_t *form, uint64_t file_bytes,
                                bool *newer)
{
    const char *fault;

    *newer = false;
    if (xl_image_blank(head))
        return "empty";
    if (memcmp(head->magic, form->magic, sizeof(head->magic)))
        return form->strange;
    if (head->order != XL_LEDGER_ORDER)
        return "written on a machine of another byte order";
    if (head->crc != xl_crc32(head, offsetof(xl_image_head_t, crc)))
        return "the checksum of its head does not match";
    *newer = head->version > XL_IMAGE_VERSION || head->body_version > form->body_version;
    if (*newer)
        return "written by a newer version";
    fault = check_layout(head, form);
    return fault ? fault : check_sizes(head, form, file_bytes);
}

const char *xl_image_check_body(const xl_image_head_t *head, const xl_image_form_t *form, const void *body)
{
    if (head->body_crc != xl_crc32(body, (size_t)head->length))
        return "its checksum does not match";
    return form->check(head, body);
}

/* What an entry of an earlier version has not is 0. What monotonic time means
 * ends with the boot. */
static void read_entry(xl_entry_t *entry, const xl_image_head_t *head, const void *body, uint32_t index,
                       bool same_boot)
{
    memset(entry, 0, sizeof(*entry));
    memcpy(entry, (const unsigned char *)body + (size_t)index * head->record_bytes, head->record_bytes);
    if (same_boot)
        return;
    atomic_store(&entry->meter.tat_ns, 0);
    atomic_store(&entry->speed.tat_ns, 0);
    atomic_store(&entry->mark, 0);
    atomic_store(&entry->crowded, 0);
}

static const char *check_entries(const xl_image_head_t *head, const void *body)
{
    _Alignas(64) unsigned char space[sizeof(xl_entry_t)];
    xl_entry_t *entry = (xl_entry_t *)space;
    const char *fault = NULL;
    size_t offset;
    uint32_t i;

    for (i = 0; !fault && i < xl_image_records(head); i++) {
        read_entry(entry, head, body, i, true);
        fault = atomic_load(&entry->kind) == XL_ENTRY_FREE ? "an entry of no kind"
                                                           : xl_ledger_check_entry(entry, 0, &offset);
    }
    return fault;
}

const xl_image_form_t xl_image_counters = {
    .magic = "xlimitAB", .suffix = ".snapshot", .strange = "not a copy of counters of xlimit (magic)",
    .body_version = XL_LEDGER_VERSION, .record_bytes = sizeof(xl_entry_t), .record_least = ENTRY_LEAST,
    .record_unit = 64, .verdicts = XL_VERDICTS, .length_most = XL_IMAGE_LENGTH_MOST, .check = check_entries,
};

unsigned xl_image_newest(const xl_image_head_t head[XL_IMAGE_SLOTS], const bool good[XL_IMAGE_SLOTS])
{
    unsigned i, newest = XL_IMAGE_NO_SLOT;

    for (i = 0; i < XL_IMAGE_SLOTS; i++)
        if (good[i] && (newest == XL_IMAGE_NO_SLOT || head[i].sequence > head[newest].sequence))
            newest = i;
    return newest;
}

/* The sequence is higher than any that stands there: what an unfinished write
 * left may not be the newest again. */
unsigned xl_image_next(const xl_image_head_t head[XL_IMAGE_SLOTS], const bool good[XL_IMAGE_SLOTS],
                       unsigned unfinished, uint64_t *sequence)
{
    unsigned newest = xl_image_newest(head, good);

    *sequence = newest == XL_IMAGE_NO_SLOT ? 1 : head[newest].sequence + 1;
    if (*sequence > SEQUENCE_MOST)
        *sequence = 1;
    if (unfinished < XL_IMAGE_SLOTS)
        return unfinished;
    return newest == XL_IMAGE_NO_SLOT ? 0 : 1 - newest;
}

/* ---- bringing back ---- */

static bool is_later(const xl_entry_t *a, const xl_entry_t *b)
{
    uint64_t sent_a = atomic_load(&a->sent_bytes), sent_b = atomic_load(&b->sent_bytes);

    return sent_a != sent_b ? sent_a > sent_b : atomic_load(&a->requests) > atomic_load(&b->requests);
}

static void raise_to(_Atomic uint64_t *word, const _Atomic uint64_t *other)
{
    if (atomic_load(word) < atomic_load(other))
        atomic_store(word, atomic_load(other));
}

/* States go with the later copy, counters are the larger of both. */
static bool merge(xl_entry_t *entry, xl_entry_t *other)
{
    _Alignas(64) unsigned char before[sizeof(xl_entry_t)];
    const size_t at = offsetof(xl_entry_t, meter), rest = sizeof(*entry) - at;
    unsigned i;

    memcpy(before, entry, sizeof(*entry));
    if (is_later(other, entry)) {
        memcpy((unsigned char *)entry + at, (unsigned char *)other + at, rest);
        other = (xl_entry_t *)before;
    }
    xl_usage_merge(&entry->usage, &other->usage);
    raise_to(&entry->requests, &other->requests);
    raise_to(&entry->sent_bytes, &other->sent_bytes);
    for (i = 0; i < XL_VERDICTS; i++)
        raise_to(&entry->verdicts[i], &other->verdicts[i]);
    return memcmp((unsigned char *)entry + at, before + at, rest);
}

xl_image_taken_t xl_image_take(xl_ledger_t *ledger, const xl_image_head_t *head, const void *body, bool raise)
{
    _Alignas(64) unsigned char space[sizeof(xl_entry_t)];
    bool same_boot = xl_ledger_of_boot(ledger, head->boot_id), added;
    xl_image_taken_t taken = { 0 };
    xl_entry_t *entry = (xl_entry_t *)space;
    uint32_t i, index;

    for (i = 0; i < xl_image_records(head); i++) {
        read_entry(entry, head, body, i, same_boot);
        index = xl_ledger_adopt(ledger, entry, &added);
        if (index == XL_NO_ENTRY)
            taken.refused++;
        else if (added)
            taken.added++;
        else if (raise)
            taken.raised += merge(xl_ledger_entry(ledger, index), entry);
    }
    return taken;
}
