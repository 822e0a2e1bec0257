/* SPDX-License-Identifier: Apache-2.0
 *
 * tap: the Test Anything Protocol for the unit tests, in one header. A test
 * program calls ok()/is_u64()/... and ends with `return done_testing();`, which
 * fails when a check failed or none was made.
 */
#ifndef XL_TAP_H
#define XL_TAP_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static unsigned tap_checks, tap_failures;

__attribute__((format(printf, 2, 3))) static inline bool ok(bool passed, const char *format, ...)
{
    va_list args;

    tap_checks++;
    if (!passed)
        tap_failures++;
    printf("%sok %u - ", passed ? "" : "not ", tap_checks);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    return passed;
}

static inline bool is_u64(uint64_t got, uint64_t want, const char *what)
{
    if (ok(got == want, "%s", what))
        return true;
    printf("# got  %" PRIu64 "\n# want %" PRIu64 "\n", got, want);
    return false;
}

static inline bool is_i64(int64_t got, int64_t want, const char *what)
{
    if (ok(got == want, "%s", what))
        return true;
    printf("# got  %" PRId64 "\n# want %" PRId64 "\n", got, want);
    return false;
}

static inline bool is_str(const char *got, const char *want, const char *what)
{
    if (ok(got && want ? !strcmp(got, want) : got == want, "%s", what))
        return true;
    printf("# got  %s\n# want %s\n", got ? got : "(null)", want ? want : "(null)");
    return false;
}

/* A number that must lie within [low, high]. */
static inline bool in_range(double got, double low, double high, const char *what)
{
    if (ok(got >= low && got <= high, "%s", what))
        return true;
    printf("# got %g, want %g .. %g\n", got, low, high);
    return false;
}

static inline int done_testing(void)
{
    printf("1..%u\n", tap_checks);
    return tap_failures || !tap_checks;
}

#endif
