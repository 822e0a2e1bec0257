/* SPDX-License-Identifier: Apache-2.0
 *
 * wellformed: readers of JSON, of XML and HTML as we write it, and of lines, each
 * as small as its grammar; they share no code with the renderers.
 */
#ifndef FUZZ_WELLFORMED_H
#define FUZZ_WELLFORMED_H

#include "utf8.h"

#include <string.h>

#define DEPTH_MOST 32

/* ---- JSON -------------------------------------------------------------- */

static inline const char *json_string(const char *p)
{
    if (*p++ != '"')
        return NULL;
    for (; *p != '"'; p++) {
        if ((unsigned char)*p < 0x20)
            return NULL;
        if (*p != '\\')
            continue;
        if (*++p == 'u' ? strspn(p + 1, "0123456789abcdefABCDEF") < 4 : !*p || !strchr("\"\\/bfnrt", *p))
            return NULL;
    }
    return p + 1;
}

static inline const char *json_number(const char *p)
{
    size_t digits = strspn(p, "0123456789"), decimals;

    if (!digits || (*p == '0' && digits > 1))
        return NULL;
    p += digits;
    if (*p != '.')
        return p;
    decimals = strspn(p + 1, "0123456789");
    return decimals ? p + 1 + decimals : NULL;
}

static inline const char *json_value(const char *p, int depth);

/* The members of an object or array, behind its bracket. */
static inline const char *json_members(const char *p, char close, int depth)
{
    p += strspn(p, "\n ");
    if (*p == close)
        return p + 1;
    for (;;) {
        p += strspn(p, "\n ");
        if (close == '}' && (!(p = json_string(p)) || *p++ != ':'))
            return NULL;
        if (!(p = json_value(p, depth)))
            return NULL;
        p += strspn(p, "\n ");
        if (*p == close)
            return p + 1;
        if (*p++ != ',')
            return NULL;
    }
}

static inline const char *json_value(const char *p, int depth)
{
    if (depth > DEPTH_MOST)
        return NULL;
    if (*p == '{' || *p == '[')
        return json_members(p + 1, *p == '{' ? '}' : ']', depth + 1);
    if (*p == '"')
        return json_string(p);
    return strncmp(p, "null", 4) ? json_number(p) : p + 4;
}

static inline bool is_json(const char *text)
{
    const char *end = *text == '{' ? json_value(text, 0) : NULL;

    return end && !strcmp(end, "\n");
}

/* ---- XML and HTML ------------------------------------------------------ */

/* Whether it is a reference: one of ours. */
static inline bool is_reference(const char *p)
{
    static const char *const ours[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;", "&nbsp;"};

    for (size_t i = 0; i < sizeof(ours) / sizeof(*ours); i++)
        if (!strncmp(p, ours[i], strlen(ours[i])))
            return true;
    return false;
}

/* Behind a tag that began before p, or NULL; *empty: it closes itself. */
static inline const char *markup_tag(const char *p, bool *empty)
{
    while (*p && *p != '>' && *p != '<') {
        const char *close;

        *empty = *p == '/' || *p == '?';
        if (*p != '"') {
            p++;
            continue;
        }
        close = p[-1] == '=' ? strchr(p + 1, '"') : NULL;
        if (!close)
            return NULL;
        for (p++; p < close; p++)
            if (*p == '<' || *p == '>' || (unsigned char)*p < 0x20 || (*p == '&' && !is_reference(p)))
                return NULL;
        p = close + 1;
    }
    return *p == '>' ? p + 1 : NULL;
}

/* Elements of HTML that have no end. */
static inline bool is_void(const char *name, size_t length)
{
    static const char *const voids[] = {"!DOCTYPE", "meta", "input", "br", "link", "col"};

    for (size_t i = 0; i < sizeof(voids) / sizeof(*voids); i++)
        if (strlen(voids[i]) == length && !memcmp(voids[i], name, length))
            return true;
    return false;
}

static inline bool is_markup(const char *p)
{
    static const char letters[] = "!?abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-";
    struct {
        const char *name;
        size_t length;
    } open[DEPTH_MOST];
    int depth = 0;

    while (*p) {
        bool end = p[0] == '<' && p[1] == '/', empty = false;
        const char *name = p + 1 + end;
        size_t length = strspn(name, letters);

        if (*p == '&' ? !is_reference(p) : *p == '>')
            return false;
        if (*p != '<') {
            p++;
            continue;
        }
        if (!length || !(p = markup_tag(name + length, &empty)) || depth == DEPTH_MOST)
            return false;
        if (end && (!depth-- || open[depth].length != length || memcmp(open[depth].name, name, length) != 0))
            return false;
        if (!end && length == 5 && !memcmp(name, "style", 5) && !(p = strstr(p, "</style>")))
            return false;
        if (end || empty || is_void(name, length))
            continue;
        open[depth].name = name;
        open[depth++].length = length;
    }
    return !depth;
}

/* ---- lines ------------------------------------------------------------- */

/* Each is a key of letters and digits, a colon and a blank, and some value. */
static inline bool is_lines(const char *p)
{
    for (; *p; p++) {
        size_t key = strspn(p, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789");
        size_t length = strcspn(p, "\n");

        if (!key || p[key] != ':' || p[key + 1] != ' ' || length < key + 3 || p[length] != '\n')
            return false;
        for (size_t i = 0; i < length; i++)
            if ((unsigned char)p[i] < 0x20 || p[i] == 0x7F)
                return false;
        p += length;
    }
    return true;
}

#endif
