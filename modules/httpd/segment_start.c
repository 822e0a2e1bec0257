/* SPDX-License-Identifier: Apache-2.0
 *
 * segment_start: from a state file, in whatever state it is, to a ledger that
 * has room for the configuration; or to one clear line of why not.
 * Never attaches anything, never deletes anything.
 * Who locks: nobody has to. At a cold start this process is the only parent of
 * the file; growing appends, which nobody who counts can see.
 * Invariants: a newer file and one that another server runs on are left alone,
 * whatever XLimitStateError says.
 */
#include "xl_segment_start.h"

#include "xl_conn.h"
#include "xl_imagefile.h"
#include "xl_segment.h"

#include "ap_mpm.h"
#include "apr_file_io.h"
#include "apr_strings.h"
#include "http_log.h"

#include <stdlib.h>
#include <string.h>

APLOG_USE_MODULE(xlimit);

#ifndef XL_STATE_DIR
#define XL_STATE_DIR "/var/lib/xlimit"
#endif
#define DEFAULT_STATE_FILE XL_STATE_DIR "/xlimit.state"
#define NO_FILE "none"
#define BOOT_ID_FILE "/proc/sys/kernel/random/boot_id"

#define ALIGNMENT 64 /* of a ledger */
#define TIME_MOST_MS (INT64_C(1) << 47) /* that a date is made of */

enum { LEAST_ROWS = 64, LEAST_CAPACITY = 64 };

/* Twice the processes that may run: those of the generation before stay while
 * their last downloads do. */
static uint32_t rows_needed(void)
{
    int most = 0;

    if (ap_mpm_query(AP_MPMQ_HARD_LIMIT_DAEMONS, &most) != APR_SUCCESS || most < LEAST_ROWS / 2)
        return LEAST_ROWS;
    return 2 * (uint32_t)most;
}

bool xl_segment_need(xl_segment_need_t *need, const xl_engine_conf_t *engine, uint32_t entries, server_rec *s)
{
    size_t keys = (size_t)xl_keyspace_least_bytes(), least;

    need->default_path = !engine->state_file;
    need->path = engine->state_file ? engine->state_file : DEFAULT_STATE_FILE;
    need->fail = engine->state_error_fail;
    need->rows = rows_needed();
    need->entries = entries;
    need->capacity = 2 * entries > LEAST_CAPACITY ? 2 * entries : LEAST_CAPACITY;
    if (!engine->memory_bytes)
        return true;
    least = xl_ledger_size(need->rows, entries) + keys;
    if (engine->memory_bytes >= least) {
        /* With keys the ledger has what it would have anyway, and the table the rest. */
        uint32_t most = xl_ledger_capacity(need->rows, (size_t)engine->memory_bytes - keys);

        need->capacity = keys && need->capacity < most ? need->capacity : most;
        return true;
    }
    ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s, "xlimit(221): XLimitMemory is %" APR_UINT64_T_FMT " bytes, but the %u "
                 "counters of this configuration%s take %" APR_SIZE_T_FMT " bytes; raise XLimitMemory to at least "
                 "that, or leave it out", (apr_uint64_t)engine->memory_bytes, entries,
                 keys ? " and the least tables of keys" : "", least);
    return false;
}

static const char *boot_id(apr_pool_t *p)
{
    char text[40] = "";
    apr_size_t length = sizeof(text) - 1;
    apr_file_t *file;

    if (apr_file_open(&file, BOOT_ID_FILE, APR_FOPEN_READ, APR_FPROT_OS_DEFAULT, p) != APR_SUCCESS)
        return "";
    if (apr_file_read(file, text, &length) != APR_SUCCESS)
        length = 0;
    apr_file_close(file);
    text[length] = '\0';
    text[strcspn(text, "\r\n")] = '\0';
    return apr_pstrdup(p, text);
}

static bool nobody_exists(uint32_t pid)
{
    (void)pid;
    return false;
}

/* ---- what is wrong, in one line each ---- */

static bool stop(server_rec *s, const char *path, const char *reason, const char *remedy)
{
    ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s, "xlimit(222): the state file %s %s; %s", path, reason, remedy);
    return false;
}

