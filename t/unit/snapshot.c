/* SPDX-License-Identifier: Apache-2.0
 *
 * What is worked out from the rows of a snapshot: projections, percentages,
 * states and sums; order, filter and cut; the words for what a limit is.
 */
#include "tap.h"

#include "xl_snapshot.h"

/* ---- derived numbers ----------------------------------------------------- */

static void check_projection(void)
{
    static const struct {
        uint64_t used, start, end, now, want;
        const char *what;
    } cases[] = {
        { 50, 1000, 2000, 1500, 100, "half the period, twice as much" },
        { 50, 1000, 2000, 1010, 5000, "a hundredth of it" },
        { 50, 1000, 2000, 1009, XL_ABSENT, "too early to say" },
        { 50, 1000, 2000, 1000, XL_ABSENT, "at its start" },
        { 50, 1000, 2000, 2000, XL_ABSENT, "at its end" },
        { 50, 1000, 2000, 900, XL_ABSENT, "the clock before the start" },
        { 50, 2000, 1000, 1500, XL_ABSENT, "a period turned round" },
        { 50, XL_ABSENT, XL_ABSENT, 1500, XL_ABSENT, "no period yet" },
        { INT64_MAX, 1000, 2000, 1500, INT64_MAX, "more than can be" },
    };
    size_t i;

    for (i = 0; i < sizeof cases / sizeof *cases; i++)
        is_u64(xl_snapshot_project(cases[i].used, cases[i].start, cases[i].end, cases[i].now), cases[i].want,
               cases[i].what);
}

static void check_states(void)
{
    static const struct {
        uint64_t used, amount, released, refusing;
        const char *state;
        uint64_t percent, left;
    } cases[] = {
        { 0, 1000, XL_ABSENT, XL_ABSENT, "ok", 0, 1000 },
        { 799, 1000, XL_ABSENT, XL_ABSENT, "ok", 799, 201 },
        { 800, 1000, XL_ABSENT, XL_ABSENT, "warned", 800, 200 },
        { 9999, 10000, XL_ABSENT, XL_ABSENT, "warned", 999, 1 },
        { 1000, 1000, XL_ABSENT, XL_ABSENT, "exceeded", 1000, 0 },
        { 5000, 1000, XL_ABSENT, XL_ABSENT, "exceeded", 5000, 0 },
        { 300, 1000, 300, XL_ABSENT, "exceeded", 300, 0 },
        { 299, 1000, 300, XL_ABSENT, "ok", 299, 1 },
        { 10, 1000, XL_ABSENT, 99, "exceeded", 10, 990 },
        { INT64_MAX, INT64_MAX, XL_ABSENT, XL_ABSENT, "exceeded", 1000, 0 },
        { XL_ABSENT, XL_ABSENT, XL_ABSENT, XL_ABSENT, "ok", XL_ABSENT, XL_ABSENT },
        { 7, XL_ABSENT, XL_ABSENT, XL_ABSENT, "ok", XL_ABSENT, XL_ABSENT },
    };
    xl_snap_server_t server = { .generated_s = 1500 };
    xl_snap_vhost_t vhost = { .vhost = "a:80", .requests = 3, .sent_bytes = 5, .active = 7 };
    xl_snap_limit_t limits[sizeof cases / sizeof *cases];
    xl_snapshot_t s = { { { &server, 1 }, { &vhost, 1 }, { limits, sizeof cases / sizeof *cases }, { NULL, 0 } } };
    size_t i;

    for (i = 0; i < sizeof cases / sizeof *cases; i++)
        limits[i] = (xl_snap_limit_t){ .used = cases[i].used, .amount = cases[i].amount, .released = cases[i].released,
                                       .refusing_since_s = cases[i].refusing, .period_start_s = XL_ABSENT,
                                       .period_end_s = XL_ABSENT, .warn_least = 80, .account_row = XL_ABSENT,
                                       .vhost_row = i % 2 ? XL_ABSENT : 0 };
    xl_snapshot_derive(&s);
    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        is_str(limits[i].state, cases[i].state, "state");
        is_u64(limits[i].percent, cases[i].percent, "percent, in tenths");
        is_u64(limits[i].left, cases[i].left, "left");
    }
    is_u64(server.exceeded, 5, "sum of exceeded");
    is_u64(server.warned, 2, "sum of warned");
    is_u64(server.requests + server.sent_bytes + server.active, 15, "sums of the hosts");
    is_u64(vhost.refusing, 1, "limits of the host that refuse");
}

