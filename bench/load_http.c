/* SPDX-License-Identifier: Apache-2.0
 *
 * One request of the load client and its response, HTTP/1.1. Knows just enough
 * to tell a complete response from a broken one: status, Content-Length, the
 * last chunk. Bytes are counted as they come, heads included, which is what the
 * limits count.
 */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { CHUNK_BYTES = 16384, CHUNK_FRAME = 8 };

/* "4000\r\n", 16384 bytes, "\r\n": what a chunked upload repeats. */
static const char *chunk(void)
{
    static char made[CHUNK_BYTES + CHUNK_FRAME];
    if (!made[0]) {
        memset(made, 'x', sizeof made);
        memcpy(made, "4000\r\n", 6);
        memcpy(made + 6 + CHUNK_BYTES, "\r\n", 2);
    }
    return made;
}

static int upload_head(load_conn_t *conn, char *to, size_t size)
{
    load_group_t *g = conn->group;
    conn->out_left = g->size_bytes;
    if (!g->chunked) {
        return snprintf(to, size, "Content-Type: application/octet-stream\r\nContent-Length: %lld\r\n",
                        (long long)g->size_bytes);
    }
    /* whole chunks only, so that a chunk's frame is always the same */
    conn->out_left = (g->size_bytes / CHUNK_BYTES) * (CHUNK_BYTES + CHUNK_FRAME) + 5;
    return snprintf(to, size, "Content-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n");
}

void load_http_request(load_conn_t *conn)
{
    load_group_t *g = conn->group;
    char *head = conn->head = conn->head ? conn->head : malloc(LOAD_HEAD_BYTES);
    size_t size = LOAD_HEAD_BYTES;
    int n = snprintf(head, size, "%s %s HTTP/1.1\r\nHost: localhost\r\n", g->kind == KIND_UPLOAD ? "POST" : "GET",
                     g->path);
    if (g->range_bytes) {
        int64_t from = ((int64_t)(conn->id + conn->requests) * g->range_bytes) % (g->size_bytes - g->range_bytes);
        n += snprintf(head + n, size - (size_t)n, "Range: bytes=%lld-%lld\r\n", (long long)from,
                      (long long)(from + g->range_bytes - 1));
    }
    if (g->keys) {
        n += snprintf(head + n, size - (size_t)n, "X-Key: key-%llu\r\n", (unsigned long long)(g->key++ % g->keys));
    }
    if (g->again != AGAIN_KEEP) {
        n += snprintf(head + n, size - (size_t)n, "Connection: close\r\n");
    }
    conn->out_left = 0;
    if (g->kind == KIND_UPLOAD) {
        n += upload_head(conn, head + n, size - (size_t)n);
    }
    n += snprintf(head + n, size - (size_t)n, "\r\n");
    conn->head_len = n;
    conn->head_at = 0;
    conn->status = 0;
}

static ssize_t send_body(load_conn_t *conn)
{
    static const char zeros[CHUNK_BYTES];
    if (!conn->group->chunked) {
        size_t n = conn->out_left < CHUNK_BYTES ? (size_t)conn->out_left : CHUNK_BYTES;
        return load_io_write(conn, zeros, n);
    }
    if (conn->out_left <= 5) {
        static const char last[] = "0\r\n\r\n";
        return load_io_write(conn, &last[5 - conn->out_left], (size_t)conn->out_left);
    }
    int64_t at = (CHUNK_BYTES + CHUNK_FRAME) - (conn->out_left - 5) % (CHUNK_BYTES + CHUNK_FRAME);
    at %= CHUNK_BYTES + CHUNK_FRAME;
    return load_io_write(conn, chunk() + at, (size_t)(CHUNK_BYTES + CHUNK_FRAME - at));
}

bool load_http_send(load_conn_t *conn)
{
    while (conn->head_at < conn->head_len) {
        ssize_t n = load_io_write(conn, conn->head + conn->head_at, (size_t)(conn->head_len - conn->head_at));
        if (n <= 0) {
            conn->error = n == IO_AGAIN ? conn->error : "send";
            return false;
        }
        conn->head_at += (int)n;
    }
    conn->state = conn->out_left ? STATE_BODY_OUT : conn->state;
    for (int turns = 0; conn->out_left && turns < 64; turns++) {
        ssize_t n = send_body(conn);
        if (n <= 0) {
            conn->error = n == IO_AGAIN ? conn->error : "send";
            return false;
        }
        conn->out_left -= n;
        conn->sent += n;
    }
    return conn->out_left == 0;
}

