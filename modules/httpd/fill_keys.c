/* SPDX-License-Identifier: Apache-2.0
 *
 * fill_keys: the tables of keys (clients, and each zone) and what stands in them.
 * A table may have millions of keys: each cell is looked at once, and only the
 * rows that the answer has are kept.
 * Reads shared memory without a lock and trusts nothing in it: texts are copied
 * with their bounds, an owner must be a limit whose keys belong into that table.
 */
#include "xl_fill.h"

#include "apr_strings.h"

/* ---- tables --------------------------------------------------------------- */

static uint64_t now_ms(const xl_fill_t *fill)
{
    return fill->now.mono_ns / XL_NS_PER_MS;
}

static uint64_t limits_of_clients(void)
{
    const apr_array_header_t *registry = xl_config_registry();
    uint64_t n = 0;

    for (int i = 0; i < registry->nelts; i++)
        n += APR_ARRAY_IDX(registry, i, const xl_registered_t).limit->key == XL_KEY_CLIENT;
    return n;
}

static void fill_zone(const xl_fill_t *fill, xl_snap_zone_t *row, const xl_keyzone_t *zone, const xl_table_t *table)
{
    xl_table_totals_t totals;

    xl_table_totals(table, &totals);
    row->name = zone ? zone->name : "clients";
    row->key = zone ? zone->key_text : NULL;
    row->used = totals.used;
    row->capacity = totals.cells;
    row->pinned = totals.pinned;
    row->evictions = totals.evictions;
    row->limits = zone ? zone->limits : limits_of_clients();
    row->source = zone ? apr_psprintf(fill->pool, "%s:%d", zone->file, zone->line) : NULL;
    if (xl_view_has(fill->query->view, XL_SHEET_ZONES))
        row->locked = xl_table_locked(table, now_ms(fill));
}

static void sum_zones(xl_snap_server_t *server, const xl_snap_zone_t *zones, size_t n)
{
    server->keys_used = server->keys_capacity = server->keys_evicted = n ? 0 : XL_ABSENT;
    for (size_t i = 0; i < n; i++) {
        server->keys_used += zones[i].used;
        server->keys_capacity += zones[i].capacity;
        server->keys_evicted += zones[i].evictions;
    }
}

void xl_fill_zones(const xl_fill_t *fill, xl_rows_t *rows, xl_snap_server_t *server)
{
    const apr_array_header_t *zones = xl_config_keyzones();
    xl_snap_zone_t *list = apr_pcalloc(fill->pool, ((size_t)zones->nelts + 1) * sizeof(*list));
    size_t n = 0;

    for (int i = -1; i < zones->nelts; i++) {
        const xl_keyzone_t *zone = i < 0 ? NULL : APR_ARRAY_IDX(zones, i, const xl_keyzone_t *);
        const xl_table_t *table = xl_keyspace_table(zone);

        if (table)
            fill_zone(fill, &list[n++], zone, table);
    }
    *rows = (xl_rows_t){ list, n };
    sum_zones(server, list, n);
}

/* ---- keys ----------------------------------------------------------------- */

/* One cell, and what is known of its limit. */
typedef struct {
    const xl_fill_t *fill;
    const xl_keyzone_t *zone; /* NULL: of clients */
    const xl_owner_t *owner;
    xl_salt_e part;
    const xl_table_copy_t *cell;
} counter_t;

/* Room for the text of a key that a row points to. */
typedef char label_t[XL_TABLE_LABEL_BYTES + 1];

/* A cell outlives its limit, and in a ledger that was full the entry may be
 * another limit's by now. Parts have cells whatever the limit's key is. */
static bool belongs(const counter_t *c)
{
    const xl_limit_t *limit = c->owner->limit;

    if (!c->owner->row || c->cell->has_usage != (c->owner->dimension == XL_DIM_QUOTA && c->part == XL_SALT_NONE))
        return false;
    if (!limit)
        return true;
    if (limit->key == XL_KEY_ZONE)
        return limit->keyzone == c->zone;
    return !c->zone && (limit->key == XL_KEY_CLIENT || c->part != XL_SALT_NONE);
}

static bool paces(const counter_t *c)
{
    return c->part == XL_SALT_SPEED
           || (c->part == XL_SALT_NONE && xl_dimension_paces(c->owner->dimension));
}

static void fill_usage(const counter_t *c, xl_snap_client_t *row)
{
    static const xl_period_t endless = { .kind = XL_PERIOD_TIME, .length_ms = UINT64_C(1) << 47 };
    const xl_limit_t *limit = c->owner->limit;

    row->used = xl_usage_read(&c->cell->usage, limit ? &limit->period : &endless, c->fill->now.wall_ms).used;
    row->amount = limit ? limit->amount : XL_ABSENT;
    row->in_requests = limit && limit->unit == XL_UNIT_REQUESTS;
    row->over = limit && xl_quota_over(limit, &c->cell->usage, c->fill->now.wall_ms);
}

