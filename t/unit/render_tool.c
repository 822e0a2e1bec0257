/* SPDX-License-Identifier: Apache-2.0
 *
 * Prints what programs other than ours are to judge, on standard output:
 *
 *     render_tool html|xml|json|auto [view]   a snapshot of hostile texts
 *     render_tool sample [view]               HTML of a snapshot as it should be seen
 *     render_tool schema                      the XML Schema of the XML
 *     render_tool fields                      the tables of docs/status.md
 *     render_tool policy                      the Content-Security-Policy
 *
 * t/40-status-formats.t runs it; it is no test by itself.
 */
#include "hostile.h"

#include "xl_out.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static int to_stdout(void *ctx, const char *data, size_t length)
{
    (void)ctx;
    return fwrite(data, 1, length, stdout) != length;
}

static const xl_sink_t sink = { to_stdout, NULL };

static xl_snap_limit_t quota(const char *vhost, uint64_t row, const char *name, uint64_t used, uint64_t amount)
{
    return (xl_snap_limit_t){
        .name = name, .vhost = vhost, .dimension = "quota", .key = "all", .mode = "enforce",
        .used = used, .amount = amount, .released = XL_ABSENT, .previous = amount / 3 * 2,
        .period = "month", .period_start_s = 1761955200, .period_end_s = 1764547200,
        .slice_s = XL_ABSENT, .warn = "80,95", .burst_bytes = XL_ABSENT, .after_bytes = XL_ABSENT,
        .active = XL_ABSENT, .requests = XL_ABSENT, .bytes = XL_ABSENT, .refusing_since_s = XL_ABSENT,
        .suppressed = XL_ABSENT, .refused = XL_ABSENT, .would_refuse = XL_ABSENT, .delayed = XL_ABSENT,
        .action = "redirect https://status.example.org/quota 302", .origin = "config",
        .source = "/etc/apache2/sites-enabled/sites.conf:12", .warn_least = 80, .vhost_row = row,
        .account_row = XL_ABSENT,
    };
}

static xl_snap_limit_t pace(const char *vhost, uint64_t row, const char *name, const char *key, uint64_t bps,
                            uint64_t active)
{
    xl_snap_limit_t limit = quota(vhost, row, name, XL_ABSENT, XL_ABSENT);

    limit.dimension = "bandwidth";
    limit.key = key;
    limit.previous = limit.period_start_s = limit.period_end_s = XL_ABSENT;
    limit.period = limit.warn = limit.action = NULL;
    limit.rate = (xl_rate_t){ bps, XL_NS_PER_S };
    limit.burst_bytes = 0;
    limit.active = active;
    limit.requests = 300 * active;
    limit.bytes = 86400 * bps;
    return limit;
}

/* Of requests, connections, penalties and blocks. */
static xl_snap_limit_t count_of(const char *dimension, const char *name, const char *key, const char *allows,
                                uint64_t active)
{
    xl_snap_limit_t limit = pace(NULL, XL_ABSENT, name, key, 1, active);

    limit.dimension = dimension;
    limit.requests = 70411;
    limit.rate.per_ns = 0;
    limit.burst_bytes = limit.bytes = XL_ABSENT;
    limit.allows = allows;
    limit.refused = 1207;
    limit.would_refuse = 0;
    limit.action = "status 429";
    limit.warn_least = XL_ABSENT;
    return limit;
}

static xl_snap_client_t client(const char *key, const char *zone, const char *limit, const char *dimension,
                               uint64_t requests, uint64_t active)
{
    return (xl_snap_client_t){
        .key = key, .zone = zone, .limit = limit, .dimension = dimension, .used = XL_ABSENT, .amount = XL_ABSENT,
        .requests = requests, .bytes = XL_ABSENT, .active = active, .locked_s = XL_ABSENT,
        .last_refused_s = XL_ABSENT, .suppressed = XL_ABSENT,
    };
}

