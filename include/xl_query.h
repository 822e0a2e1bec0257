/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_query: what the query string of a status page asks for. Everything is
 * checked here, against tables; an unknown parameter or value is an error that
 * names it and says what would be right. Texts of the client are bounded and
 * copied, never trusted: a message holds them escaped and cut.
 */
#ifndef XL_QUERY_H
#define XL_QUERY_H

#include "xl_snapshot.h"

typedef enum {
    XL_VIEW_OVERVIEW,
    XL_VIEW_VHOSTS,
    XL_VIEW_ACCOUNTS,
    XL_VIEW_ZONES,
    XL_VIEW_CLIENTS,
    XL_VIEW_CONFIG,
    XL_VIEWS
} xl_view_e;
typedef enum { XL_FORMAT_HTML, XL_FORMAT_XML, XL_FORMAT_JSON, XL_FORMAT_AUTO, XL_FORMATS } xl_format_e;

#define XL_QUERY_TEXT_MAX 256
#define XL_QUERY_TOP_MAX 1000000
#define XL_QUERY_CLIENTS 50 /* rows of clients where top= says nothing */
#define XL_QUERY_CLIENTS_MAX 10000 /* whatever it says */
#define XL_QUERY_REFRESH_MAX 86400
#define XL_QUERY_ERROR_MAX 1024

typedef struct {
    xl_view_e view;
    xl_format_e format;
    xl_units_e units;
    bool format_given;
    bool reverse;                  /* sort=-FIELD */
    char name[XL_QUERY_TEXT_MAX];  /* "": all rows */
    char sort[XL_QUERY_TEXT_MAX];  /* "": order of the configuration; of clients never "" */
    uint64_t top, refresh_s;       /* 0: not asked for */
} xl_query_t;

extern const char *const xl_view_names[XL_VIEWS];
extern const char *const xl_units_names[3]; /* by xl_units_e */

/* The tables that a view holds, *n of them, in order; the server's is first. */
const xl_sheet_e *xl_view_sheets(xl_view_e view, size_t *n);

bool xl_view_has(xl_view_e view, xl_sheet_e table);

/* Most rows of clients in the answer. */
size_t xl_query_clients(const xl_query_t *query);

/* Reads r->args (NULL: none). False: *query is of no use and error says, in
 * one line of plain text, what was wrong and what would be right. */
bool xl_query_parse(const char *args, xl_query_t *query, char error[XL_QUERY_ERROR_MAX]);

/* The format that an Accept field (NULL: none) likes best; HTML among equals
 * and where it names none of ours. */
xl_format_e xl_query_accept(const char *accept);

#endif
