/* SPDX-License-Identifier: Apache-2.0
 *
 * mod_xlimit: the module record and the one list of hooks, each with the
 * reason for its place. Everything else is in modules/ and status/.
 */
#include "mod_xlimit.h"
#include "xl_config.h"
#include "xl_conn.h"
#include "xl_flush.h"
#include "xl_networks.h"
#include "xl_segment.h"
#include "xl_status.h"
#include "xl_told.h"

#include "ap_expr.h"
#include "ap_mpm.h"
#include "http_config.h"
#include "http_connection.h"
#include "http_core.h"
#include "http_log.h"
#include "http_protocol.h"
#include "http_request.h"
#include "mpm_common.h"

static int pre_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp)
{
    (void)plog;
    (void)ptemp;
    xl_config_reset(pconf);
    xl_events_register_log_items(pconf);
    return xl_segment_register(pconf) == APR_SUCCESS ? OK : !OK;
}

static int check_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    (void)plog;
    return xl_config_check(pconf, ptemp, s);
}

static void test_config(apr_pool_t *pconf, server_rec *s)
{
    if (ap_exists_config_define("DUMP_XLIMIT"))
        xl_config_dump(pconf, s);
}

static int post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    int rv;

    (void)plog;
    /* The second pass is the real one, but a server that cannot start should
     * say so before it leaves the terminal. */
    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG)
        return xl_segment_look(ptemp, s);
    rv = xl_segment_open(pconf, ptemp, s);
    if (rv == OK && (!xl_keyspace_open(s) || !xl_told_open(s)))
        rv = HTTP_INTERNAL_SERVER_ERROR;
    if (rv == OK) {
        xl_flush_open(pconf, ptemp, s);
        xl_startup_check(s);
        xl_stream_startup();
    }
    return rv;
}

static void child_init(apr_pool_t *pchild, server_rec *s)
{
    xl_segment_child(pchild, s);
    xl_keyspace_child(pchild, s);
    xl_networks_child(pchild, s);
    xl_timers_child(s);
    xl_flush_child(pchild);
}

static void child_status(server_rec *s, pid_t pid, ap_generation_t generation, int slot, mpm_child_status status)
{
    (void)s;
    (void)generation;
    (void)slot;
    if (status == MPM_CHILD_EXITED || status == MPM_CHILD_LOST_SLOT)
        xl_segment_child_gone((uint32_t)pid);
}

static int monitor(apr_pool_t *p, server_rec *s)
{
    (void)p;
    (void)s;
    xl_segment_sweep();
    return OK;
}

static void register_hooks(apr_pool_t *p)
{
    (void)p;
    xl_conn_register();
    xl_wait_register();
    xl_upload_register();
    xl_rate_register();
    xl_stream_register();

    ap_hook_pre_config(pre_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_check_config(check_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_test_config(test_config, NULL, NULL, APR_HOOK_MIDDLE);
    /* Before mod_watchdog's, which is LAST and then looks who wants ticks. */
    ap_hook_post_config(post_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_init(child_init, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_status(child_status, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_monitor(monitor, NULL, NULL, APR_HOOK_MIDDLE);

    ap_hook_expr_lookup(xl_variables_lookup, NULL, NULL, APR_HOOK_MIDDLE);

    /* After mod_ssl and all who add filters, before core, whose hook ends the
     * list. */
    ap_hook_pre_connection(xl_conn_pre_connection, NULL, NULL, APR_HOOK_LAST);
    /* Around all others: who comes back to a connection whose request waits for
     * its turn must not read another one. */
    ap_hook_process_connection(xl_delay_process_connection, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_pre_read_request(xl_request_pre_read, NULL, NULL, APR_HOOK_MIDDLE);

    /* A request that has waited is not shown to anybody a second time. */
    ap_hook_quick_handler(xl_delay_quick_handler, NULL, NULL, APR_HOOK_REALLY_FIRST - 1);
    /* Around mod_cache's quick handler and everybody else's. */
    ap_hook_quick_handler(xl_request_hide_from_quick_handlers, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_quick_handler(xl_request_show_again, NULL, NULL, APR_HOOK_REALLY_LAST);
    /* Behind SetEnvIf of the server, in front of any .htaccess. */
    ap_hook_post_read_request(xl_trust_read, NULL, NULL, APR_HOOK_REALLY_LAST);
    ap_hook_protocol_switch(xl_request_switching, NULL, NULL, APR_HOOK_REALLY_FIRST);

    /* Before core, which answers TRACE there. */
    ap_hook_map_to_storage(xl_request_decide_trace, NULL, NULL, APR_HOOK_FIRST);

    /* The URL is mapped, <Location>, <Directory>, <If> and .htaccess are
     * merged, SetEnvIf has run, and nobody has asked for a password yet. */
    ap_hook_header_parser(xl_request_decide, NULL, NULL, APR_HOOK_REALLY_LAST);

    /* After everybody: what comes next is the handler, in another thread perhaps. */
    ap_hook_fixups(xl_delay_fixups, NULL, NULL, APR_HOOK_REALLY_LAST + 1);

    /* Fixups have run: the environment is what the handler will see. */
    ap_hook_insert_filter(xl_rate_insert_filter, NULL, NULL, APR_HOOK_LAST);
    ap_hook_insert_error_filter(xl_rate_insert_filter, NULL, NULL, APR_HOOK_LAST);
    ap_hook_insert_filter(xl_stream_insert_filter, NULL, NULL, APR_HOOK_LAST);
    ap_hook_insert_filter(xl_wait_insert_filter, NULL, NULL, APR_HOOK_LAST);
    ap_hook_handler(xl_status_handler, NULL, NULL, APR_HOOK_MIDDLE);
    /* After all who may want the request, before core's, which throws bodies
     * away. */
    ap_hook_handler(xl_upload_handler, NULL, NULL, APR_HOOK_REALLY_LAST - 1);

    /* The last to see a connection before the MPM polls it, and the first when
     * it comes back: in between a timer stands in the socket's place. */
    ap_hook_suspend_connection(xl_park_suspend, NULL, NULL, APR_HOOK_REALLY_LAST);
    ap_hook_resume_connection(xl_park_resume, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_pre_close_connection(xl_park_close, NULL, NULL, APR_HOOK_REALLY_FIRST);
}

__attribute__((visibility("default"))) AP_DECLARE_MODULE(xlimit) = {
    STANDARD20_MODULE_STUFF,
    xl_config_create_dir,
    xl_config_merge_dir,
    xl_config_create_server,
    xl_config_merge_server,
    xl_commands,
    register_hooks,
    AP_MODULE_FLAG_NONE
};
