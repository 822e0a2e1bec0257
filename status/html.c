/* SPDX-License-Identifier: Apache-2.0
 *
 * The status as a page: head, navigation, a sentence about how things stand,
 * and one table per list of rows. No script, no asset from elsewhere, one
 * style sheet (html_style.c) that the policy allows by its hash: a page needs
 * no random number then, and the same snapshot is the same bytes. Columns come
 * from xl_fields.def; one that has no value in any row is left out.
 */
#include "xl_escape.h"
#include "xl_html.h"

#include <string.h>

static const unsigned view_shows[XL_VIEWS] = {
    [XL_VIEW_OVERVIEW] = XL_SHOW_OVERVIEW,
    [XL_VIEW_VHOSTS] = XL_SHOW_VHOSTS,
    [XL_VIEW_ACCOUNTS] = XL_SHOW_ACCOUNTS,
    [XL_VIEW_ZONES] = XL_SHOW_KEYS,
    [XL_VIEW_CLIENTS] = XL_SHOW_KEYS,
    [XL_VIEW_CONFIG] = XL_SHOW_CONFIG,
};

static const char *const view_labels[XL_VIEWS] = {
    [XL_VIEW_OVERVIEW] = "Overview", [XL_VIEW_VHOSTS] = "Virtual hosts", [XL_VIEW_ACCOUNTS] = "Accounts",
    [XL_VIEW_ZONES] = "Zones", [XL_VIEW_CLIENTS] = "Clients", [XL_VIEW_CONFIG] = "Configuration",
};

/* What name= looks at; NULL: virtual hosts. */
static const char *const searched[XL_VIEWS] = {
    [XL_VIEW_ACCOUNTS] = "Account", [XL_VIEW_ZONES] = "Zone", [XL_VIEW_CLIENTS] = "Key or virtual host",
};

/* Rows of one table that stand under one caption. */
typedef struct {
    xl_sheet_e table;
    const char *caption;
    const char *dimension; /* limits: only these; NULL: all rows */
    const char *without;   /* a field that another one tells here, or NULL */
} group_t;

static void text(xl_html_t *html, const char *ours)
{
    xl_out_text(&html->out, ours);
}

static void foreign(xl_html_t *html, const char *theirs)
{
    xl_out_escaped(&html->out, xl_escape_markup, theirs);
}

/* The same page with another view, format or order; "" or NULL: none. */
static void link_to(xl_html_t *html, xl_view_e view, const char *format, const char *order, const char *sort)
{
    const xl_query_t *query = html->query;

    text(html, "?view=");
    text(html, xl_view_names[view]);
    if (format) {
        text(html, "&amp;format=");
        text(html, format);
    }
    if (query->units != XL_UNITS_SI) {
        text(html, "&amp;units=");
        text(html, xl_units_names[query->units]);
    }
    if (query->name[0] && searched[view] == searched[query->view]) {
        text(html, "&amp;name=");
        xl_out_percent(&html->out, query->name);
    }
    if (query->top) {
        text(html, "&amp;top=");
        xl_out_u64(&html->out, query->top);
    }
    if (query->refresh_s && !format) {
        text(html, "&amp;refresh=");
        xl_out_u64(&html->out, query->refresh_s);
    }
    if (sort && *sort) {
        text(html, "&amp;sort=");
        text(html, order);
        xl_out_lower(&html->out, sort);
    }
}

static void head(xl_html_t *html, const xl_snap_server_t *server)
{
    text(html, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
               "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
               "<meta name=\"robots\" content=\"noindex\">\n");
    if (html->query->refresh_s) {
        text(html, "<meta http-equiv=\"refresh\" content=\"");
        xl_out_u64(&html->out, html->query->refresh_s);
        text(html, "\">\n");
    }
    text(html, "<title>xlimit: ");
    text(html, view_labels[html->query->view]);
    text(html, " of ");
    foreign(html, server->name);
    text(html, "</title>\n<style>");
    text(html, xl_html_style);
    text(html, "</style>\n</head>\n<body>\n");
}

