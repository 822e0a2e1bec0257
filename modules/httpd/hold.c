/* SPDX-License-Identifier: Apache-2.0
 *
 * hold: the brigade that HEAD keeps back. Owns what must be done so that its
 * buckets outlive the call that brought them, and how a piece is taken off it
 * again; held_bytes and held_memory always are what stands in it. FILE buckets
 * stay FILE buckets. Knows nothing of time.
 */
#include "xl_conn.h"

#include "http_request.h"

/* Says nothing to anybody; ends what TLS would otherwise hold back to make
 * larger records of. */
static apr_status_t mark_read(apr_bucket *b, const char **data, apr_size_t *length, apr_read_type_e block)
{
    (void)b;
    (void)block;
    *data = NULL;
    *length = 0;
    return APR_SUCCESS;
}

static const apr_bucket_type_t mark_type = {
    "XLIMIT MARK",          5, APR_BUCKET_METADATA, apr_bucket_destroy_noop, mark_read, apr_bucket_setaside_noop,
    apr_bucket_split_notimpl, apr_bucket_simple_copy
};

apr_bucket *xl_hold_mark(apr_bucket_alloc_t *list)
{
    apr_bucket *b = apr_bucket_alloc(sizeof(*b), list);

    APR_BUCKET_INIT(b);
    b->free = apr_bucket_free;
    b->list = list;
    b->type = &mark_type;
    b->length = 0;
    b->start = 0;
    b->data = NULL;
    return b;
}

bool xl_hold_is_sendfile(const xl_conn_t *conn, const apr_bucket *b)
{
    return !conn->memory_only && APR_BUCKET_IS_FILE(b)
           && (apr_file_flags_get(((const apr_bucket_file *)b->data)->fd) & APR_SENDFILE_ENABLED);
}

/* A file that lives as long as the request needs no setaside: its EOR comes
 * through here after it. */
static bool lives_long_enough(const xl_conn_t *conn, const apr_bucket *b)
{
    apr_pool_t *pool;

    if (!APR_BUCKET_IS_FILE(b))
        return false;
    pool = apr_file_pool_get(((const apr_bucket_file *)b->data)->fd);
    return (conn->r && pool == conn->r->pool) || apr_pool_is_ancestor(pool, conn->c->pool);
}

static apr_status_t set_aside(xl_conn_t *conn, apr_bucket *b)
{
    apr_status_t rv;

    if (lives_long_enough(conn, b))
        return APR_SUCCESS;
    if (!conn->held_pool) {
        apr_pool_create(&conn->held_pool, conn->c->pool);
        apr_pool_tag(conn->held_pool, "xlimit_held");
    }
    rv = apr_bucket_setaside(b, conn->held_pool);
    if (rv == APR_ENOTIMPL) {
        const char *data;
        apr_size_t length;

        rv = apr_bucket_read(b, &data, &length, APR_BLOCK_READ);
        if (rv == APR_SUCCESS)
            rv = apr_bucket_setaside(b, conn->held_pool);
    }
    return rv;
}

/* Moves the brigade to what is held. FLUSH is only noted: the pace decides when
 * a byte leaves. */
apr_status_t xl_hold_keep(xl_conn_t *conn, apr_bucket_brigade *bb, bool *flush)
{
    apr_status_t rv = APR_SUCCESS;

    *flush = false;
    while (!APR_BRIGADE_EMPTY(bb)) {
        apr_bucket *b = APR_BRIGADE_FIRST(bb);

        if (APR_BUCKET_IS_FLUSH(b)) {
            *flush = true;
            apr_bucket_delete(b);
            continue;
        }
        if (!APR_BUCKET_IS_METADATA(b)) {
            rv = set_aside(conn, b);
            if (rv != APR_SUCCESS)
                return rv;
            conn->held_bytes += b->length;
            if (!APR_BUCKET_IS_FILE(b) && !APR_BUCKET_IS_MMAP(b))
                conn->held_memory += b->length;
        }
        conn->held_end = conn->held_end || APR_BUCKET_IS_EOS(b) || AP_BUCKET_IS_EOR(b);
        APR_BUCKET_REMOVE(b);
        APR_BRIGADE_INSERT_TAIL(conn->held, b);
    }
    return APR_SUCCESS;
}

apr_bucket_brigade *xl_hold_chunk(xl_conn_t *conn)
{
    if (!conn->chunk)
        conn->chunk = apr_brigade_create(conn->c->pool, conn->c->bucket_alloc);
    return conn->chunk;
}

void xl_hold_emptied(xl_conn_t *conn)
{
    conn->held_bytes = conn->held_memory = 0;
    conn->held_end = false;
    if (conn->held_pool)
        apr_pool_clear(conn->held_pool);
}

/* Most that goes down in one call without making core or TLS block. */
uint64_t xl_hold_most_at_once(const xl_conn_t *conn)
{
    uint64_t bytes = 0, memory = 0;

    for (apr_bucket *b = APR_BRIGADE_FIRST(conn->held); b != APR_BRIGADE_SENTINEL(conn->held); b = APR_BUCKET_NEXT(b)) {
        if (APR_BUCKET_IS_METADATA(b))
            continue;
        if (!xl_hold_is_sendfile(conn, b)) {
            if (memory + b->length >= XL_CHUNK_MEMORY_BYTES)
                return bytes + XL_CHUNK_MEMORY_BYTES - memory;
            memory += b->length;
        }
        bytes += b->length;
    }
    return bytes;
}

/* Moves the bytes of the slot, and the metadata around them, to the brigade
 * that goes down. */
apr_status_t xl_hold_take(xl_conn_t *conn, uint64_t bytes, apr_bucket_brigade *out)
{
    uint64_t left = bytes;

    while (!APR_BRIGADE_EMPTY(conn->held)) {
        apr_bucket *b = APR_BRIGADE_FIRST(conn->held);

        if (!APR_BUCKET_IS_METADATA(b)) {
            if (!left && b->length)
                break;
            if (b->length > left) {
                apr_status_t rv = apr_bucket_split(b, (apr_size_t)left);

                if (rv != APR_SUCCESS)
                    return rv;
            }
            left -= b->length;
            conn->held_bytes -= b->length;
            if (!APR_BUCKET_IS_FILE(b) && !APR_BUCKET_IS_MMAP(b))
                conn->held_memory -= b->length;
        }
        APR_BUCKET_REMOVE(b);
        APR_BRIGADE_INSERT_TAIL(out, b);
    }
    return APR_SUCCESS;
}
