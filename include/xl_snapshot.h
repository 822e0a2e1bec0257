/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_snapshot: what a status page shows, copied out of shared memory first and
 * rendered afterwards, so that every format and every column of one answer
 * speaks of the same moment. Tables of plain rows; xl_fields.def says
 * once what their columns are called, what they mean and in which unit they
 * are, and every renderer, the schema and docs/status.md work from it. Of tables
 * of keys, which may be huge, a snapshot holds the first few rows only.
 *
 * Rows and their strings belong to the caller. No lock, no clock, no malloc.
 */
#ifndef XL_SNAPSHOT_H
#define XL_SNAPSHOT_H

#include "xl_ledger.h"
#include "xl_limit.h"

#define XL_STATUS_SCHEMA "xlimit-status/1"

/* A number that is not known or makes no sense in its row; a text is NULL, a
 * rate has per_ns 0 then. JSON says null, the others leave it out. */
#define XL_ABSENT UINT64_MAX

typedef struct {
    const char *version, *name; /* of the module; of the main server */
    uint64_t generated_s, uptime_s;
    uint64_t generation;
    const char *state;
    uint64_t entries_used, entries_capacity;
    uint64_t keys_used, keys_capacity, keys_evicted; /* XL_ABSENT: there is no table of clients */
    uint64_t requests, sent_bytes, active;      /* sums over all virtual hosts */
    uint64_t vhosts, limits, exceeded, warned; /* rows before any filter */
} xl_snap_server_t;

typedef struct {
    const char *vhost, *account;
    uint64_t requests, sent_bytes, active;
    uint64_t refusing; /* limits of it that refuse at the moment */
    uint64_t verdicts[XL_VERDICTS];

    uint64_t account_row; /* row of its account, XL_ABSENT: it has none */
} xl_snap_vhost_t;

typedef struct {
    const char *state, *name, *vhost, *account, *place;
    const char *dimension, *key, *mode, *unit;
    uint64_t used, amount, percent; /* percent: in tenths */
    uint64_t left, released, projected, previous;
    const char *period;
    uint64_t period_start_s, period_end_s;
    uint64_t slice_s;
    const char *warn;
    xl_rate_t rate;
    uint64_t burst_bytes, after_bytes;
    uint64_t active, requests, bytes;
    const char *allows; /* of what is neither a quota nor a bandwidth */
    uint64_t refused, would_refuse, delayed;
    uint64_t refusing_since_s, suppressed;
    const char *action, *class, *when, *origin, *source;

    bool in_requests;    /* amounts are requests, not bytes */
    bool at_once;        /* what is active is what is used of amount */
    uint64_t warn_least; /* lowest percentage of warn=, or XL_ABSENT */
    uint64_t vhost_row;  /* row of its virtual host, XL_ABSENT: shared by all */
    uint64_t account_row; /* row of the account in whose section it stands, or XL_ABSENT */
} xl_snap_limit_t;

typedef struct {
    const char *name, *value, *meaning;
} xl_snap_setting_t;

/* A table of keys: a zone, or that of clients. */
typedef struct {
    const char *name, *key;
    uint64_t percent, used, capacity;
    uint64_t pinned, locked, evictions, limits;
    const char *source;
} xl_snap_zone_t;

/* One counter of one key in one limit. */
typedef struct {
    const char *state, *key, *zone, *limit, *vhost, *account, *place;
    const char *dimension, *part, *unit;
    uint64_t percent, used, amount; /* percent: in tenths */
    uint64_t requests, bytes, active;
    uint64_t locked_s, last_refused_s, suppressed;

    bool in_requests; /* used and amount are requests, not bytes */
    bool over;        /* would be refused now, whatever used says */
} xl_snap_client_t;

typedef struct {
    const char *name;
    uint64_t hosts, requests, sent_bytes, active, refusing;
} xl_snap_account_t;

typedef enum {
    XL_SHEET_SERVER,
    XL_SHEET_VHOSTS,
    XL_SHEET_LIMITS,
    XL_SHEET_SETTINGS,
    XL_SHEET_ZONES,
    XL_SHEET_CLIENTS,
    XL_SHEET_ACCOUNTS,
    XL_SHEETS
} xl_sheet_e;

typedef enum {
    XL_FIELD_TEXT, /* const char * */
    XL_FIELD_U64,  /* uint64_t */
    XL_FIELD_RATE  /* xl_rate_t */
} xl_field_kind_e;

typedef enum {
    XL_IN_NONE,    /* plain text */
    XL_IN_NAME,    /* text that tells the row from the others */
    XL_IN_STATE,   /* ok, warned, exceeded */
    XL_IN_COUNT,
    XL_IN_BYTES,
    XL_IN_AMOUNT,  /* bytes or requests, as the row's `unit` says */
    XL_IN_SECONDS,
    XL_IN_MOMENT,  /* seconds since 1970-01-01T00:00:00Z */
    XL_IN_PERCENT, /* held in tenths, written "72.4" */
    XL_IN_RATE     /* bytes per second, with a fraction where it has one */
} xl_field_unit_e;

