/* SPDX-License-Identifier: Apache-2.0
 *
 * validate: children can write to the ledger and to the table of keys, and root
 * reads them. Each byte of a small one is spoilt in several ways, under a
 * process that has it open and before one opens it; then everything that reads
 * it runs, between pages that nobody may touch and under a timer. What opens is
 * sound: kinds, labels, indexes.
 */
#include "table.h"
#include "tap.h"
#include "xl_image.h"

#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

enum { ROWS = 3, CAPACITY = 3, CELLS = 128, PINS = 8, SECONDS_MOST = 5 };

#define COUNT(table) (sizeof(table) / sizeof(*(table)))

static const unsigned char masks[] = { 0x01, 0x80, 0xFF, 0x55 };

/* What was being done when the program was stopped. */
static const char *doing = "";
static size_t doing_at;

static void too_long(int number)
{
    char line[128];
    int length = snprintf(line, sizeof(line), "# %s, byte %zu: signal %d\nnot ok - it ends\n", doing, doing_at, number);

    if (write(STDOUT_FILENO, line, (size_t)length) < 0)
        _exit(2);
    _exit(1);
}

/* One spoilt byte has so long for everything that reads it. */
static void start_timer(const char *what, size_t at)
{
    const struct itimerval seconds = { .it_value = { .tv_sec = SECONDS_MOST } };

    doing = what;
    doing_at = at;
    setitimer(ITIMER_REAL, &seconds, NULL);
}

/* ---- the ledger ---- */

static bool settled(uint32_t row)
{
    return row < ROWS;
}

static bool nobody(uint32_t pid)
{
    return !pid;
}

static bool everybody(uint32_t pid)
{
    return pid != 0;
}

static uint32_t attach(xl_ledger_t *ledger, const char *name)
{
    return xl_ledger_attach(ledger, XL_ENTRY_QUOTA, "www.example.org:80", "/place", name, 7, 3);
}

static xl_ledger_t make_ledger(void)
{
    size_t size = xl_ledger_size(ROWS, CAPACITY);
    xl_period_t day = { .kind = XL_PERIOD_TIME, .length_ms = 86400000 };
    xl_ledger_t ledger;
    xl_entry_t *entry;

    if (xl_ledger_init(&ledger, guarded(size), size, ROWS, "boot-1", 1000))
        exit(1);
    attach(&ledger, "a");
    entry = xl_ledger_entry(&ledger, attach(&ledger, "b"));
    xl_entry_enter(&ledger, entry, xl_ledger_row_claim(&ledger, 4711, 7));
    xl_ledger_row_claim(&ledger, 4712, 6);
    xl_usage_add(&entry->usage, &day, 1000, 5000);
    xl_usage_add(&entry->usage, &day, 10, 5000 + 86400000);
    atomic_store(&entry->sent_bytes, 1010);
    return ledger;
}

static void use_entry(const xl_ledger_t *ledger, xl_entry_t *entry)
{
    static xl_period_t t[] = { { .kind = XL_PERIOD_TIME, .length_ms = 1000 }, { .kind = XL_PERIOD_MONTH } };
    uint64_t cost;

    for (size_t i = 0; i < COUNT(t); i++) {
        xl_usage_read(&entry->usage, &t[i], 90000000);
        xl_usage_take_back(&entry->usage, 1, xl_usage_add(&entry->usage, &t[i], 1, 90000000));
    }
    xl_usage_merge(&entry->usage, &xl_ledger_entry(ledger, 0)->usage);
    xl_meter_release(&entry->meter, (xl_rate_t){ 1000, XL_NS_PER_S }, 5);
    xl_meter_reserve(&entry->meter, (xl_rate_t){ 1000, XL_NS_PER_S }, 5, 0, 1, &cost);
    xl_meter_queue_ns(&entry->meter, 1);
    xl_entry_active(ledger, entry);
}

