/* SPDX-License-Identifier: Apache-2.0
 *
 * keys: the table of keys (store/table) in httpd: its memory and locks from the
 * first configuration that needs it until the server ends, and what a client is:
 * the bits of an address that count, hashed with the limit under a secret of
 * this server. Children write to the memory, so the parent trusts nothing in it;
 * the secret never stands there.
 * Who locks: the table, by the mutexes made here, one per stripe.
 */
#include "xl_conn.h"

#include "xl_segment_start.h"
#include "xl_siphash.h"

#include "ap_mpm.h"
#include "apr_strings.h"
#include "http_log.h"
#include "util_mutex.h"

#include <sys/mman.h>

APLOG_USE_MODULE(xlimit);

#define RETAINED_KEY "mod_xlimit-keys"
#define PINS_THREADED 32768u /* a row's: connections of a child, times the limits with a key that apply to each */
#define PINS_PREFORK 256u
#define CELLS_DEFAULT 65536u
#define CELLS_MOST (UINT32_C(1) << 28)
#define RECOVERED_MS INT64_C(60000) /* as long a table counts as full after it was */

typedef struct {
    xl_table_t table; /* base NULL: none */
    uint8_t secret[16];
    apr_global_mutex_t *stripes[XL_TABLE_STRIPES];
    bool locked_out; /* of the stripes: this child finds keys and puts none in */
} keys_t;

static keys_t *keys; /* retained: old and new generation share it */

/* ---- start ----------------------------------------------------------- */

static bool lock(void *context, unsigned stripe)
{
    const keys_t *k = context;

    return !k->locked_out && apr_global_mutex_lock(k->stripes[stripe]) == APR_SUCCESS;
}

static void unlock(void *context, unsigned stripe)
{
    const keys_t *k = context;

    apr_global_mutex_unlock(k->stripes[stripe]);
}

bool xl_keys_wanted(void)
{
    const apr_array_header_t *registry = xl_config_registry();

    for (int i = 0; i < registry->nelts; i++)
        if (APR_ARRAY_IDX(registry, i, xl_registered_t).limit->key == XL_KEY_CLIENT)
            return true;
    return false;
}

static bool make_mutexes(server_rec *s)
{
    for (unsigned i = 0; i < XL_TABLE_STRIPES; i++) {
        const char *instance = apr_psprintf(s->process->pool, "keys-%u", i);
        apr_status_t rv = ap_global_mutex_create(&keys->stripes[i], NULL, XL_MUTEX_TYPE, instance, s,
                                                 s->process->pool, 0);

        if (rv != APR_SUCCESS) {
            ap_log_error(APLOG_MARK, APLOG_CRIT, rv, s, "xlimit(231): mutex %u of the table of clients cannot be had; "
                         "see the Mutex directive, type " XL_MUTEX_TYPE, i);
            return false;
        }
    }
    return true;
}

static uint32_t pins_per_row(void)
{
    int threads = 0;

    return ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads) == APR_SUCCESS && threads > 1 ? PINS_THREADED : PINS_PREFORK;
}

/* What XLimitMemory leaves beside the ledger; xl_segment_need has seen to it that
 * this is enough for XL_KEYS_LEAST. */
static uint32_t cells_of(const xl_engine_conf_t *engine)
{
    size_t ledger = xl_segment_ledger()->size, most = engine->memory_bytes / XL_KEY_BYTES;

    if (!engine->memory_bytes)
        return CELLS_DEFAULT;
    most = engine->memory_bytes > ledger ? (engine->memory_bytes - ledger) / XL_KEY_BYTES : 0;
    if (most < XL_KEYS_LEAST)
        most = XL_KEYS_LEAST;
    return most > CELLS_MOST ? CELLS_MOST : (uint32_t)most;
}

/* Plain mmap: a pool's cleanup would take it away at exit, while threads still
 * count. What is never touched costs nothing. */
static bool make_table(uint32_t cells, server_rec *s)
{
    xl_table_lock_t locks = { lock, unlock, keys };
    uint32_t rows = xl_segment_ledger()->rows, pins = pins_per_row();
    size_t size = xl_table_size(cells, rows, pins);
    void *base = size ? mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
                      : MAP_FAILED;
    const char *reason;

    if (base == MAP_FAILED) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, APR_FROM_OS_ERROR(errno), s, "xlimit(232): no memory for a table of %u "
                     "clients (%" APR_SIZE_T_FMT " bytes); lower XLimitMemory", cells, size);
        return false;
    }
    reason = xl_table_init(&keys->table, base, size, cells, rows, pins, &locks);
    if (!reason)
        return true;
    munmap(base, size);
    keys->table.base = NULL;
    ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s, "xlimit(233): the table of %u clients cannot be made: %s", cells,
                 reason);
    return false;
}

