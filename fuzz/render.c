/* SPDX-License-Identifier: Apache-2.0
 *
 * Snapshots whose texts and numbers are any bytes, in every format and view: the
 * output is well-formed by the checkers of wellformed.h. Input: numbers and the view, then the texts, a line each.
 */
#include "rows.h"
#include "wellformed.h"
#include "xl_render.h"

#define ROWS 2u
#define OUTPUT_MOST (1u << 20)

static char output[OUTPUT_MOST + 1];
static size_t output_bytes;

static int keep(void *ctx, const char *data, size_t length)
{
    (void)ctx;
    must(length <= OUTPUT_MOST - output_bytes);
    memcpy(output + output_bytes, data, length);
    output_bytes += length;
    output[output_bytes] = '\0';
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const xl_sink_t sink = {keep, NULL};
    static bool (*const sound[XL_FORMATS])(const char *text) = {is_markup, is_markup, is_json, is_lines};
    xl_snap_server_t server = {0};
    xl_snap_vhost_t vhosts[ROWS] = {0};
    xl_snap_limit_t limits[ROWS] = {0};
    xl_snap_setting_t settings[ROWS] = {0};
    xl_snap_zone_t zones[ROWS] = {0};
    xl_snap_client_t clients[ROWS] = {0};
    xl_snap_account_t accounts[ROWS] = {0};
    xl_snapshot_t snapshot = {{{&server, 1}, {vhosts, ROWS}, {limits, ROWS}, {settings, ROWS}, {zones, ROWS},
                               {clients, ROWS}, {accounts, ROWS}}};
    fuzz_t f = {data, data + size};
    unsigned how = fuzz_byte(&f), format;
    xl_query_t query = {.view = (xl_view_e)(how % XL_VIEWS), .units = (xl_units_e)(how / 3 % 3), .refresh_s = how / 64};
    char *texts[TEXTS];
    size_t i;

    for (i = 0; i < TEXTS; i++)
        texts[i] = fuzz_line(&f);
    for (i = 0; i < XL_SHEETS * ROWS; i++)
        if (i / ROWS || !i)
            fill_row(&f, (xl_sheet_e)(i / ROWS),
                     (unsigned char *)snapshot.tables[i / ROWS].rows + i % ROWS * xl_sheets[i / ROWS].row_size, texts);
    for (i = 0; i < ROWS; i++)
        limits[i].warn_least = limits[i].vhost_row = limits[i].account_row = vhosts[i].account_row = fuzz_number(&f);
    snprintf(query.name, sizeof(query.name), "%s", texts[0]);
    for (i = 0; i < ROWS; i++)
        xl_snapshot_derive_client(&clients[i]); /* a state is one of our words */
    xl_snapshot_derive(&snapshot);
    xl_snapshot_filter(&snapshot, how & 128 ? texts[1] : "");
    xl_snapshot_sort(&snapshot, how & 32 ? "used" : "vhost", how & 64);
    for (format = 0; format < XL_FORMATS; format++) {
        output_bytes = 0;
        must(!xl_renderers[format].render(&snapshot, &query, &sink));
        must(utf8_is_whole(output) && sound[format](output));
    }
    for (i = 0; i < TEXTS; i++)
        free(texts[i]);
    return 0;
}
