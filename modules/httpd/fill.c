/* SPDX-License-Identifier: Apache-2.0
 *
 * fill: copies configuration and counters into a snapshot for the status page.
 * Reads the ledger's atomic words without a lock, changes nothing, and keeps
 * no pointer into shared memory: texts are copied, with their bounds, as what
 * stands there is not trusted. Rows come in the order of the configuration.
 */
#include "xl_status.h"

#include "mod_xlimit.h"
#include "xl_config.h"
#include "xl_conn.h"
#include "xl_segment.h"

#include "apr_strings.h"
#include "http_core.h"
#include "scoreboard.h"

#include <inttypes.h>

typedef struct {
    apr_pool_t *pool;
    server_rec *main_server;
    const xl_ledger_t *ledger; /* NULL: nothing counts yet */
    xl_now_t now;
    server_rec **servers; /* the main server, then the virtual hosts as they are written */
    size_t n;
    apr_array_header_t *limits; /* of xl_snap_limit_t */
    bool *shown;                /* ledger entries that a registered limit has */
} fill_t;

static uint64_t load(const _Atomic uint64_t *word)
{
    return atomic_load_explicit(word, memory_order_relaxed);
}

/* httpd lists virtual hosts last first. */
static void list_servers(fill_t *fill)
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

/* ---- virtual hosts ------------------------------------------------------- */

static void fill_vhost(const fill_t *fill, xl_snap_vhost_t *row, const server_rec *s)
{
    const xl_server_conf_t *conf = xl_config_server(s);
    xl_entry_t *entry = fill->ledger ? xl_ledger_entry(fill->ledger, conf->entry) : NULL;
    size_t i;

    row->vhost = conf->identity;
    row->account = conf->account;
    if (!entry)
        return;
    row->requests = load(&entry->requests);
    row->sent_bytes = load(&entry->sent_bytes);
    row->active = xl_entry_active(fill->ledger, entry);
    for (i = 0; i < XL_VERDICTS; i++)
        row->verdicts[i] = load(&entry->verdicts[i]);
}

static void fill_vhosts(const fill_t *fill, xl_rows_t *rows)
{
    xl_snap_vhost_t *vhosts = apr_pcalloc(fill->pool, fill->n * sizeof(*vhosts));
    size_t i;

    for (i = 0; i < fill->n; i++)
        fill_vhost(fill, &vhosts[i], fill->servers[i]);
    *rows = (xl_rows_t){ vhosts, fill->n };
}

/* ---- limits -------------------------------------------------------------- */

static const char *warn_text(apr_pool_t *p, const xl_limit_t *limit)
{
    const char *text = NULL;
    size_t i;

    for (i = 0; i < limit->warns; i++)
        text = apr_psprintf(p, "%s%s%u", text ? text : "", text ? "," : "", (unsigned)limit->warn[i]);
    return text;
}

/* A row in which every number is absent. */
static xl_snap_limit_t *new_limit(fill_t *fill)
{
    xl_snap_limit_t *row = apr_array_push(fill->limits);

    *row = (xl_snap_limit_t){
        .used = XL_ABSENT, .amount = XL_ABSENT, .percent = XL_ABSENT, .left = XL_ABSENT, .released = XL_ABSENT,
        .projected = XL_ABSENT, .previous = XL_ABSENT, .period_start_s = XL_ABSENT, .period_end_s = XL_ABSENT,
        .slice_s = XL_ABSENT, .burst_bytes = XL_ABSENT, .after_bytes = XL_ABSENT, .active = XL_ABSENT,
        .requests = XL_ABSENT, .bytes = XL_ABSENT, .refusing_since_s = XL_ABSENT, .suppressed = XL_ABSENT,
        .warn_least = XL_ABSENT, .vhost_row = XL_ABSENT,
    };
    return row;
}

