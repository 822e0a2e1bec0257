/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_classes: classes of clients, <XLimitClass NAME>. A class has a number that
 * is given when its name is met for the first time, in whatever directive, and
 * that holds until the configuration is read again: a request compares numbers.
 * Their networks are in xl_networks.h.
 *
 * Until check_config all of this runs in one thread; from then on any thread may
 * ask.
 */
#ifndef XL_CLASSES_H
#define XL_CLASSES_H

#include "xl_limit.h"

#include "ap_expr.h"
#include "httpd.h"
#include "http_config.h"

#define XL_CLASS_NONE 0u

typedef struct {
    const char *name, *file; /* file, line: of its section; NULL: it has none (so far) */
    int line;
} xl_class_t;

/* ---- at a request ---- */

/* The class of a client; XL_CLASS_NONE: he is in none. */
uint32_t xl_class_find(const apr_sockaddr_t *client);

/* The same of who sent the request, as mod_remoteip has him; looked up once. */
uint32_t xl_class_of(request_rec *r);
bool xl_class_holds(request_rec *r, const xl_class_cond_t *cond);
const char *xl_class_name(uint32_t id); /* "": none */

/* ---- configuration ---- */

/* NAME or !NAME behind class=. In a configuration file the class may be declared
 * later; in a .htaccess file it must be there. */
const char *xl_class_parse(const cmd_parms *cmd, const char *text, xl_class_cond_t *cond);

const char *xl_open_class(cmd_parms *cmd, void *dir, const char *args);
const char *xl_set_network(cmd_parms *cmd, void *dir, const char *arg);
const char *xl_set_network_file(cmd_parms *cmd, void *dir, const char *arg);

void xl_classes_reset(apr_pool_t *pconf);                   /* pre_config */
int xl_classes_check(apr_pool_t *pconf, apr_pool_t *ptemp); /* logs; !OK stops the start */

/* Of xl_class_t; the class with number i is the element i - 1. */
const apr_array_header_t *xl_config_classes(void);

#endif
