/* SPDX-License-Identifier: Apache-2.0
 *
 * rows: filter, order and cut of the rows of a snapshot, and the choice of the
 * first few of any number. Works on rows of the caller in place, never
 * allocates. Knows fields by what xl_sheets says of them.
 */
#include "xl_snapshot.h"

#include <string.h>
#include <strings.h>

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool contains(const char *text, const char *part)
{
    size_t i;

    for (; text && *text; text++) {
        for (i = 0; part[i] && lower(text[i]) == lower(part[i]); i++)
            continue;
        if (!part[i])
            return true;
    }
    return false;
}

bool xl_snapshot_matches(xl_sheet_e table, const void *row, const char *text)
{
    const char *const *names = xl_sheets[table].filtered_by;
    size_t i;

    for (i = 0; i < XL_FILTERS_MAX && names[i]; i++) {
        if (contains(xl_field_text(xl_field_find(table, names[i]), row), text))
            return true;
    }
    return !names[0];
}

void xl_snapshot_filter(xl_snapshot_t *snapshot, const char *text)
{
    xl_sheet_e t;
    size_t i;

    for (t = 0; t < XL_SHEETS; t++) {
        xl_rows_t *rows = &snapshot->tables[t];
        size_t size = xl_sheets[t].row_size, kept = 0;
        char *base = rows->rows;

        for (i = 0; i < rows->n; i++) {
            if (xl_snapshot_matches(t, base + i * size, text))
                memmove(base + kept++ * size, base + i * size, size);
        }
        rows->n = kept;
    }
}

static int compare_u64(uint64_t a, uint64_t b)
{
    return (a < b) - (a > b);
}

/* Below 0: a comes before b in the order that a field wants by nature. */
static int compare_values(const xl_field_t *field, const void *a, const void *b)
{
    uint64_t whole[2], fraction[2];

    if (field->kind == XL_FIELD_TEXT)
        return strcasecmp(xl_field_text(field, a), xl_field_text(field, b));
    if (field->kind == XL_FIELD_U64)
        return compare_u64(xl_field_u64(field, a), xl_field_u64(field, b));
    xl_field_rate_parts(xl_field_rate(field, a), &whole[0], &fraction[0]);
    xl_field_rate_parts(xl_field_rate(field, b), &whole[1], &fraction[1]);
    return whole[0] != whole[1] ? compare_u64(whole[0], whole[1]) : compare_u64(fraction[0], fraction[1]);
}

static int compare_field(const xl_field_t *field, const void *a, const void *b, bool reverse)
{
    bool has_a, has_b;
    int order;

    if (!field)
        return 0;
    has_a = xl_field_present(field, a);
    has_b = xl_field_present(field, b);
    if (!has_a || !has_b)
        return has_b - has_a;
    order = compare_values(field, a, b);
    return reverse ? -order : order;
}

static const xl_field_t *name_of(xl_sheet_e table)
{
    size_t i;

    for (i = 0; i < xl_sheets[table].n && xl_sheets[table].fields[i].unit != XL_IN_NAME; i++)
        continue;
    return i < xl_sheets[table].n ? &xl_sheets[table].fields[i] : NULL;
}

xl_order_t xl_order_of(xl_sheet_e table, const char *field, bool reverse)
{
    return (xl_order_t){ xl_field_find(table, field), xl_field_find(table, "used"), xl_field_find(table, "vhost"),
                         name_of(table), reverse };
}

static int compare_rows(const xl_order_t *order, const void *a, const void *b)
{
    int c = compare_field(order->by, a, b, order->reverse);

    if (!c)
        c = compare_field(order->then, a, b, false);
    if (!c)
        c = compare_field(order->vhost, a, b, false);
    return c ? c : compare_field(order->name, a, b, false);
}

static void swap_rows(char *a, char *b, size_t size)
{
    for (; size; size--, a++, b++) {
        char c = *a;

        *a = *b;
        *b = c;
    }
}

/* Shell sort: in place, and quick enough for any number of virtual hosts. */
static void sort_rows(char *base, size_t n, size_t size, const xl_order_t *order)
{
    size_t gap, i, j;

    for (gap = n / 2; gap; gap = gap == 2 ? 1 : gap * 5 / 11) {
        for (i = gap; i < n; i++) {
            for (j = i; j >= gap && compare_rows(order, base + j * size, base + (j - gap) * size) < 0; j -= gap)
                swap_rows(base + j * size, base + (j - gap) * size, size);
        }
    }
}

void xl_snapshot_sort(xl_snapshot_t *snapshot, const char *field, bool reverse)
{
    xl_sheet_e t;

    for (t = 0; t < XL_SHEETS; t++) {
        xl_order_t order = xl_order_of(t, field, reverse);

        if (order.by)
            sort_rows(snapshot->tables[t].rows, snapshot->tables[t].n, xl_sheets[t].row_size, &order);
    }
}

void xl_snapshot_top(xl_snapshot_t *snapshot, uint64_t n)
{
    xl_sheet_e t;

    for (t = 0; t < XL_SHEETS; t++) {
        if (xl_sheets[t].filtered_by[0] && snapshot->tables[t].n > n)
            snapshot->tables[t].n = (size_t)n;
    }
}

/* ---- the first few of many ---------------------------------------------- */

/* The rows that are kept form a heap whose root is the one to go next. */
static char *kept(const xl_top_t *top, size_t i)
{
    return top->rows + i * top->size;
}

static bool goes_before(const xl_top_t *top, size_t a, size_t b)
{
    return compare_rows(&top->order, kept(top, a), kept(top, b)) > 0;
}

static void sink(const xl_top_t *top, size_t i)
{
    for (;;) {
        size_t least = i, child;

        for (child = 2 * i + 1; child < top->n && child <= 2 * i + 2; child++) {
            if (goes_before(top, child, least))
                least = child;
        }
        if (least == i)
            return;
        swap_rows(kept(top, i), kept(top, least), top->size);
        i = least;
    }
}

static void rise(const xl_top_t *top, size_t i)
{
    for (; i && goes_before(top, i, (i - 1) / 2); i = (i - 1) / 2)
        swap_rows(kept(top, i), kept(top, (i - 1) / 2), top->size);
}

xl_top_t xl_top_begin(xl_sheet_e table, const xl_order_t *order, void *rows, size_t most)
{
    return (xl_top_t){ .order = *order, .rows = rows, .size = xl_sheets[table].row_size, .most = most };
}

bool xl_top_add(xl_top_t *top, void *row)
{
    if (top->n < top->most) {
        memcpy(kept(top, top->n), row, top->size);
        rise(top, top->n++);
        return false;
    }
    if (top->most && compare_rows(&top->order, row, kept(top, 0)) < 0) {
        swap_rows(kept(top, 0), row, top->size);
        sink(top, 0);
    }
    return true;
}

void xl_top_end(const xl_top_t *top)
{
    sort_rows(top->rows, top->n, top->size, &top->order);
}
