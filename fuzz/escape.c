/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes through each escape into buffers of any size: it ends, it fits, and is
 * whole UTF-8.
 */
#include "fuzz.h"
#include "utf8.h"
#include "xl_escape.h"
#include "xl_out.h"

static void check_escapes(const char *text)
{
    static const xl_escape_fn escapes[] = {xl_escape_markup, xl_escape_json, xl_escape_line};
    size_t length = strlen(text) < 64 ? strlen(text) : 64, i, size;

    for (i = 0; i < 3; i++)
        for (size = 0; size <= 6 * length + 1; size += 1 + size / 8) {
            char *buf = malloc(size + 1);
            size_t used = buf ? escapes[i](buf, size, text) : 0;

            must(buf && (size ? used < size && strlen(buf) == used && utf8_is_whole(buf) : !used));
            free(buf);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_t f = {data, data + size};

    do {
        char *text = fuzz_line(&f);

        check_escapes(text);
        free(text);
    } while (f.at < f.end);
    return 0;
}