static void fill_usage(const fill_t *fill, xl_snap_limit_t *row, const xl_limit_t *limit, const xl_entry_t *entry)
{
    xl_usage_view_t view = { 0 };

    if (entry)
        view = xl_usage_read(&entry->usage, &limit->period, fill->now.wall_ms);
    row->used = view.used;
    row->previous = view.previous;
    if (view.start_ms > 0) {
        row->period_start_s = (uint64_t)view.start_ms / 1000;
        row->period_end_s = (uint64_t)view.end_ms / 1000;
    }
    if (limit->slice_ms && view.start_ms > 0)
        row->released = xl_period_released(limit->amount, limit->slice_ms, view.start_ms, view.end_ms,
                                           fill->now.wall_ms);
}

static void fill_quota(const fill_t *fill, xl_snap_limit_t *row, const xl_limit_t *limit, const xl_entry_t *entry)
{
    row->in_requests = limit->unit == XL_UNIT_REQUESTS;
    row->amount = limit->amount;
    row->period = xl_config_period_text(fill->pool, &limit->period);
    row->slice_s = limit->slice_ms ? limit->slice_ms / 1000 : XL_ABSENT;
    row->warn = warn_text(fill->pool, limit);
    row->warn_least = limit->warns ? limit->warn[0] : XL_ABSENT;
    fill_usage(fill, row, limit, entry);
}

static void fill_rate(xl_snap_limit_t *row, const xl_limit_t *limit)
{
    row->rate = limit->rate;
    row->burst_bytes = limit->burst_bytes;
    row->after_bytes = limit->key == XL_KEY_SESSION ? limit->after_bytes : XL_ABSENT;
}

/* A rate refuses nobody. */
static void fill_counters(const fill_t *fill, xl_snap_limit_t *row, const xl_entry_t *entry, bool is_quota)
{
    uint64_t since_ms = load(&entry->refusing_since_ms);

    if (!is_quota) {
        row->active = xl_entry_active(fill->ledger, entry);
        row->requests = load(&entry->requests);
        row->bytes = load(&entry->sent_bytes);
    } else if (since_ms) {
        row->refusing_since_s = since_ms / 1000;
        row->suppressed = load(&entry->suppressed);
    }
}

/* The configuration that a request at the limit's place would have. */
static const xl_dir_conf_t *resolved(const fill_t *fill, const xl_registered_t *r, const server_rec *s)
{
    xl_dir_conf_t *base = xl_config_dir(s->lookup_defaults);

    return *r->limit->place && !r->limit->account ? xl_config_merge_dir(fill->pool, base, r->scope) : base;
}

static void fill_limit(fill_t *fill, const xl_registered_t *r, size_t vhost_row, bool own)
{
    const xl_limit_t *limit = r->limit;
    const server_rec *s = fill->servers[vhost_row];
    const xl_entry_t *entry = xl_segment_entry(r->limit, s);
    xl_snap_limit_t *row = new_limit(fill);

    row->name = limit->name;
    row->account = limit->account;
    row->place = *limit->place ? limit->place : NULL;
    row->dimension = xl_snapshot_dimension(limit->dimension);
    row->key = xl_snapshot_key(limit->key);
    row->mode = xl_snapshot_mode(limit->mode);
    row->when = limit->when ? limit->when_text : NULL;
    row->origin = "config";
    row->source = apr_psprintf(fill->pool, "%s:%d", limit->file, limit->line);
    if (own) {
        row->vhost = xl_config_server(s)->identity;
        row->vhost_row = vhost_row;
    }
    if (limit->dimension == XL_DIM_QUOTA) {
        fill_quota(fill, row, limit, entry);
        row->action = xl_config_action_text(fill->pool, xl_config_action(resolved(fill, r, s), limit));
    } else {
        fill_rate(row, limit);
    }
    if (entry)
        fill_counters(fill, row, entry, limit->dimension == XL_DIM_QUOTA);
}

/* Whether requests of the server can meet the limit: XLimitInherit Off of a
 * virtual host drops what stands in the main server itself. */
