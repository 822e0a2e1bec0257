/* SPDX-License-Identifier: Apache-2.0
 *
 * The status as JSON: one object, one array per table of rows, integers in
 * bytes and seconds. Every field of a table is in every row, null where there
 * is no value, so that a reader never has to ask whether a member exists.
 */
#include "xl_escape.h"
#include "xl_out.h"

static void value(xl_out_t *out, const xl_field_t *field, const void *row)
{
    if (!xl_field_present(field, row)) {
        xl_out_text(out, "null");
    } else if (field->kind == XL_FIELD_TEXT) {
        xl_out_text(out, "\"");
        xl_out_escaped(out, xl_escape_json, xl_field_text(field, row));
        xl_out_text(out, "\"");
    } else {
        xl_out_number(out, field, row);
    }
}

static void member(xl_out_t *out, const char *name)
{
    xl_out_text(out, ",\n\"");
    xl_out_text(out, name);
    xl_out_text(out, "\":");
}

static void open_list(xl_out_t *out, const xl_sheet_t *sheet)
{
    member(out, sheet->list);
    xl_out_text(out, "[");
}

static void close_list(xl_out_t *out, const xl_sheet_t *sheet)
{
    (void)sheet;
    xl_out_text(out, "]");
}

static void object(xl_out_t *out, const xl_sheet_t *sheet, const void *row, size_t number)
{
    size_t i;

    if (number)
        xl_out_text(out, number > 1 ? ",\n" : "\n");
    else
        member(out, sheet->list);
    for (i = 0; i < sheet->n; i++) {
        xl_out_text(out, i ? ",\"" : "{\"");
        xl_out_lower(out, sheet->fields[i].name);
        xl_out_text(out, "\":");
        value(out, &sheet->fields[i], row);
    }
    xl_out_text(out, "}");
}

int xl_render_json(const xl_snapshot_t *snapshot, const xl_query_t *query, const xl_sink_t *sink)
{
    static const xl_form_t form = { .open = open_list, .row = object, .close = close_list };
    xl_out_t out;

    xl_out_begin(&out, sink);
    xl_out_text(&out, "{\"schema\":\"" XL_STATUS_SCHEMA "\",\"view\":\"");
    xl_out_text(&out, xl_view_names[query->view]);
    xl_out_text(&out, "\"");
    xl_out_sheets(&out, snapshot, query->view, &form);
    xl_out_text(&out, "}\n");
    return xl_out_end(&out);
}
