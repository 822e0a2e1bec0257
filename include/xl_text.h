/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_text: values, actions and limits in the words of the configuration language.
 * All texts are in the pool, or static.
 */
#ifndef XL_TEXT_H
#define XL_TEXT_H

#include "xl_config.h"

/* The limit as a directive in the native language, every default spelled out;
 * reading that line again gives the same limit. Without conf it has no
 * exceeded= but its own. */
const char *xl_text_limit(apr_pool_t *p, const xl_dir_conf_t *conf, const xl_limit_t *limit);

/* What a limit of requests, connections, penalty or block allows: "10/s burst=20
 * nodelay". */
const char *xl_text_allows(apr_pool_t *p, const xl_limit_t *limit);

/* In the words of the configuration, defaults included: "redirect https://...
 * 302", "month day=1 at=00:00 tz=Europe/Berlin". */
const char *xl_text_action(apr_pool_t *p, const xl_action_t *action);
const char *xl_text_period(apr_pool_t *p, const xl_period_t *period);

const char *xl_text_size(apr_pool_t *p, uint64_t bytes);
const char *xl_text_time(apr_pool_t *p, uint64_t ms);
const char *xl_text_quoted(apr_pool_t *p, const char *text);

#endif
