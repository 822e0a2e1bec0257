/* SPDX-License-Identifier: Apache-2.0
 *
 * The table under every turn of events that two processes and two kills can
 * make of it. Before each atomic access its code asks a director; operations
 * run as coroutines, and he
 *
 *   - never lets one go on after its k-th access, as if its process had been
 *     killed there, lets another do the repair, kills him at his l-th access,
 *     and has everything repaired and audited then; or
 *   - lets one go on to its k-th access, another to his l-th, then both to
 *     their ends
 *
 * for all k and l that there are.
 */
#include "table_access.h"
#include "tap.h"

#include <ucontext.h>

/* ---- the director ------------------------------------------------------ */

#define STACK_BYTES 65536u
#define TURNS_MAX 2000u /* of one operation */

typedef void operation_t(void);

typedef struct {
    ucontext_t context;
    operation_t *operation;
    bool done;
    unsigned char stack[STACK_BYTES];
} party_t;

static party_t parties[2], *playing;
static ucontext_t director;
static unsigned turns_left; /* 0: as many as it takes */

static void turn(void)
{
    party_t *me = playing;

    if (!me || !turns_left || --turns_left)
        return;
    playing = NULL;
    swapcontext(&me->context, &director);
}

static void play(void)
{
    party_t *me = playing;

    me->operation();
    me->done = true;
    playing = NULL;
}

static void enter(party_t *party, operation_t *operation)
{
    party->done = false;
    party->operation = operation;
    getcontext(&party->context);
    party->context.uc_stack.ss_sp = party->stack;
    party->context.uc_stack.ss_size = sizeof(party->stack);
    party->context.uc_link = &director;
    makecontext(&party->context, play, 0);
}

/* Lets it go on to its n-th access from here, 0: to its end or until it has to
 * wait. false: one of these came before. */
static bool let(party_t *party, unsigned n)
{
    if (party->done)
        return false;
    playing = party;
    turns_left = n;
    swapcontext(&director, &party->context);
    return n && !party->done && !turns_left;
}

/* Who has to wait gives the turn away until the lock is free. */
static lock_log_t log_;

static bool wait_for_lock(void *context, unsigned stripe)
{
    while (log_.held && playing) {
        party_t *me = playing;

        playing = NULL;
        swapcontext(&me->context, &director);
    }
    return log_lock(context, stripe);
}

static const xl_table_lock_t lock = { wait_for_lock, log_unlock, &log_ };

/* ---- tables and what is done on them ---------------------------------- */

#define ROWS 4u
#define PINS 8u
#define CELLS 512u /* four sets in each stripe */
#define FULL 16u   /* keys that fill two sets */
#define STRIPE 7u
#define T0 UINT64_C(1000000)

static xl_table_t table;

/* Key n, which belongs into the first two of the stripe's sets, or into the others. */
static fingerprint_t placed_key(uint32_t n, bool others)
{
    return (fingerprint_t){ { (uint64_t)STRIPE << 60 | (others ? UINT64_C(1) << 31 : 0), n + 1 } };
}

static xl_pin_t pin(uint32_t row, uint32_t n, uint64_t now_ms)
{
    return pin_named(&table, row, placed_key(n, false), "a key", now_ms);
}

static void unpin_first(uint32_t row)
{
    xl_table_unpin(&table, row, (xl_pin_t){ (uint32_t)table.entry[row * PINS], 0 });
}

static void come_and_go(uint32_t row, uint32_t n, uint64_t now_ms)
{
    xl_table_unpin(&table, row, pin(row, n, now_ms));
}

static void pin_new(void)
{
    pin(0, 100, T0 + 5000);
}

static void pin_old(void)
{
    pin(0, 0, T0 + 5000);
}

static void unpin_old(void)
{
    unpin_first(0);
}

static void settle_0(void)
{
    xl_table_settle(&table, 0);
}

/* So that as many hold it as before. */
static void trade_1_for_3(void)
{
    pin(1, 0, T0 + 5000);
    unpin_first(3);
}

static void settle_2(void)
{
    xl_table_settle(&table, 2);
}

static void pin_new_1(void)
{
    pin(1, 100, T0 + 5000);
}

static void pin_old_1(void)
{
    pin(1, 0, T0 + 5000);
}

static void unpin_old_1(void)
{
    unpin_first(1);
}

static void come_and_go_1(void)
{
    come_and_go(1, 0, T0 + 5000);
}

/* What whoever comes after a killed process does, in row 2. */
static void recover(void)
{
    xl_table_settle(&table, 0);
    come_and_go(2, 1, T0 + 6000);
    come_and_go(2, 200, T0 + 6000);
}

