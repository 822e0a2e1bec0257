/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_units: the values of the configuration language, parsed with checked
 * arithmetic, and amounts printed for people.
 *
 * Every parser returns NULL when it took the whole text and stored a value,
 * or a static sentence that says what was wrong and what would be right; the
 * output is then untouched. No locale, no allocation, no errno.
 */
#ifndef XL_UNITS_H
#define XL_UNITS_H

#include <stddef.h>
#include <stdint.h>

#define XL_NS_PER_S UINT64_C(1000000000)
#define XL_NS_PER_MS UINT64_C(1000000)

/* `units` per `per_ns` nanoseconds; neither is ever 0 in a configured rate. */
typedef struct {
    uint64_t units;
    uint64_t per_ns;
} xl_rate_t;

/* SIZE: "1500" "10kB" "1.5GB" "10MiB" "2Gi" "3T" -> bytes, at most 2^63-1; a
 * fraction of a byte is cut off. 0 is a size. */
const char *xl_units_size(const char *text, uint64_t *bytes);

/* RATE: SIZE"/s", "200kbit/s", "8Mbps" -> bytes per second. A rate that is no
 * whole number of bytes per second keeps its exact ratio in per_ns. */
const char *xl_units_rate(const char *text, xl_rate_t *rate);

/* COUNT/TIME: "10/s" "600/min" "5/10s" -> the ratio as it is written. */
const char *xl_units_per_time(const char *text, xl_rate_t *rate);

/* COUNT: "1000r" -> 1000 requests (the "r" tells it from a size). */
const char *xl_units_requests(const char *text, uint64_t *count);

/* A plain positive decimal number up to max, e.g. XLimitMemory entries. */
const char *xl_units_number(const char *text, uint64_t max, uint64_t *number);

/* TIME: "250ms" "30s" "5min" "2h" "1d" "1w", decimals allowed -> milliseconds.
 * At least 1 ms, at most what 63 bits hold in nanoseconds: 292 years. */
const char *xl_units_time(const char *text, uint64_t *ms);

/* "80,95" -> percentages 1..100, ascending, at most max of them. */
const char *xl_units_percents(const char *text, uint8_t *list, size_t max, size_t *n);

typedef enum { XL_UNITS_SI, XL_UNITS_IEC, XL_UNITS_RAW } xl_units_e;

/* "1.50 GB", "1.40 GiB", "1500000000": writes at most size bytes, NUL
 * included, and returns buf. 32 bytes are enough for any value. */
const char *xl_units_print_bytes(char *buf, size_t size, uint64_t bytes, xl_units_e units);

/* "500 kB/s"; a rate below one byte per second prints as "0.25 B/s". RAW is
 * bytes per second without a unit. */
const char *xl_units_print_rate(char *buf, size_t size, xl_rate_t rate, xl_units_e units);

/* "2d 03:04:05", "03:04:05", "250ms"; from one second on, fractions are cut. */
const char *xl_units_print_ms(char *buf, size_t size, uint64_t ms);

#endif