static bool applies(const xl_registered_t *r, const server_rec *s)
{
    const xl_dir_conf_t *conf = xl_config_dir(s->lookup_defaults);
    const char *account = xl_config_server(s)->account;
    int i;

    if (r->limit->account)
        return account && !strcmp(account, r->limit->account);
    if (r->server == s)
        return true;
    if (r->server->is_virtual)
        return false;
    if (*r->limit->place)
        return true;
    for (i = 0; conf->limits && i < conf->limits->nelts; i++) {
        if (APR_ARRAY_IDX(conf->limits, i, const xl_limit_t *) == r->limit)
            return true;
    }
    return false;
}

static void note_entries(const fill_t *fill, const xl_limit_t *limit)
{
    size_t i;

    for (i = 0; limit->entries && fill->ledger && i < fill->n; i++) {
        uint32_t index = limit->entries[i];

        if (index < fill->ledger->capacity)
            fill->shown[index] = true;
    }
}

/* One row for each counter; one for what has none or is shared by several, even
 * when these are no servers at all: an account that nobody uses. */
static void fill_registered(fill_t *fill, const xl_registered_t *r)
{
    const xl_limit_t *limit = r->limit;
    bool once = limit->scope_server || limit->account || (limit->key == XL_KEY_SESSION && !r->server->is_virtual);
    size_t i;

    note_entries(fill, limit);
    for (i = 0; i < fill->n; i++) {
        if (!applies(r, fill->servers[i]))
            continue;
        fill_limit(fill, r, i, !once);
        if (once)
            return;
    }
    if (limit->account)
        fill_limit(fill, r, 0, false);
}

/* ---- limits from .htaccess ----------------------------------------------- */

static size_t row_of_vhost(const fill_t *fill, const char *label)
{
    size_t i;

    for (i = 0; i < fill->n; i++) {
        if (!strncmp(xl_config_server(fill->servers[i])->identity, label, XL_LABEL_MAX - 1))
            return i;
    }
    return fill->n;
}

static xl_dimension_e dimension_of(uint32_t kind)
{
    return kind == XL_ENTRY_QUOTA ? XL_DIM_QUOTA : kind == XL_ENTRY_UPLOAD ? XL_DIM_UPLOAD : XL_DIM_BANDWIDTH;
}

/* The ledger knows its name and its counter, not its key, amount or period:
 * what was used since the counter last began anew is what can be said. */
static void fill_unregistered(fill_t *fill, const xl_entry_t *entry, xl_dimension_e dimension)
{
    static const xl_period_t endless = { .kind = XL_PERIOD_TIME, .length_ms = UINT64_C(1) << 47 };
    const char *vhost = apr_pstrndup(fill->pool, entry->vhost, XL_LABEL_MAX - 1);
    const char *place = apr_pstrndup(fill->pool, entry->place, XL_LABEL_MAX - 1);
    xl_snap_limit_t *row = new_limit(fill);
    size_t vhost_row = row_of_vhost(fill, vhost);

    row->name = apr_pstrndup(fill->pool, entry->name, XL_LABEL_MAX - 1);
    row->place = *place ? place : NULL;
    row->vhost = strcmp(vhost, "*") ? vhost : NULL;
    row->vhost_row = vhost_row < fill->n ? vhost_row : XL_ABSENT;
    row->dimension = xl_snapshot_dimension(dimension);
    row->origin = "htaccess";
    if (dimension == XL_DIM_QUOTA) {
        row->key = xl_snapshot_key(XL_KEY_ALL);
        row->used = xl_usage_read(&entry->usage, &endless, fill->now.wall_ms).used;
    }
    fill_counters(fill, row, entry, dimension == XL_DIM_QUOTA);
}

/* Returns how many entries count something. */
static uint64_t fill_rest(fill_t *fill)
{
    uint64_t used = 0, generation = xl_segment_generation();
    uint32_t i, kind;

    for (i = 0; fill->ledger && i < fill->ledger->capacity; i++) {
        const xl_entry_t *entry = xl_ledger_entry(fill->ledger, i);

        kind = atomic_load(&entry->kind);
        used += kind != XL_ENTRY_FREE;
        if (fill->shown[i] || load(&entry->generation) != generation)
            continue;
        if (kind != XL_ENTRY_FREE && kind != XL_ENTRY_SCOPE)
            fill_unregistered(fill, entry, dimension_of(kind));
    }
    return used;
}

