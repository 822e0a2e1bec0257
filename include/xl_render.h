/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_render: a snapshot as HTML, XML, JSON or lines. Pure and streaming; no
 * renderer names a field or formats a list of its own, all walk xl_sheets.
 * Foreign bytes pass xl_escape.h before they reach the sink, always.
 */
#ifndef XL_RENDER_H
#define XL_RENDER_H

#include "xl_query.h"
#include "xl_snapshot.h"

/* Takes the bytes; anything but 0 ends the rendering, which returns it. */
typedef struct {
    int (*write)(void *ctx, const char *data, size_t length);
    void *ctx;
} xl_sink_t;

int xl_render_html(const xl_snapshot_t *snapshot, const xl_query_t *query, const xl_sink_t *sink);
int xl_render_xml(const xl_snapshot_t *snapshot, const xl_query_t *query, const xl_sink_t *sink);
int xl_render_json(const xl_snapshot_t *snapshot, const xl_query_t *query, const xl_sink_t *sink);
int xl_render_auto(const xl_snapshot_t *snapshot, const xl_query_t *query, const xl_sink_t *sink);

/* One row per format: what the handler and the tests choose from. */
typedef struct {
    const char *name;         /* value of format= */
    const char *content_type; /* with charset */
    int (*render)(const xl_snapshot_t *snapshot, const xl_query_t *query, const xl_sink_t *sink);
} xl_renderer_t;
extern const xl_renderer_t xl_renderers[XL_FORMATS];

/* The only style sheet of the HTML page; what its hash in the policy covers. */
extern const char xl_html_style[];

/* "default-src 'none'; style-src 'sha256-...'; ..." for the HTML page. */
#define XL_CSP_MAX 256
void xl_html_policy(char buf[XL_CSP_MAX]);

/* The XML Schema of the XML; docs/xlimit-status.xsd is its output. */
int xl_render_schema(const xl_sink_t *sink);

#endif
