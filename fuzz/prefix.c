/* SPDX-License-Identifier: Apache-2.0
 *
 * Networks, a line each: what is read is printed and read as the same, and their
 * table finds what a walk through the list finds.
 */
#include "fuzz.h"
#include "xl_prefix.h"

#define LINES_MOST 64u

static bool holds(const xl_prefix_t *prefix, xl_address_t address)
{
    uint32_t i;
    bool v4 = !address.high && address.low >> 32 == 0xffff;

    if (v4 && prefix->bits < 96)
        return false;
    for (i = 0; i < prefix->bits; i++) {
        uint64_t a = i < 64 ? address.high : address.low, p = i < 64 ? prefix->address.high : prefix->address.low;

        if ((a ^ p) >> (63 - i % 64) & 1)
            return false;
    }
    return true;
}

static uint32_t walk(const xl_prefix_entry_t *list, size_t n, xl_address_t address)
{
    const xl_prefix_entry_t *best = NULL;

    for (size_t i = 0; i < n; i++)
        if (holds(&list[i].prefix, address) && (!best || list[i].prefix.bits > best->prefix.bits))
            best = &list[i];
    return best ? best->value : XL_PREFIX_NONE;
}

static void check_near(const xl_prefix_table_t *table, const xl_prefix_entry_t *list, size_t n, xl_address_t address)
{
    xl_address_t below = {address.high - !address.low, address.low - 1};
    xl_address_t above = {address.high + !(address.low + 1), address.low + 1};

    must(xl_prefix_find(table, address) == walk(list, n, address));
    must(xl_prefix_find(table, below) == walk(list, n, below));
    must(xl_prefix_find(table, above) == walk(list, n, above));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static xl_prefix_range_t block[2 * LINES_MOST + 3];
    xl_prefix_entry_t list[LINES_MOST];
    xl_prefix_table_t table = {0};
    fuzz_t f = {data, data + size};
    size_t n = 0, i;

    while (f.at < f.end && n < LINES_MOST) {
        char *text = fuzz_line(&f), buf[XL_PREFIX_TEXT];
        xl_prefix_t again;

        list[n] = (xl_prefix_entry_t){.value = (uint32_t)n + 1, .line = (uint32_t)n};
        if (!xl_prefix_parse(text, &list[n].prefix)) {
            must(strlen(xl_prefix_print(buf, &list[n].prefix)) < sizeof(buf));
            must(!xl_prefix_parse(buf, &again) && xl_prefix_same(&again, &list[n].prefix));
            n++;
        }
        free(text);
    }
    xl_prefix_sort(list, n);
    must(xl_prefix_table_size(n) <= sizeof(block));
    must(xl_prefix_table_make(&table, list, n, block, xl_prefix_table_size(n)) && table.n <= 2 * n + 3);
    for (i = 0; i < n; i++) {
        xl_address_t last = list[i].prefix.address;

        check_near(&table, list, n, last);
        last.low |=
            list[i].prefix.bits >= 128 ? 0 : UINT64_MAX >> (list[i].prefix.bits < 64 ? 0 : list[i].prefix.bits - 64);
        last.high |= list[i].prefix.bits >= 64 ? 0 : UINT64_MAX >> list[i].prefix.bits;
        check_near(&table, list, n, last);
    }
    return 0;
}
