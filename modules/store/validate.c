/* SPDX-License-Identifier: Apache-2.0
 *
 * validate: takes over a ledger that an earlier server left, after looking at
 * everything that is later relied on: the fixed part of the head under its
 * CRC, the sizes and the count of entries against the block, the identity of
 * every entry. One identity may stand twice: the first is found.
 * Never writes but to the head's count of entries, which it only raises: who
 * still counts may just be attaching one.
 * The caller is alone with the block, or holds the structure mutex.
 */
#include "xl_ledger.h"

#include "xl_crc.h"

#include <string.h>

_Static_assert(offsetof(xl_ledger_head_t, crc) + sizeof(uint32_t) == XL_LEDGER_FIXED_BYTES, "the CRC comes last");

uint32_t xl_ledger_checksum(const xl_ledger_head_t *head)
{
    return xl_crc32(head, offsetof(xl_ledger_head_t, crc));
}

const char *xl_ledger_check_head(const xl_ledger_head_t *head, size_t size, size_t *offset, bool *newer)
{
    *newer = false;
    *offset = 0;
    if (size < XL_LEDGER_HEAD_BYTES)
        return "shorter than the head of a state file";
    if (memcmp(head->magic, XL_LEDGER_MAGIC, sizeof(head->magic)))
        return "not a state file of xlimit (magic)";
    *offset = offsetof(xl_ledger_head_t, order);
    if (head->order != XL_LEDGER_ORDER)
        return "written on a machine of another byte order";
    *offset = offsetof(xl_ledger_head_t, crc);
    if (head->crc != xl_ledger_checksum(head))
        return "the checksum of its head does not match";
    *offset = offsetof(xl_ledger_head_t, version);
    *newer = head->version > XL_LEDGER_VERSION;
    if (*newer)
        return "written by a newer version";
    if (!head->version)
        return "of an unknown version";
    return NULL;
}

#define VERDICTS_V1 7u /* all else of that version's sizes is the same */

static const char *check_sizes(const xl_ledger_head_t *head, size_t size, size_t *offset)
{
    *offset = offsetof(xl_ledger_head_t, head_bytes);
    if (head->head_bytes != XL_LEDGER_HEAD_BYTES || head->row_bytes != sizeof(xl_row_t) ||
        head->entry_fixed_bytes != sizeof(xl_entry_t) ||
        head->verdicts != (head->version == 1 ? VERDICTS_V1 : XL_VERDICTS))
        return "written with another layout";
    *offset = offsetof(xl_ledger_head_t, rows);
    if (!head->rows || xl_ledger_size(head->rows, 1) - xl_ledger_size(head->rows, 0) != head->entry_bytes)
        return "its sizes contradict each other";
    *offset = size;
    if (!xl_ledger_capacity(head->rows, size))
        return "shorter than its head says";
    return NULL;
}

static const char *check_label(const char *label, size_t label_offset, size_t *offset, bool *cut)
{
    const char *end = memchr(label, '\0', XL_LABEL_MAX);

    *offset = label_offset;
    if (!end)
        return "a label that does not end";
    *cut = *cut || end - label >= XL_LABEL_MAX - 4;
    return NULL;
}

/* A label that was cut no longer gives its fingerprint; all others must. */
const char *xl_ledger_check_entry(const xl_entry_t *entry, size_t at, size_t *offset)
{
    uint32_t kind = atomic_load(&entry->kind);
    const char *fault;
    uint64_t id[2];
    bool cut = false;

    *offset = at + offsetof(xl_entry_t, kind);
    if (kind == XL_ENTRY_FREE)
        return NULL;
    if (kind >= XL_ENTRY_KINDS)
        return "an entry of unknown kind";
    if ((fault = check_label(entry->vhost, at + offsetof(xl_entry_t, vhost), offset, &cut)) ||
        (fault = check_label(entry->place, at + offsetof(xl_entry_t, place), offset, &cut)) ||
        (fault = check_label(entry->name, at + offsetof(xl_entry_t, name), offset, &cut)))
        return fault;
    *offset = at + offsetof(xl_entry_t, id);
    xl_ledger_id((xl_entry_e)kind, entry->vhost, entry->place, entry->name, id);
    if (!cut && memcmp(id, entry->id, sizeof(id)))
        return "an entry whose fingerprint is not that of its labels";
    return NULL;
}

const char *xl_ledger_open(xl_ledger_t *ledger, void *base, size_t size, size_t *offset, bool *newer)
{
    xl_ledger_head_t *head = base;
    xl_ledger_t found = { .base = base, .size = size };
    const char *fault;
    uint32_t i, used = 0;

    if ((fault = xl_ledger_check_head(head, size, offset, newer)) || (fault = check_sizes(head, size, offset)))
        return fault;
    found.version = head->version;
    found.rows = head->rows;
    found.entry_bytes = head->entry_bytes;
    found.capacity = xl_ledger_capacity(head->rows, size);
    for (i = 0; i < found.capacity; i++) {
        xl_entry_t *entry = xl_ledger_entry(&found, i);

        if ((fault = xl_ledger_check_entry(entry, (size_t)((unsigned char *)entry - found.base), offset)))
            return fault;
        if (atomic_load(&entry->kind) != XL_ENTRY_FREE)
            used = i + 1;
    }
    *offset = offsetof(xl_ledger_head_t, used);
    if (atomic_load(&head->used) > found.capacity)
        return "shorter than its count of entries says";
    if (atomic_load(&head->used) < used)
        atomic_store(&head->used, used);
    *ledger = found;
    return NULL;
}