/* Keys 0, 1, ... of the stripe, each younger than the one before, with 10 bytes and 1 request. */
static void prepare(uint32_t keys)
{
    uint32_t i;

    memset(table.base, 0, xl_table_size(CELLS, ROWS, PINS));
    log_ = (lock_log_t){ 0 };
    table.next_pin = 0;
    for (i = 0; i < keys; i++) {
        xl_pin_t got = pin(3, i, T0 + 256 * i);

        table.cell[got.cell].bytes = 10;
        table.cell[got.cell].requests = 1;
        xl_table_unpin(&table, 3, got);
    }
}

static void prepare_room(void)
{
    prepare(FULL - 2);
}

static void prepare_full(void)
{
    prepare(FULL);
}

static void prepare_held(void)
{
    prepare(FULL);
    pin_old();
    pin(0, 3, T0 + 5000);
    pin_old();
    pin_old_1();
}

static uint32_t pins_on(uint32_t n)
{
    uint32_t i;

    for (i = 0; i < CELLS; i++)
        if (!memcmp(table.cell[i].id, placed_key(n, false).id, sizeof(fingerprint_t)))
            return xl_cell_pins(&table.cell[i]);
    return 0;
}

/* Of two dead rows the first may wait for the second. */
static bool settle_both(void)
{
    return xl_table_settle(&table, 0) ? xl_table_settle(&table, 2)
                                      : xl_table_settle(&table, 2) && xl_table_settle(&table, 0);
}

static bool is_sound(uint64_t bytes, uint64_t requests)
{
    audit_t audit = audit_table(&table);

    print_faults(&audit);
    return !faults_of(&audit) && audit.bytes == bytes && audit.requests == requests && !log_.held;
}

/* ---- killed, and killed in the repair ---------------------------------- */

static const struct {
    const char *what;
    void (*prepare)(void);
    operation_t *operation;
    uint64_t keys;
    uint32_t pins; /* of key 0 in the end */
} kills[] = {
    { "putting a key into a free cell", prepare_room, pin_new, FULL - 2, 0 },
    { "putting a key in where another goes", prepare_full, pin_new, FULL, 0 },
    { "pinning a key that is there", prepare_full, pin_old, FULL, 0 },
    { "pinning it once more", prepare_held, pin_old, FULL, 1 },
    { "unpinning", prepare_held, unpin_old, FULL, 1 },
    { "settling", prepare_held, settle_0, FULL, 1 },
};

typedef struct {
    unsigned runs, faults;
    bool first, second; /* were stopped at the access where they should be, the last time */
} tally_t;

static void kill_both(size_t i, unsigned k, unsigned l, tally_t *tally)
{
    kills[i].prepare();
    enter(&parties[0], kills[i].operation);
    enter(&parties[1], recover);
    tally->first = let(&parties[0], k);
    log_.held = 0; /* it goes to the next one */
    tally->second = let(&parties[1], l);
    log_.held = 0;
    tally->faults += !settle_both();
    xl_table_unpin(&table, 1, pin_named(&table, 1, placed_key(300, true), "elsewhere", T0 + 7000));
    tally->faults += !is_sound(10 * kills[i].keys, kills[i].keys) || pins_on(0) != kills[i].pins;
    tally->runs++;
}

/* For every k, and for each of them every l. Returns how many k there were. */
static unsigned every_turn(void run(size_t i, unsigned k, unsigned l, tally_t *tally), size_t i, tally_t *tally)
{
    unsigned k, l;

    *tally = (tally_t){ .first = true };
    for (k = 1; tally->first && k < TURNS_MAX; k++) {
        tally->second = true;
        for (l = 1; tally->second && l < TURNS_MAX; l++)
            run(i, k, l, tally);
    }
    return k;
}

static void test_kills(void)
{
    tally_t tally;
    size_t i;

    for (i = 0; i < sizeof(kills) / sizeof(*kills); i++) {
        unsigned k = every_turn(kill_both, i, &tally);

        ok(k > 5 && k < TURNS_MAX && tally.runs > 20 * k, "killed while %s, at %u accesses, and in the repair: %u runs",
           kills[i].what, k, tally.runs);
        is_u64(tally.faults, 0, "all is there, once, and nobody has what he has not");
    }
}

/* ---- two at a time ------------------------------------------------------ */

/* What row 2, which is dead, was killed in with key 0, and whether that is
 * counted; rows 0 and 1 hold key 0 once each. */