static bool stop_for_room(server_rec *s, const char *path, size_t size, const char *reason)
{
    ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s, "xlimit(223): the counters need %" APR_SIZE_T_FMT " bytes in %s: %s; "
                 "make room, move it with XLimitStateFile, or lower XLimitMemory", size, path, reason);
    return false;
}

/* ---- the file ---- */

static bool begin(xl_segment_t *segment, const xl_segment_need_t *need, apr_pool_t *ptemp, server_rec *s)
{
    const char *reason = xl_ledger_init(&segment->ledger, segment->file.base, segment->file.size, need->rows,
                                        boot_id(ptemp), xl_now().wall_ms);

    return reason ? stop_for_room(s, segment->path, segment->file.size, reason) : true;
}

static bool start_unnamed(xl_segment_t *segment, const xl_segment_need_t *need, apr_pool_t *ptemp, server_rec *s)
{
    size_t size = xl_ledger_size(need->rows, need->capacity);
    const char *reason = xl_statefile_open_unnamed(&segment->file, ptemp);

    segment->path = NO_FILE;
    if (reason || (reason = xl_statefile_map(&segment->file, size, ptemp)))
        return stop_for_room(s, "memory", size, reason);
    return begin(segment, need, ptemp, s);
}

/* More disk space, and a new mapping of all of it; at least so many counters have to
 * find room. */
static bool enlarge(xl_segment_t *segment, uint32_t capacity, uint32_t least, apr_pool_t *ptemp, server_rec *s)
{
    size_t size = xl_ledger_size(segment->ledger.rows, capacity);
    const char *reason;

    if (segment->ledger.capacity >= capacity)
        return true;
    reason = xl_statefile_map(&segment->file, size, ptemp);
    if (reason && segment->ledger.capacity < least)
        return stop_for_room(s, segment->path, size, reason);
    if (reason)
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, s, "xlimit(210): %s has room for %u counters and cannot become larger: "
                     "%s; the %u of this configuration may do with that, those of .htaccess files may not; make room "
                     "and restart", segment->path, segment->ledger.capacity, reason, least);
    else
        xl_ledger_extend(&segment->ledger, segment->file.base, segment->file.size);
    return true;
}

/* More rows make each entry longer, so that everything moves: only when nobody
 * else is on the file. */
static bool rebuild(xl_segment_t *segment, const xl_segment_need_t *need, apr_pool_t *ptemp, server_rec *s)
{
    uint32_t capacity = need->capacity > segment->ledger.capacity ? need->capacity : segment->ledger.capacity;
    size_t size = xl_ledger_size(need->rows, capacity);
    xl_statefile_t next;
    xl_ledger_t ledger;
    const char *reason;

    reason = xl_statefile_begin_successor(&next, &segment->file, size, ptemp);
    if (reason)
        return stop_for_room(s, segment->path, size, reason);
    reason = xl_ledger_init(&ledger, next.base, next.size, need->rows, "", xl_now().wall_ms);
    if (!reason)
        reason = xl_ledger_copy(&ledger, &segment->ledger);
    if (!reason)
        reason = xl_statefile_succeed(&segment->file, &next, ptemp);
    if (reason)
        return stop_for_room(s, segment->path, size, reason);
    segment->ledger = ledger;
    return true;
}

/* Children of the old version that are left count into the file that it was. */
static bool migrate(xl_segment_t *segment, const xl_segment_need_t *need, apr_pool_t *ptemp, server_rec *s)
{
    uint32_t version = segment->ledger.version;
    bool orphans = segment->file.orphans;
    const char *reason = xl_statefile_keep(&segment->file, ".bak", ptemp);

    if (reason)
        return stop(s, segment->path, reason, "it is of an earlier version, and is kept before it is converted");
    if (!rebuild(segment, need, ptemp, s))
        return false;
    xl_ledger_rebase(&segment->ledger, boot_id(ptemp));
    ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, "xlimit(228): %s was of version %u and is now of version %u; what it "
                 "was is in %s.bak%s", segment->path, version, XL_LEDGER_VERSION, segment->path,
                 orphans ? ", and so is what children of the earlier server still count" : "");
    return true;
}

/* ---- the copy against power loss ---- */

static void load_copy(xl_copy_t *copy, const xl_segment_need_t *need, apr_pool_t *ptemp)
{
    xl_imagefile_load(copy, xl_imagefile_path(ptemp, need->path, &xl_image_counters), &xl_image_counters, ptemp);
}

