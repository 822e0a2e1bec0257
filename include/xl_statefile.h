/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_statefile: the file under the ledger: opened safely, locked, given its
 * disk space before it is mapped, never shortened and never deleted. Knows
 * nothing of what is in it.
 *
 * Two locks. A POSIX record lock says that a parent process runs on the file:
 * children do not inherit it and the kernel drops it when the parent dies. A
 * shared flock() is inherited by children, so that who cannot have it
 * exclusively knows that somebody still counts into the file.
 */
#ifndef XL_STATEFILE_H
#define XL_STATEFILE_H

#include "apr_pools.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

typedef enum {
    XL_STATE_READY,
    XL_STATE_UNUSABLE, /* cannot be opened, is a link, no regular file, not ours */
    XL_STATE_HELD      /* another parent process runs on it */
} xl_state_e;

typedef struct {
    const char *path; /* NULL: it has no name and ends with its processes */
    pid_t owner;      /* the parent */
    int fd;           /* in the parent only */
    int share_fd;     /* read only; carries the flock into children */
    bool orphans;     /* children of a dead parent still use it */
    unsigned char *base;
    size_t size;
} xl_statefile_t;

/* Opens or creates the file and locks it. *reason is set unless READY. path
 * must live as long as the file. */
xl_state_e xl_statefile_open(xl_statefile_t *file, const char *path, apr_pool_t *p, const char **reason);

/* Only looks: as _open, but creates, locks and changes nothing. *head receives
 * the first head_size bytes, or zeros where the file is missing or shorter. */
xl_state_e xl_statefile_look(const char *path, void *head, size_t head_size, apr_pool_t *p, const char **reason);

/* An open file without a name and without locks. NULL or the reason. */
const char *xl_statefile_open_unnamed(xl_statefile_t *file, apr_pool_t *p);

/* Gives the file disk space for at least `least` bytes and maps all of it. An
 * earlier mapping stays, for whoever still uses it. NULL or the reason. */
const char *xl_statefile_map(xl_statefile_t *file, size_t least, apr_pool_t *p);

/* Whether nothing was ever written into the mapped file. */
bool xl_statefile_blank(const xl_statefile_t *file);

/* Renames a file that cannot be used to NAME.corrupt-<UTC>-<pid> and closes
 * it. NULL or the reason; *name is its new name. */
const char *xl_statefile_set_aside(xl_statefile_t *file, apr_pool_t *p, const char **name);

/* "what: why" as a reason, or what alone for an errno of 0. */
const char *xl_statefile_fault(apr_pool_t *p, const char *what, int error);

const char *xl_statefile_rename_aside(const char *path, apr_pool_t *p, const char **name);

/* Opens what is a regular file of one link and ours, and follows no symbolic
 * link. NULL or the reason, errno being that of open(), and *fd is -1 then. */
const char *xl_statefile_open_safely(const char *path, int flags, int *fd, struct stat *st, apr_pool_t *p);

/* Gives a file that had so many bytes disk space for `size`, or leaves it as it
 * was. 0 or an errno. */
int xl_statefile_reserve(int fd, off_t had, size_t size);

/* Gives the file a second name, NAME and the suffix, which a successor leaves to it.
 * What had that name before is gone. NULL or the reason. */
const char *xl_statefile_keep(const xl_statefile_t *file, const char *suffix, apr_pool_t *p);

/* A successor is written completely under NAME.new, then takes the name. */
const char *xl_statefile_begin_successor(xl_statefile_t *next, const xl_statefile_t *file, size_t size, apr_pool_t *p);
const char *xl_statefile_succeed(xl_statefile_t *file, xl_statefile_t *next, apr_pool_t *p);

/* In a child: keeps the mapping and the shared lock, and gives up what could
 * change the file's size. Does nothing in the parent (httpd -X). */
void xl_statefile_child(xl_statefile_t *file);

/* Unlocks and closes; a mapping stays. */
void xl_statefile_close(xl_statefile_t *file);

#endif