static const struct {
    xl_pin_e state;
    uint32_t counted;
} deaths[] = { { XL_PIN_HELD, 1 }, { XL_PIN_LEAVING, 1 }, { XL_PIN_LEAVING, 0 }, { XL_PIN_INTENT, 1 } };
#define DEATHS (sizeof(deaths) / sizeof(*deaths))

static size_t death;

static void prepare_dead(void)
{
    uint32_t cell;

    prepare(FULL);
    pin_old();
    pin_old_1();
    cell = (uint32_t)table.entry[0];
    table.top[2] = 1;
    table.entry[2 * PINS] = xl_pin_word(deaths[death].state, cell);
    table.cell[cell].control += deaths[death].counted;
}

/* Row 3 holds it, too. */
static void prepare_third(void)
{
    prepare_dead();
    pin(3, 0, T0 + 5000);
}

/* Row 0 is dead as well, killed while it left. */
static void prepare_two_dead(void)
{
    prepare_dead();
    table.entry[0] = xl_pin_word(XL_PIN_LEAVING, (uint32_t)table.entry[0]);
}

static const struct {
    const char *what;
    void (*prepare)(void);
    operation_t *first, *second;
    uint32_t least, most; /* pins of key 0 in the end */
} meetings[] = {
    { "a pin and a settling", prepare_dead, pin_old, settle_2, 3, 3 },
    { "an unpin and a settling", prepare_dead, unpin_old, settle_2, 1, 1 },
    { "a settling and a pin", prepare_dead, settle_2, pin_old_1, 3, 3 },
    { "a settling and an unpin", prepare_dead, settle_2, unpin_old_1, 1, 1 },
    { "a settling and one that comes and goes", prepare_dead, settle_2, come_and_go_1, 2, 2 },
    { "a settling and one that comes as another goes", prepare_third, settle_2, trade_1_for_3, 3, 3 },
    { "two settlings of one row", prepare_dead, settle_2, settle_2, 2, 2 },
    { "two settlings of two rows", prepare_two_dead, settle_2, settle_0, 1, 1 },
    { "two settlings of two rows, the other way round", prepare_two_dead, settle_0, settle_2, 1, 1 },
    { "a pin and an unpin", prepare_dead, pin_old, unpin_old_1, 2, 2 },
    { "a new key and a pin of the oldest", prepare_full, pin_new, pin_old_1, 1, 1 },
    { "a pin of the oldest and a new key", prepare_full, pin_old, pin_new_1, 1, 1 },
    { "a new key twice", prepare_full, pin_new, pin_new_1, 0, 0 },
    { "two threads of one row", prepare_full, pin_old, pin_old, 2, 2 },
    { "a new key by two threads of one row", prepare_room, pin_new, pin_new, 0, 0 },
    { "a new key and an unpin of the oldest", prepare_dead, pin_new, unpin_old_1, 1, 1 },
};

static void meet(size_t i, unsigned k, unsigned l, tally_t *tally)
{
    uint64_t keys = meetings[i].prepare == prepare_room ? FULL - 2 : FULL;
    uint32_t pins;
    unsigned n;

    meetings[i].prepare();
    enter(&parties[0], meetings[i].first);
    enter(&parties[1], meetings[i].second);
    tally->first = let(&parties[0], k);
    tally->second = let(&parties[1], l);
    for (n = 0; n < 20 && !(parties[0].done && parties[1].done); n++) {
        let(&parties[0], 0);
        let(&parties[1], 0);
    }
    tally->faults += n == 20;
    tally->faults += !(meetings[i].prepare == prepare_two_dead ? settle_both() : xl_table_settle(&table, 2));
    pins = pins_on(0);
    tally->faults += !is_sound(10 * keys, keys) || pins < meetings[i].least || pins > meetings[i].most;
    tally->runs++;
}

static void test_meeting(size_t i)
{
    tally_t tally;
    unsigned k = every_turn(meet, i, &tally);

    ok(k < TURNS_MAX && tally.runs > 40, "%s (%u): %u runs", meetings[i].what, (unsigned)death, tally.runs);
    is_u64(tally.faults, 0, "all is there, once, and pinned by those who live");
}

static void test_meetings(void)
{
    size_t i;

    for (i = 0; i < sizeof(meetings) / sizeof(*meetings); i++)
        for (death = 0; death < (meetings[i].prepare == prepare_dead || meetings[i].prepare == prepare_third ? DEATHS : 1); death++)
            test_meeting(i);
}

int main(void)
{
    table = make_table(CELLS, ROWS, PINS, &lock);
    test_kills();
    test_meetings();
    return done_testing();
}
