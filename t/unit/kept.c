/* SPDX-License-Identifier: Apache-2.0
 *
 * What of tables of keys is copied, and what comes back of it into tables that
 * begin anew: as tables of moments, clocks that jump and boots; limits and zones
 * that are gone or are others; floods of more keys than a copy has room for, and
 * bodies that hold what is none of ours.
 */
#include "tap.h"

#include "table.h"
#include "xl_kept.h"

#include <stddef.h>

#define COUNT(table) (sizeof(table) / sizeof(*(table)))
#define MONO UINT64_C(50000000)
#define WALL INT64_C(1790000000000)
#define HOUR INT64_C(3600000)
#define MINUTE UINT64_C(60000)

enum { ROWS = 2, PINS = 256, CELLS = 4096, LOGIN = 0, QUOTA = 1, ZONED = 2, RATE = 3, LIMITS = 4 };

static const uint8_t secret[XL_KEPT_SECRET_BYTES] = { 1, 2, 3, 200 };
static const xl_period_t hour = { .kind = XL_PERIOD_TIME, .length_ms = 3600000 };
static lock_log_t log_;
static const xl_table_lock_t lock = { log_lock, log_unlock, &log_ };

/* A server: a penalty and a quota of clients, a quota of a zone, a rate that is not kept. */
typedef struct {
    xl_ledger_t ledger;
    xl_table_t clients, zone;
    xl_kept_limit_t limits[LIMITS];
    xl_kept_table_t tables[2];
    xl_kept_scope_t scope;
} server_t;

typedef struct {
    xl_image_head_t head;
    unsigned char *body;
    size_t length;
    uint64_t left_out;
} copy_t;

static void begin(server_t *s, const char *boot_id)
{
    static const char *const names[LIMITS] = { "login", "quota", "zoned", "rate" };
    static const xl_entry_e kinds[LIMITS] = { XL_ENTRY_PENALTY, XL_ENTRY_QUOTA, XL_ENTRY_QUOTA, XL_ENTRY_REQUESTS };
    size_t size = xl_ledger_size(4, 8);
    void *base = aligned_alloc(64, size);

    if (!base)
        exit(1);
    memset(base, 0, size);
    if (xl_ledger_init(&s->ledger, base, size, 4, boot_id, WALL))
        exit(1);
    for (uint32_t i = 0; i < LIMITS; i++)
        xl_ledger_attach(&s->ledger, kinds[i], "www.example.org:80", "", names[i], 1, 0);
    s->clients = make_table(CELLS, ROWS, PINS, &lock);
    s->zone = make_table(CELLS, ROWS, PINS, &lock);
    memset(s->limits, 0, sizeof(s->limits));
    s->limits[LOGIN] = (xl_kept_limit_t){ XL_KEPT_LOCKED, 0, NULL };
    s->limits[QUOTA] = (xl_kept_limit_t){ XL_KEPT_USED, 0, &hour };
    s->limits[ZONED] = (xl_kept_limit_t){ XL_KEPT_USED, 1, &hour };
    s->tables[0] = (xl_kept_table_t){ &s->clients, 11 };
    s->tables[1] = (xl_kept_table_t){ &s->zone, 22 };
    s->scope = (xl_kept_scope_t){ &s->ledger, s->limits, s->tables, LIMITS, 2, secret };
}

static void end(server_t *s)
{
    free(s->ledger.base);
    discard(&s->clients, CELLS);
    discard(&s->zone, CELLS);
}

static xl_cell_t *cell_of(xl_table_t *table, uint32_t n, uint32_t owner, const char *text)
{
    xl_table_key_t wanted = named(key(n % 16, n), text);
    xl_pin_t pin;

    wanted.owner = owner;
    wanted.usage = owner == QUOTA || owner == ZONED;
    pin = xl_table_pin(table, 0, &wanted, MONO);
    xl_table_unpin(table, 0, pin);
    return xl_table_cell(table, pin.cell);
}

static void lock_out(server_t *s, uint32_t n, uint64_t ms)
{
    xl_mark_lock(&cell_of(&s->clients, n, LOGIN, "192.0.2.1")->mark, MONO, MONO + ms);
}

static void use(server_t *s, uint32_t n, uint32_t owner, uint64_t units)
{
    xl_usage_add(&cell_of(owner == ZONED ? &s->zone : &s->clients, n, owner, "key")->usage, &hour, units, WALL);
}

