/* SPDX-License-Identifier: Apache-2.0
 *
 * hostile: names and URLs that try to break out of a format, and snapshots
 * that hold them in every text of every table; shared by the checks in C
 * (render.c) and the tool that other programs check (render_tool.c).
 */
#ifndef XL_HOSTILE_H
#define XL_HOSTILE_H

#include "xl_snapshot.h"

#include <string.h>

#define HOSTILE_LONG 10240
static char hostile_long[HOSTILE_LONG + 1], hostile_long_utf8[HOSTILE_LONG + 1];

static const char *const hostile_texts[] = {
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "</td></tr></table><h1>gone",
    "</title></style></svg><script>1</script>",
    "]]>",
    "<![CDATA[ x ]]>",
    "<!-- comment -- >",
    "-->",
    "<?xml version=\"1.0\"?>",
    "<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]>&e;",
    "&lt;already&amp;escaped&#60;",
    "&",
    "\\",
    "\\\"},{\"schema\":\"other",
    "\\u0000\\",
    "\"",
    "'",
    "`${7*7}`",
    "{{7*7}} <%= 1 %> #{1}",
    "=1+1",
    "+SUM(A1:A9)",
    "-2+3",
    "@import url(http://192.0.2.1/)",
    "javascript:alert(1)",
    "line one\nXLimitVersion: 9",
    "line one\r\nSet-Cookie: a=b",
    "\r\n\r\n",
    "name: value: more",
    ":",
    "\ttab\vvertical\fform",
    "\001\002\003\033[31mred\033[0m\007\177",
    "\177",
    " ",
    "",
    "\300\200 overlong NUL",
    "\355\240\200 surrogate",
    "\364\220\200\200 above all",
    "\377\376 no text \200\201",
    "cut \342\202",
    "\357\277\276\357\277\277 no characters",
    "\302\205\302\233 C1",
    "\342\200\256txt.exe\342\200\254 bidi",
    "\342\200\250\342\200\251 separators",
    "\360\237\222\251 \303\274ml\303\244ut \346\227\245\346\234\254",
    "%s%n%x%d%5000000s",
    "../../../etc/passwd%00",
    "?view=config&units=raw#x\" ",
    hostile_long,
    hostile_long_utf8,
};
#define HOSTILE_TEXTS (sizeof hostile_texts / sizeof *hostile_texts)

typedef struct {
    xl_snap_server_t server;
    xl_snap_vhost_t vhosts[HOSTILE_TEXTS];
    xl_snap_limit_t limits[HOSTILE_TEXTS];
    xl_snap_setting_t settings[HOSTILE_TEXTS];
    xl_snap_zone_t zones[HOSTILE_TEXTS];
    xl_snap_client_t clients[HOSTILE_TEXTS];
    xl_snap_account_t accounts[HOSTILE_TEXTS];
} hostile_rows_t;

/* The text k further on in every field of kind text of one row. */
static inline void hostile_row(xl_sheet_e table, void *row, size_t k)
{
    const xl_sheet_t *t = &xl_sheets[table];
    size_t i;

    for (i = 0; i < t->n; i++) {
        const char *text = hostile_texts[(i + k) % HOSTILE_TEXTS];

        if (t->fields[i].kind == XL_FIELD_TEXT)
            memcpy((char *)row + t->fields[i].offset, &text, sizeof text);
    }
}

static inline void hostile_limit(xl_snap_limit_t *limit, size_t i)
{
    bool quota = i % 2 == 0, upload = i % 4 == 3;

    memset(limit, 0, sizeof *limit);
    hostile_row(XL_SHEET_LIMITS, limit, i);
    limit->dimension = xl_snapshot_dimension(quota ? XL_DIM_QUOTA : upload ? XL_DIM_UPLOAD : XL_DIM_BANDWIDTH);
    limit->mode = xl_snapshot_mode((xl_mode_e)(i % 3));
    limit->used = quota ? i * 25000000 : XL_ABSENT;
    limit->amount = quota ? 1000000000 : XL_ABSENT;
    limit->released = limit->previous = quota ? 900000000 : XL_ABSENT;
    limit->period_start_s = quota ? 1700000000 : XL_ABSENT;
    limit->period_end_s = quota ? 1702592000 : XL_ABSENT;
    limit->slice_s = limit->burst_bytes = limit->after_bytes = XL_ABSENT;
    limit->active = limit->suppressed = i;
    limit->requests = limit->bytes = quota ? XL_ABSENT : i * 1000;
    limit->refusing_since_s = i % 5 ? XL_ABSENT : 1700500000;
    limit->in_requests = i % 4 == 2;
    limit->warn_least = 80;
    limit->vhost_row = i;
    limit->account_row = XL_ABSENT;
    if (!quota)
        limit->rate = (xl_rate_t){ 125 + i, i % 3 ? XL_NS_PER_S : 8 * XL_NS_PER_S };
}

