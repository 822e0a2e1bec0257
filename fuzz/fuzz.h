/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz: what the targets share. A target is one file with LLVMFuzzerTestOneInput,
 * which libFuzzer calls with bytes that it made up (`make ... fuzz`) and replay.c
 * with those of fuzz/corpus/ (t/02-fuzz.t). Whatever the bytes are, it returns;
 * what must hold in spite of them stands in must(), which ends the program.
 * Targets keep nothing from one input to the next.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define FUZZ_PAGE 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define must(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                                    \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* What is left of the input; behind its end all is 0. */
typedef struct {
    const uint8_t *at, *end;
} fuzz_t;

static inline uint8_t fuzz_byte(fuzz_t *f)
{
    return f->at < f->end ? *f->at++ : 0;
}

/* A number of any size: the first byte says of how many bits, and whether it is
 * just below or above a power of two. */
static inline uint64_t fuzz_number(fuzz_t *f)
{
    unsigned form = fuzz_byte(f), bits = form & 63;
    uint64_t number = 0, power = UINT64_C(1) << bits;
    unsigned i;

    if (form & 64)
        return form & 128 ? power : power - 1;
    for (i = 0; i < 8 && 8 * i <= bits; i++)
        number |= (uint64_t)fuzz_byte(f) << 8 * i;
    return number & (power | (power - 1));
}

static inline uint64_t fuzz_below(fuzz_t *f, uint64_t most)
{
    return fuzz_number(f) % most;
}

/* The text up to a newline or the end, in memory of just its size; free() it. */
static inline char *fuzz_line(fuzz_t *f)
{
    const uint8_t *stop = f->at < f->end ? memchr(f->at, '\n', (size_t)(f->end - f->at)) : NULL;
    size_t length = (size_t)((stop ? stop : f->end) - f->at);
    char *text = malloc(length + 1);

    if (!text)
        exit(1);
    if (length)
        memcpy(text, f->at, length);
    text[length] = '\0';
    f->at += length + (stop != NULL);
    return text;
}

/* A zeroed block that ends at a page that nobody may touch and begins behind
 * another one; size is a multiple of 64. */
static inline unsigned char *fuzz_guarded(size_t size)
{
    size_t whole = (size + FUZZ_PAGE - 1) / FUZZ_PAGE * FUZZ_PAGE;
    unsigned char *base = mmap(NULL, whole + 2 * FUZZ_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (base == MAP_FAILED || mprotect(base + FUZZ_PAGE, whole, PROT_READ | PROT_WRITE))
        exit(1);
    return base + FUZZ_PAGE + (whole - size);
}

static inline void fuzz_unguard(unsigned char *block, size_t size)
{
    size_t whole = (size + FUZZ_PAGE - 1) / FUZZ_PAGE * FUZZ_PAGE;

    munmap(block - (whole - size) - FUZZ_PAGE, whole + 2 * FUZZ_PAGE);
}

/* One byte of the block becomes another one. */
static inline void fuzz_spoil(fuzz_t *f, unsigned char *block, size_t size)
{
    size_t at = fuzz_number(f);

    block[at < size ? at : at % size] = fuzz_byte(f);
}

#endif