static void navigation(xl_html_t *html)
{
    xl_view_e view;
    size_t format;

    text(html, "<nav aria-label=\"Views\"><ul class=\"views\">");
    for (view = 0; view < XL_VIEWS; view++) {
        text(html, "<li><a href=\"");
        link_to(html, view, NULL, NULL, NULL);
        text(html, view == html->query->view ? "\" aria-current=\"page\">" : "\">");
        text(html, view_labels[view]);
        text(html, "</a></li>");
    }
    text(html, "</ul><ul class=\"formats\">");
    for (format = XL_FORMAT_XML; format < XL_FORMATS; format++) {
        text(html, "<li><a href=\"");
        link_to(html, html->query->view, xl_renderers[format].name, html->query->reverse ? "-" : "", html->query->sort);
        text(html, "\">");
        text(html, xl_renderers[format].name);
        text(html, "</a></li>");
    }
    text(html, "</ul></nav>\n");
}

static void top_of_page(xl_html_t *html, const xl_snap_server_t *server)
{
    const xl_field_t *generated = xl_field_find(XL_SHEET_SERVER, "generated");

    text(html, "<header>\n<p class=\"brand\"><b>xlimit</b> <span>");
    foreign(html, server->name);
    text(html, "</span></p>\n");
    navigation(html);
    text(html, "</header>\n<main>\n<h1>");
    text(html, view_labels[html->query->view]);
    text(html, " <small>");
    xl_html_value(html, XL_SHEET_SERVER, generated, server);
    text(html, " UTC</small></h1>\n");
}

static void count_of(xl_html_t *html, uint64_t n, const char *one, const char *many)
{
    xl_out_u64(&html->out, n);
    text(html, n == 1 ? one : many);
}

/* One sentence, so that a glance is enough. */
static void verdict(xl_html_t *html, const xl_snap_server_t *server)
{
    text(html, "<p class=\"verdict ");
    text(html, server->exceeded ? "exceeded" : server->warned ? "warned" : "ok");
    text(html, "\">");
    if (server->exceeded)
        count_of(html, server->exceeded, " limit is exceeded", " limits are exceeded");
    if (server->exceeded && server->warned)
        text(html, ", ");
    if (server->warned)
        count_of(html, server->warned, " limit is past its warning", " limits are past their warnings");
    if (!server->limits)
        text(html, "No limits are configured");
    else if (!server->exceeded && !server->warned)
        text(html, "All limits are kept");
    text(html, ".</p>\n");
}

static void tiles(xl_html_t *html, const xl_snap_server_t *server)
{
    const xl_sheet_t *table = &xl_sheets[XL_SHEET_SERVER];
    size_t i;

    text(html, "<ul class=\"tiles\">\n");
    for (i = 0; i < table->n; i++) {
        const xl_field_t *field = &table->fields[i];

        if (!(field->show & view_shows[html->query->view]) || !xl_field_present(field, server))
            continue;
        text(html, xl_html_is_number(field) ? "<li><span>" : "<li class=\"wide\"><span>");
        xl_html_label(html, field->label);
        text(html, "</span> <b>");
        xl_html_value(html, XL_SHEET_SERVER, field, server);
        text(html, "</b></li>\n");
    }
    text(html, "</ul>\n");
}

static void search(xl_html_t *html)
{
    text(html, "<form method=\"get\" role=\"search\"><label for=\"name\">");
    text(html, searched[html->query->view] ? searched[html->query->view] : "Virtual host");
    text(html, " contains</label><input id=\"name\" name=\"name\" required=\"required\" maxlength=\"200\" value=\"");
    foreign(html, html->query->name);
    text(html, "\"><input type=\"hidden\" name=\"view\" value=\"");
    text(html, xl_view_names[html->query->view]);
    text(html, "\"><input type=\"hidden\" name=\"units\" value=\"");
    text(html, xl_units_names[html->query->units]);
    text(html, "\"><button type=\"submit\">Filter</button>");
    if (html->query->name[0]) {
        text(html, " <a href=\"?view=");
        text(html, xl_view_names[html->query->view]);
        text(html, "\">show all</a>");
    }
    text(html, "</form>\n");
}

