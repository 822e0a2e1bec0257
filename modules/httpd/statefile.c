/* SPDX-License-Identifier: Apache-2.0
 *
 * statefile: open, lock, grow, map and replace the file under the ledger.
 * Never shortens or deletes a state, never looks into it.
 * Who locks: see the header. The record lock is lost when the parent closes
 * any descriptor of the file, so both stay open as long as it runs.
 * Plain mmap() and not apr_mmap_create(): a pool would take the mapping away
 * at exit while threads of that process still count.
 */
#include "xl_statefile.h"

#include "apr_errno.h"
#include "apr_file_io.h"
#include "apr_portable.h"
#include "apr_strings.h"
#include "apr_time.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define OPEN_ATTEMPTS 3

const char *xl_statefile_fault(apr_pool_t *p, const char *what, int error)
{
    char text[128];

    return error ? apr_psprintf(p, "%s: %s", what, apr_strerror(error, text, sizeof(text))) : what;
}

static xl_statefile_t nothing_open(const char *path)
{
    return (xl_statefile_t){ .path = path, .owner = getpid(), .fd = -1, .share_fd = -1 };
}

void xl_statefile_close(xl_statefile_t *file)
{
    if (file->share_fd >= 0)
        close(file->share_fd);
    if (file->fd >= 0)
        close(file->fd);
    file->fd = file->share_fd = -1;
}

void xl_statefile_child(xl_statefile_t *file)
{
    if (file->owner == getpid() || file->fd < 0)
        return;
    close(file->fd);
    file->fd = -1;
}

/* 0, or the process that holds the record lock, or -1 when nobody can tell. */
static pid_t lock_record(int fd)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

    if (!fcntl(fd, F_SETLK, &lock))
        return 0;
    if (fcntl(fd, F_GETLK, &lock) || lock.l_type == F_UNLCK)
        return -1;
    return lock.l_pid;
}

/* Exclusive for a moment, to see whether anybody shares it, then shared. */
static const char *lock_shared(xl_statefile_t *file, apr_pool_t *p)
{
    file->orphans = flock(file->share_fd, LOCK_EX | LOCK_NB) != 0;
    if (file->orphans && errno != EWOULDBLOCK)
        return xl_statefile_fault(p, "cannot be locked", errno);
    if (flock(file->share_fd, LOCK_SH | LOCK_NB))
        return xl_statefile_fault(p, "cannot be locked", errno);
    return NULL;
}

static const char *check_kind(const struct stat *st, apr_pool_t *p)
{
    if (!S_ISREG(st->st_mode))
        return "is no regular file";
    if (st->st_nlink > 1)
        return "has more than one link";
    if (st->st_uid != geteuid())
        return apr_psprintf(p, "belongs to user %lu, not to %lu who starts the server", (unsigned long)st->st_uid,
                            (unsigned long)geteuid());
    return NULL;
}

const char *xl_statefile_open_safely(const char *path, int flags, int *fd, struct stat *st, apr_pool_t *p)
{
    const char *reason;

    *fd = open(path, O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | flags, 0600);
    if (*fd < 0)
        return errno == ELOOP ? "is a symbolic link" : xl_statefile_fault(p, "cannot be opened", errno);
    reason = fstat(*fd, st) ? xl_statefile_fault(p, "cannot be looked at", errno) : check_kind(st, p);
    if (reason) {
        close(*fd);
        *fd = -1;
    }
    return reason;
}

