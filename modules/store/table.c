/* SPDX-License-Identifier: Apache-2.0
 *
 * table: finds keys, puts new ones in, evicts old ones (contract in xl_table.h).
 * Owns tags, ages, ids, labels and the totals; pins are pin.c's. Never maps or
 * allocates, and takes no index from the block without checking it.
 * Who locks: putting in, under the lock of the stripe; all else is atomic words.
 * Invariants: a tag is not 0 exactly as long as its cell is live, but for the
 * one that its stripe's dirty word names; no id is live twice; the bytes of a
 * cell that is not live are in the totals, or will be by that word.
 *
 * The steps of an insertion, of which a killed process may leave any half done:
 *
 *     CHOSEN   the cell loses `live`, so that nobody can pin it any more, and the
 *              stripe's record says what the totals become with its counters
 *     FOLDED   the totals become that, the counters 0; id, label, tag, `live`
 */
#include "xl_pin.h"

#include <stddef.h>
#include <string.h>

enum { CLEAN, CHOSEN, FOLDED };

#define LINE 64u
#define GROUP (XL_TABLE_WAYS * XL_TABLE_STRIPES) /* cells of one set in each stripe: sizes go by these */
#define GROUP_BYTES (XL_TABLE_STRIPES * sizeof(xl_table_set_t) + GROUP * (sizeof(xl_cell_t) + sizeof(xl_table_label_t)))
#define STAMP_SHIFT 8 /* ages in units of 256 ms */
#define RANK_FREE UINT64_MAX
#define OWNER_USAGE (UINT32_C(1) << 31)

_Static_assert(sizeof(xl_table_set_t) == LINE && sizeof(xl_table_stripe_t) == LINE, "one line each");
_Static_assert(XL_TABLE_WAYS * sizeof(xl_table_label_t) % LINE == 0, "labels end on a line");
_Static_assert(offsetof(xl_cell_t, mark) - offsetof(xl_cell_t, meter) == sizeof(xl_usage_t), "a usage fits");

/* ---- layout ---------------------------------------------------------- */

typedef unsigned __int128 wide_t; /* holds the bytes of any number of rows and pins */

static wide_t lines(wide_t bytes)
{
    return (bytes + LINE - 1) / LINE * LINE;
}

static uint64_t whole_pins(uint32_t pins)
{
    return ((uint64_t)pins + 7) / 8 * 8;
}

static wide_t sets_offset(uint32_t rows, uint32_t pins)
{
    return XL_TABLE_STRIPES * sizeof(xl_table_stripe_t) + lines((wide_t)rows * sizeof(uint32_t)) +
           (wide_t)rows * whole_pins(pins) * sizeof(uint64_t);
}

size_t xl_table_size(uint32_t cells, uint32_t rows, uint32_t pins)
{
    uint64_t groups = ((uint64_t)cells + GROUP - 1) / GROUP;
    wide_t size = sets_offset(rows, pins) + (wide_t)groups * GROUP_BYTES;

    if (!cells || !rows || !pins || groups * GROUP > XL_NO_CELL || whole_pins(pins) > UINT32_MAX || size > SIZE_MAX)
        return 0;
    return (size_t)size;
}

uint32_t xl_table_cells(size_t size, uint32_t rows, uint32_t pins)
{
    const uint64_t most = XL_NO_CELL / GROUP;
    wide_t fixed = sets_offset(rows, pins);
    uint64_t groups = size > fixed ? (uint64_t)((size - fixed) / GROUP_BYTES) : 0;

    return (uint32_t)((groups < most ? groups : most) * GROUP);
}

