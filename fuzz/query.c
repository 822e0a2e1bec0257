/* SPDX-License-Identifier: Apache-2.0
 *
 * The query string of a status page, and an Accept field, as any client may send
 * them: what is taken is within its bounds, an error is one line of plain text
 * without control characters.
 */
#include "fuzz.h"
#include "xl_query.h"

static bool ends(const char *text, size_t room)
{
    return memchr(text, '\0', room) != NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_t f = {data, data + size};
    char *args = fuzz_line(&f), *accept = fuzz_line(&f), error[XL_QUERY_ERROR_MAX];
    xl_query_t query;
    size_t i;

    memset(error, 'x', sizeof(error));
    if (xl_query_parse(args, &query, error)) {
        must(query.view < XL_VIEWS && query.format < XL_FORMATS && query.units <= XL_UNITS_RAW);
        must(query.top <= XL_QUERY_TOP_MAX && query.refresh_s <= XL_QUERY_REFRESH_MAX);
        must(ends(query.name, sizeof(query.name)) && ends(query.sort, sizeof(query.sort)));
    } else {
        must(ends(error, sizeof(error)) && *error);
        for (i = 0; error[i]; i++)
            must((unsigned char)error[i] >= 0x20 && error[i] != 0x7F);
    }
    must(xl_query_accept(accept) < XL_FORMATS);
    free(args);
    free(accept);
    return 0;
}