static void fill_limits(fill_t *fill, xl_rows_t *rows, uint64_t *entries_used)
{
    const apr_array_header_t *registry = xl_config_registry();
    int i;

    fill->limits = apr_array_make(fill->pool, 64, sizeof(xl_snap_limit_t));
    fill->shown = apr_pcalloc(fill->pool, fill->ledger ? fill->ledger->capacity : 1);
    for (i = 0; i < registry->nelts; i++)
        fill_registered(fill, &APR_ARRAY_IDX(registry, i, const xl_registered_t));
    *entries_used = fill_rest(fill);
    *rows = (xl_rows_t){ fill->limits->elts, (size_t)fill->limits->nelts };
}

/* ---- settings and server ------------------------------------------------- */

static const char *size_or(apr_pool_t *p, uint64_t bytes, const char *otherwise)
{
    char buf[48];

    return bytes ? apr_pstrdup(p, xl_units_print_bytes(buf, sizeof(buf), bytes, XL_UNITS_SI)) : otherwise;
}

static void fill_settings(const fill_t *fill, xl_rows_t *rows)
{
    static const char *const engines[] = { "auto", "async", "blocking" };
    const xl_engine_conf_t *engine = xl_config_server(fill->main_server)->engine;
    apr_pool_t *p = fill->pool;
    xl_snap_setting_t *settings = apr_palloc(p, 7 * sizeof(*settings));
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
    *rows = (xl_rows_t){ settings, 7 };
}

static void fill_keys(xl_snap_server_t *server)
{
    const xl_table_t *table = xl_keys_table();
    xl_table_totals_t totals = { .used = XL_ABSENT, .cells = XL_ABSENT, .evictions = XL_ABSENT };

    if (table)
        xl_table_totals(table, &totals);
    server->keys_used = totals.used;
    server->keys_capacity = totals.cells;
    server->keys_evicted = totals.evictions;
}

static uint64_t uptime_s(const fill_t *fill)
{
    int64_t started_ms;

    if (!ap_exists_scoreboard_image())
        return 0;
    started_ms = apr_time_as_msec(ap_get_scoreboard_global()->restart_time);
    return fill->now.wall_ms > started_ms ? (uint64_t)(fill->now.wall_ms - started_ms) / 1000 : 0;
}

void xl_snapshot_fill(xl_snapshot_t *snapshot, apr_pool_t *p, server_rec *main_server)
{
    const xl_ledger_t *ledger = xl_segment_ledger();
    fill_t fill = { .pool = p, .main_server = main_server, .now = xl_now() };
    xl_snap_server_t *server = apr_pcalloc(p, sizeof(*server));
    const char *path = xl_segment_path();

    xl_segment_sweep(); /* of orphans nobody tells the parent, and its own look round comes every ten seconds */
    fill.ledger = ledger && ledger->base ? ledger : NULL;
    list_servers(&fill);
    server->version = XLIMIT_VERSION;
    server->name = xl_config_server(main_server)->identity;
    server->generated_s = (uint64_t)fill.now.wall_ms / 1000;
    server->uptime_s = uptime_s(&fill);
    server->generation = xl_segment_generation();
    server->state = path ? path : "none";
    server->entries_capacity = fill.ledger ? fill.ledger->capacity : 0;
    fill_keys(server);
    snapshot->tables[XL_SHEET_SERVER] = (xl_rows_t){ server, 1 };
    fill_vhosts(&fill, &snapshot->tables[XL_SHEET_VHOSTS]);
    fill_limits(&fill, &snapshot->tables[XL_SHEET_LIMITS], &server->entries_used);
    fill_settings(&fill, &snapshot->tables[XL_SHEET_SETTINGS]);
    xl_snapshot_derive(snapshot);
}