static void fill_meter(const counter_t *c, xl_snap_client_t *row)
{
    const xl_limit_t *limit = c->part == XL_SALT_NONE ? c->owner->limit : NULL;
    uint64_t wait_ns;

    row->requests = c->cell->requests;
    if (paces(c))
        row->bytes = c->cell->bytes;
    if (!limit)
        return;
    if (limit->dimension == XL_DIM_CONNECTIONS) {
        row->amount = limit->amount;
        row->in_requests = true;
    }
    if (limit->dimension == XL_DIM_REQUESTS)
        row->over = !xl_meter_fits(&c->cell->meter, limit->rate, 1, xl_rate_ns(limit->rate, limit->burst),
                                   c->fill->now.mono_ns, &wait_ns);
}

/* Of who is refused for being one too many at once, the limit's own mark tells. */
static void fill_mark(const counter_t *c, xl_snap_client_t *row)
{
    uint64_t mark = xl_fill_load(&c->cell->mark), locked_ms = xl_mark_locked_ms(&c->cell->mark, now_ms(c->fill));
    uint64_t wall_ms = (uint64_t)c->fill->now.wall_ms, ago_ms;

    if (!mark || c->part != XL_SALT_NONE)
        return;
    row->suppressed = xl_mark_count(mark);
    if (c->owner->dimension == XL_DIM_PENALTY) {
        row->over = locked_ms > 0;
        row->locked_s = locked_ms ? (locked_ms + 999) / 1000 : XL_ABSENT;
        return;
    }
    ago_ms = now_ms(c->fill) - xl_mark_moment_ms(mark);
    row->last_refused_s = (wall_ms - (ago_ms < wall_ms ? ago_ms : 0)) / 1000;
}

static xl_snap_client_t row_of(const counter_t *c)
{
    static const char *const parts[] = { NULL, "speed", "requests", "connections" };
    const xl_snap_limit_t *limit = &APR_ARRAY_IDX(c->fill->limits, c->owner->row - 1, const xl_snap_limit_t);
    xl_snap_client_t row = {
        .key = c->owner->limit && c->owner->limit->key == XL_KEY_ALL ? "all" : c->cell->text,
        .zone = c->zone ? c->zone->name : "client",
        .limit = limit->name, .vhost = limit->vhost, .account = limit->account, .place = limit->place,
        .dimension = limit->dimension, .part = parts[c->part], .active = c->cell->pins,
        .used = XL_ABSENT, .amount = XL_ABSENT, .requests = XL_ABSENT, .bytes = XL_ABSENT, .locked_s = XL_ABSENT,
        .last_refused_s = XL_ABSENT, .suppressed = XL_ABSENT,
    };

    if (c->cell->has_usage)
        fill_usage(c, &row);
    else
        fill_meter(c, &row);
    fill_mark(c, &row);
    xl_snapshot_derive_client(&row);
    return row;
}

/* label: free room; returns what is free afterwards. */
static label_t *add_cell(const counter_t *c, xl_top_t *top, label_t *label, label_t *first)
{
    xl_snap_client_t row = row_of(c);
    const char *name = c->fill->query->name;

    if (*name && !xl_snapshot_matches(XL_SHEET_CLIENTS, &row, name))
        return label;
    apr_cpystrn(*label, row.key, sizeof(*label));
    row.key = *label;
    if (!xl_top_add(top, &row))
        return &first[top->n];
    return first + (row.key - *first) / (ptrdiff_t)sizeof(*first);
}

static label_t *add_table(const xl_fill_t *fill, const xl_keyzone_t *zone, xl_top_t *top, label_t *label,
                          label_t *first)
{
    const xl_table_t *table = xl_keyspace_table(zone);
    xl_table_copy_t cell;
    counter_t c = { .fill = fill, .zone = zone, .cell = &cell };

    for (uint32_t i = 0; table && xl_table_cell(table, i); i++) {
        uint32_t index;

        if (!xl_table_copy(table, i, &cell))
            continue;
        index = cell.owner & XL_OWNER_INDEX;
        if (index >= fill->ledger->capacity)
            continue;
        c.owner = &fill->owners[index];
        c.part = xl_owner_salt(cell.owner);
        if (belongs(&c))
            label = add_cell(&c, top, label, first);
    }
    return label;
}

void xl_fill_clients(const xl_fill_t *fill, xl_rows_t *rows)
{
    const apr_array_header_t *zones = xl_config_keyzones();
    size_t most = xl_query_clients(fill->query);
    xl_order_t order = xl_order_of(XL_SHEET_CLIENTS, fill->query->sort, fill->query->reverse);
    label_t *labels = apr_palloc(fill->pool, (most + 1) * sizeof(*labels)), *label = labels;
    xl_snap_client_t *list = apr_palloc(fill->pool, most * sizeof(*list));
    xl_top_t top = xl_top_begin(XL_SHEET_CLIENTS, &order, list, most);

    for (int i = -1; fill->ledger && i < zones->nelts; i++)
        label = add_table(fill, i < 0 ? NULL : APR_ARRAY_IDX(zones, i, const xl_keyzone_t *), &top, label, labels);
    xl_top_end(&top);
    *rows = (xl_rows_t){ top.rows, top.n };
}
