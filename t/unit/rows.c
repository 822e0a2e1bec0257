/* SPDX-License-Identifier: Apache-2.0
 *
 * The first few of many rows, kept in room for these alone: by every field, in
 * both directions, they are what sorting all rows puts first, texts included.
 */
#include "tap.h"

#include "xl_snapshot.h"

#define MANY 5000
#define ROOMS 64

/* Texts and numbers of every kind, with equal ones and absent ones among them. */
static xl_snap_client_t client_of(uint32_t n, const char *key)
{
    static const char *const vhosts[] = { "b.example:80", NULL, "a.example:80" };
    uint64_t mixed = (n + 1) * UINT64_C(0x9E3779B97F4A7C15) >> 33;
    xl_snap_client_t c = {
        .key = key, .zone = n % 5 ? "visit" : "client", .limit = n % 2 ? "x" : "y", .vhost = vhosts[n % 3],
        .account = n % 7 ? NULL : "acme", .place = n % 4 ? "Location /a" : NULL,
        .dimension = n % 2 ? "quota" : "requests", .part = n % 11 ? NULL : "speed",
        .used = n % 2 ? mixed % 997 : XL_ABSENT, .amount = n % 2 ? 990 : XL_ABSENT,
        .requests = n % 2 ? XL_ABSENT : mixed % 499, .bytes = n % 6 ? XL_ABSENT : mixed, .active = mixed % 3,
        .locked_s = mixed % 100 ? XL_ABSENT : mixed % 60, .last_refused_s = mixed % 9 ? XL_ABSENT : 1700000000 + mixed,
        .suppressed = mixed % 9 ? XL_ABSENT : mixed % 17, .in_requests = n % 4 == 1, .over = mixed % 100 == 0,
    };

    xl_snapshot_derive_client(&c);
    return c;
}

static xl_snap_client_t all[MANY];
static char keys[MANY][24];

/* As a caller does whose room for texts is just as much as he keeps, and one more. */
static xl_top_t kept_of(const xl_order_t *order, xl_snap_client_t *rows, char (*rooms)[24], size_t most)
{
    xl_top_t top = xl_top_begin(XL_SHEET_CLIENTS, order, rows, most);
    char *room = rooms[0];
    uint32_t i;

    for (i = 0; i < MANY; i++) {
        xl_snap_client_t row = client_of(i, room);

        memcpy(room, keys[i], sizeof keys[i]);
        if (!xl_top_add(&top, &row))
            room = rooms[top.n];
        else
            memcpy(&room, &row.key, sizeof room);
    }
    xl_top_end(&top);
    return top;
}

static size_t differing(const xl_snap_client_t *rows, size_t n)
{
    const xl_sheet_t *sheet = &xl_sheets[XL_SHEET_CLIENTS];
    size_t i, f, wrong = 0;

    for (i = 0; i < n; i++) {
        for (f = 0; f < sheet->n; f++) {
            const xl_field_t *field = &sheet->fields[f];
            bool there = xl_field_present(field, &rows[i]);

            if (there != xl_field_present(field, &all[i]))
                wrong++;
            else if (there && field->kind == XL_FIELD_TEXT)
                wrong += strcmp(xl_field_text(field, &rows[i]), xl_field_text(field, &all[i])) != 0;
            else if (there)
                wrong += xl_field_u64(field, &rows[i]) != xl_field_u64(field, &all[i]);
        }
    }
    return wrong;
}

static void check_top_by(const char *field, bool reverse)
{
    static xl_snap_client_t rows[ROOMS];
    static char rooms[ROOMS + 1][24];
    static const size_t mosts[] = { 1, 2, 7, ROOMS };
    xl_snapshot_t s = { { [XL_SHEET_CLIENTS] = { all, MANY } } };
    xl_order_t order = xl_order_of(XL_SHEET_CLIENTS, field, reverse);
    size_t i, wrong = 0;

    for (i = 0; i < MANY; i++)
        all[i] = client_of((uint32_t)i, keys[i]);
    xl_snapshot_sort(&s, field, reverse);
    for (i = 0; i < sizeof mosts / sizeof *mosts; i++) {
        xl_top_t top = kept_of(&order, rows, rooms, mosts[i]);

        wrong += top.n != mosts[i] ? 1 : differing(rows, top.n);
    }
    is_u64(wrong, 0, field);
}

static void check_top(void)
{
    const xl_sheet_t *sheet = &xl_sheets[XL_SHEET_CLIENTS];
    xl_order_t order = xl_order_of(XL_SHEET_CLIENTS, "requests", false);
    xl_snap_client_t row;
    xl_top_t top;
    size_t i;

    for (i = 0; i < MANY; i++)
        snprintf(keys[i], sizeof keys[i], "%05u", (unsigned)(i * 7919 % MANY));
    for (i = 0; i < sheet->n; i++) {
        check_top_by(sheet->fields[i].name, false);
        check_top_by(sheet->fields[i].name, true);
    }
    top = xl_top_begin(XL_SHEET_CLIENTS, &order, all, 10);
    for (i = 0; i < 3; i++) {
        row = client_of((uint32_t)i, keys[i]);
        ok(!xl_top_add(&top, &row), "there is room");
    }
    xl_top_end(&top);
    is_u64(top.n, 3, "fewer than are asked for are all of them");
    is_u64(all[0].requests >= all[1].requests, 1, "... in order");
    top = xl_top_begin(XL_SHEET_CLIENTS, &order, all, 0);
    ok(xl_top_add(&top, &row) && !top.n, "none is asked for");
}

int main(void)
{
    check_top();
    return done_testing();
}
