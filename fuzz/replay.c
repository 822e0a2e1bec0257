/* SPDX-License-Identifier: Apache-2.0
 *
 * replay: gives a fuzz target the files that are named, one after the other, and
 * all of them again from the first byte on cut short, as TAP; stands for
 * libFuzzer's main where there is no clang. Fails when a file cannot be read.
 */
#include "fuzz.h"

#define MOST_BYTES 65536u

/* Each prefix of up to 256 bytes, and the whole. */
static size_t replay(const uint8_t *data, size_t size)
{
    size_t length, runs = 1;

    for (length = 0; length < size && length < 256; length++, runs++)
        LLVMFuzzerTestOneInput(data, length);
    LLVMFuzzerTestOneInput(data, size);
    return runs;
}

int main(int argc, char **argv)
{
    int i;

    for (i = 1; i < argc; i++) {
        static uint8_t data[MOST_BYTES];
        FILE *file = fopen(argv[i], "rb");
        size_t size = file ? fread(data, 1, sizeof(data), file) : 0, runs;
        uint8_t *exact = malloc(size ? size : 1);

        if (!file || ferror(file) || size == sizeof(data) || !exact) {
            fprintf(stderr, "%s: cannot be read, or has %u bytes or more\n", argv[i], MOST_BYTES);
            return 1;
        }
        fclose(file);
        memcpy(exact, data, size);
        runs = replay(exact, size);
        free(exact);
        printf("ok %d - %s, %zu inputs\n", i, argv[i], runs);
    }
    printf("1..%d\n", argc - 1);
    return argc < 2;
}
