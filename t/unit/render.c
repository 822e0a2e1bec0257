/* SPDX-License-Identifier: Apache-2.0
 *
 * The renderers: no hostile text gets out of its place in any format and view,
 * every field of the table is written, the sink's error ends the writing. The
 * rules read the output byte by byte and share no code with the renderers.
 */
#include "tap.h"

#include "hostile.h"
#include "utf8_check.h"
#include "xl_render.h"
#include "xl_sha256.h"

/* ---- a sink that keeps everything ---------------------------------------- */

#define KEPT_MAX (4U << 20)

static char kept[KEPT_MAX + 1];
static size_t kept_bytes, sink_calls;

static int keep(void *ctx, const char *data, size_t length)
{
    (void)ctx;
    sink_calls++;
    if (length > KEPT_MAX - kept_bytes)
        return 1;
    memcpy(kept + kept_bytes, data, length);
    kept_bytes += length;
    kept[kept_bytes] = '\0';
    return 0;
}

static const xl_sink_t keeper = { keep, NULL };

static xl_snapshot_t snapshot;
static hostile_rows_t rows;

static const char *rendered(xl_format_e format, xl_view_e view)
{
    xl_query_t query = { .view = view, .format = format };

    snprintf(query.name, sizeof query.name, "%s", "\"><script>&x=%0d");
    snprintf(query.sort, sizeof query.sort, "%s", "requests");
    kept_bytes = 0;
    kept[0] = '\0';
    if (xl_renderers[format].render(&snapshot, &query, &keeper))
        printf("# the sink was full\n");
    return kept;
}

/* ---- rules that hold for every format ------------------------------------ */

static bool starts(const char *p, const char *text)
{
    return !strncmp(p, text, strlen(text));
}

/* Whether an attribute that would run or fetch something begins here. */
static bool is_active(const char *p)
{
    return starts(p, " on") || starts(p, " src=") || starts(p, " style=") || starts(p, " href=\"j");
}

/* Tags of a markup, by our own names; -1 at the first tag that is not ours, an
 * active attribute, a `<` or `>` in a value or an `&` that begins no entity. */
static long tags(const char *p, const char *const *ours, size_t n)
{
    long count = 0;
    bool inside = false, quoted = false;
    size_t i;

    for (; *p; p++) {
        if (*p == '&' && !starts(p, "&amp;") && !starts(p, "&lt;") && !starts(p, "&gt;") && !starts(p, "&quot;")
            && !starts(p, "&#39;") && !starts(p, "&#x27;") && !starts(p, "&apos;") && !starts(p, "&nbsp;"))
            return -1;
        if (inside && *p == '"')
            quoted = !quoted;
        if ((*p == '>' && quoted) || (inside && !quoted && is_active(p)))
            return -1;
        if (*p == '>')
            inside = false;
        if (*p != '<')
            continue;
        if (inside)
            return -1;
        inside = true;
        count++;
        for (i = 0; i < n; i++) {
            const char *name = p[1] == '/' ? p + 2 : p + 1;
            size_t length = strlen(ours[i]);

            if (!strncmp(name, ours[i], length) && strchr(" >/", name[length]))
                break;
        }
        if (i == n)
            return -1;
    }
    return inside || quoted ? -1 : count;
}

static void check_xml(void)
{
    static const char *const ours[] = { "?xml", "xlimit-status", "server", "vhosts", "vhost", "limits", "limit",
                                        "settings", "setting", "zones", "zone", "clients", "client", "accounts",
                                        "account" };
    xl_view_e view;

    for (view = 0; view < XL_VIEWS; view++) {
        const char *text = rendered(XL_FORMAT_XML, view);

        is_i64(first_bad_byte(text), -1, "xml: UTF-8 without control bytes");
        ok(tags(text, ours, sizeof ours / sizeof *ours) > (long)HOSTILE_TEXTS, "xml: only our own elements");
        ok(!strstr(text, "<![CDATA[") && !strstr(text, "<!"), "xml: no declaration of others");
    }
}

static void check_html(void)
{
    static const char *const ours[] = {
        "!DOCTYPE", "html", "head", "meta", "title", "style", "body", "header", "p", "b", "span", "nav", "ul", "li",
        "a", "main", "h1", "small", "time", "form", "label", "div", "input", "button", "table", "caption", "thead",
        "tbody", "tr", "th", "td", "svg", "rect", "i", "footer",
    };
    xl_view_e view;

    for (view = 0; view < XL_VIEWS; view++) {
        char *text = strstr(rendered(XL_FORMAT_HTML, view), "</style>");

        is_i64(first_bad_byte(kept), -1, "html: UTF-8 without control bytes");
        ok(text && tags(text, ours, sizeof ours / sizeof *ours) > (long)HOSTILE_TEXTS, "html: only our own elements");
        ok(text && !strstr(text + 8, "</style"), "html: one style sheet");
        ok(strstr(kept, "<caption>") && strstr(kept, "scope=\"col\"") && strstr(kept, "scope=\"row\""),
           "html: tables say what their cells are");
    }
}

