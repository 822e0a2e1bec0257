/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_html: what the page (html.c) and its cells (html_cell.c) share.
 */
#ifndef XL_HTML_H
#define XL_HTML_H

#include "xl_out.h"

typedef struct {
    xl_out_t out;
    const xl_snapshot_t *snapshot;
    const xl_query_t *query;
    uint64_t now_s; /* of the snapshot */
} xl_html_t;

bool xl_html_is_number(const xl_field_t *field); /* aligned to the right */

/* A label as people write it: "PASSED_DRY_RUN" -> "Passed dry run". */
void xl_html_label(xl_html_t *html, const char *label);

/* A value for people, its exact form in a title where that says more. */
void xl_html_value(xl_html_t *html, xl_sheet_e table, const xl_field_t *field, const void *row);

#endif
