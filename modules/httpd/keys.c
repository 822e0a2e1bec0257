/* SPDX-License-Identifier: Apache-2.0
 *
 * keys: which key of a limit a request has, and the table where its counter is:
 * an address, cut to the bits that tell clients apart, or the value of a zone's
 * expression, of any length; hashed with the limit under a secret that stands in
 * each process's own memory, never in the shared one, and in the copy of the keys.
 * Never keeps a value; who has a cell pinned lets it go. Where tables live is
 * keyspace.c's affair. Runs in the request's own thread; nobody locks.
 */
#include "xl_conn.h"

#include "xl_siphash.h"
#include "xl_told.h"

#include "ap_expr.h"
#include "apr_strings.h"
#include "http_log.h"

#if APR_HAVE_ARPA_INET_H
#include <arpa/inet.h>
#endif

APLOG_USE_MODULE(xlimit);

#define QUIET_MS 60000

/* ---- who a client is --------------------------------------------------- */

/* What is hashed; no padding. */
typedef struct {
    uint64_t limit[2], value[2];
    uint8_t family, bits, salt;
    uint8_t unused[5];
} hashed_t;

static void cut(uint8_t *address, size_t size, int bits)
{
    for (size_t i = 0; i < size; i++, bits -= 8)
        if (bits < 8)
            address[i] = (uint8_t)(address[i] & (bits <= 0 ? 0 : 0xFF << (8 - bits)));
}

/* One of IPv4 inside IPv6 is IPv4. */
bool xl_keys_address(const apr_sockaddr_t *sa, const server_rec *s, xl_client_address_t *address)
{
    const uint8_t *bytes;

    memset(address, 0, sizeof(*address));
    if (!sa)
        return false;
    if (sa->family == APR_INET) {
        bytes = (const uint8_t *)&sa->sa.sin.sin_addr;
        address->family = 4;
#if APR_HAVE_IPV6
    } else if (sa->family == APR_INET6) {
        bool mapped = IN6_IS_ADDR_V4MAPPED(&sa->sa.sin6.sin6_addr);

        bytes = (const uint8_t *)&sa->sa.sin6.sin6_addr + (mapped ? 12 : 0);
        address->family = mapped ? 4 : 6;
#endif
    } else {
        return false;
    }
    address->bits = (uint8_t)xl_config_prefix(s, address->family == 6);
    memcpy(address->bytes, bytes, address->family == 4 ? 4 : 16);
    cut(address->bytes, address->family == 4 ? 4 : 16, address->bits);
    return true;
}

const char *xl_keys_address_text(apr_pool_t *p, const xl_client_address_t *address)
{
    const uint8_t *b = address->bytes;
    char text[48];

    if (address->family == 4)
        return apr_psprintf(p, "%u.%u.%u.%u", b[0], b[1], b[2], b[3]);
#if APR_HAVE_IPV6
    if (inet_ntop(AF_INET6, b, text, sizeof(text)))
        return apr_pstrdup(p, text);
#endif
    return "";
}

/* Text that needs no work where all of an IPv4 address counts. */
static const char *label_of(const request_rec *r, const xl_client_address_t *address)
{
    return address->family == 4 && address->bits == 32 ? r->useragent_ip : xl_keys_address_text(r->pool, address);
}

/* ---- the value of a zone ------------------------------------------------ */

/* Of one request, found out once. */
typedef struct {
    const xl_keyzone_t *zone;
    const char *text; /* NULL: the request has no key there */
    uint64_t hash[2];
} value_t;

static void log_failure(const request_rec *r, const xl_keyzone_t *zone, const char *error)
{
    if (xl_told_minute_of_zone(zone->index))
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                      "xlimit(502): the key of XLimitZone %s (%s:%d) cannot be evaluated: %s; such requests have no key "
                      "there and are not limited by it; this is said once a minute", zone->name, zone->file, zone->line,
                      error);
}

static value_t *evaluate(xl_request_t *xr, request_rec *r, const xl_keyzone_t *zone)
{
    const char *error = NULL, *text = ap_expr_str_exec(r, zone->key, &error);
    value_t *value = apr_array_push(xr->zone_values);

    *value = (value_t){ .zone = zone };
    if (error || !text) {
        log_failure(r, zone, error ? error : "it has no value");
    } else if (*text) {
        value->text = text;
        xl_siphash128(xl_keyspace_secret(), text, strlen(text), value->hash);
    }
    return value;
}

static const value_t *value_of(xl_request_t *xr, request_rec *r, const xl_keyzone_t *zone)
{
    if (!xr->zone_values)
        xr->zone_values = apr_array_make(r->pool, 2, sizeof(value_t));
    for (int i = 0; i < xr->zone_values->nelts; i++)
        if (APR_ARRAY_IDX(xr->zone_values, i, value_t).zone == zone)
            return &APR_ARRAY_IDX(xr->zone_values, i, value_t);
    return evaluate(xr, r, zone);
}