/* Steps over one JSON value; NULL: it is none. Depth is what our own nesting
 * needs. */
static const char *json_value(const char *p, unsigned depth);

static const char *json_string(const char *p)
{
    if (*p != '"')
        return NULL;
    for (p++; *p != '"'; p++) {
        if ((unsigned char)*p < 0x20)
            return NULL;
        if (*p == '\\' && !strchr("\"\\/bfnrtu", *++p))
            return NULL;
    }
    return p + 1;
}

static const char *blanks(const char *p)
{
    return p ? p + strspn(p, " \n") : NULL;
}

static const char *json_members(const char *p, unsigned depth, bool named)
{
    char close = named ? '}' : ']';

    p = blanks(p + 1);
    if (*p == close)
        return p + 1;
    for (;; p++) {
        p = blanks(p);
        if (named && (!(p = json_string(p)) || *p++ != ':'))
            return NULL;
        p = blanks(json_value(p, depth + 1));
        if (!p || (*p != ',' && *p != close))
            return NULL;
        if (*p == close)
            return p + 1;
    }
}

static const char *json_value(const char *p, unsigned depth)
{
    if (depth > 4)
        return NULL;
    if (*p == '{' || *p == '[')
        return json_members(p, depth, *p == '{');
    if (*p == '"')
        return json_string(p);
    if (starts(p, "null"))
        return p + 4;
    return strspn(p, "0123456789.") ? p + strspn(p, "0123456789.") : NULL;
}

static void check_json(void)
{
    xl_view_e view;

    for (view = 0; view < XL_VIEWS; view++) {
        const char *end = blanks(json_value(rendered(XL_FORMAT_JSON, view), 0));

        is_i64(first_bad_byte(kept), -1, "json: UTF-8 without control bytes");
        ok(end && !*end, "json: one value and nothing after it");
        ok(starts(kept, "{\"schema\":\"" XL_STATUS_SCHEMA "\","), "json: the schema comes first");
    }
}

static bool is_auto_line(const char *line, size_t length)
{
    const char *colon = memchr(line, ':', length);
    const char *p;

    if (!starts(line, "XLimit") || !colon || colon[1] != ' ' || colon + 2 >= line + length)
        return false;
    for (p = line; p < colon; p++) {
        if (!(*p >= 'a' && *p <= 'z') && !(*p >= 'A' && *p <= 'Z') && !(*p >= '0' && *p <= '9'))
            return false;
    }
    return true;
}

static void check_auto(void)
{
    xl_view_e view;
    const char *line, *end;

    for (view = 0; view < XL_VIEWS; view++) {
        size_t lines = 0, bad = 0;

        for (line = rendered(XL_FORMAT_AUTO, view); (end = strchr(line, '\n')); line = end + 1, lines++)
            bad += !is_auto_line(line, (size_t)(end - line));
        is_i64(first_bad_byte(kept), -1, "auto: UTF-8 without control bytes");
        ok((view == XL_VIEW_CLIENTS || lines > HOSTILE_TEXTS) && !*line, "auto: lines, the last one whole");
        is_u64(bad, 0, "auto: every line is a name of ours, a colon, a value");
    }
}

/* Of clients the server's own numbers alone. */
static void check_people(void)
{
    size_t i, lines = 0;

    for (i = 0; rendered(XL_FORMAT_AUTO, XL_VIEW_CLIENTS)[i]; i++)
        lines += kept[i] == '\n';
    is_u64(lines, xl_sheets[XL_SHEET_SERVER].n - 2, "auto: no client in any line");
    ok(!strstr(kept, "XLimitClient"), "auto: ... by no name");
    ok(strstr(rendered(XL_FORMAT_AUTO, XL_VIEW_ZONES), "\nXLimitZone1Used: 0\n"), "auto: zones are numbers");
    ok(strstr(rendered(XL_FORMAT_AUTO, XL_VIEW_ACCOUNTS), "\nXLimitAccount1Hosts: 2\n"), "auto: so are accounts");
}

/* ---- one text, in full, through the pieces ------------------------------- */

static void check_long(void)
{
    const char *p = rendered(XL_FORMAT_JSON, XL_VIEW_CONFIG);
    size_t euros = 0;
    const char *begin = strstr(p, "\"x\342\202\254");

    for (p = begin ? begin + 2 : ""; starts(p, "\342\202\254"); p += 3)
        euros++;
    is_u64(euros, (HOSTILE_LONG - 1) / 3, "a text longer than a piece keeps every character");
}

static int refuse_third(void *ctx, const char *data, size_t length)
{
    (void)data;
    (void)length;
    return ++*(unsigned *)ctx >= 3 ? 42 : 0;
}

static void check_sink(void)
{
    unsigned calls = 0, i;
    xl_sink_t sink = { refuse_third, &calls };
    xl_query_t query = { .view = XL_VIEW_OVERVIEW };

    for (i = 0; i < XL_FORMATS; i++) {
        calls = 0;
        is_i64(xl_renderers[i].render(&snapshot, &query, &sink), 42, "the error of the sink comes back");
        is_u64(calls, 3, "and ends the writing");
    }
}

