/* SPDX-License-Identifier: Apache-2.0
 *
 * Decisions over any limits at any moments: all or nothing, never over the amount,
 * and what is charged is given back. Clients of one scene share its counters.
 */
#include "limits.h"

#define STEPS_MOST 100

static void check_verdict(const scene_t *s, const xl_verdict_t *v)
{
    must(v->by <= s->n && v->tightest <= s->n && v->verdict < XL_VERDICTS);
    must(v->decision == XL_DECISION_SERVE || (v->by < s->n && (v->retry_after_s || s->list[v->by].wait_ms == XL_WAIT_NEVER) && !v->delay_ns));
    must(v->has_remaining == (v->tightest < s->n));
    must(!v->has_remaining || v->remaining <= s->list[v->tightest].total);
    for (size_t i = 0; i < s->n; i++) {
        must(s->list[i].left <= s->list[i].total && s->list[i].verdict < XL_VERDICTS);
        must(v->decision == XL_DECISION_SERVE || (!s->list[i].charged && !s->list[i].counts));
    }
}

static void request(fuzz_t *f, scene_t *s, xl_now_t now)
{
    uint64_t before[LIMITS_MOST] = {0}, after[LIMITS_MOST] = {0}, cost = 1 + (fuzz_number(f) & 0xFFFFF), bytes;
    xl_verdict_t v;
    size_t i;

    for (i = 0; i < s->n; i++)
        s->list[i].cost = cost;
    take_down(s, now, before);
    v = xl_decide(s->list, s->n, &here, now);
    check_verdict(s, &v);
    take_down(s, now, after);
    for (i = 0; i < s->n; i++) {
        const xl_limit_t *limit = &s->limit[i];
        bool strict = limit->dimension == XL_DIM_QUOTA && limit->unit == XL_UNIT_REQUESTS &&
                      s->list[i].action->kind < XL_ACT_SPEED;

        must(v.decision == XL_DECISION_SERVE || before[i] == after[i]);
        must(!strict || after[i] <= before[i] || after[i] <= limit->amount);
    }
    bytes = fuzz_number(f) & 0xFFFFFFFFFF;
    if (v.decision == XL_DECISION_REFUSE) {
        xl_decide_refused(s->list, s->n, now);
    } else {
        xl_account(s->list, s->n, bytes, now);
        xl_account_back(s->list, s->n, bytes);
        if (fuzz_byte(f) & 1) {
            xl_decide_undo(s->list, s->n, &here);
            take_down(s, now, after);
            for (i = 0; i < s->n; i++)
                must(before[i] == after[i] || after[i] >= before[i] + cost); /* saturated, else as before */
        }
    }
    xl_answered(s->list, s->n, 404, now);
    xl_settle(s->list, s->n, &here);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_t f = {data, data + size};
    xl_now_t now = {.wall_ms = INT64_C(1700000000000), .mono_ns = XL_NS_PER_S};
    scene_t s = {.n = 1 + fuzz_byte(&f) % LIMITS_MOST};

    s.entries = fuzz_guarded(LIMITS_MOST * ENTRY_BYTES);
    for (size_t i = 0; i < s.n; i++)
        add_limit(&f, &s, i);
    for (int i = 0; i < STEPS_MOST && f.at < f.end; i++) {
        uint64_t ms = fuzz_number(&f) & 0xFFFFFFFFF;

        now.wall_ms += (int64_t)ms;
        now.mono_ns += ms * XL_NS_PER_MS;
        request(&f, &s, now);
    }
    fuzz_unguard(s.entries, LIMITS_MOST * ENTRY_BYTES);
    return 0;
}
