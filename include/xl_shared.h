/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_shared: memory without a name that the parent and all its children share,
 * zeros at first. What is never touched costs nothing.
 */
#ifndef XL_SHARED_H
#define XL_SHARED_H

#include <stddef.h>

void *xl_shared_make(size_t bytes); /* NULL: there is none; errno says why */

/* This process's view of it; no thread may look any longer. NULL is allowed. */
void xl_shared_free(void *base, size_t bytes);

#endif
