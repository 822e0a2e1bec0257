/* SPDX-License-Identifier: Apache-2.0
 *
 * A number out of a number, as if drawn by lot and always the same (splitmix64).
 */
#ifndef MIX_H
#define MIX_H

#include <stdint.h>

static inline uint64_t mix(uint64_t n)
{
    n += UINT64_C(0x9E3779B97F4A7C15);
    n = (n ^ n >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    n = (n ^ n >> 27) * UINT64_C(0x94D049BB133111EB);
    return n ^ n >> 31;
}

#endif
