/* SPDX-License-Identifier: Apache-2.0
 *
 * Texts that are taken apart: cookies, query strings, network files and
 * URLs of redirects.
 */
#include "fuzz.h"
#include "xl_lines.h"
#include "xl_named.h"
#include "xl_url.h"

static void check_named(const char *list, const char *name, const char *separators)
{
    size_t length = 0, name_length = strlen(name);
    const char *value = xl_named_find(list, separators, name, &length), *behind = list + strlen(list);

    if (!value)
        return;
    must(value > list + name_length && value + length <= behind && value[-1] == '=');
    must(!memcmp(value - 1 - name_length, name, name_length));
    must(value - 1 - name_length == list || strchr(separators, value[-2 - (ptrdiff_t)name_length]));
    must(strcspn(value, separators) == length);
}

static void check_lines(char *text)
{
    size_t newlines = 0, lines = 0, i;
    const char *behind = text + strlen(text);
    char *line;

    for (i = 0; text[i]; i++)
        newlines += text[i] == '\n';
    while ((line = xl_lines_next(&text)) != NULL) {
        lines++;
        must(line + strlen(line) <= behind && !strpbrk(line, "#\n"));
        must(!*line || (!strchr(" \t\r\f\v", *line) && !strchr(" \t\r\f\v", line[strlen(line) - 1])));
    }
    must(lines == newlines + 1);
}

static void check_url(const char *url)
{
    if (!xl_url_fault(url, false))
        must(xl_url_is_clean(url) && (*url == '/' ? url[1] != '/' && url[1] != '\\' : (*url | 32) == 'h'));
    if (xl_url_is_clean(url))
        must(*url && !strpbrk(url, " \r\n\t\x7f"));
    must(!xl_url_fault(url, true) || xl_url_fault(url, false));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_t f = {data, data + size};
    char *name = fuzz_line(&f), *list = fuzz_line(&f), *rest;

    check_named(list, name, "; \t");
    check_named(list, name, "&");
    check_url(list);
    rest = calloc((size_t)(f.end - f.at) + 1, 1);
    if (!rest)
        exit(1);
    memcpy(rest, f.at, (size_t)(f.end - f.at));
    check_lines(rest);
    free(name);
    free(list);
    free(rest);
    return 0;
}
