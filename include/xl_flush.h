/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_flush: when counters and keys are copied to the disk, and by whom: every
 * XLimitFlush by the one child that has the lease, and once more when the parent
 * ends; the counters also when a child does. Never on a thread that serves, never under the
 * global mutex.
 */
#ifndef XL_FLUSH_H
#define XL_FLUSH_H

#include "httpd.h"

/* post_config, second pass, after the segment and the tables of keys are open. What
 * is wrong with a file of copies is logged and does not stop the start. */
void xl_flush_open(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *main_server);

/* child_init. */
void xl_flush_child(apr_pool_t *pchild);

#endif
