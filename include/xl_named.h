/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_named: finds a value by its name in "a=b; NAME=value; c", as cookies and
 * query strings are written. Nothing is copied or decoded; no memory, no lock.
 */
#ifndef XL_NAMED_H
#define XL_NAMED_H

#include <stddef.h>

/* The value of the first NAME that stands between separators (any of these
 * characters, any number of them) and has a `=` behind it, *length bytes of the
 * list, or NULL. Names are compared byte by byte. A list of NULL is empty. */
const char *xl_named_find(const char *list, const char *separators, const char *name, size_t *length);

#endif
