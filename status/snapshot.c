/* SPDX-License-Identifier: Apache-2.0
 *
 * The tables of the status and what is worked out from them: fields by name,
 * projections, states, sums. Works on rows of the caller in place, never
 * allocates, never reads a clock. Invariant: every field's offset and kind come
 * from xl_fields.def and the row types.
 */
#include "xl_snapshot.h"

#include <string.h>
#include <strings.h>

#define XL_SHOW_OF_N 0
#define XL_SHOW_OF_O XL_SHOW_OVERVIEW
#define XL_SHOW_OF_V XL_SHOW_VHOSTS
#define XL_SHOW_OF_C XL_SHOW_CONFIG
#define XL_SHOW_OF_K XL_SHOW_KEYS
#define XL_SHOW_OF_A XL_SHOW_ACCOUNTS
#define XL_SHOW_OF_OV (XL_SHOW_OVERVIEW | XL_SHOW_VHOSTS)
#define XL_SHOW_OF_OC (XL_SHOW_OVERVIEW | XL_SHOW_CONFIG)
#define XL_SHOW_OF_CK (XL_SHOW_CONFIG | XL_SHOW_KEYS)
#define XL_SHOW_OF_OCK (XL_SHOW_OVERVIEW | XL_SHOW_CONFIG | XL_SHOW_KEYS)
#define XL_SHOW_OF_OVA (XL_SHOW_OVERVIEW | XL_SHOW_VHOSTS | XL_SHOW_ACCOUNTS)
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

static const xl_field_t zone_fields[] = {
#define XL_ZONE_FIELD(...) FIELD(xl_snap_zone_t, __VA_ARGS__)
#include "xl_fields.def"
};

static const xl_field_t client_fields[] = {
#define XL_CLIENT_FIELD(...) FIELD(xl_snap_client_t, __VA_ARGS__)
#include "xl_fields.def"
};

static const xl_field_t account_fields[] = {
#define XL_ACCOUNT_FIELD(...) FIELD(xl_snap_account_t, __VA_ARGS__)
#include "xl_fields.def"
};

#define ROWS(type, of) .row_size = sizeof(type), .fields = (of), .n = sizeof(of) / sizeof *(of)

const xl_sheet_t xl_sheets[XL_SHEETS] = {
    [XL_SHEET_SERVER] = { "server", "server", "Server", ROWS(xl_snap_server_t, server_fields) },
    [XL_SHEET_VHOSTS] = { "vhosts", "vhost", "Virtual hosts", { "vhost" }, ROWS(xl_snap_vhost_t, vhost_fields) },
    [XL_SHEET_LIMITS] = { "limits", "limit", "Limits", { "vhost" }, ROWS(xl_snap_limit_t, limit_fields) },
    [XL_SHEET_SETTINGS] = { "settings", "setting", "Settings", ROWS(xl_snap_setting_t, setting_fields) },
    [XL_SHEET_ZONES] = { "zones", "zone", "Zones", { "name" }, ROWS(xl_snap_zone_t, zone_fields) },
    [XL_SHEET_CLIENTS] = { "clients", "client", "Clients", { "key", "vhost" }, .names_people = true,
                           ROWS(xl_snap_client_t, client_fields) },
    [XL_SHEET_ACCOUNTS] = { "accounts", "account", "Accounts", { "name" }, ROWS(xl_snap_account_t, account_fields) },
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
    uint64_t used = limit->at_once ? limit->active : limit->used;
    bool counted = used != XL_ABSENT && limit->amount != XL_ABSENT;
    bool refuses = limit->refusing_since_s != XL_ABSENT;
    uint64_t usable = limit->released != XL_ABSENT ? limit->released : limit->amount;

    limit->unit = limit->in_requests ? "requests" : "bytes";
    if (used == XL_ABSENT && limit->amount == XL_ABSENT)
        limit->unit = NULL;
    limit->left = counted ? usable > used ? usable - used : 0 : XL_ABSENT;
    limit->percent = counted ? percent_of(used, limit->amount) : XL_ABSENT;
    limit->projected =
        counted ? xl_snapshot_project(used, limit->period_start_s, limit->period_end_s, now_s) : XL_ABSENT;
    if (refuses || (counted && !limit->left))
        limit->state = "exceeded";
    else if (counted && limit->warn_least != XL_ABSENT && limit->percent >= limit->warn_least * 10)
        limit->state = "warned";
    else
        limit->state = "ok";
}

