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
#include "xl_table.h"

#include "apr_buckets.h"
#include "apr_skiplist.h"
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

    /* Together, as there is one of these for each connection. */
    bool async;       /* may be parked: MPM event, HTTP/1.x, a timer can be had */
    bool memory_only; /* something between HEAD and core makes memory of everything: TLS */
    atomic_bool multiplexed; /* carries streams: its own bytes are theirs, counted there */
    bool in_process;  /* the hook around process_connection is below us on the stack */
    bool held_end;    /* its last byte is here: EOS or EOR was seen */
    bool reserved;    /* `slot` is a reservation in the levels of `writing` */
    bool probed;      /* has sent FIN, and was sent a little since to see whether it is still there */
    bool unsent_limited; /* TCP_NOTSENT_LOWAT is set for the response */
    bool woken;       /* while parked: when it is due; guarded by the mutex of timers.c like in_line */

    int timer_fd, socket_fd;   /* -1: none; socket_fd: put aside while the timer stands in its place */
    uint64_t park_until_ns;    /* 0: no wish to be parked; while parked, when it is due */
    apr_skiplistnode *in_line; /* while parked */

    request_rec *r;        /* being read or served */
    xl_request_t *waiting; /* stopped behind its fixups until its turn has come */
    _Atomic uint64_t upgraded_after_ns; /* that the request waited which became the first stream */
    xl_request_t *writing; /* its account, made when first needed; NULL after its EOR */

    apr_bucket_brigade *chunk; /* on its way down */
    apr_bucket_brigade *held;  /* kept back; EOR included once the handler is done */
    apr_pool_t *held_pool;    /* of what had to be set aside or spooled; cleared when nothing is held */
    uint64_t held_bytes, held_memory;
    apr_file_t *spool; /* unlinked; NULL: none yet */
    apr_off_t spool_end;
    uint64_t spooled_bytes; /* counted in the child's row */
    xl_slot_t slot;

    uint64_t plain_bytes, wire_bytes; /* ever handed down by HEAD; by WIRE, or the same */
    apr_socket_t *socket;
};

/* One level: of a response, or of a request's body. Its meter is the
 * connection's (session), the limit's (entry), or that of the limit's cell for
 * one key (cell; entry then only counts who is active). */
typedef struct {
    xl_level_t level;
    const xl_limit_t *limit;
    xl_entry_t *entry;     /* shared; for a key: what the limit has of all keys together */
    xl_cell_t *cell;       /* of its key, while it is pinned */
    xl_session_t *session; /* of the connection */
    xl_pin_t pin;
    bool keyed;
    xl_table_t *table;     /* of its key, NULL: there is none */
    xl_table_key_t key;
    bool only_over;        /* the speed of a quota: takes part while that is used up */
    const xl_usage_t *usage; /* of that quota */
    uint64_t free_bytes;   /* left of after= */
} xl_pacing_t;

/* All levels of one direction of a request (levels.c). */
typedef struct {
    xl_pacing_t *list;
    size_t n, room;      /* n up to XL_LEVELS_MAX */
    bool entered;        /* counted as a sharer in each of them */
    bool first;          /* no chunk was reserved yet */
    bool idle;           /* had nothing to send, or nobody to take it, since the last one: he is not late */
    uint32_t took;       /* bit per level that the last reservation was made in */
    uint64_t since_ns;   /* first byte */
    uint64_t last_due_ns;
} xl_levels_t;

/* What else than the configuration says how fast a response goes. */
typedef struct {
    bool given, unlimited;
    xl_rate_t rate;
} xl_own_rate_t;

struct xl_request_t {
    request_rec *r; /* the original one: !r->main && !r->prev */
    xl_conn_t *conn;
    xl_entry_t *scope; /* of the virtual host */
    bool decided, exempt, active;
    int answered; /* the status that was counted as the event that it may be; 0: none yet */
    const apr_sockaddr_t *classified; /* the address whose class is class_id; NULL: nobody has asked for it */
    uint32_t class_id;
    int hidden_method; /* 1 + the method number that quick handlers shall not see; 0: none */

    xl_applied_t *applied;
    size_t n_applied, room_applied;
    apr_array_header_t *zone_values; /* what the keys of zones came to (keys.c), NULL: nobody has asked */
    xl_verdict_t verdict;
    const xl_limit_t *by; /* the limit that decided, or NULL */

    xl_levels_t down, up; /* of the response, of the body */
    xl_own_rate_t own_rate;
    bool place; /* of a long HTTP/2 response among the workers */

