/* SPDX-License-Identifier: Apache-2.0
 *
 * mod_xlimit: what other modules may rely on. The environment variables
 * XLIMIT_STATUS, XLIMIT_LIMIT, XLIMIT_RETRY_AFTER and XLIMIT_REMAINING of a
 * request (docs/directives.md says when each is set) are the interface; the
 * names here are for those who read them from C.
 */
#ifndef MOD_XLIMIT_H
#define MOD_XLIMIT_H

#define XLIMIT_VERSION "0.1.0"

#define XLIMIT_ENV_STATUS "XLIMIT_STATUS"
#define XLIMIT_ENV_LIMIT "XLIMIT_LIMIT"
#define XLIMIT_ENV_RETRY_AFTER "XLIMIT_RETRY_AFTER"
#define XLIMIT_ENV_REMAINING "XLIMIT_REMAINING"
#define XLIMIT_ENV_EXEMPT "no-xlimit"
#define XLIMIT_ENV_COST "xlimit-cost"
#define XLIMIT_ENV_RATE "xlimit-rate"

#define XLIMIT_STATUS_HANDLER "xlimit-status"

#endif
