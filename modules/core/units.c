/* SPDX-License-Identifier: Apache-2.0
 *
 * units: sizes, rates, times and counts between text and integers.
 *
 * A decimal is never a floating-point number here: its digits are one integer
 * below 2^63 and a power of ten beside it, multiplied out in 128 bits, so that
 * "1.5GB" and "1bit/s" are exact. A parser stores only what it took whole.
 * Nothing is kept between calls; there is nothing to lock.
 */
#include "xl_units.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define XL_MAX ((uint64_t)INT64_MAX)
#define DECIMALS_MAX 12 /* one byte in "1.000000000001TB" */

#define SIZE_FORM "a size is a number of bytes or has a unit: 1500, 10kB, 1.5GB, 10MiB, 2G, 2Gi"
#define RATE_FORM "a rate has a unit per second: 500kB/s, 1.5MiB/s, 8Mbit/s, 8Mbps"
#define TIME_FORM "a time has a unit: 250ms, 30s, 5min, 2h, 1d, 1w"
#define PER_TIME_FORM "write a count per time: 10/s, 600/min, 5/10s"
#define REQUESTS_FORM "a count of requests is a whole number and an r: 1000r"
#define PERCENTS_FORM "write percentages from 1 to 100 in ascending order: 80,95"

__extension__ typedef unsigned __int128 wide_t;

typedef struct {
    const char *name;
    uint64_t factor;
} unit_t;

static const unit_t size_units[] = {
    {"", 1},
    {"B", 1},
    {"kB", UINT64_C(1000)},
    {"MB", UINT64_C(1000000)},
    {"GB", UINT64_C(1000000000)},
    {"TB", UINT64_C(1000000000000)},
    {"K", UINT64_C(1000)},
    {"M", UINT64_C(1000000)},
    {"G", UINT64_C(1000000000)},
    {"T", UINT64_C(1000000000000)},
    {"KiB", UINT64_C(1) << 10},
    {"MiB", UINT64_C(1) << 20},
    {"GiB", UINT64_C(1) << 30},
    {"TiB", UINT64_C(1) << 40},
    {"Ki", UINT64_C(1) << 10},
    {"Mi", UINT64_C(1) << 20},
    {"Gi", UINT64_C(1) << 30},
    {"Ti", UINT64_C(1) << 40},
    {NULL, 0},
};

static const unit_t bit_units[] = {
    {"bit/s", 1},
    {"kbit/s", UINT64_C(1000)},
    {"Mbit/s", UINT64_C(1000000)},
    {"Gbit/s", UINT64_C(1000000000)},
    {"bps", 1},
    {"kbps", UINT64_C(1000)},
    {"Mbps", UINT64_C(1000000)},
    {"Gbps", UINT64_C(1000000000)},
    {NULL, 0},
};

static const unit_t time_units[] = {
    {"ms", 1},
    {"s", UINT64_C(1000)},
    {"min", UINT64_C(60000)},
    {"h", UINT64_C(3600000)},
    {"d", UINT64_C(86400000)},
    {"w", UINT64_C(604800000)},
    {NULL, 0},
};

/* A decimal number as written: digits / 10^decimals, and what follows it. */
typedef struct {
    uint64_t digits;
    uint64_t scale; /* 10^decimals */
    const char *rest;
} decimal_t;

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool push_digit(uint64_t *value, char c)
{
    uint64_t digit = (uint64_t)(c - '0');

    if (*value > (XL_MAX - digit) / 10)
        return false;
    *value = *value * 10 + digit;
    return true;
}

static const char *parse_whole(const char *text, uint64_t *value, const char **rest)
{
    uint64_t v = 0;

    if (!*text)
        return "the value is empty";
    if (*text == '-')
        return "the value is negative";
    if (!is_digit(*text))
        return "the value does not begin with a digit";
    for (; is_digit(*text); text++)
        if (!push_digit(&v, *text))
            return "the value is too large: at most 2^63-1";
    *value = v;
    *rest = text;
    return NULL;
}

static const char *parse_decimal(const char *text, decimal_t *number)
{
    const char *error = parse_whole(text, &number->digits, &number->rest), *end;
    unsigned decimals = 0;

    number->scale = 1;
    if (error || *number->rest != '.')
        return error;
    text = number->rest + 1;
    if (!is_digit(*text))
        return "a digit must follow the decimal point";
    for (end = text; is_digit(*end); end++)
        ;
    number->rest = end;
    while (end > text && end[-1] == '0')
        end--;
    for (; text < end; text++) {
        if (++decimals > DECIMALS_MAX)
            return "the value has too many decimals: at most 12";
        if (!push_digit(&number->digits, *text))
            return "the value has too many digits: without the point at most 2^63-1";
        number->scale *= 10;
    }
    return NULL;
}

