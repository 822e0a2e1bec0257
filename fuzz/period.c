/* SPDX-License-Identifier: Apache-2.0
 *
 * Periods as text with their options, and what they say of any moment: periods
 * lie end to end, slices release more and more and never more than the amount.
 */
#include "fuzz.h"
#include "xl_calendar.h"

#define WALL_MOST (INT64_C(1) << 54)

static void read_options(fuzz_t *f, xl_period_t *period)
{
    static const char *(*const parse[])(const char *text, xl_period_t *period) = {
        xl_period_parse_day, xl_period_parse_weekday, xl_period_parse_at};

    for (size_t i = 0; i < 3; i++) {
        char *text = fuzz_line(f);
        uint64_t before = xl_period_mark(period);

        if (parse[i](text, period))
            must(before == xl_period_mark(period));
        free(text);
    }
    must(period->day >= 1 && period->day <= 31 && period->weekday < 7 && period->at_s < 86400);
}

static void check_release(fuzz_t *f, int64_t start, int64_t end, int64_t wall)
{
    uint64_t amount = fuzz_number(f) >> 1, slice = fuzz_number(f) >> 1, need = fuzz_number(f);
    uint64_t released = xl_period_released(amount, slice, start, end, wall);
    int64_t then = xl_period_release_time(amount, need, slice, start, end);

    must(released <= amount);
    must(xl_period_released(amount, slice, start, end, wall + 1) >= released);
    must(xl_period_released(amount, slice, start, end, end - 1) == amount);
    must(then >= start && then <= end);
    must(need > amount || xl_period_released(amount, slice, start, end, then) >= need);
    if (then > start && need <= amount)
        must(xl_period_released(amount, slice, start, end, then - 1) < need);
}

static void check_bounds(const xl_period_t *period, int64_t wall, int64_t *start, int64_t *end)
{
    int64_t other_start, other_end;

    xl_period_bounds(period, wall, start, end);
    must(*start <= wall && wall < *end);
    xl_period_bounds(period, *end - 1, &other_start, &other_end);
    must(other_start == *start && other_end == *end);
    xl_period_bounds(period, *end, &other_start, &other_end);
    must(other_start == *end);
    xl_period_bounds(period, *start - 1, &other_start, &other_end);
    must(other_end == *start);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_t f = {data, data + size};
    xl_period_t period = {.day = 1};
    char *text = fuzz_line(&f);

    if (!xl_period_parse(text, &period)) {
        int64_t start = 0, end = (int64_t)period.length_ms, wall;

        read_options(&f, &period);
        must(xl_period_mark(&period));
        wall = (int64_t)(fuzz_number(&f) % (2 * (uint64_t)WALL_MOST)) - WALL_MOST;
        if (period.kind != XL_PERIOD_TIME)
            check_bounds(&period, wall, &start, &end);
        check_release(&f, start, end, wall);
    }
    free(text);
    return 0;
}