static const char *time_of(const xl_copy_t *copy, apr_pool_t *p)
{
    char *text = apr_palloc(p, APR_RFC822_DATE_LEN);

    if (copy->head.wall_ms < 0 || copy->head.wall_ms > TIME_MOST_MS)
        return "an unknown time";
    apr_rfc822_date(text, apr_time_from_msec(copy->head.wall_ms));
    return text;
}

/* How a line about counters that are lost ends. */
static const char *what_follows(const xl_copy_t *copy, apr_pool_t *p)
{
    if (copy->state != XL_COPY_GOOD)
        return "begin anew";
    return apr_psprintf(p, "go on from the copy of %s in %s", time_of(copy, p), copy->path);
}

/* As much room as the copy needs, whatever the configuration does. */
static xl_segment_need_t need_for(const xl_segment_need_t *need, const xl_copy_t *copy)
{
    xl_segment_need_t both = *need;

    if (copy->state == XL_COPY_GOOD && both.capacity < xl_image_records(&copy->head))
        both.capacity = xl_image_records(&copy->head);
    return both;
}

/* Into a ledger that has just begun. */
static bool bring_back(xl_segment_t *segment, const xl_copy_t *copy)
{
    if (copy->state == XL_COPY_GOOD)
        xl_image_take(&segment->ledger, &copy->head, copy->body, false);
    return true;
}

/* Within a boot what the file says is right, and only what is missing there comes
 * from the copy. After another one the file may be older than the copy, in any
 * of its parts: the kernel had not written all of it when power failed. */
static bool bring_together(xl_segment_t *segment, const xl_copy_t *copy, apr_pool_t *ptemp, server_rec *s)
{
    bool another_boot = !xl_ledger_of_boot(&segment->ledger, boot_id(ptemp));
    xl_image_taken_t taken, rest = { 0 };
    uint32_t behind, more;

    if (copy->state != XL_COPY_GOOD)
        return true;
    taken = xl_image_take(&segment->ledger, &copy->head, copy->body, another_boot);
    if (taken.refused && another_boot) {
        more = segment->ledger.capacity + taken.refused;
        if (!enlarge(segment, more, more, ptemp, s))
            return false;
        rest = xl_image_take(&segment->ledger, &copy->head, copy->body, true);
    }
    behind = taken.added + taken.raised + rest.added;
    if (behind)
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, "xlimit(242): %u counters of %s were missing or behind; they go on "
                     "from the copy of %s in %s", behind, segment->path, time_of(copy, ptemp), copy->path);
    return true;
}

/* A good ledger of an earlier server: whose rows are those, and is it large
 * enough? */
static bool take_over(xl_segment_t *segment, const xl_segment_need_t *need, const xl_copy_t *copy, apr_pool_t *ptemp,
                      server_rec *s)
{
    if (segment->ledger.version < XL_LEDGER_VERSION)
        return migrate(segment, need, ptemp, s);
    if (segment->file.orphans) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, "xlimit(225): children of an earlier server still serve and count "
                     "in %s; going on beside them", segment->path);
        xl_ledger_sweep(&segment->ledger, xl_segment_process_exists, NULL);
        return enlarge(segment, need->capacity, need->entries, ptemp, s);
    }
    xl_ledger_sweep(&segment->ledger, nobody_exists, NULL);
    if (!bring_together(segment, copy, ptemp, s))
        return false;
    xl_ledger_rebase(&segment->ledger, boot_id(ptemp));
    if (segment->ledger.rows < need->rows) {
        if (!rebuild(segment, need, ptemp, s))
            return false;
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, "xlimit(224): %s was rebuilt for %u processes, with all its "
                     "counters", segment->path, need->rows);
        return true;
    }
    return enlarge(segment, need->capacity, need->entries, ptemp, s);
}

static const char *default_folder(apr_pool_t *ptemp)
{
    apr_status_t rv = apr_dir_make(XL_STATE_DIR, APR_FPROT_UREAD | APR_FPROT_UWRITE | APR_FPROT_UEXECUTE, ptemp);
    char text[128];

    if (rv == APR_SUCCESS || APR_STATUS_IS_EEXIST(rv))
        return NULL;
    return apr_psprintf(ptemp, "cannot be made, since its folder cannot: %s", apr_strerror(rv, text, sizeof(text)));
}

