/* SPDX-License-Identifier: Apache-2.0
 *
 * imagefile: opens, reads and writes a file of copies (contract in
 * xl_imagefile.h). Never looks into a body, never shortens or deletes a file
 * that has held one, never logs.
 * Who locks: who writes has the file's record lock.
 * Invariants: the slot that is written is not the newest one that is certainly
 * on the disk; the head comes after its body is there.
 */
#include "xl_imagefile.h"

#include "xl_shared.h"
#include "xl_statefile.h"

#include "apr_errno.h"
#include "apr_strings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *xl_imagefile_path(apr_pool_t *p, const char *state_path, const xl_image_form_t *form)
{
    return apr_pstrcat(p, state_path, form->suffix, NULL);
}

/* ---- reading and writing bytes ---- */

/* 0 or an errno; what is behind the end reads as 0. */
static int read_at(int fd, void *bytes, size_t size, uint64_t at)
{
    unsigned char *to = bytes;

    memset(bytes, 0, size);
    while (size) {
        ssize_t got = pread(fd, to, size, (off_t)at);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got ? errno : 0;
        to += got;
        at += (uint64_t)got;
        size -= (size_t)got;
    }
    return 0;
}

static int write_at(int fd, const void *bytes, size_t size, uint64_t at)
{
    const unsigned char *from = bytes;

    while (size) {
        ssize_t put = pwrite(fd, from, size, (off_t)at);

        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return put ? errno : ENOSPC;
        from += put;
        at += (uint64_t)put;
        size -= (size_t)put;
    }
    return fdatasync(fd) ? errno : 0;
}

static int read_heads(int fd, xl_image_head_t head[XL_IMAGE_SLOTS])
{
    int error = 0;

    for (unsigned i = 0; i < XL_IMAGE_SLOTS && !error; i++)
        error = read_at(fd, &head[i], sizeof(head[i]), (uint64_t)i * XL_IMAGE_PAGE);
    return error;
}

/* ---- looking ---- */

/* The newest slot whose body is good too; of several that are not, the reason of
 * the last. */
static void load_newest(xl_copy_t *copy, int fd, const xl_image_form_t *form,
                        const xl_image_head_t head[XL_IMAGE_SLOTS], bool good[XL_IMAGE_SLOTS], apr_pool_t *p)
{
    while ((copy->slot = xl_image_newest(head, good)) != XL_IMAGE_NO_SLOT) {
        int error;

        copy->head = head[copy->slot];
        copy->body = apr_palloc(p, (size_t)copy->head.length + 1);
        error = read_at(fd, copy->body, (size_t)copy->head.length, copy->head.body_at);
        copy->reason = error ? xl_statefile_fault(p, "cannot be read", error)
                             : xl_image_check_body(&copy->head, form, copy->body);
        if (!copy->reason) {
            copy->state = XL_COPY_GOOD;
            return;
        }
        good[copy->slot] = false;
    }
}

static void load_open(xl_copy_t *copy, int fd, const xl_image_form_t *form, uint64_t file_bytes, apr_pool_t *p)
{
    xl_image_head_t head[XL_IMAGE_SLOTS];
    bool good[XL_IMAGE_SLOTS], newer;
    int error = read_heads(fd, head);
    unsigned i, blank = 0;

    if (error) {
        copy->state = XL_COPY_UNUSABLE;
        copy->reason = xl_statefile_fault(p, "cannot be read", error);
        return;
    }
    copy->state = XL_COPY_SPOILT;
    for (i = 0; i < XL_IMAGE_SLOTS; i++) {
        const char *reason = xl_image_check_head(&head[i], form, file_bytes, &newer);

        good[i] = !reason;
        blank += xl_image_blank(&head[i]);
        if (newer)
            copy->state = XL_COPY_NEWER;
        if (reason && !xl_image_blank(&head[i]))
            copy->reason = reason;
    }
    if (blank == XL_IMAGE_SLOTS)
        copy->state = XL_COPY_NONE;
    else if (copy->state != XL_COPY_NEWER)
        load_newest(copy, fd, form, head, good, p);
}