/* Everything that a parent or a child does with a ledger that it has open. */
static void use_ledger(xl_ledger_t *ledger, xl_ledger_t *other)
{
    static _Alignas(64) unsigned char body[CAPACITY * sizeof(xl_entry_t)];
    static const char *const names[] = { "a", "b", "c", "d" };
    char boot_id[XL_BOOT_ID_BYTES];
    uint32_t row, i;

    for (i = 0; i < COUNT(names); i++) {
        uint32_t index = attach(ledger, names[i]);

        if (index != XL_NO_ENTRY && index >= CAPACITY)
            exit(1);
        if (index != XL_NO_ENTRY)
            use_entry(ledger, xl_ledger_entry(ledger, index));
    }
    xl_ledger_newest(ledger);
    xl_ledger_oldest(ledger);
    xl_ledger_paced_most(ledger);
    row = xl_ledger_row_claim(ledger, 4713, 7);
    xl_ledger_spool_release(ledger, row, xl_ledger_spool_take(ledger, row, 10, 100) ? 10 : 0);
    xl_ledger_row_release(ledger, 4711, settled);
    xl_ledger_sweep(ledger, everybody, settled);
    xl_ledger_copy(other, ledger);
    xl_image_body(ledger, body, sizeof(body));
    xl_ledger_boot(ledger, boot_id);
    xl_ledger_rebase(ledger, "boot-2");
    xl_ledger_sweep(ledger, nobody, NULL);
}

static void empty(xl_ledger_t *ledger)
{
    void *base = ledger->base;
    size_t size = ledger->size;

    memset(base, 0, size);
    if (xl_ledger_init(ledger, base, size, ROWS, "boot-1", 1000))
        exit(1);
}

/* What an opened ledger promises to who reads labels and kinds. */
static bool is_sound(const xl_ledger_t *ledger)
{
    bool sound = ledger->rows == ROWS && ledger->capacity == CAPACITY;

    for (uint32_t i = 0; i < ledger->capacity; i++) {
        const xl_entry_t *entry = xl_ledger_entry(ledger, i);

        if (atomic_load(&entry->kind) == XL_ENTRY_FREE)
            continue;
        sound = sound && atomic_load(&entry->kind) <= XL_ENTRY_UPLOAD && memchr(entry->vhost, '\0', XL_LABEL_MAX)
                && memchr(entry->place, '\0', XL_LABEL_MAX) && memchr(entry->name, '\0', XL_LABEL_MAX);
    }
    return sound;
}

static void test_ledger(void)
{
    xl_ledger_t ledger = make_ledger(), other = make_ledger(), opened;
    size_t size = ledger.size, at, i, offset, refused = 0;
    unsigned unsound = 0, outside = 0;
    unsigned char *kept = malloc(size);
    bool newer;

    if (!kept)
        exit(1);
    memcpy(kept, ledger.base, size);
    for (at = 0; at < size; at++)
        for (i = 0; i < COUNT(masks); i++) {
            xl_ledger_t own = ledger; /* a process that has it open keeps its sizes */

            start_timer("a ledger in use", at);
            memcpy(ledger.base, kept, size);
            ledger.base[at] ^= masks[i];
            empty(&other);
            use_ledger(&own, &other);

            start_timer("a ledger that is opened", at);
            memcpy(ledger.base, kept, size);
            ledger.base[at] ^= masks[i];
            if (xl_ledger_open(&opened, ledger.base, size, &offset, &newer)) {
                refused++;
                outside += offset > size;
                continue;
            }
            unsound += !is_sound(&opened);
            empty(&other);
            use_ledger(&opened, &other);
        }
    is_u64(at, size, "every byte of a ledger was spoilt");
    is_u64(unsound, 0, "what opens is sound");
    is_u64(outside, 0, "what does not says where within the file");
    ok(refused > XL_LEDGER_FIXED_BYTES * COUNT(masks), "%zu of them are not opened", refused);
    free(kept);
}

