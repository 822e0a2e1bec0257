/* SPDX-License-Identifier: Apache-2.0
 *
 * Single values of the HTML page: amounts with a unit, moments, durations,
 * states and bars. Decides by a field's unit, never by its name; only amounts, the
 * bar and the state look at other columns of the row. Writes foreign text
 * through xl_escape_markup alone.
 */
#include "xl_escape.h"
#include "xl_html.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

bool xl_html_is_number(const xl_field_t *field)
{
    return field->kind != XL_FIELD_TEXT && field->unit != XL_IN_MOMENT && field->unit != XL_IN_PERCENT;
}

void xl_html_label(xl_html_t *html, const char *label)
{
    xl_out_bytes(&html->out, label, 1);
    for (label++; *label; label++) {
        char text[2] = { *label == '_' ? ' ' : *label, '\0' };

        xl_out_lower(&html->out, text);
    }
}

/* 1234567 -> "1,234,567" */
static void grouped(xl_out_t *out, uint64_t number)
{
    char digits[24];
    size_t i, n = (size_t)snprintf(digits, sizeof digits, "%" PRIu64, number);

    for (i = 0; i < n; i++) {
        if (i && (n - i) % 3 == 0)
            xl_out_text(out, ",");
        xl_out_bytes(out, &digits[i], 1);
    }
}

static void count(xl_html_t *html, uint64_t number)
{
    if (html->query->units == XL_UNITS_RAW)
        xl_out_u64(&html->out, number);
    else
        grouped(&html->out, number);
}

/* "1.50 GB", and the exact number to whoever points at it. */
static void titled(xl_html_t *html, const xl_field_t *field, const void *row, const char *unit, const char *text)
{
    xl_out_text(&html->out, "<span title=\"");
    xl_out_number(&html->out, field, row);
    xl_out_text(&html->out, unit);
    xl_out_text(&html->out, "\">");
    xl_out_text(&html->out, text);
    xl_out_text(&html->out, "</span>");
}

static void bytes(xl_html_t *html, const xl_field_t *field, const void *row)
{
    char buf[48];

    titled(html, field, row, " bytes",
           xl_units_print_bytes(buf, sizeof buf, xl_field_u64(field, row), html->query->units));
}

static void amount(xl_html_t *html, xl_sheet_e table, const xl_field_t *field, const void *row)
{
    const xl_field_t *unit = xl_field_find(table, "unit");

    if (xl_field_present(unit, row) && strcmp(xl_field_text(unit, row), "bytes")) {
        count(html, xl_field_u64(field, row));
        xl_out_text(&html->out, "&nbsp;r");
    } else {
        bytes(html, field, row);
    }
}

static void rate(xl_html_t *html, const xl_field_t *field, const void *row)
{
    char buf[48];

    titled(html, field, row, " bytes per second", 
           xl_units_print_rate(buf, sizeof buf, xl_field_rate(field, row), html->query->units));
}

static void seconds(xl_html_t *html, const xl_field_t *field, const void *row)
{
    uint64_t s = xl_field_u64(field, row);
    char buf[48];

    titled(html, field, row, " seconds",
           xl_units_print_ms(buf, sizeof buf, s < UINT64_MAX / 1000 ? s * 1000 : UINT64_MAX));
}

/* Days since 1970-01-01 as a date of the Gregorian calendar, counted in years
 * that begin in March, so that the leap day is the last of its year. */
static void civil(uint64_t days, uint64_t *year, unsigned *month, unsigned *day)
{
    uint64_t z = days + 719468, era = z / 146097, of_era = z % 146097;
    uint64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    unsigned of_year = (unsigned)(of_era - (365 * y + y / 4 - y / 100));
    unsigned m = (5 * of_year + 2) / 153;

    *day = of_year - (153 * m + 2) / 5 + 1;
    *month = m < 10 ? m + 3 : m - 9;
    *year = era * 400 + y + (*month <= 2);
}

static const char *distance(char *buf, size_t size, uint64_t from, uint64_t to)
{
    static const struct {
        uint64_t s;
        const char *name;
    } units[] = { { 86400, "d" }, { 3600, "h" }, { 60, "min" }, { 1, "s" } };
    uint64_t s = to > from ? to - from : from - to;
    size_t i;

    for (i = 0; i < 3 && s < 2 * units[i].s; i++)
        continue;
    snprintf(buf, size, "%" PRIu64 "&nbsp;%s", s / units[i].s, units[i].name);
    return buf;
}

static void moment(xl_html_t *html, uint64_t s)
{
    uint64_t year;
    unsigned month, day;
    char text[96], near[48];

    if (s > UINT64_C(253402300799)) { /* the year 9999 */
        xl_out_u64(&html->out, s);
        return;
    }
    civil(s / 86400, &year, &month, &day);
    snprintf(text, sizeof text, "<time datetime=\"%04" PRIu64 "-%02u-%02uT%02u:%02u:%02uZ\">", year, month, day,
             (unsigned)(s / 3600 % 24), (unsigned)(s / 60 % 60), (unsigned)(s % 60));
    xl_out_text(&html->out, text);
    snprintf(text, sizeof text, "%04" PRIu64 "-%02u-%02u %02u:%02u</time>", year, month, day,
             (unsigned)(s / 3600 % 24), (unsigned)(s / 60 % 60));
    xl_out_text(&html->out, text);
    if (s == html->now_s)
        return;
    xl_out_text(&html->out, s > html->now_s ? " <small>in " : " <small>");
    xl_out_text(&html->out, distance(near, sizeof near, html->now_s, s));
    xl_out_text(&html->out, s > html->now_s ? "</small>" : " ago</small>");
}

