/* SPDX-License-Identifier: Apache-2.0
 *
 * The RateLimit fields: what is written for quotas of bytes and requests and for
 * rates, with numbers as large as they get.
 */
#include "scene.h"
#include "xl_ratelimit.h"

#define HUGE_TIME ((uint64_t)INT64_MAX / XL_NS_PER_MS)

static xl_applied_t applied(scene_t *s, xl_limit_t limit, uint64_t total)
{
    limit.name = limit.name ? limit.name : "month";
    scene_add(s, limit, &status);
    s->list[s->n - 1].total = total;
    return s->list[s->n - 1];
}

static xl_limit_t requests(uint64_t units, uint64_t per_ns)
{
    return (xl_limit_t){.dimension = XL_DIM_REQUESTS, .rate = {units, per_ns}};
}

int main(void)
{
    scene_t *s = scene_new();
    xl_limit_t calendar = quota(XL_UNIT_BYTES, 1000, 0), odd = requests(1, XL_NS_PER_S);
    char buf[XL_RATELIMIT_MAX], name[XL_RATELIMIT_MAX];
    xl_applied_t a = applied(s, quota(XL_UNIT_BYTES, 1000, 3600000), 1000);

    is_str(xl_ratelimit_policy(buf, &a, T0), "\"month\";q=1000;qu=\"content-bytes\";w=3600", "a quota of bytes");
    is_str(xl_ratelimit_state(buf, &a, 250, 17), "\"month\";r=250;t=17", "what is left of it");
    a = applied(s, quota(XL_UNIT_REQUESTS, 5, 90000), 5);
    is_str(xl_ratelimit_policy(buf, &a, T0), "\"month\";q=5;w=90", "a quota of requests");
    calendar.period.kind = XL_PERIOD_DAY;
    a = applied(s, calendar, 1000);
    is_u64(xl_ratelimit_window_s(&a, T0), 86400, "a day of the calendar");
    a = applied(s, requests(10, XL_NS_PER_S), 21);
    is_str(xl_ratelimit_policy(buf, &a, T0), "\"month\";q=21;w=3", "a rate: until its burst is whole, rounded up");
    a = applied(s, requests(1, HUGE_TIME * XL_NS_PER_MS), UINT64_MAX);
    is_str(xl_ratelimit_policy(buf, &a, T0), "\"month\";q=999999999999999;w=18446744074",
           "numbers too large for the field are the largest, and none wraps");
    is_str(xl_ratelimit_state(buf, &a, UINT64_MAX, UINT64_MAX), "\"month\";r=999999999999999;t=999999999999999",
           "... and what is left, too");
    odd.name = "a\"b";
    a = applied(s, odd, 1);
    is_str(xl_ratelimit_state(buf, &a, 1, 2), "\"a\";r=1;t=2", "a name does not end the string that it is in");
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    odd.name = name;
    a = applied(s, odd, UINT64_MAX);
    xl_ratelimit_policy(buf, &a, T0);
    ok(strlen(buf) < sizeof(buf) - 1 && strstr(buf, "n\";q=999999999999999;w="),
       "a long name leaves room for the rest");
    scene_free(s);
    return done_testing();
}