/* In every state that there is. */
static void sample_clients(xl_snap_client_t c[6])
{
    c[0] = client("192.0.2.7", "client", "acme-clients", "bandwidth", 2913, 4);
    c[1] = client("2001:db8:4:7::", "client", "per-client", "requests", 801, 1);
    c[2] = client("198.51.100.23", "client", "guessers", "penalty", 744, 0);
    c[3] = client("alice 192.0.2.7", "visit", "visits", "requests", 512, 0);
    c[4] = client("k-82f1ab03", "apikey", "key-at-once", "connections", 377, 5);
    c[5] = client("k-82f1ab03", "apikey", "key-day", "quota", XL_ABSENT, 5);
    c[0].bytes = UINT64_C(90123456789);
    c[0].account = "acme";
    c[0].place = "XLimitAccount acme";
    c[1].vhost = "www.example.org:443";
    c[1].last_refused_s = 1763837400;
    c[1].suppressed = 12;
    c[1].over = true;
    c[2].locked_s = 542;
    c[2].suppressed = 31;
    c[2].over = true;
    c[2].place = "Location /login";
    c[3].part = "requests";
    c[4].amount = 8;
    c[4].in_requests = true;
    c[5].used = 7312000;
    c[5].amount = 10000000;
    for (size_t i = 0; i < 6; i++)
        xl_snapshot_derive_client(&c[i]);
}

static int sample(const xl_query_t *query)
{
    xl_snap_server_t server = {
        .version = "0.1.0", .name = "web3.hosting.example", .generated_s = 1763837460, .uptime_s = 788645,
        .generation = 4, .state = "/var/lib/apache2/xlimit/xlimit.state", .entries_used = 11,
        .entries_capacity = 1024, .keys_used = 20411, .keys_capacity = 65536, .keys_evicted = 0,
    };
    xl_snap_vhost_t vhosts[] = {
        { "www.example.org:443", "acme", 1830412, UINT64_C(812340118222), 212, 0,
          { 1741201, 88211, 0, 1000, 0, 0, 0 }, 0 },
        { "downloads.example.org:443", "acme", 93021, UINT64_C(4997120034111), 96, 0,
          { 4301, 88211, 402, 107, 0, 0, 0 }, 0 },
        { "shop.example.net:443", NULL, 402117, UINT64_C(50000001234), 0, 0, { 395001, 0, 7116, 0, 0, 0, 0 },
          XL_ABSENT },
        { "blog.example.com:80", NULL, 18222, UINT64_C(1912345678), 1, 0, { 18222, 0, 0, 0, 0, 12, 0 }, XL_ABSENT },
        { "intranet.example.org:8080", NULL, 12, 91822, 0, 0, { 12, 0, 0, 0, 0, 0, 0 }, XL_ABSENT },
    };
    xl_snap_limit_t limits[] = {
        quota(vhosts[0].vhost, 0, "www-month", UINT64_C(812340118222), UINT64_C(2000000000000)),
        quota(vhosts[1].vhost, 1, "downloads-month", UINT64_C(4497120034111), UINT64_C(5000000000000)),
        quota(vhosts[2].vhost, 2, "shop-month", UINT64_C(50000001234), UINT64_C(50000000000)),
        quota(vhosts[3].vhost, 3, "blog-requests", 18222, 100000),
        pace(vhosts[1].vhost, 1, "iso", "session", 2500000, 96),
        pace(vhosts[1].vhost, 1, "downloads-total", "all", 125000000, 96),
        pace(NULL, XL_ABSENT, "uplink", "all", 1250000000, 309),
        pace(NULL, XL_ABSENT, "acme-clients", "client", 500000, 41),
        pace(vhosts[0].vhost, 0, "upload-client", "client", 1000000, 3),
        count_of("requests", "per-client", "client", "10/s burst=20 nodelay", XL_ABSENT),
        count_of("connections", "workers", "all", "20", 17),
        count_of("connections", "key-at-once", "apikey", "8", 5),
        count_of("penalty", "guessers", "client", "5/10min for=10min count=status:401", XL_ABSENT),
        count_of("block", "crawler", "all", NULL, XL_ABSENT),
    };
    xl_snap_zone_t zones[] = {
        { "clients", NULL, 0, 20411, 65536, 41, 2, 0, 3, NULL },
        { "apikey", "%{req_novary:X-Api-Key}", 0, 812, 200000, 5, 0, 0, 2, "/etc/apache2/conf-enabled/limits.conf:4" },
        { "visit", "%{XLIMIT_ADDR} %{HTTP_HOST} %{xlimit_cookie:session}", 0, 65536, 65536, 9, 1, 71233, 1,
          "/etc/apache2/conf-enabled/limits.conf:5" },
    };
    xl_snap_client_t clients[6];
    xl_snap_account_t accounts[] = { { .name = "acme" }, { .name = "globex" } };
    xl_snap_setting_t settings[] = {
        { "XLimitStateFile", "/var/lib/apache2/xlimit/xlimit.state", "where the counters live over restarts" },
        { "XLimitEngine", "auto", "async: no thread is held while a response is paced" },
        { "XLimitBuffer", "64 kB", "memory for one paced response that is not a file" },
    };
    xl_snapshot_t snapshot = { {
        [XL_SHEET_SERVER] = { &server, 1 },
        [XL_SHEET_VHOSTS] = { vhosts, sizeof vhosts / sizeof *vhosts },
        [XL_SHEET_LIMITS] = { limits, sizeof limits / sizeof *limits },
        [XL_SHEET_SETTINGS] = { settings, sizeof settings / sizeof *settings },
        [XL_SHEET_ZONES] = { zones, sizeof zones / sizeof *zones },
        [XL_SHEET_CLIENTS] = { clients, sizeof clients / sizeof *clients },
        [XL_SHEET_ACCOUNTS] = { accounts, sizeof accounts / sizeof *accounts },
    } };

    limits[2].refusing_since_s = 1763781722;
    limits[3].in_requests = true;
    limits[3].mode = "dry-run";
    limits[4].place = "Location /iso";
    limits[5].class = "!office";
    limits[7].account = "acme";
    limits[7].place = "XLimitAccount acme";
    limits[8].dimension = "upload";
    limits[10].amount = 20;
    limits[11].amount = 8;
    limits[10].in_requests = limits[11].in_requests = limits[10].at_once = true;
    sample_clients(clients);
    xl_snapshot_derive(&snapshot);
    return xl_render_html(&snapshot, query, &sink);
}