bool xl_keys_open(server_rec *main_server)
{
    keys = ap_retained_data_get(RETAINED_KEY);
    if (!keys)
        keys = ap_retained_data_create(RETAINED_KEY, sizeof(*keys));
    if (keys->table.base || !xl_keys_wanted())
        return true;
    if (apr_generate_random_bytes(keys->secret, sizeof(keys->secret)) != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, main_server, "xlimit(234): no random bytes for the table of clients");
        return false;
    }
    return make_mutexes(main_server) && make_table(cells_of(xl_config_server(main_server)->engine), main_server);
}

void xl_keys_child(apr_pool_t *pchild, server_rec *main_server)
{
    for (unsigned i = 0; keys && keys->table.base && i < XL_TABLE_STRIPES; i++) {
        apr_global_mutex_t **mutex = &keys->stripes[i];
        apr_status_t rv = apr_global_mutex_child_init(mutex, apr_global_mutex_lockfile(*mutex), pchild);

        if (rv == APR_SUCCESS)
            continue;
        keys->locked_out = true;
        ap_log_error(APLOG_MARK, APLOG_ERR, rv, main_server, "xlimit(235): mutex %u of the table of clients cannot be "
                     "had in this child; clients that are new to it share the rate of one", i);
        return;
    }
}

xl_table_t *xl_keys_table(void)
{
    return keys && keys->table.base ? &keys->table : NULL;
}

bool xl_keys_gone(uint32_t row)
{
    xl_table_t *table = xl_keys_table();

    return !table || xl_table_settle(table, row);
}

/* ---- who a client is ------------------------------------------------- */

/* What is hashed; no padding. */
typedef struct {
    uint64_t limit[2];
    uint8_t family, bits, address[16];
    uint8_t unused[6];
} client_key_t;

static void cut(uint8_t *address, size_t size, int bits)
{
    for (size_t i = 0; i < size; i++, bits -= 8)
        if (bits < 8)
            address[i] = (uint8_t)(address[i] & (bits <= 0 ? 0 : 0xFF << (8 - bits)));
}

/* The address as mod_remoteip has it; one of IPv4 inside IPv6 is IPv4. */
bool xl_keys_id(const request_rec *r, const xl_limit_t *limit, const xl_entry_t *entry, uint64_t id[2])
{
    const apr_sockaddr_t *sa = r->useragent_addr;
    client_key_t key = { .limit = { entry->id[0], entry->id[1] } };
    const uint8_t *bytes;
    size_t size;

    (void)limit;
    if (!sa)
        return false;
    if (sa->family == APR_INET) {
        bytes = (const uint8_t *)&sa->sa.sin.sin_addr;
        size = 4;
#if APR_HAVE_IPV6
    } else if (sa->family == APR_INET6) {
        bool mapped = IN6_IS_ADDR_V4MAPPED(&sa->sa.sin6.sin6_addr);

        bytes = (const uint8_t *)&sa->sa.sin6.sin6_addr + (mapped ? 12 : 0);
        size = mapped ? 4 : 16;
#endif
    } else {
        return false;
    }
    key.family = size == 4 ? 4 : 6;
    key.bits = (uint8_t)xl_config_prefix(r->server, size == 16);
    memcpy(key.address, bytes, size);
    cut(key.address, size, key.bits);
    xl_siphash128(keys ? keys->secret : (const uint8_t[16]){ 0 }, &key, sizeof(key), id);
    return true;
}

/* ---- a table that is full -------------------------------------------- */

static void log_full(const xl_limit_t *limit, const server_rec *s)
{
    if (!xl_keys_table())
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, "xlimit(236): no table of clients for limit \"%s\" on line %d "
                     "of %s: .htaccess alone makes none; all its clients share the rate of one", limit->name,
                     limit->line, limit->file);
    else
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, "xlimit(237): the table of clients is full of such as are being "
                     "served; new clients of limit \"%s\" on line %d of %s share the rate of one; raise XLimitMemory",
                     limit->name, limit->line, limit->file);
}

void xl_keys_found(const xl_limit_t *limit, xl_entry_t *entry, const server_rec *s, bool found)
{
    int64_t since_ms = (int64_t)atomic_load_explicit(&entry->refusing_since_ms, memory_order_relaxed), now_ms;
    uint64_t suppressed;

    if (found && !since_ms)
        return;
    now_ms = xl_now().wall_ms;
    if (!found && xl_refusal_begins(entry, now_ms))
        log_full(limit, s);
    if (found && now_ms - since_ms >= RECOVERED_MS && xl_refusal_ends(entry, &since_ms, &suppressed))
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, "xlimit(238): clients of limit \"%s\" have meters of their own "
                     "again; %" APR_UINT64_T_FMT " more had none since", limit->name, (apr_uint64_t)suppressed);
}