void xl_snapshot_derive_client(xl_snap_client_t *client)
{
    uint64_t used = client->used != XL_ABSENT ? client->used : client->active;
    bool counted = client->amount != XL_ABSENT;

    client->unit = !counted ? NULL : client->in_requests ? "requests" : "bytes";
    client->percent = counted ? percent_of(used, client->amount) : XL_ABSENT;
    client->state = client->over || (counted && used >= client->amount) ? "exceeded" : "ok";
}

static void sum_vhosts(xl_snap_server_t *server, const xl_rows_t *accounts, xl_snap_vhost_t *vhosts)
{
    xl_snap_account_t *account = accounts->rows;
    size_t i;

    for (i = 0; i < accounts->n; i++)
        account[i] = (xl_snap_account_t){ .name = account[i].name };
    for (i = 0; i < server->vhosts; i++) {
        server->requests += vhosts[i].requests;
        server->sent_bytes += vhosts[i].sent_bytes;
        server->active += vhosts[i].active;
        vhosts[i].refusing = 0;
        if (vhosts[i].account_row >= accounts->n)
            continue;
        account = (xl_snap_account_t *)accounts->rows + vhosts[i].account_row;
        account->hosts++;
        account->requests += vhosts[i].requests;
        account->sent_bytes += vhosts[i].sent_bytes;
        account->active += vhosts[i].active;
    }
}

/* One that refuses counts for the host, or the account, that it belongs to, and for
 * the account of that host. */
static void count_refusing(const xl_snapshot_t *snapshot, const xl_snap_limit_t *limit)
{
    const xl_rows_t *vhosts = &snapshot->tables[XL_SHEET_VHOSTS], *accounts = &snapshot->tables[XL_SHEET_ACCOUNTS];
    uint64_t account_row = limit->account_row;

    if (limit->refusing_since_s == XL_ABSENT)
        return;
    if (limit->vhost_row < vhosts->n) {
        xl_snap_vhost_t *vhost = (xl_snap_vhost_t *)vhosts->rows + limit->vhost_row;

        vhost->refusing++;
        account_row = vhost->account_row;
    }
    if (account_row < accounts->n)
        ((xl_snap_account_t *)accounts->rows)[account_row].refusing++;
}

void xl_snapshot_derive(xl_snapshot_t *snapshot)
{
    xl_snap_server_t *server = snapshot->tables[XL_SHEET_SERVER].rows;
    xl_snap_limit_t *limits = snapshot->tables[XL_SHEET_LIMITS].rows;
    xl_snap_zone_t *zones = snapshot->tables[XL_SHEET_ZONES].rows;
    size_t i;

    server->vhosts = snapshot->tables[XL_SHEET_VHOSTS].n;
    server->limits = snapshot->tables[XL_SHEET_LIMITS].n;
    server->requests = server->sent_bytes = server->active = server->exceeded = server->warned = 0;
    sum_vhosts(server, &snapshot->tables[XL_SHEET_ACCOUNTS], snapshot->tables[XL_SHEET_VHOSTS].rows);
    for (i = 0; i < server->limits; i++) {
        derive_limit(&limits[i], server->generated_s);
        server->exceeded += !strcmp(limits[i].state, "exceeded");
        server->warned += !strcmp(limits[i].state, "warned");
        count_refusing(snapshot, &limits[i]);
    }
    for (i = 0; i < snapshot->tables[XL_SHEET_ZONES].n; i++)
        zones[i].percent = percent_of(zones[i].used, zones[i].capacity);
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
