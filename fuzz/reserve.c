/* SPDX-License-Identifier: Apache-2.0
 *
 * Reservations in a meter, of any numbers that 64 bits hold: they queue up and do
 * not wrap, and what is given back leaves the meter as it was or emptier.
 */
#include "fuzz.h"
#include "xl_meter.h"

static void check(fuzz_t *f)
{
    xl_rate_t rate = {fuzz_number(f) | 1, fuzz_number(f) | 1};
    uint64_t n = fuzz_number(f), m = fuzz_number(f), depth = fuzz_number(f), now = fuzz_number(f), cost, last;
    xl_meter_t meter = {.units = fuzz_number(f)};
    uint64_t units = atomic_load(&meter.units), start = xl_meter_reserve(&meter, rate, n, depth, now, &last);
    uint64_t next = xl_meter_reserve(&meter, rate, m, depth, now, &cost);

    must(start == (now > depth ? now - depth : 0) && next >= start);
    must(next == start + last || next == UINT64_MAX);
    must(xl_meter_queue_ns(&meter, 0) >= next);
    xl_meter_release(&meter, rate, m);
    xl_meter_release(&meter, rate, n);
    must(atomic_load(&meter.units) == units && xl_meter_queue_ns(&meter, 0) <= start);
    xl_meter_raise(&meter, now);
    must(atomic_load(&meter.tat_ns) >= now);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_t f = {data, data + size};

    check(&f);
    return 0;
}
