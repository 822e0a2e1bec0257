/* SPDX-License-Identifier: Apache-2.0
 *
 * connection: the per-connection state and the three output filters. Owns the
 * choice between passing on, holding for the pace, and handing a large response
 * down piece by piece; never waits itself (pace.c does). One thread runs a
 * connection at a time, so nothing here is locked.
 */
#include "xl_conn.h"

#include "ap_mpm.h"
#include "http_config.h"
#include "http_connection.h"
#include "http_protocol.h"
#include "http_request.h"
#include "http_core.h"
#include "http_log.h"
#include "http_main.h"

APLOG_USE_MODULE(xlimit);

#define XL_PIECE_BYTES (UINT64_C(1) << 20) /* so that counters follow a large response */
#define XL_STREAM_PIECE_BYTES (UINT64_C(1) << 17) /* of a stream, which gives nothing back when it ends early */
#define XL_HEAD_BYTES 8192                 /* more than most heads */

static ap_filter_rec_t *head_handle, *wire_handle, *tail_handle;

xl_conn_t *xl_conn_of(const conn_rec *c)
{
    return ap_get_module_config(c->conn_config, &xlimit_module);
}

static void survey(const xl_conn_t *conn, apr_bucket_brigade *bb, xl_content_t *content)
{
    memset(content, 0, sizeof(*content));
    for (apr_bucket *b = APR_BRIGADE_FIRST(bb); b != APR_BRIGADE_SENTINEL(bb); b = APR_BUCKET_NEXT(b)) {
        if (APR_BUCKET_IS_METADATA(b)) {
            content->eor = content->eor || AP_BUCKET_IS_EOR(b);
            content->end = content->end || content->eor || APR_BUCKET_IS_EOS(b);
            content->flush = content->flush || APR_BUCKET_IS_FLUSH(b);
            continue;
        }
        if (b->length == (apr_size_t)-1) {
            content->unknown = true;
            continue;
        }
        content->bytes += b->length;
        if (APR_BUCKET_IS_FILE(b)) {
            content->file_bytes += b->length;
            content->sendfile = content->sendfile || xl_hold_is_sendfile(conn, b);
        }
    }
}

/* What is left of known length. */
static uint64_t left_in(apr_bucket_brigade *bb)
{
    uint64_t bytes = 0;

    for (apr_bucket *b = APR_BRIGADE_FIRST(bb); b != APR_BRIGADE_SENTINEL(bb); b = APR_BUCKET_NEXT(b)) {
        if (!APR_BUCKET_IS_METADATA(b) && b->length != (apr_size_t)-1)
            bytes += b->length;
    }
    return bytes;
}

/* HTTP/2 sends the head of a response as frames that pass no filter of ours:
 * counted as the text that HTTP/1.1 would have sent, so that h1 = h2. */
static uint64_t head_bytes_of_stream(const request_rec *r)
{
    uint64_t bytes = sizeof("HTTP/1.1 200 OK\r\n\r\n") - 1;
    const apr_table_t *tables[2];

    r = xl_request_last(r);
    tables[0] = r->headers_out;
    tables[1] = r->err_headers_out;
    for (size_t t = 0; t < 2; t++) {
        const apr_array_header_t *lines = apr_table_elts(tables[t]);
        const apr_table_entry_t *line = (const apr_table_entry_t *)(const void *)lines->elts;

        for (int i = 0; i < lines->nelts; i++)
            bytes += strlen(line[i].key) + strlen(line[i].val) + sizeof(": \r\n") - 1;
    }
    return bytes;
}

/* The head of a response comes by itself, and its body right behind it: they are
 * counted together, unless there is a pace between them. */
static void count(const xl_conn_t *conn, xl_request_t *xr, const xl_content_t *content)
{
    bool headless = conn->primary != conn && !xr->sent_bytes && (content->bytes || content->end);
    uint64_t bytes = content->bytes + (headless ? head_bytes_of_stream(xr->r) : 0);

    if (!xr->sent_bytes && !xr->uncounted_bytes && !content->end && !content->flush && bytes <= XL_HEAD_BYTES
        && !xr->down.entered)
        xr->uncounted_bytes = bytes;
    else if (bytes || xr->uncounted_bytes)
        xl_request_sent(xr, bytes);
}

/* Or what follows it. HTTP/2 makes it of the first brigade that may leave. */
static bool has_head(const xl_conn_t *conn, const xl_content_t *content)
{
    return content->bytes || content->end || (content->flush && conn->primary != conn);
}