static copy_t copy_of(const server_t *s, size_t room, int64_t wall_ms, uint64_t mono_ms)
{
    copy_t copy = { .body = malloc(xl_kept_room()) };

    if (!copy.body)
        exit(1);
    copy.length = xl_kept_body(&s->scope, (xl_kept_moment_t){ wall_ms, mono_ms }, copy.body, room, &copy.left_out);
    xl_image_sign(&copy.head, &xl_image_keys, &s->ledger, 1, wall_ms, mono_ms);
    xl_image_seal(&copy.head, 0, xl_kept_room(), copy.body, copy.length, 1);
    return copy;
}

static const char *check(const copy_t *copy)
{
    bool newer;
    const char *fault = xl_image_check_head(&copy->head, &xl_image_keys, xl_image_file_bytes(xl_kept_room()), &newer);

    return fault ? fault : xl_image_check_body(&copy->head, &xl_image_keys, copy->body);
}

/* By its id, without pinning it; NULL: it is not there. */
static const xl_cell_t *look(const xl_table_t *table, uint32_t n)
{
    fingerprint_t id = key(n % 16, n);

    for (uint32_t i = 0; i < CELLS; i++)
        if (atomic_load(&table->cell[i].control) & XL_CONTROL_LIVE && !memcmp(table->cell[i].id, id.id, sizeof(id)))
            return &table->cell[i];
    return NULL;
}

static uint64_t locked(const server_t *s, uint32_t n, uint64_t mono_ms)
{
    const xl_cell_t *cell = look(&s->clients, n);

    return cell ? xl_mark_locked_ms(&cell->mark, mono_ms) : 0;
}

static uint64_t used(const xl_table_t *table, uint32_t n, int64_t wall_ms)
{
    const xl_cell_t *cell = look(table, n);

    return cell ? xl_usage_read(&cell->usage, &hour, wall_ms).used : 0;
}

/* What is in a copy, and what is not worth it. */
static void test_body(void)
{
    server_t s;
    copy_t copy, again;
    uint8_t told[XL_KEPT_SECRET_BYTES];

    begin(&s, "boot-1");
    copy = copy_of(&s, xl_kept_room(), WALL, MONO);
    is_u64(copy.length, sizeof(xl_kept_t), "of empty tables there is the secret");
    is_str(check(&copy), NULL, "... which is a good copy");
    xl_kept_secret(copy.body, told);
    ok(!memcmp(told, secret, sizeof(secret)), "... and says it");
    free(copy.body);

    lock_out(&s, 1, 5 * MINUTE);
    lock_out(&s, 2, 1);
    cell_of(&s.clients, 3, LOGIN, "nobody");
    use(&s, 4, QUOTA, 100);
    cell_of(&s.clients, 5, QUOTA, "nothing used");
    use(&s, 6, ZONED, 7);
    xl_mark_lock(&cell_of(&s.clients, 7, RATE, "a limit of another kind")->mark, MONO, MONO + MINUTE);
    xl_mark_lock(&cell_of(&s.clients, 8, 77, "an owner that is none")->mark, MONO, MONO + MINUTE);
    xl_mark_lock(&cell_of(&s.clients, 9, LOGIN | 1u << 28, "a part of an answer")->mark, MONO, MONO + MINUTE);
    xl_mark_lock(&cell_of(&s.zone, 10, LOGIN, "in another table")->mark, MONO, MONO + MINUTE);
    copy = copy_of(&s, xl_kept_room(), WALL, MONO);
    is_u64(copy.length / sizeof(xl_kept_t), 1 + 4, "two lock-outs, two usages");
    is_u64(copy.left_out, 0, "... and none is left out");
    is_str(check(&copy), NULL, "... which is a good copy");
    again = copy_of(&s, xl_kept_room(), WALL + 1000, MONO + 1);
    ok(again.length < copy.length, "a lock-out that is over is no longer there");
    free(copy.body);
    copy = copy_of(&s, xl_kept_room(), WALL + 2000, MONO + 2000);
    ok(copy.length == again.length && !memcmp(copy.body, again.body, copy.length),
       "nothing has changed: the same bytes, however much time has passed");
    free(copy.body);
    copy = copy_of(&s, xl_kept_room(), WALL + HOUR, MONO + 2000);
    is_u64(copy.length / sizeof(xl_kept_t), 1 + 1, "periods that are over are no longer there");
    free(copy.body);
    free(again.body);
    end(&s);
}

