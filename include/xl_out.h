/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_out: the one way by which renderers write: through a small buffer into a
 * sink that the caller gives, so that a page of any length needs no memory and
 * is streamed. The first error of the sink stops everything after it.
 */
#ifndef XL_OUT_H
#define XL_OUT_H

#include "xl_render.h"

typedef struct {
    const xl_sink_t *sink;
    int error; /* first value other than 0 that the sink returned */
    size_t used;
    char buf[2048];
} xl_out_t;

void xl_out_begin(xl_out_t *out, const xl_sink_t *sink);
int xl_out_end(xl_out_t *out); /* writes the rest; the sink's error or 0 */

void xl_out_bytes(xl_out_t *out, const char *data, size_t length);
void xl_out_text(xl_out_t *out, const char *text); /* text of our own, as it is */
void xl_out_u64(xl_out_t *out, uint64_t number);
void xl_out_lower(xl_out_t *out, const char *name); /* ASCII */

/* A foreign text of any length through one of xl_escape.h, a piece at a time,
 * cut between characters only. */
typedef size_t (*xl_escape_fn)(char *buf, size_t size, const char *text);
void xl_out_escaped(xl_out_t *out, xl_escape_fn escape, const char *text);

/* For a query string: everything but letters, digits and "-._~" as %XX. */
void xl_out_percent(xl_out_t *out, const char *text);

/* How a format writes a list of rows; NULL: nothing there. */
typedef struct {
    void (*open)(xl_out_t *out, const xl_sheet_t *sheet);
    void (*row)(xl_out_t *out, const xl_sheet_t *sheet, const void *row, size_t number); /* from 1; 0: the only one */
    void (*close)(xl_out_t *out, const xl_sheet_t *sheet);
    bool for_metrics; /* is kept, and must not name people */
} xl_form_t;

/* All sheets of the view, in order. */
void xl_out_sheets(xl_out_t *out, const xl_snapshot_t *snapshot, xl_view_e view, const xl_form_t *form);

/* A number of the field as the data formats write it: integers in bytes and
 * seconds, a percentage with its tenth, a rate with its fraction. */
void xl_out_number(xl_out_t *out, const xl_field_t *field, const void *row);

#endif
