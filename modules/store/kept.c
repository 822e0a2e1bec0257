/* SPDX-License-Identifier: Apache-2.0
 *
 * kept: makes a body of what of the tables of keys is worth keeping, checks one,
 * and puts it back (contract in xl_kept.h).
 * Never reads or writes a file, and takes no index from a body: limits are found
 * by identity, tables by name, cells by the id of their key.
 * Nobody locks: who counts goes on meanwhile.
 * Invariants: the first record and only that is the secret; a body has no more
 * than XL_KEPT_MOST keys; the same counters make the same body.
 */
#include "xl_kept.h"

#include <stddef.h>
#include <string.h>

#define MOMENT_MOST (UINT64_C(1) << 44) /* of a mark */
#define MEMOS 64u
#define BODY_MOST ((XL_KEPT_MOST + UINT64_C(1)) * sizeof(xl_kept_t))

_Static_assert(sizeof(xl_kept_t) == 88, "a record has no padding, which would be under its CRC");
_Static_assert(XL_KEPT_SECRET_BYTES == sizeof(((xl_kept_t *)0)->id), "the secret stands where the key's id does");

size_t xl_kept_room(void)
{
    return (BODY_MOST + XL_IMAGE_PAGE - 1) / XL_IMAGE_PAGE * XL_IMAGE_PAGE;
}

/* ---- writing ---- */

/* Lock-outs grow from the front, usages from the back, until they meet. */
typedef struct {
    xl_kept_t *record; /* behind the secret */
    uint32_t room, locked, used;
    uint64_t left_out;
} list_t;

/* NULL: there is none. The usage that came last makes room for a lock-out. */
static xl_kept_t *next_record(list_t *list, xl_kept_e kind)
{
    if (list->locked + list->used == list->room) {
        list->left_out++;
        if (kind != XL_KEPT_LOCKED || !list->used)
            return NULL;
        list->used--;
    }
    return kind == XL_KEPT_LOCKED ? &list->record[list->locked++] : &list->record[list->room - ++list->used];
}

static const xl_kept_limit_t *limit_of(const xl_kept_scope_t *scope, uint32_t owner)
{
    return owner < scope->n_limits && scope->limits[owner].kind != XL_KEPT_NOTHING ? &scope->limits[owner] : NULL;
}

static bool is_running(const xl_usage_t *usage, const xl_kept_limit_t *limit, int64_t wall_ms)
{
    return xl_usage_read(usage, limit->period, wall_ms).used > 0;
}

static bool is_worth(const xl_table_copy_t *cell, const xl_kept_limit_t *limit, xl_kept_moment_t now)
{
    if (cell->has_usage != (limit->kind == XL_KEPT_USED))
        return false;
    return cell->has_usage ? is_running(&cell->usage, limit, now.wall_ms)
                           : xl_mark_locked_ms(&cell->mark, now.mono_ms) > 0;
}

/* How many it has refused changes with every try, and is not kept; nor is the end
 * of a period, which the calendar says again. */
static void fill(xl_kept_t *record, const xl_table_copy_t *cell, xl_kept_e kind, const xl_entry_t *entry,
                 uint64_t table)
{
    memset(record, 0, sizeof(*record));
    memcpy(record->id, cell->id, sizeof(record->id));
    memcpy(record->limit, entry->id, sizeof(record->limit));
    record->table = table;
    record->kind = kind;
    memcpy(record->text, cell->text, strnlen(cell->text, sizeof(record->text)));
    if (kind == XL_KEPT_LOCKED) {
        record->word[0] = xl_mark_moment_ms(atomic_load(&cell->mark));
        return;
    }
    record->word[0] = atomic_load(&cell->usage.word);
    record->word[1] = atomic_load(&cell->usage.used[0]);
    record->word[2] = atomic_load(&cell->usage.used[1]);
}

static void keep_cell(const xl_kept_scope_t *scope, uint32_t number, uint32_t i, xl_kept_moment_t now, list_t *list)
{
    const xl_kept_table_t *from = &scope->tables[number];
    const xl_kept_limit_t *limit;
    const xl_entry_t *entry;
    xl_kept_t *record;
    xl_table_copy_t cell;

    if (!xl_table_copy(from->table, i, &cell))
        return;
    limit = limit_of(scope, cell.owner);
    entry = xl_ledger_entry(scope->ledger, cell.owner);
    if (!limit || limit->table != number || !entry || !is_worth(&cell, limit, now))
        return;
    record = next_record(list, limit->kind);
    if (record)
        fill(record, &cell, limit->kind, entry, from->name);
}

static void keep_table(const xl_kept_scope_t *scope, uint32_t number, xl_kept_moment_t now, list_t *list)
{
    const xl_table_t *table = scope->tables[number].table;
    uint32_t i = table ? xl_table_next(table, 0) : XL_NO_CELL;

    for (; i != XL_NO_CELL; i = xl_table_next(table, i + 1))
        keep_cell(scope, number, i, now, list);
}

size_t xl_kept_body(const xl_kept_scope_t *scope, xl_kept_moment_t now, void *body, size_t room, uint64_t *left_out)
{
    size_t records = room / sizeof(xl_kept_t);
    list_t list = { .record = (xl_kept_t *)body + 1 };

    *left_out = 0;
    if (!records)
        return sizeof(xl_kept_t);
    list.room = records > XL_KEPT_MOST ? XL_KEPT_MOST : (uint32_t)records - 1;
    memset(body, 0, sizeof(xl_kept_t));
    ((xl_kept_t *)body)->kind = XL_KEPT_SECRET;
    memcpy(((xl_kept_t *)body)->id, scope->secret, XL_KEPT_SECRET_BYTES);
    for (uint32_t i = 0; i < scope->n_tables; i++)
        keep_table(scope, i, now, &list);
    memmove(&list.record[list.locked], &list.record[list.room - list.used], list.used * sizeof(xl_kept_t));
    *left_out = list.left_out;
    return (1 + (size_t)list.locked + list.used) * sizeof(xl_kept_t);
}

