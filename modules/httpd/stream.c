/* SPDX-License-Identifier: Apache-2.0
 *
 * stream: a paced HTTP/2 stream sleeps in its worker, since nobody else can
 * write for it. So that sleepers do not take all workers of a child, half of
 * them at most may be long ones: a response that will take longer than two
 * seconds takes a place before its first byte, and is answered 503 where there
 * is none. Short ones always pass: they are gone before anybody would have tried
 * again. One that does not tell its length counts as a megabyte: a page of a
 * program must not be refused for a rate that it would never feel.
 * Who locks: nobody; the places are one atomic word of this process.
 */
#include "xl_conn.h"
#include "xl_told.h"

#include "ap_mpm.h"
#include "apr_strings.h"
#include "http_log.h"
#include "http_protocol.h"
#include "util_cfgtree.h"

#include <stdlib.h>

APLOG_USE_MODULE(xlimit);

#define LONG_NS (2 * XL_NS_PER_S)
#define UNTOLD_BYTES 1000000
#define RETRY_AFTER "10"

static ap_filter_rec_t *stream_handle;
static uint32_t places; /* of this process, since post_config */
static _Atomic uint32_t taken;

/* As mod_http2 works it out: H2MaxWorkers, else one and a half times
 * H2MinWorkers, which are as many as threads. */
void xl_stream_startup(void)
{
    int least = 0, most = 0, threads = 0;

    for (const ap_directive_t *d = ap_conftree; d; d = d->next) {
        if (!strcasecmp(d->directive, "H2MinWorkers"))
            least = atoi(d->args);
        else if (!strcasecmp(d->directive, "H2MaxWorkers"))
            most = atoi(d->args);
    }
    ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads);
    if (least <= 0)
        least = threads;
    if (most <= 0)
        most = least * 3 / 2 > 4 ? least * 3 / 2 : 4;
    places = most > 1 ? (uint32_t)most / 2 : 1;
}

void xl_stream_end(xl_request_t *xr)
{
    if (xr->place)
        atomic_fetch_sub(&taken, 1);
    xr->place = false;
}

static void complain(const request_rec *r)
{
    if (!xl_told_minute(XL_TOLD_STREAM))
        return;
    ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                  "xlimit(303): %u paced HTTP/2 responses wait in this child's workers, half of all; further long ones "
                  "are answered 503 until one of them has ended; raise H2MaxWorkers", places);
}

static uint64_t length_of(request_rec *r, apr_bucket_brigade *bb)
{
    const char *stated = apr_table_get(r->headers_out, "Content-Length");
    apr_off_t bytes = -1;

    if (r->header_only)
        return 0;
    if (stated && (apr_strtoff(&bytes, stated, NULL, 10) != APR_SUCCESS || bytes < 0))
        stated = NULL;
    if (!stated && (APR_BRIGADE_EMPTY(bb) || !APR_BUCKET_IS_EOS(APR_BRIGADE_LAST(bb))
                    || apr_brigade_length(bb, 0, &bytes) != APR_SUCCESS || bytes < 0))
        return UNTOLD_BYTES;
    return (uint64_t)bytes;
}

static apr_status_t refuse(ap_filter_t *f, apr_bucket_brigade *bb, xl_request_t *xr)
{
    apr_bucket_alloc_t *list = f->c->bucket_alloc;

    complain(f->r);
    apr_brigade_cleanup(bb);
    apr_table_setn(f->r->err_headers_out, "Retry-After", RETRY_AFTER);
    xl_request_refused_late(xr, f->r);
    APR_BRIGADE_INSERT_TAIL(bb, ap_bucket_error_create(HTTP_SERVICE_UNAVAILABLE, NULL, f->r->pool, list));
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_eos_create(list));
    return ap_pass_brigade(f->next, bb);
}

/* Once, at the first sign of the response. */
static apr_status_t stream_filter(ap_filter_t *f, apr_bucket_brigade *bb)
{
    xl_request_t *xr = xl_request_of(f->r);
    ap_filter_t here = *f;

    if (APR_BRIGADE_EMPTY(bb))
        return ap_pass_brigade(f->next, bb);
    ap_remove_output_filter(f);
    if (!xr || xr->place || !xl_levels_bite(&xr->down))
        return ap_pass_brigade(here.next, bb);
    if (xl_levels_time_ns(&xr->down, length_of(here.r, bb)) < LONG_NS)
        return ap_pass_brigade(here.next, bb);
    xr->place = xl_place_take(&taken, places);
    return xr->place ? ap_pass_brigade(here.next, bb) : refuse(&here, bb, xr);
}

void xl_stream_insert_filter(request_rec *r)
{
    const xl_request_t *xr = r->main ? NULL : xl_request_of(r);

    if (xr && xr->conn->primary != xr->conn && xr->down.n)
        ap_add_output_filter_handle(stream_handle, NULL, r, r->connection);
}

void xl_stream_register(void)
{
    stream_handle = ap_register_output_filter("XLIMIT_STREAM", stream_filter, NULL,
                                              (ap_filter_type)(AP_FTYPE_PROTOCOL - 1));
}