#define HELD_REMEDY "stop that one first, or give this one an XLimitStateFile of its own"
#define NEWER_REASON "was written by a newer version of this module and is left as it is"
#define NEWER_REMEDY "use that version, or another XLimitStateFile"
#define UNUSABLE_REMEDY "\"XLimitStateError fail\" stops the start; set XLimitStateFile right"
#define CORRUPT_REMEDY "\"XLimitStateError fail\" stops the start; \"fresh\" would rename it and begin anew"

static const char *corrupt_reason(apr_pool_t *ptemp, size_t offset, const char *reason)
{
    return apr_psprintf(ptemp, "is corrupt at offset %" APR_SIZE_T_FMT ": %s", offset, reason);
}

/* What stands in the file, as the start will find it. */
static bool foresee_content(const xl_segment_need_t *need, const xl_copy_t *copy, unsigned char *image, size_t size,
                            apr_pool_t *ptemp, server_rec *s)
{
    const char *reason;
    xl_ledger_t ledger;
    size_t offset;
    bool newer;

    if (!size || (!image[0] && !memcmp(image, image + 1, size - 1)))
        return true;
    reason = xl_ledger_open(&ledger, image, size, &offset, &newer);
    if (!reason)
        return true;
    if (newer)
        return stop(s, need->path, NEWER_REASON, NEWER_REMEDY);
    if (!need->fail || copy->state == XL_COPY_GOOD)
        return true;
    return stop(s, need->path, corrupt_reason(ptemp, offset, reason), CORRUPT_REMEDY);
}

/* All of it, not the head alone: what is only found in the second pass stops a
 * server that has already told the terminal that it runs. */
bool xl_segment_foresee(const xl_segment_need_t *need, apr_pool_t *ptemp, server_rec *s)
{
    apr_finfo_t info = { .size = 0 };
    xl_copy_t copy;
    unsigned char *image;
    const char *reason;
    bool good = true;
    size_t size;

    if (!strcmp(need->path, NO_FILE))
        return true;
    apr_stat(&info, need->path, APR_FINFO_SIZE | APR_FINFO_TYPE | APR_FINFO_LINK, ptemp);
    size = info.filetype == APR_REG ? (size_t)info.size : 0;
    image = aligned_alloc(ALIGNMENT, (size / ALIGNMENT + 1) * ALIGNMENT);
    if (!image)
        return stop_for_room(s, need->path, size, "it cannot be read into memory");
    load_copy(&copy, need, ptemp);
    switch (xl_statefile_look(need->path, image, size, ptemp, &reason)) {
    case XL_STATE_HELD:
        good = stop(s, need->path, reason, HELD_REMEDY);
        break;
    case XL_STATE_UNUSABLE:
        good = need->fail ? stop(s, need->path, reason, UNUSABLE_REMEDY) : true;
        break;
    case XL_STATE_READY:
        good = copy.state == XL_COPY_NEWER ? stop(s, copy.path, NEWER_REASON, NEWER_REMEDY)
                                           : foresee_content(need, &copy, image, size, ptemp, s);
        break;
    }
    free(image);
    return good;
}

static xl_state_e open_file(xl_segment_t *segment, const xl_segment_need_t *need, apr_pool_t *ptemp, server_rec *s,
                            const char **reason)
{
    *reason = need->default_path ? default_folder(ptemp) : NULL;
    if (*reason)
        return XL_STATE_UNUSABLE;
    segment->path = apr_pstrdup(s->process->pool, need->path);
    return xl_statefile_open(&segment->file, segment->path, ptemp, reason);
}

static bool unusable(xl_segment_t *segment, const xl_segment_need_t *need, const xl_copy_t *copy, const char *reason,
                     apr_pool_t *ptemp, server_rec *s)
{
    if (need->fail)
        return stop(s, need->path, reason, UNUSABLE_REMEDY);
    ap_log_error(APLOG_MARK, APLOG_ERR, 0, s, "xlimit(226): the state file %s %s; counters %s and end with "
                 "this server, set XLimitStateFile right", need->path, reason, what_follows(copy, ptemp));
    return start_unnamed(segment, need, ptemp, s) && bring_back(segment, copy);
}

static bool corrupt(xl_segment_t *segment, const xl_segment_need_t *need, const xl_copy_t *copy, const char *reason,
                    apr_pool_t *ptemp, server_rec *s);

