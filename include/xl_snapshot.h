/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_snapshot: what a status page shows, copied out of shared memory first and
 * rendered afterwards, so that every format and every column of one answer
 * speaks of the same moment. Four tables of plain rows; xl_fields.def says
 * once what their columns are called, what they mean and in which unit they
 * are, and every renderer, the schema and docs/status.md work from it.
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
    uint64_t warn_least; /* lowest percentage of warn=, or XL_ABSENT */
    uint64_t vhost_row;  /* row of its virtual host, XL_ABSENT: shared by all */
} xl_snap_limit_t;

typedef struct {
    const char *name, *value, *meaning;
} xl_snap_setting_t;

typedef enum { XL_SHEET_SERVER, XL_SHEET_VHOSTS, XL_SHEET_LIMITS, XL_SHEET_SETTINGS, XL_SHEETS } xl_sheet_e;

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
enum { XL_SHOW_OVERVIEW = 1, XL_SHOW_VHOSTS = 2, XL_SHOW_CONFIG = 4, XL_SHOW_MAYBE = 8 };

typedef struct {
    const char *name; /* attribute, member, part of a line's name; written in lower case */
    xl_field_kind_e kind;
    xl_field_unit_e unit;
    unsigned show;
    size_t offset;
    const char *label, *help;
} xl_field_t;

typedef struct {
    const char *list;    /* "vhosts" */
    const char *element; /* "vhost"; the same as list where there is but one row */
    const char *caption;
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
 * every limit, refusing of every virtual host, and the server's sums. */
void xl_snapshot_derive(xl_snapshot_t *snapshot);

/* What will have been used at the end of the period when it goes on as it
 * began; XL_ABSENT before a hundredth of the period has passed. */
uint64_t xl_snapshot_project(uint64_t used, uint64_t start_s, uint64_t end_s, uint64_t now_s);

/* Keeps the rows whose `vhost` contains the text, whatever its case. Tables
 * without that column stay as they are; a limit shared by all hosts goes. */
void xl_snapshot_filter(xl_snapshot_t *snapshot, const char *text);

/* Sorts every table that has the field, in place: numbers from the largest,
 * texts from A on, absent ones last; reverse turns that round, but absent ones
 * stay last. Equal rows follow each other by virtual host and name. */
void xl_snapshot_sort(xl_snapshot_t *snapshot, const char *field, bool reverse);

/* Leaves at most n rows of the virtual hosts and of the limits. */
void xl_snapshot_top(xl_snapshot_t *snapshot, uint64_t n);

/* The words of the configuration language for the enumerations of a limit. */
const char *xl_snapshot_dimension(xl_dimension_e dimension);
const char *xl_snapshot_key(xl_key_e key);
const char *xl_snapshot_mode(xl_mode_e mode);

#endif
