/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_config: what the configuration said. Setters store values with their
 * file:line; xl_config_check (check_config hook, so at -t too) turns leftovers
 * into errors; after that everything here is immutable, and no string is parsed
 * at a request. Limits live in the per-directory configuration: what stands in
 * a server or a virtual host is its lookup_defaults.
 */
#ifndef XL_CONFIG_H
#define XL_CONFIG_H

#include "xl_limit.h"

#include "ap_expr.h"
#include "apr_tables.h"
#include "httpd.h"
#include "http_config.h"

typedef enum { XL_HEADERS_UNSET, XL_HEADERS_OFF, XL_HEADERS_DRAFT10, XL_HEADERS_LEGACY } xl_headers_e;
typedef enum { XL_ENGINE_AUTO, XL_ENGINE_ASYNC, XL_ENGINE_BLOCKING } xl_engine_e;

typedef struct {
    const char *handler;    /* either this */
    xl_class_cond_t clients; /* or these: its id is not 0 */
    ap_expr_info_t *when;   /* or this */
    const char *when_text;  /* as written */
    const char *account;    /* in whose section it stands, or NULL */
    const char *file;       /* where it was written */
    int line;
} xl_exempt_t;

/* Per directory. Merged ones hold everything that applies, outermost first. */
typedef struct {
    apr_array_header_t *limits;  /* of xl_limit_t *, NULL: none */
    apr_array_header_t *exempts; /* of xl_exempt_t, NULL: none */
    xl_action_t exceeded[XL_DIMS];     /* kind XL_ACT_DEFAULT: not set here */
    xl_action_t exceeded_any;
    int inherit;                 /* -1 unset, 0 drops limits and exemptions from outside, 1 */
    int backend_rate;            /* -1 unset, 1: X-XLimit-Rate of a backend counts */
    xl_headers_e headers;
} xl_dir_conf_t;

/* Of the main server, read by the segment and the engine. */
typedef struct {
    const char *state_file;   /* absolute; NULL: default; "none" */
    uint64_t memory_bytes;    /* 0: sized from the scopes */
    xl_engine_e engine;
    uint32_t waiting;         /* requests at once, per child; 0: as many as threads */
    uint64_t buffer_bytes;
    uint64_t spool_bytes;     /* 0: off */
    const char *spool_dir;    /* NULL: the system's */
    bool state_error_fail;    /* XLimitStateError fail */
    uint64_t flush_ms;        /* between two copies of the counters */
} xl_engine_conf_t;

#define XL_PREFIX_V4 32
#define XL_PREFIX_V6 64

/* Of each server_rec. */
typedef struct {
    server_rec *server;
    const char *account;    /* XLimitAccount, NULL: none; account_file, account_line: where it says so */
    const char *account_file;
    int account_line;
    bool apart;             /* XLimitInherit Off stands in it: it has nothing from outside */
    int prefix_v4, prefix_v6; /* bits of an address that are one client; 0: not set here, the defaults */
    uint32_t index;         /* 0.. in the order of the server list */
    const char *identity;   /* "www.example.org:80", unique among all; set by xl_config_check */
    uint32_t entry;         /* its own ledger entry, set by the segment */
    xl_engine_conf_t *engine;
} xl_server_conf_t;

extern const command_rec xl_commands[];

void *xl_config_create_dir(apr_pool_t *p, char *dir);
void *xl_config_merge_dir(apr_pool_t *p, void *base, void *add);
void *xl_config_create_server(apr_pool_t *p, server_rec *s);
void *xl_config_merge_server(apr_pool_t *p, void *base, void *add);

/* Forgets the limits of an earlier configuration pass (pre_config). */
void xl_config_reset(apr_pool_t *pconf);

/* Names, identities, duplicates; logs each error with file and line. !OK stops
 * the start. */
int xl_config_check(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *main_server);

/* <XLimitAccount NAME>, as written: what of it applies to a server stands in
 * that server's configuration. In the order of the file. */
typedef struct {
    const char *name, *file;
    int line;
    xl_dir_conf_t *conf;
} xl_account_t;
const apr_array_header_t *xl_config_accounts(void);

/* XLimitZone NAME, in the order of the file. */
typedef struct {
    const char *name, *key_text, *file;
    int line;
    const ap_expr_info_t *key;
    uint32_t entries; /* keys that there is room for, of each limit */
    uint32_t limits;  /* how many limits have it as key */
    uint32_t index;   /* 0.. */
} xl_keyzone_t;
bool xl_keyspace_check(void); /* all zones fit into this machine; logs (keyspace.c) */
#define XL_KEYZONE_ENTRIES 65536u
const apr_array_header_t *xl_config_keyzones(void); /* of xl_keyzone_t * */

/* Whether some speed answer has a rate of requests or a number at once besides its rate. */
bool xl_config_has_parts(void);

/* Every limit of the configuration files that counts something (.htaccess and
 * mode=off ones are not among them), in their order. server: where it stands;
 * one that stands in the main server counts for every virtual host that
 * inherits it, one of an account (which has the main server there) for every
 * server of the account. */
typedef struct {
    xl_limit_t *limit;
    server_rec *server;
    xl_dir_conf_t *scope; /* the section it stands in, as written: not merged */
} xl_registered_t;
const apr_array_header_t *xl_config_registry(void);

/* Every section (not: server, virtual host, account) that says something, in
 * the order of the file. */
typedef struct {
    const char *place; /* as in a limit */
    server_rec *server;
    xl_dir_conf_t *conf; /* as written */
} xl_section_t;
const apr_array_header_t *xl_config_sections(void);

/* The action of a limit for a request with that merged configuration: its own
 * exceeded=, the dimension's, `any`, or the default of the dimension. */
const xl_action_t *xl_config_action(const xl_dir_conf_t *conf, const xl_limit_t *limit);

/* The bits of an address that tell clients of that server apart. */
int xl_config_prefix(const server_rec *s, bool v6);

/* -t -D DUMP_XLIMIT: the resolved limits on standard output (test_config). */
void xl_config_dump(apr_pool_t *pconf, server_rec *main_server);

xl_server_conf_t *xl_config_server(const server_rec *s);
xl_dir_conf_t *xl_config_dir(ap_conf_vector_t *per_dir);

#endif
