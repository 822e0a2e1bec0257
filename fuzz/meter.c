/* SPDX-License-Identifier: Apache-2.0
 *
 * A meter against exact arithmetic in 128 bits and more: what passes in any time t
 * is never more than R x t + B, nothing wraps, a refusal changes nothing, and who
 * waits as long as he was told is let in.
 */
#include "fuzz.h"
#include "xl_meter.h"

#define STEPS_MOST 64

typedef unsigned __int128 wide_t;

/* a x b > c x d, of products that fit. */
static bool more(wide_t a, wide_t b, wide_t c, wide_t d)
{
    return a * b > c * d;
}

static void check_conversions(fuzz_t *f)
{
    xl_rate_t rate = {fuzz_number(f) | 1, fuzz_number(f) | 1};
    uint64_t n = fuzz_number(f), ns = xl_rate_ns(rate, n), up = xl_rate_ns_up(rate, n), units = xl_rate_units(rate, n);

    /* ns is the largest number with ns x units <= n x per_ns, and so the other way */
    must(!more(ns, rate.units, n, rate.per_ns) &&
         (ns == UINT64_MAX || more((wide_t)ns + 1, rate.units, n, rate.per_ns)));
    must(up == ns + (up > ns) && (up == UINT64_MAX || !more(n, rate.per_ns, up, rate.units)));
    must(!more(units, rate.per_ns, n, rate.units) &&
         (units == UINT64_MAX || more((wide_t)units + 1, rate.per_ns, n, rate.units)));
}

/* A limit of requests: at every step, since any step before, no more than R x t
 * + burst + 1 units have passed; to the two fractions of a nanosecond that are cut. */
static void check_takes(fuzz_t *f)
{
    xl_rate_t rate = {1 + (fuzz_number(f) & 0xFFFFF), 1 + (fuzz_number(f) & 0xFFFFFFFFFF)};
    uint64_t burst = fuzz_number(f) & 0xFFFFF, ahead = xl_rate_ns_up(rate, burst), now = fuzz_number(f) >> 2;
    struct {
        uint64_t at, taken;
    } log[STEPS_MOST];
    xl_meter_t meter = {0};
    uint64_t wait, again;
    int i, j;

    for (i = 0; i < STEPS_MOST && f->at < f->end; i++) {
        uint64_t n = 1 + (fuzz_number(f) & 0xFFFFF), tat = atomic_load(&meter.tat_ns);
        bool fits = xl_meter_fits(&meter, rate, n, ahead, now, &wait),
             taken = xl_meter_take(&meter, rate, n, ahead, now, &again);

        must(fits == taken && wait == again);
        must(atomic_load(&meter.tat_ns) >= tat && (taken || atomic_load(&meter.tat_ns) == tat));
        must(!taken || wait <= ahead);
        if (!taken)
            must(wait && (n > burst + 1 || xl_meter_fits(&meter, rate, n, ahead, now + wait, &again)));
        log[i].at = now;
        log[i].taken = taken ? n : 0;
        for (j = i; j >= 0; j--) {
            wide_t sum = 0;

            for (int k = j; k <= i; k++)
                sum += log[k].taken;
            must(sum <= burst + 1 || !more(sum - burst - 1, rate.per_ns, (wide_t)now - log[j].at + 2, rate.units));
        }
        now += fuzz_number(f) & 0xFFFFFFFFFF;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_t f = {data, data + size};

    check_conversions(&f);
    check_takes(&f);
    return 0;
}
