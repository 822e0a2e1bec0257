/* SPDX-License-Identifier: Apache-2.0
 *
 * The load client of the benchmarks: reads a plan from stdin, opens what it
 * says when it says, notes when which bytes came, and prints one line of
 * tab-separated values per connection, window and probe (load_print.c). One
 * thread, one epoll, nothing done per byte: ten thousand downloads cost it less
 * than they cost the server. It never judges: bench/lib does.
 */
#include "load_print.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 512, DUE_AT_ONCE = 16, TICK_NS = 50000000, BURST_GAP_NS = 20000000 };

static load_plan_t plan;
static load_conn_t *conns;
static load_probe_t *probes;
static int n_probes, max_probes;
static int poller;
static int64_t epoch; /* CLOCK_MONOTONIC of the plan's time 0 */
static int running;
static load_self_t self;

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * LOAD_S + t.tv_nsec - epoch;
}

/* ---- what happens when: a heap ------------------------------------------ */

typedef enum { DO_START, DO_TICK, DO_LEAVE, DO_PROBE } todo_kind_t;

typedef struct todo_t {
    int64_t at;
    todo_kind_t kind;
    void *of; /* load_conn_t, or for a probe load_group_t */
} todo_t;

static todo_t *heap;
static int n_heap, max_heap;

static void swap(int a, int b)
{
    todo_t t = heap[a];
    heap[a] = heap[b];
    heap[b] = t;
}

static void later(int64_t at, todo_kind_t kind, void *of)
{
    if (n_heap == max_heap) {
        max_heap = max_heap ? 2 * max_heap : 1024;
        heap = realloc(heap, (size_t)max_heap * sizeof *heap);
    }
    int i = n_heap++;
    heap[i] = (todo_t){ at, kind, of };
    for (; i && heap[(i - 1) / 2].at > heap[i].at; i = (i - 1) / 2) {
        swap(i, (i - 1) / 2);
    }
}

static todo_t first_todo(void)
{
    todo_t top = heap[0];
    heap[0] = heap[--n_heap];
    for (int i = 0;;) {
        int least = 2 * i + 1;
        least += least + 1 < n_heap && heap[least + 1].at < heap[least].at;
        if (least >= n_heap || heap[least].at >= heap[i].at) {
            return top;
        }
        swap(i, least);
        i = least;
    }
}

/* ---- one connection ----------------------------------------------------- */

static bool is_slow(const load_conn_t *conn)
{
    return conn->group->read_bps >= 0;
}

static void watch(load_conn_t *conn, uint32_t events)
{
    if (events != conn->events) {
        struct epoll_event e = { .events = events, .data.ptr = conn };
        epoll_ctl(poller, conn->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, conn->fd, &e);
        conn->events = events;
    }
}

static void over(load_conn_t *conn, const char *error)
{
    conn->error = error;
    conn->end_ns = *error || !conn->last_ns ? now_ns() : conn->last_ns;
    conn->state = STATE_OVER;
    conn->events = 0;
    load_io_close(conn);
    running--;
    if (conn->group->kind == KIND_PROBE) {
        load_probe_t *p = &probes[conn->id];
        p->took_ns = now_ns() - p->start_ns;
        p->status = conn->status;
        p->error = error;
        free(conn);
    }
}

static void begin(load_conn_t *conn)
{
    if (load_io_open(conn, plan.mss)) {
        conn->state = STATE_CONNECT;
        watch(conn, EPOLLOUT);
    } else {
        over(conn, conn->error);
    }
}

static void ask(load_conn_t *conn)
{
    load_http_request(conn);
    conn->state = STATE_SEND;
    if (!conn->request_ns) {
        conn->request_ns = now_ns();
    }
}

static void start(load_conn_t *conn)
{
    load_group_t *g = conn->group;
    conn->start_ns = now_ns();
    running++;
    if (g->leave_ns && g->kind != KIND_PROBE) {
        later(g->leave_ns, DO_LEAVE, conn);
    }
    begin(conn);
    if (is_slow(conn) && conn->state != STATE_OVER) {
        later(conn->start_ns + TICK_NS, DO_TICK, conn);
    }
}

static void begin_anew(load_conn_t *conn)
{
    load_io_close(conn);
    conn->events = 0;
    begin(conn);
}

/* The next request, if the group asks again and again; else this connection is over. */
static void response_over(load_conn_t *conn)
{
    conn->requests++;
    if (conn->group->again == AGAIN_NO) {
        over(conn, "");
    } else if (conn->group->again == AGAIN_KEEP && conn->keep) {
        ask(conn);
        watch(conn, EPOLLOUT);
    } else {
        begin_anew(conn);
    }
}