static const char *field(const char *head, const char *name)
{
    size_t n = strlen(name);
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n")) {
        if (!strncasecmp(line + 2, name, n) && line[2 + n] == ':') {
            return line + 2 + n + 1 + strspn(line + 2 + n + 1, " ");
        }
    }
    return NULL;
}

static bool last_chunk(load_conn_t *conn, const char *buf, ssize_t n)
{
    char joined[10];
    size_t new = n < 5 ? (size_t)n : 5;
    memcpy(joined, conn->tail, 5);
    memcpy(joined + 5, buf + n - new, new);
    memcpy(conn->tail, joined + new, 5);
    return !memcmp(conn->tail, "0\r\n\r\n", 5);
}

/* The head is complete, its end at `end`. */
static load_http_t head_done(load_conn_t *conn, const char *end)
{
    if (sscanf(conn->head, "HTTP/1.%*d %d", &conn->status) != 1) {
        conn->error = "status line";
        return HTTP_FAILED;
    }
    int64_t more = conn->head_len - (end - conn->head);
    if (conn->status == 100) {
        memmove(conn->head, end, (size_t)more + 1);
        conn->head_len = (int)more;
        return HTTP_MORE;
    }
    const char *length = field(conn->head, "Content-Length");
    const char *coding = field(conn->head, "Transfer-Encoding");
    const char *close = field(conn->head, "Connection");
    conn->chunked = coding && !strncasecmp(coding, "chunked", 7);
    conn->keep = conn->group->again == AGAIN_KEEP && !(close && !strncasecmp(close, "close", 5));
    conn->left = length ? strtoll(length, NULL, 10) - more : -1;
    conn->state = STATE_BODY;
    memset(conn->tail, 0, sizeof conn->tail);
    bool over = conn->chunked ? more > 0 && last_chunk(conn, end, more) : conn->left == 0;
    free(conn->head);
    conn->head = NULL;
    return over ? HTTP_DONE : HTTP_MORE;
}

static load_http_t read_head(load_conn_t *conn, int64_t *got)
{
    if (!conn->head || conn->head_at) { /* what is in it is the request */
        conn->head = conn->head ? conn->head : malloc(LOAD_HEAD_BYTES);
        conn->head_len = conn->head_at = 0;
    }
    size_t room = (size_t)(LOAD_HEAD_BYTES - 1 - conn->head_len);
    ssize_t n = room ? load_io_read(conn, conn->head + conn->head_len, room) : IO_ERROR;
    if (n <= 0) {
        conn->error = n == IO_AGAIN ? "" : n == 0 ? "closed before the head" : "reset before the head";
        return n == IO_AGAIN ? HTTP_MORE : HTTP_FAILED;
    }
    *got = n;
    conn->head_len += (int)n;
    conn->head[conn->head_len] = '\0';
    const char *end = strstr(conn->head, "\r\n\r\n");
    return end ? head_done(conn, end + 4) : HTTP_MORE;
}

/* The connection ended; was that the end of the response? */
static load_http_t body_ended(load_conn_t *conn, ssize_t n)
{
    if (n == 0 && conn->left < 0 && !conn->chunked) {
        return HTTP_DONE;
    }
    conn->error = n == 0 ? "closed too early" : "reset";
    return HTTP_FAILED;
}

load_http_t load_http_receive(load_conn_t *conn, int64_t most, int64_t *got)
{
    static char seen[65536];
    *got = 0;
    if (conn->state != STATE_BODY) {
        return read_head(conn, got);
    }
    most = conn->left >= 0 && conn->left < most ? conn->left : most;
    if (conn->chunked && most > (int64_t)sizeof seen) {
        most = sizeof seen;
    }
    ssize_t n = load_io_read(conn, conn->chunked ? seen : NULL, (size_t)most);
    if (n == IO_AGAIN) {
        return HTTP_MORE;
    }
    if (n <= 0) {
        return body_ended(conn, n);
    }
    *got = n;
    if (conn->chunked) {
        return last_chunk(conn, seen, n) ? HTTP_DONE : HTTP_MORE;
    }
    conn->left -= conn->left > 0 ? n : 0;
    return conn->left == 0 ? HTTP_DONE : HTTP_MORE;
}
