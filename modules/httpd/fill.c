/* SPDX-License-Identifier: Apache-2.0
 *
 * fill: copies configuration and counters into a snapshot for the status page;
 * here the server, its hosts and accounts, and the settings, in the order of the
 * configuration. What costs more than a look at each limit is done only for a
 * view that shows it. Reads atomic words without a lock, changes nothing.
 */
#include "xl_fill.h"

#include "mod_xlimit.h"
#include "xl_classes.h"
#include "xl_networks.h"
#include "xl_segment.h"

#include "apr_strings.h"
#include "http_core.h"
#include "scoreboard.h"

/* httpd lists virtual hosts last first. */
static void list_servers(xl_fill_t *fill)
{
    server_rec *s;
    size_t i;

    for (s = fill->main_server; s; s = s->next)
        fill->n++;
    fill->servers = apr_palloc(fill->pool, fill->n * sizeof(*fill->servers));
    fill->servers[0] = fill->main_server;
    for (s = fill->main_server->next, i = fill->n; s; s = s->next)
        fill->servers[--i] = s;
}

/* ---- accounts ------------------------------------------------------------ */

/* Names alone: the rest follows from hosts and limits. */
static void fill_accounts(xl_fill_t *fill, xl_rows_t *rows)
{
    const apr_array_header_t *accounts = xl_config_accounts();
    xl_snap_account_t *list = apr_pcalloc(fill->pool, ((size_t)accounts->nelts + 1) * sizeof(*list));
    int i;

    fill->accounts = apr_hash_make(fill->pool);
    for (i = 0; i < accounts->nelts; i++) {
        list[i].name = APR_ARRAY_IDX(accounts, i, xl_account_t).name;
        apr_hash_set(fill->accounts, list[i].name, APR_HASH_KEY_STRING, &list[i]);
    }
    *rows = (xl_rows_t){ list, (size_t)accounts->nelts };
    fill->first_account = list;
}

uint64_t xl_fill_account(const xl_fill_t *fill, const char *name)
{
    const xl_snap_account_t *row = name ? apr_hash_get(fill->accounts, name, APR_HASH_KEY_STRING) : NULL;

    return row ? (uint64_t)(row - fill->first_account) : XL_ABSENT;
}

/* ---- virtual hosts ------------------------------------------------------- */

static void fill_vhost(const xl_fill_t *fill, xl_snap_vhost_t *row, const server_rec *s)
{
    const xl_server_conf_t *conf = xl_config_server(s);
    xl_entry_t *entry = fill->ledger ? xl_ledger_entry(fill->ledger, conf->entry) : NULL;
    size_t i;

    row->vhost = conf->identity;
    row->account = conf->account;
    row->account_row = xl_fill_account(fill, conf->account);
    if (!entry)
        return;
    row->requests = xl_fill_load(&entry->requests);
    row->sent_bytes = xl_fill_load(&entry->sent_bytes);
    row->active = xl_entry_active(fill->ledger, entry);
    for (i = 0; i < XL_VERDICTS; i++)
        row->verdicts[i] = xl_fill_load(&entry->verdicts[i]);
}

static void fill_vhosts(const xl_fill_t *fill, xl_rows_t *rows)
{
    xl_snap_vhost_t *vhosts = apr_pcalloc(fill->pool, fill->n * sizeof(*vhosts));
    size_t i;

    for (i = 0; i < fill->n; i++)
        fill_vhost(fill, &vhosts[i], fill->servers[i]);
    *rows = (xl_rows_t){ vhosts, fill->n };
}

/* ---- settings and server ------------------------------------------------- */

static const char *size_or(apr_pool_t *p, uint64_t bytes, const char *otherwise)
{
    char buf[48];

    return bytes ? apr_pstrdup(p, xl_units_print_bytes(buf, sizeof(buf), bytes, XL_UNITS_SI)) : otherwise;
}

static void fill_classes(const xl_fill_t *fill, xl_snap_setting_t *rows)
{
    const apr_array_header_t *classes = xl_config_classes();
    int i;

    for (i = 0; i < classes->nelts; i++)
        rows[i] = (xl_snap_setting_t){
            apr_pstrcat(fill->pool, "XLimitClass ", APR_ARRAY_IDX(classes, i, xl_class_t).name, NULL),
            apr_psprintf(fill->pool, "%" APR_SIZE_T_FMT " networks", xl_networks_count((uint32_t)i + 1)),
            "a class of clients: networks that it has now, those from files included"
        };
}

