/* SPDX-License-Identifier: Apache-2.0
 *
 * levels: what a response, or the body of a request, has above it: one level
 * for each limit, with its meter, wherever that is kept (ledger, table of keys,
 * connection), and the count of those who share it. Turns levels into
 * reservations (rule/slot); knows nothing of buckets and never waits.
 * Who locks: nobody; a list belongs to the thread that runs its request, meters
 * and counts are atomic words.
 * Invariant: who entered leaves, once, whatever happens to the request between.
 */
#include "xl_conn.h"

#include "http_log.h"

APLOG_USE_MODULE(xlimit);

#define XL_CHUNK_UNPACED_BYTES (UINT64_C(1) << 20) /* where nothing takes part: counters follow a large response */
#define XL_OWN_RATE_KEY UINT64_C(2)                /* of the session meter for xl_own_rate_t; those of limits are odd */
#define XL_UNSENT_MOST_BYTES (UINT64_C(1) << 20)

/* ---- the list -------------------------------------------------------- */

/* The session meter of that key on the connection; when all are taken the last
 * one is shared, which is stricter, never looser. */
static xl_session_t *session_of(xl_conn_t *primary, uint64_t key)
{
    xl_session_t *session = primary->sessions;

    for (size_t i = 0; i < XL_SESSIONS_MAX; i++) {
        uint64_t owner = 0;

        session = &primary->sessions[i];
        if (atomic_compare_exchange_strong(&session->key, &owner, key) || owner == key)
            break;
    }
    return session;
}

static xl_pacing_t *push(xl_request_t *xr, xl_levels_t *levels, xl_rate_t rate)
{
    xl_pacing_t *p;

    if (levels->n == levels->room)
        levels->list = xl_grow(xr->r->pool, levels->list, &levels->room, 2, sizeof(*levels->list));
    p = &levels->list[levels->n++];
    *p = (xl_pacing_t){ .level = { .rate = rate, .sharers = 1 }, .pin = { .cell = XL_NO_CELL } };
    return p;
}

static void use_session(xl_pacing_t *p, xl_conn_t *primary, uint64_t key)
{
    p->session = session_of(primary, key);
    p->level.meter = &p->session->meter;
}

static bool is_keyed(const xl_limit_t *limit)
{
    return limit->key == XL_KEY_CLIENT || limit->key == XL_KEY_ZONE;
}

/* The meter of the limit itself is that of key all, and of keys that find no cell. */
static void use_entry(xl_pacing_t *p, const xl_applied_t *applied)
{
    p->entry = applied->entry;
    p->usage = applied->cell ? &applied->cell->usage : &applied->entry->usage;
    p->level.shared = true;
    p->level.meter = xl_dimension_paces(p->limit->dimension) ? &p->entry->meter : &p->entry->speed;
}

/* Which of its levels decides is the slot's affair; all take part. */
bool xl_levels_add(xl_request_t *xr, xl_levels_t *levels, const xl_applied_t *applied)
{
    const xl_limit_t *limit = applied->limit;
    bool speed = !xl_dimension_paces(limit->dimension);
    xl_table_t *table = NULL;
    xl_table_key_t key = { .text = "" };
    xl_pacing_t *p;

    if (is_keyed(limit) && !xl_keys_find(xr, xr->r, limit, applied->entry, speed ? XL_SALT_SPEED : XL_SALT_NONE,
                                         &table, &key))
        return true; /* nobody to share it with */
    if (levels->n == XL_LEVELS_MAX) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, xr->r,
                      "xlimit(302): more than %d bandwidth limits apply to one response; %s (%s:%d) and later ones "
                      "do not take part",
                      XL_LEVELS_MAX, limit->name, limit->file, limit->line);
        return false;
    }
    p = push(xr, levels, speed ? applied->action->rate : limit->rate);
    p->limit = limit;
    p->only_over = limit->dimension == XL_DIM_QUOTA;
    p->level.burst_bytes = speed ? 0 : limit->burst;
    p->keyed = is_keyed(limit);
    p->table = table;
    p->key = key;
    if (applied->entry) {
        use_entry(p, applied);
    } else {
        use_session(p, xr->conn->primary, limit->session_key);
        p->free_bytes = limit->after_bytes;
    }
    return true;
}

