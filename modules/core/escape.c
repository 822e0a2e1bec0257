/* SPDX-License-Identifier: Apache-2.0
 *
 * escape: any bytes, from a client or a configuration, made safe inside one
 * output format.
 *
 * Owns nothing; writes only into the caller's buffer and never a part of a
 * character or of an escape. Every loop ends at the text's NUL: a decoder that
 * looks ahead stops at the first byte that is no continuation.
 */
#include "xl_escape.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

/* What stands for this ASCII character, or NULL: the character itself. */
typedef const char *(*substitute_t)(char scratch[8], unsigned char c);

/* Bytes of the well-formed UTF-8 sequence at p (Unicode, table 3-7: no
 * overlong form, no surrogate, nothing above U+10FFFF), or 0. */
static size_t utf8_length(const unsigned char *p)
{
    unsigned char low = 0x80, high = 0xBF;
    size_t n, i;

    if (*p < 0x80)
        return 1;
    if (*p < 0xC2 || *p > 0xF4)
        return 0;
    n = *p < 0xE0 ? 2 : *p < 0xF0 ? 3 : 4;
    if (*p == 0xE0)
        low = 0xA0;
    else if (*p == 0xED)
        high = 0x9F;
    else if (*p == 0xF0)
        low = 0x90;
    else if (*p == 0xF4)
        high = 0x8F;
    for (i = 1; i < n; i++, low = 0x80, high = 0xBF)
        if (p[i] < low || p[i] > high)
            return 0;
    return n;
}

/* XML 1.0 has no place for U+FFFE and U+FFFF, and U+0080..U+009F (C1) move
 * cursors in terminals: neither is text. */
static bool is_text(const unsigned char *p, size_t n)
{
    if (n == 2 && p[0] == 0xC2 && p[1] < 0xA0)
        return false;
    return !(n == 3 && p[0] == 0xEF && p[1] == 0xBF && p[2] >= 0xBE);
}

static size_t escape(char *buf, size_t size, const char *text, substitute_t substitute)
{
    size_t used = 0;

    if (!size)
        return 0;
    for (const unsigned char *p = (const unsigned char *)text; *p;) {
        size_t length = utf8_length(p), n = length;
        const char *out = (const char *)p;
        char scratch[8];

        if (length == 1) {
            const char *other = substitute(scratch, *p);

            out = other ? other : out;
            n = other ? strlen(other) : 1;
        }
        else if (!length || !is_text(p, length)) {
            out = REPLACEMENT;
            n = strlen(REPLACEMENT);
        }
        if (n >= size - used)
            break;
        memcpy(buf + used, out, n);
        used += n;
        p += length ? length : 1;
    }
    buf[used] = '\0';
    return used;
}

static bool is_control(unsigned char c)
{
    return c < 0x20 || c == 0x7F;
}

static const char *substitute_markup(char scratch[8], unsigned char c)
{
    (void)scratch;
    switch (c) {
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '&':
        return "&amp;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return is_control(c) ? "" : NULL;
    }
}

static const char *as_unicode(char scratch[8], unsigned char c)
{
    snprintf(scratch, 8, "\\u%04X", (unsigned)c);
    return scratch;
}

/* "<" too: JSON inside a page's script element must not end the element. */
static const char *substitute_json(char scratch[8], unsigned char c)
{
    if (c == '"')
        return "\\\"";
    if (c == '\\')
        return "\\\\";
    return is_control(c) || c == '<' ? as_unicode(scratch, c) : NULL;
}

/* Every colon, because the text may be the key or a part of it; the backslash
 * too, so that what was written can be told from what was read. */
static const char *substitute_line(char scratch[8], unsigned char c)
{
    if (c == '\\')
        return "\\\\";
    return is_control(c) || c == ':' ? as_unicode(scratch, c) : NULL;
}

size_t xl_escape_markup(char *buf, size_t size, const char *text)
{
    return escape(buf, size, text, substitute_markup);
}

size_t xl_escape_json(char *buf, size_t size, const char *text)
{
    return escape(buf, size, text, substitute_json);
}

size_t xl_escape_line(char *buf, size_t size, const char *text)
{
    return escape(buf, size, text, substitute_line);
}