const char *xl_table_init(xl_table_t *table, void *base, size_t size, uint32_t cells, uint32_t rows, uint32_t pins,
                          const xl_table_lock_t *lock)
{
    size_t needed = xl_table_size(cells, rows, pins);
    unsigned char *sets;

    if (!needed)
        return "no such number of cells, rows or pins";
    if (size < needed)
        return "not room enough for so many cells";
    if ((uintptr_t)base % LINE)
        return "the memory does not begin on a cache line";
    sets = (unsigned char *)base + (size_t)sets_offset(rows, pins);
    *table = (xl_table_t){ .base = base, .rows = rows, .pins = (uint32_t)whole_pins(pins), .lock = *lock };
    table->sets = (uint32_t)(((uint64_t)cells + GROUP - 1) / GROUP * XL_TABLE_STRIPES);
    table->stripe = base;
    table->top = (_Atomic uint32_t *)(table->stripe + XL_TABLE_STRIPES);
    table->entry = (_Atomic uint64_t *)(sets - (size_t)rows * table->pins * sizeof(uint64_t));
    table->set = (xl_table_set_t *)sets;
    table->cell = (xl_cell_t *)(table->set + table->sets);
    table->label = (xl_table_label_t *)(table->cell + (size_t)table->sets * XL_TABLE_WAYS);
    return NULL;
}

xl_cell_t *xl_table_cell(const xl_table_t *table, uint32_t cell)
{
    return cell / XL_TABLE_WAYS < table->sets ? &table->cell[cell] : NULL;
}

uint32_t xl_table_owner(const xl_table_t *table, uint32_t cell, bool *usage)
{
    uint32_t owner = xl_table_cell(table, cell) ? table->label[cell].owner : 0;

    *usage = owner & OWNER_USAGE;
    return owner & ~OWNER_USAGE;
}

void xl_table_text(const xl_table_t *table, uint32_t cell, char text[XL_TABLE_LABEL_BYTES + 1])
{
    memset(text, 0, XL_TABLE_LABEL_BYTES + 1);
    if (xl_table_cell(table, cell))
        memcpy(text, table->label[cell].text, XL_TABLE_LABEL_BYTES);
}

/* ---- where a key belongs --------------------------------------------- */

typedef struct {
    uint32_t set[2];
    unsigned sets; /* 1: both are the same */
    unsigned stripe;
    uint32_t tag;
    uint32_t stamp;
    uint64_t now_ms;
} place_t;

/* Every 32 bits of the id serve for one thing, so that none depends on another. */
static uint32_t scale(uint64_t bits, uint32_t n)
{
    return (uint32_t)((bits & UINT32_MAX) * n >> 32);
}

static place_t place_of(const xl_table_t *table, const uint64_t id[2], uint64_t now_ms)
{
    uint32_t each = table->sets / XL_TABLE_STRIPES, first = scale(id[0], each), second;
    place_t place = { .stripe = scale(id[0] >> 32, XL_TABLE_STRIPES), .sets = each > 1 ? 2 : 1, .now_ms = now_ms };

    second = first + 1 + scale(id[1] >> 32, each - 1);
    place.set[0] = place.stripe * each + first;
    place.set[1] = place.stripe * each + (second < each ? second : second - each);
    place.tag = (uint32_t)id[1] ? (uint32_t)id[1] : 1;
    place.stamp = (uint32_t)(now_ms >> STAMP_SHIFT);
    return place;
}

static uint32_t tag_of(const xl_table_t *table, uint32_t cell)
{
    return atomic_load_explicit(&table->set[cell / XL_TABLE_WAYS].tag[cell % XL_TABLE_WAYS], memory_order_acquire);
}

static void set_tag(const xl_table_t *table, uint32_t cell, uint32_t tag)
{
    atomic_store_explicit(&table->set[cell / XL_TABLE_WAYS].tag[cell % XL_TABLE_WAYS], tag, memory_order_release);
}

/* The cells where a key may be: candidate 0, 1, ... of place->sets * 8. */
static uint32_t candidate(const place_t *place, unsigned i)
{
    return place->set[i / XL_TABLE_WAYS] * XL_TABLE_WAYS + i % XL_TABLE_WAYS;
}

static bool is_live(const xl_cell_t *cell)
{
    return atomic_load(&cell->control) & XL_CONTROL_LIVE;
}

/* Written only when it changed: the line of tags is everybody's. */
static void stamp(const xl_table_t *table, uint32_t cell, const place_t *place)
{
    _Atomic uint32_t *word = &table->set[cell / XL_TABLE_WAYS].stamp[cell % XL_TABLE_WAYS];

    if (atomic_load_explicit(word, memory_order_relaxed) != place->stamp)
        atomic_store_explicit(word, place->stamp, memory_order_relaxed);
}

