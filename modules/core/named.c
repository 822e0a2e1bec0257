/* SPDX-License-Identifier: Apache-2.0
 *
 * named: the search of xl_named.h. Reads the list once; never writes.
 */
#include "xl_named.h"

#include <string.h>

const char *xl_named_find(const char *list, const char *separators, const char *name, size_t *length)
{
    size_t name_length = strlen(name);
    const char *at = list ? list + strspn(list, separators) : "";

    while (*at) {
        if (!strncmp(at, name, name_length) && at[name_length] == '=') {
            *length = strcspn(at + name_length + 1, separators);
            return at + name_length + 1;
        }
        at += strcspn(at, separators);
        at += strspn(at, separators);
    }
    return NULL;
}
