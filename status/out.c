/* SPDX-License-Identifier: Apache-2.0
 *
 * Buffered writing for the renderers. Owns the buffer inside xl_out_t and
 * nothing else. Invariant: used <= sizeof buf; after an error nothing reaches
 * the sink any more.
 */
#include "xl_out.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PIECE_BYTES 256 /* of foreign text, escaped at once */

void xl_out_begin(xl_out_t *out, const xl_sink_t *sink)
{
    out->sink = sink;
    out->error = 0;
    out->used = 0;
}

static void flush(xl_out_t *out)
{
    if (out->used && !out->error)
        out->error = out->sink->write(out->sink->ctx, out->buf, out->used);
    out->used = 0;
}

int xl_out_end(xl_out_t *out)
{
    flush(out);
    return out->error;
}

void xl_out_bytes(xl_out_t *out, const char *data, size_t length)
{
    while (length) {
        size_t room = sizeof out->buf - out->used;
        size_t n = length < room ? length : room;

        memcpy(out->buf + out->used, data, n);
        out->used += n;
        data += n;
        length -= n;
        if (out->used == sizeof out->buf)
            flush(out);
    }
}

void xl_out_text(xl_out_t *out, const char *text)
{
    xl_out_bytes(out, text, strlen(text));
}

void xl_out_u64(xl_out_t *out, uint64_t number)
{
    char buf[24];

    snprintf(buf, sizeof buf, "%" PRIu64, number);
    xl_out_text(out, buf);
}

void xl_out_lower(xl_out_t *out, const char *name)
{
    for (; *name; name++) {
        char c = *name >= 'A' && *name <= 'Z' ? (char)(*name - 'A' + 'a') : *name;

        xl_out_bytes(out, &c, 1);
    }
}

/* How much of the text makes a piece: PIECE_BYTES, less the beginning of a
 * character that would be cut. Where no character begins in the last four
 * bytes there is none to cut. */
static size_t piece_length(const char *text)
{
    size_t n = strnlen(text, PIECE_BYTES);
    size_t back;

    if (n < PIECE_BYTES)
        return n;
    for (back = 0; back < 4; back++) {
        if (((unsigned char)text[n - back] & 0xC0) != 0x80)
            return n - back;
    }
    return n;
}

void xl_out_escaped(xl_out_t *out, xl_escape_fn escape, const char *text)
{
    char piece[PIECE_BYTES + 1], escaped[6 * PIECE_BYTES + 1];

    while (*text) {
        size_t n = piece_length(text);

        memcpy(piece, text, n);
        piece[n] = '\0';
        xl_out_bytes(out, escaped, escape(escaped, sizeof escaped, piece));
        text += n;
    }
}

static bool is_unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.'
           || c == '_' || c == '~';
}

void xl_out_percent(xl_out_t *out, const char *text)
{
    char buf[4];

    for (; *text; text++) {
        if (is_unreserved(*text)) {
            xl_out_bytes(out, text, 1);
            continue;
        }
        snprintf(buf, sizeof buf, "%%%02X", (unsigned)(unsigned char)*text);
        xl_out_bytes(out, buf, 3);
    }
}

/* ".05", ".5" or nothing. */
static void out_fraction(xl_out_t *out, uint64_t thousandths)
{
    char buf[8];
    size_t n;

    if (!thousandths)
        return;
    snprintf(buf, sizeof buf, ".%03u", (unsigned)(thousandths % 1000));
    for (n = strlen(buf); buf[n - 1] == '0'; n--)
        continue;
    xl_out_bytes(out, buf, n);
}

void xl_out_number(xl_out_t *out, const xl_field_t *field, const void *row)
{
    uint64_t whole, thousandths = 0;

    if (field->kind == XL_FIELD_RATE) {
        xl_field_rate_parts(xl_field_rate(field, row), &whole, &thousandths);
    } else {
        whole = xl_field_u64(field, row);
        if (field->unit == XL_IN_PERCENT) {
            thousandths = whole % 10 * 100;
            whole /= 10;
        }
    }
    xl_out_u64(out, whole);
    out_fraction(out, thousandths);
}

static void out_list(xl_out_t *out, const xl_sheet_t *sheet, const xl_rows_t *rows, const xl_form_t *form)
{
    size_t i;

    if (form->open)
        form->open(out, sheet);
    for (i = 0; i < rows->n; i++)
        form->row(out, sheet, (const char *)rows->rows + i * sheet->row_size, i + 1);
    if (form->close)
        form->close(out, sheet);
}

void xl_out_sheets(xl_out_t *out, const xl_snapshot_t *snapshot, xl_view_e view, const xl_form_t *form)
{
    size_t n, i;
    const xl_sheet_e *sheets = xl_view_sheets(view, &n);

    for (i = 0; i < n; i++) {
        const xl_sheet_t *sheet = &xl_sheets[sheets[i]];

        if (sheets[i] == XL_SHEET_SERVER)
            form->row(out, sheet, xl_snapshot_row(snapshot, sheets[i], 0), 0);
        else if (!form->for_metrics || !sheet->names_people)
            out_list(out, sheet, &snapshot->tables[sheets[i]], form);
    }
}
