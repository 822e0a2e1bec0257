/* SPDX-License-Identifier: Apache-2.0
 *
 * The query string of a status page and its Accept field: what is understood,
 * what is refused, and how the refusal is worded, hostile values included.
 */
#include "tap.h"

#include "hostile.h"
#include "utf8_check.h"
#include "xl_query.h"

/* ---- query string -------------------------------------------------------- */

static void check_good_queries(void)
{
    static const struct {
        const char *args;
        xl_query_t want;
    } cases[] = {
        { NULL, { 0 } },
        { "", { 0 } },
        { "&&", { 0 } },
        { "view=vhosts", { .view = XL_VIEW_VHOSTS } },
        { "view=config&format=json", { .view = XL_VIEW_CONFIG, .format = XL_FORMAT_JSON, .format_given = true } },
        { "xml", { .format = XL_FORMAT_XML, .format_given = true } },
        { "auto", { .format = XL_FORMAT_AUTO, .format_given = true } },
        { "html&view=overview", { .format_given = true } },
        { "json&units=iec", { .format = XL_FORMAT_JSON, .format_given = true, .units = XL_UNITS_IEC } },
        { "name=a%20b+c%3c", { .name = "a b c<" } },
        { "sort=-sent&top=5", { .sort = "sent", .reverse = true, .top = 5 } },
        { "view=vhosts&sort=passed", { .view = XL_VIEW_VHOSTS, .sort = "passed" } },
        { "sort=percent&view=config", { .view = XL_VIEW_CONFIG, .sort = "percent" } },
        { "view=clients", { .view = XL_VIEW_CLIENTS, .sort = "requests" } },
        { "sort=-key&view=clients", { .view = XL_VIEW_CLIENTS, .sort = "key", .reverse = true } },
        { "view=zones&sort=evictions", { .view = XL_VIEW_ZONES, .sort = "evictions" } },
        { "view=accounts&sort=refusing", { .view = XL_VIEW_ACCOUNTS, .sort = "refusing" } },
        { "refresh=10&units=raw", { .refresh_s = 10, .units = XL_UNITS_RAW } },
        { "%76iew=v%68osts", { .view = XL_VIEW_VHOSTS } },
    };
    char error[XL_QUERY_ERROR_MAX];
    xl_query_t got;
    size_t i;

    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        const xl_query_t *want = &cases[i].want;

        ok(xl_query_parse(cases[i].args, &got, error), "?%s is understood%s%s", cases[i].args ? cases[i].args : "",
           *error ? ": " : "", error);
        ok(got.view == want->view && got.format == want->format && got.format_given == want->format_given
               && got.units == want->units && got.top == want->top && got.refresh_s == want->refresh_s
               && got.reverse == want->reverse && !strcmp(got.name, want->name) && !strcmp(got.sort, want->sort),
           "as it is meant");
    }
}

