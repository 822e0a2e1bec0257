/* SPDX-License-Identifier: Apache-2.0
 *
 * The plan of the load client: lines of key=value on stdin, as bench/README
 * lists them. Owns the names of the keys and their defaults; opens no socket.
 * A word that it does not know ends the program: a benchmark that measures
 * something else than its plan says is worse than none.
 */
#include "load.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_GROUPS = 256 };

static int line_number;

static void refuse(const char *what, const char *value, const char *right)
{
    fprintf(stderr, "load: line %d of the plan: %s \"%s\": right would be %s\n", line_number, what, value, right);
    exit(2);
}

static double number(const char *key, const char *text)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || value < 0) {
        refuse(key, text, "a number");
    }
    return value;
}

static int64_t seconds(const char *key, const char *text)
{
    return (int64_t)(number(key, text) * 1e9);
}

static void address(const char *text, in_addr_t *host_order)
{
    struct in_addr in;
    if (inet_pton(AF_INET, text, &in) != 1) {
        refuse("address", text, "an IPv4 address");
    }
    *host_order = ntohl(in.s_addr);
}

static void set_windows(load_group_t *g, const char *list)
{
    char copy[64], *rest = copy;
    snprintf(copy, sizeof copy, "%s", list);
    for (char *word; (word = strsep(&rest, ",")) != NULL; g->n_windows++) {
        if (g->n_windows == LOAD_WINDOWS || number("windows", word) < 1) {
            refuse("windows", list, "up to four numbers of milliseconds, with commas");
        }
        g->window_ns[g->n_windows] = (int64_t)(number("windows", word) * 1e6);
    }
}

static bool set_kind(load_group_t *g, const char *value)
{
    static const char *const kinds[] = { "download", "upload", "probe" };
    for (int i = 0; i < 3; i++) {
        if (!strcmp(value, kinds[i])) {
            g->kind = (load_kind_t)i;
            return true;
        }
    }
    return false;
}

static void set_again(load_group_t *g, const char *value)
{
    if (strcmp(value, "keep") && strcmp(value, "new")) {
        refuse("again", value, "keep or new");
    }
    g->again = *value == 'k' ? AGAIN_KEEP : AGAIN_NEW;
}

static bool set_text(load_group_t *g, const char *key, const char *value)
{
    in_addr_t host;
    if (!strcmp(key, "name")) {
        snprintf(g->name, sizeof g->name, "%s", value);
    } else if (!strcmp(key, "host")) {
        address(value, &host);
        g->to.sin_addr.s_addr = htonl(host);
    } else if (!strcmp(key, "from")) {
        address(value, &g->from);
    } else if (!strcmp(key, "path")) {
        snprintf(g->path, sizeof g->path, "%s", value);
    } else if (!strcmp(key, "again")) {
        set_again(g, value);
    } else if (!strcmp(key, "windows")) {
        set_windows(g, value);
    } else {
        return false;
    }
    return true;
}

static bool set_time(load_group_t *g, const char *key, const char *value)
{
    int64_t *at = !strcmp(key, "at")       ? &g->at_ns
                  : !strcmp(key, "spread") ? &g->spread_ns
                  : !strcmp(key, "leave")  ? &g->leave_ns
                  : !strcmp(key, "young")  ? &g->young_ns
                  : !strcmp(key, "every")  ? &g->every_ns
                                           : NULL;
    if (at) {
        *at = seconds(key, value);
    }
    return at != NULL;
}

static bool set_number(load_group_t *g, const char *key, const char *value)
{
    if (!strcmp(key, "n")) {
        g->n = (int)number(key, value);
    } else if (!strcmp(key, "port")) {
        g->to.sin_port = htons((uint16_t)number(key, value));
    } else if (!strcmp(key, "froms")) {
        g->froms = (unsigned)number(key, value);
    } else if (!strcmp(key, "keys")) {
        g->keys = (uint64_t)number(key, value);
    } else if (!strcmp(key, "read")) {
        g->read_bps = (int64_t)number(key, value);
    } else if (!strcmp(key, "rcvbuf")) {
        g->rcvbuf = (int)number(key, value);
    } else if (!strcmp(key, "range")) {
        g->range_bytes = (int64_t)number(key, value);
    } else if (!strcmp(key, "size")) {
        g->size_bytes = (int64_t)number(key, value);
    } else if (!strcmp(key, "rate")) {
        g->rate_bps = number(key, value);
    } else if (!strcmp(key, "chunked")) {
        g->chunked = number(key, value) > 0;
    } else if (!strcmp(key, "tls")) {
        g->tls = number(key, value) > 0;
    } else if (!strcmp(key, "each")) {
        g->each = number(key, value) > 0;
    } else {
        return false;
    }
    return true;
}

static void complete(load_plan_t *plan, load_group_t *g)
{
    if (!g->name[0] || !g->to.sin_addr.s_addr || !g->to.sin_port || g->path[0] != '/') {
        refuse("group", g->name, "one with name=, host=, port= and path=/...");
    }
    if (g->kind == KIND_PROBE ? g->every_ns <= 0 : g->n <= 0) {
        refuse("group", g->name, "one with n=, or a probe with every=");
    }
    if (g->kind == KIND_UPLOAD && (g->size_bytes <= 0 || g->tls)) {
        refuse("upload", g->name, "one with size= and without tls=");
    }
    if (g->range_bytes && g->size_bytes <= g->range_bytes) {
        refuse("group", g->name, "a size= above range=");
    }
    for (int w = 0; w < g->n_windows; w++) {
        g->sums[w] = calloc((size_t)(plan->end_ns / g->window_ns[w]) + 2, sizeof(uint64_t));
    }
    g->first = plan->n_conns;
    plan->n_conns += g->kind == KIND_PROBE ? 0 : g->n;
}

static void read_group(load_plan_t *plan, char *words)
{
    if (plan->n_groups == MAX_GROUPS || !plan->end_ns) {
        refuse("group", words, "at most 256, after a line end=SECONDS");
    }
    load_group_t *g = &plan->groups[plan->n_groups++];
    g->to.sin_family = AF_INET;
    g->read_bps = -1;
    g->young_ns = 5 * LOAD_S;
    g->froms = 1;
    for (char *word; (word = strsep(&words, " ")) != NULL;) {
        char *value = strchr(word, '=');
        if (!*word || set_kind(g, word)) {
            continue;
        }
        if (value) {
            *value++ = '\0';
        }
        if (!value || (!set_text(g, word, value) && !set_time(g, word, value) && !set_number(g, word, value))) {
            refuse("word", word, "one of those in bench/README");
        }
    }
    complete(plan, g);
}

void load_plan_read(load_plan_t *plan)
{
    char line[1024];
    plan->groups = calloc(MAX_GROUPS, sizeof *plan->groups);
    while (fgets(line, sizeof line, stdin)) {
        line_number++;
        line[strcspn(line, "\n")] = '\0';
        if (!strncmp(line, "end=", 4)) {
            plan->end_ns = seconds("end", line + 4);
        } else if (!strncmp(line, "mss=", 4)) {
            plan->mss = (int)number("mss", line + 4);
        } else if (*line && *line != '#') {
            read_group(plan, line);
        }
    }
    if (!plan->n_groups) {
        refuse("plan", "", "end=SECONDS and at least one group");
    }
}