/* n bytes came at t: sums of the group, and where this one stands against its line. */
static void note(load_conn_t *conn, int64_t n, int64_t t)
{
    load_group_t *g = conn->group;
    for (int w = 0; w < g->n_windows; w++) {
        g->sums[w][t / g->window_ns[w]] += (uint64_t)n;
    }
    if (conn->seconds) {
        conn->seconds[t / LOAD_S] += (uint32_t)n;
    }
    int64_t age = t - conn->request_ns;
    if (g->rate_bps > 0 && age <= g->young_ns) {
        int64_t behind = age - (int64_t)((double)conn->bytes / g->rate_bps * 1e9);
        int64_t ahead = (int64_t)((double)(conn->bytes + n) / g->rate_bps * 1e9) - age;
        conn->behind_ns = behind > conn->behind_ns ? behind : conn->behind_ns;
        conn->ahead_ns = ahead > conn->ahead_ns ? ahead : conn->ahead_ns;
    }
    if (t - conn->last_ns > BURST_GAP_NS) {
        conn->old_gap_ns = conn->gap_ns;
        conn->gap_ns = t - conn->burst_ns;
        conn->burst_ns = t;
        conn->burst_bytes = conn->bytes;
        if (!conn->mark_ns && age > g->young_ns) {
            conn->mark_ns = t;
            conn->mark_bytes = conn->bytes;
        }
    }
    conn->first_ns = conn->first_ns ? conn->first_ns : t;
    conn->last_ns = t;
    conn->bytes += n;
}

static void receive(load_conn_t *conn, int64_t most)
{
    int64_t got;
    load_http_t result = load_http_receive(conn, most, &got);
    if (got) {
        note(conn, got, now_ns());
    }
    if (result == HTTP_FAILED && conn->state == STATE_HEAD && conn->requests && conn->keep && !conn->head_len) {
        conn->keep = false; /* the server has closed a kept connection, as it may */
        begin_anew(conn);
    } else if (result == HTTP_FAILED) {
        over(conn, conn->error);
    } else if (result == HTTP_DONE) {
        response_over(conn);
    }
}

static void send_more(load_conn_t *conn)
{
    bool out = load_http_send(conn);
    if (*conn->error) {
        over(conn, conn->error);
        return;
    }
    if (out) {
        conn->state = STATE_HEAD;
        watch(conn, is_slow(conn) ? EPOLLPRI : EPOLLIN); /* PRI: nothing but a reset */
    } else {
        watch(conn, conn->state == STATE_BODY_OUT ? EPOLLIN | EPOLLOUT : EPOLLOUT);
    }
}

static void connected(load_conn_t *conn)
{
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        over(conn, error == ECONNREFUSED ? "refused" : "not connected");
        return;
    }
    if (conn->group->tls) {
        conn->state = STATE_HANDSHAKE; /* the socket can be written: the next turn begins */
    } else {
        ask(conn);
        send_more(conn);
    }
}

static void shake(load_conn_t *conn)
{
    bool writes;
    if (load_io_handshake(conn, &writes)) {
        ask(conn);
        send_more(conn);
    } else if (*conn->error) {
        over(conn, conn->error);
    } else {
        watch(conn, writes ? EPOLLOUT : EPOLLIN);
    }
}

static void ready(load_conn_t *conn, uint32_t events)
{
    if (conn->state == STATE_CONNECT) {
        connected(conn);
    } else if (conn->state == STATE_HANDSHAKE) {
        shake(conn);
    } else if (conn->state == STATE_SEND || (conn->state == STATE_BODY_OUT && !(events & EPOLLIN))) {
        send_more(conn);
    } else if (is_slow(conn) && conn->state >= STATE_HEAD) {
        over(conn, "reset"); /* nothing is watched but this */
    } else if (conn->state == STATE_HEAD || conn->state == STATE_BODY || conn->state == STATE_BODY_OUT) {
        receive(conn, 4 << 20);
    }
}

/* A slow reader's turn: it takes what its rate allows by now. */
static void tick(load_conn_t *conn)
{
    if (conn->state == STATE_OVER) {
        return;
    }
    int64_t now = now_ns();
    if (conn->state == STATE_HEAD || conn->state == STATE_BODY) {
        int64_t due = (int64_t)((double)conn->group->read_bps * (double)(now - conn->request_ns) / 1e9) - conn->bytes;
        if (conn->state == STATE_HEAD || due > 0) {
            receive(conn, due);
        }
    }
    if (conn->state != STATE_OVER) {
        later(now + TICK_NS, DO_TICK, conn);
    }
}

