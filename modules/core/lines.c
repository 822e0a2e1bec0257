/* SPDX-License-Identifier: Apache-2.0
 *
 * lines: takes a text apart (xl_lines.h). Writes into that text alone, and only
 * zeros.
 */
#include "xl_lines.h"

#include <stddef.h>
#include <string.h>

#define BLANKS " \t\r\f\v"

char *xl_lines_next(char **text)
{
    char *line = *text, *end;

    if (!line)
        return NULL;
    end = strchr(line, '\n');
    *text = end ? end + 1 : NULL;
    if (end)
        *end = '\0';
    line[strcspn(line, "#")] = '\0';
    line += strspn(line, BLANKS);
    for (end = line + strlen(line); end > line && strchr(BLANKS, end[-1]); end--)
        end[-1] = '\0';
    return line;
}
