/* SPDX-License-Identifier: Apache-2.0
 *
 * upload: the body of a request, read no faster than its slots (rule/slot)
 * allow. Owns one input filter, right above HTTP_IN: what it does not read
 * stays in the socket, and TCP makes the client wait. Bytes are reserved when
 * they are here, so that nobody holds a place while his client is slow, and the
 * next ones are read when these are due. Also ends what nobody wants: the body
 * of a request that was refused. Keeps no data, writes nothing; waits in the
 * thread that reads. Runs in the request's own thread; nobody locks.
 * Invariant: who entered the levels leaves them at the body's end, at an error,
 * or at the request's settlement.
 */
#include "xl_conn.h"

#include "apr_strings.h"
#include "http_protocol.h"

/* Of a refused body: as much is read to keep the connection. */
#define XL_REST_BYTES (UINT64_C(64) << 10)
#define XL_LENGTH_UNKNOWN UINT64_MAX
#define XL_TURN_BYTES 16384

typedef struct {
    xl_request_t *xr;
    uint64_t length_bytes, seen_bytes, thrown_bytes;
    uint64_t turn_bytes; /* left to be read before due_ns is waited for */
    uint64_t due_ns;     /* when all that was read was due */
    bool inside;         /* HTTP_IN reads through the whole chain again: trailers */
    bool over;           /* there is nothing more to read, whatever the client sends */
    bool unwanted;       /* it is read to be thrown away */
} upload_t;

static ap_filter_rec_t *body_handle;

/* ---- a body that nobody wants ---------------------------------------- */

static uint64_t length_of(const request_rec *r)
{
    const char *text = apr_table_get(r->headers_in, "Content-Length");
    apr_off_t length;
    char *rest;

    if (apr_table_get(r->headers_in, "Transfer-Encoding"))
        return XL_LENGTH_UNKNOWN;
    if (!text)
        return 0;
    return apr_strtoff(&length, text, &rest, 10) == APR_SUCCESS && !*rest && length >= 0 ? (uint64_t)length
                                                                                         : XL_LENGTH_UNKNOWN;
}

/* A client has time to see the answer and stop: 2 s instead of 30, in which httpd
 * takes all that comes. */
static void linger_shortly(conn_rec *c)
{
    apr_table_setn(c->notes, "short-lingering-close", "1");
}

/* httpd reads on for the sake of the next request alone: now there is none. */
static void stop_reading(request_rec *r)
{
    r->connection->keepalive = AP_CONN_CLOSE;
    linger_shortly(r->connection);
}

void xl_upload_refuse(request_rec *r)
{
    if (length_of(r) > XL_REST_BYTES)
        stop_reading(r);
}

/* httpd's own handler throws the body away before it looks whether there is
 * such a file. It comes last: nobody else has wanted this request. */
int xl_upload_handler(request_rec *r)
{
    const ap_filter_t *first = r->input_filters;
    bool served = r->finfo.filetype == APR_REG && (r->method_number == M_GET || r->method_number == M_POST);

    if (!r->main && first->frec == body_handle && !served && r->method_number != M_OPTIONS)
        ((upload_t *)first->ctx)->unwanted = true;
    return DECLINED;
}

/* ---- at its pace ----------------------------------------------------- */

static apr_status_t end_here(ap_filter_t *f, apr_bucket_brigade *bb)
{
    upload_t *up = f->ctx;

    up->over = true;
    xl_levels_leave(&up->xr->up);
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_eos_create(f->c->bucket_alloc));
    return APR_SUCCESS;
}

static apr_status_t fail(ap_filter_t *f, apr_status_t rv)
{
    upload_t *up = f->ctx;

    if (APR_STATUS_IS_EAGAIN(rv))
        return rv;
    xl_levels_leave(&up->xr->up);
    linger_shortly(f->c);
    return rv;
}

/* What came, in as many slots as that takes; returns when all of it is due. */
static uint64_t reserve(xl_levels_t *levels, uint64_t bytes, bool last)
{
    uint64_t now_ns = xl_now().mono_ns, until_ns = 0;

    while (bytes) {
        xl_slot_ask_t ask = { .want = bytes, .last = last };
        xl_slot_t slot = xl_levels_reserve(levels, &ask, now_ns);

        xl_levels_moved(levels, slot.bytes);
        bytes -= slot.bytes;
        until_ns = slot.at_ns > until_ns ? slot.at_ns : until_ns;
    }
    return until_ns;
}

static uint64_t bytes_in(apr_bucket_brigade *bb, bool *eos)
{
    uint64_t bytes = 0;

    *eos = false;
    for (apr_bucket *b = APR_BRIGADE_FIRST(bb); b != APR_BRIGADE_SENTINEL(bb); b = APR_BUCKET_NEXT(b)) {
        *eos = *eos || APR_BUCKET_IS_EOS(b);
        if (!APR_BUCKET_IS_METADATA(b) && b->length != (apr_size_t)-1)
            bytes += b->length;
    }
    return bytes;
}

/* True when it is time; else *rv says why not. Who cannot be made to wait is
 * given his bytes at once, and none after them before they were due. */
