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

static void object(xl_out_t *out, const xl_sheet_t *table, const void *row)
{
    size_t i;

    for (i = 0; i < table->n; i++) {
        xl_out_text(out, i ? ",\"" : "{\"");
        xl_out_lower(out, table->fields[i].name);
        xl_out_text(out, "\":");
        value(out, &table->fields[i], row);
    }
    xl_out_text(out, "}");
}

static void list(xl_out_t *out, const xl_snapshot_t *snapshot, xl_sheet_e t)
{
    size_t i;

    xl_out_text(out, "[");
    for (i = 0; i < snapshot->tables[t].n; i++) {
        xl_out_text(out, i ? ",\n" : "\n");
        object(out, &xl_sheets[t], xl_snapshot_row(snapshot, t, i));
    }
    xl_out_text(out, "]");
}

int xl_render_json(const xl_snapshot_t *snapshot, const xl_query_t *query, const xl_sink_t *sink)
{
    xl_out_t out;
    size_t n, i;
    const xl_sheet_e *tables = xl_view_sheets(query->view, &n);

    xl_out_begin(&out, sink);
    xl_out_text(&out, "{\"schema\":\"" XL_STATUS_SCHEMA "\",\"view\":\"");
    xl_out_text(&out, xl_view_names[query->view]);
    xl_out_text(&out, "\"");
    for (i = 0; i < n; i++) {
        xl_out_text(&out, ",\n\"");
        xl_out_text(&out, xl_sheets[tables[i]].list);
        xl_out_text(&out, "\":");
        if (tables[i] == XL_SHEET_SERVER)
            object(&out, &xl_sheets[tables[i]], xl_snapshot_row(snapshot, tables[i], 0));
        else
            list(&out, snapshot, tables[i]);
    }
    xl_out_text(&out, "}\n");
    return xl_out_end(&out);
}
