/* SPDX-License-Identifier: Apache-2.0
 *
 * utf8_check: a reader of UTF-8 for the tests, apart from the code they test.
 */
#ifndef XL_UTF8_CHECK_H
#define XL_UTF8_CHECK_H

#include <stddef.h>
#include <stdint.h>

/* The length of a well-formed UTF-8 sequence, 0 for none. */
static inline size_t character(const unsigned char *p)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    size_t n = *p < 0x80 ? 1 : *p < 0xC0 ? 0 : *p < 0xE0 ? 2 : *p < 0xF0 ? 3 : *p < 0xF8 ? 4 : 0, i;
    uint32_t c = n < 2 ? *p : *p & (0x7FU >> n);

    for (i = 1; i < n; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3F);
    }
    return n > 1 && (c < least[n] || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) ? 0 : n;
}

/* The first byte that is no UTF-8 or a control other than newline, or -1. */
static inline long first_bad_byte(const char *text)
{
    const unsigned char *p = (const unsigned char *)text, *begin = p;

    while (*p) {
        size_t n = character(p);

        if (!n || (*p < 0x20 && *p != '\n') || *p == 0x7F)
            return (long)(p - begin);
        p += n;
    }
    return -1;
}

#endif
