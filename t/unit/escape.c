/* SPDX-License-Identifier: Apache-2.0
 *
 * escape: hostile text in three formats, every length of buffer, and every
 * byte before and after every other one.
 */
#include "tap.h"
#include "xl_escape.h"

#include <stdlib.h>

#define COUNT(table) (sizeof(table) / sizeof(*(table)))
#define FFFD "\xEF\xBF\xBD"

typedef size_t (*escape_t)(char *buf, size_t size, const char *text);

static const struct {
    const char *what, *text, *markup, *json, *line;
} cases[] = {
    {"nothing", "", "", "", ""},
    {"plain", "www.example.org", "www.example.org", "www.example.org", "www.example.org"},
    {"element", "<script>alert('1')</script>", "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;",
     "\\u003Cscript>alert('1')\\u003C/script>", "<script>alert('1')</script>"},
    {"attribute", "\" onload=\"x", "&quot; onload=&quot;x", "\\\" onload=\\\"x", "\" onload=\"x"},
    {"entity", "a&amp;b", "a&amp;amp;b", "a&amp;b", "a&amp;b"},
    {"backslash", "a\\u0041\\", "a\\u0041\\", "a\\\\u0041\\\\", "a\\\\u0041\\\\"},
    {"line ends", "a\r\nb\tc", "abc", "a\\u000D\\u000Ab\\u0009c", "a\\u000D\\u000Ab\\u0009c"},
    {"controls", "\x01\x1f\x7f", "", "\\u0001\\u001F\\u007F", "\\u0001\\u001F\\u007F"},
    {"escape sequence", "\x1b[2J", "[2J", "\\u001B[2J", "\\u001B[2J"},
    {"colons", "a: b:c", "a: b:c", "a: b:c", "a\\u003A b\\u003Ac"},
    {"CDATA end", "]]>", "]]&gt;", "]]>", "]]>"},
    {"UTF-8", "gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x98\x80", "gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x98\x80",
     "gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x98\x80", "gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x98\x80"},
    {"first and last of each length", "\xC2\xA0\xDF\xBF\xE0\xA0\x80\xEF\xBF\xBD\xF0\x90\x80\x80\xF4\x8F\xBF\xBF",
     "\xC2\xA0\xDF\xBF\xE0\xA0\x80\xEF\xBF\xBD\xF0\x90\x80\x80\xF4\x8F\xBF\xBF",
     "\xC2\xA0\xDF\xBF\xE0\xA0\x80\xEF\xBF\xBD\xF0\x90\x80\x80\xF4\x8F\xBF\xBF",
     "\xC2\xA0\xDF\xBF\xE0\xA0\x80\xEF\xBF\xBD\xF0\x90\x80\x80\xF4\x8F\xBF\xBF"},
    {"Latin-1", "gr\xFC\xDF", "gr" FFFD FFFD, "gr" FFFD FFFD, "gr" FFFD FFFD},
    {"lone continuation", "a\x80z", "a" FFFD "z", "a" FFFD "z", "a" FFFD "z"},
    {"cut off", "a\xE2\x82", "a" FFFD FFFD, "a" FFFD FFFD, "a" FFFD FFFD},
    {"cut off before markup", "\xE2\x82<", FFFD FFFD "&lt;", FFFD FFFD "\\u003C", FFFD FFFD "<"},
    {"lead byte before a quote", "\xC3\"", FFFD "&quot;", FFFD "\\\"", FFFD "\""},
    {"overlong slash", "\xC0\xAF", FFFD FFFD, FFFD FFFD, FFFD FFFD},
    {"overlong in three", "\xE0\x80\xBC", FFFD FFFD FFFD, FFFD FFFD FFFD, FFFD FFFD FFFD},
    {"overlong in four", "\xF0\x80\x80\xBC", FFFD FFFD FFFD FFFD, FFFD FFFD FFFD FFFD, FFFD FFFD FFFD FFFD},
    {"surrogate", "\xED\xA0\x80", FFFD FFFD FFFD, FFFD FFFD FFFD, FFFD FFFD FFFD},
    {"above U+10FFFF", "\xF4\x90\x80\x80", FFFD FFFD FFFD FFFD, FFFD FFFD FFFD FFFD, FFFD FFFD FFFD FFFD},
    {"bytes that never occur", "\xF5\xFE\xFF", FFFD FFFD FFFD, FFFD FFFD FFFD, FFFD FFFD FFFD},
    {"C1 control", "\xC2\x9B" "2J", FFFD "2J", FFFD "2J", FFFD "2J"},
    {"no character", "\xEF\xBF\xBE\xEF\xBF\xBF", FFFD FFFD, FFFD FFFD, FFFD FFFD},
};

