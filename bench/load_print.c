/* SPDX-License-Identifier: Apache-2.0
 *
 * The load client's output; load_print.h has its form. Changes nothing.
 */
#include "load_print.h"

#include <stdio.h>
#include <sys/resource.h>

static double s(int64_t ns)
{
    return (double)ns / 1e9;
}

static void print_conn(const load_conn_t *c)
{
    const char *error = c->state == STATE_OVER ? (*c->error ? c->error : "-") : *c->error ? c->error : "runs";
    int64_t gap_ns = c->gap_ns > c->old_gap_ns ? c->gap_ns : c->old_gap_ns;
    printf("d\t%s\t%d\t%d\t%d\t%lld\t%lld\t%.6f\t%.6f\t%.6f\t%.6f\t%.3f\t%.3f\t%.6f\t%lld\t%.6f\t%lld\t%.3f\t%s\n",
           c->group->name, c->id, c->status, c->requests, (long long)c->bytes, (long long)c->sent, s(c->start_ns),
           s(c->request_ns), s(c->first_ns), s(c->end_ns ? c->end_ns : c->last_ns), s(c->ahead_ns) * 1e3,
           s(c->behind_ns) * 1e3, s(c->mark_ns), (long long)c->mark_bytes, s(c->burst_ns), (long long)c->burst_bytes,
           s(gap_ns), error);
}

static void print_each(const load_conn_t *c, int64_t ran_ns)
{
    printf("e\t%s\t%d", c->group->name, c->id);
    for (int64_t t = 0; t < ran_ns / LOAD_S; t++) {
        printf("\t%u", c->seconds[t]);
    }
    putchar('\n');
}

static void print_windows(const load_group_t *g, int64_t ran_ns)
{
    for (int w = 0; w < g->n_windows; w++) {
        printf("w\t%s\t%.0f", g->name, s(g->window_ns[w]) * 1e3);
        for (int64_t k = 0; k < ran_ns / g->window_ns[w]; k++) {
            printf("\t%llu", (unsigned long long)g->sums[w][k]);
        }
        putchar('\n');
    }
}

void load_print(const load_plan_t *plan, const load_conn_t *conns, const load_probe_t *probes, int n_probes,
                const load_self_t *self)
{
    for (int i = 0; i < plan->n_conns; i++) {
        print_conn(&conns[i]);
        if (conns[i].seconds) {
            print_each(&conns[i], self->ran_ns);
        }
    }
    for (int i = 0; i < plan->n_groups; i++) {
        print_windows(&plan->groups[i], self->ran_ns);
    }
    for (int i = 0; i < n_probes; i++) {
        const load_probe_t *p = &probes[i];
        printf("p\t%s\t%.6f\t%.3f\t%d\t%s\n", p->group->name, s(p->start_ns), s(p->took_ns) * 1e3, p->status,
               *p->error ? p->error : "-");
    }
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    printf("self\t%.3f\t%.3f\t%.3f\t%.3f\t%ld\n", s(self->ran_ns),
           (double)use.ru_utime.tv_sec + (double)use.ru_utime.tv_usec / 1e6,
           (double)use.ru_stime.tv_sec + (double)use.ru_stime.tv_usec / 1e6, s(self->longest_ns) * 1e3, self->turns);
}