static const char *unit_text(const xl_field_t *field)
{
    static const char *const texts[] = {
        [XL_IN_NONE] = "text",     [XL_IN_NAME] = "text",           [XL_IN_STATE] = "word",
        [XL_IN_COUNT] = "number",  [XL_IN_BYTES] = "bytes",         [XL_IN_AMOUNT] = "bytes or requests",
        [XL_IN_SECONDS] = "s",     [XL_IN_MOMENT] = "s since 1970", [XL_IN_PERCENT] = "%",
        [XL_IN_RATE] = "bytes/s",
    };

    return texts[field->unit];
}

static void print_fields(void)
{
    xl_out_t out;
    xl_sheet_e t;
    size_t i;

    xl_out_begin(&out, &sink);
    for (t = 0; t < XL_SHEETS; t++) {
        xl_out_text(&out, "### Fields of `");
        xl_out_text(&out, xl_sheets[t].list);
        xl_out_text(&out, "`\n\n| field | unit | meaning |\n|---|---|---|\n");
        for (i = 0; i < xl_sheets[t].n; i++) {
            const xl_field_t *field = &xl_sheets[t].fields[i];

            xl_out_text(&out, "| `");
            xl_out_text(&out, field->name);
            xl_out_text(&out, "` | ");
            xl_out_text(&out, unit_text(field));
            xl_out_text(&out, " | ");
            xl_out_text(&out, field->help);
            xl_out_text(&out, " |\n");
        }
        xl_out_text(&out, t + 1 < XL_SHEETS ? "\n" : "");
    }
    xl_out_end(&out);
}

static int hostile(const char *format, const xl_query_t *query)
{
    static hostile_rows_t rows;
    xl_snapshot_t snapshot;
    size_t i;

    hostile_snapshot(&snapshot, &rows);
    for (i = 0; i < XL_FORMATS; i++) {
        if (!strcmp(format, xl_renderers[i].name))
            return xl_renderers[i].render(&snapshot, query, &sink);
    }
    fprintf(stderr, "render_tool: no format \"%s\"\n", format);
    return 2;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : NULL;
    char args[64] = "", error[XL_QUERY_ERROR_MAX], policy[XL_CSP_MAX];
    xl_query_t query;

    if (!what) {
        puts("1..0 # SKIP a tool that t/40-status-formats.t runs");
        return 0;
    }
    if (argc > 2)
        snprintf(args, sizeof args, "view=%s", argv[2]);
    if (!xl_query_parse(args, &query, error)) {
        fprintf(stderr, "render_tool: %s\n", error);
        return 2;
    }
    if (!strcmp(what, "schema"))
        return xl_render_schema(&sink);
    if (!strcmp(what, "sample"))
        return sample(&query);
    if (!strcmp(what, "fields")) {
        print_fields();
        return 0;
    }
    if (!strcmp(what, "policy")) {
        xl_html_policy(policy);
        puts(policy);
        return 0;
    }
    snprintf(query.name, sizeof query.name, "%s", "\"><script>&x=%0d");
    return hostile(what, &query);
}
