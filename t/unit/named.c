/* SPDX-License-Identifier: Apache-2.0
 *
 * Values by name, out of cookies and query strings.
 */
#include "tap.h"
#include "xl_named.h"

#define COOKIE "; \t"

static const struct {
    const char *list, *separators, *name, *value;
} t[] = {
    {"a=1", COOKIE, "a", "1"},
    {"a=1; b=2;c=3", COOKIE, "b", "2"},
    {"a=1; b=2;c=3", COOKIE, "c", "3"},
    {"  ;; a=1 ; b=2 ", COOKIE, "b", "2"},
    {"a=1; a=2", COOKIE, "a", "1"},
    {"a=", COOKIE, "a", ""},
    {"a=; b=2", COOKIE, "a", ""},
    {"a=b=c; d", COOKIE, "a", "b=c"},
    {"aa=1; a=2", COOKIE, "a", "2"},
    {"xa=1", COOKIE, "a", NULL},
    {"A=1", COOKIE, "a", NULL},
    {"a", COOKIE, "a", NULL},
    {"b=a=1", COOKIE, "a", NULL},
    {"a=1&b=2", "&", "b", "2"},
    {"&&b=2", "&", "b", "2"},
    {"b=2 3;4&c", "&", "b", "2 3;4"},
    {"c&", "&", "c", NULL},
    {"", "&", "b", NULL},
    {NULL, "&", "b", NULL},
    {"=1", "&", "", "1"},
};

int main(void)
{
    for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
        size_t length = 0;
        const char *value = xl_named_find(t[i].list, t[i].separators, t[i].name, &length);

        ok(t[i].value ? value && length == strlen(t[i].value) && !memcmp(value, t[i].value, length) : !value,
           "\"%s\" of \"%s\" is %s", t[i].name, t[i].list ? t[i].list : "(null)",
           t[i].value ? t[i].value : "not there");
    }
    return done_testing();
}
