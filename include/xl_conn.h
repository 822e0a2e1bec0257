/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_conn: what the module knows of one connection and of the request whose
 * response passes on it. Both belong to the one thread that runs the
 * connection at a time; only `sessions` of a primary connection is shared,
 * with the HTTP/2 workers of its streams, and made of atomic words.
 *
 * The way of a response's bytes:
 *
 *     handler -> ... -> HEAD -> [TLS -> WIRE] -> core output filter -> socket
 *                                                 TAIL: the MPM's wish to write
 *
 * HEAD counts and holds, TAIL lets out what is due, WIRE counts what TLS made
 * of it (to know what had not left when a client goes away).
 */
#ifndef XL_CONN_H
#define XL_CONN_H

#include "xl_config.h"
#include "xl_segment.h"
#include "xl_slot.h"

#include "apr_buckets.h"
#include "httpd.h"
#include "util_filter.h"

#define XL_SESSIONS_MAX 8

/* The pace of one session limit on one connection: it outlives the response,
 * so that keep-alive, ranges and streams share it. */
typedef struct {
    _Atomic uint64_t key; /* of the limit; 0: free */
    _Atomic int32_t sharers;
    xl_meter_t meter;
} xl_session_t;

typedef struct xl_request_t xl_request_t;
typedef struct xl_conn_t xl_conn_t;

struct xl_conn_t {
    conn_rec *c;
    xl_conn_t *primary; /* itself, or the connection that carries this HTTP/2 stream */
    xl_session_t sessions[XL_SESSIONS_MAX];

    ap_filter_t *head, *tail, *core;
    bool async;       /* may be parked: MPM event, HTTP/1.x, a timer can be had */
    bool memory_only; /* something between HEAD and core makes memory of everything: TLS */
    atomic_bool multiplexed; /* carries streams: its own bytes are theirs, counted there */

    request_rec *r;        /* being read or served */
    xl_request_t *writing; /* its account, made when first needed; NULL after its EOR */

    apr_bucket_brigade *chunk; /* on its way down */
    apr_bucket_brigade *held;  /* kept back; EOR included once the handler is done */
    apr_pool_t *held_pool;    /* of what had to be set aside or spooled; cleared when nothing is held */
    uint64_t held_bytes, held_memory;
    bool held_end; /* its last byte is here: EOS or EOR was seen */
    apr_file_t *spool; /* unlinked; NULL: none yet */
    apr_off_t spool_end;
    uint64_t spooled_bytes; /* counted in the child's row */
    bool reserved; /* `slot` is a reservation in every level of `writing` */
    xl_slot_t slot;

    uint64_t plain_bytes, wire_bytes; /* ever handed down by HEAD; by WIRE, or the same */
    apr_socket_t *socket;
    int timer_fd, socket_fd; /* -1: none; socket_fd: put aside while the timer stands in its place */
    bool unsent_limited; /* TCP_NOTSENT_LOWAT is set for the response */
    uint64_t park_until_ns;  /* 0: no wish to be parked */
};

/* One level of a paced response. */
typedef struct {
    xl_level_t level;
    xl_entry_t *entry;     /* shared, or NULL */
    xl_session_t *session; /* own, or NULL */
    uint64_t free_bytes;   /* left of after= */
} xl_pacing_t;

struct xl_request_t {
    request_rec *r; /* the original one: !r->main && !r->prev */
    xl_conn_t *conn;
    xl_entry_t *scope; /* of the virtual host */
    bool decided, exempt, active, pacing;
    int hidden_method; /* 1 + the method number that quick handlers shall not see; 0: none */

    xl_applied_t *applied;
    size_t n_applied;
    xl_facts_t facts;
    xl_verdict_t verdict;
    const xl_limit_t *by; /* the limit that decided, or NULL */

    xl_pacing_t *levels; /* room for XL_LEVELS_MAX once there is one */
    size_t n_levels;
    uint64_t paced_since_ns; /* 0: no byte yet */
    uint64_t last_due_ns;    /* of its slot before */
    bool first_chunk;

    uint64_t sent_bytes;
    uint64_t wire_end; /* conn->wire_bytes when its EOR went down; 0 before */
};

/* connection.c */
void xl_conn_register(void);                 /* the filters */
int xl_conn_pre_connection(conn_rec *c, void *csd);
xl_conn_t *xl_conn_of(const conn_rec *c);    /* NULL for a connection to a backend */
apr_status_t xl_conn_pass(xl_conn_t *conn, apr_bucket_brigade *bb); /* counts, then down from HEAD */