void xl_levels_override(xl_request_t *xr, xl_levels_t *levels)
{
    size_t kept = 0;

    if (levels->entered)
        return;
    for (size_t i = 0; i < levels->n; i++)
        if (!levels->list[i].session)
            levels->list[kept++] = levels->list[i];
    levels->n = kept;
    if (xr->own_rate.given && !xr->own_rate.unlimited && kept < XL_LEVELS_MAX)
        use_session(push(xr, levels, xr->own_rate.rate), xr->conn->primary, XL_OWN_RATE_KEY);
}

/* ---- who shares ------------------------------------------------------ */

static uint32_t sharers_of(const xl_pacing_t *p)
{
    int32_t sharers;

    if (p->cell)
        return xl_cell_pins(p->cell);
    if (p->entry)
        return xl_entry_active(xl_segment_ledger(), p->entry);
    sharers = atomic_load(&p->session->sharers);
    return sharers > 0 ? (uint32_t)sharers : 0;
}

/* The cell of its key. Where there is none to be had all who find none share
 * the limit's own meter: stricter, never unlimited. */
static void pin(const xl_request_t *xr, xl_pacing_t *p, uint64_t now_ns)
{
    p->cell = xl_keys_pin(p->limit, p->entry, xr->r->server, p->table, &p->key, now_ns, &p->pin);
    if (p->cell) {
        p->level.meter = &p->cell->meter;
        atomic_fetch_add_explicit(&p->cell->requests, 1, memory_order_relaxed);
    }
}

/* Of two that wake a level up at once, both may: it raises the same floor. */
static void enter(const xl_request_t *xr, xl_pacing_t *p, uint64_t now_ns)
{
    if (p->keyed)
        pin(xr, p, now_ns);
    if (sharers_of(p) == (p->cell ? 1 : 0))
        xl_slot_wake(&p->level, now_ns);
    if (p->entry)
        xl_entry_enter(xl_segment_ledger(), p->entry, xl_segment_row());
    else
        atomic_fetch_add(&p->session->sharers, 1);
}

void xl_levels_enter(xl_request_t *xr, xl_levels_t *levels)
{
    uint64_t now_ns;

    if (levels->entered)
        return;
    now_ns = xl_now().mono_ns;
    levels->entered = levels->first = true;
    levels->since_ns = now_ns;
    xl_ledger_paced_begin(xl_segment_ledger(), xl_segment_row());
    for (size_t i = 0; i < levels->n; i++)
        enter(xr, &levels->list[i], now_ns);
}

void xl_levels_leave(xl_levels_t *levels)
{
    if (!levels->entered)
        return;
    levels->entered = false;
    xl_ledger_paced_end(xl_segment_ledger(), xl_segment_row());
    for (size_t i = 0; i < levels->n; i++) {
        xl_pacing_t *p = &levels->list[i];

        if (p->cell)
            xl_table_unpin(p->table, xl_segment_row(), p->pin);
        p->cell = NULL;
        if (p->entry)
            xl_entry_leave(xl_segment_ledger(), p->entry, xl_segment_row());
        else
            atomic_fetch_sub(&p->session->sharers, 1);
    }
}

/* ---- reservations ---------------------------------------------------- */

static bool takes_part(const xl_pacing_t *p)
{
    return !p->only_over || xl_quota_over(p->limit, p->usage, xl_now().wall_ms);
}

static bool in_last(const xl_levels_t *levels, size_t i)
{
    return levels->took >> i & 1;
}

bool xl_levels_turned(const xl_levels_t *levels)
{
    for (size_t i = 0; i < levels->n; i++)
        if (levels->list[i].only_over && in_last(levels, i) && !takes_part(&levels->list[i]))
            return true;
    return false;
}

uint64_t xl_levels_turn_ns(const xl_levels_t *levels)
{
    uint64_t first_ns = UINT64_MAX;

    for (size_t i = 0; i < levels->n; i++) {
        const xl_pacing_t *p = &levels->list[i];
        xl_now_t now;
        int64_t left_ms;
        uint64_t at_ns;

        if (!p->only_over || !in_last(levels, i))
            continue;
        now = xl_now();
        left_ms = xl_quota_free_ms(p->limit, p->usage, now.wall_ms) - now.wall_ms;
        at_ns = now.mono_ns + (left_ms > 0 ? (uint64_t)left_ms : 0) * XL_NS_PER_MS;
        first_ns = at_ns < first_ns ? at_ns : first_ns;
    }
    return first_ns;
}

bool xl_levels_bite(const xl_levels_t *levels)
{
    for (size_t i = 0; i < levels->n; i++)
        if (takes_part(&levels->list[i]))
            return true;
    return false;
}

