/* SPDX-License-Identifier: Apache-2.0
 *
 * accept: limits with at=accept: what a TCP connection meets when it is accepted,
 * before TLS and before a byte is read. The same decision as for requests, on
 * the limits of the main server that say so and that the server of the address
 * has not dropped (XLimitInherit Off); who is refused is closed. Its list lives
 * with the connection, and is settled when that ends.
 * Runs in the thread that takes the connection up; nobody locks.
 */
#include "xl_classes.h"
#include "xl_conn.h"

#include "http_connection.h"
#include "http_log.h"

APLOG_USE_MODULE(xlimit);

typedef struct {
    xl_applied_t *list;
    size_t n;
} accepted_t;

static bool is_of_class(const conn_rec *c, const xl_class_cond_t *cond)
{
    return !cond->id || (xl_class_find(c->client_addr) == cond->id) != cond->others;
}

static bool collect(xl_applied_t *a, const conn_rec *c, const xl_dir_conf_t *conf, xl_limit_t *limit)
{
    *a = (xl_applied_t){ .limit = limit, .pin = { .cell = XL_NO_CELL }, .cost = 1 };
    if (!limit->at_accept || !is_of_class(c, &limit->only) || !(a->entry = xl_segment_entry(limit, c->base_server)))
        return false;
    if (limit->key == XL_KEY_CLIENT && !xl_keys_find_client(c, limit, a->entry, &a->table, &a->key))
        return false;
    a->action = xl_config_action(conf, limit);
    return true;
}

static void count(const accepted_t *accepted)
{
    for (size_t i = 0; i < accepted->n; i++) {
        atomic_fetch_add(&accepted->list[i].entry->requests, 1);
        atomic_fetch_add(&accepted->list[i].entry->verdicts[accepted->list[i].verdict], 1);
        if (accepted->list[i].cell)
            atomic_fetch_add_explicit(&accepted->list[i].cell->requests, 1, memory_order_relaxed);
    }
}

static apr_status_t settle(void *data)
{
    accepted_t *accepted = data;
    xl_facts_t here = xl_facts_here();

    xl_settle(accepted->list, accepted->n, &here);
    return APR_SUCCESS;
}

static bool any(const xl_dir_conf_t *conf)
{
    for (int i = 0; conf->limits && i < conf->limits->nelts; i++)
        if (APR_ARRAY_IDX(conf->limits, i, const xl_limit_t *)->at_accept)
            return true;
    return false;
}

bool xl_accept(conn_rec *c)
{
    const xl_dir_conf_t *conf = xl_config_dir(c->base_server->lookup_defaults);
    xl_facts_t here = xl_facts_here();
    xl_now_t now = xl_now();
    xl_verdict_t verdict;
    accepted_t *accepted;

    if (!any(conf))
        return true;
    accepted = apr_pcalloc(c->pool, sizeof(*accepted));
    accepted->list = apr_palloc(c->pool, (size_t)conf->limits->nelts * sizeof(*accepted->list));
    for (int i = 0; i < conf->limits->nelts; i++)
        if (collect(&accepted->list[accepted->n], c, conf, APR_ARRAY_IDX(conf->limits, i, xl_limit_t *)))
            accepted->n++;
    verdict = xl_decide(accepted->list, accepted->n, &here, now);
    count(accepted);
    xl_events_accepted(c, accepted->list, accepted->n, now);
    apr_pool_cleanup_register(c->pool, accepted, settle, apr_pool_cleanup_null);
    return verdict.decision == XL_DECISION_SERVE;
}
