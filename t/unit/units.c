/* SPDX-License-Identifier: Apache-2.0
 *
 * units: every unit of the configuration language, taken and refused, and
 * amounts as people read them.
 */
#include "tap.h"
#include "xl_units.h"

#define MAX63 UINT64_C(9223372036854775807)
#define UNTOUCHED UINT64_C(0xdeadbeef)
#define COUNT(table) (sizeof(table) / sizeof(*(table)))

typedef struct {
    const char *text;
    uint64_t want;
} value_t;

typedef struct {
    const char *text;
    uint64_t units, per_ns;
} rate_case_t;

typedef struct {
    const char *text;
    const char *error; /* words that the sentence must hold */
} refusal_t;

typedef const char *(*parse_u64_t)(const char *text, uint64_t *value);
typedef const char *(*parse_rate_t)(const char *text, xl_rate_t *rate);

static const value_t sizes[] = {
    {"0", 0},
    {"1500", 1500},
    {"500B", 500},
    {"10kB", 10000},
    {"10MB", 10000000},
    {"10GB", UINT64_C(10000000000)},
    {"10TB", UINT64_C(10000000000000)},
    {"10KiB", 10240},
    {"10MiB", 10485760},
    {"10GiB", UINT64_C(10737418240)},
    {"10TiB", UINT64_C(10995116277760)},
    {"10K", 10000},
    {"10M", 10000000},
    {"10G", UINT64_C(10000000000)},
    {"3T", UINT64_C(3000000000000)},
    {"10Ki", 10240},
    {"10Mi", 10485760},
    {"2Gi", UINT64_C(2147483648)},
    {"1Ti", UINT64_C(1099511627776)},
    {"1.5GB", UINT64_C(1500000000)},
    {"1.5G", UINT64_C(1500000000)},
    {"0.5K", 500},
    {"1.500000000000000000000000GB", UINT64_C(1500000000)},
    {"1.3GiB", UINT64_C(1395864371)}, /* ...371.2 */
    {"1.9999", 1},
    {"0.000000000001TB", 1},
    {"9223372036854775807", MAX63},
    {"9223372036854775.807kB", MAX63},
    {"9223372036.854775807GB", MAX63},
    {"8388607TiB", UINT64_C(9223370937343148032)},
    {"007kB", 7000},
};

static const refusal_t no_sizes[] = {
    {"", "empty"},
    {"-1", "negative"},
    {"-1.5GB", "negative"},
    {"9223372036854775808", "too large"},
    {"18446744073709551616", "too large"},
    {"18446744073709551617", "too large"},
    {"99999999999999999999999999999999999999999999", "too large"},
    {"9223372036854775.808kB", "too many digits"},
    {"9223373TB", "too large"},
    {"8388608TiB", "too large"},
    {"9223372036854775807kB", "too large"},
    {"0.5", "less than one byte"},
    {"0.0001kB", "less than one byte"},
    {"1.0000000000001TB", "too many decimals"},
    {"abc", "begin with a digit"},
    {"GB", "begin with a digit"},
    {".5GB", "begin with a digit"},
    {"+5", "begin with a digit"},
    {" 5", "begin with a digit"},
    {"5.GB", "digit must follow"},
    {"5.", "digit must follow"},
    {"1,5GB", "unknown unit"},
    {"1.5.5GB", "unknown unit"},
    {"10XB", "unknown unit"},
    {"10kb", "unknown unit"},
    {"10mb", "unknown unit"},
    {"10KB", "unknown unit"},
    {"10PB", "unknown unit"},
    {"10GBx", "unknown unit"},
    {"10 GB", "unknown unit"},
    {"10GB ", "unknown unit"},
    {"10GB/s", "unknown unit"},
    {"1e3", "unknown unit"},
    {"0x10", "unknown unit"},
    {"5r", "unknown unit"},
};

#define S UINT64_C(1000000000)

