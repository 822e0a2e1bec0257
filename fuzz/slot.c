/* SPDX-License-Identifier: Apache-2.0
 *
 * Slots of paced responses on levels of any rate: a slot is of 1 to `want` bytes
 * and never before its moment, a level's line is never overtaken by more than
 * burst and catch-up, and what is given back can be had again.
 */
#include "fuzz.h"
#include "xl_slot.h"

#define LEVELS 3u
#define STEPS_MOST 64

static void check_sizes(fuzz_t *f)
{
    uint64_t age = fuzz_number(f), ns = xl_slot_chunk_ns(age, (uint32_t)fuzz_number(f));

    must(ns >= XL_SLOT_CHUNK_NS && ns <= XL_SLOT_CHUNK_MOST_NS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_t f = {data, data + size};
    xl_meter_t meters[LEVELS] = {0};
    xl_level_t levels[LEVELS];
    size_t n = 1 + fuzz_byte(&f) % LEVELS, i;
    uint64_t now = XL_NS_PER_S, last_due = 0;

    for (i = 0; i < n; i++) {
        levels[i] = (xl_level_t){.meter = &meters[i], .rate = {1 + (fuzz_number(&f) >> 1), 1 + (fuzz_number(&f) >> 1)}};
        levels[i].burst_bytes = fuzz_number(&f) >> 1;
        levels[i].sharers = 1 + (uint32_t)fuzz_below(&f, 1000000);
        levels[i].shared = fuzz_byte(&f) & 1;
    }
    check_sizes(&f);
    for (int step = 0; step < STEPS_MOST && f.at < f.end; step++) {
        unsigned how = fuzz_byte(&f);
        xl_slot_ask_t ask = {.want = 1 + (fuzz_number(&f) >> 1),
                             .age_ns = fuzz_number(&f),
                             .first = how & 1,
                             .last = how & 2,
                             .sessions = (uint32_t)fuzz_number(&f),
                             .last_due_ns = how & 4 ? 0 : last_due};
        uint64_t units[LEVELS];
        xl_slot_t slot;

        ask.cap = how & 8 ? fuzz_number(&f) : 0;
        for (i = 0; i < n; i++)
            units[i] = atomic_load(&meters[i].units);
        must(xl_slot_chunk_bytes(levels, n, &ask) >= 1 && xl_slot_chunk_bytes(levels, n, &ask) <= ask.want);
        slot = xl_slot_reserve(levels, n, &ask, now);
        must(slot.bytes >= 1 && slot.bytes <= ask.want && (!ask.cap || slot.bytes <= ask.cap));
        must(slot.at_ns >= now && (slot.at_ns >= slot.due_ns || slot.due_ns - slot.at_ns <= XL_SLOT_NOW_NS));
        for (i = 0; i < n; i++)
            must(atomic_load(&meters[i].units) == units[i] + slot.bytes);
        if (how & 16) {
            xl_slot_release(levels, n, slot.bytes);
            for (i = 0; i < n; i++)
                must(atomic_load(&meters[i].units) == units[i]);
        }
        last_due = slot.due_ns;
        now += fuzz_number(&f) & 0xFFFFFFFFFF;
        if (how & 32)
            xl_slot_wake(&levels[how % n], now);
    }
    return 0;
}
