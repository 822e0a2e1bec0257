/* SPDX-License-Identifier: Apache-2.0
 *
 * keyspace: the tables of keys (store/table) in httpd: one for clients, sized by
 * XLimitMemory, and one for each XLimitZone, sized by its entries=. Their memory
 * and locks are there from the first configuration that needs them; a zone that
 * keeps its name and size keeps its counters over a graceful restart, another
 * one begins anew. Their secret is random, or that of an earlier server whose
 * keys are put back (keyfile.c). Children write to the memory, so the parent
 * trusts nothing in it.
 * Who locks: the tables, by the mutexes made here, one per stripe of all tables.
 */
#include "xl_conn.h"

#include "xl_segment_start.h"
#include "xl_shared.h"

#include "ap_mpm.h"
#include "apr_strings.h"
#include "http_log.h"
#include "util_mutex.h"

#include <unistd.h>

APLOG_USE_MODULE(xlimit);

#define RETAINED_KEY "mod_xlimit-keyspace-2"
#define PINS_THREADED 32768u /* a row's: connections of a child, times the limits with a key that apply to each */
#define PINS_PREFORK 256u
#define CELLS_MOST (UINT32_C(1) << 30)

typedef struct {
    const char *name; /* of the zone, "": clients; of the process's pool */
    uint32_t cells;
    xl_table_t table; /* base NULL: none */
    size_t size;
} space_t;

typedef struct {
    uint8_t secret[16];
    bool ready; /* secret and mutexes are there */
    apr_global_mutex_t *stripes[XL_TABLE_STRIPES];
    bool locked_out;    /* of the stripes: this child finds keys and puts none in */
    space_t *spaces; /* of this configuration: clients, then zones in their order */
    uint32_t n;
} keyspace_t;

static keyspace_t *keyspace; /* retained: old and new generation share it */
static bool is_new; /* its secret is of this configuration */

/* ---- locks ---------------------------------------------------------------- */

static bool lock(void *context, unsigned stripe)
{
    const keyspace_t *k = context;

    return !k->locked_out && apr_global_mutex_lock(k->stripes[stripe]) == APR_SUCCESS;
}

static void unlock(void *context, unsigned stripe)
{
    const keyspace_t *k = context;

    apr_global_mutex_unlock(k->stripes[stripe]);
}

static xl_table_lock_t locks_of_tables(void)
{
    return (xl_table_lock_t){ lock, unlock, keyspace };
}

static bool make_mutexes(server_rec *s)
{
    for (unsigned i = 0; i < XL_TABLE_STRIPES; i++) {
        const char *instance = apr_psprintf(s->process->pool, "keys-%u", i);
        apr_status_t rv = ap_global_mutex_create(&keyspace->stripes[i], NULL, XL_MUTEX_TYPE, instance, s,
                                                 s->process->pool, 0);

        if (rv != APR_SUCCESS) {
            ap_log_error(APLOG_MARK, APLOG_CRIT, rv, s, "xlimit(231): mutex %u of the tables of keys cannot be had; "
                         "see the Mutex directive, type " XL_MUTEX_TYPE, i);
            return false;
        }
    }
    return true;
}

/* ---- how much ------------------------------------------------------------- */

/* Parts of a speed answer have cells, whatever their key is. */
static bool wanted(void)
{
    const apr_array_header_t *registry = xl_config_registry();

    for (int i = 0; i < registry->nelts; i++)
        if (APR_ARRAY_IDX(registry, i, xl_registered_t).limit->key == XL_KEY_CLIENT)
            return true;
    return xl_config_has_parts();
}

static uint64_t cells_of_zone(const xl_keyzone_t *zone)
{
    return (uint64_t)zone->entries * (zone->limits ? zone->limits : 1);
}