/* The factor of the unit that is exactly these bytes, or 0. */
static uint64_t find_unit(const unit_t *units, const char *name, size_t length)
{
    for (; units->name; units++)
        if (strlen(units->name) == length && !memcmp(units->name, name, length))
            return units->factor;
    return 0;
}

const char *xl_units_size(const char *text, uint64_t *bytes)
{
    decimal_t number;
    const char *error = *text ? parse_decimal(text, &number) : "the value is empty: " SIZE_FORM;
    uint64_t factor;
    wide_t value;

    if (error)
        return error;
    factor = find_unit(size_units, number.rest, strlen(number.rest));
    if (!factor)
        return "unknown unit: " SIZE_FORM;
    value = (wide_t)number.digits * factor / number.scale;
    if (value > XL_MAX)
        return "the size is too large: at most 2^63-1 bytes";
    if (!value && number.digits)
        return "the size is less than one byte: " SIZE_FORM;
    *bytes = (uint64_t)value;
    return NULL;
}

static wide_t greatest_divisor(wide_t a, wide_t b)
{
    while (b) {
        wide_t rest = a % b;

        a = b;
        b = rest;
    }
    return a;
}

/* num / den bytes per second, in lowest terms. */
static const char *store_rate(wide_t num, wide_t den, xl_rate_t *rate)
{
    wide_t divisor = greatest_divisor(num, den);

    if (!num)
        return "the rate is zero: write mode=off to switch a limit off";
    if (num / den > XL_MAX)
        return "the rate is too large: at most 2^63-1 bytes per second";
    num /= divisor;
    den = den / divisor * XL_NS_PER_S;
    if (num > XL_MAX || den > XL_MAX)
        return "the rate has too many digits to be kept exactly";
    rate->units = (uint64_t)num;
    rate->per_ns = (uint64_t)den;
    return NULL;
}

const char *xl_units_rate(const char *text, xl_rate_t *rate)
{
    decimal_t number;
    const char *error = *text ? parse_decimal(text, &number) : "the value is empty: " RATE_FORM;
    uint64_t factor;
    size_t length;

    if (error)
        return error;
    length = strlen(number.rest);
    if (!length)
        return "the rate has no unit: " RATE_FORM;
    factor = find_unit(bit_units, number.rest, length);
    if (factor)
        return store_rate((wide_t)number.digits * factor, (wide_t)number.scale * 8, rate);
    if (length >= 2 && !strcmp(number.rest + length - 2, "/s"))
        factor = find_unit(size_units, number.rest, length - 2);
    if (!factor)
        return "unknown unit: " RATE_FORM;
    return store_rate((wide_t)number.digits * factor, number.scale, rate);
}

static const char *scale_time(uint64_t digits, uint64_t scale, const char *unit, uint64_t *ms)
{
    uint64_t factor = find_unit(time_units, unit, strlen(unit));
    wide_t value;

    if (!factor)
        return *unit ? "unknown unit: " TIME_FORM : "the time has no unit: " TIME_FORM;
    value = (wide_t)digits * factor / scale;
    if (value > XL_MAX / XL_NS_PER_MS)
        return "the time is too long: at most 292 years";
    if (!value)
        return "the time is too short: at least 1ms";
    *ms = (uint64_t)value;
    return NULL;
}

const char *xl_units_time(const char *text, uint64_t *ms)
{
    decimal_t number;
    const char *error = *text ? parse_decimal(text, &number) : "the value is empty: " TIME_FORM;

    return error ? error : scale_time(number.digits, number.scale, number.rest, ms);
}

const char *xl_units_per_time(const char *text, xl_rate_t *rate)
{
    uint64_t count, ms;
    const char *rest, *error = *text ? parse_whole(text, &count, &rest) : "the value is empty: " PER_TIME_FORM;

    if (error)
        return error;
    if (*rest != '/')
        return "the value is not a whole number per time: " PER_TIME_FORM;
    if (!count)
        return "the rate is zero: write mode=off to switch a limit off";
    rest++;
    error = is_digit(*rest) ? xl_units_time(rest, &ms) : scale_time(1, 1, rest, &ms);
    if (error)
        return error;
    rate->units = count;
    rate->per_ns = ms * XL_NS_PER_MS;
    return NULL;
}

const char *xl_units_requests(const char *text, uint64_t *count)
{
    uint64_t value;
    const char *rest, *error = *text ? parse_whole(text, &value, &rest) : "the value is empty: " REQUESTS_FORM;

    if (error)
        return error;
    if (strcmp(rest, "r") != 0)
        return REQUESTS_FORM;
    *count = value;
    return NULL;
}