/* Locked out for five minutes, copied a minute later. */
static void test_moments(void)
{
    static const struct {
        const char *what, *boot;
        int64_t wall_ms; /* of the start, since the copy */
        int64_t mono_ms; /* likewise, or in another boot on its own clock */
        uint64_t left_ms;
    } t[] = {
        { "at once", "boot-1", 0, 0, 4 * MINUTE },
        { "a minute later", "boot-1", 60000, 60000, 3 * MINUTE },
        { "in the last millisecond", "boot-1", 239999, 239999, 1 },
        { "just over", "boot-1", 240000, 240000, 0 },
        { "the wall clock was set forward", "boot-1", 99 * HOUR, 60000, 3 * MINUTE },
        { "... and back", "boot-1", -99 * HOUR, 60000, 3 * MINUTE },
        { "a clock that began anew in what is called the same boot", "boot-1", 60000, -1000, 3 * MINUTE },
        { "another boot, a minute later", "boot-2", 60000, 5000, 3 * MINUTE },
        { "another boot, long after", "boot-2", 60000, INT64_C(1) << 40, 3 * MINUTE },
        { "another boot, just over", "boot-2", 240000, 5000, 0 },
        { "another boot, the wall clock is years ahead", "boot-2", 99999 * HOUR, 5000, 0 },
        { "another boot, the wall clock is behind", "boot-2", -99 * HOUR, 5000, 4 * MINUTE },
        { "another boot, the wall clock is at its beginning", "boot-2", 1 - WALL, 5000, 4 * MINUTE },
        { "a boot that nobody knows", "", 60000, 5000, 3 * MINUTE },
    };
    server_t from;
    copy_t copy;

    begin(&from, "boot-1");
    lock_out(&from, 1, 5 * MINUTE);
    copy = copy_of(&from, xl_kept_room(), WALL + 60000, MONO + MINUTE);
    for (size_t i = 0; i < COUNT(t); i++) {
        bool same = !strcmp(t[i].boot, "boot-1");
        xl_kept_moment_t now = { WALL + 60000 + t[i].wall_ms, (same ? MONO + MINUTE : 0) + (uint64_t)t[i].mono_ms };
        xl_kept_taken_t taken;
        server_t to;

        begin(&to, t[i].boot);
        taken = xl_kept_take(&to.scope, &copy.head, copy.body, now);
        is_u64(locked(&to, 1, now.mono_ms), t[i].left_ms, t[i].what);
        ok(taken.back == (t[i].left_ms > 0) && taken.over == !t[i].left_ms && !taken.strange && !taken.refused,
           "... and it says so");
        end(&to);
    }
    free(copy.body);
    end(&from);
}

static void test_usages(void)
{
    static const struct {
        const char *what;
        int64_t wall_ms; /* of the start, since the first use */
        uint64_t used;
    } t[] = {
        { "at once", 0, 100 },
        { "before the period ends", HOUR - 1, 100 },
        { "when it has ended", HOUR, 0 },
        { "the clock was set back", -HOUR, 100 },
        { "the clock was set far forward", 9999 * HOUR, 0 },
    };
    server_t from;
    copy_t copy;

    begin(&from, "boot-1");
    use(&from, 1, QUOTA, 100);
    use(&from, 1, ZONED, 100);
    copy = copy_of(&from, xl_kept_room(), WALL, MONO);
    for (size_t i = 0; i < COUNT(t); i++) {
        xl_kept_taken_t taken;
        server_t to;

        begin(&to, i % 2 ? "boot-1" : "boot-2");
        taken = xl_kept_take(&to.scope, &copy.head, copy.body, (xl_kept_moment_t){ WALL + t[i].wall_ms, 1000 });
        is_u64(used(&to.clients, 1, WALL + t[i].wall_ms), t[i].used, t[i].what);
        is_u64(used(&to.zone, 1, WALL + t[i].wall_ms), t[i].used, "... and of the zone");
        ok(taken.back == (t[i].used ? 2 : 0) && taken.back + taken.over == 2, "... and it says so");
        if (t[i].used) {
            xl_usage_add(&cell_of(&to.clients, 1, QUOTA, "key")->usage, &hour, 1, WALL + t[i].wall_ms);
            is_u64(used(&to.clients, 1, WALL + t[i].wall_ms), t[i].used + 1, "... and goes on from there");
        }
        end(&to);
    }
    free(copy.body);
    end(&from);
}

static void look_at_label(const server_t *s)
{
    xl_table_copy_t cell = { 0 };
    const xl_cell_t *at = look(&s->clients, 1);

    ok(at && xl_table_copy(&s->clients, (uint32_t)(at - s->clients.cell), &cell), "the key is there");
    is_str(cell.text, "192.0.2.1", "... under its name");
    ok(cell.owner == LOGIN + 1 && !cell.pins && !cell.has_usage, "... of its limit, which is elsewhere; not pinned");
}

