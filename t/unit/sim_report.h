/* SPDX-License-Identifier: Apache-2.0
 *
 * sim_report: figures of a simulated run (simulator.h), the checks against the
 * bounds, and the table of them that docs/performance.md has: one row for each
 * scenario and quantity, over all kinds of processes in which it ran.
 */
#ifndef XL_SIM_REPORT_H
#define XL_SIM_REPORT_H

#include "simulator.h"
#include "tap.h"

#include <stdlib.h>

#define TEXT 120
#define ROWS_MAX 160
#define KINDS 3
#define COUNT_OF(a) (sizeof(a) / sizeof *(a))

static const faults_t kinds[KINDS] = {
    {"punctual", 0, 0, false, 0},
    {"late", 5 * MS, 0, false, 0},
    {"late, stalls", 5 * MS, 500, false, 0},
};

typedef struct {
    double least, most;
    bool any;
} span_t;

typedef struct {
    char scenario[TEXT], what[TEXT];
    double low, high;
    span_t got[KINDS];
} row_t;

static struct {
    row_t rows[ROWS_MAX];
    size_t n;
} report;

/* The row, made behind the last one of its scenario. */
static inline row_t *row_of(const char *scenario, const char *what, double low, double high)
{
    size_t i, place = report.n;

    for (i = 0; i < report.n; i++) {
        if (strcmp(report.rows[i].scenario, scenario))
            continue;
        if (!strcmp(report.rows[i].what, what))
            return &report.rows[i];
        place = i + 1;
    }
    if (report.n == ROWS_MAX) {
        printf("Bail out! more than %d rows\n", ROWS_MAX);
        exit(1);
    }
    memmove(&report.rows[place + 1], &report.rows[place], (report.n++ - place) * sizeof(row_t));
    report.rows[place] = (row_t){.low = low, .high = high};
    snprintf(report.rows[place].scenario, TEXT, "%s", scenario);
    snprintf(report.rows[place].what, TEXT, "%s", what);
    return &report.rows[place];
}

/* The kind of processes that runs: a column. Those that are none of the kinds
 * stand in the last one. */
static inline size_t column(void)
{
    size_t i = 0;

    while (i < KINDS - 1 && strcmp(world.faults.name, kinds[i].name))
        i++;
    return i;
}

/* A check that is no row. */
static inline void holds(const char *scenario, const char *what, double got, double low, double high)
{
    char text[4 * TEXT];

    snprintf(text, sizeof text, "%s, %s, %u process%s: %s", scenario, world.faults.name, world.n_processes,
             world.n_processes > 1 ? "es" : "", what);
    in_range(got, low, high, text);
}

/* A figure in its row beside the bound, which it may miss by some: what the
 * design wants and these processes or readers do not allow. */
static inline void nearly(const char *scenario, const char *what, double got, double low, double high, double some)
{
    span_t *span = &row_of(scenario, what, low, high)->got[column()];

    span->least = !span->any || got < span->least ? got : span->least;
    span->most = !span->any || got > span->most ? got : span->most;
    span->any = true;
    holds(scenario, what, got, low - some, high + some);
}

/* A figure in its row, and a check of it. */
static inline void within(const char *scenario, const char *what, double got, double low, double high)
{
    nearly(scenario, what, got, low, high, 0);
}

static inline void print_span(const span_t *span, const row_t *row)
{
    int digits = row->high > 5 ? 1 : strncmp(row->what, "Jain", 4) ? 3 : 5;
    const char *mark = span->least < row->low || span->most > row->high ? "**" : "";
    char least[TEXT], most[TEXT];

    snprintf(least, sizeof least, "%.*f", digits, span->least);
    snprintf(most, sizeof most, "%.*f", digits, span->most);
    if (!span->any)
        printf(" |");
    else if (strcmp(least, most))
        printf(" %s%s to %s%s |", mark, least, most, mark);
    else
        printf(" %s%s%s |", mark, least, mark);
}

/* After the checks: the rows, each behind "# "; what misses its bound in bold. */
static inline void print_table(void)
{
    const row_t *row;
    size_t i;

    for (row = report.rows; row < report.rows + report.n; row++) {
        bool same = row > report.rows && !strcmp(row->scenario, row[-1].scenario);

        printf("# | %s | %s | ", same ? "" : row->scenario, row->what);
        if (row->low > 0)
            printf("%g to ", row->low);
        printf("%s%g |", row->low > 0 ? "" : "up to ", row->high);
        for (i = 0; i < KINDS; i++)
            print_span(&row->got[i], row);
        printf("\n");
    }
}

/* Figures. */

typedef struct {
    double first, least, most, mean; /* of the rate; least and most without the first second */
} seconds_t;

static inline seconds_t seconds_of(const uint64_t bytes[], xl_rate_t rate, unsigned n)
{
    double line = (double)xl_rate_units(rate, S), part = (double)bytes[0] / line;
    seconds_t got = {part, 1e9, 0, part / n};
    unsigned i;

    for (i = 1; i < n; i++) {
        part = (double)bytes[i] / line;
        got.least = part < got.least ? part : got.least;
        got.most = part > got.most ? part : got.most;
        got.mean += part / n;
    }
    return got;
}

static inline void seconds_nearly(const char *scenario, const char *counted, seconds_t got, double some)
{
    char what[TEXT];

    snprintf(what, sizeof what, "first second %s", counted);
    nearly(scenario, what, got.first, 0.95, 1.01, some);
    snprintf(what, sizeof what, "later seconds %s", counted);
    nearly(scenario, what, got.least, 0.99, 1.01, some);
    nearly(scenario, what, got.most, 0.99, 1.01, some);
}

static inline void seconds_within(const char *scenario, const char *counted, seconds_t got)
{
    seconds_nearly(scenario, counted, got, 0);
}

static inline uint64_t sent_by(uint32_t from, uint32_t to)
{
    uint64_t sum = 0;

    while (from < to)
        sum += world.sessions[from++].sent;
    return sum;
}

/* 1: all equal; 1 / n: one has everything. */
static inline double jain(uint32_t from, uint32_t to)
{
    double sum = (double)sent_by(from, to), squares = 0;
    uint32_t i;

    for (i = from; i < to; i++)
        squares += (double)world.sessions[i].sent * (double)world.sessions[i].sent;
    return sum * sum / squares / (to - from);
}

#endif
