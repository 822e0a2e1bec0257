/* SPDX-License-Identifier: Apache-2.0
 *
 * The status as lines "XLimit...: value", for scripts that split each at its
 * first colon. The names are made of ours alone (a row is told by its number),
 * so that no foreign byte stands left of a colon, and colons of a value stay
 * as they are; the rest is escaped as inside a JSON string, so that it can be
 * taken back. What has no value has no line, and a text that would show
 * nothing is "-".
 */
#include "xl_escape.h"
#include "xl_out.h"

#include <string.h>

/* "entries_used" -> "EntriesUsed" */
static void camel(xl_out_t *out, const char *name)
{
    bool first = true;

    for (; *name; name++) {
        bool upper = *name >= 'A' && *name <= 'Z', letter = upper || (*name >= 'a' && *name <= 'z');
        char c = !letter ? *name : first == upper ? *name : (char)(*name ^ 0x20);

        if (*name != '_')
            xl_out_bytes(out, &c, 1);
        first = *name == '_';
    }
}

/* A blank, a control character or DEL alone shows nothing. */
static bool is_visible(const char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text > ' ' && *text != 0x7f)
            return true;
    }
    return false;
}

static void line(xl_out_t *out, const xl_field_t *field, const void *row)
{
    camel(out, field->name);
    xl_out_text(out, ": ");
    if (field->kind != XL_FIELD_TEXT)
        xl_out_number(out, field, row);
    else if (is_visible(xl_field_text(field, row)))
        xl_out_escaped(out, xl_escape_json, xl_field_text(field, row));
    else
        xl_out_text(out, "-");
    xl_out_text(out, "\n");
}

static void lines(xl_out_t *out, const xl_sheet_t *table, const void *row, size_t number)
{
    size_t i;

    for (i = 0; i < table->n; i++) {
        if (!xl_field_present(&table->fields[i], row))
            continue;
        xl_out_text(out, "XLimit");
        if (number) {
            camel(out, table->element);
            xl_out_u64(out, number);
        }
        line(out, &table->fields[i], row);
    }
}

int xl_render_auto(const xl_snapshot_t *snapshot, const xl_query_t *query, const xl_sink_t *sink)
{
    static const xl_form_t form = { .row = lines, .for_metrics = true };
    xl_out_t out;

    xl_out_begin(&out, sink);
    xl_out_sheets(&out, snapshot, query->view, &form);
    return xl_out_end(&out);
}
