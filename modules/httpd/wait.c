/* SPDX-License-Identifier: Apache-2.0
 *
 * wait: what is held of a paced response flows on while its handler waits. A
 * handler that has returned leaves that to the MPM and TAIL; one that still
 * runs and blocks in a read, of a CGI's pipe or of a connection to a backend,
 * would leave the client without what has long been due. Two filters stand in
 * front of those reads and, as long as something is held, try them without
 * blocking and let out what is due in between. Everything happens in the
 * handler's own thread, which would have slept there anyway.
 */
#include "xl_conn.h"

#include "http_request.h"

#define XL_NAP_LEAST_NS XL_NS_PER_MS
#define XL_NAP_MOST_NS (50 * XL_NS_PER_MS)

static ap_filter_rec_t *backend_handle, *source_handle;

/* The connection whose handler runs in this thread and which holds something
 * back: a read of a backend does not know for whom it is. */
static _Thread_local xl_conn_t *held_here;

void xl_wait_handler_stays(xl_conn_t *conn)
{
    held_here = APR_BRIGADE_EMPTY(conn->held) ? NULL : conn;
}

void xl_wait_handler_begins(void)
{
    held_here = NULL; /* whatever it was, it is not this thread's any more */
}

void xl_wait_handler_left(const xl_conn_t *conn)
{
    if (held_here == conn)
        held_here = NULL;
}

static uint64_t timeout_ns(const xl_conn_t *conn)
{
    const server_rec *s = conn->r ? conn->r->server : conn->c->base_server;

    return (uint64_t)s->timeout * 1000;
}

static void nap(xl_advance_e how, uint64_t due_ns, uint64_t now_ns, uint64_t most_ns)
{
    uint64_t until_due_ns = due_ns > now_ns ? due_ns - now_ns : 0;
    uint64_t ns = how == XL_ADVANCE_EARLY && until_due_ns < most_ns ? until_due_ns : most_ns;

    apr_sleep((apr_interval_time_t)(ns / 1000));
}

/* Until ready(), or until nothing is held, or for Timeout: then the caller may
 * block, and its own timeout begins. A client that takes nothing for Timeout
 * is given up, as the MPM would. */
static void let_out_until(bool (*ready)(void *), void *data)
{
    uint64_t nap_ns = XL_NAP_LEAST_NS, began_ns = xl_now().mono_ns, moved_ns = began_ns;

    while (held_here && !ready(data)) {
        uint64_t due_ns, now_ns = xl_now().mono_ns, most_ns = timeout_ns(held_here);
        xl_advance_e how = xl_pace_advance(held_here, &due_ns);

        if (how == XL_ADVANCE_DONE || how == XL_ADVANCE_FAILED) {
            held_here = NULL;
            return;
        }
        if (how != XL_ADVANCE_FULL)
            moved_ns = now_ns;
        if (now_ns - moved_ns > most_ns) {
            xl_pace_abandon(held_here);
            return;
        }
        if (now_ns - began_ns > most_ns)
            return;
        nap(how, due_ns, now_ns, nap_ns);
        nap_ns = 2 * nap_ns < XL_NAP_MOST_NS ? 2 * nap_ns : XL_NAP_MOST_NS;
    }
}

/* ---- a connection to a backend --------------------------------------- */

static bool backend_ready(void *data)
{
    ap_filter_t *f = data;
    apr_bucket_brigade *peek = f->ctx;
    apr_status_t rv = ap_get_brigade(f->next, peek, AP_MODE_SPECULATIVE, APR_NONBLOCK_READ, 1);
    bool ready = rv == APR_SUCCESS ? !APR_BRIGADE_EMPTY(peek) : !APR_STATUS_IS_EAGAIN(rv);

    apr_brigade_cleanup(peek);
    return ready;
}

static apr_status_t backend_filter(ap_filter_t *f, apr_bucket_brigade *bb, ap_input_mode_t mode, apr_read_type_e block,
                                   apr_off_t bytes)
{
    if (held_here && block == APR_BLOCK_READ && mode != AP_MODE_INIT && mode != AP_MODE_EATCRLF)
        let_out_until(backend_ready, f);
    return ap_get_brigade(f->next, bb, mode, block, bytes);
}

void xl_wait_backend(conn_rec *c)
{
    ap_add_input_filter_handle(backend_handle, apr_brigade_create(c->pool, c->bucket_alloc), NULL, c);
}