static void fill_settings(const xl_fill_t *fill, xl_rows_t *rows)
{
    static const char *const engines[] = { "auto", "async", "blocking" };
    const xl_engine_conf_t *engine = xl_config_server(fill->main_server)->engine;
    apr_pool_t *p = fill->pool;
    size_t n = 7, classes = (size_t)xl_config_classes()->nelts;
    xl_snap_setting_t *settings = apr_palloc(p, (n + classes) * sizeof(*settings));
    const char *spool = size_or(p, engine->spool_bytes, "off");
    char flush[48];

    if (engine->spool_bytes && engine->spool_dir)
        spool = apr_pstrcat(p, spool, " ", engine->spool_dir, NULL);
    settings[0] = (xl_snap_setting_t){ "XLimitStateFile", xl_segment_path(), "where counters live over restarts" };
    settings[1] = (xl_snap_setting_t){ "XLimitStateError", engine->state_error_fail ? "fail" : "fresh",
                                       "what an unreadable state file does to the start" };
    settings[2] = (xl_snap_setting_t){ "XLimitMemory", size_or(p, engine->memory_bytes, "sized from the scopes"),
                                       "size of the shared counters" };
    settings[3] = (xl_snap_setting_t){ "XLimitEngine", engines[engine->engine],
                                       "how paced responses wait: async holds no thread" };
    settings[4] = (xl_snap_setting_t){ "XLimitBuffer", size_or(p, engine->buffer_bytes, "0 B"),
                                       "most memory for one paced response that is not a file" };
    settings[5] = (xl_snap_setting_t){ "XLimitSpool", spool, "most disk for what is over the buffers" };
    settings[6] = (xl_snap_setting_t){ "XLimitFlush",
                                       apr_pstrdup(p, xl_units_print_ms(flush, sizeof(flush), engine->flush_ms)),
                                       "how much of what was counted a power loss may cost" };
    fill_classes(fill, settings + n);
    *rows = (xl_rows_t){ settings, n + classes };
}

static uint64_t uptime_s(const xl_fill_t *fill)
{
    int64_t started_ms;

    if (!ap_exists_scoreboard_image())
        return 0;
    started_ms = apr_time_as_msec(ap_get_scoreboard_global()->restart_time);
    return fill->now.wall_ms > started_ms ? (uint64_t)(fill->now.wall_ms - started_ms) / 1000 : 0;
}

static void fill_server(const xl_fill_t *fill, xl_snap_server_t *server)
{
    const char *path = xl_segment_path();

    server->version = XLIMIT_VERSION;
    server->name = xl_config_server(fill->main_server)->identity;
    server->generated_s = (uint64_t)fill->now.wall_ms / 1000;
    server->uptime_s = uptime_s(fill);
    server->generation = xl_segment_generation();
    server->state = path ? path : "none";
    server->entries_capacity = fill->ledger ? fill->ledger->capacity : 0;
}

void xl_snapshot_fill(xl_snapshot_t *snapshot, const xl_query_t *query, apr_pool_t *p, server_rec *main_server)
{
    const xl_ledger_t *ledger = xl_segment_ledger();
    xl_fill_t fill = { .pool = p, .main_server = main_server, .query = query, .now = xl_now() };
    xl_snap_server_t *server = apr_pcalloc(p, sizeof(*server));

    xl_segment_sweep(); /* of orphans nobody tells the parent, and its own look round comes every ten seconds */
    memset(snapshot, 0, sizeof(*snapshot));
    fill.ledger = ledger && ledger->base ? ledger : NULL;
    list_servers(&fill);
    fill_server(&fill, server);
    snapshot->tables[XL_SHEET_SERVER] = (xl_rows_t){ server, 1 };
    fill_accounts(&fill, &snapshot->tables[XL_SHEET_ACCOUNTS]);
    fill_vhosts(&fill, &snapshot->tables[XL_SHEET_VHOSTS]);
    xl_fill_limits(&fill, &snapshot->tables[XL_SHEET_LIMITS], &server->entries_used);
    fill_settings(&fill, &snapshot->tables[XL_SHEET_SETTINGS]);
    xl_fill_zones(&fill, &snapshot->tables[XL_SHEET_ZONES], server);
    if (xl_view_has(query->view, XL_SHEET_CLIENTS) && query->format != XL_FORMAT_AUTO)
        xl_fill_clients(&fill, &snapshot->tables[XL_SHEET_CLIENTS]);
    xl_snapshot_derive(snapshot);
}
