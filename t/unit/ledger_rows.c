/* SPDX-License-Identifier: Apache-2.0
 *
 * What processes have in their rows of a ledger (room on disk, what they pace), a
 * ledger of version 1 copied, and blocks that cannot be one.
 */
#include "table.h"
#include "tap.h"
#include "xl_ledger.h"

#define ROWS 4u
#define ENTRIES 2u

static xl_ledger_t fresh(uint32_t rows)
{
    size_t size = xl_ledger_size(rows, ENTRIES);
    xl_ledger_t ledger;

    if (xl_ledger_init(&ledger, guarded(size), size, rows, "boot", 1))
        exit(1);
    return ledger;
}

static void test_spool(void)
{
    xl_ledger_t ledger = fresh(ROWS);
    uint32_t one = xl_ledger_row_claim(&ledger, 100, 1), two = xl_ledger_row_claim(&ledger, 101, 1);

    ok(xl_ledger_spool_take(&ledger, one, 600, 1000) && xl_ledger_spool_take(&ledger, two, 400, 1000),
       "two processes share the room on disk");
    ok(!xl_ledger_spool_take(&ledger, one, 1, 1000), "... and no more than it");
    xl_ledger_spool_release(&ledger, two, 400);
    ok(xl_ledger_spool_take(&ledger, one, 400, 1000), "what one gives back the other may have");
    ok(xl_ledger_spool_take(&ledger, XL_NO_ROW, 1000, 1000) && !xl_ledger_spool_take(&ledger, XL_NO_ROW, 1001, 1000),
       "who has no row has it to himself");
    xl_ledger_spool_release(&ledger, XL_NO_ROW, 5);
    xl_ledger_row_release(&ledger, 100, NULL);
    ok(xl_ledger_spool_take(&ledger, two, 1000, 1000), "what a process had that is gone is free");
}

static void test_paced(void)
{
    xl_ledger_t ledger = fresh(ROWS);
    uint32_t one = xl_ledger_row_claim(&ledger, 100, 1), two = xl_ledger_row_claim(&ledger, 101, 1);
    int i;

    is_u64(xl_ledger_paced_most(&ledger), 0, "nobody paces anything");
    for (i = 0; i < 3; i++)
        xl_ledger_paced_begin(&ledger, two);
    xl_ledger_paced_begin(&ledger, one);
    xl_ledger_paced_begin(&ledger, XL_NO_ROW);
    is_u64(xl_ledger_paced_most(&ledger), 3, "the process that paces most has three");
    xl_ledger_paced_end(&ledger, two);
    xl_ledger_paced_end(&ledger, XL_NO_ROW);
    is_u64(xl_ledger_paced_most(&ledger), 2, "... then two");
    xl_ledger_row_release(&ledger, 101, NULL);
    is_u64(xl_ledger_paced_most(&ledger), 1, "... and those of a process that is gone do not count");
    xl_ledger_paced_end(&ledger, one);
    xl_ledger_paced_end(&ledger, one);
    is_u64(xl_ledger_paced_most(&ledger), 0, "one that ended twice is no large number");
}

/* Where version 1 had its counters, behind an identity that has not changed. */
enum {
    V1_USAGE = 448 + 16,
    V1_REQUESTS = V1_USAGE + 32,
    V1_SENT = V1_REQUESTS + 8,
    V1_VERDICTS = V1_SENT + 8,
    V1_SINCE = V1_VERDICTS + 7 * 8,
    V1_WARNED = V1_SINCE + 16
};

static void put_u64(xl_entry_t *entry, size_t offset, uint64_t value)
{
    memcpy((unsigned char *)entry + offset, &value, sizeof(value));
}

static void test_version_1(void)
{
    xl_ledger_t old = fresh(ROWS), now = fresh(ROWS + 1), small = fresh(ROWS);
    xl_period_t day = {.kind = XL_PERIOD_TIME, .length_ms = 86400000};
    uint32_t index = xl_ledger_attach(&old, XL_ENTRY_QUOTA, "www", "", "month", 7, 0);
    xl_entry_t *entry = xl_ledger_entry(&old, index);
    xl_usage_t usage = {0};
    unsigned i;

    old.version = 1;
    xl_usage_add(&usage, &day, 500, 1700000000000);
    memset((unsigned char *)entry + 448, 0, sizeof(*entry) - 448);
    memcpy((unsigned char *)entry + V1_USAGE, &usage, sizeof(usage));
    put_u64(entry, V1_REQUESTS, 11);
    put_u64(entry, V1_SENT, 12);
    for (i = 0; i < 7; i++)
        put_u64(entry, V1_VERDICTS + 8 * i, 20 + i);
    put_u64(entry, V1_SINCE, 1700000000001);
    put_u64(entry, V1_WARNED, 13);
    is_str(xl_ledger_copy(&now, &old), NULL, "a ledger of version 1 is copied");
    entry = xl_ledger_entry(&now, 0);
    is_str(entry->name, "month", "its labels are");
    is_u64(xl_usage_read(&entry->usage, &day, 1700000000000).used, 500, "what was used is");
    ok(atomic_load(&entry->requests) == 11 && atomic_load(&entry->sent_bytes) == 12 &&
           atomic_load(&entry->warned) == 13 && atomic_load(&entry->refusing_since_ms) == 1700000000001,
       "its counters are");
    for (i = 0; i < XL_VERDICTS; i++)
        is_u64(atomic_load(&entry->verdicts[i]), i < 7 ? 20 + i : 0, "its verdicts are, and new ones are 0");
    ok(!atomic_load(&entry->mark) && !atomic_load(&entry->speed.tat_ns), "what it had not is at rest");
    for (i = 0; i < ENTRIES; i++)
        xl_ledger_attach(&old, XL_ENTRY_QUOTA, "www", "", i ? "a" : "b", 7, 0);
    small.capacity = 1;
    is_str(xl_ledger_copy(&small, &old), "more entries than fit", "one that does not fit is not cut in silence");
}

static void test_no_ledger(void)
{
    unsigned char *block = guarded(xl_ledger_size(1, 1));
    xl_ledger_t ledger = fresh(2);

    is_str(xl_ledger_init(&ledger, block, xl_ledger_size(1, 1), 0, "", 1), "no such number of rows", "no rows");
    is_str(xl_ledger_init(&ledger, block, xl_ledger_size(1, 1), UINT32_MAX, "", 1), "no such number of rows",
           "more rows than an entry can have columns");
    is_str(xl_ledger_init(&ledger, block, xl_ledger_size(1, 1) - 64, 1, "", 1), "not room enough for one entry",
           "a block that is too small");
    ledger = fresh(2);
    ok(xl_ledger_row_claim(&ledger, 1, 1) == 0 && xl_ledger_row_claim(&ledger, 2, 1) == 1,
       "two rows for two processes");
    is_u64(xl_ledger_row_claim(&ledger, 3, 1), XL_NO_ROW, "none for a third");
    xl_ledger_extend(&ledger, ledger.base, ledger.size - 1);
    is_u64(ledger.capacity, ENTRIES - 1, "a mapping with a byte less has an entry less");
    is_u64(xl_ledger_index(&ledger, xl_ledger_entry(&ledger, 0)), 0, "an entry's index is its own");
}

int main(void)
{
    test_spool();
    test_paced();
    test_version_1();
    test_no_ledger();
    return done_testing();
}