static bool is_time(const upload_t *up, apr_read_type_e block, apr_status_t *rv)
{
    *rv = APR_SUCCESS;
    if (up->due_ns <= xl_now().mono_ns + XL_SLOT_NOW_NS)
        return true;
    if (block == APR_NONBLOCK_READ)
        *rv = APR_EAGAIN;
    else if (!xl_pace_sleep(up->xr->conn, up->due_ns))
        *rv = APR_ECONNABORTED;
    return *rv == APR_SUCCESS;
}

/* How much is read before the next wait: the same for all who share a level,
 * whatever their readers ask for at a time, or turns would not be equal. */
static uint64_t turn_of(upload_t *up)
{
    xl_slot_ask_t ask = { .want = XL_TURN_BYTES };

    return xl_levels_chunk(&up->xr->up, &ask, xl_now().mono_ns);
}

static apr_status_t take(ap_filter_t *f, apr_bucket_brigade *bb, ap_input_mode_t mode, apr_read_type_e block,
                         apr_off_t bytes)
{
    upload_t *up = f->ctx;
    apr_status_t rv;
    uint64_t before_ns, got;

    if (!up->turn_bytes) {
        if (!is_time(up, block, &rv))
            return fail(f, rv);
        up->turn_bytes = turn_of(up);
    }
    if (mode == AP_MODE_READBYTES && (uint64_t)bytes > up->turn_bytes)
        bytes = (apr_off_t)up->turn_bytes;
    before_ns = xl_now().mono_ns;
    up->inside = true;
    rv = ap_get_brigade(f->next, bb, mode, block, bytes);
    up->inside = false;
    if (xl_now().mono_ns - before_ns > XL_SLOT_GRID_NS)
        up->xr->up.idle = true; /* the client was waited for: nobody here is late */
    if (rv != APR_SUCCESS)
        return fail(f, rv);

    got = bytes_in(bb, &up->over);
    up->seen_bytes += got;
    if (got) {
        xl_levels_enter(up->xr, &up->xr->up);
        up->due_ns = reserve(&up->xr->up, got, up->over);
    }
    up->turn_bytes -= got < up->turn_bytes ? got : up->turn_bytes;
    if ((up->over || !up->turn_bytes) && block == APR_BLOCK_READ && !is_time(up, block, &rv))
        return fail(f, rv);
    if (up->over)
        xl_levels_leave(&up->xr->up);
    return APR_SUCCESS;
}

/* Once the answer is anything else than what the body is needed for, it is read
 * only to be thrown away: a small rest at once, as httpd does, which may find it
 * malformed; a large one not at all, or no further. */
static apr_status_t discard(ap_filter_t *f, apr_bucket_brigade *bb, ap_input_mode_t mode, apr_read_type_e block,
                            apr_off_t bytes)
{
    upload_t *up = f->ctx;
    bool eos, known = up->length_bytes != XL_LENGTH_UNKNOWN;
    apr_status_t rv;

    xl_levels_leave(&up->xr->up);
    if ((known ? up->length_bytes - up->seen_bytes : up->thrown_bytes) > XL_REST_BYTES) {
        stop_reading(f->r);
        return end_here(f, bb);
    }
    up->inside = true; /* trailers */
    rv = ap_get_brigade(f->next, bb, mode, block, bytes);
    up->inside = false;
    if (rv == APR_SUCCESS)
        up->thrown_bytes += known ? 0 : bytes_in(bb, &eos);
    return rv;
}

static apr_status_t body_filter(ap_filter_t *f, apr_bucket_brigade *bb, ap_input_mode_t mode, apr_read_type_e block,
                                apr_off_t bytes)
{
    const upload_t *up = f->ctx;

    if (up->inside || (mode != AP_MODE_READBYTES && mode != AP_MODE_GETLINE))
        return ap_get_brigade(f->next, bb, mode, block, bytes);
    if (up->over)
        return end_here(f, bb);
    return f->r->status < HTTP_MULTIPLE_CHOICES && !up->unwanted ? take(f, bb, mode, block, bytes)
                                                                 : discard(f, bb, mode, block, bytes);
}

/* ---- in its place ---------------------------------------------------- */

/* The first of the filters that stay through internal redirects, above HTTP_IN,
 * which knows where the body ends. httpd would put it below, as it comes later
 * and is of the same type; one of the types above would be lost on the way,
 * and mod_proxy would not believe Content-Length any more. */
static void put_first(ap_filter_t *f, request_rec *r)
{
    ap_filter_t **above = &r->input_filters;

    ap_remove_input_filter(f);
    while (*above != r->proto_input_filters)
        above = &(*above)->next;
    f->next = *above;
    *above = r->proto_input_filters = f;
}

void xl_upload_begin(xl_request_t *xr, request_rec *r)
{
    uint64_t length_bytes = length_of(r);
    upload_t *up;

    if (!length_bytes)
        return;
    up = apr_pcalloc(r->pool, sizeof(*up));
    up->xr = xr;
    up->length_bytes = length_bytes;
    xr->up.first = true; /* before anybody entered: how much is read first depends on it */
    put_first(ap_add_input_filter_handle(body_handle, up, r, r->connection), r);
}

void xl_upload_register(void)
{
    body_handle = ap_register_input_filter("XLIMIT_BODY", body_filter, NULL, AP_FTYPE_PROTOCOL);
}
