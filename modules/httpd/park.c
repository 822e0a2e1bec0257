/* SPDX-License-Identifier: Apache-2.0
 *
 * park: a connection waits for a moment without a thread. The event MPM polls
 * the descriptor in the connection's apr_socket_t; while a connection is parked
 * a timerfd stands in the socket's place there, and the MPM wakes it up when
 * the timer expires. Only the suspend hook parks, right before the MPM adds the
 * connection to its pollset; every way back in goes through xl_park_leave
 * before anybody looks at the socket. The timer is never read: setting it
 * again clears it.
 */
#include "xl_conn.h"
#include "xl_told.h"

#include "ap_mpm.h"
#include "apr_portable.h"
#include "http_core.h"
#include "http_log.h"
#include "http_main.h"

#ifdef __linux__
#include <sys/timerfd.h>
#endif
#include <errno.h>
#include <unistd.h>

APLOG_USE_MODULE(xlimit);

#define XL_PARK_MOST_NS (10 * XL_NS_PER_S)

bool xl_park_possible(const conn_rec *c)
{
#ifdef __linux__
    static int is_async = -1; /* the same for the whole life of a process */

    if (is_async < 0 && ap_mpm_query(AP_MPMQ_IS_ASYNC, &is_async) != APR_SUCCESS)
        is_async = 0;
    return is_async && c->cs && !c->master;
#else
    (void)c;
    return false;
#endif
}

#ifdef __linux__

static void complain(xl_conn_t *conn, int error)
{
    if (!xl_told_minute(XL_TOLD_TIMER))
        return;
    ap_log_cerror(APLOG_MARK, APLOG_WARNING, error, conn->c,
                  "xlimit(301): no timer for a paced response or a request that waits, it holds its thread instead; "
                  "raise the limit of open files to three per paced response, two per waiting request");
}

bool xl_park_prepare(xl_conn_t *conn)
{
    if (conn->timer_fd >= 0)
        return true;
    conn->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (conn->timer_fd < 0) {
        complain(conn, errno);
        return false;
    }
    return true;
}

/* The MPM closes a connection that shows no sign of life for Timeout; a park is
 * no sign of death, so it is cut well below that, even where it ends late. */
static uint64_t most_ns(const xl_conn_t *conn)
{
    apr_interval_time_t timeout = ap_server_conf->timeout;
    uint64_t most;

    if (conn->c->base_server->timeout < timeout)
        timeout = conn->c->base_server->timeout;
    if (conn->writing && conn->writing->r->server->timeout < timeout)
        timeout = conn->writing->r->server->timeout;
    if (conn->waiting && conn->waiting->r->server->timeout < timeout)
        timeout = conn->waiting->r->server->timeout;
    most = (uint64_t)timeout * 1000 / 3;
    return most < XL_PARK_MOST_NS ? most : XL_PARK_MOST_NS;
}

void xl_park_set_timer(const xl_conn_t *conn, bool late)
{
    uint64_t at_ns = conn->park_until_ns + (late ? most_ns(conn) : 0);
    struct itimerspec when = { { 0, 0 }, { (time_t)(at_ns / XL_NS_PER_S), (long)(at_ns % XL_NS_PER_S) } };

    timerfd_settime(conn->timer_fd, TFD_TIMER_ABSTIME, &when, NULL); /* cannot fail, but for what is no timer */
}

void xl_park_suspend(conn_rec *c, request_rec *r)
{
    xl_conn_t *conn = xl_conn_of(c);
    uint64_t latest_ns;
    apr_os_sock_t fd;

    (void)r;
    if (!conn || !conn->park_until_ns || conn->socket_fd >= 0)
        return;
    if (apr_os_sock_get(&fd, conn->socket) != APR_SUCCESS) {
        conn->park_until_ns = 0;
        c->cs->sense = CONN_SENSE_WANT_WRITE; /* comes back at once and tries again */
        return;
    }
    latest_ns = xl_now().mono_ns + most_ns(conn);
    if (conn->park_until_ns > latest_ns)
        conn->park_until_ns = latest_ns;
    conn->socket_fd = fd;
    fd = conn->timer_fd;
    apr_os_sock_put(&conn->socket, &fd, c->pool);
    c->cs->sense = CONN_SENSE_WANT_READ;
    xl_timers_add(conn);
}

void xl_park_leave(xl_conn_t *conn)
{
    apr_os_sock_t fd;

    if (conn->socket_fd < 0)
        return;
    xl_timers_remove(conn);
    conn->park_until_ns = 0;
    if (apr_os_sock_get(&fd, conn->socket) == APR_SUCCESS && fd == conn->timer_fd) {
        fd = conn->socket_fd;
        apr_os_sock_put(&conn->socket, &fd, conn->c->pool);
    } else {
        /* The MPM has closed what it took for the socket. */
        conn->timer_fd = -1;
        close(conn->socket_fd);
    }
    conn->socket_fd = -1;
}

#else

bool xl_park_prepare(xl_conn_t *conn)
{
    (void)conn;
    return false;
}

void xl_park_set_timer(const xl_conn_t *conn, bool late)
{
    (void)conn;
    (void)late;
}

void xl_park_suspend(conn_rec *c, request_rec *r)
{
    (void)c;
    (void)r;
}

void xl_park_leave(xl_conn_t *conn)
{
    (void)conn;
}

#endif

void xl_park_resume(conn_rec *c, request_rec *r)
{
    xl_conn_t *conn = xl_conn_of(c);

    (void)r;
    if (conn)
        xl_park_leave(conn);
}

int xl_park_close(conn_rec *c)
{
    xl_park_resume(c, NULL);
    return OK;
}

int xl_park_fd(const xl_conn_t *conn)
{
    apr_os_sock_t fd;

    if (conn->socket_fd >= 0)
        return conn->socket_fd;
    return conn->socket && apr_os_sock_get(&fd, conn->socket) == APR_SUCCESS ? fd : -1;
}