/* Of connections of all, what is active is what is used. */
static void check_at_once(void)
{
    xl_snap_server_t server = { .generated_s = 1500 };
    xl_snap_limit_t limit = { .used = XL_ABSENT, .amount = 8, .active = 2, .released = XL_ABSENT, .at_once = true,
                              .in_requests = true, .refusing_since_s = XL_ABSENT, .warn_least = XL_ABSENT };
    xl_snapshot_t s = { { [XL_SHEET_SERVER] = { &server, 1 }, [XL_SHEET_LIMITS] = { &limit, 1 } } };

    xl_snapshot_derive(&s);
    is_u64(limit.percent, 250, "two of eight are a quarter");
    is_u64(limit.left, 6, "six may come");
    is_str(limit.unit, "requests", "... requests");
    is_u64(limit.projected, XL_ABSENT, "which end is not foreseen");
    limit.active = 8;
    xl_snapshot_derive(&s);
    is_str(limit.state, "exceeded", "eight of eight");
    limit.at_once = false;
    xl_snapshot_derive(&s);
    is_u64(limit.percent, XL_ABSENT, "of a key's limit the sum over all keys says nothing");
    is_str(limit.state, "ok", "... about any of them");
}

static void check_accounts(void)
{
    xl_snap_server_t server = { .generated_s = 1500 };
    xl_snap_vhost_t v[] = {
        { .requests = 1, .sent_bytes = 10, .active = 100, .account_row = 1 },
        { .requests = 2, .sent_bytes = 20, .active = 200, .account_row = XL_ABSENT },
        { .requests = 4, .sent_bytes = 40, .active = 400, .account_row = 1 },
    };
    xl_snap_account_t a[] = { { .name = "idle", .hosts = 9 }, { .name = "acme" } };
    xl_snap_limit_t l[4];
    xl_snapshot_t s = { { [XL_SHEET_SERVER] = { &server, 1 }, [XL_SHEET_VHOSTS] = { v, 3 },
                          [XL_SHEET_LIMITS] = { l, 4 }, [XL_SHEET_ACCOUNTS] = { a, 2 } } };
    size_t i;

    for (i = 0; i < 4; i++) /* of host 0 and 1, of the account, and of all: the last one does not refuse */
        l[i] = (xl_snap_limit_t){ .used = XL_ABSENT, .amount = XL_ABSENT, .refusing_since_s = i < 3 ? 7 : XL_ABSENT,
                                  .vhost_row = i < 2 ? i : XL_ABSENT, .account_row = i == 2 ? 1 : XL_ABSENT };
    xl_snapshot_derive(&s);
    is_u64(a[1].hosts * 1000 + a[1].requests, 2005, "hosts and requests of the account");
    is_u64(a[1].sent_bytes + a[1].active, 550, "what they sent, who is active");
    is_u64(a[1].refusing, 2, "a limit of its host and one of its own refuse");
    is_u64(a[0].hosts + a[0].requests + a[0].refusing, 0, "one without hosts");
    is_u64(v[0].refusing * 100 + v[1].refusing * 10 + v[2].refusing, 110, "the hosts' own");
}