    uint64_t asked_ns, turn_ns; /* waits since, until; turn_ns 0: it does not wait (any more) */
    uint64_t delayed_ns; /* that it waited for its turn */
    bool resumes;        /* has waited behind its fixups: only its handler is to be run */
    uint64_t sent_bytes;
    uint64_t uncounted_bytes; /* of the head, sent and counted together with what follows it */
    uint64_t wire_end; /* conn->wire_bytes when its EOR went down; 0 before */
};

/* What is in a brigade. */
typedef struct {
    uint64_t bytes, file_bytes;
    bool eor, end, flush; /* end: EOS or EOR */
    bool sendfile, unknown; /* unknown: at least one bucket's length is not known */
} xl_content_t;

/* connection.c */
void xl_conn_register(void);                 /* the filters */
int xl_conn_pre_connection(conn_rec *c, void *csd);
xl_conn_t *xl_conn_of(const conn_rec *c);    /* NULL for a connection to a backend */
apr_status_t xl_conn_pass(xl_conn_t *conn, apr_bucket_brigade *bb); /* counts, then down from HEAD */

/* request.c */
xl_request_t *xl_request_of(request_rec *r);      /* of the original request; NULL before it has one */
const request_rec *xl_request_last(const request_rec *r); /* after internal redirects: whose head and status are sent */
bool xl_request_is_interim(const xl_request_t *xr); /* its status is that of an answer before the answer */
xl_request_t *xl_request_writing(xl_conn_t *conn); /* whose bytes pass now; made when needed; may be NULL */
int xl_request_switching(conn_rec *c, request_rec *r, server_rec *s, const char *protocol); /* protocol_switch */
void xl_request_answered(xl_request_t *xr); /* its client is about to know its status */
void xl_request_sent(xl_request_t *xr, uint64_t bytes);
void xl_request_unsent(xl_request_t *xr, uint64_t bytes); /* of those, they did not leave after all */
void xl_request_end(xl_request_t *xr); /* settles it now, not when its pool goes */
void xl_request_pre_read(request_rec *r, conn_rec *c);
int xl_request_hide_from_quick_handlers(request_rec *r, int lookup);
int xl_request_show_again(request_rec *r, int lookup);
int xl_request_decide(request_rec *r);            /* header_parser */
int xl_request_decide_trace(request_rec *r);      /* map_to_storage */
void xl_request_refused_late(xl_request_t *xr, request_rec *r); /* served by the decision, and not after all */

/* collect.c */
xl_facts_t xl_facts_here(void); /* in which process this is */
/* Of a full list of *room elements of that size, one with room for twice as many, at first for `least`. By little, as
 * thousands of requests have one at once. */
void *xl_grow(apr_pool_t *p, const void *list, size_t *room, size_t least, size_t size);
void xl_collect(xl_request_t *xr, request_rec *r, xl_now_t now); /* xr->exempt, or xr->applied with all that is pinned */

/* accept.c: limits at=accept */
bool xl_accept(conn_rec *c); /* pre_connection; false: it is to be closed */

/* variables.c: %{XLIMIT_ADDR}, %{XLIMIT_CLASS}, %{xlimit_cookie:NAME}, %{xlimit_query:NAME} */
int xl_variables_lookup(ap_expr_lookup_parms *parms); /* expr_lookup */

/* delay.c: a request that has to wait for its turn */
typedef enum {
    XL_DELAY_OVER,  /* it has waited */
    XL_DELAY_LATER, /* it goes on, and will wait behind its fixups or with its response */
    XL_DELAY_GONE,  /* so is its client */
    XL_DELAY_FULL   /* too many wait */
} xl_delay_e;
xl_delay_e xl_delay(xl_request_t *xr, request_rec *r); /* r was decided, and may be refused */
void xl_delay_response(xl_request_t *xr);       /* its response is there: that will wait, if there is a place for it */
uint64_t xl_delay_until_ns(xl_request_t *xr);   /* when its turn is; 0: it waits for none. xr may be NULL */
void xl_delay_end(xl_request_t *xr);            /* has waited, or never will */
uint32_t xl_delay_most(void);                   /* XLimitWaiting */
int xl_delay_fixups(request_rec *r);
int xl_delay_process_connection(conn_rec *c);
int xl_delay_quick_handler(request_rec *r, int lookup);

