/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_keyfile: the copy of what of the tables of keys outlives the server
 * (xl_kept.h), in a file of copies of its own beside the state file. When it is
 * written is flush.c's affair. A start never fails because of it.
 */
#ifndef XL_KEYFILE_H
#define XL_KEYFILE_H

#include "httpd.h"

#include <stdbool.h>

/* post_config, second pass, behind the segment and the tables of keys, where
 * counters have a file: opens or creates the file when the configuration has a
 * penalty or a quota with a key. Where the tables have just begun they get the
 * secret of the file and what is in it. Logs what is wrong; false: there is
 * nothing to be kept, or nowhere. */
bool xl_keyfile_open(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *main_server);

/* Writes a copy if there is something new; one thread of a process at a time.
 * `last`: there will not be another one, it does not matter how much was written
 * just now. false: somebody else writes at this moment. */
bool xl_keyfile_write(bool last);

#endif