static const rate_case_t rates[] = {
    {"1B/s", 1, S},
    {"1500/s", 1500, S},
    {"500kB/s", 500000, S},
    {"1.5MB/s", 1500000, S},
    {"2GB/s", UINT64_C(2000000000), S},
    {"1TB/s", UINT64_C(1000000000000), S},
    {"16KiB/s", 16384, S},
    {"1MiB/s", 1048576, S},
    {"1GiB/s", UINT64_C(1073741824), S},
    {"1TiB/s", UINT64_C(1099511627776), S},
    {"5K/s", 5000, S},
    {"5M/s", 5000000, S},
    {"5G/s", UINT64_C(5000000000), S},
    {"5T/s", UINT64_C(5000000000000), S},
    {"5Ki/s", 5120, S},
    {"5Mi/s", 5242880, S},
    {"5Gi/s", UINT64_C(5368709120), S},
    {"5Ti/s", UINT64_C(5497558138880), S},
    {"8kbit/s", 1000, S},
    {"200kbit/s", 25000, S},
    {"8Mbit/s", 1000000, S},
    {"1.5Gbit/s", UINT64_C(187500000), S},
    {"8kbps", 1000, S},
    {"8Mbps", 1000000, S},
    {"10Gbps", UINT64_C(1250000000), S},
    {"8bit/s", 1, S},
    {"1bit/s", 1, 8 * S},
    {"1bps", 1, 8 * S},
    {"3bit/s", 3, 8 * S},
    {"12bit/s", 3, 2 * S},
    {"0.5B/s", 1, 2 * S},
    {"1.001bit/s", 1001, 8000 * S},
    {"1.3GiB/s", UINT64_C(6979321856), 5 * S},
    {"9223372036854775807/s", MAX63, S},
};

static const refusal_t no_rates[] = {
    {"", "empty"},
    {"500000", "no unit"},
    {"1.5", "no unit"},
    {"-1kB/s", "negative"},
    {"0kB/s", "zero"},
    {"0/s", "zero"},
    {"0bit/s", "zero"},
    {"0.000Mbps", "zero"},
    {"9223372036854775808/s", "too large"},
    {"9223372036854775807kB/s", "too large"},
    {"9223372036854775807Gbit/s", "too large"},
    {"0.000000000001bit/s", "too many digits"},
    {"5M", "unknown unit"},
    {"10kB", "unknown unit"},
    {"10kB/", "unknown unit"},
    {"10kB/min", "unknown unit"},
    {"10kB/s/s", "unknown unit"},
    {"10KBps", "unknown unit"},
    {"10Mb/s", "unknown unit"},
    {"10Tbit/s", "unknown unit"},
    {"10Kbit/s", "unknown unit"},
    {"10kB /s", "unknown unit"},
    {"unlimited", "begin with a digit"},
    {"abc", "begin with a digit"},
};

static const value_t times[] = {
    {"1ms", 1},
    {"250ms", 250},
    {"30s", 30000},
    {"5min", 300000},
    {"2h", 7200000},
    {"1d", 86400000},
    {"1w", 604800000},
    {"30d", UINT64_C(2592000000)},
    {"0.5s", 500},
    {"1.5h", 5400000},
    {"1.5ms", 1},
    {"9223372036854ms", UINT64_C(9223372036854)},
};

static const refusal_t no_times[] = {
    {"", "empty"},          {"30", "no unit"},       {"1.5", "no unit"},         {"-5s", "negative"},
    {"0s", "too short"},    {"0.1ms", "too short"},  {"9223372036855ms", "too long"},
    {"293000w", "too long"}, {"9223372036854775807w", "too long"}, {"9223372036854775808s", "too large"},
    {"5m", "unknown unit"}, {"5sec", "unknown unit"}, {"5 s", "unknown unit"},   {"1h30min", "unknown unit"},
    {"5S", "unknown unit"}, {"5us", "unknown unit"},
    {"month", "begin with a digit"}, {"s", "begin with a digit"},
};

static const rate_case_t per_times[] = {
    {"10/s", 10, S},
    {"600/min", 600, 60 * S},
    {"1000/h", 1000, 3600 * S},
    {"5/10s", 5, 10 * S},
    {"1/d", 1, 86400 * S},
    {"3/250ms", 3, 250000000},
    {"20/1.5min", 20, 90 * S},
    {"9223372036854775807/s", MAX63, S},
};

static const refusal_t no_per_times[] = {
    {"", "empty"},        {"0/s", "zero"},         {"-1/s", "negative"},      {"10", "per time"},
    {"10r", "per time"},  {"1.5/s", "per time"},   {"10kB/s", "per time"},    {"10/", "no unit"},
    {"10/5", "no unit"},  {"10/0s", "too short"},  {"10/-5s", "unknown unit"}, {"10/month", "unknown unit"},
    {"/s", "begin with a digit"}, {"9223372036854775808/s", "too large"},
};

static const value_t requests[] = {{"1000r", 1000}, {"1r", 1}, {"0r", 0}, {"9223372036854775807r", MAX63}};

static const refusal_t no_requests[] = {
    {"", "empty"},   {"-5r", "negative"}, {"1000", "and an r"}, {"1.5r", "and an r"},
    {"5R", "and an r"}, {"5rr", "and an r"},  {"5kr", "and an r"},  {"r", "begin with a digit"},
    {"9223372036854775808r", "too large"},
};

static const char *number_to_1000(const char *text, uint64_t *number)
{
    return xl_units_number(text, 1000, number);
}

static const value_t numbers[] = {{"1", 1}, {"999", 999}, {"1000", 1000}};