/* ---- folding and repair, under the lock ------------------------------- */

/* In the order of the program, which is all that a kill can tell apart. */
static void put(_Atomic uint64_t *word, uint64_t value)
{
    atomic_store_explicit(word, value, memory_order_release);
}

static void note(xl_table_stripe_t *stripe, unsigned step, uint32_t cell)
{
    put(&stripe->dirty, (uint64_t)step << 32 | cell);
}

/* May be done any number of times. */
static void finish_fold(const xl_table_t *table, xl_table_stripe_t *stripe, uint32_t cell)
{
    xl_cell_t *c = &table->cell[cell];

    put(&stripe->evictions, atomic_load(&stripe->then_evictions));
    put(&stripe->bytes, atomic_load(&stripe->then_bytes));
    put(&stripe->requests, atomic_load(&stripe->then_requests));
    put(&c->bytes, 0);
    put(&c->requests, 0);
}

/* Of a cell without `live`, to whose counters nobody adds any more. What a usage
 * has counted is of its period and no total. */
static void fold(const xl_table_t *table, xl_table_stripe_t *stripe, uint32_t cell)
{
    const xl_cell_t *c = &table->cell[cell];
    bool usage = table->label[cell].owner & OWNER_USAGE;

    put(&stripe->then_evictions, atomic_load(&stripe->evictions) + (tag_of(table, cell) != 0));
    put(&stripe->then_bytes, atomic_load(&stripe->bytes) + (usage ? 0 : atomic_load(&c->bytes)));
    put(&stripe->then_requests, atomic_load(&stripe->requests) + (usage ? 0 : atomic_load(&c->requests)));
    note(stripe, FOLDED, cell);
    finish_fold(table, stripe, cell);
}

/* What a process that was killed in here has left: its cell becomes free unless
 * it was not taken yet or is complete. */
static void repair(const xl_table_t *table, unsigned number)
{
    xl_table_stripe_t *stripe = &table->stripe[number];
    uint64_t dirty = atomic_load(&stripe->dirty);
    uint32_t cell = (uint32_t)dirty, each = table->sets / XL_TABLE_STRIPES;

    if (dirty == CLEAN)
        return;
    if (cell / XL_TABLE_WAYS / each == number && !is_live(&table->cell[cell])) {
        if (dirty >> 32 == CHOSEN)
            fold(table, stripe, cell);
        else if (dirty >> 32 == FOLDED)
            finish_fold(table, stripe, cell);
        set_tag(table, cell, 0);
    }
    put(&stripe->dirty, CLEAN);
}

/* ---- putting in, under the lock --------------------------------------- */

static uint32_t find(const xl_table_t *table, const place_t *place, const uint64_t id[2])
{
    unsigned i;

    for (i = 0; i < place->sets * XL_TABLE_WAYS; i++) {
        uint32_t cell = candidate(place, i);
        const xl_cell_t *c = &table->cell[cell];

        if (tag_of(table, cell) == place->tag && is_live(c) && c->id[0] == id[0] && c->id[1] == id[1])
            return cell;
    }
    return XL_NO_CELL;
}

/* A cell without a tag, in the set that has more of them. */
static uint32_t free_cell(const xl_table_t *table, const place_t *place)
{
    uint32_t found[2] = { XL_NO_CELL, XL_NO_CELL };
    unsigned n[2] = { 0, 0 }, i;

    for (i = 0; i < place->sets * XL_TABLE_WAYS; i++)
        if (!tag_of(table, candidate(place, i)) && !n[i / XL_TABLE_WAYS]++)
            found[i / XL_TABLE_WAYS] = candidate(place, i);
    return found[n[1] > n[0]];
}

static bool is_locked_out(const xl_cell_t *cell, uint64_t now_ms)
{
    return xl_mark_locked_ms(&cell->mark, now_ms) > 0;
}

static unsigned locked_out(const xl_table_t *table, uint32_t set, uint64_t now_ms)
{
    unsigned way, n = 0;

    for (way = 0; way < XL_TABLE_WAYS; way++)
        n += is_locked_out(&table->cell[set * XL_TABLE_WAYS + way], now_ms);
    return n;
}