/* A child that writes all over it, not one byte. */
static void test_scribble(void)
{
    xl_ledger_t ledger = make_ledger(), other = make_ledger(), opened;
    uint64_t seed = 1;
    unsigned round, unsound = 0;
    size_t at, offset;
    bool newer;

    for (round = 0; round < 2000; round++) {
        xl_ledger_t own = ledger;

        start_timer("a ledger full of noise", round);
        for (at = 0; at + 8 <= ledger.size; at += 8) {
            uint64_t word = round % 4 == 0 ? UINT64_MAX : mix(seed++);

            memcpy(ledger.base + at, &word, 8);
        }
        empty(&other);
        use_ledger(&own, &other);
        unsound += !xl_ledger_open(&opened, ledger.base, ledger.size, &offset, &newer);
    }
    is_u64(unsound, 0, "noise is never opened");
}

/* A generation that nobody can have reached does not make the next one 0. */
static void test_generations(void)
{
    static const struct {
        uint64_t written, newest;
    } t[] = { { 9, 9 }, { XL_GENERATION_MOST, XL_GENERATION_MOST }, { XL_GENERATION_MOST + 1, 7 }, { UINT64_MAX, 7 } };

    for (size_t i = 0; i < COUNT(t); i++) {
        xl_ledger_t ledger = make_ledger();

        atomic_store(&xl_ledger_entry(&ledger, 0)->generation, t[i].written);
        is_u64(xl_ledger_newest(&ledger), t[i].newest, "the newest generation is one that can be");
    }
}

/* ---- the table of keys ---- */

static void use_table(xl_table_t *table)
{
    char label[XL_TABLE_LABEL_BYTES + 1];
    xl_table_totals_t totals;
    xl_pin_t pins[6];
    uint32_t i;

    for (i = 0; i < COUNT(pins); i++) {
        fingerprint_t k = key(i % 2 ? 0 : 5, i);

        pins[i] = pin_named(table, i % ROWS, k, "192.0.2.1", 1000000);
        if (pins[i].cell != XL_NO_CELL && !xl_table_cell(table, pins[i].cell))
            exit(1);
        xl_table_text(table, pins[i].cell, label);
    }
    xl_table_totals(table, &totals);
    for (i = 0; i < COUNT(pins); i++)
        xl_table_unpin(table, i % ROWS, pins[i]);
    for (i = 0; i <= ROWS; i++)
        xl_table_settle(table, i);
    for (i = 0; i <= CELLS; i++)
        xl_table_text(table, i, label);
}

static void test_table(void)
{
    lock_log_t log = { 0 };
    xl_table_lock_t lock = { log_lock, log_unlock, &log };
    xl_table_t table = make_table(CELLS, ROWS, PINS, &lock);
    size_t size = xl_table_size(CELLS, ROWS, PINS), at, i;
    unsigned char *kept = malloc(size);

    if (!kept)
        exit(1);
    for (i = 0; i < 4; i++) {
        fingerprint_t k = key(i % 2 ? 0 : 5, (uint32_t)i);

        pin_named(&table, (uint32_t)i % ROWS, k, "192.0.2.1", 1000);
    }
    atomic_store(&table.stripe[0].dirty, UINT64_C(1) << 32 | 3); /* a process died while it put one in */
    memcpy(kept, table.base, size);
    for (at = 0; at < size; at++)
        for (i = 0; i < COUNT(masks); i++) {
            start_timer("a table in use", at);
            memcpy(table.base, kept, size);
            table.base[at] ^= masks[i];
            use_table(&table);
        }
    is_u64(at, size, "every byte of a table was spoilt, and all that reads it ended");
    is_u64(log.held, 0, "no lock was kept");
    for (at = 0; at < 500; at++) {
        start_timer("a table full of noise", at);
        for (i = 0; i + 8 <= size; i += 8) {
            uint64_t word = mix(at * size + i);

            memcpy(table.base + i, &word, 8);
        }
        use_table(&table);
    }
    is_u64(log.held, 0, "noise does not keep one either");
    free(kept);
}

int main(void)
{
    signal(SIGALRM, too_long);
    signal(SIGSEGV, too_long);
    signal(SIGBUS, too_long);
    test_ledger();
    test_scribble();
    test_generations();
    test_table();
    return done_testing();
}
