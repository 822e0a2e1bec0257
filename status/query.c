/* SPDX-License-Identifier: Apache-2.0
 *
 * The query string and the Accept field of a status request. Owns the list of
 * parameters; reads bytes of the client and nothing else. Invariant: what is
 * stored is NUL-terminated, shorter than XL_QUERY_TEXT_MAX and, apart from
 * name=, a word of our own tables.
 */
#include "xl_query.h"

#include "xl_escape.h"
#include "xl_render.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define SHOWN_MAX 64 /* bytes of a wrong value that its message repeats */

const char *const xl_view_names[XL_VIEWS] = { "overview", "vhosts", "accounts", "zones", "clients", "config" };
const char *const xl_units_names[3] = { "si", "iec", "raw" };

#define SHEETS_MAX 3

const xl_sheet_e *xl_view_sheets(xl_view_e view, size_t *n)
{
    static const struct {
        size_t n;
        xl_sheet_e tables[SHEETS_MAX];
    } views[XL_VIEWS] = {
        [XL_VIEW_OVERVIEW] = { 3, { XL_SHEET_SERVER, XL_SHEET_LIMITS, XL_SHEET_VHOSTS } },
        [XL_VIEW_VHOSTS] = { 2, { XL_SHEET_SERVER, XL_SHEET_VHOSTS } },
        [XL_VIEW_ACCOUNTS] = { 2, { XL_SHEET_SERVER, XL_SHEET_ACCOUNTS } },
        [XL_VIEW_ZONES] = { 2, { XL_SHEET_SERVER, XL_SHEET_ZONES } },
        [XL_VIEW_CLIENTS] = { 2, { XL_SHEET_SERVER, XL_SHEET_CLIENTS } },
        [XL_VIEW_CONFIG] = { 3, { XL_SHEET_SERVER, XL_SHEET_LIMITS, XL_SHEET_SETTINGS } },
    };

    *n = views[view].n;
    return views[view].tables;
}

bool xl_view_has(xl_view_e view, xl_sheet_e table)
{
    size_t n, i;
    const xl_sheet_e *tables = xl_view_sheets(view, &n);

    for (i = 0; i < n && tables[i] != table; i++)
        continue;
    return i < n;
}

size_t xl_query_clients(const xl_query_t *query)
{
    uint64_t n = query->top ? query->top : XL_QUERY_CLIENTS;

    return (size_t)(n < XL_QUERY_CLIENTS_MAX ? n : XL_QUERY_CLIENTS_MAX);
}

typedef struct {
    xl_query_t *query;
    const char *name, *value;
    char *error;
} parameter_t;

static bool wrong(const parameter_t *p, const char *right)
{
    char cut[SHOWN_MAX + 1], name[6 * SHOWN_MAX + 1], value[6 * SHOWN_MAX + 1];

    snprintf(cut, sizeof cut, "%s", p->name);
    xl_escape_line(name, sizeof name, cut);
    snprintf(cut, sizeof cut, "%s", p->value);
    xl_escape_line(value, sizeof value, cut);
    snprintf(p->error, XL_QUERY_ERROR_MAX, "%s=%s%s: %s", name, value, strlen(p->value) > SHOWN_MAX ? "..." : "",
             right);
    return false;
}

/* The index of the value in a list of words, or -1. */
static int word_index(const char *value, const char *const *words, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++) {
        if (!strcmp(value, words[i]))
            return (int)i;
    }
    return -1;
}

static bool set_view(const parameter_t *p)
{
    int i = word_index(p->value, xl_view_names, XL_VIEWS);

    if (i < 0)
        return wrong(p, "no such view; there are overview, vhosts, accounts, zones, clients and config");
    p->query->view = (xl_view_e)i;
    return true;
}

static int format_index(const char *name)
{
    int i;

    for (i = 0; i < XL_FORMATS && strcmp(xl_renderers[i].name, name); i++)
        continue;
    return i < XL_FORMATS ? i : -1;
}