static bool belongs(const group_t *group, const void *row)
{
    const xl_snap_limit_t *limit = row;

    return !group->dimension || (limit->dimension && !strcmp(limit->dimension, group->dimension));
}

/* Whether the field is a column: the view shows it and some row has a value. */
static bool is_column(const xl_html_t *html, const group_t *group, const xl_field_t *field)
{
    size_t i;

    if (!(field->show & view_shows[html->query->view]) || (group->without && !strcmp(field->name, group->without)))
        return false;
    for (i = 0; i < html->snapshot->tables[group->table].n; i++) {
        const void *row = xl_snapshot_row(html->snapshot, group->table, i);

        if (belongs(group, row) && xl_field_present(field, row))
            return true;
    }
    return false;
}

static void heading(xl_html_t *html, xl_sheet_e table, const xl_field_t *field)
{
    const xl_query_t *query = html->query;
    bool sorted = xl_field_find(table, query->sort) == field;
    bool down = (field->kind != XL_FIELD_TEXT) != query->reverse;

    text(html, xl_html_is_number(field) ? "<th scope=\"col\" class=\"n\"" : "<th scope=\"col\"");
    if (sorted)
        text(html, down ? " aria-sort=\"descending\"" : " aria-sort=\"ascending\"");
    text(html, "><a title=\"");
    foreign(html, field->help);
    text(html, "\" href=\"");
    link_to(html, query->view, NULL, sorted && !query->reverse ? "-" : "", field->name);
    text(html, "\">");
    xl_html_label(html, field->label);
    text(html, "</a></th>");
}

static void cell(xl_html_t *html, const group_t *group, const xl_field_t *field, const void *row)
{
    bool names_row = field->unit == XL_IN_NAME;

    text(html, names_row ? "<th scope=\"row\"" : "<td");
    if (xl_html_is_number(field))
        text(html, " class=\"n\"");
    else if (field->unit == XL_IN_NONE)
        text(html, " class=\"t\"");
    text(html, " data-label=\"");
    xl_html_label(html, field->label);
    text(html, "\">");
    xl_html_value(html, group->table, field, row);
    text(html, names_row ? "</th>" : "</td>");
}

static void row_of(xl_html_t *html, const group_t *group, const void *row, const bool *columns)
{
    const xl_sheet_t *table = &xl_sheets[group->table];
    size_t i;

    text(html, "<tr>");
    for (i = 0; i < table->n; i++) {
        if (columns[i])
            cell(html, group, &table->fields[i], row);
    }
    text(html, "</tr>\n");
}

/* The table has the first few rows alone. */
static void of_how_many(xl_html_t *html)
{
    const xl_snap_server_t *server = xl_snapshot_row(html->snapshot, XL_SHEET_SERVER, 0);

    text(html, " <small>");
    xl_out_u64(&html->out, html->snapshot->tables[XL_SHEET_CLIENTS].n);
    text(html, " of ");
    xl_html_value(html, XL_SHEET_SERVER, xl_field_find(XL_SHEET_SERVER, "keys_used"), server);
    text(html, " keys</small>");
}

#define COLUMNS_MAX 64