/* respond.c */
const char *xl_respond_token(const xl_request_t *xr); /* XLIMIT_STATUS */
int xl_respond_refuse(xl_request_t *xr, request_rec *r); /* what the hook returns */
int xl_respond_gone(request_rec *r); /* the same, to a client that is not there any more */
void xl_respond_environment(const xl_request_t *xr, request_rec *r);
void xl_respond_headers(const xl_request_t *xr, request_rec *r, xl_headers_e style);
bool xl_respond_is_target(request_rec *r, const xl_action_t *action); /* r is where the redirect leads */

/* hold.c */
apr_status_t xl_hold_keep(xl_conn_t *conn, apr_bucket_brigade *bb, bool *flush);
apr_status_t xl_hold_take(xl_conn_t *conn, uint64_t bytes, apr_bucket_brigade *out); /* with the metadata around them */
apr_bucket_brigade *xl_hold_chunk(xl_conn_t *conn); /* the connection's brigade for what goes down */
bool xl_hold_is_sendfile(const xl_conn_t *conn, const apr_bucket *b);
#define XL_CHUNK_MEMORY_BYTES UINT64_C(49152) /* core blocks above FlushMaxThreshold, 64 KB */
uint64_t xl_hold_most_at_once(const xl_conn_t *conn); /* that goes down without making core or TLS block */
apr_bucket *xl_hold_mark(apr_bucket_alloc_t *list);   /* ends what TLS would wait with for more */
void xl_hold_emptied(xl_conn_t *conn);

/* keyspace.c: the tables of keys */
#define XL_KEY_BYTES 96u    /* of shared memory */
#define XL_KEYS_LEAST 1024u /* that a table of clients is made for */
uint64_t xl_keyspace_least_bytes(void); /* that the configuration needs */
bool xl_keyspace_open(server_rec *main_server); /* post_config, behind xl_segment_open; logs; false stops the start */
void xl_keyspace_child(apr_pool_t *pchild, server_rec *main_server);
xl_table_t *xl_keyspace_table(const xl_keyzone_t *zone); /* NULL: of clients; NULL: there is none */
const uint8_t *xl_keyspace_secret(void);
bool xl_keyspace_is_new(void); /* this configuration made the secret: nobody has hashed with it yet */
void xl_keyspace_set_secret(const uint8_t secret[16]); /* while it is new */
bool xl_keyspace_gone(uint32_t row); /* its process is gone; false: ask again */

/* keys.c: which key a request has in a limit */
typedef struct {
    uint8_t family, bits, bytes[16]; /* 4 or 6; cut to so many bits */
} xl_client_address_t;
bool xl_keys_address(const apr_sockaddr_t *sa, const server_rec *s, xl_client_address_t *address); /* false: no such family */
const char *xl_keys_address_text(apr_pool_t *p, const xl_client_address_t *address);

/* One key may have several counters in a limit: its own, and those of the parts of
 * a speed answer. */
typedef enum { XL_SALT_NONE, XL_SALT_SPEED, XL_SALT_REQUESTS, XL_SALT_CONNECTIONS } xl_salt_e;

/* What a cell is known by: the entry of its limit, and which of these it is. */
#define XL_OWNER_INDEX ((UINT32_C(1) << 28) - 1)
static inline uint32_t xl_owner_of(uint32_t index, xl_salt_e salt)
{
    return (index & XL_OWNER_INDEX) | (uint32_t)salt << 28;
}
static inline xl_salt_e xl_owner_salt(uint32_t owner)
{
    return (xl_salt_e)(owner >> 28 & 3);
}

/* Its key, and the table where its counter is (NULL: there is none). false: it has no key there, and is not limited. */
bool xl_keys_find(xl_request_t *xr, request_rec *r, const xl_limit_t *limit, const xl_entry_t *entry, xl_salt_e salt,
                  xl_table_t **table, xl_table_key_t *key);
bool xl_keys_find_client(const conn_rec *c, const xl_limit_t *limit, const xl_entry_t *entry, xl_table_t **table,
                         xl_table_key_t *key);
/* Pins the cell of a key; NULL: there is none to be had, or no table (NULL). Logs when keys of the limit find none
 * any more, and when they do again. */
xl_cell_t *xl_keys_pin(const xl_limit_t *limit, xl_entry_t *entry, const server_rec *s, xl_table_t *table,
                       const xl_table_key_t *key, uint64_t now_ns, xl_pin_t *pin);

/* levels.c */
bool xl_levels_add(xl_request_t *xr, xl_levels_t *levels, const xl_applied_t *applied); /* false: too many, logged */
void xl_levels_override(xl_request_t *xr, xl_levels_t *levels); /* xr->own_rate instead of its session levels */
bool xl_levels_bite(const xl_levels_t *levels);  /* at least one takes part now */
void xl_levels_enter(xl_request_t *xr, xl_levels_t *levels); /* becomes a sharer; once */
void xl_levels_leave(xl_levels_t *levels);
/* The chunk size that would be reserved, and a reservation; 0 levels that take
 * part: everything up to ask->cap, due now. Fills in what ask says of age,
 * sessions, first and last due time. */
