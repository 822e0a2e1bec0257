/* SPDX-License-Identifier: Apache-2.0
 *
 * utf8: a checker of UTF-8 for the targets, apart from the code that they test.
 */
#ifndef FUZZ_UTF8_H
#define FUZZ_UTF8_H

#include "../t/unit/utf8_check.h"

#include <stdbool.h>

static inline bool utf8_is_whole(const char *text)
{
    const unsigned char *p = (const unsigned char *)text;

    while (*p) {
        size_t n = character(p);

        if (!n)
            return false;
        p += n;
    }
    return true;
}

#endif
