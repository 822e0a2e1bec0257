/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_lines: a text of one word on each line, taken apart in place: blanks around
 * the word and what stands behind a # do not count. No memory, no lock.
 */
#ifndef XL_LINES_H
#define XL_LINES_H

/* The next line of *text without them, "" where nothing else is on it, or NULL
 * behind the last one. *text goes on to the line after it, and may be NULL. */
char *xl_lines_next(char **text);

#endif