uint64_t xl_levels_chunk(xl_levels_t *levels, xl_slot_ask_t *ask, uint64_t now_ns);
xl_slot_t xl_levels_reserve(xl_levels_t *levels, xl_slot_ask_t *ask, uint64_t now_ns);
void xl_levels_give_back(const xl_levels_t *levels, uint64_t bytes); /* of the last reservation */
void xl_levels_moved(xl_levels_t *levels, uint64_t bytes);          /* after= and the counters of keys */
bool xl_levels_turned(const xl_levels_t *levels); /* a quota that the last reservation was made for is free again */
uint64_t xl_levels_turn_ns(const xl_levels_t *levels); /* when that will be; UINT64_MAX: there is none */
bool xl_levels_shared(const xl_levels_t *levels); /* the last reservation was in a level that others share */
uint64_t xl_levels_time_ns(const xl_levels_t *levels, uint64_t bytes); /* that so many would take now, with those who
                           share; other streams of the same session do not count, as they are the client's own */
uint64_t xl_levels_unsent_bytes(const xl_levels_t *levels); /* about a chunk */

/* upload.c: the body of a request, no faster than its slots allow */
void xl_upload_register(void);
void xl_upload_begin(xl_request_t *xr, request_rec *r); /* its levels are there: adds the input filter */
void xl_upload_refuse(request_rec *r);  /* before its head goes out: a large body is not read on */
int xl_upload_handler(request_rec *r);  /* handler, after all but core's, which throws bodies away */

/* A place of which a process has only so many; given back by subtracting one. */
static inline bool xl_place_take(_Atomic uint32_t *taken, uint32_t most)
{
    uint32_t now = atomic_load(taken);

    do {
        if (now >= most)
            return false;
    } while (!atomic_compare_exchange_weak(taken, &now, now + 1));
    return true;
}

/* stream.c: how many HTTP/2 workers may sleep for paced responses */
void xl_stream_startup(void); /* post_config */
void xl_stream_register(void);
void xl_stream_insert_filter(request_rec *r);
void xl_stream_end(xl_request_t *xr);

/* rate.c: xlimit-rate, and X-XLimit-Rate of a backend */
void xl_rate_register(void);
void xl_rate_insert_filter(request_rec *r);

/* pace.c */
bool xl_pace_wanted(const xl_request_t *xr);
bool xl_pace_sleep(const xl_conn_t *conn, uint64_t until_ns); /* false: the connection is gone */
apr_status_t xl_pace_hold(xl_conn_t *conn, apr_bucket_brigade *bb, const xl_content_t *content);
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
xl_advance_e xl_pace_advance(xl_conn_t *conn, uint64_t *until_ns); /* until_ns: EARLY; else 0 */

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
void xl_park_set_timer(const xl_conn_t *conn, bool late); /* it expires when that is due; late: some time after that */

/* timers.c: how many of the parked ones are woken up at once */
void xl_timers_child(const server_rec *main_server);
void xl_timers_add(xl_conn_t *conn);    /* it has been parked; sets its timer */
void xl_timers_remove(xl_conn_t *conn); /* it is parked no longer */

/* spool.c */
apr_status_t xl_spool_held(xl_conn_t *conn); /* what is held in memory -> file; APR_ENOSPC: over XLimitSpool */
void xl_spool_end(xl_conn_t *conn);          /* the response has ended */

/* trust.c: what .htaccess files may say without AllowOverride Limit */
int xl_trust_read(request_rec *r); /* post_read_request */
const char *xl_trust_variable(request_rec *r, const char *name); /* NULL: not set, or not believed */
bool xl_trust_handler(const request_rec *r); /* that it is not from there */

/* startup.c: post_config, what should be configured otherwise when responses are paced */
void xl_startup_check(server_rec *s);

/* events.c: the error log's lines and the access log's items */
void xl_events_decided(const xl_request_t *xr, xl_now_t now);
void xl_events_accepted(const conn_rec *c, const xl_applied_t *list, size_t n, xl_now_t now);
void xl_events_locked(const xl_request_t *xr); /* whom the decision, or the answer, has locked out */
void xl_events_warn(const xl_request_t *xr);
void xl_events_register_log_items(apr_pool_t *p);

#endif
