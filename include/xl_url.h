/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_url: what may stand in the Location of a redirect. Looks at bytes only:
 * resolves nothing, decodes nothing, keeps nothing.
 */
#ifndef XL_URL_H
#define XL_URL_H

#include <stdbool.h>

/* What is wrong with the URL of a redirect as it is configured, a static
 * sentence, or NULL: an absolute http(s) URL or a path of this server, without
 * control characters and blanks. In an expression blanks may be. */
const char *xl_url_fault(const char *url, bool expression);

/* Whether what an expression made may be a header's value: it is not empty and
 * holds no blank and no control character. */
bool xl_url_is_clean(const char *url);

#endif
