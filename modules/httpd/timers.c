/* SPDX-License-Identifier: Apache-2.0
 *
 * timers: which parked connections of this process are woken up when they are
 * due. At most half as many as it has threads, those that are due first; who
 * comes back makes room for the next. The event MPM hands what is ready to its
 * threads through a queue with room for one connection per thread. It waits for
 * an idle thread first, but the end of the process cuts that wait short: when
 * the queue is full then, the connection overwrites another one's place, one is
 * lost and one served by two threads (ap_queue_push_socket does not look). So
 * never are there enough ready ones to fill it, and whoever is new waits for no
 * more than these in the MPM's batch.
 *
 * Everybody else's timer expires some time later, so that nobody hangs on who
 * never comes back. One mutex guards it all. The line is APR's skip list, as the
 * MPM's own timers are.
 */
#include "xl_conn.h"

#include "ap_mpm.h"
#include "apr_thread_mutex.h"

static apr_thread_mutex_t *mutex;
static apr_skiplist *line;      /* of xl_conn_t, by park_until_ns */
static apr_skiplistnode *last;  /* of those that are woken up; NULL: nobody is */
static int woken, woken_most;

static int by_due(void *a, void *b)
{
    uint64_t left = ((const xl_conn_t *)a)->park_until_ns, right = ((const xl_conn_t *)b)->park_until_ns;

    return left < right ? -1 : left > right;
}

static void set(xl_conn_t *conn, bool wake)
{
    conn->woken = wake;
    xl_park_set_timer(conn, !wake);
}

/* The one before or behind, and its connection; NULL at an end. */
static xl_conn_t *step(void *(*to)(apr_skiplist *, apr_skiplistnode **), apr_skiplistnode **node)
{
    xl_conn_t *conn = to(line, node);

    if (!conn)
        *node = NULL;
    return conn;
}

void xl_timers_add(xl_conn_t *conn)
{
    xl_conn_t *latest;
    bool earlier;

    apr_thread_mutex_lock(mutex);
    latest = last ? apr_skiplist_element(last) : NULL;
    earlier = latest && conn->park_until_ns < latest->park_until_ns;
    conn->in_line = apr_skiplist_add(line, conn);
    set(conn, !conn->in_line || woken < woken_most || earlier);
    if (conn->in_line && woken < woken_most) {
        woken++;
        last = earlier ? last : conn->in_line;
    } else if (conn->in_line && earlier) {
        set(latest, false);
        step(apr_skiplist_previous, &last);
    }
    apr_thread_mutex_unlock(mutex);
}

/* Its place goes to the first of those that have none. */
static void pass_place_on(const xl_conn_t *conn)
{
    apr_skiplistnode *node = last;
    xl_conn_t *next = step(apr_skiplist_next, &node);

    if (next) {
        set(next, true);
        last = node;
        return;
    }
    woken--;
    if (last == conn->in_line)
        step(apr_skiplist_previous, &last);
}

void xl_timers_remove(xl_conn_t *conn)
{
    if (!conn->in_line)
        return;
    apr_thread_mutex_lock(mutex);
    if (conn->woken)
        pass_place_on(conn);
    apr_skiplist_remove_node(line, conn->in_line, NULL);
    conn->in_line = NULL;
    apr_thread_mutex_unlock(mutex);
}

/* In the pool that outlives all connections. */
void xl_timers_child(const server_rec *main_server)
{
    int threads = 0;

    ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads);
    woken_most = threads > 3 ? threads / 2 : 1;
    apr_thread_mutex_create(&mutex, APR_THREAD_MUTEX_DEFAULT, main_server->process->pconf);
    apr_skiplist_init(&line, NULL);
    apr_skiplist_set_compare(line, by_due, by_due);
}
