/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_imagefile: a file of copies (xl_image) beside the state file: found,
 * opened by the parent, written by whoever has its lock. Knows nothing of
 * leases and times, and of what is copied only the form.
 *
 * The writer holds a POSIX record lock on the file from before it reads the
 * heads until the head that it wrote is on the disk: a process that is stopped
 * in between keeps others from writing into its slot, and one that is killed
 * does not. The state file's lock says that nobody but one server and its
 * orphans do so.
 */
#ifndef XL_IMAGEFILE_H
#define XL_IMAGEFILE_H

#include "xl_decide.h"
#include "xl_image.h"

#include "apr_pools.h"

#include <sys/types.h>

typedef enum {
    XL_COPY_NONE,     /* no file, or nothing was written into it yet */
    XL_COPY_GOOD,
    XL_COPY_SPOILT,   /* something is there, and no slot of it is good */
    XL_COPY_NEWER,    /* by a newer version */
    XL_COPY_UNUSABLE  /* cannot be opened or read, a link, no regular file, not ours */
} xl_copy_e;

/* The newest good copy. */
typedef struct {
    xl_copy_e state;
    const char *path, *reason; /* reason: unless NONE or GOOD */
    const char *aside;         /* what a SPOILT one is called now, or NULL */
    unsigned slot;
    xl_image_head_t head;
    void *body;
} xl_copy_t;

/* What all who write into one file share. */
typedef struct {
    _Atomic uint32_t unfinished; /* 1 + the slot of which nobody knows how its last write ended */
    _Atomic uint32_t failing;    /* 1: the last one failed */
} xl_writers_t;

typedef struct {
    const char *path; /* NULL: there is none */
    const xl_image_form_t *form;
    xl_writers_t *writers;
    int fd;           /* inherited by children */
    size_t room;      /* of a body */
    bool reserved;    /* there is disk space for all of it */
    void *body;       /* of this process, made when it first writes */
    pid_t writer;     /* the process that has written last, of those that share this memory */
} xl_imagefile_t;

/* What is copied: a body of it as it is at this moment is what the function
 * writes, its length what that returns; more than `room` when it would not do. */
typedef struct {
    const xl_ledger_t *ledger; /* that is of this boot */
    size_t (*body)(const void *of, void *body, size_t room);
    const void *of;
} xl_source_t;

/* How a write came out, so that of a hundred that fail one is told. */
typedef enum {
    XL_WRITE_GOOD,    /* there is a copy of how it is now */
    XL_WRITE_AGAIN,   /* the same, and the one before had failed */
    XL_WRITE_FAILED,  /* and the one before had not */
    XL_WRITE_FAILING, /* nor had the one before been good */
    XL_WRITE_BUSY     /* somebody else writes at this moment */
} xl_write_e;

/* What could not be done, and the errno or 0. */
typedef struct {
    const char *what;
    int error;
} xl_write_fault_t;

/* The path of the copies of a state file. */
const char *xl_imagefile_path(apr_pool_t *p, const char *state_path, const xl_image_form_t *form);

/* Only looks. The body is in memory of the pool. */
void xl_imagefile_load(xl_copy_t *copy, const char *path, const xl_image_form_t *form, apr_pool_t *p);

/* Loads what is there, and opens or creates the file for who will write; path
 * lives as long. What is spoilt is kept under another name, as a state file is, and
 * the only good slot is not the first to be written. NULL, or why there will be no
 * copies. No disk space is no reason: it is asked for again at each write. */
const char *xl_imagefile_open(xl_imagefile_t *file, xl_copy_t *copy, const char *path, const xl_image_form_t *form,
                              size_t room, apr_pool_t *p);

/* A larger file with a copy in it takes its name; who has the old one open goes
 * on with that. NULL or the reason, and nothing has changed. */
const char *xl_imagefile_grow(xl_imagefile_t *file, size_t room, const xl_source_t *source, xl_now_t now,
                              apr_pool_t *p);

/* Writes a copy, if it would not be the same as the newest one. Waits for the disk,
 * not for who writes. One thread of a process at a time. *fault: when it fails. */
xl_write_e xl_imagefile_write(xl_imagefile_t *file, const xl_source_t *source, xl_now_t now, xl_write_fault_t *fault);

#endif