/* ---- the key of a request in a limit ------------------------------------ */

static void fill_address(hashed_t *hashed, const xl_client_address_t *address)
{
    memcpy(hashed->value, address->bytes, sizeof(address->bytes));
    hashed->family = address->family;
    hashed->bits = address->bits;
}

static bool fill(hashed_t *hashed, xl_request_t *xr, request_rec *r, const xl_limit_t *limit, xl_table_key_t *key)
{
    const value_t *value;
    xl_client_address_t address;

    switch (limit->key) {
    case XL_KEY_CLIENT:
        if (!xl_keys_address(r->useragent_addr, r->server, &address))
            return false;
        fill_address(hashed, &address);
        key->text = label_of(r, &address);
        return true;
    case XL_KEY_ZONE:
        value = value_of(xr, r, limit->keyzone);
        memcpy(hashed->value, value->hash, sizeof(value->hash));
        key->text = value->text;
        return value->text != NULL;
    default:
        key->text = "";
        return true;
    }
}

static void finish(hashed_t *hashed, const xl_limit_t *limit, const xl_entry_t *entry, xl_salt_e salt,
                   xl_table_key_t *key)
{
    memcpy(hashed->limit, entry->id, sizeof(hashed->limit));
    hashed->salt = (uint8_t)salt;
    key->owner = xl_owner_of(xl_ledger_index(xl_segment_ledger(), entry), salt);
    key->usage = limit->dimension == XL_DIM_QUOTA && salt == XL_SALT_NONE;
    xl_siphash128(xl_keyspace_secret(), hashed, sizeof(*hashed), key->id);
}

bool xl_keys_find(xl_request_t *xr, request_rec *r, const xl_limit_t *limit, const xl_entry_t *entry, xl_salt_e salt,
                  xl_table_t **table, xl_table_key_t *key)
{
    hashed_t hashed = { .salt = 0 };

    if (!fill(&hashed, xr, r, limit, key))
        return false;
    finish(&hashed, limit, entry, salt, key);
    *table = xl_keyspace_table(limit->key == XL_KEY_ZONE ? limit->keyzone : NULL);
    return true;
}

bool xl_keys_find_client(const conn_rec *c, const xl_limit_t *limit, const xl_entry_t *entry, xl_table_t **table,
                         xl_table_key_t *key)
{
    hashed_t hashed = { .salt = 0 };
    xl_client_address_t address;

    if (!xl_keys_address(c->client_addr, c->base_server, &address))
        return false;
    fill_address(&hashed, &address);
    finish(&hashed, limit, entry, XL_SALT_NONE, key);
    key->text = xl_keys_address_text(c->pool, &address);
    *table = xl_keyspace_table(NULL);
    return true;
}

/* ---- a table that is full ----------------------------------------------- */

static void log_full(const xl_limit_t *limit, const server_rec *s, bool table)
{
    if (!table)
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, "xlimit(236): no table of keys for limit \"%s\" on line %d "
                     "of %s: .htaccess alone makes none; all who meet it share the counter of one", limit->name,
                     limit->line, limit->file);
    else
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, "xlimit(237): the table of keys is full of such as are being "
                     "served or locked out; new ones of limit \"%s\" on line %d of %s share the counter of one; raise "
                     "%s", limit->name, limit->line, limit->file,
                     limit->key == XL_KEY_ZONE ? "entries= of its XLimitZone" : "XLimitMemory");
}

static void log_found(const xl_limit_t *limit, xl_entry_t *entry, const server_rec *s, bool table, bool found)
{
    uint64_t others;

    if (found && !atomic_load_explicit(&entry->crowded, memory_order_relaxed))
        return;
    if (!found && xl_mark_refused(&entry->crowded, xl_now().mono_ns / XL_NS_PER_MS, QUIET_MS, &others))
        log_full(limit, s, table);
    if (found && xl_mark_served(&entry->crowded, xl_now().mono_ns / XL_NS_PER_MS, QUIET_MS, &others))
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, "xlimit(238): keys of limit \"%s\" have counters of their own "
                     "again; %" APR_UINT64_T_FMT " more had none since", limit->name, (apr_uint64_t)others);
}

xl_cell_t *xl_keys_pin(const xl_limit_t *limit, xl_entry_t *entry, const server_rec *s, xl_table_t *table,
                       const xl_table_key_t *key, uint64_t now_ns, xl_pin_t *pin)
{
    xl_cell_t *cell;

    *pin = table ? xl_table_pin(table, xl_segment_row(), key, now_ns / XL_NS_PER_MS) : (xl_pin_t){ .cell = XL_NO_CELL };
    cell = pin->cell == XL_NO_CELL ? NULL : xl_table_cell(table, pin->cell);
    log_found(limit, entry, s, table, cell);
    return cell;
}
