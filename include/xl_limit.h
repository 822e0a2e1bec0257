/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_limit: one configured limit, immutable once the configuration is read.
 * Pure data; everything that httpd must evaluate (expressions) is an opaque
 * pointer that only the glue looks into.
 */
#ifndef XL_LIMIT_H
#define XL_LIMIT_H

#include "xl_calendar.h"
#include "xl_units.h"

#include <stdbool.h>

typedef enum {
    XL_DIM_QUOTA,
    XL_DIM_BANDWIDTH,
    XL_DIM_UPLOAD,
    XL_DIM_REQUESTS,
    XL_DIM_CONNECTIONS,
    XL_DIM_PENALTY,
    XL_DIM_BLOCK,
    XL_DIMS
} xl_dimension_e;

/* Bytes per time: nobody is refused, all are served slower. */
static inline bool xl_dimension_paces(xl_dimension_e dimension)
{
    return dimension == XL_DIM_BANDWIDTH || dimension == XL_DIM_UPLOAD;
}

typedef enum { XL_KEY_ALL, XL_KEY_SESSION, XL_KEY_CLIENT, XL_KEY_ZONE } xl_key_e;
typedef enum { XL_EVENT_REQUESTS, XL_EVENT_REJECTED, XL_EVENT_STATUS } xl_event_e;
typedef enum { XL_MODE_ENFORCE, XL_MODE_DRY_RUN, XL_MODE_OFF } xl_mode_e;
typedef enum { XL_UNIT_BYTES, XL_UNIT_REQUESTS } xl_unit_e;

typedef enum {
    XL_ACT_DEFAULT, /* nothing configured */
    XL_ACT_REDIRECT,
    XL_ACT_STATUS,
    XL_ACT_SPEED,
    XL_ACT_CLOSE,
    XL_ACT_PASS
} xl_action_e;

typedef struct {
    xl_action_e kind;
    int status;           /* REDIRECT: 30x, STATUS: 400..599 */
    const char *url;      /* REDIRECT: as written */
    const void *url_expr; /* REDIRECT: compiled, NULL when url holds no %{ */
    xl_rate_t rate;       /* SPEED: bytes */
    const struct xl_limit_t *requests, *connections; /* SPEED: what else holds for the offender, or NULL */
} xl_action_t;

/* Whose requests something is for (class=NAME, class=!NAME). */
typedef struct {
    uint32_t id;      /* of the class; 0: of everybody */
    bool others;      /* of all but its clients */
    const char *text; /* as written behind class= */
} xl_class_cond_t;

#define XL_WARN_MAX 8
#define XL_NO_DELAY UINT64_MAX
#define XL_STATUS_WORDS 16 /* bits for the HTTP statuses below 1024 */

typedef struct xl_limit_t {
    xl_dimension_e dimension;
    xl_key_e key;
    xl_mode_e mode;
    xl_unit_e unit; /* QUOTA */
    bool scope_server; /* one counter for all virtual hosts */

    uint64_t amount;    /* QUOTA: units per period; CONNECTIONS: at once */
    xl_period_t period; /* QUOTA */
    uint64_t slice_ms;  /* QUOTA, 0: all at once */
    uint8_t warn[XL_WARN_MAX];
    size_t warns;

    xl_rate_t rate;       /* BANDWIDTH, UPLOAD: bytes; REQUESTS, PENALTY: requests, events */
    uint64_t burst;       /* BANDWIDTH, UPLOAD: bytes; REQUESTS, PENALTY: beyond the first one */
    uint64_t after_bytes; /* BANDWIDTH, UPLOAD with key session */
    uint64_t delay;       /* REQUESTS: so many excess ones pass at once, later ones wait; XL_NO_DELAY: nobody does */
    uint64_t session_key; /* key session: tells the limits of a connection apart, never 0 */

    xl_event_e event;     /* PENALTY */
    uint64_t statuses[XL_STATUS_WORDS]; /* PENALTY of XL_EVENT_STATUS: a bit for each */
    uint64_t for_ms;      /* PENALTY: how long it locks out */
    bool at_accept;       /* CONNECTIONS, BLOCK: of TCP connections, before anything is read */

    xl_action_t exceeded; /* kind XL_ACT_DEFAULT: what XLimitExceeded says */
    xl_class_cond_t only; /* for clients of a class */
    const void *when;     /* ap_expr, NULL: always */
    const char *when_text;
    const void *cost;     /* ap_expr, NULL: 1 */
    const char *cost_text;
    const char *zone;     /* key zone: its name */
    const void *keyzone;  /* key zone: what the glue knows of it */

    const char *account; /* in whose section it stands: one counter for all its virtual hosts; NULL: in none */
    const char *name;  /* unique within its place */
    const char *place; /* "" for server and vhost, else "Location /dl" ... */
    const char *file;  /* where it was written */
    int line;
    bool runtime;      /* from .htaccess: bound to its entry at the request */
    uint32_t *entries; /* ledger index by virtual host index; glue-owned */
} xl_limit_t;

#endif
