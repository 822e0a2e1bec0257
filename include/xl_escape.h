/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_escape: any bytes made safe for one output format. All write into a
 * caller's buffer, always NUL-terminate (a size of 0 apart), cut only between
 * whole characters, replace by U+FFFD what is no valid UTF-8, the controls
 * U+0080..U+009F and the non-characters U+FFFE and U+FFFF, and drop C0 controls
 * and DEL (JSON and lines write them as \u00XX). They return the bytes written
 * without the NUL; 6 x strlen + 1 is always room enough.
 */
#ifndef XL_ESCAPE_H
#define XL_ESCAPE_H

#include <stddef.h>

size_t xl_escape_markup(char *buf, size_t size, const char *text); /* HTML and XML, text and attributes */
size_t xl_escape_json(char *buf, size_t size, const char *text);   /* inside the quotes */

/* The key or the value of one "key: value" line: no CR, no LF, and no colon,
 * so that whoever splits at the first colon splits at ours. */
size_t xl_escape_line(char *buf, size_t size, const char *text);

#endif