/* A file without anything in it: the first start, or what a power loss left. */
static bool begin_or_bring_back(xl_segment_t *segment, const xl_segment_need_t *need, const xl_copy_t *copy,
                                bool told, apr_pool_t *ptemp, server_rec *s)
{
    if (copy->state == XL_COPY_GOOD && !told)
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, "xlimit(241): nothing is in the state file %s; counters %s",
                     need->path, what_follows(copy, ptemp));
    return begin(segment, need, ptemp, s) && bring_back(segment, copy);
}

/* *fresh: nothing is in it yet. */
static bool map_file(xl_segment_t *segment, const xl_segment_need_t *need, bool *fresh, apr_pool_t *ptemp,
                     server_rec *s)
{
    size_t size = xl_ledger_size(need->rows, need->capacity);
    const char *reason = xl_statefile_map(&segment->file, 0, ptemp);

    *fresh = reason || xl_statefile_blank(&segment->file);
    if (*fresh)
        reason = xl_statefile_map(&segment->file, size, ptemp);
    return reason ? stop_for_room(s, segment->path, size, reason) : true;
}

/* renewed: the file that stood here before was set aside. */
static bool start_in_file(xl_segment_t *segment, const xl_segment_need_t *need, const xl_copy_t *copy, bool renewed,
                          apr_pool_t *ptemp, server_rec *s)
{
    const char *reason;
    size_t offset;
    bool newer, fresh;

    switch (open_file(segment, need, ptemp, s, &reason)) {
    case XL_STATE_HELD:
        return stop(s, need->path, reason, HELD_REMEDY);
    case XL_STATE_UNUSABLE:
        return unusable(segment, need, copy, reason, ptemp, s);
    case XL_STATE_READY:
        break;
    }
    if (copy->state == XL_COPY_NEWER)
        return stop(s, copy->path, NEWER_REASON, NEWER_REMEDY);
    if (!map_file(segment, need, &fresh, ptemp, s))
        return false;
    if (fresh)
        return begin_or_bring_back(segment, need, copy, renewed, ptemp, s);
    reason = xl_ledger_open(&segment->ledger, segment->file.base, segment->file.size, &offset, &newer);
    if (!reason)
        return take_over(segment, need, copy, ptemp, s);
    if (newer)
        return stop(s, need->path, NEWER_REASON, NEWER_REMEDY);
    reason = corrupt_reason(ptemp, offset, reason);
    return renewed ? stop(s, need->path, reason, "giving up") : corrupt(segment, need, copy, reason, ptemp, s);
}

static bool corrupt(xl_segment_t *segment, const xl_segment_need_t *need, const xl_copy_t *copy, const char *reason,
                    apr_pool_t *ptemp, server_rec *s)
{
    const char *name, *error;

    if (need->fail && copy->state != XL_COPY_GOOD)
        return stop(s, need->path, reason, CORRUPT_REMEDY);
    error = xl_statefile_set_aside(&segment->file, ptemp, &name);
    if (error)
        return stop(s, need->path, apr_psprintf(ptemp, "%s, and %s", reason, error), "move it away");
    ap_log_error(APLOG_MARK, APLOG_ERR, 0, s, "xlimit(227): the state file %s %s; it is now called %s, and counters "
                 "%s", need->path, reason, name, what_follows(copy, ptemp));
    return start_in_file(segment, need, copy, true, ptemp, s);
}

bool xl_segment_start(xl_segment_t *segment, const xl_segment_need_t *need, apr_pool_t *ptemp, server_rec *s)
{
    xl_segment_need_t both;
    xl_copy_t copy;
    bool started;

    if (!strcmp(need->path, NO_FILE)) {
        started = start_unnamed(segment, need, ptemp, s);
    } else {
        load_copy(&copy, need, ptemp);
        both = need_for(need, &copy);
        started = start_in_file(segment, &both, &copy, false, ptemp, s);
    }
    if (!started)
        memset(&segment->ledger, 0, sizeof(segment->ledger));
    return started;
}

bool xl_segment_grow(xl_segment_t *segment, const xl_segment_need_t *need, apr_pool_t *ptemp, server_rec *s)
{
    return enlarge(segment, need->capacity, need->entries, ptemp, s);
}