/* ---- the field table ----------------------------------------------------- */

#define KIND_OF(member) \
    _Generic((member), const char *: XL_FIELD_TEXT, uint64_t: XL_FIELD_U64, xl_rate_t: XL_FIELD_RATE)

static void check_fields(void)
{
    static const xl_field_kind_e kinds[] = {
#define XL_SERVER_FIELD(member, ...) KIND_OF(((xl_snap_server_t *)NULL)->member),
#include "xl_fields.def"
#define XL_VHOST_FIELD(member, ...) KIND_OF(((xl_snap_vhost_t *)NULL)->member),
#include "xl_fields.def"
#define XL_LIMIT_FIELD(member, ...) KIND_OF(((xl_snap_limit_t *)NULL)->member),
#include "xl_fields.def"
#define XL_SETTING_FIELD(member, ...) KIND_OF(((xl_snap_setting_t *)NULL)->member),
#include "xl_fields.def"
#define XL_ZONE_FIELD(member, ...) KIND_OF(((xl_snap_zone_t *)NULL)->member),
#include "xl_fields.def"
#define XL_CLIENT_FIELD(member, ...) KIND_OF(((xl_snap_client_t *)NULL)->member),
#include "xl_fields.def"
#define XL_ACCOUNT_FIELD(member, ...) KIND_OF(((xl_snap_account_t *)NULL)->member),
#include "xl_fields.def"
    };
    xl_sheet_e t;
    size_t i, n = 0;

    for (t = 0; t < XL_SHEETS; t++) {
        for (i = 0; i < xl_sheets[t].n; i++, n++) {
            const xl_field_t *field = &xl_sheets[t].fields[i];

            ok(field->kind == kinds[n], "%s.%s: kind of its member", xl_sheets[t].element, field->name);
            ok(xl_field_find(t, field->name) == field, "%s.%s: its name is its own", xl_sheets[t].element, field->name);
        }
    }
    is_u64(n, sizeof kinds / sizeof *kinds, "every field is in a table");
}

/* ---- schema -------------------------------------------------------------- */

/* Each attribute that the XML may have is declared once in the type of its row. */
static void check_schema(void)
{
    static const char *const ours[] = { "?xml", "!--", "xs:schema", "xs:element", "xs:complexType", "xs:sequence",
                                        "xs:attribute", "xs:simpleType", "xs:restriction", "xs:enumeration",
                                        "xs:minInclusive" };
    char wanted[160];
    size_t t, i;

    kept_bytes = 0;
    is_i64(xl_render_schema(&keeper), 0, "schema: written");
    ok(tags(kept, ours, sizeof ours / sizeof *ours) > 0, "schema: only elements of a schema");
    for (t = 0; t < XL_SHEETS; t++) {
        const char *type, *end;

        snprintf(wanted, sizeof wanted, "<xs:complexType name=\"%s\">", xl_sheets[t].element);
        type = strstr(kept, wanted);
        end = type ? strstr(type, "</xs:complexType>") : NULL;
        ok(end != NULL, "schema: a type for %s", xl_sheets[t].element);
        for (i = 0; i < xl_sheets[t].n && end; i++) {
            const char *found;

            snprintf(wanted, sizeof wanted, "<xs:attribute name=\"%s\" ", xl_sheets[t].fields[i].name);
            for (found = wanted; *found; found++)
                wanted[found - wanted] = *found >= 'A' && *found <= 'Z' ? (char)(*found | 0x20) : *found;
            found = strstr(type, wanted);
            ok(found && found < end, "schema: %s of %s", xl_sheets[t].fields[i].name, xl_sheets[t].element);
        }
    }
}

/* ---- digest -------------------------------------------------------------- */

static const char *digest_of(const char *text, size_t length)
{
    static char hex[65];
    uint8_t digest[32];
    unsigned i;

    xl_sha256(text, length, digest);
    for (i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return hex;
}

static void check_digest(void)
{
    static char million[1000000];
    char policy[XL_CSP_MAX];

    memset(million, 'a', sizeof million);
    is_str(digest_of("", 0), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "SHA-256 of nothing");
    is_str(digest_of("abc", 3), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "of abc");
    is_str(digest_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56),
           "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1", "of 56 bytes");
    is_str(digest_of(million, sizeof million), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
           "of a million bytes");
    xl_html_policy(policy);
    ok(starts(policy, "default-src 'none'; style-src 'sha256-") && strstr(policy, "='; form-action 'self'"),
       "the policy: %s", policy);
}

int main(void)
{
    hostile_snapshot(&snapshot, &rows);
    check_fields();
    check_xml();
    check_html();
    check_json();
    check_auto();
    check_people();
    check_long();
    check_sink();
    check_schema();
    check_digest();
    return done_testing();
}
