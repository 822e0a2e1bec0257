/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_flush: when the counters are copied to the disk, and by whom: every
 * XLimitFlush by the one child that has the lease, and once more by each child
 * and the parent when they end. Never on a thread that serves, never under the
 * global mutex.
 */
#ifndef XL_FLUSH_H
#define XL_FLUSH_H

#include "httpd.h"

/* post_config, second pass, after the segment is open. What is wrong with the
 * file of copies is logged and does not stop the start. */
void xl_flush_open(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *main_server);

/* child_init. */
void xl_flush_child(apr_pool_t *pchild);

#endif
