/* SPDX-License-Identifier: Apache-2.0
 *
 * A text taken apart into lines, without comments and the blanks around a word.
 */
#include "tap.h"
#include "xl_lines.h"

static void takes(const char *text, size_t n, const char *const *lines)
{
    char copy[128], *rest = copy, *line;
    size_t i = 0;

    snprintf(copy, sizeof(copy), "%s", text);
    while ((line = xl_lines_next(&rest)) != NULL && i < n)
        is_str(line, lines[i++], "a line");
    ok(!line && !rest && i == n, "%zu lines, and then none", n);
}

#define TAKES(text, ...)                                                                                               \
    takes(text, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), (const char *[]){__VA_ARGS__})

int main(void)
{
    TAKES("", "");
    TAKES("10/8", "10/8");
    TAKES("10/8\n", "10/8", "");
    TAKES("a\nb\n\nc", "a", "b", "", "c");
    TAKES(" \t a b \v\f\r\nc\r\n", "a b", "c", "");
    TAKES("# all\na # b # c\n#\n \t", "", "a", "", "");
    TAKES("a#b\n#", "a", "");
    return done_testing();
}
