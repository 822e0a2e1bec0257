/* SPDX-License-Identifier: Apache-2.0
 *
 * The load client's parts: plan (what is asked for, load_plan.c), connection
 * (one socket with or without TLS, load_io.c), exchange (one request and its
 * response, load_http.c), and the loop over all of them (load.c). One thread;
 * nothing here is shared or locked. Times are CLOCK_MONOTONIC nanoseconds,
 * those of a plan relative to its start.
 */
#ifndef LOAD_H
#define LOAD_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct ssl_st SSL;

enum { LOAD_WINDOWS = 4, LOAD_HEAD_BYTES = 2048 };

#define LOAD_S 1000000000LL

typedef enum { KIND_DOWNLOAD, KIND_UPLOAD, KIND_PROBE } load_kind_t;
typedef enum { AGAIN_NO, AGAIN_KEEP, AGAIN_NEW } load_again_t;

/* One line of the plan: so many connections that all do the same. */
typedef struct load_group_t {
    char name[32];
    load_kind_t kind;
    int n;
    struct sockaddr_in to;
    in_addr_t from; /* host order, 0: the kernel chooses; connection i uses from + i % froms */
    unsigned froms;
    char path[256];
    int64_t at_ns;     /* when the first one starts */
    int64_t spread_ns; /* over how long the others follow; 0: all in one instant */
    int64_t leave_ns;  /* when those that still run are closed; 0: never */
    int64_t read_bps;  /* slow readers; -1: as fast as it comes, 0: reads the head and nothing more */
    int rcvbuf;
    load_again_t again;
    int64_t range_bytes; /* each request asks for so much, 0: for all */
    int64_t size_bytes;  /* of what is uploaded, or of the file that ranges wander through */
    bool chunked;        /* the upload's framing */
    uint64_t keys;       /* requests carry one of so many values of X-Key in turn; 0: none */
    uint64_t key;        /* of the next one */
    bool tls;
    double rate_bps;   /* what is asked of the server: the line for ahead and behind; 0: none */
    int64_t young_ns;  /* how long ahead and behind are looked at */
    int64_t every_ns;  /* probes */
    int n_windows;
    int64_t window_ns[LOAD_WINDOWS];
    uint64_t *sums[LOAD_WINDOWS]; /* bytes of the group per window */
    bool each;                    /* per-second bytes of each connection, too */
    int first;                    /* index of its first connection */
} load_group_t;

typedef struct load_plan_t {
    load_group_t *groups;
    int n_groups;
    int n_conns; /* probes not counted: they come one by one */
    int64_t end_ns;
    int mss;
} load_plan_t;

typedef enum {
    STATE_IDLE,
    STATE_CONNECT,
    STATE_HANDSHAKE,
    STATE_SEND, /* the request's head */
    STATE_BODY_OUT,
    STATE_HEAD,
    STATE_BODY,
    STATE_OVER
} load_state_t;

typedef struct load_conn_t {
    load_group_t *group;
    SSL *ssl;
    char *head; /* LOAD_HEAD_BYTES while a head is read or written, else NULL */
    uint32_t *seconds;
    const char *error; /* "": ended as it should */
    int id;            /* within its group */
    int fd;
    load_state_t state;
    uint32_t events;
    int head_len, head_at;
    int status;
    int requests; /* that got their whole response */
    int64_t left; /* of the body; -1: until the end of the connection */
    int64_t out_left;
    int64_t bytes; /* received, heads included, before TLS */
    int64_t sent;  /* uploaded */
    int64_t start_ns, request_ns, first_ns, end_ns;
    int64_t ahead_ns, behind_ns;
    int64_t burst_ns, burst_bytes; /* where the latest burst began, and what had come before it */
    int64_t mark_ns, mark_bytes;   /* the same for the first burst after young_ns */
    int64_t gap_ns, old_gap_ns;    /* between the beginnings of the last two bursts, and of those before */
    int64_t last_ns;
    bool keep, chunked;
    char tail[5]; /* of a chunked body */
} load_conn_t;

/* ---- load_plan.c -------------------------------------------------------- */

/* Reads the plan from stdin; ends the program with a message when it is wrong. */
void load_plan_read(load_plan_t *plan);

/* ---- load_io.c ---------------------------------------------------------- */

enum { IO_AGAIN = -1, IO_ERROR = -2 };

/* Opens a non-blocking socket and begins to connect; false: conn->error says why. */
bool load_io_open(load_conn_t *conn, int mss);

/* True when the TLS handshake is over; *writes: it waits for the socket to take something. */
bool load_io_handshake(load_conn_t *conn, bool *writes);

/* Like read and write: bytes, 0 at the end, IO_AGAIN, IO_ERROR. `buf` NULL: what is read is thrown away. */
ssize_t load_io_read(load_conn_t *conn, void *buf, size_t n);
ssize_t load_io_write(load_conn_t *conn, const void *buf, size_t n);

void load_io_close(load_conn_t *conn);

/* ---- load_http.c -------------------------------------------------------- */

/* The next request's head into conn->head. */
void load_http_request(load_conn_t *conn);

/* Sends what of head and body the socket takes. True: all is out. */
bool load_http_send(load_conn_t *conn);

typedef enum { HTTP_MORE, HTTP_DONE, HTTP_FAILED } load_http_t;

/* Reads once, at most `most` bytes; *got is how many came. FAILED: conn->error says why. */
load_http_t load_http_receive(load_conn_t *conn, int64_t most, int64_t *got);

#endif