static void check_bad_queries(void)
{
    static const struct {
        const char *args, *says;
    } cases[] = {
        { "view=users", "view=users: no such view; there are overview, vhosts, accounts, zones, clients and "
                              "config" },
        { "view", "view=: no such view; there are overview, vhosts, accounts, zones, clients and "
                              "config" },
        { "format=csv", "format=csv: no such format; there are html, xml, json and auto" },
        { "csv", "csv=: no such parameter; there are view, format, units, name, sort, top and refresh, and html, xml, "
                 "json or auto alone" },
        { "xml=1", "xml=1: no such parameter; there are view, format, units, name, sort, top and refresh, and html, "
                   "xml, json or auto alone" },
        { "units=SI", "units=SI: no such units; there are si (1000), iec (1024) and raw" },
        { "top=0", "top=0: a number of rows from 1 to 1000000 is wanted" },
        { "top=-1", "top=-1: a number of rows from 1 to 1000000 is wanted" },
        { "top=1000001", "top=1000001: a number of rows from 1 to 1000000 is wanted" },
        { "top=5x", "top=5x: a number of rows from 1 to 1000000 is wanted" },
        { "refresh=99999999999999999999",
          "refresh=99999999999999999999: a number of seconds from 1 to 86400 is wanted" },
        { "name=", "name=: a part of a name is missing" },
        { "view=config&view=config", "view=config: given twice" },
        { "xml&format=json", "format=json: the format is given twice" },
        { "view=vhosts&sort=percent", "sort=percent: no such field in this view; there are vhost account requests sent active "
                                      "refusing PASSED PACED REDIRECTED REJECTED PACED_DRY_RUN REDIRECTED_DRY_RUN "
                                      "REJECTED_DRY_RUN DELAYED DELAYED_DRY_RUN" },
        { "view=accounts&sort=key", "sort=key: no such field in this view; there are name hosts requests sent active "
                                    "refusing" },
        { "name=%", "a parameter is longer than 255 bytes or holds a % that two hexadecimal digits other than 00 do "
                    "not follow" },
        { "name=%0", NULL },
        { "name=%zz", NULL },
        { "name=a%00b", NULL },
        { "%00", NULL },
    };
    char error[XL_QUERY_ERROR_MAX], args[1200];
    xl_query_t got;
    size_t i;

    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        ok(!xl_query_parse(cases[i].args, &got, error), "?%s is refused", cases[i].args);
        is_str(error, cases[i].says ? cases[i].says : "a parameter is longer than 255 bytes or holds a % that two "
                                                      "hexadecimal digits other than 00 do not follow", "and named");
    }
    memset(hostile_long, '<', HOSTILE_LONG);
    for (i = 0; i < HOSTILE_TEXTS; i++) {
        snprintf(args, sizeof args, "view=%.1000s", hostile_texts[i]);
        ok(!xl_query_parse(args, &got, error) && *error, "a hostile value is refused");
        ok(first_bad_byte(error) < 0 && !strchr(error, '\n'), "in one clean line");
    }
    memset(args, 'a', sizeof args - 1);
    args[sizeof args - 1] = '\0';
    memcpy(args, "name=", 5);
    args[5 + 255] = '\0';
    ok(xl_query_parse(args, &got, error) && strlen(got.name) == 255, "255 bytes fit");
    args[5 + 255] = 'a';
    args[5 + 256] = '\0';
    ok(!xl_query_parse(args, &got, error), "256 do not");
}

static void check_views(void)
{
    xl_query_t query = { .top = 0 };
    xl_view_e view;
    size_t n;

    for (view = 0; view < XL_VIEWS; view++) {
        ok(xl_view_sheets(view, &n)[0] == XL_SHEET_SERVER && n > 1, "%s: the server and rows", xl_view_names[view]);
        ok(xl_view_has(view, XL_SHEET_CLIENTS) == (view == XL_VIEW_CLIENTS), "... clients in their own view alone");
    }
    is_u64(xl_query_clients(&query), XL_QUERY_CLIENTS, "so many clients where nothing is asked for");
    query.top = 7;
    is_u64(xl_query_clients(&query), 7, "... as many as are asked for");
    query.top = XL_QUERY_TOP_MAX;
    is_u64(xl_query_clients(&query), XL_QUERY_CLIENTS_MAX, "... within bounds");
}

static void check_accept(void)
{
    static const struct {
        const char *accept;
        xl_format_e want;
    } cases[] = {
        { NULL, XL_FORMAT_HTML },
        { "", XL_FORMAT_HTML },
        { "*/*", XL_FORMAT_HTML },
        { "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", XL_FORMAT_HTML },
        { "application/json", XL_FORMAT_JSON },
        { "Application/JSON; charset=utf-8", XL_FORMAT_JSON },
        { "application/json;q=0.5, application/xml;q=0.6", XL_FORMAT_XML },
        { "text/xml", XL_FORMAT_XML },
        { "text/plain", XL_FORMAT_AUTO },
        { "text/*;q=0.3, application/json;q=0.4", XL_FORMAT_JSON },
        { "text/html;q=0, */*;q=0.1", XL_FORMAT_JSON },
        { "text/html;level=1;q=0.2, text/plain;q=0.25", XL_FORMAT_AUTO },
        { "image/png", XL_FORMAT_HTML },
        { ",,;;q=, /", XL_FORMAT_HTML },
        { "text/plain;q=1.000,text/html;q=0.999", XL_FORMAT_AUTO },
    };
    size_t i;

    for (i = 0; i < sizeof cases / sizeof *cases; i++)
        is_i64(xl_query_accept(cases[i].accept), cases[i].want, cases[i].accept ? cases[i].accept : "no Accept");
}

int main(void)
{
    check_good_queries();
    check_bad_queries();
    check_views();
    check_accept();
    return done_testing();
}