static void check_clients(void)
{
    static const struct {
        uint64_t used, amount, active, percent;
        bool in_requests, over;
        const char *state, *unit, *what;
    } cases[] = {
        { 500, 1000, 3, 500, false, false, "ok", "bytes", "a quota of bytes" },
        { 1000, 1000, 0, 1000, true, false, "exceeded", "requests", "a quota that is used up" },
        { 300, 1000, 0, 300, false, true, "exceeded", "bytes", "one whose slices are" },
        { XL_ABSENT, 4, 3, 750, true, false, "ok", "requests", "three of four at once" },
        { XL_ABSENT, 4, 4, 1000, true, false, "exceeded", "requests", "four of four" },
        { XL_ABSENT, XL_ABSENT, 9, XL_ABSENT, false, false, "ok", NULL, "a bandwidth" },
        { XL_ABSENT, XL_ABSENT, 0, XL_ABSENT, false, true, "exceeded", NULL, "one who is locked out" },
    };
    size_t i;

    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        xl_snap_client_t c = { .used = cases[i].used, .amount = cases[i].amount, .active = cases[i].active,
                               .in_requests = cases[i].in_requests, .over = cases[i].over };

        xl_snapshot_derive_client(&c);
        is_str(c.state, cases[i].state, cases[i].what);
        is_u64(c.percent, cases[i].percent, "... its percentage");
        ok(c.unit == cases[i].unit || (c.unit && cases[i].unit && !strcmp(c.unit, cases[i].unit)), "... its unit");
    }
}

/* ---- filter and order ---------------------------------------------------- */

static const char *order_of(xl_snap_vhost_t *vhosts, const char *by, bool reverse)
{
    static char text[64];
    xl_snapshot_t s = { { { NULL, 0 }, { vhosts, 6 }, { NULL, 0 }, { NULL, 0 } } };
    size_t i;

    text[0] = '\0';
    xl_snapshot_sort(&s, by, reverse);
    for (i = 0; i < 6; i++)
        strncat(text, vhosts[i].vhost, 1);
    return text;
}

static void check_order(void)
{
    xl_snap_vhost_t v[] = {
        { .vhost = "d", .requests = 5 }, { .vhost = "b", .requests = 9 }, { .vhost = "F", .requests = 5 },
        { .vhost = "a", .requests = XL_ABSENT }, { .vhost = "C", .requests = 0 }, { .vhost = "e", .requests = 5 },
    };
    xl_snap_vhost_t many[1000];
    xl_snapshot_t s = { { { NULL, 0 }, { many, 1000 }, { NULL, 0 }, { NULL, 0 } } };
    size_t i, wrong = 0;

    is_str(order_of(v, "requests", false), "bdeFCa", "numbers from the largest, equal ones by name, absent last");
    is_str(order_of(v, "requests", true), "CdeFba", "turned round, absent still last");
    is_str(order_of(v, "vhost", false), "abCdeF", "texts from A on, whatever the case");
    is_str(order_of(v, "VHOST", true), "FedCba", "turned round");
    is_str(order_of(v, "nothing", false), "FedCba", "an unknown field changes nothing");
    for (i = 0; i < 1000; i++)
        many[i] = (xl_snap_vhost_t){ .vhost = "x", .requests = i * 7919 % 1000 };
    xl_snapshot_sort(&s, "requests", false);
    for (i = 0; i < 1000; i++)
        wrong += many[i].requests != 999 - i;
    is_u64(wrong, 0, "a thousand rows");
    xl_snapshot_top(&s, 3);
    is_u64(s.tables[XL_SHEET_VHOSTS].n, 3, "top=3");
    is_u64(many[2].requests, 997, "are the first three");
}

static void check_filter(void)
{
    xl_snap_vhost_t v[] = {
        { .vhost = "www.Example.org:80" }, { .vhost = "other:443" }, { .vhost = "example.com:80" }
    };
    xl_snap_limit_t l[] = { { .vhost = NULL, .name = "shared" }, { .vhost = "EXAMPLE.org:80", .name = "own" } };
    xl_snapshot_t s = { { { NULL, 0 }, { v, 3 }, { l, 2 }, { NULL, 0 } } };

    xl_snapshot_filter(&s, "example.");
    is_u64(s.tables[XL_SHEET_VHOSTS].n, 2, "two hosts contain it");
    is_str(v[1].vhost, "example.com:80", "in their order");
    is_u64(s.tables[XL_SHEET_LIMITS].n, 1, "one limit is of such a host");
    is_str(l[0].name, "own", "the one with a host");
    xl_snapshot_filter(&s, "nowhere");
    is_u64(s.tables[XL_SHEET_VHOSTS].n, 0, "none contains it");
}

