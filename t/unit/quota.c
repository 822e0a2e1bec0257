/* SPDX-License-Identifier: Apache-2.0
 *
 * A quota's speed: at which use and which moment it is over, and when it will be
 * free again.
 */
#include "tap.h"
#include "xl_decide.h"

#define T0 INT64_C(1700000000000) /* 2023-11-14T22:13:20Z */

int main(void)
{
    static const struct {
        xl_unit_e unit;
        uint64_t slice_ms, used;
        int64_t ms, free_ms; /* free_ms: when it will be, -1: it is not over */
    } cases[] = {
        { XL_UNIT_BYTES, 0, 99, 0, -1 },
        { XL_UNIT_BYTES, 0, 100, 0, 10000 },
        { XL_UNIT_BYTES, 0, 100, 9999, 10000 },
        { XL_UNIT_BYTES, 0, 100, 10000, -1 },
        { XL_UNIT_REQUESTS, 0, 100, 0, -1 }, /* the last one that it has is being served */
        { XL_UNIT_REQUESTS, 0, 101, 0, 10000 },
        { XL_UNIT_BYTES, 2000, 19, 0, -1 }, /* 20 each 2 s */
        { XL_UNIT_BYTES, 2000, 20, 0, 2000 },
        { XL_UNIT_BYTES, 2000, 20, 2000, -1 },
        { XL_UNIT_BYTES, 2000, 55, 1000, 4000 },
        { XL_UNIT_BYTES, 2000, 250, 1000, 10000 }, /* more than there is in a period */
        { XL_UNIT_REQUESTS, 2000, 20, 0, -1 },
        { XL_UNIT_REQUESTS, 2000, 21, 0, 2000 },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        xl_limit_t limit = { .dimension = XL_DIM_QUOTA, .unit = cases[i].unit, .amount = 100,
                             .slice_ms = cases[i].slice_ms,
                             .period = { .kind = XL_PERIOD_TIME, .length_ms = 10000 } };
        static xl_entry_t entry;
        bool over;

        memset(&entry, 0, sizeof(entry));
        xl_usage_add(&entry.usage, &limit.period, cases[i].used, T0);
        printf("# %zu: %" PRIu64 " used, at %" PRId64 " ms\n", i, cases[i].used, cases[i].ms);
        over = xl_quota_over(&limit, &entry.usage, T0 + cases[i].ms);
        ok(over == (cases[i].free_ms >= 0), "over or not");
        if (over)
            is_i64(xl_quota_free_ms(&limit, &entry.usage, T0 + cases[i].ms) - T0, cases[i].free_ms, "free at");
    }
    return done_testing();
}
