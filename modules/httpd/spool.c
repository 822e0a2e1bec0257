/* SPDX-License-Identifier: Apache-2.0
 *
 * spool: what a paced response holds in memory above XLimitBuffer goes to an
 * unlinked temporary file and comes back as FILE buckets, so that a CGI or a
 * backend is released at once. The file belongs to the connection and is
 * emptied when a response has ended: core then never has to take it over from
 * a shorter-lived pool. All spooled bytes of a child are counted in its row of
 * the ledger; together the children never exceed XLimitSpool.
 */
#include "xl_conn.h"

#include "apr_file_io.h"
#include "apr_strings.h"
#include "http_core.h"
#include "http_log.h"
#include "http_main.h"

#include <errno.h>
#include <unistd.h>

APLOG_USE_MODULE(xlimit);

#define RECOVERED_NS (60 * XL_NS_PER_S) /* so long the spool counts as short of room after it was */

static _Atomic uint64_t short_since_ns; /* when it last was, 0: it is not; of this process */

/* One line when responses begin to wait with their threads, and one when they no
 * longer do. */
static void log_short(const xl_conn_t *conn, apr_status_t rv)
{
    const xl_engine_conf_t *engine = xl_config_server(ap_server_conf)->engine;

    if (atomic_exchange(&short_since_ns, xl_now().mono_ns))
        return;
    ap_log_cerror(APLOG_MARK, APLOG_ERR, rv, conn->c,
                  "xlimit(311): no room in the spool of %" APR_UINT64_T_FMT " bytes in %s; responses that are over "
                  "XLimitBuffer wait with their threads; see XLimitSpool SIZE DIR",
                  (apr_uint64_t)engine->spool_bytes, engine->spool_dir ? engine->spool_dir : "the system's folder");
}

static void log_room(const xl_conn_t *conn)
{
    uint64_t since_ns = atomic_load_explicit(&short_since_ns, memory_order_relaxed);

    if (!since_ns || xl_now().mono_ns - since_ns < RECOVERED_NS
        || !atomic_compare_exchange_strong(&short_since_ns, &since_ns, 0))
        return;
    ap_log_cerror(APLOG_MARK, APLOG_NOTICE, 0, conn->c, "xlimit(312): the spool has room again");
}

static apr_status_t spool_open(xl_conn_t *conn)
{
    const char *dir = xl_config_server(ap_server_conf)->engine->spool_dir;
    apr_status_t rv = APR_SUCCESS;
    char *name;

    if (!dir)
        rv = apr_temp_dir_get(&dir, conn->c->pool);
    if (rv != APR_SUCCESS)
        return rv;
    name = apr_pstrcat(conn->c->pool, dir, "/xlimit.XXXXXX", NULL);
    rv = apr_file_mktemp(&conn->spool, name,
                         APR_FOPEN_CREATE | APR_FOPEN_READ | APR_FOPEN_WRITE | APR_FOPEN_EXCL
                             | APR_FOPEN_SENDFILE_ENABLED | APR_FOPEN_BINARY,
                         conn->c->pool);
    if (rv != APR_SUCCESS) {
        conn->spool = NULL;
        return rv;
    }
    (void)apr_file_remove(name, conn->c->pool);
    conn->spool_end = 0;
    return APR_SUCCESS;
}

static bool spool_take(xl_conn_t *conn, uint64_t bytes)
{
    uint64_t most = xl_config_server(ap_server_conf)->engine->spool_bytes;

    if (!xl_ledger_spool_take(xl_segment_ledger(), xl_segment_row(), bytes, most))
        return false;
    conn->spooled_bytes += bytes;
    return true;
}

static void spool_give_back(xl_conn_t *conn, uint64_t bytes)
{
    xl_ledger_spool_release(xl_segment_ledger(), xl_segment_row(), bytes);
    conn->spooled_bytes -= bytes;
}

static apr_status_t write_out(xl_conn_t *conn, const char *data, apr_size_t length)
{
    apr_off_t at = conn->spool_end;
    apr_status_t rv = apr_file_seek(conn->spool, APR_SET, &at);

    return rv == APR_SUCCESS ? apr_file_write_full(conn->spool, data, length, NULL) : rv;
}

/* Puts one memory bucket into the file; it becomes a FILE bucket in its place,
 * or longer by it the one before. */
static apr_status_t spool_bucket(xl_conn_t *conn, apr_bucket **at, apr_bucket **run)
{
    apr_bucket *b = *at;
    const char *data;
    apr_size_t length;
    apr_status_t rv = apr_bucket_read(b, &data, &length, APR_BLOCK_READ);

    if (rv == APR_SUCCESS && !spool_take(conn, length))
        return APR_ENOSPC;
    if (rv != APR_SUCCESS)
        return rv;
    rv = write_out(conn, data, length);
    if (rv != APR_SUCCESS) {
        spool_give_back(conn, length);
        return rv;
    }
    if (*run && (*run)->start + (apr_off_t)(*run)->length == conn->spool_end) {
        (*run)->length += length;
    } else {
        *run = apr_bucket_file_create(conn->spool, conn->spool_end, length, conn->c->pool, conn->c->bucket_alloc);
        (void)apr_bucket_file_enable_mmap(*run, 0); /* core would map and unmap each chunk */
        APR_BUCKET_INSERT_BEFORE(b, *run);
    }
    conn->spool_end += (apr_off_t)length;
    conn->held_memory -= length;
    *at = APR_BUCKET_NEXT(b);
    apr_bucket_delete(b);
    return APR_SUCCESS;
}

apr_status_t xl_spool_held(xl_conn_t *conn)
{
    apr_status_t rv;
    apr_bucket *b = APR_BRIGADE_FIRST(conn->held), *run = NULL;

    if (!xl_config_server(ap_server_conf)->engine->spool_bytes)
        return APR_ENOSPC;
    rv = conn->spool ? APR_SUCCESS : spool_open(conn);
    while (rv == APR_SUCCESS && b != APR_BRIGADE_SENTINEL(conn->held)) {
        if (APR_BUCKET_IS_METADATA(b)) {
            run = NULL;
            b = APR_BUCKET_NEXT(b);
        } else if (APR_BUCKET_IS_FILE(b) || APR_BUCKET_IS_MMAP(b)) {
            run = APR_BUCKET_IS_FILE(b) && ((apr_bucket_file *)b->data)->fd == conn->spool ? b : NULL;
            b = APR_BUCKET_NEXT(b);
        } else {
            rv = spool_bucket(conn, &b, &run);
        }
    }
    if (rv == APR_SUCCESS)
        log_room(conn);
    else
        log_short(conn, rv);
    return rv;
}

void xl_spool_end(xl_conn_t *conn)
{
    if (!conn->spooled_bytes)
        return;
    spool_give_back(conn, conn->spooled_bytes);
    conn->spool_end = 0;
    (void)apr_file_trunc(conn->spool, 0);
}