/* request.c */
xl_request_t *xl_request_of(request_rec *r);      /* of the original request; NULL before it has one */
xl_request_t *xl_request_writing(xl_conn_t *conn); /* whose bytes pass now; made when needed; may be NULL */
void xl_request_switching(xl_request_t *xr); /* its answer is a 101 */
void xl_request_sent(xl_request_t *xr, uint64_t bytes);
void xl_request_unsent(xl_request_t *xr, uint64_t bytes); /* of those, they did not leave after all */
void xl_request_pre_read(request_rec *r, conn_rec *c);
int xl_request_hide_from_quick_handlers(request_rec *r, int lookup);
int xl_request_show_again(request_rec *r, int lookup);
int xl_request_decide(request_rec *r);            /* header_parser */

/* respond.c */
const char *xl_respond_token(const xl_request_t *xr); /* XLIMIT_STATUS */
int xl_respond_refuse(xl_request_t *xr, request_rec *r); /* what the hook returns */
void xl_respond_environment(const xl_request_t *xr, request_rec *r);
void xl_respond_headers(const xl_request_t *xr, request_rec *r, xl_headers_e style);
bool xl_respond_is_target(request_rec *r, const xl_action_t *action); /* r is where the redirect leads */

/* hold.c */
apr_status_t xl_hold_keep(xl_conn_t *conn, apr_bucket_brigade *bb, bool *flush);
apr_status_t xl_hold_take(xl_conn_t *conn, uint64_t bytes, apr_bucket_brigade *out); /* with the metadata around them */
apr_bucket_brigade *xl_hold_chunk(xl_conn_t *conn); /* the connection's brigade for what goes down */
bool xl_hold_is_sendfile(const xl_conn_t *conn, const apr_bucket *b);
uint64_t xl_hold_most_at_once(const xl_conn_t *conn); /* that goes down without making core or TLS block */
apr_bucket *xl_hold_mark(apr_bucket_alloc_t *list);   /* ends what TLS would wait with for more */
void xl_hold_emptied(xl_conn_t *conn);

/* pace.c */
bool xl_pace_wanted(const xl_request_t *xr);
void xl_pace_add_level(xl_request_t *xr, const xl_limit_t *limit, xl_entry_t *entry, xl_rate_t rate);
apr_status_t xl_pace_hold(xl_conn_t *conn, apr_bucket_brigade *bb);
apr_status_t xl_pace_tail(xl_conn_t *conn);
apr_status_t xl_pace_abandon(xl_conn_t *conn); /* drops what is held; returns APR_ECONNABORTED */
void xl_pace_end(xl_request_t *xr);            /* settlement: gives back levels and reservation */

typedef enum {
    XL_ADVANCE_DONE,   /* nothing is held any more */
    XL_ADVANCE_EARLY,  /* the next chunk is not due */
    XL_ADVANCE_FULL,   /* the client does not keep up */
    XL_ADVANCE_MORE,   /* enough for one go */
    XL_ADVANCE_FAILED  /* the connection is gone, and what was held with it */
} xl_advance_e;
xl_advance_e xl_pace_advance(xl_conn_t *conn, uint64_t *due_ns); /* due_ns: EARLY; else 0 */

/* wait.c: a handler that waits for its backend or CGI lets out what is held */
void xl_wait_register(void);
void xl_wait_backend(conn_rec *c);              /* pre_connection of a connection to a backend */
void xl_wait_insert_filter(request_rec *r);     /* insert_filter */
apr_status_t xl_wait_split(ap_filter_t *f, apr_bucket_brigade *bb,
                           apr_status_t (*pass)(ap_filter_t *f, apr_bucket_brigade *bb)); /* bb: piece by piece as it
                           is read where its length is not known; else as it is */
void xl_wait_handler_begins(void);
void xl_wait_handler_stays(xl_conn_t *conn);    /* something is held while this thread's handler goes on */
void xl_wait_handler_left(const xl_conn_t *conn);

/* park.c */
bool xl_park_possible(const conn_rec *c);
bool xl_park_prepare(xl_conn_t *conn);  /* a timer; false: cannot be had */
void xl_park_suspend(conn_rec *c, request_rec *r);
void xl_park_resume(conn_rec *c, request_rec *r);
int xl_park_close(conn_rec *c);         /* pre_close_connection */
void xl_park_leave(xl_conn_t *conn);    /* puts the socket back; harmless when it is there */
int xl_park_fd(const xl_conn_t *conn);  /* the socket's descriptor, wherever it is kept */

/* spool.c */
apr_status_t xl_spool_held(xl_conn_t *conn); /* what is held in memory -> file; APR_ENOSPC: over XLimitSpool */
void xl_spool_end(xl_conn_t *conn);          /* the response has ended */

/* startup.c: post_config, what should be configured otherwise when responses are paced */
void xl_startup_check(server_rec *s);

/* events.c: the error log's lines and the access log's items */
void xl_events_decided(const xl_request_t *xr, xl_now_t now);
void xl_events_warn(const xl_request_t *xr);
void xl_events_register_log_items(apr_pool_t *p);

#endif