static const char *open_both(xl_statefile_t *file, int flags, struct stat *st, apr_pool_t *p)
{
    struct stat shared;
    const char *reason = xl_statefile_open_safely(file->path, O_RDWR | flags, &file->fd, st, p);

    if (reason)
        return reason;
    file->share_fd = open(file->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (file->share_fd < 0 || fstat(file->share_fd, &shared))
        return xl_statefile_fault(p, "cannot be opened", errno);
    return shared.st_ino == st->st_ino && shared.st_dev == st->st_dev ? NULL : "is being replaced";
}

/* One attempt. *again: the file lost its name between opening and locking. */
static xl_state_e open_once(xl_statefile_t *file, int flags, apr_pool_t *p, const char **reason, bool *again)
{
    struct stat st;
    pid_t holder;

    *again = false;
    if ((*reason = open_both(file, flags, &st, p)))
        return XL_STATE_UNUSABLE;
    holder = lock_record(file->fd);
    if (holder) {
        *reason = holder > 0 ? apr_psprintf(p, "is in use by another running server, process %ld", (long)holder)
                             : "is in use by another running server";
        return XL_STATE_HELD;
    }
    if ((*reason = lock_shared(file, p)))
        return XL_STATE_UNUSABLE;
    if (fstat(file->fd, &st) || !st.st_nlink) {
        *again = true;
        *reason = "is being replaced";
        return XL_STATE_UNUSABLE;
    }
    return XL_STATE_READY;
}

xl_state_e xl_statefile_open(xl_statefile_t *file, const char *path, apr_pool_t *p, const char **reason)
{
    xl_state_e state;
    bool again;
    int attempt = 0;

    do {
        *file = nothing_open(path);
        state = open_once(file, O_CREAT, p, reason, &again);
        if (state != XL_STATE_READY)
            xl_statefile_close(file);
    } while (again && ++attempt < OPEN_ATTEMPTS);
    return state;
}

xl_state_e xl_statefile_look(const char *path, void *head, size_t head_size, apr_pool_t *p, const char **reason)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    xl_state_e state = XL_STATE_READY;
    struct stat st;
    int fd;

    memset(head, 0, head_size);
    errno = 0;
    *reason = xl_statefile_open_safely(path, O_RDONLY, &fd, &st, p);
    if (*reason)
        return errno == ENOENT ? XL_STATE_READY : XL_STATE_UNUSABLE;
    if (!fcntl(fd, F_GETLK, &lock) && lock.l_type != F_UNLCK) {
        *reason = apr_psprintf(p, "is in use by another running server, process %ld", (long)lock.l_pid);
        state = XL_STATE_HELD;
    } else if (pread(fd, head, head_size, 0) < 0) {
        *reason = xl_statefile_fault(p, "cannot be read", errno);
        state = XL_STATE_UNUSABLE;
    }
    close(fd);
    return state;
}

#ifdef MFD_CLOEXEC
const char *xl_statefile_open_unnamed(xl_statefile_t *file, apr_pool_t *p)
{
    *file = nothing_open(NULL);
    file->fd = memfd_create("xlimit", MFD_CLOEXEC);
    return file->fd < 0 ? xl_statefile_fault(p, "no memory file", errno) : NULL;
}
#else
const char *xl_statefile_open_unnamed(xl_statefile_t *file, apr_pool_t *p)
{
    const char *folder;
    char *name;
    int fd;

    *file = nothing_open(NULL);
    if (apr_temp_dir_get(&folder, p) != APR_SUCCESS)
        return "no folder for temporary files";
    name = apr_pstrcat(p, folder, "/xlimit.XXXXXX", NULL);
    fd = mkstemp(name);
    if (fd < 0)
        return xl_statefile_fault(p, name, errno);
    unlink(name);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    file->fd = fd;
    return NULL;
}
#endif

/* A posix_fallocate() that fails has first taken everything that was left, of
 * the disk or of memory: what cannot be there is not tried, and what a failed
 * growth took is given back. */
int xl_statefile_reserve(int fd, off_t had, size_t size)
{
    long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
    size_t more = size - (size_t)had;
    struct statvfs disk;
    int error;

    if (pages > 0 && page_bytes > 0 && size / (size_t)page_bytes > (size_t)pages)
        return ENOMEM;
    if (!fstatvfs(fd, &disk) && disk.f_blocks && more / disk.f_frsize > disk.f_bfree)
        return ENOSPC;
    error = posix_fallocate(fd, 0, (off_t)size);
    if (error && more && ftruncate(fd, had))
        return errno;
    return error;
}

