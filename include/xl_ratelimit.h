/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_ratelimit: the values of RateLimit-Policy and RateLimit
 * (draft-ietf-httpapi-ratelimit-headers-10), as structured fields of RFC 8941:
 * a number larger than these may hold is written as the largest. Pure; writes
 * into the caller's buffer alone.
 */
#ifndef XL_RATELIMIT_H
#define XL_RATELIMIT_H

#include "xl_decide.h"

#define XL_RATELIMIT_MAX 256 /* room for either, with a name of 180 bytes */

/* In how many seconds all of it is there again: the length of a quota's period,
 * or how long a burst of requests takes to become whole. */
uint64_t xl_ratelimit_window_s(const xl_applied_t *a, int64_t wall_ms);

/* Both return buf. A name that is longer, or holds what a quoted string may not,
 * is cut there; the configuration takes none. */
const char *xl_ratelimit_policy(char buf[XL_RATELIMIT_MAX], const xl_applied_t *a, int64_t wall_ms);
const char *xl_ratelimit_state(char buf[XL_RATELIMIT_MAX], const xl_applied_t *a, uint64_t remaining, uint64_t reset_s);

#endif