/* A quota, what has no amount, and connections. */
static inline void hostile_client(xl_snap_client_t *client, size_t i)
{
    memset(client, 0, sizeof *client);
    hostile_row(XL_SHEET_CLIENTS, client, i);
    client->used = i % 3 ? XL_ABSENT : i * 1000;
    client->amount = i % 3 == 1 ? XL_ABSENT : 20000;
    client->requests = client->bytes = i % 3 ? i * 7 : XL_ABSENT;
    client->active = i;
    client->locked_s = i % 4 ? XL_ABSENT : i;
    client->last_refused_s = i % 4 == 1 ? 1700500000 : XL_ABSENT;
    client->suppressed = i % 2 ? i : XL_ABSENT;
    client->in_requests = i % 2;
    xl_snapshot_derive_client(client);
}

/* Row i begins with text i, so that each text stands in each column once. */
static inline void hostile_snapshot(xl_snapshot_t *snapshot, hostile_rows_t *rows)
{
    size_t i;

    memset(hostile_long, '<', HOSTILE_LONG);
    for (i = 0; i < HOSTILE_LONG; i++) /* three bytes each, and one byte off the pieces of the renderer */
        hostile_long_utf8[i] = i ? "\342\202\254"[(i - 1) % 3] : 'x';
    memset(rows, 0, sizeof *rows);
    hostile_row(XL_SHEET_SERVER, &rows->server, 0);
    rows->server.generated_s = 1701000000;
    rows->server.uptime_s = 93784;
    rows->server.entries_used = 12;
    rows->server.entries_capacity = 1024;
    rows->server.keys_used = rows->server.keys_capacity = XL_ABSENT;
    for (i = 0; i < HOSTILE_TEXTS; i++) {
        hostile_row(XL_SHEET_VHOSTS, &rows->vhosts[i], i);
        rows->vhosts[i].requests = i;
        rows->vhosts[i].sent_bytes = i * i * 1000003;
        hostile_limit(&rows->limits[i], i);
        rows->vhosts[i].account_row = i / 2;
        hostile_row(XL_SHEET_SETTINGS, &rows->settings[i], i);
        hostile_row(XL_SHEET_ZONES, &rows->zones[i], i);
        rows->zones[i].used = i;
        rows->zones[i].capacity = HOSTILE_TEXTS;
        hostile_client(&rows->clients[i], i);
        hostile_row(XL_SHEET_ACCOUNTS, &rows->accounts[i], i);
    }
    snapshot->tables[XL_SHEET_SERVER] = (xl_rows_t){ &rows->server, 1 };
    snapshot->tables[XL_SHEET_VHOSTS] = (xl_rows_t){ rows->vhosts, HOSTILE_TEXTS };
    snapshot->tables[XL_SHEET_LIMITS] = (xl_rows_t){ rows->limits, HOSTILE_TEXTS };
    snapshot->tables[XL_SHEET_SETTINGS] = (xl_rows_t){ rows->settings, HOSTILE_TEXTS };
    snapshot->tables[XL_SHEET_ZONES] = (xl_rows_t){ rows->zones, HOSTILE_TEXTS };
    snapshot->tables[XL_SHEET_CLIENTS] = (xl_rows_t){ rows->clients, HOSTILE_TEXTS };
    snapshot->tables[XL_SHEET_ACCOUNTS] = (xl_rows_t){ rows->accounts, HOSTILE_TEXTS };
    xl_snapshot_derive(snapshot);
}

#endif