/* How much a cell may go: 0 not at all, else the older the more. What is neither
 * live nor free, nobody has any use for. A stamp of a process whose clock is
 * ahead is new. */
static uint64_t rank(const xl_table_t *table, uint32_t cell, const place_t *place, bool spare_locked_out)
{
    const xl_cell_t *c = &table->cell[cell];
    uint32_t age = place->stamp - atomic_load_explicit(&table->set[cell / XL_TABLE_WAYS].stamp[cell % XL_TABLE_WAYS],
                                                       memory_order_relaxed);

    if (!is_live(c))
        return RANK_FREE;
    if (xl_cell_pins(c) || (spare_locked_out && is_locked_out(c, place->now_ms)))
        return 0;
    return age > INT32_MAX ? 1 : (uint64_t)age + 1;
}

static uint32_t victim(const xl_table_t *table, const place_t *place)
{
    uint32_t found = XL_NO_CELL;
    uint64_t highest = 0;
    bool spare = true;
    unsigned i;

    for (i = 0; i < place->sets * XL_TABLE_WAYS; i++) {
        uint64_t r;

        if (i % XL_TABLE_WAYS == 0)
            spare = locked_out(table, place->set[i / XL_TABLE_WAYS], place->now_ms) <= XL_TABLE_WAYS / 2;
        r = rank(table, candidate(place, i), place, spare);
        if (r > highest) {
            highest = r;
            found = candidate(place, i);
        }
    }
    return found;
}

/* Nobody can pin it from then on. false: somebody has it pinned. */
static bool claim(const xl_table_t *table, const place_t *place, uint32_t cell)
{
    xl_cell_t *c = &table->cell[cell];
    uint64_t was = atomic_load(&c->control);

    if (was & XL_CONTROL_LIVE && was & XL_CONTROL_PINS)
        return false;
    note(&table->stripe[place->stripe], CHOSEN, cell);
    return atomic_compare_exchange_strong(&c->control, &was, xl_control_next(was, false, 0));
}

/* Who is pinned between being found and being claimed is passed over the next time. */
static uint32_t make_room(const xl_table_t *table, const place_t *place)
{
    uint32_t cell = free_cell(table, place);
    unsigned tries;

    if (cell != XL_NO_CELL && claim(table, place, cell))
        return cell;
    for (tries = 0; tries < 2 * XL_TABLE_WAYS; tries++) {
        cell = victim(table, place);
        if (cell == XL_NO_CELL || claim(table, place, cell))
            return cell;
    }
    return XL_NO_CELL;
}

/* Cut between characters. */
static void write_label(xl_table_label_t *label, const xl_table_key_t *key)
{
    size_t length = strnlen(key->text, XL_TABLE_LABEL_BYTES + 1);

    if (length > XL_TABLE_LABEL_BYTES)
        for (length--; length > XL_TABLE_LABEL_BYTES - 3 && ((unsigned char)key->text[length] & 0xC0) == 0x80;)
            length--;
    memset(label, 0, sizeof(*label));
    memcpy(label->text, key->text, length);
    label->owner = (key->owner & ~OWNER_USAGE) | (key->usage ? OWNER_USAGE : 0);
}

static void write_cell(const xl_table_t *table, const place_t *place, uint32_t cell, const xl_table_key_t *key)
{
    xl_cell_t *c = &table->cell[cell];

    memcpy(c->id, key->id, sizeof(c->id));
    put(&c->meter.tat_ns, 0);
    put(&c->meter.units, 0);
    put(&c->mark, 0);
    write_label(&table->label[cell], key);
    stamp(table, cell, place);
    set_tag(table, cell, place->tag);
    atomic_store(&c->control, xl_control_next(atomic_load(&c->control), true, 0));
}

static uint32_t put_in(const xl_table_t *table, const place_t *place, const xl_table_key_t *key)
{
    xl_table_stripe_t *stripe = &table->stripe[place->stripe];
    uint32_t cell = make_room(table, place);

    if (cell != XL_NO_CELL) {
        fold(table, stripe, cell);
        write_cell(table, place, cell, key);
    }
    put(&stripe->dirty, CLEAN);
    return cell;
}

