/* SPDX-License-Identifier: Apache-2.0
 *
 * url: the checks of xl_url.h, byte by byte and without a locale.
 */
#include "xl_url.h"

#include <stddef.h>
#include <string.h>

static bool is_control(char c)
{
    return (unsigned char)c < ' ' || c == 0x7F;
}

/* What follows the prefix, whose letters are lower case, or NULL. */
static const char *behind(const char *url, const char *prefix)
{
    for (; *prefix; url++, prefix++) {
        char c = *url >= 'A' && *url <= 'Z' ? (char)(*url - 'A' + 'a') : *url;

        if (c != *prefix)
            return NULL;
    }
    return url;
}

const char *xl_url_fault(const char *url, bool expression)
{
    const char *host = behind(url, "http://");

    for (const char *at = url; *at; at++) {
        if (is_control(*at))
            return "it holds a control character";
        if (!expression && *at == ' ')
            return "it holds a blank; write %20";
    }
    if (!host)
        host = behind(url, "https://");
    if (host)
        return *host && !strchr("/?#", *host) ? NULL : "it has no host name";
    if (url[0] != '/')
        return "right would be http://host/path, https://host/path or /path";
    if (url[1] == '/' || url[1] == '\\')
        return "it would be taken for a host name; right would be https://host/path or /path";
    return NULL;
}

bool xl_url_is_clean(const char *url)
{
    for (const char *at = url; *at; at++)
        if (is_control(*at) || *at == ' ')
            return false;
    return *url != '\0';
}
