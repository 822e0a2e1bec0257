/* SPDX-License-Identifier: Apache-2.0
 *
 * startup: what an admin should hear at the start rather than find out under
 * load: a paced response and a request that waits count against the MPM's
 * connections, and a paced response takes three open files. Warns and names the directive; never stops the start.
 */
#include "xl_conn.h"

#include "ap_mpm.h"
#include "http_config.h"
#include "http_log.h"
#include "util_cfgtree.h"

#include <stdlib.h>
#include <sys/resource.h>

APLOG_USE_MODULE(xlimit);

#define FACTOR_DEFAULT 2.0 /* AsyncRequestWorkerFactor of the event MPM */
#define FACTOR_LEAST 8.0   /* below it pacing uses up a child before its threads do */
#define FILES_PER_PACED 3  /* socket, file, timer */
#define FILES_SLACK 64     /* logs, pipes, libraries' own */

static bool paces(void)
{
    const apr_array_header_t *registry = xl_config_registry();

    for (int i = 0; i < registry->nelts; i++) {
        const xl_registered_t *r = &APR_ARRAY_IDX(registry, i, xl_registered_t);

        if (r->limit->dimension == XL_DIM_BANDWIDTH || xl_config_action(r->scope, r->limit)->kind == XL_ACT_SPEED)
            return true;
    }
    return false;
}

static bool delays(void)
{
    const apr_array_header_t *registry = xl_config_registry();

    for (int i = 0; i < registry->nelts; i++) {
        const xl_limit_t *limit = APR_ARRAY_IDX(registry, i, xl_registered_t).limit;

        if (limit->dimension == XL_DIM_REQUESTS && limit->delay != XL_NO_DELAY && limit->mode == XL_MODE_ENFORCE)
            return true;
    }
    return false;
}

/* The MPM tells its factor to nobody: what the configuration says. */
static double async_factor(void)
{
    double factor = FACTOR_DEFAULT;

    for (const ap_directive_t *d = ap_conftree; d; d = d->next) {
        if (!strcasecmp(d->directive, "AsyncRequestWorkerFactor"))
            factor = atof(d->args);
    }
    return factor;
}

static void check_factor(server_rec *s, int threads, double factor)
{
    if (factor >= FACTOR_LEAST)
        return;
    ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                 "xlimit(321): a child takes no more than about %d connections, paced ones included, and then stops "
                 "accepting; raise AsyncRequestWorkerFactor (now %.4g), to 20 for instance",
                 (int)(threads * (factor + 1)), factor);
}

static void check_files(server_rec *s, int threads, double factor)
{
    struct rlimit files;
    unsigned long need = (unsigned long)(threads * (factor + 1)) * FILES_PER_PACED + FILES_SLACK;

    if (getrlimit(RLIMIT_NOFILE, &files) || files.rlim_cur == RLIM_INFINITY || files.rlim_cur >= need)
        return;
    ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                 "xlimit(322): a child may open %lu files; ThreadsPerChild %d and AsyncRequestWorkerFactor %.4g allow "
                 "as many paced responses as need %lu; raise the limit of open files (LimitNOFILE, ulimit -n)",
                 (unsigned long)files.rlim_cur, threads, factor, need);
}

/* What waits shall be refused before the MPM stops accepting: beside as many as
 * may wait there has to be room for half as many others as there are threads. */
static void check_waiting(server_rec *s, int threads, double factor)
{
    int room = (int)(threads * (factor + 1)), most = (int)xl_delay_most();
    int need = most + threads / 2;

    if (need <= room)
        return;
    ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                 "xlimit(325): XLimitWaiting allows %d requests of a child to wait, and it stops accepting at about %d "
                 "connections; raise AsyncRequestWorkerFactor (now %.4g) to %d or more, or lower XLimitWaiting",
                 most, room, factor, (need - 1) / threads);
}

static void check_children(server_rec *s)
{
    int most = 0;

    if (ap_mpm_query(AP_MPMQ_HARD_LIMIT_DAEMONS, &most) == APR_SUCCESS && most < 2)
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                     "xlimit(323): ServerLimit is %d: after a graceful restart nobody accepts connections until the "
                     "last paced response of the old child has ended; set ServerLimit to 2 or more",
                     most);
}

void xl_startup_check(server_rec *s)
{
    int is_async = 0, threads = 0;
    double factor = async_factor();

    xl_engine_e engine = xl_config_server(s)->engine->engine;

    if (ap_mpm_query(AP_MPMQ_IS_ASYNC, &is_async) != APR_SUCCESS)
        is_async = 0;
    if (engine == XL_ENGINE_ASYNC && !is_async)
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                     "xlimit(324): \"XLimitEngine async\" needs the event MPM; each paced response holds a thread");
    if (engine == XL_ENGINE_BLOCKING || !is_async || ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads) != APR_SUCCESS)
        return;
    if (delays())
        check_waiting(s, threads, factor);
    if (!paces())
        return;
    check_factor(s, threads, factor);
    check_files(s, threads, factor);
    check_children(s);
}
