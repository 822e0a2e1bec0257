/* SPDX-License-Identifier: Apache-2.0
 *
 * Names of any bytes as labels of entries and keys: cut to fit, ended, and never
 * in the middle of a character of a text that was whole.
 */
#include "locks.h"
#include "utf8.h"
#include "xl_ledger.h"

#define CELLS 128u

/* A beginning of the text, all of it where there is room, else less by less than a character. */
static void check_cut(const char *label, const char *text, size_t room)
{
    size_t length = strlen(label), whole = strlen(text);

    must(length <= room && !strncmp(label, text, length));
    must(length == whole || length + 4 > room);
    must(!utf8_is_whole(text) || utf8_is_whole(label));
}

static void check_ledger(const char *vhost, const char *place)
{
    size_t room = xl_ledger_size(1, 2), offset;
    unsigned char *base = fuzz_guarded(room);
    xl_ledger_t ledger, again;
    xl_entry_t *entry;
    bool newer;

    must(!xl_ledger_init(&ledger, base, room, 1, "boot", 1));
    must(xl_ledger_attach(&ledger, XL_ENTRY_QUOTA, vhost, place, vhost, 1, 0) == 0);
    must(xl_ledger_attach(&ledger, XL_ENTRY_QUOTA, vhost, place, vhost, 1, 0) == 0);
    entry = xl_ledger_entry(&ledger, 0);
    check_cut(entry->vhost, vhost, XL_LABEL_MAX - 1);
    check_cut(entry->place, place, XL_LABEL_MAX - 1);
    check_cut(entry->name, vhost, XL_LABEL_MAX - 1);
    must(!xl_ledger_open(&again, base, room, &offset, &newer));
    fuzz_unguard(base, room);
}

static void check_table(const char *text)
{
    size_t room = xl_table_size(CELLS, 1, 8);
    unsigned char *base = fuzz_guarded(room);
    xl_table_key_t key = {.id = {1, 2}, .owner = 3, .text = text};
    char label[XL_TABLE_LABEL_BYTES + 1];
    xl_table_t table;
    xl_pin_t pin;

    must(!xl_table_init(&table, base, room, CELLS, 1, 8, &locks));
    pin = xl_table_pin(&table, 0, &key, 1);
    must(pin.cell != XL_NO_CELL);
    xl_table_text(&table, pin.cell, label);
    check_cut(label, text, XL_TABLE_LABEL_BYTES);
    fuzz_unguard(base, room);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_t f = {data, data + size};
    char *vhost = fuzz_line(&f), *place = fuzz_line(&f);

    check_ledger(vhost, place);
    check_table(vhost);
    free(vhost);
    free(place);
    return 0;
}
