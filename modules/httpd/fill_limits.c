/* SPDX-License-Identifier: Apache-2.0
 *
 * fill_limits: a row for each counter of a limit, in the order of the
 * configuration, then those that .htaccess files brought; and which limit an
 * entry of the ledger belongs to.
 * Reads the ledger's atomic words without a lock, changes nothing, and copies
 * texts of it with their bounds: what stands there is not trusted.
 */
#include "xl_fill.h"

#include "xl_segment.h"
#include "xl_text.h"

#include "apr_strings.h"

static const char *warn_text(apr_pool_t *p, const xl_limit_t *limit)
{
    const char *text = NULL;
    size_t i;

    for (i = 0; i < limit->warns; i++)
        text = apr_psprintf(p, "%s%s%u", text ? text : "", text ? "," : "", (unsigned)limit->warn[i]);
    return text;
}

/* A row in which every number is absent. */
static xl_snap_limit_t *new_limit(xl_fill_t *fill)
{
    xl_snap_limit_t *row = apr_array_push(fill->limits);

    *row = (xl_snap_limit_t){
        .used = XL_ABSENT, .amount = XL_ABSENT, .percent = XL_ABSENT, .left = XL_ABSENT, .released = XL_ABSENT,
        .projected = XL_ABSENT, .previous = XL_ABSENT, .period_start_s = XL_ABSENT, .period_end_s = XL_ABSENT,
        .slice_s = XL_ABSENT, .burst_bytes = XL_ABSENT, .after_bytes = XL_ABSENT, .active = XL_ABSENT,
        .requests = XL_ABSENT, .bytes = XL_ABSENT, .refusing_since_s = XL_ABSENT, .suppressed = XL_ABSENT,
        .refused = XL_ABSENT, .would_refuse = XL_ABSENT, .delayed = XL_ABSENT, .warn_least = XL_ABSENT,
        .vhost_row = XL_ABSENT, .account_row = XL_ABSENT,
    };
    return row;
}