static apr_status_t pass(xl_conn_t *conn, apr_bucket_brigade *bb, const xl_content_t *content)
{
    xl_request_t *xr = xl_request_writing(conn);
    uint64_t wire_before;
    apr_status_t rv;

    conn->plain_bytes += content->bytes;
    if (!conn->memory_only)
        conn->wire_bytes += content->bytes;
    if (xr && has_head(conn, content))
        xl_request_answered(xr);
    if (xr)
        count(conn, xr, content);
    if (content->eor && xr)
        xr->wire_end = conn->wire_bytes;

    wire_before = conn->wire_bytes;
    rv = ap_pass_brigade(conn->head->next, bb);
    if (rv != APR_SUCCESS && conn->memory_only && xr && conn->writing == xr
        && conn->wire_bytes - wire_before < content->bytes) {
        /* TLS drops what it does not take any more: no more of this was sent
         * than what appeared on the wire. */
        uint64_t dropped = content->bytes - (conn->wire_bytes - wire_before);

        conn->plain_bytes -= dropped;
        xl_request_unsent(xr, dropped);
    }
    if (content->eor && conn->writing == xr) {
        /* Still waiting below for its turn; what passes next is another's. */
        if (xr && conn->memory_only)
            xr->wire_end = conn->wire_bytes;
        /* mod_http2 keeps a stream's request until its connection has something to do again. */
        if (xr && conn->primary != conn)
            xl_request_end(xr);
        conn->writing = NULL;
        conn->r = NULL;
    }
    return rv;
}

apr_status_t xl_conn_pass(xl_conn_t *conn, apr_bucket_brigade *bb)
{
    xl_content_t content;

    survey(conn, bb, &content);
    return pass(conn, bb, &content);
}

static uint64_t piece_bytes(const xl_conn_t *conn)
{
    return conn->primary == conn ? XL_PIECE_BYTES : XL_STREAM_PIECE_BYTES;
}

/* A large response that nothing paces, where the write blocks: in pieces, each
 * counted when the one before it has left. */
static apr_status_t pass_in_pieces(xl_conn_t *conn, apr_bucket_brigade *bb)
{
    apr_bucket_brigade *rest = xl_hold_chunk(conn); /* nothing is held: it is free */
    apr_status_t rv = APR_SUCCESS;
    xl_content_t content;

    while (rv == APR_SUCCESS && left_in(bb) > piece_bytes(conn)) {
        apr_bucket *after;

        rv = apr_brigade_partition(bb, (apr_off_t)piece_bytes(conn), &after);
        if (rv != APR_SUCCESS)
            break;
        apr_brigade_split_ex(bb, after, rest);
        if (!conn->async)
            APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_flush_create(conn->c->bucket_alloc));
        rv = xl_conn_pass(conn, bb);
        apr_brigade_cleanup(bb);
        APR_BRIGADE_CONCAT(bb, rest);
        if (rv == APR_SUCCESS && conn->writing && xl_pace_wanted(conn->writing)) {
            /* A quota was used up on the way, and has a speed for that. */
            survey(conn, bb, &content);
            return xl_pace_hold(conn, bb, &content);
        }
    }
    return rv == APR_SUCCESS ? xl_conn_pass(conn, bb) : rv;
}

/* The client waits for a 100 before it sends what the handler waits for. A handler may
 * call its response one, too, but such a one has an end, or is longer than any head. */
static bool is_interim(const xl_request_t *xr, const xl_content_t *content)
{
    return xl_request_is_interim(xr) && !content->end
           && xr->sent_bytes + xr->uncounted_bytes + content->bytes <= XL_HEAD_BYTES;
}

/* A response to a request that could not be read: the MPM closes right after
 * it, and holds nothing for anybody. */
static bool may_hold_unpaced(const xl_conn_t *conn)
{
    return conn->async && !conn->memory_only && conn->c->cs->state == CONN_STATE_HANDLER;
}

/* Every bucket's length is known here. */
static apr_status_t head_known(xl_conn_t *conn, apr_bucket_brigade *bb, const xl_content_t *content)
{
    const xl_request_t *xr = xl_request_writing(conn);
    bool holds = !APR_BRIGADE_EMPTY(conn->held);

    if (holds || (content->bytes && xr && xl_pace_wanted(xr) && !is_interim(xr, content)))
        return xl_pace_hold(conn, bb, content);
    if (content->file_bytes > piece_bytes(conn))
        return content->sendfile && may_hold_unpaced(conn) ? xl_pace_hold(conn, bb, content) : pass_in_pieces(conn, bb);
    return pass(conn, bb, content);
}

