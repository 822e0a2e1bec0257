/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_status: the status page's side of httpd. The handler checks who asks and
 * what for; the fill copies configuration and counters into a snapshot. The
 * ledger's words are atomic, so that nothing is locked but for the sweep of
 * dead processes' rows that comes first.
 */
#ifndef XL_STATUS_H
#define XL_STATUS_H

#include "xl_query.h"
#include "xl_snapshot.h"

#include "httpd.h"

/* Everything of the running server that the query's view may show, as of now, from
 * p. Of clients these are the rows that the query asks for, in its order. */
void xl_snapshot_fill(xl_snapshot_t *snapshot, const xl_query_t *query, apr_pool_t *p, server_rec *main_server);

/* handler hook */
int xl_status_handler(request_rec *r);

#endif