static void table_of(xl_html_t *html, const group_t *group)
{
    const xl_sheet_t *table = &xl_sheets[group->table];
    bool columns[COLUMNS_MAX] = { false }, any = false;
    size_t i;

    for (i = 0; i < table->n && i < COLUMNS_MAX; i++) {
        columns[i] = is_column(html, group, &table->fields[i]);
        any = any || columns[i];
    }
    if (!any)
        return;
    text(html, "<div class=\"scroll\"><table>\n<caption>");
    text(html, group->caption);
    if (group->table == XL_SHEET_CLIENTS)
        of_how_many(html);
    text(html, "</caption>\n<thead><tr>");
    for (i = 0; i < table->n && i < COLUMNS_MAX; i++) {
        if (columns[i])
            heading(html, group->table, &table->fields[i]);
    }
    text(html, "</tr></thead>\n<tbody>\n");
    for (i = 0; i < html->snapshot->tables[group->table].n; i++) {
        const void *row = xl_snapshot_row(html->snapshot, group->table, i);

        if (belongs(group, row))
            row_of(html, group, row, columns);
    }
    text(html, "</tbody>\n</table></div>\n");
}

static void none_of(xl_html_t *html, const group_t *group)
{
    text(html, "<p>");
    text(html, group->caption);
    text(html, ": none.</p>\n");
}

/* Dimensions have little in common: a table each. */
static void tables_of(xl_html_t *html, xl_sheet_e table)
{
    static const char *const captions[XL_DIMS] = {
        [XL_DIM_QUOTA] = "Quotas", [XL_DIM_BANDWIDTH] = "Bandwidth", [XL_DIM_UPLOAD] = "Uploads",
        [XL_DIM_REQUESTS] = "Requests", [XL_DIM_CONNECTIONS] = "Connections", [XL_DIM_PENALTY] = "Penalties",
        [XL_DIM_BLOCK] = "Blocks"
    };
    group_t group = { table, xl_sheets[table].caption, NULL, NULL };
    xl_dimension_e d;

    if (table != XL_SHEET_LIMITS) {
        table_of(html, &group);
        if (!html->snapshot->tables[table].n)
            none_of(html, &group);
        return;
    }
    for (d = 0; d < XL_DIMS; d++) {
        group.caption = captions[d];
        group.dimension = xl_snapshot_dimension(d);
        group.without = d == XL_DIM_CONNECTIONS ? "amount" : NULL; /* `allows` says it */
        table_of(html, &group);
    }
}

static void footer(xl_html_t *html, const xl_snap_server_t *server)
{
    xl_query_t other = *html->query;
    const xl_query_t *asked = html->query;
    xl_units_e units;

    text(html, "</main>\n<footer><p>Times are UTC. Units:");
    for (units = XL_UNITS_SI; units <= XL_UNITS_RAW; units++) {
        text(html, " ");
        if (units == asked->units) {
            text(html, xl_units_names[units]);
            continue;
        }
        other.units = units;
        html->query = &other;
        text(html, "<a href=\"");
        link_to(html, asked->view, NULL, asked->reverse ? "-" : "", asked->sort);
        text(html, "\">");
        text(html, xl_units_names[units]);
        text(html, "</a>");
        html->query = asked;
    }
    text(html, ". Each value's title has the exact number. mod_xlimit ");
    foreign(html, server->version);
    text(html, "</p></footer>\n</body>\n</html>\n");
}

int xl_render_html(const xl_snapshot_t *snapshot, const xl_query_t *query, const xl_sink_t *sink)
{
    const xl_snap_server_t *server = xl_snapshot_row(snapshot, XL_SHEET_SERVER, 0);
    xl_html_t html = { .snapshot = snapshot, .query = query, .now_s = server->generated_s };
    size_t n, i;
    const xl_sheet_e *tables = xl_view_sheets(query->view, &n);

    xl_out_begin(&html.out, sink);
    head(&html, server);
    top_of_page(&html, server);
    if (query->view == XL_VIEW_OVERVIEW)
        verdict(&html, server);
    tiles(&html, server);
    search(&html);
    for (i = 1; i < n; i++)
        tables_of(&html, tables[i]);
    footer(&html, server);
    return xl_out_end(&html.out);
}
