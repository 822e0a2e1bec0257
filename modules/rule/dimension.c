/* SPDX-License-Identifier: Apache-2.0
 *
 * dimension: which dimension does what, and the one that needs no file of its
 * own: a block, which is over for whoever it applies to.
 */
#include "xl_dimension.h"

static void block(xl_applied_t *a, const xl_facts_t *facts, xl_now_t now)
{
    (void)facts;
    (void)now;
    a->over = true;
}

static const xl_dimension_t block_dimension = { .look = block };
static const xl_dimension_t pace_dimension = { .look = NULL };

const xl_dimension_t *const xl_dimensions[XL_DIMS] = {
    [XL_DIM_QUOTA] = &xl_quota_dimension,
    [XL_DIM_BANDWIDTH] = &pace_dimension,
    [XL_DIM_UPLOAD] = &pace_dimension,
    [XL_DIM_REQUESTS] = &xl_requests_dimension,
    [XL_DIM_CONNECTIONS] = &xl_connections_dimension,
    [XL_DIM_PENALTY] = &xl_penalty_dimension,
    [XL_DIM_BLOCK] = &block_dimension,
};