/* Into a heap block of exactly this size, so that a sanitizer sees a byte too
 * many. The result is a prefix of the whole one, cut between characters. */
static bool cuts_well(escape_t escape, const char *text, const char *whole, size_t size)
{
    char *buf = malloc(size ? size : 1);
    size_t n = escape(buf, size, text);
    bool well = !size ? n == 0 : n < size && n == strlen(buf) && !strncmp(buf, whole, n);

    /* What follows the cut is no rest of a character nor of an entity. */
    well = well && ((unsigned char)whole[n] & 0xC0) != 0x80;
    if (well && n && escape == xl_escape_markup && strrchr(buf, '&'))
        well = strchr(strrchr(buf, '&'), ';') != NULL;
    free(buf);
    return well;
}

static void check(escape_t escape, const char *format, const char *what, const char *text, const char *want)
{
    char whole[256];
    size_t n = escape(whole, sizeof(whole), text), wrong = 0;

    if (!ok(!strcmp(whole, want) && n == strlen(want) && n <= 6 * strlen(text), "%s: %s", format, what))
        printf("# got  %s\n# want %s\n", whole, want);
    for (size_t size = 0; size <= n; size++)
        wrong += !cuts_well(escape, text, want, size);
    ok(!wrong, "%s: %s in every shorter buffer", format, what);
}

/* Decodes by the definition: bits first, then what may not be. */
static bool is_utf8(const char *text)
{
    const unsigned char *p = (const unsigned char *)text;

    while (*p) {
        unsigned more = *p < 0x80 ? 0 : (*p & 0xE0) == 0xC0 ? 1 : (*p & 0xF0) == 0xE0 ? 2 : (*p & 0xF8) == 0xF0 ? 3 : 9;
        static const unsigned long least[] = {0, 0x80, 0x800, 0x10000};
        unsigned long code = more == 0 ? *p : *p & (0x3FUL >> more);

        if (more == 9)
            return false;
        p++;
        for (unsigned i = 0; i < more; i++, p++) {
            if ((*p & 0xC0) != 0x80)
                return false;
            code = code << 6 | (*p & 0x3F);
        }
        if (code < least[more] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
            return false;
    }
    return true;
}

/* A quote that ends a JSON string, or a backslash that makes no escape. */
static bool ends_string(const char *json)
{
    for (; *json; json++) {
        if (*json == '"')
            return true;
        if (*json == '\\' && !strchr("\\\"u", *++json))
            return true;
    }
    return false;
}

/* All bytes after all bytes, with markup behind: always UTF-8, never a bare
 * control, quote, or what else would break out. */
static void check_pairs(escape_t escape, const char *format, const char *never)
{
    unsigned wrong = 0;

    for (unsigned i = 1; i < 256; i++)
        for (unsigned k = 1; k < 256; k++) {
            char text[] = {(char)i, (char)k, '<', '"', ':', '\n', '\0'}, out[64];

            escape(out, sizeof(out), text);
            wrong += !is_utf8(out) || strpbrk(out, never) != NULL;
            wrong += escape == xl_escape_json && ends_string(out);
            for (const char *p = out; *p; p++)
                wrong += (unsigned char)*p < 0x20 || *p == 0x7F;
        }
    ok(!wrong, "%s: no pair of bytes breaks out (%u wrong)", format, wrong);
}

int main(void)
{
    for (size_t i = 0; i < COUNT(cases); i++) {
        check(xl_escape_markup, "markup", cases[i].what, cases[i].text, cases[i].markup);
        check(xl_escape_json, "json", cases[i].what, cases[i].text, cases[i].json);
        check(xl_escape_line, "line", cases[i].what, cases[i].text, cases[i].line);
    }
    check_pairs(xl_escape_markup, "markup", "<>\"'");
    check_pairs(xl_escape_json, "json", "<");
    check_pairs(xl_escape_line, "line", ":");
    return done_testing();
}
