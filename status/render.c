/* SPDX-License-Identifier: Apache-2.0
 *
 * The list of formats, and the policy under which the HTML page is sent. The
 * policy allows the page's own style sheet by its hash, the search form to its
 * own origin, and nothing else at all. Pure, no state.
 */
#include "xl_render.h"

#include "xl_sha256.h"

#include <stdio.h>
#include <string.h>

const xl_renderer_t xl_renderers[XL_FORMATS] = {
    [XL_FORMAT_HTML] = { "html", "text/html; charset=utf-8", xl_render_html },
    [XL_FORMAT_XML] = { "xml", "application/xml; charset=utf-8", xl_render_xml },
    [XL_FORMAT_JSON] = { "json", "application/json", xl_render_json },
    [XL_FORMAT_AUTO] = { "auto", "text/plain; charset=utf-8", xl_render_auto },
};

/* 32 bytes make 43 letters and one "=". */
static void base64(const uint8_t digest[32], char buf[45])
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = 0;
    unsigned have = 0, i, n = 0;

    for (i = 0; i < 32; i++) {
        bits = bits << 8 | digest[i];
        for (have += 8; have >= 6; have -= 6)
            buf[n++] = letters[bits >> (have - 6) & 63];
    }
    buf[n++] = letters[bits << (6 - have) & 63];
    buf[n++] = '=';
    buf[n] = '\0';
}

void xl_html_policy(char buf[XL_CSP_MAX])
{
    uint8_t digest[32];
    char hash[45];

    xl_sha256(xl_html_style, strlen(xl_html_style), digest);
    base64(digest, hash);
    snprintf(buf, XL_CSP_MAX,
             "default-src 'none'; style-src 'sha256-%s'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
             hash);
}
