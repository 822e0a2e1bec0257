/* SPDX-License-Identifier: Apache-2.0
 *
 * Values of the configuration, as text: a parser takes all of it or nothing, what
 * it took is within its bounds, and what is printed fits and is read as the same.
 */
#include "fuzz.h"
#include "xl_units.h"

#define UNTOUCHED UINT64_C(0x5A5A5A5A5A5A5A5A)
#define MOST ((uint64_t)INT64_MAX)

static void check_amounts(const char *text)
{
    uint64_t value = UNTOUCHED, again;
    char buf[32];
    unsigned units;

    must(!xl_units_size(text, &value) ? value <= MOST : value == UNTOUCHED);
    if (value != UNTOUCHED) {
        must(!xl_units_size(xl_units_print_bytes(buf, sizeof(buf), value, XL_UNITS_RAW), &again) && again == value);
        for (units = XL_UNITS_SI; units <= XL_UNITS_RAW; units++)
            must(strlen(xl_units_print_bytes(buf, sizeof(buf), value, (xl_units_e)units)) < sizeof(buf) - 1);
    }
    value = UNTOUCHED;
    must(!xl_units_requests(text, &value) ? value <= MOST && text[strlen(text) - 1] == 'r' : value == UNTOUCHED);
    value = UNTOUCHED;
    must(!xl_units_number(text, 1000, &value) ? value && value <= 1000 : value == UNTOUCHED);
    value = UNTOUCHED;
    must(!xl_units_time(text, &value) ? value && value <= MOST / XL_NS_PER_MS : value == UNTOUCHED);
    must(strlen(xl_units_print_ms(buf, sizeof(buf), value)) < sizeof(buf) - 1);
}

static void check_rates(const char *text)
{
    xl_rate_t rate = {UNTOUCHED, UNTOUCHED};
    char buf[32];
    unsigned units;

    if (xl_units_rate(text, &rate)) {
        must(rate.units == UNTOUCHED && rate.per_ns == UNTOUCHED);
    } else {
        must(rate.units && rate.units <= MOST && rate.per_ns && rate.per_ns <= MOST);
        for (units = XL_UNITS_SI; units <= XL_UNITS_RAW; units++)
            must(strlen(xl_units_print_rate(buf, sizeof(buf), rate, (xl_units_e)units)) < sizeof(buf) - 1);
    }
    rate = (xl_rate_t){UNTOUCHED, UNTOUCHED};
    if (xl_units_per_time(text, &rate))
        must(rate.units == UNTOUCHED && rate.per_ns == UNTOUCHED);
    else
        must(rate.units && rate.units <= MOST && rate.per_ns >= XL_NS_PER_MS && rate.per_ns <= MOST);
}

static void check_percents(const char *text)
{
    uint8_t list[9] = {[8] = 0xA5};
    size_t n = 0, i;

    if (xl_units_percents(text, list, 8, &n))
        must(!n);
    for (i = 0; i < n; i++)
        must(list[i] > (i ? list[i - 1] : 0) && list[i] <= 100);
    must(n <= 8 && list[8] == 0xA5);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_t f = {data, data + size};
    char *text = fuzz_line(&f);

    check_amounts(text);
    check_rates(text);
    check_percents(text);
    free(text);
    return 0;
}