static void check_filter_of_keys(void)
{
    xl_snap_client_t c[] = { { .key = "192.0.2.7", .vhost = "a:80" }, { .key = "Mallory", .vhost = "b:80" },
                             { .key = "x", .vhost = NULL } };
    xl_snap_zone_t z[] = { { .name = "apikey" }, { .name = "visit" } };
    xl_snap_account_t a[] = { { .name = "acme" }, { .name = "globex" } };
    xl_snap_setting_t t[] = { { .name = "XLimitMemory" } };
    xl_snapshot_t s = { { [XL_SHEET_CLIENTS] = { c, 3 }, [XL_SHEET_ZONES] = { z, 2 }, [XL_SHEET_ACCOUNTS] = { a, 2 },
                          [XL_SHEET_SETTINGS] = { t, 1 } } };

    ok(xl_snapshot_matches(XL_SHEET_CLIENTS, &c[0], "A:8"), "a client by host");
    ok(xl_snapshot_matches(XL_SHEET_CLIENTS, &c[0], "192.0.2."), "... by key");
    ok(!xl_snapshot_matches(XL_SHEET_CLIENTS, &c[2], "a:8"), "not one of no host");
    xl_snapshot_filter(&s, "m");
    is_u64(s.tables[XL_SHEET_CLIENTS].n, 1, "one client");
    is_str(c[0].key, "Mallory", "... the right one");
    is_u64(s.tables[XL_SHEET_ACCOUNTS].n * 10 + s.tables[XL_SHEET_ZONES].n, 10, "accounts and zones by their names");
    is_u64(s.tables[XL_SHEET_SETTINGS].n, 1, "settings stay");
}

/* ---- words --------------------------------------------------------------- */

static void check_words(void)
{
    is_str(xl_snapshot_dimension(XL_DIM_QUOTA), "quota", "a quota");
    is_str(xl_snapshot_dimension(XL_DIM_BANDWIDTH), "bandwidth", "a bandwidth");
    is_str(xl_snapshot_dimension(XL_DIM_UPLOAD), "upload", "an upload");
    is_str(xl_snapshot_key(XL_KEY_ALL), "all", "of all");
    is_str(xl_snapshot_key(XL_KEY_CLIENT), "client", "of a client");
    is_str(xl_snapshot_key(XL_KEY_SESSION), "session", "of a session");
    is_str(xl_snapshot_mode(XL_MODE_DRY_RUN), "dry-run", "in dry run");
}

/* What makes no sense in a row is absent, and the schema must not ask for it. */
static void check_absent(void)
{
    xl_snap_server_t server = { .keys_used = XL_ABSENT };
    xl_snap_vhost_t vhost = { .vhost = "a:80" };
    xl_snap_limit_t limit = { .name = "a" };
    const xl_field_t *keys = xl_field_find(XL_SHEET_SERVER, "keys_used");
    const xl_field_t *account = xl_field_find(XL_SHEET_VHOSTS, "account");
    const xl_field_t *class = xl_field_find(XL_SHEET_LIMITS, "class");

    ok(keys && !xl_field_present(keys, &server) && (keys->show & XL_SHOW_MAYBE), "keys_used without a table");
    ok(account && !xl_field_present(account, &vhost) && (account->show & XL_SHOW_MAYBE), "a host without account");
    vhost.account = "acme";
    ok(account && xl_field_present(account, &vhost), "a host with one");
    ok(class && !xl_field_present(class, &limit), "a limit of every class");
    limit.class = "!office";
    ok(class && xl_field_present(class, &limit), "a limit of one");
    is_str(class ? xl_field_text(class, &limit) : NULL, "!office", "... as it is written");
    ok(!(xl_field_find(XL_SHEET_VHOSTS, "vhost")->show & XL_SHOW_MAYBE), "no host without a name");
}

int main(void)
{
    check_projection();
    check_states();
    check_at_once();
    check_accounts();
    check_clients();
    check_order();
    check_filter();
    check_filter_of_keys();
    check_words();
    check_absent();
    return done_testing();
}
