/* SPDX-License-Identifier: Apache-2.0
 *
 * ledger: the rows and entries of a ledger in memory that the caller maps.
 * Never maps, allocates or locks, and takes no size, count or index from the
 * block: each is its own copy in xl_ledger_t, or clamped by it.
 * Who locks: the caller, for attach, row and sweep functions (see the header);
 * entering and leaving are atomic adds.
 * Invariants: an entry's identity is complete whenever its kind is not FREE;
 * the last byte of a label is 0 at all times; a free row's column is 0.
 */
#include "xl_ledger.h"

#include "xl_siphash.h"

#include <stddef.h>
#include <string.h>

#define ALIGNMENT 64u

_Static_assert(sizeof(xl_row_t) == ALIGNMENT, "one row fills one cache line");
_Static_assert(sizeof(xl_entry_t) % ALIGNMENT == 0, "columns begin on a cache line");
_Static_assert(sizeof(xl_ledger_head_t) <= XL_LEDGER_HEAD_BYTES, "the head fits into its page");

static xl_ledger_head_t *head_of(const xl_ledger_t *ledger)
{
    return (xl_ledger_head_t *)ledger->base;
}

static xl_row_t *row_of(const xl_ledger_t *ledger, uint32_t row)
{
    return (xl_row_t *)(ledger->base + XL_LEDGER_HEAD_BYTES) + row;
}

static size_t entries_offset(uint32_t rows)
{
    return XL_LEDGER_HEAD_BYTES + (size_t)rows * sizeof(xl_row_t);
}

