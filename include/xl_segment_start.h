/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_segment_start: how a segment comes to its ledger, at a cold start and when
 * a graceful restart needs more room. For modules/httpd/segment.c only.
 */
#ifndef XL_SEGMENT_START_H
#define XL_SEGMENT_START_H

#include "xl_config.h"
#include "xl_ledger.h"
#include "xl_statefile.h"

#include "apr_global_mutex.h"

/* Outlives configurations; zeroed at first. */
typedef struct {
    xl_ledger_t ledger; /* base NULL: not open */
    xl_statefile_t file;
    const char *path; /* "none" when it has no name */
    apr_global_mutex_t *mutex;
    uint64_t generation;
    bool warm; /* this configuration is not the first one of the process */
} xl_segment_t;

/* What a configuration needs. */
typedef struct {
    const char *path; /* or "none" */
    bool default_path, fail;
    uint32_t rows, capacity, entries; /* entries: those it names */
} xl_segment_need_t;

/* Each logs what is wrong; false stops the start. */
bool xl_segment_need(xl_segment_need_t *need, const xl_engine_conf_t *engine, uint32_t entries, server_rec *s);
bool xl_segment_start(xl_segment_t *segment, const xl_segment_need_t *need, apr_pool_t *ptemp, server_rec *s);
bool xl_segment_grow(xl_segment_t *segment, const xl_segment_need_t *need, apr_pool_t *ptemp, server_rec *s);

/* Reads, and writes nothing: false when xl_segment_start would stop the start
 * because of what stands in the file or of who holds it. */
bool xl_segment_foresee(const xl_segment_need_t *need, apr_pool_t *ptemp, server_rec *s);

bool xl_segment_process_exists(uint32_t pid);

#endif