/* Limits are found by identity and tables by name. */
static void test_other_limits(void)
{
    server_t from, to;
    xl_kept_taken_t taken;
    copy_t copy;
    audit_t audit;
    uint64_t id[2];

    begin(&from, "boot-1");
    lock_out(&from, 1, 5 * MINUTE);
    use(&from, 2, QUOTA, 100);
    use(&from, 3, ZONED, 100);
    copy = copy_of(&from, xl_kept_room(), WALL, MONO);

    begin(&to, "boot-1");
    memcpy(id, xl_ledger_entry(&to.ledger, 0)->id, sizeof(id));
    memcpy(xl_ledger_entry(&to.ledger, 0)->id, xl_ledger_entry(&to.ledger, 1)->id, sizeof(id));
    memcpy(xl_ledger_entry(&to.ledger, 1)->id, id, sizeof(id));
    to.limits[QUOTA] = to.limits[LOGIN];
    to.limits[LOGIN] = (xl_kept_limit_t){ XL_KEPT_USED, 0, &hour };
    taken = xl_kept_take(&to.scope, &copy.head, copy.body, (xl_kept_moment_t){ WALL, MONO });
    is_u64(taken.back, 3, "limits that have other indexes are found");
    is_u64(locked(&to, 1, MONO), 5 * MINUTE, "... by their identity");
    look_at_label(&to);
    audit = audit_table(&to.clients);
    is_u64(faults_of(&audit), 0, "... and the table is sound");
    taken = xl_kept_take(&to.scope, &copy.head, copy.body, (xl_kept_moment_t){ WALL, MONO });
    ok(!taken.back && taken.refused == 3, "what is there already is not put back again");
    end(&to);

    begin(&to, "boot-1");
    to.limits[LOGIN].kind = XL_KEPT_NOTHING;
    to.limits[QUOTA].kind = XL_KEPT_LOCKED;
    to.tables[1].name = 23;
    taken = xl_kept_take(&to.scope, &copy.head, copy.body, (xl_kept_moment_t){ WALL, MONO });
    ok(taken.strange == 3 && !taken.back, "a limit that is gone, one of another kind, a zone of another name");
    to.tables[0].table = NULL;
    to.limits[QUOTA] = (xl_kept_limit_t){ XL_KEPT_USED, 0, &hour };
    to.limits[ZONED].table = 99;
    taken = xl_kept_take(&to.scope, &copy.head, copy.body, (xl_kept_moment_t){ WALL, MONO });
    ok(taken.strange == 3 && !taken.back, "tables that are not there");
    to.scope.n_limits = 0;
    to.scope.n_tables = 0;
    taken = xl_kept_take(&to.scope, &copy.head, copy.body, (xl_kept_moment_t){ WALL, MONO });
    ok(taken.strange == 3 && !taken.back, "nothing is configured");
    free(copy.body);
    end(&to);
    end(&from);
}

/* More than a copy has room for, and more than a table has. */
static void test_flood(void)
{
    server_t from, to;
    copy_t copy;
    xl_kept_taken_t taken;
    uint32_t i, kept = 0;

    begin(&from, "boot-1");
    for (i = 0; i < 60; i++)
        use(&from, 1000 + i, QUOTA, 1);
    for (i = 0; i < 30; i++)
        lock_out(&from, i, MINUTE);
    copy = copy_of(&from, 41 * sizeof(xl_kept_t), WALL, MONO);
    ok(copy.length == 41 * sizeof(xl_kept_t) && copy.left_out == 50, "a copy that is full says how many it leaves out");
    is_str(check(&copy), NULL, "... and is good");
    begin(&to, "boot-1");
    taken = xl_kept_take(&to.scope, &copy.head, copy.body, (xl_kept_moment_t){ WALL, MONO });
    is_u64(taken.back, 40, "... and all of it comes back");
    for (i = 0; i < 30; i++)
        kept += locked(&to, i, MONO) == MINUTE;
    is_u64(kept, 30, "... lock-outs before usages");
    free(copy.body);
    copy = copy_of(&from, 11 * sizeof(xl_kept_t), WALL, MONO);
    ok(copy.length == 11 * sizeof(xl_kept_t) && copy.left_out == 80, "of lock-outs, too, no more than have room");
    free(copy.body);
    copy = copy_of(&from, sizeof(xl_kept_t), WALL, MONO);
    ok(copy.length == sizeof(xl_kept_t) && copy.left_out == 90, "room for the secret alone");
    free(copy.body);
    copy = copy_of(&from, 10, WALL, MONO);
    ok(copy.length > 10, "no room at all");
    free(copy.body);
    end(&to);

    copy = copy_of(&from, xl_kept_room(), WALL, MONO);
    begin(&to, "boot-1");
    discard(&to.clients, CELLS);
    to.clients = make_table(1, ROWS, PINS, &lock); /* one set in each stripe */
    taken = xl_kept_take(&to.scope, &copy.head, copy.body, (xl_kept_moment_t){ WALL, MONO });
    ok(taken.back + taken.refused == 90 && taken.back >= 30, "a smaller table takes what has room: %u", taken.back);
    free(copy.body);
    discard(&to.clients, 1);
    free(to.ledger.base);
    discard(&to.zone, CELLS);
    end(&from);
}