static const refusal_t no_numbers[] = {
    {"", "empty"}, {"0", "zero"}, {"-1", "negative"}, {"1001", "too large"}, {"99999999999999999999", "too large"},
    {"5kB", "without a unit"}, {"1.0", "without a unit"}, {"x", "begin with a digit"},
};

static void check_values(const char *part, parse_u64_t parse, const value_t *values, size_t n)
{
    for (; n--; values++) {
        uint64_t got = UNTOUCHED;
        const char *error = parse(values->text, &got);

        if (!ok(!error && got == values->want, "%s \"%s\" is %" PRIu64, part, values->text, values->want))
            printf("# got %" PRIu64 ", %s\n", got, error ? error : "no error");
    }
}

static void check_error(const char *part, const refusal_t *refusal, const char *error, bool untouched)
{
    if (!ok(error && strstr(error, refusal->error) && untouched, "%s \"%s\" is refused: %s", part, refusal->text,
            refusal->error))
        printf("# got %s, output %s\n", error ? error : "no error", untouched ? "untouched" : "overwritten");
}

static void check_refusals(const char *part, parse_u64_t parse, const refusal_t *refusals, size_t n)
{
    for (; n--; refusals++) {
        uint64_t got = UNTOUCHED;
        const char *error = parse(refusals->text, &got);

        check_error(part, refusals, error, got == UNTOUCHED);
    }
}

static void check_rates(const char *part, parse_rate_t parse, const rate_case_t *cases, size_t n)
{
    for (; n--; cases++) {
        xl_rate_t got = {UNTOUCHED, UNTOUCHED};
        const char *error = parse(cases->text, &got);

        if (!ok(!error && got.units == cases->units && got.per_ns == cases->per_ns,
                "%s \"%s\" is %" PRIu64 " per %" PRIu64 " ns", part, cases->text, cases->units, cases->per_ns))
            printf("# got %" PRIu64 " per %" PRIu64 ", %s\n", got.units, got.per_ns, error ? error : "no error");
    }
}

static void check_rate_refusals(const char *part, parse_rate_t parse, const refusal_t *refusals, size_t n)
{
    for (; n--; refusals++) {
        xl_rate_t got = {UNTOUCHED, UNTOUCHED};
        const char *error = parse(refusals->text, &got);

        check_error(part, refusals, error, got.units == UNTOUCHED && got.per_ns == UNTOUCHED);
    }
}

static void check_percents(void)
{
    static const char *const refused[] = {"",   "0",  "101", "95,80", "80,80", "80,", ",80", "80,,95",
                                          "80;95", "80%", "-5", "1.5", "80, 95", "99999999999999999999"};
    uint8_t list[4] = {9, 9, 9, 9};
    size_t n = 99;

    ok(!xl_units_percents("80,95", list, 4, &n) && n == 2 && list[0] == 80 && list[1] == 95, "percents \"80,95\"");
    ok(!xl_units_percents("100", list, 4, &n) && n == 1 && list[0] == 100, "percents \"100\"");
    ok(!xl_units_percents("1,2,3,4", list, 4, &n) && n == 4 && list[3] == 4, "percents \"1,2,3,4\" fill the list");
    ok(xl_units_percents("1,2,3,4,5", list, 4, &n) && n == 4, "percents \"1,2,3,4,5\" are too many");
    for (size_t i = 0; i < COUNT(refused); i++) {
        n = 99;
        ok(xl_units_percents(refused[i], list, 4, &n) && n == 99 && list[0] == 1, "percents \"%s\" are refused",
           refused[i]);
    }
}

static const struct {
    uint64_t bytes;
    const char *si, *iec, *raw;
} printed_bytes[] = {
    {0, "0 B", "0 B", "0"},
    {1, "1 B", "1 B", "1"},
    {999, "999 B", "999 B", "999"},
    {1000, "1.00 kB", "1000 B", "1000"},
    {1023, "1.02 kB", "1023 B", "1023"},
    {1024, "1.02 kB", "1.00 KiB", "1024"},
    {9994, "9.99 kB", "9.76 KiB", "9994"},
    {9995, "10.0 kB", "9.76 KiB", "9995"},
    {99949, "99.9 kB", "97.6 KiB", "99949"},
    {99950, "100 kB", "97.6 KiB", "99950"},
    {500000, "500 kB", "488 KiB", "500000"},
    {999499, "999 kB", "976 KiB", "999499"},
    {999500, "1.00 MB", "976 KiB", "999500"},
    {1048063, "1.05 MB", "1023 KiB", "1048063"},
    {1048064, "1.05 MB", "1.00 MiB", "1048064"},
    {1500000000, "1.50 GB", "1.40 GiB", "1500000000"},
    {UINT64_C(100000000000), "100 GB", "93.1 GiB", "100000000000"},
    {UINT64_C(1000000000000), "1.00 TB", "931 GiB", "1000000000000"},
    {UINT64_C(5000000000000000), "5.00 PB", "4.44 PiB", "5000000000000000"},
    {UINT64_MAX, "18.4 EB", "16.0 EiB", "18446744073709551615"},
};