static bool choose_format(const parameter_t *p, int i)
{
    if (p->query->format_given)
        return wrong(p, "the format is given twice");
    p->query->format = (xl_format_e)i;
    p->query->format_given = true;
    return true;
}

static bool set_format(const parameter_t *p)
{
    int i = format_index(p->value);

    return i < 0 ? wrong(p, "no such format; there are html, xml, json and auto") : choose_format(p, i);
}

static bool set_units(const parameter_t *p)
{
    int i = word_index(p->value, xl_units_names, 3);

    if (i < 0)
        return wrong(p, "no such units; there are si (1000), iec (1024) and raw");
    p->query->units = (xl_units_e)i;
    return true;
}

static bool set_name(const parameter_t *p)
{
    if (!*p->value)
        return wrong(p, "a part of a name is missing");
    snprintf(p->query->name, sizeof p->query->name, "%s", p->value);
    return true;
}

static bool set_sort(const parameter_t *p)
{
    p->query->reverse = p->value[0] == '-';
    snprintf(p->query->sort, sizeof p->query->sort, "%s", p->value + p->query->reverse);
    return true; /* whether the view has the field is known at the end */
}

static bool set_top(const parameter_t *p)
{
    return !xl_units_number(p->value, XL_QUERY_TOP_MAX, &p->query->top)
           || wrong(p, "a number of rows from 1 to 1000000 is wanted");
}

static bool set_refresh(const parameter_t *p)
{
    return !xl_units_number(p->value, XL_QUERY_REFRESH_MAX, &p->query->refresh_s)
           || wrong(p, "a number of seconds from 1 to 86400 is wanted");
}

static const struct {
    const char *name;
    bool (*set)(const parameter_t *p);
} parameters[] = {
    { "view", set_view }, { "format", set_format }, { "units", set_units },     { "name", set_name },
    { "sort", set_sort }, { "top", set_top },       { "refresh", set_refresh },
};
#define PARAMETERS (sizeof parameters / sizeof *parameters)

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Undoes the encoding of a form. False: too long, or a broken %XX. */
static bool decode(char buf[XL_QUERY_TEXT_MAX], const char *text, size_t length)
{
    size_t n = 0, i;

    for (i = 0; i < length; i++) {
        int c = text[i] == '+' ? ' ' : (unsigned char)text[i];

        if (text[i] == '%') {
            int high = i + 2 < length ? hex_digit(text[i + 1]) : -1;
            int low = high < 0 ? -1 : hex_digit(text[i + 2]);

            c = low < 0 ? 0 : high * 16 + low;
            i += 2;
        }
        if (!c || n + 1 == XL_QUERY_TEXT_MAX)
            return false;
        buf[n++] = (char)c;
    }
    buf[n] = '\0';
    return true;
}

static bool set_parameter(const parameter_t *p, bool has_value, unsigned *seen)
{
    size_t i;

    if (!has_value && format_index(p->name) >= 0)
        return choose_format(p, format_index(p->name));
    for (i = 0; i < PARAMETERS && strcmp(parameters[i].name, p->name); i++)
        continue;
    if (i == PARAMETERS)
        return wrong(p, "no such parameter; there are view, format, units, name, sort, top and refresh, and html, xml, "
                        "json or auto alone");
    if (*seen & 1U << i)
        return wrong(p, "given twice");
    *seen |= 1U << i;
    return parameters[i].set(p);
}

/* sort= must be a field of some table of rows that the view shows. */
static bool check_sort(const xl_query_t *query, char *error)
{
    parameter_t p = { NULL, "sort", query->sort, error };
    char right[XL_QUERY_ERROR_MAX - 7 * SHOWN_MAX];
    size_t n, i, f, used;
    const xl_sheet_e *tables = xl_view_sheets(query->view, &n);

    used = (size_t)snprintf(right, sizeof right, "no such field in this view; there are");
    for (i = 1; i < n; i++) {
        const xl_sheet_t *table = &xl_sheets[tables[i]];

        if (xl_field_find(tables[i], query->sort))
            return true;
        for (f = 0; f < table->n && used + 40 < sizeof right; f++) {
            if (i == 1 || !xl_field_find(tables[1], table->fields[f].name))
                used += (size_t)snprintf(right + used, sizeof right - used, " %s", table->fields[f].name);
        }
    }
    return wrong(&p, right);
}

