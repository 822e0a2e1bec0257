/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_segment: the ledger's life in httpd: state file, mapping, mutex,
 * generations, child rows. One mapping and one mutex on s->process->pool, found
 * again after a graceful restart, so that old and new generations count into
 * the same words.
 */
#ifndef XL_SEGMENT_H
#define XL_SEGMENT_H

#include "xl_config.h"
#include "xl_decide.h"

#define XL_MUTEX_TYPE "xlimit"

/* pre_config: registers the mutex type. */
apr_status_t xl_segment_register(apr_pool_t *pconf);

/* post_config, first pass: only reads. !OK when the second pass would have to
 * stop the start, which by then the terminal would not hear of. */
int xl_segment_look(apr_pool_t *ptemp, server_rec *main_server);

/* post_config, second pass: opens or grows, attaches every scope and limit.
 * Logs its own errors; !OK stops the start. */
int xl_segment_open(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *main_server);

/* child_init: claims this process's row. */
void xl_segment_child(apr_pool_t *pchild, server_rec *main_server);

/* child_status / monitor in the parent: a child has gone, or may have. */
void xl_segment_child_gone(uint32_t pid);
void xl_segment_sweep(void);

const xl_ledger_t *xl_segment_ledger(void);
uint32_t xl_segment_row(void); /* XL_NO_ROW outside children: nothing is counted as active then */
uint64_t xl_segment_generation(void);
const char *xl_segment_path(void); /* "none" when counters end with the server */

/* The entry of a limit for a virtual host; attaches one at run time for a
 * limit from .htaccess. NULL for a session limit, or when the ledger is full
 * (logged once a minute). */
xl_entry_t *xl_segment_entry(xl_limit_t *limit, const server_rec *s);

/* Now, both clocks. */
xl_now_t xl_now(void);

#endif