/* ---- checking ---- */

static const char *check_record(const xl_kept_t *record)
{
    switch ((xl_kept_e)record->kind) {
    case XL_KEPT_LOCKED:
        return record->word[0] && record->word[0] < MOMENT_MOST ? NULL : "a lock-out of an absurd end";
    case XL_KEPT_USED:
        return record->word[0] ? NULL : "a quota of no period";
    case XL_KEPT_SECRET:
        return "a second secret";
    case XL_KEPT_NOTHING:
        break;
    }
    return "a record of no kind";
}

static const char *check_records(const xl_image_head_t *head, const void *body)
{
    const xl_kept_t *record = body;
    const char *fault = NULL;

    if (!xl_image_records(head) || record->kind != XL_KEPT_SECRET)
        return "keys without a secret";
    for (uint32_t i = 1; !fault && i < xl_image_records(head); i++)
        fault = check_record(&record[i]);
    return fault;
}

const xl_image_form_t xl_image_keys = {
    .magic = "xlimitKY", .suffix = ".keys", .strange = "not a copy of keys of xlimit (magic)", .body_version = 1,
    .record_bytes = sizeof(xl_kept_t), .record_least = sizeof(xl_kept_t), .record_unit = 8, .length_most = BODY_MOST,
    .check = check_records,
};

/* ---- putting back ---- */

void xl_kept_secret(const void *body, uint8_t secret[XL_KEPT_SECRET_BYTES])
{
    memcpy(secret, ((const xl_kept_t *)body)->id, XL_KEPT_SECRET_BYTES);
}

/* Since the head was written. A clock of marks that is behind it began anew,
 * whatever the boot is called; a wall clock that is says nothing. */
static uint64_t passed_ms(const xl_image_head_t *head, bool same_boot, xl_kept_moment_t now)
{
    if (same_boot && now.mono_ms >= head->mono_ms)
        return now.mono_ms - head->mono_ms;
    return now.wall_ms > head->wall_ms ? (uint64_t)now.wall_ms - (uint64_t)head->wall_ms : 0;
}

static uint64_t less(uint64_t from, uint64_t n)
{
    return from > n ? from - n : 0;
}

/* Puts one key back and says what became of it. */
static void put_back(const xl_kept_scope_t *scope, const xl_kept_t *record, uint32_t owner, uint64_t left_ms,
                     xl_kept_moment_t now, xl_kept_taken_t *taken)
{
    const xl_kept_limit_t *limit = &scope->limits[owner];
    xl_table_t *table = scope->tables[limit->table].table;
    xl_usage_t usage = { .word = record->word[0], .used = { record->word[1], record->word[2] } };
    char text[XL_TABLE_LABEL_BYTES + 1] = "";
    xl_table_key_t key = { .id = { record->id[0], record->id[1] }, .owner = owner, .text = text,
                           .usage = limit->kind == XL_KEPT_USED };
    xl_cell_t *cell;

    if (key.usage ? !is_running(&usage, limit, now.wall_ms) : !left_ms) {
        taken->over++;
        return;
    }
    memcpy(text, record->text, sizeof(record->text));
    cell = xl_table_cell(table, xl_table_add(table, &key, now.mono_ms));
    if (!cell) {
        taken->refused++;
        return;
    }
    taken->back++;
    if (key.usage)
        xl_usage_merge(&cell->usage, &usage);
    else
        xl_mark_lock(&cell->mark, now.mono_ms, now.mono_ms + left_ms);
}

/* Few limits have very many keys: an identity is looked for once, not for each of them. */
typedef struct {
    uint64_t limit[2];
    uint32_t owner;
    bool known;
} memo_t;

static uint32_t find_limit(const xl_kept_scope_t *scope, const uint64_t limit[2], memo_t *memo)
{
    memo = &memo[limit[0] % MEMOS];
    if (!memo->known || memcmp(memo->limit, limit, sizeof(memo->limit))) {
        memcpy(memo->limit, limit, sizeof(memo->limit));
        memo->owner = xl_ledger_find(scope->ledger, limit);
        memo->known = true;
    }
    return memo->owner;
}

/* What cells know its limit by, or XL_NO_ENTRY. */
static uint32_t owner_of(const xl_kept_scope_t *scope, const xl_kept_t *record, memo_t *memo)
{
    uint32_t owner = find_limit(scope, record->limit, memo);
    const xl_kept_limit_t *limit = limit_of(scope, owner);

    if (!limit || limit->kind != (xl_kept_e)record->kind || limit->table >= scope->n_tables ||
        !scope->tables[limit->table].table || scope->tables[limit->table].name != record->table)
        return XL_NO_ENTRY;
    return owner;
}

xl_kept_taken_t xl_kept_take(const xl_kept_scope_t *scope, const xl_image_head_t *head, const void *body,
                             xl_kept_moment_t now)
{
    uint64_t passed = passed_ms(head, xl_ledger_of_boot(scope->ledger, head->boot_id), now);
    const xl_kept_t *record = body;
    xl_kept_taken_t taken = { 0 };
    memo_t memo[MEMOS] = { { .known = false } };

    for (uint32_t i = 1; i < xl_image_records(head); i++) {
        uint32_t owner = owner_of(scope, &record[i], memo);

        if (owner == XL_NO_ENTRY)
            taken.strange++;
        else
            put_back(scope, &record[i], owner, less(less(record[i].word[0], head->mono_ms), passed), now, &taken);
    }
    return taken;
}