/* Space first: a page of a sparse file on a full disk is a SIGBUS later. */
const char *xl_statefile_map(xl_statefile_t *file, size_t least, apr_pool_t *p)
{
    struct stat st;
    size_t size;
    void *base;
    int error;

    if (fstat(file->fd, &st))
        return xl_statefile_fault(p, "cannot be looked at", errno);
    size = (size_t)st.st_size > least ? (size_t)st.st_size : least;
    if (!size)
        return "is empty";
    error = xl_statefile_reserve(file->fd, st.st_size, size);
    if (error)
        return xl_statefile_fault(p, apr_psprintf(p, "no room for %" APR_SIZE_T_FMT " bytes", size), error);
    base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file->fd, 0);
    if (base == MAP_FAILED)
        return xl_statefile_fault(p, apr_psprintf(p, "%" APR_SIZE_T_FMT " bytes cannot be mapped", size), errno);
    file->base = base;
    file->size = size;
    return NULL;
}

bool xl_statefile_blank(const xl_statefile_t *file)
{
    return !file->base[0] && !memcmp(file->base, file->base + 1, file->size - 1);
}

const char *xl_statefile_rename_aside(const char *path, apr_pool_t *p, const char **name)
{
    const char *aside;
    apr_time_exp_t utc;

    apr_time_exp_gmt(&utc, apr_time_now());
    aside = apr_psprintf(p, "%s.corrupt-%04d%02d%02dT%02d%02d%02dZ-%ld", path, utc.tm_year + 1900, utc.tm_mon + 1,
                         utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, (long)getpid());
    if (rename(path, aside))
        return xl_statefile_fault(p, apr_pstrcat(p, "cannot be renamed to ", aside, NULL), errno);
    *name = aside;
    return NULL;
}

const char *xl_statefile_set_aside(xl_statefile_t *file, apr_pool_t *p, const char **name)
{
    const char *reason = xl_statefile_rename_aside(file->path, p, name);

    if (reason)
        return reason;
    munmap(file->base, file->size);
    xl_statefile_close(file);
    return NULL;
}

const char *xl_statefile_keep(const xl_statefile_t *file, const char *suffix, apr_pool_t *p)
{
    const char *name = apr_pstrcat(p, file->path, suffix, NULL);

    if ((unlink(name) && errno != ENOENT) || link(file->path, name))
        return xl_statefile_fault(p, apr_pstrcat(p, "cannot be kept as ", name, NULL), errno);
    return NULL;
}

/* What an earlier attempt left under that name is an incomplete copy. */
const char *xl_statefile_begin_successor(xl_statefile_t *next, const xl_statefile_t *file, size_t size, apr_pool_t *p)
{
    const char *path = apr_pstrcat(p, file->path, ".new", NULL), *reason;
    bool again;

    if (unlink(path) && errno != ENOENT)
        return xl_statefile_fault(p, path, errno);
    *next = nothing_open(path);
    if (open_once(next, O_CREAT | O_EXCL, p, &reason, &again) != XL_STATE_READY ||
        (reason = xl_statefile_map(next, size, p))) {
        xl_statefile_close(next);
        return apr_psprintf(p, "%s %s", path, reason);
    }
    return NULL;
}

const char *xl_statefile_succeed(xl_statefile_t *file, xl_statefile_t *next, apr_pool_t *p)
{
    if (msync(next->base, next->size, MS_SYNC) || fsync(next->fd) || rename(next->path, file->path)) {
        const char *reason = xl_statefile_fault(p, apr_pstrcat(p, "cannot be replaced by ", next->path, NULL), errno);

        munmap(next->base, next->size);
        xl_statefile_close(next);
        return reason;
    }
    munmap(file->base, file->size);
    xl_statefile_close(file);
    next->path = file->path;
    *file = *next;
    return NULL;
}
