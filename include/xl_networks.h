/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_networks: the networks of all classes of clients, those that stand in the
 * configuration and those of files (networks.c), and one such file
 * (network_file.c). Classes are numbers here, as xl_classes.h gives them.
 *
 * Until check_config all of this runs in one thread; from then on any thread may
 * ask, and a file that has changed is read again by one of those that ask.
 */
#ifndef XL_NETWORKS_H
#define XL_NETWORKS_H

#include "xl_prefix.h"

#include "httpd.h"
#include "http_config.h"

#include <stdatomic.h>

/* ---- network_file.c ---- */

/* By which a file is known to be the same as before. */
typedef struct {
    bool there;
    apr_time_t mtime, ctime;
    apr_off_t size;
    apr_ino_t inode;
    apr_dev_t device;
} xl_stamp_t;

typedef struct {
    apr_pool_t *pool; /* its own; NULL: that of the configuration, or there is no list */
    xl_prefix_entry_t *entries;
    size_t n;
} xl_networks_t;

typedef struct {
    const char *path;
    uint32_t id, source;   /* of the class; of what it holds */
    xl_stamp_t stamp;      /* of the last look */
    xl_networks_t list;    /* in force */
    xl_networks_t fresh;   /* just read */
    bool changed;          /* since the look before */
    bool at_odds;          /* was read, and contradicts another file: read again when any file changes */
    _Atomic size_t n;      /* in force, for who only wants to show it */
} xl_network_file_t;

/* NULL, or why there is no file to read; *stamp then says that it is not there. */
const char *xl_network_file_look(apr_pool_t *p, const char *path, xl_stamp_t *stamp);
bool xl_network_file_same(const xl_stamp_t *a, const xl_stamp_t *b);

/* The file as its stamp has it. NULL, or what is wrong ("line 7: ..."). */
const char *xl_network_file_read(apr_pool_t *p, const xl_network_file_t *file, xl_networks_t *list);

/* ---- networks.c ---- */

void xl_networks_reset(apr_pool_t *pconf);
const char *xl_networks_add(const cmd_parms *cmd, uint32_t id, const char *text);
const char *xl_networks_add_file(const cmd_parms *cmd, uint32_t id, const char *path);
int xl_networks_check(apr_pool_t *pconf, apr_pool_t *ptemp);
void xl_networks_child(apr_pool_t *pchild, server_rec *s); /* child_init */
uint32_t xl_networks_find(xl_address_t address);

/* Of xl_prefix_entry_t: all that stand in the configuration itself. */
const apr_array_header_t *xl_networks_written(void);

/* The path of file i of a class, or NULL behind the last one. */
const char *xl_networks_file(uint32_t id, size_t i);

/* How many networks the class has at the moment. */
size_t xl_networks_count(uint32_t id);

#endif