static apr_status_t head_piece(ap_filter_t *f, apr_bucket_brigade *bb)
{
    xl_content_t content;

    survey(f->ctx, bb, &content);
    return head_known(f->ctx, bb, &content);
}

static apr_status_t head_filter(ap_filter_t *f, apr_bucket_brigade *bb)
{
    xl_conn_t *conn = f->ctx;
    conn_rec *c = f->c;
    xl_content_t content;

    if (APR_BRIGADE_EMPTY(bb))
        return ap_pass_brigade(f->next, bb);
    if (!APR_BRIGADE_EMPTY(conn->held) && c->cs && c->cs->state == CONN_STATE_LINGER) {
        /* The MPM gave up on a client that does not read: what is held will
         * never go out, and its request ends now, not when the client leaves. */
        apr_brigade_cleanup(bb);
        return xl_pace_abandon(conn);
    }
    if (c->aborted) {
        xl_pace_abandon(conn);
        apr_brigade_cleanup(bb);
        return APR_ECONNABORTED;
    }
    if (conn->multiplexed)
        return ap_pass_brigade(f->next, bb);

    survey(conn, bb, &content);
    return content.unknown ? xl_wait_split(f, bb, head_piece) : head_known(conn, bb, &content);
}

static apr_status_t wire_filter(ap_filter_t *f, apr_bucket_brigade *bb)
{
    xl_conn_t *conn = f->ctx;

    conn->wire_bytes += left_in(bb);
    return ap_pass_brigade(f->next, bb);
}

static apr_status_t tail_filter(ap_filter_t *f, apr_bucket_brigade *bb)
{
    if (bb) {
        /* core writes to the socket and passes nothing on. */
        apr_brigade_cleanup(bb);
        return APR_SUCCESS;
    }
    return xl_pace_tail(f->ctx);
}

static apr_status_t conn_cleanup(void *data)
{
    xl_conn_t *conn = data;

    xl_park_leave(conn);
    if (conn->timer_fd >= 0)
        close(conn->timer_fd);
    conn->timer_fd = -1;
    return APR_SUCCESS;
}

static xl_conn_t *conn_make(conn_rec *c, apr_socket_t *csd)
{
    xl_conn_t *conn = apr_pcalloc(c->pool, sizeof(*conn));

    conn->c = c;
    conn->primary = conn;
    conn->socket = csd;
    conn->timer_fd = conn->socket_fd = -1;
    conn->held = apr_brigade_create(c->pool, c->bucket_alloc);
    conn->head = ap_add_output_filter_handle(head_handle, conn, NULL, c);
    ap_set_module_config(c->conn_config, &xlimit_module, conn);
    return conn;
}

/* Runs after every other module has added its filters and before core adds the
 * last one: what follows HEAD now is what makes memory of a file. */
int xl_conn_pre_connection(conn_rec *c, void *csd)
{
    xl_conn_t *conn;

    if (c->outgoing) {
        xl_wait_backend(c);
        return DECLINED;
    }
    if (!c->master && !xl_accept(c)) {
        c->aborted = 1; /* the MPM closes it without a word */
        return HTTP_FORBIDDEN;
    }
    conn = conn_make(c, csd);
    if (c->master) {
        xl_conn_t *primary = xl_conn_of(c->master);

        if (primary) {
            conn->primary = primary;
            primary->multiplexed = true;
        }
        return DECLINED;
    }
    conn->async = xl_config_server(ap_server_conf)->engine->engine != XL_ENGINE_BLOCKING && xl_park_possible(c);
    conn->memory_only = conn->head->next != NULL;
    if (conn->memory_only)
        ap_add_output_filter_handle(wire_handle, conn, NULL, c);
    if (conn->async) {
        conn->tail = ap_add_output_filter_handle(tail_handle, conn, NULL, c);
        apr_pool_pre_cleanup_register(c->pool, conn, conn_cleanup);
    }
    return DECLINED;
}

void xl_conn_register(void)
{
    head_handle = ap_register_output_filter("XLIMIT_HEAD", head_filter, NULL,
                                            (ap_filter_type)(AP_FTYPE_CONNECTION + 1));
    wire_handle = ap_register_output_filter("XLIMIT_WIRE", wire_filter, NULL, (ap_filter_type)(AP_FTYPE_NETWORK - 1));
    tail_handle = ap_register_output_filter("XLIMIT_TAIL", tail_filter, NULL, (ap_filter_type)(AP_FTYPE_NETWORK + 5));
}