static void probe(load_group_t *g, int64_t at)
{
    load_conn_t *conn = calloc(1, sizeof *conn);
    conn->group = g;
    conn->fd = -1;
    conn->id = n_probes++;
    if (conn->id == max_probes) {
        max_probes = max_probes ? 2 * max_probes : 1024;
        probes = realloc(probes, (size_t)max_probes * sizeof *probes);
    }
    probes[conn->id] = (load_probe_t){ .group = g, .start_ns = now_ns(), .error = "runs" };
    int64_t stop = g->leave_ns ? g->leave_ns : plan.end_ns - LOAD_S;
    if (at + g->every_ns < stop) {
        later(at + g->every_ns, DO_PROBE, g);
    }
    start(conn);
}

/* ---- the loop ----------------------------------------------------------- */

static void prepare(void)
{
    conns = calloc((size_t)plan.n_conns + 1, sizeof *conns);
    for (int i = 0; i < plan.n_groups; i++) {
        load_group_t *g = &plan.groups[i];
        if (g->kind == KIND_PROBE) {
            later(g->at_ns, DO_PROBE, g);
            continue;
        }
        for (int k = 0; k < g->n; k++) {
            load_conn_t *conn = &conns[g->first + k];
            *conn = (load_conn_t){ .group = g, .id = k, .fd = -1, .error = "not started" };
            conn->seconds = g->each ? calloc((size_t)(plan.end_ns / LOAD_S) + 2, sizeof *conn->seconds) : NULL;
            later(g->at_ns + g->spread_ns * k / g->n, DO_START, conn);
        }
    }
}

/* A few, then what came is read: a thousand that begin in one instant do not make the first of them wait. */
static void do_due(void)
{
    for (int n = 0; n < DUE_AT_ONCE && n_heap && heap[0].at <= now_ns(); n++) {
        todo_t todo = first_todo();
        load_conn_t *conn = todo.of;
        switch (todo.kind) {
        case DO_START:
            start(conn);
            break;
        case DO_TICK:
            tick(conn);
            break;
        case DO_LEAVE:
            if (conn->state != STATE_OVER) {
                over(conn, "left");
            }
            break;
        case DO_PROBE:
            probe(todo.of, todo.at);
            break;
        }
    }
}

/* True when something is still to begin, not only slow readers' turns and leaves. */
static bool more_to_do(int64_t now)
{
    if (now >= plan.end_ns) {
        return false;
    }
    for (int i = 0; !running && i < n_heap; i++) {
        if (heap[i].kind == DO_START || heap[i].kind == DO_PROBE) {
            return true;
        }
    }
    return running > 0;
}

static void loop(void)
{
    static struct epoll_event events[EVENTS];
    for (int64_t now = now_ns(); more_to_do(now); now = now_ns()) {
        int64_t until = n_heap && heap[0].at < plan.end_ns ? heap[0].at : plan.end_ns;
        int64_t wait = until > now ? until - now : 0;
        struct timespec t = { wait / LOAD_S, wait % LOAD_S };
        int n = epoll_pwait2(poller, events, EVENTS, &t, NULL);
        int64_t woken = now_ns();
        for (int i = 0; i < n; i++) {
            ready(events[i].data.ptr, events[i].events);
        }
        do_due();
        int64_t busy = now_ns() - woken;
        self.longest_ns = busy > self.longest_ns ? busy : self.longest_ns;
        self.turns++;
    }
}

static void raise_open_files(void)
{
    struct rlimit most = { 1 << 20, 1 << 20 }, own;
    if (setrlimit(RLIMIT_NOFILE, &most) && !getrlimit(RLIMIT_NOFILE, &own)) {
        own.rlim_cur = own.rlim_max;
        setrlimit(RLIMIT_NOFILE, &own);
    }
}

int main(void)
{
    load_plan_read(&plan);
    raise_open_files();
    poller = epoll_create1(EPOLL_CLOEXEC);
    prepare();
    epoch = now_ns();
    printf("epoch\t%.6f\n", (double)epoch / 1e9); /* when to look at the server is the reader's business */
    fflush(stdout);
    loop();
    self.ran_ns = now_ns();
    load_print(&plan, conns, probes, n_probes, &self);
    return 0;
}