uint32_t xl_table_add(xl_table_t *table, const xl_table_key_t *key, uint64_t now_ms)
{
    place_t place = place_of(table, key->id, now_ms);
    uint32_t cell = find(table, &place, key->id) == XL_NO_CELL ? free_cell(table, &place) : XL_NO_CELL;

    if (cell != XL_NO_CELL)
        write_cell(table, &place, cell, key);
    return cell;
}

/* ---- pinning ---------------------------------------------------------- */

/* Who pins: for a process, at most so many together. */
typedef struct {
    uint32_t row, pin, most;
    bool full; /* there are so many */
} holder_t;

/* Without the lock: a key that is just being put in is not found. */
static uint32_t hold_found(xl_table_t *table, holder_t *h, const place_t *place, const uint64_t id[2])
{
    unsigned i;

    for (i = 0; i < place->sets * XL_TABLE_WAYS && !h->full; i++) {
        uint32_t cell = candidate(place, i);

        if (tag_of(table, cell) == place->tag && xl_pin_hold(table, h->row, h->pin, cell, id, h->most, &h->full))
            return cell;
    }
    return XL_NO_CELL;
}

static uint32_t hold_new(xl_table_t *table, holder_t *h, const place_t *place, const xl_table_key_t *key)
{
    uint32_t cell;

    if (!table->lock.lock(table->lock.context, place->stripe))
        return XL_NO_CELL;
    repair(table, place->stripe);
    cell = find(table, place, key->id);
    if (cell == XL_NO_CELL)
        cell = put_in(table, place, key);
    if (cell != XL_NO_CELL && !xl_pin_hold(table, h->row, h->pin, cell, key->id, h->most, &h->full))
        cell = XL_NO_CELL;
    table->lock.unlock(table->lock.context, place->stripe);
    return cell;
}

xl_pin_t xl_table_pin_most(xl_table_t *table, uint32_t row, const xl_table_key_t *key, uint64_t now_ms, uint32_t most,
                           bool *full)
{
    place_t place = place_of(table, key->id, now_ms);
    holder_t h = { .row = row, .pin = row < table->rows ? xl_pin_take(table, row) : XL_NO_PIN, .most = most };
    xl_pin_t pin = { XL_NO_CELL, h.pin };

    *full = false;
    if (h.pin == XL_NO_PIN)
        return pin;
    pin.cell = hold_found(table, &h, &place, key->id);
    if (pin.cell == XL_NO_CELL && !h.full)
        pin.cell = hold_new(table, &h, &place, key);
    if (pin.cell == XL_NO_CELL)
        xl_pin_give_up(table, row, h.pin);
    else
        stamp(table, pin.cell, &place);
    *full = h.full;
    return pin;
}

xl_pin_t xl_table_pin(xl_table_t *table, uint32_t row, const xl_table_key_t *key, uint64_t now_ms)
{
    bool full;

    return xl_table_pin_most(table, row, key, now_ms, UINT32_MAX, &full);
}

uint32_t xl_table_peek(const xl_table_t *table, const uint64_t id[2])
{
    place_t place = place_of(table, id, 0);
    uint32_t cell = find(table, &place, id);

    return cell == XL_NO_CELL ? 0 : xl_cell_pins(&table->cell[cell]);
}

void xl_table_totals(const xl_table_t *table, xl_table_totals_t *totals)
{
    uint32_t i, cells = table->sets * XL_TABLE_WAYS;

    *totals = (xl_table_totals_t){ .cells = cells };
    for (i = 0; i < cells; i++) {
        if (!tag_of(table, i))
            continue;
        totals->used++;
        totals->pinned += xl_cell_pins(&table->cell[i]) != 0;
    }
    for (i = 0; i < XL_TABLE_STRIPES; i++) {
        totals->evictions += atomic_load(&table->stripe[i].evictions);
        totals->evicted_bytes += atomic_load(&table->stripe[i].bytes);
        totals->evicted_requests += atomic_load(&table->stripe[i].requests);
    }
}