static uint64_t tenths_of(uint64_t part, uint64_t whole)
{
    double tenths = whole ? (double)part * 1000.0 / (double)whole : 1000.0;

    return tenths < 1e9 ? (uint64_t)tenths : UINT64_C(1000000000);
}

static void out_tenths(xl_out_t *out, uint64_t tenths)
{
    char buf[32];

    snprintf(buf, sizeof buf, "%" PRIu64 ".%u", tenths / 10, (unsigned)(tenths % 10));
    xl_out_text(out, buf);
}

static void percent(xl_out_t *out, uint64_t tenths, const char *unit)
{
    out_tenths(out, tenths);
    xl_out_text(out, unit);
}

/* How much is used, and a mark where the period will end when it goes on as it
 * began; ahead: that, in tenths of a percent, or XL_ABSENT. The number beside it
 * says the same. */
static void bar(xl_html_t *html, const char *state, uint64_t tenths, uint64_t ahead)
{
    xl_out_t *out = &html->out;

    xl_out_text(out, "<span class=\"usage ");
    xl_out_text(out, state);
    xl_out_text(out, "\"><svg class=\"bar\" viewBox=\"0 0 100 10\" preserveAspectRatio=\"none\" role=\"img\"><title>");
    percent(out, tenths, " % used");
    if (ahead != XL_ABSENT) {
        xl_out_text(out, ", ");
        percent(out, ahead, " % at the end of the period at this pace");
    }
    xl_out_text(out, "</title><rect class=\"track\" width=\"100\" height=\"10\"/><rect class=\"fill\" width=\"");
    percent(out, tenths < 1000 ? tenths : 1000, "\" height=\"10\"/>");
    if (ahead != XL_ABSENT) {
        xl_out_text(out, "<rect class=\"mark\" y=\"0\" width=\"1.2\" height=\"10\" x=\"");
        percent(out, ahead < 988 ? ahead : 988, "\"/>");
    }
    xl_out_text(out, "</svg><b>");
    percent(out, tenths, "&nbsp;%</b></span>");
}

static void bar_of(xl_html_t *html, xl_sheet_e table, const xl_field_t *field, const void *row)
{
    const xl_field_t *state = xl_field_find(table, "state");
    const xl_snap_limit_t *limit = table == XL_SHEET_LIMITS ? row : NULL;
    bool ahead = limit && limit->projected != XL_ABSENT;

    bar(html, state ? xl_field_text(state, row) : "ok", xl_field_u64(field, row),
        ahead ? tenths_of(limit->projected, limit->amount) : XL_ABSENT);
}

static void state_of_limit(xl_html_t *html, const xl_snap_limit_t *limit)
{
    char near[48];

    if (limit->refusing_since_s != XL_ABSENT) {
        xl_out_text(&html->out, " <small>for ");
        xl_out_text(&html->out, distance(near, sizeof near, limit->refusing_since_s, html->now_s));
        xl_out_text(&html->out, "</small>");
    }
    if (limit->mode && strcmp(limit->mode, "enforce")) {
        xl_out_text(&html->out, " <small>");
        xl_out_escaped(&html->out, xl_escape_markup, limit->mode);
        xl_out_text(&html->out, "</small>");
    }
}

static void state_of_client(xl_html_t *html, const xl_snap_client_t *client)
{
    char near[48];

    if (client->locked_s == XL_ABSENT)
        return;
    xl_out_text(&html->out, " <small>locked out for ");
    xl_out_text(&html->out, distance(near, sizeof near, 0, client->locked_s));
    xl_out_text(&html->out, "</small>");
}

static void state(xl_html_t *html, xl_sheet_e table, const xl_field_t *field, const void *row)
{
    const char *word = xl_field_text(field, row);
    const char *sign = !strcmp(word, "ok") ? "\342\227\217" : !strcmp(word, "warned") ? "\342\226\262" : "\342\226\240";

    xl_out_text(&html->out, "<span class=\"state ");
    xl_out_text(&html->out, word);
    xl_out_text(&html->out, "\"><i aria-hidden=\"true\">");
    xl_out_text(&html->out, sign);
    xl_out_text(&html->out, "</i>");
    xl_out_text(&html->out, word);
    xl_out_text(&html->out, "</span>");
    if (table == XL_SHEET_LIMITS)
        state_of_limit(html, row);
    if (table == XL_SHEET_CLIENTS)
        state_of_client(html, row);
}

static void number(xl_html_t *html, xl_sheet_e table, const xl_field_t *field, const void *row)
{
    switch (field->unit) {
    case XL_IN_BYTES:
        bytes(html, field, row);
        return;
    case XL_IN_AMOUNT:
        amount(html, table, field, row);
        return;
    case XL_IN_SECONDS:
        seconds(html, field, row);
        return;
    case XL_IN_MOMENT:
        moment(html, xl_field_u64(field, row));
        return;
    case XL_IN_RATE:
        rate(html, field, row);
        return;
    case XL_IN_PERCENT:
        bar_of(html, table, field, row);
        return;
    default:
        break;
    }
    count(html, xl_field_u64(field, row));
}

void xl_html_value(xl_html_t *html, xl_sheet_e table, const xl_field_t *field, const void *row)
{
    if (!xl_field_present(field, row))
        xl_out_text(&html->out, "<span class=\"none\">\342\200\223</span>");
    else if (field->unit == XL_IN_STATE)
        state(html, table, field, row);
    else if (field->kind == XL_FIELD_TEXT)
        xl_out_escaped(&html->out, xl_escape_markup, xl_field_text(field, row));
    else
        number(html, table, field, row);
}