void xl_imagefile_load(xl_copy_t *copy, const char *path, const xl_image_form_t *form, apr_pool_t *p)
{
    struct stat st;
    int fd;

    *copy = (xl_copy_t){ .state = XL_COPY_UNUSABLE, .path = path };
    errno = 0;
    copy->reason = xl_statefile_open_safely(path, O_RDONLY, &fd, &st, p);
    if (copy->reason) {
        if (errno == ENOENT)
            copy->state = XL_COPY_NONE;
        return;
    }
    load_open(copy, fd, form, (uint64_t)st.st_size, p);
    close(fd);
}

/* ---- opening and growing, by the parent ---- */

static void sync_folder(const char *path, apr_pool_t *p)
{
    const char *slash = strrchr(path, '/');
    int fd = open(slash ? apr_pstrmemdup(p, path, (size_t)(slash - path) + 1) : ".", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return;
    fsync(fd);
    close(fd);
}

static int reserve(xl_imagefile_t *file)
{
    struct stat st;
    size_t size = xl_image_file_bytes(file->room);
    int error;

    if (file->reserved)
        return 0;
    if (fstat(file->fd, &st))
        return errno;
    error = xl_statefile_reserve(file->fd, st.st_size, (size_t)st.st_size > size ? (size_t)st.st_size : size);
    file->reserved = !error;
    return error;
}

/* The file itself, and what its writers share. */
static const char *open_for_writing(xl_imagefile_t *file, const char *path, int flags, struct stat *st, apr_pool_t *p)
{
    const char *reason = xl_statefile_open_safely(path, O_RDWR | O_CREAT | flags, &file->fd, st, p);

    if (reason)
        return reason;
    file->writers = xl_shared_make(sizeof(*file->writers));
    if (file->writers)
        return NULL;
    close(file->fd);
    return "has no memory for what its writers share";
}

const char *xl_imagefile_open(xl_imagefile_t *file, xl_copy_t *copy, const char *path, const xl_image_form_t *form,
                              size_t room, apr_pool_t *p)
{
    xl_imagefile_t next = { .path = path, .form = form };
    const char *reason = NULL;
    struct stat st;

    xl_imagefile_load(copy, path, form, p);
    if (copy->state == XL_COPY_UNUSABLE || copy->state == XL_COPY_NEWER)
        reason = copy->reason;
    else if (copy->state == XL_COPY_SPOILT)
        reason = xl_statefile_rename_aside(path, p, &copy->aside);
    if (!reason)
        reason = open_for_writing(&next, path, 0, &st, p);
    if (reason)
        return reason;
    if (copy->state == XL_COPY_GOOD) /* never over the only good one */
        atomic_store(&next.writers->unfinished, 1 + (1 - copy->slot));
    next.room = st.st_size ? xl_image_room_of((uint64_t)st.st_size) : room;
    reserve(&next);
    sync_folder(path, p);
    *file = next;
    return NULL;
}

const char *xl_imagefile_grow(xl_imagefile_t *file, size_t room, const xl_source_t *source, xl_now_t now,
                              apr_pool_t *p)
{
    const char *path = apr_pstrcat(p, file->path, ".new", NULL), *reason;
    xl_write_fault_t fault = { "is in use", 0 };
    xl_imagefile_t next = { .path = file->path, .form = file->form, .room = room };
    struct stat st;

    if (unlink(path) && errno != ENOENT) /* what an earlier attempt left is incomplete */
        return xl_statefile_fault(p, path, errno);
    reason = open_for_writing(&next, path, O_EXCL, &st, p);
    if (reason)
        return apr_psprintf(p, "%s %s", path, reason);
    if (xl_imagefile_write(&next, source, now, &fault) != XL_WRITE_GOOD)
        reason = apr_psprintf(p, "%s %s", path, xl_statefile_fault(p, fault.what, fault.error));
    else if (rename(path, file->path))
        reason = xl_statefile_fault(p, apr_pstrcat(p, "cannot be replaced by ", path, NULL), errno);
    if (reason) {
        close(next.fd);
        unlink(path);
        free(next.body);
        xl_shared_free(next.writers, sizeof(*next.writers));
        return reason;
    }
    sync_folder(file->path, p);
    close(file->fd);
    free(file->body);
    xl_shared_free(file->writers, sizeof(*file->writers)); /* children have it yet */
    *file = next;
    return NULL;
}

/* ---- writing ---- */

/* 0 or an errno. */
static int lock(const xl_imagefile_t *file, short type)
{
    struct flock whole = { .l_type = type, .l_whence = SEEK_SET };

    return fcntl(file->fd, F_SETLK, &whole) ? errno : 0;
}

static bool failed(xl_write_fault_t *fault, const char *what, int error)
{
    *fault = (xl_write_fault_t){ what, error };
    return false;
}

static bool is_same(const xl_image_head_t *head, const bool good[XL_IMAGE_SLOTS], const xl_image_head_t *next)
{
    unsigned newest = xl_image_newest(head, good);

    return newest != XL_IMAGE_NO_SLOT && head[newest].length == next->length
        && head[newest].body_crc == next->body_crc;
}

/* Memory, disk space, and that whatever was written by others is on the disk:
 * one of them may have been killed before it could wait for that. */
static bool prepare(xl_imagefile_t *file, xl_write_fault_t *fault)
{
    int error = reserve(file);

    if (error)
        return failed(fault, "has no room", error);
    if (!file->body && !(file->body = malloc(file->room ? file->room : 1)))
        return failed(fault, "cannot be made", ENOMEM);
    if (file->writer != getpid() && fdatasync(file->fd))
        return failed(fault, "cannot be written", errno);
    file->writer = getpid();
    return true;
}

static bool write_locked(xl_imagefile_t *file, const xl_source_t *source, xl_now_t now, xl_write_fault_t *fault)
{
    xl_image_head_t head[XL_IMAGE_SLOTS], next;
    bool good[XL_IMAGE_SLOTS], newer;
    unsigned slot, again = atomic_load(&file->writers->unfinished) - 1;
    uint64_t sequence;
    size_t length;
    int error;

    if (!prepare(file, fault))
        return false;
    if ((error = read_heads(file->fd, head)))
        return failed(fault, "cannot be read", error);
    for (unsigned i = 0; i < XL_IMAGE_SLOTS; i++)
        good[i] = !xl_image_check_head(&head[i], file->form, xl_image_file_bytes(file->room), &newer);
    length = source->body(source->of, file->body, file->room);
    if (length > file->room)
        return failed(fault, "is too small for all counters; stop and start the server", 0);
    slot = xl_image_next(head, good, again, &sequence);
    xl_image_sign(&next, file->form, source->ledger, (uint32_t)getpid(), now.wall_ms, now.mono_ns / XL_NS_PER_MS);
    xl_image_seal(&next, slot, file->room, file->body, length, sequence);
    if (again >= XL_IMAGE_SLOTS && is_same(head, good, &next))
        return true;
    atomic_store(&file->writers->unfinished, 1 + slot);
    error = write_at(file->fd, file->body, length, next.body_at);
    if (!error)
        error = write_at(file->fd, &next, sizeof(next), (uint64_t)slot * XL_IMAGE_PAGE);
    if (error)
        return failed(fault, "cannot be written", error);
    atomic_store(&file->writers->unfinished, 0);
    return true;
}

xl_write_e xl_imagefile_write(xl_imagefile_t *file, const xl_source_t *source, xl_now_t now, xl_write_fault_t *fault)
{
    int error = lock(file, F_WRLCK);
    bool good, failing;

    if (error == EAGAIN || error == EACCES)
        return XL_WRITE_BUSY;
    good = error ? failed(fault, "cannot be locked", error) : write_locked(file, source, now, fault);
    failing = atomic_exchange(&file->writers->failing, !good);
    lock(file, F_UNLCK);
    if (good)
        return failing ? XL_WRITE_AGAIN : XL_WRITE_GOOD;
    return failing ? XL_WRITE_FAILING : XL_WRITE_FAILED;
}