/* More than XL_KEPT_MOST. */
static void test_most(void)
{
    server_t s;
    copy_t copy;
    uint32_t i, n = XL_KEPT_MOST + 1000;

    begin(&s, "boot-1");
    discard(&s.clients, CELLS);
    s.clients = make_table(4 * XL_KEPT_MOST, ROWS, PINS, &lock);
    for (i = 0; i < n; i++)
        lock_out(&s, i, MINUTE);
    copy = copy_of(&s, xl_kept_room(), WALL, MONO);
    is_u64(copy.length / sizeof(xl_kept_t), 1 + XL_KEPT_MOST, "a flood fills the copy");
    is_u64(copy.left_out, 1000, "... and no more");
    is_str(check(&copy), NULL, "... which is good");
    free(copy.body);
    discard(&s.clients, 4 * XL_KEPT_MOST);
    free(s.ledger.base);
    discard(&s.zone, CELLS);
}

/* Bodies with a right checksum that hold what is no record. */
static void test_bodies(void)
{
    static const struct {
        const char *what;
        size_t record, at;
        uint64_t value;
        size_t bytes;
    } t[] = {
        { "no secret", 0, offsetof(xl_kept_t, kind), XL_KEPT_LOCKED, 4 },
        { "a second secret", 1, offsetof(xl_kept_t, kind), XL_KEPT_SECRET, 4 },
        { "a record of no kind", 1, offsetof(xl_kept_t, kind), XL_KEPT_NOTHING, 4 },
        { "a record of an unknown kind", 1, offsetof(xl_kept_t, kind), 77, 4 },
        { "a lock-out without an end", 1, offsetof(xl_kept_t, word), 0, 8 },
        { "a lock-out of an absurd end", 1, offsetof(xl_kept_t, word), UINT64_MAX, 8 },
        { "a usage of no period", 2, offsetof(xl_kept_t, word), 0, 8 },
    };
    server_t s;
    copy_t copy;
    unsigned char was[8];

    begin(&s, "boot-1");
    lock_out(&s, 1, MINUTE);
    use(&s, 2, QUOTA, 1);
    copy = copy_of(&s, xl_kept_room(), WALL, MONO);
    is_str(check(&copy), NULL, "a good copy");
    for (size_t i = 0; i < COUNT(t); i++) {
        unsigned char *at = copy.body + t[i].record * sizeof(xl_kept_t) + t[i].at;

        memcpy(was, at, t[i].bytes);
        memcpy(at, &t[i].value, t[i].bytes);
        ok(check(&copy) != NULL, "a spoilt body is refused");
        xl_image_seal(&copy.head, 0, xl_kept_room(), copy.body, copy.length, 1);
        ok(check(&copy) != NULL, "%s is refused", t[i].what);
        memcpy(at, was, t[i].bytes);
    }
    xl_image_seal(&copy.head, 0, xl_kept_room(), copy.body, 0, 1);
    ok(check(&copy) != NULL, "a body of nothing is refused");
    xl_image_sign(&copy.head, &xl_image_counters, &s.ledger, 1, WALL, MONO);
    xl_image_seal(&copy.head, 0, xl_kept_room(), copy.body, copy.length, 1);
    is_str(check(&copy), "not a copy of keys of xlimit (magic)", "a copy of counters is not one of keys");
    free(copy.body);
    end(&s);
}

int main(void)
{
    test_body();
    test_moments();
    test_usages();
    test_other_limits();
    test_flood();
    test_most();
    test_bodies();
    return done_testing();
}