static void fill_usage(const xl_fill_t *fill, xl_snap_limit_t *row, const xl_limit_t *limit, const xl_entry_t *entry)
{
    xl_usage_view_t view = { 0 };

    if (limit->key != XL_KEY_ALL)
        return; /* each key has its own */
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

static void fill_quota(const xl_fill_t *fill, xl_snap_limit_t *row, const xl_limit_t *limit, const xl_entry_t *entry)
{
    row->in_requests = limit->unit == XL_UNIT_REQUESTS;
    row->amount = limit->amount;
    row->period = xl_text_period(fill->pool, &limit->period);
    row->slice_s = limit->slice_ms ? limit->slice_ms / 1000 : XL_ABSENT;
    row->warn = warn_text(fill->pool, limit);
    row->warn_least = limit->warns ? limit->warn[0] : XL_ABSENT;
    fill_usage(fill, row, limit, entry);
}

static void fill_rate(xl_snap_limit_t *row, const xl_limit_t *limit)
{
    row->rate = limit->rate;
    row->burst_bytes = limit->burst;
    row->after_bytes = limit->key == XL_KEY_SESSION ? limit->after_bytes : XL_ABSENT;
}

/* Of all: who is there now is what is used. */
static void fill_at_once(xl_snap_limit_t *row, const xl_limit_t *limit)
{
    row->in_requests = true;
    row->amount = limit->amount;
    row->at_once = limit->key == XL_KEY_ALL;
}

static uint64_t verdicts(const xl_entry_t *entry, int one, int other)
{
    return xl_fill_load(&entry->verdicts[one]) + xl_fill_load(&entry->verdicts[other]);
}

static void fill_refusals(xl_snap_limit_t *row, const xl_entry_t *entry, xl_dimension_e dimension)
{
    uint64_t since_ms = xl_fill_load(&entry->refusing_since_ms);

    row->refused = verdicts(entry, XL_VERDICT_REJECTED, XL_VERDICT_REDIRECTED);
    row->would_refuse = verdicts(entry, XL_VERDICT_REJECTED_DRY_RUN, XL_VERDICT_REDIRECTED_DRY_RUN);
    if (dimension == XL_DIM_REQUESTS)
        row->delayed = verdicts(entry, XL_VERDICT_DELAYED, XL_VERDICT_DELAYED_DRY_RUN);
    if (!since_ms)
        return;
    row->refusing_since_s = since_ms / 1000;
    row->suppressed = xl_mark_count(xl_fill_load(&entry->mark));
}

static void fill_counters(const xl_fill_t *fill, xl_snap_limit_t *row, const xl_entry_t *entry,
                          xl_dimension_e dimension)
{
    if (xl_dimension_paces(dimension) || dimension == XL_DIM_CONNECTIONS)
        row->active = xl_entry_active(fill->ledger, entry);
    if (dimension != XL_DIM_QUOTA)
        row->requests = xl_fill_load(&entry->requests);
    if (xl_dimension_paces(dimension))
        row->bytes = xl_fill_load(&entry->sent_bytes);
    else
        fill_refusals(row, entry, dimension);
}

/* The configuration that a request at the limit's place would have. */
static const xl_dir_conf_t *resolved(const xl_fill_t *fill, const xl_registered_t *r, const server_rec *s)
{
    xl_dir_conf_t *base = xl_config_dir(s->lookup_defaults);

    return *r->limit->place && !r->limit->account ? xl_config_merge_dir(fill->pool, base, r->scope) : base;
}

static void note_owner(const xl_fill_t *fill, const xl_entry_t *entry, const xl_limit_t *limit,
                       xl_dimension_e dimension)
{
    xl_owner_t *owner = &fill->owners[xl_ledger_index(fill->ledger, entry)];

    owner->row = (uint32_t)fill->limits->nelts;
    owner->limit = limit;
    owner->dimension = dimension;
}

static void fill_amounts(const xl_fill_t *fill, xl_snap_limit_t *row, const xl_limit_t *limit,
                         const xl_entry_t *entry)
{
    if (limit->dimension == XL_DIM_QUOTA)
        fill_quota(fill, row, limit, entry);
    else if (xl_dimension_paces(limit->dimension))
        fill_rate(row, limit);
    else
        row->allows = xl_text_allows(fill->pool, limit);
    if (limit->dimension == XL_DIM_CONNECTIONS)
        fill_at_once(row, limit);
}

static void fill_limit(xl_fill_t *fill, const xl_registered_t *r, size_t vhost_row, bool own)
{
    const xl_limit_t *limit = r->limit;
    const server_rec *s = fill->servers[vhost_row];
    const xl_entry_t *entry = xl_segment_entry(r->limit, s);
    xl_snap_limit_t *row = new_limit(fill);

    row->name = limit->name;
    row->account = limit->account;
    row->account_row = xl_fill_account(fill, limit->account);
    row->place = *limit->place ? limit->place : NULL;
    row->dimension = xl_snapshot_dimension(limit->dimension);
    row->key = limit->key == XL_KEY_ZONE ? limit->zone : xl_snapshot_key(limit->key);
    row->mode = xl_snapshot_mode(limit->mode);
    row->class = limit->only.text;
    row->when = limit->when ? limit->when_text : NULL;
    row->origin = "config";
    row->source = apr_psprintf(fill->pool, "%s:%d", limit->file, limit->line);
    if (own) {
        row->vhost = xl_config_server(s)->identity;
        row->vhost_row = vhost_row;
    }
    fill_amounts(fill, row, limit, entry);
    if (!xl_dimension_paces(limit->dimension))
        row->action = xl_text_action(fill->pool, xl_config_action(resolved(fill, r, s), limit));
    if (!entry)
        return;
    fill_counters(fill, row, entry, limit->dimension);
    note_owner(fill, entry, limit, limit->dimension);
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

static void note_entries(const xl_fill_t *fill, const xl_limit_t *limit)
{
    size_t i;

    for (i = 0; limit->entries && fill->ledger && i < fill->n; i++) {
        uint32_t index = limit->entries[i];

        if (index < fill->ledger->capacity)
            fill->owners[index].registered = true;
    }
}

/* One row for each counter; one for what has none or is shared by several, even
 * when these are no servers at all: an account that nobody uses. */
static void fill_registered(xl_fill_t *fill, const xl_registered_t *r)
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

static size_t row_of_vhost(const xl_fill_t *fill, const char *label)
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
    static const xl_dimension_e dimensions[XL_ENTRY_KINDS] = {
        [XL_ENTRY_QUOTA] = XL_DIM_QUOTA,       [XL_ENTRY_BANDWIDTH] = XL_DIM_BANDWIDTH,
        [XL_ENTRY_UPLOAD] = XL_DIM_UPLOAD,     [XL_ENTRY_REQUESTS] = XL_DIM_REQUESTS,
        [XL_ENTRY_CONNECTIONS] = XL_DIM_CONNECTIONS, [XL_ENTRY_PENALTY] = XL_DIM_PENALTY,
        [XL_ENTRY_BLOCK] = XL_DIM_BLOCK,
    };

    return dimensions[kind];
}

/* The ledger knows its name and its counter, not its key, amount or period:
 * what was used since the counter last began anew is what can be said. */
static void fill_unregistered(xl_fill_t *fill, const xl_entry_t *entry, xl_dimension_e dimension)
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
    if (dimension == XL_DIM_QUOTA)
        row->used = xl_usage_read(&entry->usage, &endless, fill->now.wall_ms).used;
    fill_counters(fill, row, entry, dimension);
    note_owner(fill, entry, NULL, dimension);
}

/* Returns how many entries count something. */
static uint64_t fill_rest(xl_fill_t *fill)
{
    uint64_t used = 0, generation = xl_segment_generation();
    uint32_t i, kind;

    for (i = 0; fill->ledger && i < fill->ledger->capacity; i++) {
        const xl_entry_t *entry = xl_ledger_entry(fill->ledger, i);

        kind = atomic_load(&entry->kind);
        used += kind != XL_ENTRY_FREE;
        if (fill->owners[i].registered || xl_fill_load(&entry->generation) != generation)
            continue;
        if (kind > XL_ENTRY_SCOPE && kind < XL_ENTRY_KINDS)
            fill_unregistered(fill, entry, dimension_of(kind));
    }
    return used;
}

void xl_fill_limits(xl_fill_t *fill, xl_rows_t *rows, uint64_t *entries_used)
{
    const apr_array_header_t *registry = xl_config_registry();
    int i;

    fill->limits = apr_array_make(fill->pool, 64, sizeof(xl_snap_limit_t));
    fill->owners = apr_pcalloc(fill->pool, (fill->ledger ? fill->ledger->capacity : 1) * sizeof(*fill->owners));
    for (i = 0; i < registry->nelts; i++)
        fill_registered(fill, &APR_ARRAY_IDX(registry, i, const xl_registered_t));
    *entries_used = fill_rest(fill);
    *rows = (xl_rows_t){ fill->limits->elts, (size_t)fill->limits->nelts };
}
