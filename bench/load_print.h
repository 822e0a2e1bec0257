/* SPDX-License-Identifier: Apache-2.0
 *
 * What the load client prints when its plan is over, one line per fact, fields
 * with tabs between them, seconds since the start of the plan:
 *
 *     d  group id status requests bytes sent start request first end ahead_ms behind_ms
 *        mark_s mark_bytes burst_s burst_bytes gap_s error
 *     e  group id bytes of second 0, 1, ...                 (each=1)
 *     w  group window_ms bytes of window 0, 1, ...          (windows=)
 *     p  group start ms status error                        one probe
 *     self  ran_s user_s system_s longest_turn_ms turns
 *
 * `error` is "-" for what ended as it should; what still ran at the end says
 * "runs". mark and burst: two beginnings of a burst of bytes (after 20 ms of
 * silence), the first one after `young` and the last one, and what had come
 * before each: their difference quotient is a rate that does not depend on where
 * in a chunk the measuring stopped. gap: from one beginning to the next, the
 * longer one of the last two.
 */
#ifndef LOAD_PRINT_H
#define LOAD_PRINT_H

#include "load.h"

typedef struct load_probe_t {
    load_group_t *group;
    int64_t start_ns, took_ns;
    int status;
    const char *error;
} load_probe_t;

typedef struct load_self_t {
    int64_t ran_ns, longest_ns;
    long turns;
} load_self_t;

void load_print(const load_plan_t *plan, const load_conn_t *conns, const load_probe_t *probes, int n_probes,
                const load_self_t *self);

#endif