static uint64_t zone_bytes(void)
{
    const apr_array_header_t *zones = xl_config_keyzones();
    uint64_t bytes = 0;

    for (int i = 0; i < zones->nelts; i++)
        bytes += cells_of_zone(APR_ARRAY_IDX(zones, i, const xl_keyzone_t *)) * XL_KEY_BYTES;
    return bytes;
}

uint64_t xl_keyspace_least_bytes(void)
{
    return (wanted() ? XL_KEYS_LEAST * XL_KEY_BYTES : 0) + zone_bytes();
}

static uint32_t pins_per_row(void)
{
    int threads = 0;

    return ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads) == APR_SUCCESS && threads > 1 ? PINS_THREADED : PINS_PREFORK;
}

/* What XLimitMemory leaves beside ledger and zones; xl_segment_need has seen to it
 * that this is enough for XL_KEYS_LEAST. */
static uint32_t cells_for_clients(const xl_engine_conf_t *engine)
{
    uint64_t others = xl_segment_ledger()->size + zone_bytes(), cells;

    if (!engine->memory_bytes)
        return XL_KEYZONE_ENTRIES;
    cells = engine->memory_bytes > others ? (engine->memory_bytes - others) / XL_KEY_BYTES : 0;
    cells = cells < XL_KEYS_LEAST ? XL_KEYS_LEAST : cells;
    return cells > CELLS_MOST ? CELLS_MOST : (uint32_t)cells;
}

/* Of physical memory; what cannot be there is said at -t. */
bool xl_keyspace_check(void)
{
    const apr_array_header_t *zones = xl_config_keyzones();
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    uint64_t most = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : UINT64_MAX;

    for (int i = 0; i < zones->nelts; i++) {
        const xl_keyzone_t *zone = APR_ARRAY_IDX(zones, i, const xl_keyzone_t *);

        if (cells_of_zone(zone) <= CELLS_MOST && cells_of_zone(zone) * XL_KEY_BYTES <= most)
            continue;
        ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_ERR, 0, NULL,
                     "xlimit(105): Syntax error on line %d of %s: XLimitZone %s of %u entries and %u limits takes %"
                     APR_UINT64_T_FMT " bytes, more than this machine has; lower entries=", zone->line, zone->file,
                     zone->name, zone->entries, zone->limits, (apr_uint64_t)(cells_of_zone(zone) * XL_KEY_BYTES));
        return false;
    }
    return true;
}

/* ---- tables --------------------------------------------------------------- */

static bool make_table(space_t *space, server_rec *s)
{
    xl_table_lock_t locks = locks_of_tables();
    uint32_t rows = xl_segment_ledger()->rows, pins = pins_per_row();
    void *base;
    const char *reason;

    space->size = xl_table_size(space->cells, rows, pins);
    base = space->size ? xl_shared_make(space->size) : NULL;
    reason = base ? xl_table_init(&space->table, base, space->size, space->cells, rows, pins, &locks)
                  : "no memory for it";
    if (!reason)
        return true;
    xl_shared_free(base, space->size);
    space->table.base = NULL;
    ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s, "xlimit(232): a table of %u keys for %s (%" APR_SIZE_T_FMT " bytes) "
                 "cannot be made: %s; lower %s", space->cells, *space->name ? space->name : "clients", space->size,
                 reason, *space->name ? "entries= of that XLimitZone" : "XLimitMemory");
    return false;
}

/* Of the configuration before, with the same name and size. */
static space_t *inherited(space_t *before, uint32_t n, const char *name, uint32_t cells)
{
    for (uint32_t i = 0; i < n; i++)
        if (before[i].table.base && !strcmp(before[i].name, name) && (before[i].cells == cells || !*name))
            return &before[i];
    return NULL;
}

/* One space of the new configuration, taken over or made. */
static bool provide(space_t *space, space_t *before, uint32_t n, const char *name, uint32_t cells, server_rec *s)
{
    space_t *old = inherited(before, n, name, cells);

    if (old) {
        *space = *old;
        space->table.lock = locks_of_tables(); /* this module may have been loaded anew, elsewhere */
        old->table.base = NULL;                /* is somebody's */
        return true;
    }
    *space = (space_t){ .name = apr_pstrdup(s->process->pool, name), .cells = cells };
    return make_table(space, s);
}

