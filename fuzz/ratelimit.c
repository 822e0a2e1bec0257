/* SPDX-License-Identifier: Apache-2.0
 *
 * The RateLimit fields with any name and any numbers in them: one quoted string,
 * and integers that the field may hold.
 */
#include "fuzz.h"
#include "xl_ratelimit.h"
#include "xl_url.h"

static void check_fields(fuzz_t *f, const char *name)
{
    static xl_entry_t entry;
    xl_limit_t limit = {.dimension = XL_DIM_REQUESTS, .rate = {fuzz_number(f) | 1, fuzz_number(f) | 1}, .name = name};
    xl_applied_t a = {.limit = &limit, .entry = &entry, .total = fuzz_number(f)};
    char policy[XL_RATELIMIT_MAX], state[XL_RATELIMIT_MAX];
    const char *end;

    memset(policy, 0x55, sizeof(policy));
    memset(state, 0x55, sizeof(state));
    xl_ratelimit_policy(policy, &a, 1);
    xl_ratelimit_state(state, &a, fuzz_number(f), fuzz_number(f));
    must(memchr(policy, '\0', sizeof(policy) - 1) && memchr(state, '\0', sizeof(state) - 1));
    must(*policy == '"' && (end = strchr(policy + 1, '"')) && end[1] == ';' && end[2] == 'q' && strstr(end, ";w="));
    must(*state == '"' && (end = strchr(state + 1, '"')) && end[1] == ';' && end[2] == 'r' && strstr(end, ";t="));
    must(strspn(end + 4, "0123456789") >= 1 && strspn(end + 4, "0123456789") <= 15 && xl_url_is_clean(end));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_t f = {data, data + size};
    char *name = fuzz_line(&f);

    check_fields(&f, name);
    free(name);
    return 0;
}
