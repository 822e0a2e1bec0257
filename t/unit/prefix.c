/* SPDX-License-Identifier: Apache-2.0
 *
 * prefix: what is a network and what is not, and the table of them: written
 * cases of both families, random ones against a search through all, prefixes in
 * each other as deep as it goes, and memory that is too small by one range.
 */
#include "tap.h"
#include "xl_prefix.h"

#include <arpa/inet.h>
#include <stdlib.h>

#define COUNT(list) (sizeof(list) / sizeof(*(list)))

static uint64_t state;

static uint64_t random64(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* ---- text ------------------------------------------------------------ */

static const struct {
    const char *text, *printed;
} good[] = {
    {"192.0.2.0/24", "192.0.2.0/24"},
    {"192.0.2.1", "192.0.2.1/32"},
    {"10/8", "10.0.0.0/8"},
    {"10.1/16", "10.1.0.0/16"},
    {"172.16.0/12", "172.16.0.0/12"},
    {"0/0", "0.0.0.0/0"},
    {"0.0.0.0/0", "0.0.0.0/0"},
    {"255.255.255.255/32", "255.255.255.255/32"},
    {"128.0.0.0/1", "128.0.0.0/1"},
    {"2001:db8::/32", "2001:db8::/32"},
    {"2001:DB8:0:0::/64", "2001:db8::/64"},
    {"2001:db8::1", "2001:db8::1/128"},
    {"::/0", "::/0"},
    {"::1", "::1/128"},
    {"8000::/1", "8000::/1"},
    {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"},
    {"ffff:ffff:ffff:ffff:ffff:ffff:192.168.100.200", "ffff:ffff:ffff:ffff:ffff:ffff:c0a8:64c8/128"},
    {"::ffff:192.0.2.0/120", "192.0.2.0/24"},
    {"::ffff:192.0.2.1", "192.0.2.1/32"},
    {"::ffff:c000:201/128", "192.0.2.1/32"},
    {"::ffff:0:0/96", "0.0.0.0/0"},
};

static const struct {
    const char *text, *fault;
} bad[] = {
    {"", "empty"},
    {" 10/8", "blank"},
    {"10/8 ", "blank"},
    {"10/8\t11/8", "blank"},
    {"192.0.2.0 /24", "blank"},
    {"/24", "does not begin with an address"},
    {"localhost", "does not begin with an address"},
    {"192.0.2", "four octets"},
    {"10", "four octets"},
    {"192.0.2.0.0/24", "does not begin with an address"},
    {"192.0.2./24", "does not begin with an address"},
    {".2/24", "does not begin with an address"},
    {"192..2.0/24", "does not begin with an address"},
    {"192.0.2.256/32", "does not begin with an address"},
    {"192.0.2.1000/32", "does not begin with an address"},
    {"192.0.02.0/24", "does not begin with an address"},
    {"0x0a.0.0.0/8", "does not begin with an address"},
    {"-1.0.0.0/8", "does not begin with an address"},
    {"2001:db8:/32", "does not begin with an address"},
    {"2001:db8::1::/64", "does not begin with an address"},
    {"fe80::1%eth0", "does not begin with an address"},
    {"[2001:db8::1]", "does not begin with an address"},
    {"2001:0db8:0000:0000:0000:0000:0000:0000:0000:0000/32", "too long"},
    {"192.0.2.0/", "0 to 32"},
    {"192.0.2.0/33", "0 to 32"},
    {"192.0.2.0/-1", "0 to 32"},
    {"192.0.2.0/024", "0 to 32"},
    {"192.0.2.0/24x", "0 to 32"},
    {"192.0.2.0/24/24", "0 to 32"},
    {"192.0.2.0/255.255.255.0", "0 to 32"},
    {"192.0.2.0/4294967320", "0 to 32"},
    {"2001:db8::/", "0 to 128"},
    {"2001:db8::/129", "0 to 128"},
    {"2001:db8::/1000", "0 to 128"},
    {"192.0.2.1/24", "bits are set"},
    {"10.1/8", "bits are set"},
    {"192.0.2.1/31", "bits are set"},
    {"1/0", "bits are set"},
    {"2001:db8::1/64", "bits are set"},
    {"2001:db8::1/127", "bits are set"},
    {"::1/0", "bits are set"},
    {"::ffff:192.0.2.0/24", "bits are set"},
    {"::ffff:192.0.2.1/120", "bits are set"},
};

static void test_text(void)
{
    char buf[XL_PREFIX_TEXT];
    xl_prefix_t prefix, again;
    size_t i;

    for (i = 0; i < COUNT(good); i++) {
        const char *fault = xl_prefix_parse(good[i].text, &prefix);

        is_str(fault, NULL, good[i].text);
        is_str(xl_prefix_print(buf, &prefix), good[i].printed, "... as it is printed");
        ok(!xl_prefix_parse(buf, &again) && xl_prefix_same(&prefix, &again), "... which is read as the same");
    }
    for (i = 0; i < COUNT(bad); i++) {
        const xl_prefix_t before = {{77, 88}, 99};
        const char *fault;

        prefix = before;
        fault = xl_prefix_parse(bad[i].text, &prefix);
        ok(fault && strstr(fault, bad[i].fault), "\"%s\": %s", bad[i].text, fault ? fault : "is taken");
        ok(xl_prefix_same(&prefix, &before), "... and nothing is stored");
    }
}

/* ---- written cases --------------------------------------------------- */

static xl_address_t address(const char *text)
{
    uint8_t bytes[16];

    if (inet_pton(AF_INET, text, bytes) == 1)
        return xl_prefix_address(bytes, 4);
    if (inet_pton(AF_INET6, text, bytes) == 1)
        return xl_prefix_address(bytes, 16);
    printf("Bail out! no address: %s\n", text);
    exit(1);
}

static xl_prefix_entry_t entry(const char *text, uint32_t value)
{
    xl_prefix_entry_t result = {.value = value, .line = value};

    if (xl_prefix_parse(text, &result.prefix)) {
        printf("Bail out! no prefix: %s\n", text);
        exit(1);
    }
    return result;
}

/* A table in a heap block of just that size: a sanitizer sees a range too many. */
static bool make(xl_prefix_table_t *table, xl_prefix_entry_t *list, size_t n, size_t ranges)
{
    void *block = malloc(ranges * sizeof(xl_prefix_range_t));
    bool made;

    xl_prefix_sort(list, n);
    made = xl_prefix_table_make(table, list, n, block, ranges * sizeof(xl_prefix_range_t));
    if (!made)
        free(block);
    return made;
}

static void drop(const xl_prefix_table_t *table)
{
    union {
        const void *kept;
        void *freed;
    } block = {table->ranges};

    free(block.freed);
}

static const struct {
    const char *address;
    uint32_t value;
    const char *what;
} found[] = {
    {"10.0.0.0", 1, "the first address"},
    {"10.255.255.255", 1, "the last one"},
    {"9.255.255.255", 0, "the one before"},
    {"11.0.0.0", 0, "the one behind"},
    {"10.1.0.0", 2, "a prefix in it"},
    {"10.1.255.255", 2, "to its end"},
    {"10.2.0.0", 1, "and behind that the outer one"},
    {"10.1.2.3", 3, "a single address in both"},
    {"10.1.2.2", 2, "its neighbours"},
    {"10.1.2.4", 2, "on either side"},
    {"::ffff:10.1.2.3", 3, "an IPv4 address in IPv6"},
    {"::ffff:10.3.0.1", 1, "one more"},
    {"::10.1.2.3", 7, "but not any that ends so"},
    {"192.0.2.77", 4, "a prefix that was written in IPv6"},
    {"192.0.3.0", 0, "behind it: all of IPv6 is not IPv4"},
    {"0.0.0.0", 0, "the first of IPv4"},
    {"255.255.255.255", 8, "the last one, alone"},
    {"255.255.255.254", 0, "the one before that"},
    {"2001:db8::1", 5, "IPv6"},
    {"2001:db8:0:1::", 6, "a prefix in it"},
    {"2001:db8:0:1:ffff:ffff:ffff:ffff", 6, "to its end"},
    {"2001:db8:0:2::", 5, "and behind that the outer one"},
    {"2001:db9::", 7, "what has nothing but all"},
    {"::", 7, "the first of all"},
    {"::fffe:ffff:ffff", 7, "the last before IPv4"},
    {"::1:0:0:0", 7, "the first behind it"},
    {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 9, "the last of all"},
};

static void test_written(void)
{
    xl_prefix_entry_t list[] = {
        entry("10/8", 1), entry("2001:db8:0:1::/64", 6), entry("10.1.2.3", 3), entry("::/0", 7),
        entry("10.1/16", 2), entry("::ffff:192.0.2.0/120", 4), entry("2001:db8::/32", 5),
        entry("255.255.255.255", 8), entry("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 9),
    };
    xl_prefix_table_t table = {0};
    size_t i;

    is_u64(xl_prefix_find(&table, address("10.0.0.0")), XL_PREFIX_NONE, "no table: nothing");
    ok(make(&table, list, 0, 5) && !xl_prefix_find(&table, address("10.0.0.0")), "an empty table: nothing");
    drop(&table);
    ok(make(&table, list, COUNT(list), 2 * COUNT(list) + 3), "a table");
    for (i = 0; i < COUNT(found); i++)
        is_u64(xl_prefix_find(&table, address(found[i].address)), found[i].value, found[i].what);
    drop(&table);
}

static void test_everything(void)
{
    xl_prefix_entry_t v4[] = {entry("0/0", 1)}, v6[] = {entry("::/0", 2)}, both[] = {entry("0/0", 1), entry("::/0", 2)};
    xl_prefix_table_t table;

    ok(make(&table, v4, 1, 5), "all of IPv4");
    is_u64(xl_prefix_find(&table, address("0.0.0.0")), 1, "from its first address");
    is_u64(xl_prefix_find(&table, address("255.255.255.255")), 1, "to its last one");
    ok(!xl_prefix_find(&table, address("::")) && !xl_prefix_find(&table, address("::1:0:0:0")), "and not IPv6");
    drop(&table);
    ok(make(&table, v6, 1, 5), "all of IPv6");
    ok(xl_prefix_find(&table, address("::1")) == 2 && xl_prefix_find(&table, address("ff02::1")) == 2, "is that");
    is_u64(xl_prefix_find(&table, address("192.0.2.1")), 0, "and not IPv4");
    drop(&table);
    ok(make(&table, both, 2, 5), "both");
    ok(xl_prefix_find(&table, address("1.2.3.4")) == 1 && xl_prefix_find(&table, address("1::")) == 2, "are both");
    drop(&table);
}

/* ---- the list -------------------------------------------------------- */

static void test_twice(void)
{
    xl_prefix_entry_t list[] = {entry("10/8", 3), entry("10/8", 1), entry("::ffff:10.0.0.0/104", 2), entry("9/8", 4)};
    xl_prefix_table_t table;

    ok(make(&table, list, COUNT(list), 9), "the same prefix three times");
    ok(list[0].value == 4 && list[1].value == 1 && list[2].value == 2 && list[3].value == 3,
       "stands side by side, in the order of the places");
    ok(xl_prefix_same(&list[1].prefix, &list[3].prefix) && !xl_prefix_same(&list[0].prefix, &list[1].prefix),
       "and is known as the same");
    is_u64(xl_prefix_find(&table, address("10.0.0.1")), 1, "the first counts");
    is_u64(xl_prefix_find(&table, address("9.0.0.1")), 4, "another one is its own");
    drop(&table);
}

/* One in the other, of all lengths. */
static void test_depth(void)
{
    const uint8_t ends_of_v6[16] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    const xl_address_t at[] = {address("::"), xl_prefix_address(ends_of_v6, 16), address("2001:db8::aaaa:5555"),
                               address("0.0.0.0"), address("192.0.2.85")};

    for (size_t i = 0; i < COUNT(at); i++) {
        xl_prefix_entry_t list[129];
        xl_prefix_table_t table;
        unsigned wrong = 0;

        for (uint32_t bits = 0; bits <= 128; bits++) {
            uint64_t high = bits >= 64 ? UINT64_MAX : ~(UINT64_MAX >> bits);
            uint64_t low = bits <= 64 ? 0 : bits == 128 ? UINT64_MAX : ~(UINT64_MAX >> (bits - 64));

            list[128 - bits] = (xl_prefix_entry_t){{{at[i].high & high, at[i].low & low}, bits}, bits + 1, 0, bits};
        }
        ok(make(&table, list, 129, 2 * 129 + 3), "129 prefixes that hold each other");
        is_u64(xl_prefix_find(&table, at[i]), 129, "the longest one is the address");
        for (uint32_t bits = 1; bits <= 128; bits++) {
            xl_address_t other = at[i];
            bool comes_to_v4;

            *(bits > 64 ? &other.low : &other.high) ^= UINT64_C(1) << ((128 - bits) % 64);
            comes_to_v4 = bits <= 96 && !other.high && other.low >> 32 == 0xffff;
            wrong += xl_prefix_find(&table, other) != (comes_to_v4 ? XL_PREFIX_NONE : bits);
        }
        is_u64(wrong, 0, "without its bit n it is in the one of length n - 1");
        drop(&table);
    }
}

/* ---- against a search through all ------------------------------------ */

static bool holds(const xl_prefix_t *prefix, xl_address_t a)
{
    uint64_t high = prefix->address.high ^ a.high, low = prefix->address.low ^ a.low;

    if (prefix->bits < 96 && !a.high && a.low >> 32 == 0xffff)
        return false;
    if (prefix->bits <= 64)
        return !prefix->bits || !(high >> (64 - prefix->bits));
    return !high && !(low >> (128 - prefix->bits));
}

static uint32_t search(const xl_prefix_entry_t *list, size_t n, xl_address_t a)
{
    const xl_prefix_entry_t *best = NULL;

    for (size_t i = 0; i < n; i++)
        if (holds(&list[i].prefix, a) && (!best || list[i].prefix.bits > best->prefix.bits))
            best = &list[i];
    return best ? best->value : XL_PREFIX_NONE;
}

/* Few bits are drawn, so that many prefixes hold each other or touch. */
static xl_address_t random_address(void)
{
    uint64_t bits = random64();
    uint8_t bytes[16] = {0};

    if (bits & 1) {
        bytes[0] = (uint8_t)(bits >> 8 & 3);
        bytes[1] = (uint8_t)(bits >> 16 & 0xc1);
        bytes[2] = (uint8_t)(bits >> 24 & 0x81);
        bytes[3] = (uint8_t)(bits >> 32 & 7);
        return xl_prefix_address(bytes, 4);
    }
    bytes[0] = (uint8_t)(bits >> 8 & 0x81);
    bytes[7] = (uint8_t)(bits >> 16 & 3);
    bytes[8] = (uint8_t)(bits >> 24 & 0xc0);
    bytes[15] = (uint8_t)(bits >> 32 & 7);
    if ((bits >> 40 & 3) == 0)
        bytes[10] = bytes[11] = 0xff;
    return xl_prefix_address(bytes, 16);
}

static xl_prefix_t random_prefix(void)
{
    xl_address_t a = random_address();
    bool v4 = !a.high && a.low >> 32 == 0xffff;
    uint32_t bits = v4 ? 96 + (uint32_t)(random64() % 33) : (uint32_t)(random64() % 129);

    a.high &= bits >= 64 ? UINT64_MAX : ~(UINT64_MAX >> bits);
    a.low &= bits <= 64 ? 0 : bits == 128 ? UINT64_MAX : ~(UINT64_MAX >> (bits - 64));
    return (xl_prefix_t){a, bits};
}

static void compare(size_t n)
{
    xl_prefix_entry_t *list = calloc(n, sizeof(*list));
    xl_prefix_table_t table;
    unsigned wrong = 0;

    for (size_t i = 0; i < n; i++)
        list[i] = (xl_prefix_entry_t){random_prefix(), (uint32_t)(random64() % 5 + 1), 0, (uint32_t)i};
    ok(make(&table, list, n, 2 * n + 3), "%zu random prefixes", n);
    for (size_t i = 1; i < table.n; i++)
        wrong += !(table.ranges[i - 1].start.high < table.ranges[i].start.high ||
                   (table.ranges[i - 1].start.high == table.ranges[i].start.high &&
                    table.ranges[i - 1].start.low < table.ranges[i].start.low));
    for (unsigned i = 0; i < 2000; i++) {
        xl_address_t a = random_address();

        wrong += xl_prefix_find(&table, a) != search(list, n, a);
    }
    for (size_t i = 0; i < table.n; i++)
        wrong += xl_prefix_find(&table, table.ranges[i].start) != search(list, n, table.ranges[i].start);
    is_u64(wrong, 0, "... find what a search through all finds");
    drop(&table);
    free(list);
}

/* ---- memory ---------------------------------------------------------- */

static void test_memory(void)
{
    enum { N = 500 };
    static xl_prefix_entry_t list[N];
    xl_prefix_table_t table, untouched = {NULL, 77};
    size_t need;

    state = 7;
    for (uint32_t i = 0; i < N; i++)
        list[i] = (xl_prefix_entry_t){random_prefix(), i + 1, 0, i};
    ok(xl_prefix_table_size(N) >= (2 * N + 1) * sizeof(xl_prefix_range_t), "room for two ranges each");
    ok(make(&table, list, N, xl_prefix_table_size(N) / sizeof(xl_prefix_range_t)), "in what is said to be enough");
    need = table.n;
    drop(&table);
    ok(make(&table, list, N, need), "in what was needed");
    is_u64(table.n, need, "as many ranges");
    drop(&table);
    ok(!make(&untouched, list, N, need - 1), "one range too few");
    ok(!make(&untouched, list, N, 1) && !untouched.ranges && untouched.n == 77, "next to none, and nothing is stored");
}

/* The worst: every other address. */
static void test_many(void)
{
    enum { N = 100000 };
    xl_prefix_entry_t *list = calloc(N, sizeof(*list));
    xl_prefix_table_t table;
    unsigned wrong = 0;

    for (uint32_t i = 0; i < N; i++)
        list[i] = (xl_prefix_entry_t){{{0, UINT64_C(0xffff) << 32 | (N - i) * 2}, 128}, i % 9 + 1, 0, i};
    ok(make(&table, list, N, xl_prefix_table_size(N) / sizeof(xl_prefix_range_t)), "100,000 single addresses");
    for (uint32_t i = 0; i < N; i++) {
        xl_address_t a = {0, UINT64_C(0xffff) << 32 | (N - i) * 2}, b = {0, a.low + 1};

        wrong += xl_prefix_find(&table, a) != i % 9 + 1 || xl_prefix_find(&table, b) != XL_PREFIX_NONE;
    }
    is_u64(wrong, 0, "... each is found, and none between");
    is_u64(table.n, 2 * N + 1, "... with two ranges each");
    drop(&table);
    free(list);
}

int main(void)
{
    static const size_t sizes[] = {1, 2, 3, 5, 10, 30, 100, 300, 1000};

    test_text();
    test_written();
    test_everything();
    test_twice();
    test_depth();
    state = 88172645463325252u;
    for (size_t i = 0; i < COUNT(sizes); i++)
        for (unsigned round = 0; round < 5; round++)
            compare(sizes[i]);
    test_memory();
    test_many();
    return done_testing();
}