/* Old children have mappings of their own. */
static void release(const space_t *before, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        xl_shared_free(before[i].table.base, before[i].size);
}

static bool provide_all(server_rec *s)
{
    const apr_array_header_t *zones = xl_config_keyzones();
    uint32_t n = 1 + (uint32_t)zones->nelts, had = keyspace->n;
    space_t *before = keyspace->spaces, *spaces = calloc(n, sizeof(*spaces));
    bool clients = wanted() || (had && before[0].table.base), good = spaces != NULL;

    if (good && clients)
        good = provide(&spaces[0], before, had, "", cells_for_clients(xl_config_server(s)->engine), s);
    for (uint32_t i = 1; good && i < n; i++) {
        const xl_keyzone_t *zone = APR_ARRAY_IDX(zones, i - 1, const xl_keyzone_t *);

        good = provide(&spaces[i], before, had, zone->name, (uint32_t)cells_of_zone(zone), s);
    }
    if (!good)
        return false; /* which stops the server */
    release(before, had);
    free(before);
    keyspace->spaces = spaces;
    keyspace->n = n;
    return true;
}

bool xl_keyspace_open(server_rec *main_server)
{
    uint32_t zones = (uint32_t)xl_config_keyzones()->nelts;

    keyspace = ap_retained_data_get(RETAINED_KEY);
    if (!keyspace)
        keyspace = ap_retained_data_create(RETAINED_KEY, sizeof(*keyspace));
    is_new = false;
    if (!zones && !wanted() && !keyspace->n)
        return true;
    if (!keyspace->ready) {
        if (apr_generate_random_bytes(keyspace->secret, sizeof(keyspace->secret)) != APR_SUCCESS) {
            ap_log_error(APLOG_MARK, APLOG_CRIT, 0, main_server, "xlimit(234): no random bytes for the tables of keys");
            return false;
        }
        if (!make_mutexes(main_server))
            return false;
        keyspace->ready = is_new = true;
    }
    return provide_all(main_server);
}

void xl_keyspace_child(apr_pool_t *pchild, server_rec *main_server)
{
    for (unsigned i = 0; keyspace && keyspace->ready && i < XL_TABLE_STRIPES; i++) {
        apr_global_mutex_t **mutex = &keyspace->stripes[i];
        apr_status_t rv = apr_global_mutex_child_init(mutex, apr_global_mutex_lockfile(*mutex), pchild);

        if (rv == APR_SUCCESS)
            continue;
        keyspace->locked_out = true;
        ap_log_error(APLOG_MARK, APLOG_ERR, rv, main_server, "xlimit(235): mutex %u of the tables of keys cannot be "
                     "had in this child; keys that are new to it share the counter of one", i);
        return;
    }
}

xl_table_t *xl_keyspace_table(const xl_keyzone_t *zone)
{
    uint32_t i = zone ? zone->index + 1 : 0;

    return keyspace && i < keyspace->n && keyspace->spaces[i].table.base ? &keyspace->spaces[i].table : NULL;
}

const uint8_t *xl_keyspace_secret(void)
{
    static const uint8_t none[16];

    return keyspace ? keyspace->secret : none;
}

bool xl_keyspace_is_new(void)
{
    return is_new;
}

void xl_keyspace_set_secret(const uint8_t secret[16])
{
    memcpy(keyspace->secret, secret, sizeof(keyspace->secret));
}

bool xl_keyspace_gone(uint32_t row)
{
    bool settled = true;

    for (uint32_t i = 0; keyspace && i < keyspace->n; i++)
        if (keyspace->spaces[i].table.base && !xl_table_settle(&keyspace->spaces[i].table, row))
            settled = false;
    return settled;
}
