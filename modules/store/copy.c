/* SPDX-License-Identifier: Apache-2.0
 *
 * copy: puts what is in one ledger into another one: with other rows, or of this
 * version where it was of an earlier one. Knows what entries of earlier versions
 * looked like; nobody else does. Writes to the new one alone.
 * The caller is alone with both.
 */
#include "xl_ledger.h"

#include <stddef.h>
#include <string.h>

static xl_ledger_head_t *head_of(const xl_ledger_t *ledger)
{
    return (xl_ledger_head_t *)ledger->base;
}

/* As version 1 had it: seven verdicts, no mark, no meter of a speed answer. */
typedef struct {
    unsigned char identity[448];
    xl_meter_t meter;
    xl_usage_t usage;
    uint64_t requests, sent_bytes;
    uint64_t verdicts[7];
    uint64_t refusing_since_ms, suppressed, warned;
} entry_v1_t;

_Static_assert(offsetof(xl_entry_t, meter) == sizeof(((entry_v1_t *)0)->identity), "the identity has not changed");

/* What was the pace of a quota's speed answer is not needed after a restart. */
static void copy_v1(xl_entry_t *to, const void *from)
{
    const entry_v1_t *old = from;
    size_t i;

    memset(to, 0, sizeof(*to));
    memcpy(to, old->identity, sizeof(old->identity));
    memcpy(&to->usage, &old->usage, sizeof(to->usage));
    atomic_store(&to->requests, old->requests);
    atomic_store(&to->sent_bytes, old->sent_bytes);
    for (i = 0; i < sizeof(old->verdicts) / sizeof(*old->verdicts); i++)
        atomic_store(&to->verdicts[i], old->verdicts[i]);
    atomic_store(&to->refusing_since_ms, old->refusing_since_ms);
    atomic_store(&to->warned, old->warned);
}

/* Everything between the identity and the columns, which a pace that was under
 * way is part of: both ledgers belong to one boot or are rebased later. */
const char *xl_ledger_copy(xl_ledger_t *to, const xl_ledger_t *from)
{
    uint32_t i, used = head_of(from)->used, next = 0;

    for (i = 0; i < used && i < from->capacity; i++) {
        const xl_entry_t *entry = xl_ledger_entry(from, i);

        if (atomic_load(&entry->kind) == XL_ENTRY_FREE)
            continue;
        if (next == to->capacity)
            return "more entries than fit";
        if (from->version == 1)
            copy_v1(xl_ledger_entry(to, next), entry);
        else
            memcpy(xl_ledger_entry(to, next), entry, sizeof(*entry));
        atomic_store(&head_of(to)->used, ++next);
    }
    memcpy(head_of(to)->boot_id, head_of(from)->boot_id, sizeof(head_of(to)->boot_id));
    return NULL;
}