/* ---- a pipe in the response ------------------------------------------ */

/* What was read is in the bucket from then on. */
static bool bucket_ready(void *data)
{
    apr_bucket *b = data;
    const char *bytes;
    apr_size_t length;

    return b->length != (apr_size_t)-1
           || !APR_STATUS_IS_EAGAIN(apr_bucket_read(b, &bytes, &length, APR_NONBLOCK_READ));
}

static apr_bucket *first_of_unknown_length(apr_bucket_brigade *bb)
{
    for (apr_bucket *b = APR_BRIGADE_FIRST(bb); b != APR_BRIGADE_SENTINEL(bb); b = APR_BUCKET_NEXT(b)) {
        if (!APR_BUCKET_IS_METADATA(b) && b->length == (apr_size_t)-1)
            return b;
    }
    return NULL;
}

static bool ends_behind(const apr_bucket_brigade *bb, apr_bucket *b)
{
    apr_bucket *next = APR_BUCKET_NEXT(b);

    return next != APR_BRIGADE_SENTINEL(bb) && APR_BUCKET_IS_EOS(next);
}

/* Passes on what stands before the bucket, with a FLUSH where it has nothing to
 * give yet, then waits for the bucket and reads it. */
static apr_status_t read_one(ap_filter_t *f, apr_bucket_brigade *bb, apr_bucket *b, apr_bucket_brigade *rest,
                             apr_status_t (*pass)(ap_filter_t *f, apr_bucket_brigade *bb))
{
    apr_status_t rv = APR_SUCCESS;
    const char *data;
    apr_size_t length;

    if (!bucket_ready(b)) {
        apr_brigade_split_ex(bb, b, rest);
        APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_flush_create(f->c->bucket_alloc));
        rv = pass(f, bb);
        apr_brigade_cleanup(bb);
        APR_BRIGADE_CONCAT(bb, rest);
        if (rv != APR_SUCCESS)
            return rv;
        let_out_until(bucket_ready, b);
    }
    rv = apr_bucket_read(b, &data, &length, APR_BLOCK_READ);
    /* A response that is here to its end goes on in one, as httpd's own filter would
     * pass it: then it has a Content-Length. */
    if (rv != APR_SUCCESS || ends_behind(bb, b))
        return rv;
    apr_brigade_split_ex(bb, APR_BUCKET_NEXT(b), rest);
    rv = pass(f, bb);
    apr_brigade_cleanup(bb);
    APR_BRIGADE_CONCAT(bb, rest);
    return rv;
}

apr_status_t xl_wait_split(ap_filter_t *f, apr_bucket_brigade *bb,
                           apr_status_t (*pass)(ap_filter_t *f, apr_bucket_brigade *bb))
{
    apr_bucket *b = first_of_unknown_length(bb);
    apr_bucket_brigade *rest = b ? apr_brigade_create(f->r ? f->r->pool : f->c->pool, f->c->bucket_alloc) : NULL;
    apr_status_t rv = APR_SUCCESS;

    for (; rv == APR_SUCCESS && b; b = first_of_unknown_length(bb))
        rv = read_one(f, bb, b, rest, pass);
    if (rest)
        apr_brigade_destroy(rest);
    return rv == APR_SUCCESS ? pass(f, bb) : rv;
}

static apr_status_t pass_next(ap_filter_t *f, apr_bucket_brigade *bb)
{
    return ap_pass_brigade(f->next, bb);
}

static apr_status_t source_filter(ap_filter_t *f, apr_bucket_brigade *bb)
{
    return xl_wait_split(f, bb, pass_next);
}

void xl_wait_insert_filter(request_rec *r)
{
    const xl_request_t *xr = r->main ? NULL : xl_request_of(r);

    if (xr && xr->down.n && xr->conn->async)
        ap_add_output_filter_handle(source_handle, NULL, r, r->connection);
}

void xl_wait_register(void)
{
    backend_handle = ap_register_input_filter("XLIMIT_BACKEND", backend_filter, NULL, AP_FTYPE_CONNECTION);
    source_handle = ap_register_output_filter("XLIMIT_SOURCE", source_filter, NULL,
                                              (ap_filter_type)(AP_FTYPE_RESOURCE - 1));
}