static size_t entry_bytes(uint32_t rows)
{
    size_t columns = ((size_t)rows * sizeof(int32_t) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;

    return sizeof(xl_entry_t) + columns;
}

/* How far entries may be in use; the head's count is only a hint. */
static uint32_t used_entries(const xl_ledger_t *ledger)
{
    uint32_t used = atomic_load(&head_of(ledger)->used);

    return used < ledger->capacity ? used : ledger->capacity;
}

size_t xl_ledger_size(uint32_t rows, uint32_t capacity)
{
    size_t size;

    if (__builtin_mul_overflow(entry_bytes(rows), (size_t)capacity, &size) ||
        __builtin_add_overflow(size, entries_offset(rows), &size))
        return 0;
    return size;
}

uint32_t xl_ledger_capacity(uint32_t rows, size_t size)
{
    size_t capacity;

    if (size < entries_offset(rows))
        return 0;
    capacity = (size - entries_offset(rows)) / entry_bytes(rows);
    return capacity < XL_NO_ENTRY ? (uint32_t)capacity : XL_NO_ENTRY - 1;
}

const char *xl_ledger_init(xl_ledger_t *ledger, void *base, size_t size, uint32_t rows, const char *boot_id,
                           int64_t wall_ms)
{
    xl_ledger_head_t head = { .version = XL_LEDGER_VERSION, .order = XL_LEDGER_ORDER };

    if (!rows || entry_bytes(rows) > UINT32_MAX)
        return "no such number of rows";
    if (!xl_ledger_capacity(rows, size))
        return "not room enough for one entry";
    memcpy(head.magic, XL_LEDGER_MAGIC, sizeof(head.magic));
    head.head_bytes = XL_LEDGER_HEAD_BYTES;
    head.row_bytes = sizeof(xl_row_t);
    head.rows = rows;
    head.entry_fixed_bytes = sizeof(xl_entry_t);
    head.entry_bytes = (uint32_t)entry_bytes(rows);
    head.verdicts = XL_VERDICTS;
    head.created_ms = wall_ms;
    head.crc = xl_ledger_checksum(&head);
    strncpy(head.boot_id, boot_id, sizeof(head.boot_id) - 1);
    memcpy(base, &head, sizeof(head));
    *ledger = (xl_ledger_t){ .base = base, .size = size, .entry_bytes = head.entry_bytes, .rows = rows,
                             .version = XL_LEDGER_VERSION };
    ledger->capacity = xl_ledger_capacity(rows, size);
    return NULL;
}

void xl_ledger_extend(xl_ledger_t *ledger, void *base, size_t size)
{
    ledger->base = base;
    ledger->size = size;
    ledger->capacity = xl_ledger_capacity(ledger->rows, size);
}

xl_entry_t *xl_ledger_entry(const xl_ledger_t *ledger, uint32_t index)
{
    if (index >= ledger->capacity)
        return NULL;
    return (xl_entry_t *)(ledger->base + entries_offset(ledger->rows) + (size_t)index * ledger->entry_bytes);
}

uint32_t xl_ledger_index(const xl_ledger_t *ledger, const xl_entry_t *entry)
{
    const unsigned char *first = ledger->base + entries_offset(ledger->rows);

    return (uint32_t)((size_t)((const unsigned char *)entry - first) / ledger->entry_bytes);
}

/* Its own number is that of an earlier process: who calls has the mutex. */
bool xl_ledger_take(xl_ledger_t *ledger, uint32_t pid, bool (*alive)(uint32_t pid))
{
    uint32_t holder = 0;

    while (!atomic_compare_exchange_strong(&head_of(ledger)->holder, &holder, pid))
        if (holder && holder != pid && alive(holder))
            return false;
    return true;
}

void xl_ledger_leave(xl_ledger_t *ledger)
{
    atomic_store(&head_of(ledger)->holder, 0);
}

/* Each part by itself, so that ("ab","c") and ("a","bc") stay apart. */
void xl_ledger_id(xl_entry_e kind, const char *vhost, const char *place, const char *name, uint64_t id[2])
{
    static const uint8_t key[16] = "xlimit ledger 1";
    const char *part[3] = { vhost, place, name };
    uint64_t chain[7] = { (uint64_t)kind };
    size_t i;

    for (i = 0; i < 3; i++)
        xl_siphash128(key, part[i], strlen(part[i]), &chain[1 + 2 * i]);
    xl_siphash128(key, chain, sizeof(chain), id);
}

uint32_t xl_ledger_find(const xl_ledger_t *ledger, const uint64_t id[2])
{
    uint32_t i, used = used_entries(ledger);

    for (i = 0; i < used; i++) {
        const xl_entry_t *entry = xl_ledger_entry(ledger, i);

        if (entry->id[0] == id[0] && entry->id[1] == id[1] && atomic_load(&entry->kind) != XL_ENTRY_FREE)
            return i;
    }
    return XL_NO_ENTRY;
}

/* Cut between characters, so that a page never shows half of one. */
static void set_label(char *label, const char *text)
{
    size_t length = strnlen(text, XL_LABEL_MAX);

    if (length == XL_LABEL_MAX)
        for (length--; length > XL_LABEL_MAX - 4 && ((unsigned char)text[length] & 0xC0) == 0x80;)
            length--;
    memset(label, 0, XL_LABEL_MAX);
    memcpy(label, text, length);
}

/* Of the entries that no configuration from `oldest` on names, the one that has
 * gone unnamed the longest. */
static uint32_t stalest(const xl_ledger_t *ledger, uint64_t oldest)
{
    uint32_t i, found = XL_NO_ENTRY;

    for (i = 0; i < ledger->capacity; i++) {
        const xl_entry_t *entry = xl_ledger_entry(ledger, i);
        uint64_t generation = atomic_load(&entry->generation);

        if (atomic_load(&entry->kind) == XL_ENTRY_FREE)
            generation = 0;
        else if (generation >= oldest)
            continue;
        if (found == XL_NO_ENTRY || generation < oldest) {
            found = i;
            oldest = generation;
        }
        if (!generation)
            break;
    }
    return found;
}

/* Makes room for an identity: who dies in here leaves a free entry. */
static uint32_t vacate(xl_ledger_t *ledger, uint64_t oldest)
{
    _Atomic uint32_t *used = &head_of(ledger)->used;
    uint32_t index = used_entries(ledger);
    xl_entry_t *entry;

    while (index < ledger->capacity && atomic_load(&xl_ledger_entry(ledger, index)->kind) != XL_ENTRY_FREE)
        index++;
    if (index == ledger->capacity)
        index = stalest(ledger, oldest);
    if (index == XL_NO_ENTRY)
        return XL_NO_ENTRY;
    entry = xl_ledger_entry(ledger, index);
    atomic_store(&entry->kind, XL_ENTRY_FREE);
    memset(entry, 0, ledger->entry_bytes);
    if (atomic_load(used) <= index)
        atomic_store(used, index + 1);
    return index;
}

uint32_t xl_ledger_attach(xl_ledger_t *ledger, xl_entry_e kind, const char *vhost, const char *place, const char *name,
                          uint64_t generation, uint64_t oldest_generation)
{
    uint64_t id[2];
    uint32_t index;
    xl_entry_t *entry;

    xl_ledger_id(kind, vhost, place, name, id);
    index = xl_ledger_find(ledger, id);
    if (index != XL_NO_ENTRY) {
        entry = xl_ledger_entry(ledger, index);
        if (atomic_load(&entry->generation) < generation)
            atomic_store(&entry->generation, generation);
        return index;
    }
    index = vacate(ledger, oldest_generation);
    if (index == XL_NO_ENTRY)
        return XL_NO_ENTRY;
    entry = xl_ledger_entry(ledger, index);
    set_label(entry->vhost, vhost);
    set_label(entry->place, place);
    set_label(entry->name, name);
    memcpy(entry->id, id, sizeof(id));
    atomic_store(&entry->generation, generation);
    atomic_store(&entry->kind, (uint32_t)kind);
    return index;
}

uint32_t xl_ledger_adopt(xl_ledger_t *ledger, const xl_entry_t *entry, bool *added)
{
    uint32_t index = xl_ledger_find(ledger, entry->id);
    xl_entry_t *own;

    *added = false;
    if (index != XL_NO_ENTRY)
        return index;
    index = vacate(ledger, 0); /* no generation is older than 0: only what is free */
    if (index == XL_NO_ENTRY)
        return XL_NO_ENTRY;
    own = xl_ledger_entry(ledger, index);
    memcpy((unsigned char *)own + sizeof(own->kind), (const unsigned char *)entry + sizeof(entry->kind),
           sizeof(*entry) - sizeof(entry->kind));
    atomic_store(&own->kind, atomic_load(&entry->kind));
    *added = true;
    return index;
}

static void row_clear(xl_ledger_t *ledger, uint32_t row)
{
    uint32_t i, used = used_entries(ledger);

    for (i = 0; i < used; i++)
        atomic_store(&xl_ledger_entry(ledger, i)->active[row], 0);
    atomic_store(&row_of(ledger, row)->spooled_bytes, 0);
    atomic_store(&row_of(ledger, row)->paced, 0);
}

/* What the row has here goes at once, the row itself when `gone` is done with it. */
static bool row_free(xl_ledger_t *ledger, uint32_t row, bool (*gone)(uint32_t row))
{
    row_clear(ledger, row);
    if (gone && !gone(row))
        return false;
    atomic_store(&row_of(ledger, row)->generation, 0);
    atomic_store(&row_of(ledger, row)->pid, 0);
    return true;
}

bool xl_ledger_of_boot(const xl_ledger_t *ledger, const char *boot_id)
{
    return *boot_id && !strncmp(head_of(ledger)->boot_id, boot_id, XL_BOOT_ID_BYTES - 1);
}

void xl_ledger_boot(const xl_ledger_t *ledger, char boot_id[XL_BOOT_ID_BYTES])
{
    memcpy(boot_id, head_of(ledger)->boot_id, XL_BOOT_ID_BYTES - 1);
    boot_id[XL_BOOT_ID_BYTES - 1] = '\0';
}

/* The boot id comes last: who dies before it does all of this again. */
void xl_ledger_rebase(xl_ledger_t *ledger, const char *boot_id)
{
    char *noted = head_of(ledger)->boot_id;
    uint32_t i, used = used_entries(ledger);

    if (xl_ledger_of_boot(ledger, boot_id))
        return;
    for (i = 0; i < used; i++) {
        xl_entry_t *entry = xl_ledger_entry(ledger, i);

        atomic_store(&entry->meter.tat_ns, 0);
        atomic_store(&entry->speed.tat_ns, 0);
        atomic_store(&entry->mark, 0);
        atomic_store(&entry->crowded, 0);
        atomic_store(&entry->refusing_since_ms, 0);
    }
    for (i = 0; i < ledger->rows; i++)
        row_free(ledger, i, NULL);
    memset(noted, 0, sizeof(head_of(ledger)->boot_id));
    strncpy(noted, boot_id, sizeof(head_of(ledger)->boot_id) - 1);
}

uint64_t xl_ledger_newest(const xl_ledger_t *ledger)
{
    uint64_t newest = 0;
    uint32_t i, used = used_entries(ledger);

    for (i = 0; i < used; i++) {
        const xl_entry_t *entry = xl_ledger_entry(ledger, i);
        uint64_t generation = atomic_load(&entry->generation);

        if (atomic_load(&entry->kind) != XL_ENTRY_FREE && generation > newest && generation <= XL_GENERATION_MOST)
            newest = generation;
    }
    return newest;
}

uint64_t xl_ledger_oldest(const xl_ledger_t *ledger)
{
    uint64_t oldest = UINT64_MAX;
    uint32_t i;

    for (i = 0; i < ledger->rows; i++) {
        uint64_t generation = atomic_load(&row_of(ledger, i)->generation);

        if (atomic_load(&row_of(ledger, i)->pid) && generation < oldest)
            oldest = generation;
    }
    return oldest;
}

static uint32_t row_with(const xl_ledger_t *ledger, uint32_t pid)
{
    uint32_t i;

    for (i = 0; i < ledger->rows; i++)
        if (atomic_load(&row_of(ledger, i)->pid) == pid)
            return i;
    return XL_NO_ROW;
}

uint32_t xl_ledger_row_claim(xl_ledger_t *ledger, uint32_t pid, uint64_t generation)
{
    uint32_t row = row_with(ledger, pid); /* a dead process had the same number */

    if (row == XL_NO_ROW)
        row = row_with(ledger, 0);
    if (row == XL_NO_ROW)
        return XL_NO_ROW;
    row_clear(ledger, row);
    atomic_store(&row_of(ledger, row)->generation, generation);
    atomic_store(&row_of(ledger, row)->pid, pid);
    if (atomic_load(&head_of(ledger)->rows_claimed) <= row)
        atomic_store(&head_of(ledger)->rows_claimed, row + 1);
    return row;
}

void xl_ledger_row_release(xl_ledger_t *ledger, uint32_t pid, bool (*gone)(uint32_t row))
{
    uint32_t row = pid ? row_with(ledger, pid) : XL_NO_ROW;

    if (row != XL_NO_ROW)
        row_free(ledger, row, gone);
}

uint32_t xl_ledger_sweep(xl_ledger_t *ledger, bool (*alive)(uint32_t pid), bool (*gone)(uint32_t row))
{
    uint32_t i, released = 0;

    for (i = 0; i < ledger->rows; i++) {
        uint32_t pid = atomic_load(&row_of(ledger, i)->pid);

        if (pid && !alive(pid))
            released += row_free(ledger, i, gone);
    }
    return released;
}

/* No row at or after it was ever claimed: summing up the rest would cost more
 * than all else that is done for a request. */
static uint32_t rows_claimed(const xl_ledger_t *ledger)
{
    uint32_t rows = atomic_load_explicit(&head_of(ledger)->rows_claimed, memory_order_relaxed);

    return rows < ledger->rows ? rows : ledger->rows;
}

uint32_t xl_entry_active(const xl_ledger_t *ledger, const xl_entry_t *entry)
{
    int64_t sum = 0;
    uint32_t i;

    for (i = rows_claimed(ledger); i > 0; i--)
        sum += atomic_load_explicit(&entry->active[i - 1], memory_order_relaxed);
    if (sum <= 0)
        return 0;
    return sum < UINT32_MAX ? (uint32_t)sum : UINT32_MAX;
}

void xl_entry_enter(const xl_ledger_t *ledger, xl_entry_t *entry, uint32_t row)
{
    if (row < ledger->rows)
        atomic_fetch_add(&entry->active[row], 1);
}

void xl_entry_leave(const xl_ledger_t *ledger, xl_entry_t *entry, uint32_t row)
{
    if (row < ledger->rows)
        atomic_fetch_sub(&entry->active[row], 1);
}

void xl_ledger_paced_begin(const xl_ledger_t *ledger, uint32_t row)
{
    if (row < ledger->rows)
        atomic_fetch_add_explicit(&row_of(ledger, row)->paced, 1, memory_order_relaxed);
}

void xl_ledger_paced_end(const xl_ledger_t *ledger, uint32_t row)
{
    if (row < ledger->rows)
        atomic_fetch_sub_explicit(&row_of(ledger, row)->paced, 1, memory_order_relaxed);
}

uint32_t xl_ledger_paced_most(const xl_ledger_t *ledger)
{
    uint64_t most = 0;

    for (uint32_t i = rows_claimed(ledger); i > 0; i--) {
        uint64_t paced = atomic_load_explicit(&row_of(ledger, i - 1)->paced, memory_order_relaxed);

        most = paced > most && paced <= UINT32_MAX ? paced : most;
    }
    return (uint32_t)most;
}

bool xl_ledger_spool_take(const xl_ledger_t *ledger, uint32_t row, uint64_t bytes, uint64_t most)
{
    uint64_t all = 0;

    if (row >= ledger->rows)
        return bytes <= most;
    /* Taken first, so that of two that come at once none sees the room of the
     * other. */
    atomic_fetch_add(&row_of(ledger, row)->spooled_bytes, bytes);
    for (uint32_t i = 0; i < ledger->rows; i++)
        all += atomic_load(&row_of(ledger, i)->spooled_bytes);
    if (all <= most)
        return true;
    atomic_fetch_sub(&row_of(ledger, row)->spooled_bytes, bytes);
    return false;
}

void xl_ledger_spool_release(const xl_ledger_t *ledger, uint32_t row, uint64_t bytes)
{
    if (row < ledger->rows)
        atomic_fetch_sub(&row_of(ledger, row)->spooled_bytes, bytes);
}
