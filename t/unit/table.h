/* SPDX-License-Identifier: Apache-2.0
 *
 * table: what the tests of xl_table share: tables in blocks between two pages
 * that nobody may touch, keys whose stripe and tag are chosen, a lock that
 * counts and may refuse, and an audit of everything that must hold in a table
 * on which nobody works and whose stripes are repaired.
 */
#ifndef TABLE_H
#define TABLE_H

#include "xl_pin.h"

#include "mix.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define GUARD 4096u

typedef struct {
    uint64_t id[2];
} fingerprint_t;

typedef struct {
    unsigned locks, held;
    bool refuses;
} lock_log_t;

typedef struct {
    unsigned duplicates, tags, pins, dirty; /* what is wrong; all 0 in a sound table */
    uint64_t bytes, requests;               /* of all cells and of what was evicted */
    uint32_t used, pinned;
} audit_t;

static inline bool log_lock(void *context, unsigned stripe)
{
    lock_log_t *log = context;

    (void)stripe;
    log->locks++;
    if (log->refuses)
        return false;
    log->held++;
    return true;
}

static inline void log_unlock(void *context, unsigned stripe)
{
    lock_log_t *log = context;

    (void)stripe;
    log->held--;
}

static inline void *guarded(size_t size)
{
    size_t whole = (size + GUARD - 1) / GUARD * GUARD;
    unsigned char *base = mmap(NULL, whole + 2 * GUARD, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (base == MAP_FAILED || mprotect(base + GUARD, whole, PROT_READ | PROT_WRITE))
        exit(1);
    return base + GUARD + (whole - size); /* ends at the second of them; sizes are whole lines */
}

static inline void discard(const xl_table_t *table, uint32_t cells)
{
    size_t size = xl_table_size(cells, table->rows, table->pins), whole = (size + GUARD - 1) / GUARD * GUARD;

    munmap(table->base - (whole - size) - GUARD, whole + 2 * GUARD);
}

static inline xl_table_t make_table(uint32_t cells, uint32_t rows, uint32_t pins, const xl_table_lock_t *lock)
{
    size_t size = xl_table_size(cells, rows, pins);
    xl_table_t table;

    if (!size || xl_table_init(&table, guarded(size), size, cells, rows, pins, lock))
        exit(1);
    return table;
}

/* Key n of a stripe, the top four bits of an id; its tag, the bottom half. */
static inline fingerprint_t tagged_key(unsigned stripe, uint32_t n, uint32_t tag)
{
    return (fingerprint_t){ { (uint64_t)stripe << 60 | mix(n) >> 4, mix(n) << 32 | tag } };
}

static inline fingerprint_t key(unsigned stripe, uint32_t n)
{
    return tagged_key(stripe, n, n + 1);
}

/* As the table wants to be asked for it. */
static inline xl_table_key_t named(fingerprint_t of, const char *text)
{
    return (xl_table_key_t){ .id = { of.id[0], of.id[1] }, .owner = 7, .text = text };
}

static inline xl_pin_t pin_named(xl_table_t *table, uint32_t row, fingerprint_t of, const char *text, uint64_t now_ms)
{
    xl_table_key_t wanted = named(of, text);

    return xl_table_pin(table, row, &wanted, now_ms);
}

static inline int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(fingerprint_t));
}

static inline void audit_cells(const xl_table_t *table, audit_t *audit)
{
    uint32_t i, n = 0, cells = table->sets * XL_TABLE_WAYS;
    fingerprint_t *ids = calloc(cells, sizeof(*ids));

    if (!ids)
        exit(1);
    for (i = 0; i < cells; i++) {
        xl_cell_t *cell = xl_table_cell(table, i);
        bool live = atomic_load(&cell->control) & XL_CONTROL_LIVE;

        audit->bytes += atomic_load(&cell->bytes);
        audit->requests += atomic_load(&cell->requests);
        audit->tags += live != (atomic_load(&table->set[i / XL_TABLE_WAYS].tag[i % XL_TABLE_WAYS]) != 0);
        if (live)
            memcpy(&ids[n++], cell->id, sizeof(*ids));
    }
    qsort(ids, n, sizeof(*ids), compare_ids);
    for (i = 1; i < n; i++)
        audit->duplicates += !compare_ids(&ids[i - 1], &ids[i]);
    audit->used = n;
    free(ids);
}

/* Every entry is free or held, and a cell has the pins of those that hold it. */
static inline void audit_pins(const xl_table_t *table, audit_t *audit)
{
    uint32_t i, row, cells = table->sets * XL_TABLE_WAYS;
    uint32_t *held = calloc(cells, sizeof(*held));

    if (!held)
        exit(1);
    for (row = 0; row < table->rows; row++)
        for (i = 0; i < table->pins; i++) {
            uint64_t word = atomic_load(&table->entry[(size_t)row * table->pins + i]);

            if (word >> 32 == XL_PIN_HELD && (uint32_t)word < cells)
                held[(uint32_t)word]++;
            else
                audit->pins += word != 0;
        }
    for (i = 0; i < cells; i++) {
        audit->pins += xl_cell_pins(&table->cell[i]) != held[i];
        audit->pinned += held[i] != 0;
    }
    free(held);
}

static inline audit_t audit_table(const xl_table_t *table)
{
    audit_t audit = { 0 };
    xl_table_totals_t totals;
    unsigned i;

    xl_table_totals(table, &totals);
    audit_cells(table, &audit);
    audit_pins(table, &audit);
    for (i = 0; i < XL_TABLE_STRIPES; i++)
        audit.dirty += atomic_load(&table->stripe[i].dirty) != 0;
    audit.bytes += totals.evicted_bytes;
    audit.requests += totals.evicted_requests;
    return audit;
}

static inline unsigned faults_of(const audit_t *audit)
{
    return audit->duplicates + audit->tags + audit->pins + audit->dirty;
}

static inline void print_faults(const audit_t *audit)
{
    if (faults_of(audit))
        printf("# %u keys stand twice, %u tags and %u pins are wrong, %u stripes are dirty\n", audit->duplicates,
               audit->tags, audit->pins, audit->dirty);
}

#endif
