/* SPDX-License-Identifier: Apache-2.0
 *
 * The tables of the status and what is worked out from them: fields by name,
 * projections, states, sums; filter, order and cut of rows. Works on rows of
 * the caller in place, never allocates, never reads a clock. Invariant: every
 * field's offset and kind come from xl_fields.def and the row types.
 */
#include "xl_snapshot.h"

#include <string.h>
#include <strings.h>

#define XL_SHOW_OF_N 0
#define XL_SHOW_OF_O XL_SHOW_OVERVIEW
#define XL_SHOW_OF_V XL_SHOW_VHOSTS
#define XL_SHOW_OF_C XL_SHOW_CONFIG
#define XL_SHOW_OF_OV (XL_SHOW_OVERVIEW | XL_SHOW_VHOSTS)
#define XL_SHOW_OF_OC (XL_SHOW_OVERVIEW | XL_SHOW_CONFIG)
#define XL_SHOW_OF_OVC (XL_SHOW_OVERVIEW | XL_SHOW_VHOSTS | XL_SHOW_CONFIG)
#define FIELD(type, member, kind, unit, show, name, label, help) \
    { name, XL_FIELD_##kind, XL_IN_##unit, XL_SHOW_OF_##show, offsetof(type, member), label, help },

static const xl_field_t server_fields[] = {
#define XL_SERVER_FIELD(...) FIELD(xl_snap_server_t, __VA_ARGS__)
#include "xl_fields.def"
};

static const xl_field_t vhost_fields[] = {
#define XL_VHOST_FIELD(...) FIELD(xl_snap_vhost_t, __VA_ARGS__)
#include "xl_fields.def"
};

static const xl_field_t limit_fields[] = {
#define XL_LIMIT_FIELD(...) FIELD(xl_snap_limit_t, __VA_ARGS__)
#include "xl_fields.def"
};

static const xl_field_t setting_fields[] = {
#define XL_SETTING_FIELD(...) FIELD(xl_snap_setting_t, __VA_ARGS__)
#include "xl_fields.def"
};

#define TABLE(list, element, caption, type, fields) \
    { list, element, caption, sizeof(type), fields, sizeof(fields) / sizeof *(fields) }

const xl_sheet_t xl_sheets[XL_SHEETS] = {
    [XL_SHEET_SERVER] = TABLE("server", "server", "Server", xl_snap_server_t, server_fields),
    [XL_SHEET_VHOSTS] = TABLE("vhosts", "vhost", "Virtual hosts", xl_snap_vhost_t, vhost_fields),
    [XL_SHEET_LIMITS] = TABLE("limits", "limit", "Limits", xl_snap_limit_t, limit_fields),
    [XL_SHEET_SETTINGS] = TABLE("settings", "setting", "Settings", xl_snap_setting_t, setting_fields),
};

const void *xl_snapshot_row(const xl_snapshot_t *snapshot, xl_sheet_e table, size_t i)
{
    return (const char *)snapshot->tables[table].rows + i * xl_sheets[table].row_size;
}

static const void *member_of(const xl_field_t *field, const void *row)
{
    return (const char *)row + field->offset;
}

const char *xl_field_text(const xl_field_t *field, const void *row)
{
    return *(const char *const *)member_of(field, row);
}

uint64_t xl_field_u64(const xl_field_t *field, const void *row)
{
    return *(const uint64_t *)member_of(field, row);
}

xl_rate_t xl_field_rate(const xl_field_t *field, const void *row)
{
    return *(const xl_rate_t *)member_of(field, row);
}

bool xl_field_present(const xl_field_t *field, const void *row)
{
    switch (field->kind) {
    case XL_FIELD_TEXT:
        return xl_field_text(field, row) != NULL;
    case XL_FIELD_RATE:
        return xl_field_rate(field, row).per_ns != 0;
    case XL_FIELD_U64:
        break;
    }
    return xl_field_u64(field, row) != XL_ABSENT;
}

void xl_field_rate_parts(xl_rate_t rate, uint64_t *whole, uint64_t *thousandths)
{
    uint64_t fine = xl_rate_units(rate, 1000 * XL_NS_PER_S);

    *whole = xl_rate_units(rate, XL_NS_PER_S);
    *thousandths = fine == UINT64_MAX ? 0 : fine % 1000;
}

const xl_field_t *xl_field_find(xl_sheet_e table, const char *name)
{
    size_t i;

    for (i = 0; i < xl_sheets[table].n; i++) {
        if (!strcasecmp(xl_sheets[table].fields[i].name, name))
            return &xl_sheets[table].fields[i];
    }
    return NULL;
}

uint64_t xl_snapshot_project(uint64_t used, uint64_t start_s, uint64_t end_s, uint64_t now_s)
{
    double projected;

    if (start_s == XL_ABSENT || end_s == XL_ABSENT || end_s <= start_s || now_s <= start_s || now_s >= end_s)
        return XL_ABSENT;
    if (now_s - start_s < (end_s - start_s) / 100)
        return XL_ABSENT;
    projected = (double)used / (double)(now_s - start_s) * (double)(end_s - start_s);
    return projected < 9.2e18 ? (uint64_t)projected : (uint64_t)INT64_MAX;
}

/* Tenths of a percent, rounded down, so that 100.0 means all of it. */
static uint64_t percent_of(uint64_t used, uint64_t amount)
{
    if (!amount)
        return XL_ABSENT;
    if (used <= UINT64_MAX / 1000)
        return used * 1000 / amount;
    return amount < 1000 ? UINT64_MAX / 1000 : used / (amount / 1000);
}

static void derive_limit(xl_snap_limit_t *limit, uint64_t now_s)
{
    bool counted = limit->used != XL_ABSENT && limit->amount != XL_ABSENT;
    bool refuses = limit->refusing_since_s != XL_ABSENT;
    uint64_t usable = limit->released != XL_ABSENT ? limit->released : limit->amount;

    limit->unit = limit->used == XL_ABSENT ? NULL : limit->in_requests ? "requests" : "bytes";
    limit->left = counted ? usable > limit->used ? usable - limit->used : 0 : XL_ABSENT;
    limit->percent = counted ? percent_of(limit->used, limit->amount) : XL_ABSENT;
    limit->projected =
        counted ? xl_snapshot_project(limit->used, limit->period_start_s, limit->period_end_s, now_s) : XL_ABSENT;
    if (refuses || (counted && !limit->left))
        limit->state = "exceeded";
    else if (counted && limit->warn_least != XL_ABSENT && limit->percent >= limit->warn_least * 10)
        limit->state = "warned";
    else
        limit->state = "ok";
}

void xl_snapshot_derive(xl_snapshot_t *snapshot)
{
    xl_snap_server_t *server = snapshot->tables[XL_SHEET_SERVER].rows;
    xl_snap_vhost_t *vhosts = snapshot->tables[XL_SHEET_VHOSTS].rows;
    xl_snap_limit_t *limits = snapshot->tables[XL_SHEET_LIMITS].rows;
    size_t i;

    server->vhosts = snapshot->tables[XL_SHEET_VHOSTS].n;
    server->limits = snapshot->tables[XL_SHEET_LIMITS].n;
    server->requests = server->sent_bytes = server->active = server->exceeded = server->warned = 0;
    for (i = 0; i < server->vhosts; i++) {
        server->requests += vhosts[i].requests;
        server->sent_bytes += vhosts[i].sent_bytes;
        server->active += vhosts[i].active;
        vhosts[i].refusing = 0;
    }
    for (i = 0; i < server->limits; i++) {
        derive_limit(&limits[i], server->generated_s);
        server->exceeded += !strcmp(limits[i].state, "exceeded");
        server->warned += !strcmp(limits[i].state, "warned");
        if (limits[i].refusing_since_s != XL_ABSENT && limits[i].vhost_row < server->vhosts)
            vhosts[limits[i].vhost_row].refusing++;
    }
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool contains(const char *text, const char *part)
{
    size_t i;

    for (; text && *text; text++) {
        for (i = 0; part[i] && lower(text[i]) == lower(part[i]); i++)
            continue;
        if (!part[i])
            return true;
    }
    return false;
}

void xl_snapshot_filter(xl_snapshot_t *snapshot, const char *text)
{
    xl_sheet_e t;
    size_t i;

    for (t = 0; t < XL_SHEETS; t++) {
        const xl_field_t *field = xl_field_find(t, "vhost");
        xl_rows_t *rows = &snapshot->tables[t];
        size_t size = xl_sheets[t].row_size, kept = 0;
        char *base = rows->rows;

        if (!field)
            continue;
        for (i = 0; i < rows->n; i++) {
            if (contains(xl_field_text(field, base + i * size), text))
                memmove(base + kept++ * size, base + i * size, size);
        }
        rows->n = kept;
    }
}

static int compare_u64(uint64_t a, uint64_t b)
{
    return (a < b) - (a > b);
}

/* Below 0: a comes before b in the order that a field wants by nature. */
static int compare_values(const xl_field_t *field, const void *a, const void *b)
{
    uint64_t whole[2], fraction[2];

    if (field->kind == XL_FIELD_TEXT)
        return strcasecmp(xl_field_text(field, a), xl_field_text(field, b));
    if (field->kind == XL_FIELD_U64)
        return compare_u64(xl_field_u64(field, a), xl_field_u64(field, b));
    xl_field_rate_parts(xl_field_rate(field, a), &whole[0], &fraction[0]);
    xl_field_rate_parts(xl_field_rate(field, b), &whole[1], &fraction[1]);
    return whole[0] != whole[1] ? compare_u64(whole[0], whole[1]) : compare_u64(fraction[0], fraction[1]);
}

static int compare_field(const xl_field_t *field, const void *a, const void *b, bool reverse)
{
    bool has_a, has_b;
    int order;

    if (!field)
        return 0;
    has_a = xl_field_present(field, a);
    has_b = xl_field_present(field, b);
    if (!has_a || !has_b)
        return has_b - has_a;
    order = compare_values(field, a, b);
    return reverse ? -order : order;
}

typedef struct {
    const xl_field_t *by, *vhost, *name;
    bool reverse;
} order_t;

static int compare_rows(const order_t *order, const void *a, const void *b)
{
    int c = compare_field(order->by, a, b, order->reverse);

    if (!c)
        c = compare_field(order->vhost, a, b, false);
    return c ? c : compare_field(order->name, a, b, false);
}

static void swap_rows(char *a, char *b, size_t size)
{
    for (; size; size--, a++, b++) {
        char c = *a;

        *a = *b;
        *b = c;
    }
}

/* Shell sort: in place, and quick enough for any number of virtual hosts. */
static void sort_rows(char *base, size_t n, size_t size, const order_t *order)
{
    size_t gap, i, j;

    for (gap = n / 2; gap; gap = gap == 2 ? 1 : gap * 5 / 11) {
        for (i = gap; i < n; i++) {
            for (j = i; j >= gap && compare_rows(order, base + j * size, base + (j - gap) * size) < 0; j -= gap)
                swap_rows(base + j * size, base + (j - gap) * size, size);
        }
    }
}

void xl_snapshot_sort(xl_snapshot_t *snapshot, const char *field, bool reverse)
{
    xl_sheet_e t;

    for (t = 0; t < XL_SHEETS; t++) {
        order_t order = { xl_field_find(t, field), xl_field_find(t, "vhost"), xl_field_find(t, "name"), reverse };

        if (order.by)
            sort_rows(snapshot->tables[t].rows, snapshot->tables[t].n, xl_sheets[t].row_size, &order);
    }
}

void xl_snapshot_top(xl_snapshot_t *snapshot, uint64_t n)
{
    if (snapshot->tables[XL_SHEET_VHOSTS].n > n)
        snapshot->tables[XL_SHEET_VHOSTS].n = (size_t)n;
    if (snapshot->tables[XL_SHEET_LIMITS].n > n)
        snapshot->tables[XL_SHEET_LIMITS].n = (size_t)n;
}

const char *xl_snapshot_dimension(xl_dimension_e dimension)
{
    static const char *const names[XL_DIMS] = {
        [XL_DIM_QUOTA] = "quota", [XL_DIM_BANDWIDTH] = "bandwidth", [XL_DIM_UPLOAD] = "upload",
        [XL_DIM_REQUESTS] = "requests", [XL_DIM_CONNECTIONS] = "connections", [XL_DIM_PENALTY] = "penalty",
        [XL_DIM_BLOCK] = "block"
    };

    return names[dimension];
}

const char *xl_snapshot_key(xl_key_e key)
{
    static const char *const names[] = {
        [XL_KEY_ALL] = "all", [XL_KEY_SESSION] = "session", [XL_KEY_CLIENT] = "client", [XL_KEY_ZONE] = "zone"
    };

    return names[key];
}

const char *xl_snapshot_mode(xl_mode_e mode)
{
    static const char *const names[] = {
        [XL_MODE_ENFORCE] = "enforce", [XL_MODE_DRY_RUN] = "dry-run", [XL_MODE_OFF] = "off"
    };

    return names[mode];
}
