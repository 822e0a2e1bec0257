/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a copy of keys, between pages that nobody may touch: refused, or
 * put back, and then the table is sound, each key stands in it once and is locked
 * out for no longer than the copy says, and what is copied of it is good again.
 * Input: how many records, which clocks, then pairs of where a byte of a sound
 * copy goes wrong and what it becomes.
 */
#include "locks.h"
#include "xl_kept.h"

#define CELLS 128u
#define RECORDS_MOST 40u
#define LIMITS 3u
#define WALL INT64_C(1790000000000)
#define MONO UINT64_C(5000000)
#define LEFT_MOST (UINT64_C(1) << 44)

static const xl_period_t hour = {.kind = XL_PERIOD_TIME, .length_ms = 3600000};
static const xl_period_t day = {.kind = XL_PERIOD_DAY, .day = 1};
static const xl_kept_limit_t limits[LIMITS] = {
    {XL_KEPT_LOCKED, 0, NULL}, {XL_KEPT_USED, 0, &hour}, {XL_KEPT_USED, 0, &day}};
static const uint8_t secret[XL_KEPT_SECRET_BYTES] = {7};

static xl_ledger_t open_ledger(unsigned char *base, size_t size)
{
    static const char *const names[LIMITS] = {"login", "hourly", "daily"};
    xl_ledger_t ledger;

    must(!xl_ledger_init(&ledger, base, size, 2, "boot", 1));
    for (unsigned i = 0; i < LIMITS; i++)
        xl_ledger_attach(&ledger, i ? XL_ENTRY_QUOTA : XL_ENTRY_PENALTY, "www", "", names[i], 1, 0);
    return ledger;
}

static void make_records(const xl_kept_scope_t *scope, xl_kept_t *record, uint32_t n)
{
    record[0].kind = XL_KEPT_SECRET;
    for (uint32_t i = 1; i < n; i++) {
        uint32_t limit = i % LIMITS;

        record[i] = (xl_kept_t){.id = {(uint64_t)i << 59 | i, i}, .table = scope->tables[0].name,
                                .kind = limit ? XL_KEPT_USED : XL_KEPT_LOCKED, .text = "key"};
        memcpy(record[i].limit, xl_ledger_entry(scope->ledger, limit)->id, sizeof(record[i].limit));
        record[i].word[0] = limit ? (uint64_t)WALL : MONO + 1000 * i;
        record[i].word[1] = limit ? i : 0;
    }
}

static void check_cells(const xl_table_t *table, uint64_t mono_ms, uint32_t back)
{
    xl_table_totals_t totals;
    xl_table_copy_t copy;

    xl_table_totals(table, &totals);
    must(totals.used == back && !totals.pinned && !totals.evictions && !held_locks);
    for (uint32_t i = 0; i < CELLS; i++) {
        if (!xl_table_copy(table, i, &copy))
            continue;
        must(copy.owner < LIMITS && copy.has_usage == (copy.owner > 0) && !copy.pins);
        must(strlen(copy.text) <= XL_TABLE_LABEL_BYTES && xl_mark_locked_ms(&copy.mark, mono_ms) <= LEFT_MOST);
    }
}

static void put_back(xl_kept_scope_t *scope, const xl_image_head_t *head, const xl_kept_t *record, fuzz_t *clocks)
{
    xl_kept_moment_t now = {WALL + (int64_t)fuzz_number(clocks) % (INT64_C(1) << 40) - (INT64_C(1) << 39),
                            fuzz_number(clocks) % LEFT_MOST};
    unsigned char *again = fuzz_guarded(xl_kept_room());
    xl_kept_taken_t taken = xl_kept_take(scope, head, record, now);
    xl_image_head_t next;
    uint64_t left_out;
    size_t length;

    must(taken.back + taken.over + taken.strange + taken.refused + 1 == xl_image_records(head));
    check_cells(scope->tables[0].table, now.mono_ms, taken.back);
    length = xl_kept_body(scope, now, again, xl_kept_room(), &left_out);
    must(length <= (1 + (size_t)taken.back) * sizeof(xl_kept_t) && !left_out);
    xl_image_sign(&next, &xl_image_keys, scope->ledger, 1, now.wall_ms, now.mono_ms);
    xl_image_seal(&next, 0, xl_kept_room(), again, length, 1);
    must(!xl_image_check_body(&next, &xl_image_keys, again));
    must(xl_kept_body(scope, now, again, 2 * sizeof(xl_kept_t), &left_out) <= 2 * sizeof(xl_kept_t));
    fuzz_unguard(again, xl_kept_room());
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_t f = {data, data + size}, clocks;
    uint32_t n = 1 + fuzz_byte(&f) % RECORDS_MOST;
    size_t room = xl_table_size(CELLS, 2, 8), ledger_room = xl_ledger_size(2, LIMITS), length = n * sizeof(xl_kept_t);
    size_t body_room = (length + 63) / 64 * 64;
    unsigned char *table_base = fuzz_guarded(room), *ledger_base = fuzz_guarded(ledger_room);
    unsigned char *body_base = fuzz_guarded(body_room);
    xl_ledger_t ledger = open_ledger(ledger_base, ledger_room);
    xl_kept_t *record = (xl_kept_t *)(body_base + (body_room - length)); /* it ends at the guard */
    xl_image_head_t head;
    xl_table_t table;
    xl_kept_table_t tables[1] = {{&table, 5}};
    xl_kept_scope_t scope = {&ledger, limits, tables, LIMITS, 1, secret};
    bool newer;

    held_locks = 0;
    must(!xl_table_init(&table, table_base, room, CELLS, 2, 8, &locks));
    clocks = f;
    f.at += f.end - f.at < 12 ? f.end - f.at : 12;
    make_records(&scope, record, n);
    xl_image_sign(&head, &xl_image_keys, &ledger, 1, WALL, MONO);
    while (f.at < f.end)
        fuzz_spoil(&f, (unsigned char *)record, length);
    if (clocks.at < clocks.end && *clocks.at & 1) /* the head, too */
        memcpy(&head.wall_ms, clocks.at, (size_t)(clocks.end - clocks.at) < 8 ? (size_t)(clocks.end - clocks.at) : 8);
    xl_image_seal(&head, 0, xl_kept_room(), record, length, 1);
    if (!xl_image_check_head(&head, &xl_image_keys, xl_image_file_bytes(xl_kept_room()), &newer) &&
        !xl_image_check_body(&head, &xl_image_keys, record))
        put_back(&scope, &head, record, &clocks);
    fuzz_unguard(body_base, body_room);
    fuzz_unguard(ledger_base, ledger_room);
    fuzz_unguard(table_base, room);
    return 0;
}
