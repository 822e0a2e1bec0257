/* SPDX-License-Identifier: Apache-2.0
 *
 * delay: a request that has to wait for its turn (delay= of XLimitRequests). It
 * waits in its thread; how many of a child may do so at once is bounded, since
 * threads are what everybody else needs.
 * Who locks: nobody; the count is one atomic word of this process.
 */
#include "xl_conn.h"

#include "ap_mpm.h"
#include "http_log.h"

APLOG_USE_MODULE(xlimit);

#define SLEEPERS_PART 4 /* of a child's threads, one in so many */
#define QUIET_MS 60000

static _Atomic uint32_t waiting;

static uint32_t most(void)
{
    int threads = 0;

    ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads);
    return threads > SLEEPERS_PART ? (uint32_t)threads / SLEEPERS_PART : 1;
}

static bool take_place(void)
{
    uint32_t now = atomic_load(&waiting), limit = most();

    do {
        if (now >= limit)
            return false;
    } while (!atomic_compare_exchange_weak(&waiting, &now, now + 1));
    return true;
}

static void complain(const request_rec *r)
{
    static _Atomic uint64_t complained;
    uint64_t others;

    if (xl_mark_refused(&complained, xl_now().mono_ns / XL_NS_PER_MS, QUIET_MS, &others))
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r, "xlimit(411): %u requests of this child wait for their turn; "
                      "further ones are refused until one of them has had it", most());
}

xl_delay_e xl_delay(xl_request_t *xr, request_rec *r)
{
    uint64_t began_ns = xl_now().mono_ns;
    bool there;

    if (!take_place()) {
        complain(r);
        return XL_DELAY_FULL;
    }
    there = xl_pace_sleep(xr->conn, began_ns + xr->verdict.delay_ns);
    xr->delayed_ns = xl_now().mono_ns - began_ns;
    atomic_fetch_sub(&waiting, 1);
    return there ? XL_DELAY_OVER : XL_DELAY_GONE;
}