const char *xl_units_number(const char *text, uint64_t max, uint64_t *number)
{
    uint64_t value;
    const char *rest, *error = parse_whole(text, &value, &rest);

    if (error)
        return error;
    if (*rest)
        return "the value is not a whole number without a unit";
    if (!value)
        return "the value is zero: at least 1";
    if (value > max)
        return "the value is too large";
    *number = value;
    return NULL;
}

const char *xl_units_percents(const char *text, uint8_t *list, size_t max, size_t *n)
{
    uint8_t found[100];
    size_t count = 0;
    uint64_t value, before = 0;

    for (;; text++) {
        if (parse_whole(text, &value, &text) || value <= before || value > 100 || (*text && *text != ','))
            return PERCENTS_FORM;
        found[count++] = (uint8_t)value;
        before = value;
        if (!*text)
            break;
    }
    if (count > max)
        return "there are too many percentages in the list";
    memcpy(list, found, count);
    *n = count;
    return NULL;
}

/* Thousandths, without the zeros at the end: "0.25", "3". */
static void print_milli(char *buf, size_t size, wide_t milli, const char *suffix)
{
    uint64_t whole = (uint64_t)(milli / 1000);
    unsigned rest = (unsigned)(milli % 1000);
    int digits = 3;

    if (!rest) {
        snprintf(buf, size, "%" PRIu64 "%s", whole, suffix);
        return;
    }
    for (; rest % 10 == 0; rest /= 10)
        digits--;
    snprintf(buf, size, "%" PRIu64 ".%0*u%s", whole, digits, rest, suffix);
}

static wide_t divide_rounded(wide_t a, wide_t b)
{
    return (a + b / 2) / b;
}

/* Three digits that matter: "1.50 GB", "15.0 GB", "150 GB". What would round
 * up to a whole next unit is written in that one. */
static void print_scaled(char *buf, size_t size, wide_t milli, bool iec, const char *suffix)
{
    const char *prefix = iec ? "KMGTPE" : "kMGTPE", *infix = iec ? "i" : "";
    const unsigned base = iec ? 1024 : 1000;
    wide_t unit = (wide_t)base * 1000;
    unsigned scale = 100, value;
    int decimals = 2;

    for (; prefix[1] && divide_rounded(milli, unit) >= base; prefix++)
        unit *= base;
    for (; scale > 1 && divide_rounded(milli * scale, unit) >= 1000; scale /= 10)
        decimals--;
    value = (unsigned)divide_rounded(milli * scale, unit);
    if (decimals)
        snprintf(buf, size, "%u.%0*u %c%sB%s", value / scale, decimals, value % scale, *prefix, infix, suffix);
    else
        snprintf(buf, size, "%u %c%sB%s", value, *prefix, infix, suffix);
}

static const char *print(char *buf, size_t size, wide_t milli, xl_units_e units, bool per_second)
{
    if (units == XL_UNITS_RAW)
        print_milli(buf, size, milli, "");
    else if (milli < (units == XL_UNITS_IEC ? 1024000 : 1000000))
        print_milli(buf, size, milli, per_second ? " B/s" : " B");
    else
        print_scaled(buf, size, milli, units == XL_UNITS_IEC, per_second ? "/s" : "");
    return buf;
}

const char *xl_units_print_bytes(char *buf, size_t size, uint64_t bytes, xl_units_e units)
{
    return print(buf, size, (wide_t)bytes * 1000, units, false);
}

const char *xl_units_print_rate(char *buf, size_t size, xl_rate_t rate, xl_units_e units)
{
    /* A rate of nothing per nothing is no limit at all; print it as 0. */
    wide_t milli = rate.per_ns ? divide_rounded((wide_t)rate.units * (XL_NS_PER_S * 1000), rate.per_ns) : 0;

    if (!milli && rate.units)
        milli = 1; /* never "0": somebody is being served */
    if (milli > (wide_t)UINT64_MAX * 1000)
        milli = (wide_t)UINT64_MAX * 1000;
    return print(buf, size, milli, units, true);
}

const char *xl_units_print_ms(char *buf, size_t size, uint64_t ms)
{
    uint64_t s = ms / 1000, days = s / 86400;
    unsigned hour = (unsigned)(s / 3600 % 24), minute = (unsigned)(s / 60 % 60), second = (unsigned)(s % 60);

    if (!s)
        snprintf(buf, size, "%" PRIu64 "ms", ms);
    else if (!days)
        snprintf(buf, size, "%02u:%02u:%02u", hour, minute, second);
    else
        snprintf(buf, size, "%" PRIu64 "d %02u:%02u:%02u", days, hour, minute, second);
    return buf;
}