static const struct {
    const char *rate, *si, *iec, *raw;
} printed_rates[] = {
    {"500kB/s", "500 kB/s", "488 KiB/s", "500000"},
    {"0.25B/s", "0.25 B/s", "0.25 B/s", "0.25"},
    {"1bit/s", "0.125 B/s", "0.125 B/s", "0.125"},
    {"1.5B/s", "1.5 B/s", "1.5 B/s", "1.5"},
    {"1B/s", "1 B/s", "1 B/s", "1"},
    {"8Mbit/s", "1.00 MB/s", "977 KiB/s", "1000000"},
    {"16KiB/s", "16.4 kB/s", "16.0 KiB/s", "16384"},
    {"0.00000001B/s", "0.001 B/s", "0.001 B/s", "0.001"},
    {"9223372036854775807/s", "9.22 EB/s", "8.00 EiB/s", "9223372036854775807"},
};

static const struct {
    uint64_t ms;
    const char *want;
} printed_times[] = {
    {0, "0ms"},
    {250, "250ms"},
    {999, "999ms"},
    {1000, "00:00:01"},
    {11045999, "03:04:05"},
    {86399999, "23:59:59"},
    {86400000, "1d 00:00:00"},
    {183845000, "2d 03:04:05"},
    {UINT64_MAX, "213503982334d 14:25:51"},
};

static void check_printing(void)
{
    char buf[32];

    for (size_t i = 0; i < COUNT(printed_bytes); i++) {
        is_str(xl_units_print_bytes(buf, sizeof(buf), printed_bytes[i].bytes, XL_UNITS_SI), printed_bytes[i].si,
               printed_bytes[i].si);
        is_str(xl_units_print_bytes(buf, sizeof(buf), printed_bytes[i].bytes, XL_UNITS_IEC), printed_bytes[i].iec,
               printed_bytes[i].iec);
        is_str(xl_units_print_bytes(buf, sizeof(buf), printed_bytes[i].bytes, XL_UNITS_RAW), printed_bytes[i].raw,
               printed_bytes[i].raw);
    }
    for (size_t i = 0; i < COUNT(printed_rates); i++) {
        xl_rate_t rate = {0, 1};

        xl_units_rate(printed_rates[i].rate, &rate);
        is_str(xl_units_print_rate(buf, sizeof(buf), rate, XL_UNITS_SI), printed_rates[i].si, printed_rates[i].rate);
        is_str(xl_units_print_rate(buf, sizeof(buf), rate, XL_UNITS_IEC), printed_rates[i].iec, printed_rates[i].rate);
        is_str(xl_units_print_rate(buf, sizeof(buf), rate, XL_UNITS_RAW), printed_rates[i].raw, printed_rates[i].rate);
    }
    for (size_t i = 0; i < COUNT(printed_times); i++)
        is_str(xl_units_print_ms(buf, sizeof(buf), printed_times[i].ms), printed_times[i].want, printed_times[i].want);

    is_str(xl_units_print_rate(buf, sizeof(buf), (xl_rate_t){0, 0}, XL_UNITS_SI), "0 B/s", "no rate at all");
    is_str(xl_units_print_bytes(buf, 5, UINT64_MAX, XL_UNITS_RAW), "1844", "a short buffer is filled and ended");
}

int main(void)
{
    check_values("size", xl_units_size, sizes, COUNT(sizes));
    check_refusals("size", xl_units_size, no_sizes, COUNT(no_sizes));
    check_rates("rate", xl_units_rate, rates, COUNT(rates));
    check_rate_refusals("rate", xl_units_rate, no_rates, COUNT(no_rates));
    check_values("time", xl_units_time, times, COUNT(times));
    check_refusals("time", xl_units_time, no_times, COUNT(no_times));
    check_rates("count per time", xl_units_per_time, per_times, COUNT(per_times));
    check_rate_refusals("count per time", xl_units_per_time, no_per_times, COUNT(no_per_times));
    check_values("requests", xl_units_requests, requests, COUNT(requests));
    check_refusals("requests", xl_units_requests, no_requests, COUNT(no_requests));
    check_values("number", number_to_1000, numbers, COUNT(numbers));
    check_refusals("number", number_to_1000, no_numbers, COUNT(no_numbers));
    check_percents();
    check_printing();
    return done_testing();
}
