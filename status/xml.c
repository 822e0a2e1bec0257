/* SPDX-License-Identifier: Apache-2.0
 *
 * The status as XML and the schema (XSD) of it, both from the tables. Every
 * value is an attribute; elements are named by us alone, so that no name of a
 * virtual host or limit can break the document. What has no value is left out.
 */
#include "xl_escape.h"
#include "xl_out.h"

static void element(xl_out_t *out, const xl_sheet_t *table, const void *row, size_t number)
{
    size_t i;

    (void)number;
    xl_out_text(out, "<");
    xl_out_text(out, table->element);
    for (i = 0; i < table->n; i++) {
        const xl_field_t *field = &table->fields[i];

        if (!xl_field_present(field, row))
            continue;
        xl_out_text(out, " ");
        xl_out_lower(out, field->name);
        xl_out_text(out, "=\"");
        if (field->kind == XL_FIELD_TEXT)
            xl_out_escaped(out, xl_escape_markup, xl_field_text(field, row));
        else
            xl_out_number(out, field, row);
        xl_out_text(out, "\"");
    }
    xl_out_text(out, "/>\n");
}

static void open_list(xl_out_t *out, const xl_sheet_t *table)
{
    xl_out_text(out, "<");
    xl_out_text(out, table->list);
    xl_out_text(out, ">\n");
}

static void close_list(xl_out_t *out, const xl_sheet_t *table)
{
    xl_out_text(out, "</");
    xl_out_text(out, table->list);
    xl_out_text(out, ">\n");
}

int xl_render_xml(const xl_snapshot_t *snapshot, const xl_query_t *query, const xl_sink_t *sink)
{
    static const xl_form_t form = { .open = open_list, .row = element, .close = close_list };
    xl_out_t out;

    xl_out_begin(&out, sink);
    xl_out_text(&out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                      "<xlimit-status schema=\"" XL_STATUS_SCHEMA "\" view=\"");
    xl_out_text(&out, xl_view_names[query->view]);
    xl_out_text(&out, "\">\n");
    xl_out_sheets(&out, snapshot, query->view, &form);
    xl_out_text(&out, "</xlimit-status>\n");
    return xl_out_end(&out);
}

/* Of the fields alone follows which attributes are always there. */
static bool is_required(xl_sheet_e t, const xl_field_t *field)
{
    if (t == XL_SHEET_LIMITS)
        return field->unit == XL_IN_STATE || field->unit == XL_IN_NAME;
    return !(field->show & XL_SHOW_MAYBE);
}

static const char *type_of(const xl_field_t *field)
{
    if (field->unit == XL_IN_STATE)
        return "state";
    if (field->kind == XL_FIELD_TEXT)
        return "xs:string";
    return field->unit == XL_IN_PERCENT || field->kind == XL_FIELD_RATE ? "fraction" : "xs:unsignedLong";
}

static void define_row(xl_out_t *out, xl_sheet_e t)
{
    const xl_sheet_t *table = &xl_sheets[t];
    size_t i;

    xl_out_text(out, "  <xs:complexType name=\"");
    xl_out_text(out, table->element);
    xl_out_text(out, "\">\n");
    for (i = 0; i < table->n; i++) {
        xl_out_text(out, "    <xs:attribute name=\"");
        xl_out_lower(out, table->fields[i].name);
        xl_out_text(out, "\" type=\"");
        xl_out_text(out, type_of(&table->fields[i]));
        xl_out_text(out, is_required(t, &table->fields[i]) ? "\" use=\"required\"/>\n" : "\"/>\n");
    }
    xl_out_text(out, "  </xs:complexType>\n");
}

static void define_list(xl_out_t *out, const xl_sheet_t *table)
{
    xl_out_text(out, "        <xs:element name=\"");
    xl_out_text(out, table->list);
    xl_out_text(out, "\" minOccurs=\"0\"><xs:complexType><xs:sequence><xs:element name=\"");
    xl_out_text(out, table->element);
    xl_out_text(out, "\" type=\"");
    xl_out_text(out, table->element);
    xl_out_text(out, "\" minOccurs=\"0\" maxOccurs=\"unbounded\"/></xs:sequence></xs:complexType></xs:element>\n");
}

static const char schema_head[] =
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
    "<!-- SPDX-License-Identifier: Apache-2.0 -->\n"
    "<!-- The XML of the handler xlimit-status; made from include/xl_fields.def. -->\n"
    "<xs:schema xmlns:xs=\"http://www.w3.org/2001/XMLSchema\">\n"
    "  <xs:element name=\"xlimit-status\">\n    <xs:complexType>\n      <xs:sequence>\n"
    "        <xs:element name=\"server\" type=\"server\"/>\n";

static const char schema_types[] =
    "      </xs:sequence>\n"
    "      <xs:attribute name=\"schema\" type=\"xs:string\" fixed=\"" XL_STATUS_SCHEMA "\" use=\"required\"/>\n"
    "      <xs:attribute name=\"view\" type=\"view\" use=\"required\"/>\n"
    "    </xs:complexType>\n  </xs:element>\n"
    "  <xs:simpleType name=\"state\"><xs:restriction base=\"xs:string\"><xs:enumeration value=\"ok\"/>"
    "<xs:enumeration value=\"warned\"/><xs:enumeration value=\"exceeded\"/></xs:restriction></xs:simpleType>\n"
    "  <xs:simpleType name=\"fraction\"><xs:restriction base=\"xs:decimal\"><xs:minInclusive value=\"0\"/>"
    "</xs:restriction></xs:simpleType>\n"
    "  <xs:simpleType name=\"view\"><xs:restriction base=\"xs:string\">";

/* XML Schema and not RELAX NG: libxml2 needs exponential time for a RELAX NG
 * element with thirty attributes that may be missing. */
int xl_render_schema(const xl_sink_t *sink)
{
    static const xl_sheet_e lists[] = { XL_SHEET_LIMITS, XL_SHEET_VHOSTS, XL_SHEET_ACCOUNTS, XL_SHEET_ZONES,
                                        XL_SHEET_CLIENTS, XL_SHEET_SETTINGS };
    xl_out_t out;
    xl_sheet_e t;
    size_t i;

    xl_out_begin(&out, sink);
    xl_out_text(&out, schema_head);
    for (i = 0; i < sizeof lists / sizeof *lists; i++)
        define_list(&out, &xl_sheets[lists[i]]);
    xl_out_text(&out, schema_types);
    for (i = 0; i < XL_VIEWS; i++) {
        xl_out_text(&out, "<xs:enumeration value=\"");
        xl_out_text(&out, xl_view_names[i]);
        xl_out_text(&out, "\"/>");
    }
    xl_out_text(&out, "</xs:restriction></xs:simpleType>\n");
    for (t = 0; t < XL_SHEETS; t++)
        define_row(&out, t);
    xl_out_text(&out, "</xs:schema>\n");
    return xl_out_end(&out);
}