/* The levels that take part in the next chunk, noted in `took`, and the rest of
 * what is asked: no more than may go before one that after= leaves out so far
 * joins them. */
static size_t prepare(xl_levels_t *levels, xl_level_t *part, xl_slot_ask_t *ask, uint64_t now_ns)
{
    uint64_t most = UINT64_MAX;
    size_t n = 0;

    levels->took = 0;
    for (size_t i = 0; i < levels->n; i++) {
        xl_pacing_t *p = &levels->list[i];
        uint32_t sharers;

        if (!takes_part(p))
            continue;
        if (p->free_bytes) {
            most = p->free_bytes < most ? p->free_bytes : most;
            continue;
        }
        sharers = sharers_of(p);
        p->level.sharers = sharers > 1 ? sharers : 1;
        part[n++] = p->level;
        levels->took |= UINT32_C(1) << i;
    }
    if (!n && most > XL_CHUNK_UNPACED_BYTES)
        most = XL_CHUNK_UNPACED_BYTES;
    if (!ask->cap || most < ask->cap)
        ask->cap = most;
    ask->age_ns = levels->entered ? now_ns - levels->since_ns : 0;
    ask->sessions = xl_ledger_paced_most(xl_segment_ledger());
    ask->first = levels->first;
    ask->last_due_ns = levels->idle ? now_ns : levels->last_due_ns;
    return n;
}

uint64_t xl_levels_chunk(xl_levels_t *levels, xl_slot_ask_t *ask, uint64_t now_ns)
{
    xl_level_t part[XL_LEVELS_MAX];
    size_t n = prepare(levels, part, ask, now_ns);

    return xl_slot_chunk_bytes(part, n, ask);
}

xl_slot_t xl_levels_reserve(xl_levels_t *levels, xl_slot_ask_t *ask, uint64_t now_ns)
{
    xl_level_t part[XL_LEVELS_MAX];
    size_t n = prepare(levels, part, ask, now_ns);
    xl_slot_t slot = xl_slot_reserve(part, n, ask, now_ns);

    if (n) {
        levels->first = levels->idle = false;
        levels->last_due_ns = slot.due_ns;
    }
    return slot;
}

void xl_levels_give_back(const xl_levels_t *levels, uint64_t bytes)
{
    xl_level_t part[XL_LEVELS_MAX];
    size_t n = 0;

    for (size_t i = 0; i < levels->n; i++)
        if (in_last(levels, i))
            part[n++] = levels->list[i].level;
    xl_slot_release(part, n, bytes);
}

void xl_levels_moved(xl_levels_t *levels, uint64_t bytes)
{
    for (size_t i = 0; i < levels->n; i++) {
        xl_pacing_t *p = &levels->list[i];

        p->free_bytes -= p->free_bytes < bytes ? p->free_bytes : bytes;
        if (p->cell)
            atomic_fetch_add_explicit(&p->cell->bytes, bytes, memory_order_relaxed);
        if (p->entry && p->limit->dimension == XL_DIM_UPLOAD)
            atomic_fetch_add_explicit(&p->entry->sent_bytes, bytes, memory_order_relaxed);
    }
}

bool xl_levels_shared(const xl_levels_t *levels)
{
    for (size_t i = 0; i < levels->n; i++)
        if (in_last(levels, i) && levels->list[i].level.sharers > 1)
            return true;
    return false;
}

uint64_t xl_levels_time_ns(const xl_levels_t *levels, uint64_t bytes)
{
    uint64_t longest = 0;

    for (size_t i = 0; i < levels->n; i++) {
        const xl_pacing_t *p = &levels->list[i];
        uint64_t sharers = p->level.shared ? sharers_of(p) + UINT64_C(1) : 1;
        uint64_t ns = takes_part(p) ? xl_rate_ns(p->level.rate, bytes) : 0;

        ns = ns > UINT64_MAX / sharers ? UINT64_MAX : ns * sharers;
        longest = ns > longest ? ns : longest;
    }
    return longest;
}

uint64_t xl_levels_unsent_bytes(const xl_levels_t *levels)
{
    uint64_t least = XL_UNSENT_MOST_BYTES;

    for (size_t i = 0; i < levels->n; i++) {
        const xl_level_t *level = &levels->list[i].level;
        uint64_t chunk = xl_rate_units(level->rate, XL_SLOT_CHUNK_NS) / level->sharers;

        if (in_last(levels, i))
            least = chunk < least ? chunk : least;
    }
    return least;
}