/* The views of the HTML page that show the column; data formats give all. MAYBE:
 * a row may be without it (of limits, but for state and name, any field may). */
enum {
    XL_SHOW_OVERVIEW = 1,
    XL_SHOW_VHOSTS = 2,
    XL_SHOW_CONFIG = 4,
    XL_SHOW_MAYBE = 8,
    XL_SHOW_KEYS = 16, /* zones and clients */
    XL_SHOW_ACCOUNTS = 32
};

typedef struct {
    const char *name; /* attribute, member, part of a line's name; written in lower case */
    xl_field_kind_e kind;
    xl_field_unit_e unit;
    unsigned show;
    size_t offset;
    const char *label, *help;
} xl_field_t;

#define XL_FILTERS_MAX 2

typedef struct {
    const char *list;    /* "vhosts" */
    const char *element; /* "vhost"; the same as list where there is but one row */
    const char *caption;
    const char *filtered_by[XL_FILTERS_MAX]; /* fields that name= looks at; none: keeps all rows, top= as well */
    bool names_people; /* never where it would be kept as a metric: in ?auto */
    size_t row_size;
    const xl_field_t *fields;
    size_t n;
} xl_sheet_t;

extern const xl_sheet_t xl_sheets[XL_SHEETS];

typedef struct {
    void *rows;
    size_t n;
} xl_rows_t;

typedef struct {
    xl_rows_t tables[XL_SHEETS]; /* of the row types above, in that order */
} xl_snapshot_t;

const void *xl_snapshot_row(const xl_snapshot_t *snapshot, xl_sheet_e table, size_t i);

const xl_field_t *xl_field_find(xl_sheet_e table, const char *name); /* case does not matter */
bool xl_field_present(const xl_field_t *field, const void *row);
const char *xl_field_text(const xl_field_t *field, const void *row);
uint64_t xl_field_u64(const xl_field_t *field, const void *row);
xl_rate_t xl_field_rate(const xl_field_t *field, const void *row);

/* The whole units per second of a rate and its thousandths. */
void xl_field_rate_parts(xl_rate_t rate, uint64_t *whole, uint64_t *thousandths);

/* Fills in what follows from the rest: left, percent, projected and state of
 * every limit, percent of every zone, refusing of every virtual host, all of every
 * account but its name, and the server's sums. */
void xl_snapshot_derive(xl_snapshot_t *snapshot);

/* unit, percent and state of a client, without which he has no place in an order. */
void xl_snapshot_derive_client(xl_snap_client_t *client);

/* What will have been used at the end of the period when it goes on as it
 * began; XL_ABSENT before a hundredth of the period has passed. */
uint64_t xl_snapshot_project(uint64_t used, uint64_t start_s, uint64_t end_s, uint64_t now_s);

/* Whether the row has the text, whatever its case, in a column that name= looks
 * at; a table without such a column has all of its rows. */
bool xl_snapshot_matches(xl_sheet_e table, const void *row, const char *text);

/* Keeps the rows that match. A limit shared by all hosts goes. */
void xl_snapshot_filter(xl_snapshot_t *snapshot, const char *text);

/* Sorts every table that has the field, in place: numbers from the largest,
 * texts from A on, absent ones last; reverse turns that round, but absent ones
 * stay last. Equal rows follow each other by what is used, virtual host and name. */
void xl_snapshot_sort(xl_snapshot_t *snapshot, const char *field, bool reverse);

/* Leaves at most n rows of every table that name= filters. */
void xl_snapshot_top(xl_snapshot_t *snapshot, uint64_t n);

typedef struct {
    const xl_field_t *by, *then, *vhost, *name; /* NULL: the table has none */
    bool reverse;                               /* of by */
} xl_order_t;
xl_order_t xl_order_of(xl_sheet_e table, const char *field, bool reverse);

/* The first `most` of any number of rows, in memory for so many: each is added
 * once. true: *row is now one that is not among them, or no longer, so that
 * what its texts stand in may serve for the next one. */
typedef struct {
    xl_order_t order;
    char *rows;
    size_t size, n, most;
} xl_top_t;
xl_top_t xl_top_begin(xl_sheet_e table, const xl_order_t *order, void *rows, size_t most);
bool xl_top_add(xl_top_t *top, void *row);
void xl_top_end(const xl_top_t *top); /* top->n rows, in order */

/* The words of the configuration language for the enumerations of a limit. */
const char *xl_snapshot_dimension(xl_dimension_e dimension);
const char *xl_snapshot_key(xl_key_e key);
const char *xl_snapshot_mode(xl_mode_e mode);

#endif
