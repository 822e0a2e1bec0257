/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a ledger that an earlier server left, between pages that nobody
 * may touch: refused, or opened, and then every reader and writer stays inside.
 * Input: rows, spare bytes and whether the head is made whole, then pairs of where
 * a byte of a sound ledger goes wrong and what it becomes.
 */
#include "fuzz.h"
#include "xl_ledger.h"

#define ROWS_MOST 40u
#define ENTRIES 4u

static bool denies_odd(uint32_t pid)
{
    return !(pid & 1);
}

static void check_entry(const xl_ledger_t *ledger, uint32_t i)
{
    xl_entry_t *entry = xl_ledger_entry(ledger, i);

    must(xl_ledger_index(ledger, entry) == i);
    must(atomic_load(&entry->kind) < XL_ENTRY_KINDS);
    if (atomic_load(&entry->kind) == XL_ENTRY_FREE)
        return;
    must(strlen(entry->vhost) < XL_LABEL_MAX && strlen(entry->place) < XL_LABEL_MAX &&
         strlen(entry->name) < XL_LABEL_MAX && xl_ledger_find(ledger, entry->id) <= i);
    xl_entry_active(ledger, entry);
    xl_entry_enter(ledger, entry, ledger->rows - 1);
    xl_entry_leave(ledger, entry, ledger->rows);
}

static void use(xl_ledger_t *ledger)
{
    uint32_t i, row;

    for (i = 0; i < ledger->capacity; i++)
        check_entry(ledger, i);
    must(!xl_ledger_entry(ledger, ledger->capacity));
    row = xl_ledger_row_claim(ledger, 7, 3);
    must(row < ledger->rows || row == XL_NO_ROW);
    xl_ledger_paced_begin(ledger, row);
    xl_ledger_paced_most(ledger);
    xl_ledger_spool_take(ledger, row, 1000, 5000);
    xl_ledger_newest(ledger);
    xl_ledger_oldest(ledger);
    must(xl_ledger_sweep(ledger, denies_odd, NULL) <= ledger->rows);
    for (i = 0; i < ledger->capacity + 2; i++)
        xl_ledger_attach(ledger, XL_ENTRY_BLOCK, "new", "", (const char[]){(char)('a' + i), 0}, 9, 5);
    xl_ledger_rebase(ledger, "another boot");
}

static void open_and_use(unsigned char *base, size_t size)
{
    size_t offset = 0, room = xl_ledger_size(3, ENTRIES + 1);
    unsigned char *copy = fuzz_guarded(room);
    xl_ledger_t ledger, to;
    bool newer;

    if (xl_ledger_open(&ledger, base, size, &offset, &newer)) {
        must(offset <= size);
    } else {
        must(xl_ledger_size(ledger.rows, ledger.capacity) <= size);
        must(!xl_ledger_init(&to, copy, room, 3, "b", 1) && !xl_ledger_copy(&to, &ledger));
        must(!xl_ledger_open(&to, copy, room, &offset, &newer));
        if (ledger.version == XL_LEDGER_VERSION)
            use(&ledger);
    }
    fuzz_unguard(copy, room);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_t f = {data, data + size};
    uint32_t rows = 1 + fuzz_byte(&f) % ROWS_MOST, cut = fuzz_byte(&f), whole = fuzz_byte(&f);
    size_t room = xl_ledger_size(rows, ENTRIES), used = cut >= 128 ? room : room - 64 * cut % room;
    unsigned char *base = fuzz_guarded(room);
    xl_ledger_head_t *head = (xl_ledger_head_t *)base;
    xl_ledger_t ledger;

    must(!xl_ledger_init(&ledger, base, room, rows, "boot", 1));
    xl_ledger_attach(&ledger, XL_ENTRY_QUOTA, "www", "", "month", 1, 0);
    xl_ledger_attach(&ledger, XL_ENTRY_SCOPE, "www", "Location /", "all", 2, 0);
    while (f.at < f.end)
        fuzz_spoil(&f, base, room);
    if (whole & 1)
        head->crc = xl_ledger_checksum(head);
    memmove(base + (room - used), base, used); /* it ends at the guard */
    open_and_use(base + (room - used), used);
    fuzz_unguard(base, room);
    return 0;
}