bool xl_query_parse(const char *args, xl_query_t *query, char error[XL_QUERY_ERROR_MAX])
{
    unsigned seen = 0;

    memset(query, 0, sizeof *query);
    error[0] = '\0';
    while (args && *args) {
        size_t length = strcspn(args, "&"), name_length = strcspn(args, "&=");
        bool has_value = name_length < length;
        char name[XL_QUERY_TEXT_MAX], value[XL_QUERY_TEXT_MAX] = "";
        parameter_t p = { query, name, value, error };

        if (!decode(name, args, name_length)
            || (has_value && !decode(value, args + name_length + 1, length - name_length - 1))) {
            snprintf(error, XL_QUERY_ERROR_MAX,
                     "a parameter is longer than %d bytes or holds a %% that two hexadecimal digits other than 00 do "
                     "not follow",
                     XL_QUERY_TEXT_MAX - 1);
            return false;
        }
        if (length && !set_parameter(&p, has_value, &seen))
            return false;
        args += length + (args[length] == '&');
    }
    if (!query->sort[0] && query->view == XL_VIEW_CLIENTS)
        snprintf(query->sort, sizeof query->sort, "requests");
    return !query->sort[0] || check_sort(query, error);
}

/* "q=0.5" among the parameters of a range: 0 .. 1000. */
static unsigned quality(const char *text, size_t length)
{
    const char *end = text + length;
    unsigned q = 0, scale = 1000;

    for (; text < end && *text != ';'; text++)
        continue;
    if (text == end)
        return 1000;
    for (text++; text < end && *text == ' '; text++)
        continue;
    if (end - text < 3 || (*text != 'q' && *text != 'Q') || text[1] != '=')
        return quality(text, (size_t)(end - text));
    if (text[2] == '1')
        return 1000;
    for (text += 3; text < end && scale > 1; text++) {
        if (*text >= '0' && *text <= '9')
            q += (unsigned)(*text - '0') * (scale /= 10);
    }
    return q;
}

/* How closely a range of Accept names the type: 0 not at all .. 3 exactly. */
static unsigned closeness(const char *range, size_t length, const char *type)
{
    size_t major = strcspn(type, "/") + 1;

    if (length == 3 && !memcmp(range, "*/*", 3))
        return 1;
    if (length == major + 1 && range[major] == '*' && !strncasecmp(range, type, major))
        return 2;
    return length == strlen(type) && !strncasecmp(range, type, length) ? 3 : 0;
}

static unsigned type_quality(const char *accept, const char *type)
{
    unsigned best = 0, q = 0;

    for (; *accept; accept += *accept == ',') {
        size_t length, range;

        accept += strspn(accept, " \t");
        length = strcspn(accept, ",");
        range = strcspn(accept, ",; \t");
        if (closeness(accept, range, type) > best) {
            best = closeness(accept, range, type);
            q = quality(accept, length);
        }
        accept += length;
    }
    return q;
}

xl_format_e xl_query_accept(const char *accept)
{
    static const struct {
        const char *type;
        xl_format_e format;
    } types[] = {
        { "text/html", XL_FORMAT_HTML },       { "application/json", XL_FORMAT_JSON },
        { "application/xml", XL_FORMAT_XML },  { "text/xml", XL_FORMAT_XML },
        { "text/plain", XL_FORMAT_AUTO },
    };
    xl_format_e format = XL_FORMAT_HTML;
    unsigned best = 0;
    size_t i;

    for (i = 0; accept && i < sizeof types / sizeof *types; i++) {
        unsigned q = type_quality(accept, types[i].type);

        if (q > best) {
            best = q;
            format = types[i].format;
        }
    }
    return format;
}
