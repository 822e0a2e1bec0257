/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_fill: what the parts of the fill (fill.c: server, hosts, accounts, settings;
 * fill_limits.c; fill_keys.c: zones and clients) share while they copy
 * configuration and counters into one snapshot. All read atomic words without a
 * lock and keep no pointer into shared memory.
 */
#ifndef XL_FILL_H
#define XL_FILL_H

#include "xl_query.h"
#include "xl_status.h"

#include "xl_config.h"
#include "xl_conn.h"

#include "apr_hash.h"

/* What is known of an entry of the ledger that counts for a limit. */
typedef struct {
    bool registered;         /* its limit stands in the configuration */
    uint32_t row;            /* 1 + row among the limits; 0: none */
    const xl_limit_t *limit; /* NULL: one from .htaccess */
    xl_dimension_e dimension;
} xl_owner_t;

typedef struct {
    apr_pool_t *pool;
    server_rec *main_server;
    const xl_query_t *query;
    const xl_ledger_t *ledger; /* NULL: nothing counts yet */
    xl_now_t now;
    server_rec **servers; /* the main server, then the virtual hosts as they are written */
    size_t n;
    apr_array_header_t *limits; /* of xl_snap_limit_t */
    xl_owner_t *owners;         /* by ledger entry */
    apr_hash_t *accounts;       /* name -> its row, from first_account on */
    const xl_snap_account_t *first_account;
} xl_fill_t;

static inline uint64_t xl_fill_load(const _Atomic uint64_t *word)
{
    return atomic_load_explicit(word, memory_order_relaxed);
}

/* Row of that account, XL_ABSENT: there is none. */
uint64_t xl_fill_account(const xl_fill_t *fill, const char *name);

/* Rows in the order of the configuration; *entries_used: entries that count something. */
void xl_fill_limits(xl_fill_t *fill, xl_rows_t *rows, uint64_t *entries_used);

/* Rows of all tables of keys, and their sums in the server's. */
void xl_fill_zones(const xl_fill_t *fill, xl_rows_t *rows, xl_snap_server_t *server);

/* The first few clients in the order that is asked for, of those that name= asks
 * for; behind xl_fill_limits. Looks at every cell, keeps these. */
void xl_fill_clients(const xl_fill_t *fill, xl_rows_t *rows);

#endif
