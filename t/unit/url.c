/* SPDX-License-Identifier: Apache-2.0
 *
 * URLs of redirects: as they are configured, and as expressions make them.
 */
#include "tap.h"
#include "xl_url.h"

static const struct {
    const char *url;
    bool expression;
    const char *fault; /* a part of it, or NULL */
} t[] = {
    {"/over.html", false, NULL},
    {"/", false, NULL},
    {"http://www.example.org/", false, NULL},
    {"HTTPS://www.example.org", false, NULL},
    {"https://[2001:db8::1]:8443/x?y#z", false, NULL},
    {"/\303\274ber", false, NULL},
    {"", false, "right would be http://host/path"},
    {"over.html", false, "right would be http://host/path"},
    {"ftp://www.example.org/", false, "right would be http://host/path"},
    {"javascript:alert(1)", false, "right would be http://host/path"},
    {"http:/www.example.org/", false, "right would be http://host/path"},
    {"//www.example.org/", false, "taken for a host name"},
    {"/\\www.example.org/", false, "taken for a host name"},
    {"http://", false, "no host name"},
    {"https:///path", false, "no host name"},
    {"http://?q", false, "no host name"},
    {"http://#f", false, "no host name"},
    {"/a b", false, "a blank; write %20"},
    {"/%{escape:a b}", true, NULL},
    {"/a\tb", false, "a control character"},
    {"/a\r\nSet-Cookie: x", true, "a control character"},
    {"/a\177", false, "a control character"},
};

int main(void)
{
    size_t i;

    for (i = 0; i < sizeof(t) / sizeof(*t); i++) {
        const char *fault = xl_url_fault(t[i].url, t[i].expression);

        ok(t[i].fault ? fault && strstr(fault, t[i].fault) != NULL : !fault, "url %zu: %s", i + 1,
           t[i].fault ? t[i].fault : "is right");
    }
    ok(xl_url_is_clean("http://h/\303\274?x=%20"), "a URL without blanks is a header's value");
    ok(!xl_url_is_clean(""), "nothing is none");
    ok(!xl_url_is_clean("/a b") && !xl_url_is_clean("/a\n") && !xl_url_is_clean("\r/") && !xl_url_is_clean("/\177"),
       "a blank or a control character is none");
    return done_testing();
}
