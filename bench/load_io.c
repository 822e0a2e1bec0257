/* SPDX-License-Identifier: Apache-2.0
 *
 * One socket of the load client, with or without TLS. Owns the descriptor and
 * the TLS state from open to close; never waits, and never looks at what it
 * reads: without TLS the kernel throws it away (MSG_TRUNC).
 */
#include "load.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static SSL_CTX *context(void)
{
    static SSL_CTX *made;
    if (!made) {
        made = SSL_CTX_new(TLS_client_method());
        if (!made) {
            abort();
        }
        SSL_CTX_set_verify(made, SSL_VERIFY_NONE, NULL);
        SSL_CTX_set_mode(made, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE
                                   | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        SSL_CTX_set_session_cache_mode(made, SSL_SESS_CACHE_OFF);
    }
    return made;
}

static void set_option(int fd, int level, int name, int value)
{
    (void)setsockopt(fd, level, name, &value, sizeof value);
}

static void set_options(load_conn_t *conn, int mss)
{
    load_group_t *g = conn->group;
    set_option(conn->fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (mss) {
        set_option(conn->fd, IPPROTO_TCP, TCP_MAXSEG, mss);
    }
    if (g->rcvbuf) {
        set_option(conn->fd, SOL_SOCKET, SO_RCVBUF, g->rcvbuf);
    }
    if (g->from) {
        struct sockaddr_in from = { .sin_family = AF_INET };
        from.sin_addr.s_addr = htonl(g->from + (in_addr_t)((unsigned)conn->id % g->froms));
        set_option(conn->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
        if (bind(conn->fd, (struct sockaddr *)&from, sizeof from)) {
            conn->error = "bind";
        }
    }
}

bool load_io_open(load_conn_t *conn, int mss)
{
    load_group_t *g = conn->group;
    conn->error = "";
    conn->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (conn->fd < 0) {
        conn->error = "socket";
        return false;
    }
    set_options(conn, mss);
    if (!*conn->error && connect(conn->fd, (struct sockaddr *)&g->to, sizeof g->to) && errno != EINPROGRESS) {
        conn->error = "connect";
    }
    if (!*conn->error && g->tls) {
        conn->ssl = SSL_new(context());
        SSL_set_fd(conn->ssl, conn->fd);
        SSL_set_connect_state(conn->ssl);
    }
    return !*conn->error;
}

/* Over TLS: what the last call's result means. */
static ssize_t tls_result(load_conn_t *conn, int result)
{
    if (result > 0) {
        return result;
    }
    int why = SSL_get_error(conn->ssl, result);
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) {
        return IO_AGAIN;
    }
    return why == SSL_ERROR_ZERO_RETURN ? 0 : IO_ERROR;
}

bool load_io_handshake(load_conn_t *conn, bool *writes)
{
    ERR_clear_error();
    int result = SSL_do_handshake(conn->ssl);
    *writes = result <= 0 && SSL_get_error(conn->ssl, result) == SSL_ERROR_WANT_WRITE;
    if (tls_result(conn, result) == IO_ERROR) {
        conn->error = "handshake";
    }
    return result == 1;
}

static ssize_t plain_result(ssize_t n)
{
    return n >= 0 ? n : errno == EAGAIN || errno == EINTR ? IO_AGAIN : IO_ERROR;
}

ssize_t load_io_read(load_conn_t *conn, void *buf, size_t n)
{
    static char thrown_away[65536];
    if (!conn->ssl) {
        return plain_result(recv(conn->fd, buf, n, buf ? 0 : MSG_TRUNC));
    }
    if (!buf) {
        buf = thrown_away;
        n = n < sizeof thrown_away ? n : sizeof thrown_away;
    }
    ERR_clear_error();
    return tls_result(conn, SSL_read(conn->ssl, buf, (int)n));
}

ssize_t load_io_write(load_conn_t *conn, const void *buf, size_t n)
{
    if (!conn->ssl) {
        return plain_result(send(conn->fd, buf, n, MSG_NOSIGNAL));
    }
    ERR_clear_error();
    return tls_result(conn, SSL_write(conn->ssl, buf, (int)n));
}

void load_io_close(load_conn_t *conn)
{
    if (conn->ssl) {
        SSL_free(conn->ssl);
        conn->ssl = NULL;
    }
    if (conn->fd >= 0) {
        close(conn->fd);
        conn->fd = -1;
    }
    free(conn->head);
    conn->head = NULL;
}
