/* SPDX-License-Identifier: Apache-2.0
 *
 * prefix: networks as text, and the table of them. Prefixes either hold each
 * other or have nothing in common; so their ends cut the addresses into ranges
 * that each have one longest prefix, and a search for the range is the search for
 * that prefix. This is "binary search on ranges" of B. Lampson, V. Srinivasan and
 * G. Varghese, IP Lookups Using Multiway and Multicolumn Search, INFOCOM 1998: at
 * most two ranges for each prefix, 18 steps for 100,000 of them.
 * Owns nothing, allocates nothing, needs no lock.
 */
#include "xl_prefix.h"

#include <arpa/inet.h>
#include <string.h>

#define ADDRESS_BITS 128u
#define V4_BITS 32u
#define V4_ABOVE (ADDRESS_BITS - V4_BITS)
#define V4_MARK (UINT64_C(0xffff) << 32)
#define OCTETS 4u
#define DEPTH_MAX (ADDRESS_BITS + 2) /* of prefixes in each other, with what holds them all */

/* Where IPv4 begins: what holds all of IPv6 ends there. */
static const xl_prefix_t wall = {{0, V4_MARK}, V4_ABOVE};

/* ---- addresses ------------------------------------------------------- */

static int order(xl_address_t a, xl_address_t b)
{
    if (a.high != b.high)
        return a.high < b.high ? -1 : 1;
    return a.low == b.low ? 0 : a.low < b.low ? -1 : 1;
}

/* Ones in the first `bits`, of 64. */
static uint64_t ones(uint32_t bits)
{
    return bits >= 64 ? UINT64_MAX : ~(UINT64_MAX >> bits);
}

static xl_address_t mask(uint32_t bits)
{
    return (xl_address_t){ones(bits), bits > 64 ? ones(bits - 64) : 0};
}

static xl_address_t last_of(const xl_prefix_t *prefix)
{
    xl_address_t bits = mask(prefix->bits);

    return (xl_address_t){prefix->address.high | ~bits.high, prefix->address.low | ~bits.low};
}

static xl_address_t next(xl_address_t address)
{
    address.low++;
    address.high += !address.low;
    return address;
}

static bool is_v4(const xl_prefix_t *prefix)
{
    return prefix->bits >= V4_ABOVE && !prefix->address.high && prefix->address.low >> 32 == 0xffff;
}

xl_address_t xl_prefix_address(const uint8_t *bytes, size_t size)
{
    xl_address_t address = {0, size == OCTETS ? 0xffff : 0};
    size_t i;

    for (i = 0; i < size; i++) {
        address.high = address.high << 8 | (size > OCTETS ? address.low >> 56 : 0);
        address.low = address.low << 8 | bytes[i];
    }
    return address;
}

bool xl_prefix_same(const xl_prefix_t *a, const xl_prefix_t *b)
{
    return a->bits == b->bits && !order(a->address, b->address);
}

/* ---- text ------------------------------------------------------------ */

/* A number of at most three digits that ends at the end or before `stop`; -1:
 * there is none. "010" is 8 to some and 10 to others: none. */
static int number(const char **text, char stop)
{
    const char *start = *text, *at = start;
    int value = 0;

    while (*at >= '0' && *at <= '9' && at - start < 3)
        value = 10 * value + (*at++ - '0');
    if (at == start || (*start == '0' && at - start > 1) || (*at && *at != stop))
        return -1;
    *text = at;
    return value;
}

/* One to four octets; *given: how many. */
static bool read_v4(const char *text, uint8_t bytes[OCTETS], unsigned *given)
{
    memset(bytes, 0, OCTETS);
    for (*given = 0; *given < OCTETS; text++) {
        int value = number(&text, '.');

        if (value < 0 || value > 255)
            return false;
        bytes[(*given)++] = (uint8_t)value;
        if (!*text)
            return true;
    }
    return false;
}

static bool read_length(const char *text, uint32_t most, uint32_t *bits)
{
    int value = number(&text, '\0');

    *bits = (uint32_t)value;
    return value >= 0 && *bits <= most;
}

const char *xl_prefix_parse(const char *text, xl_prefix_t *prefix)
{
    const char *slash = strchr(text, '/');
    size_t length = slash ? (size_t)(slash - text) : strlen(text);
    uint32_t bits, most;
    uint8_t bytes[16];
    char address[INET6_ADDRSTRLEN];
    xl_prefix_t result;
    unsigned given;
    bool v6;

    if (!*text)
        return "the network is empty";
    if (strpbrk(text, " \t\r\n\f\v"))
        return "it holds a blank; right would be one network without blanks";
    if (length >= sizeof(address))
        return "it is too long for an address";
    memcpy(address, text, length);
    address[length] = '\0';
    v6 = strchr(address, ':') != NULL;
    if (v6 ? inet_pton(AF_INET6, address, bytes) != 1 : !read_v4(address, bytes, &given))
        return "it does not begin with an address; right would be 192.0.2.0/24, 10/8 or 2001:db8::/32";
    if (!v6 && !slash && given < OCTETS)
        return "an address without a length has four octets; right would be 10/8 or 10.0.0.1";
    bits = most = v6 ? ADDRESS_BITS : V4_BITS;
    if (slash && !read_length(slash + 1, most, &bits))
        return v6 ? "the length behind the slash is not a number from 0 to 128"
                  : "the length behind the slash is not a number from 0 to 32";
    result.address = xl_prefix_address(bytes, v6 ? sizeof(bytes) : OCTETS);
    result.bits = bits + ADDRESS_BITS - most;
    if ((result.address.high & ~mask(result.bits).high) || (result.address.low & ~mask(result.bits).low))
        return "bits are set behind its length; right would be zeros there, or a greater length";
    *prefix = result;
    return NULL;
}

static char *append_number(char *to, uint32_t value)
{
    if (value >= 10)
        to = append_number(to, value / 10);
    *to++ = (char)('0' + value % 10);
    *to = '\0';
    return to;
}

const char *xl_prefix_print(char buf[XL_PREFIX_TEXT], const xl_prefix_t *prefix)
{
    bool v4 = is_v4(prefix);
    uint8_t bytes[16];
    char *end;
    size_t i;

    for (i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)((i < 8 ? prefix->address.high : prefix->address.low) >> 8 * (7 - i % 8));
    if (!inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? bytes + 12 : bytes, buf, XL_PREFIX_TEXT))
        *buf = '\0';
    end = buf + strlen(buf);
    *end++ = '/';
    append_number(end, v4 ? prefix->bits - V4_ABOVE : prefix->bits);
    return buf;
}

/* ---- sorting --------------------------------------------------------- */

static int order_of_prefixes(const xl_prefix_t *a, const xl_prefix_t *b)
{
    int by_address = order(a->address, b->address);

    return by_address || a->bits == b->bits ? by_address : a->bits < b->bits ? -1 : 1;
}

static bool comes_before(const xl_prefix_entry_t *a, const xl_prefix_entry_t *b)
{
    int by_prefix = order_of_prefixes(&a->prefix, &b->prefix);

    if (by_prefix || a->source != b->source)
        return by_prefix ? by_prefix < 0 : a->source < b->source;
    return a->line < b->line;
}

static void swap(xl_prefix_entry_t *a, xl_prefix_entry_t *b)
{
    xl_prefix_entry_t old = *a;

    *a = *b;
    *b = old;
}

static void sift_down(xl_prefix_entry_t *list, size_t at, size_t n)
{
    size_t child;

    while ((child = 2 * at + 1) < n) {
        if (child + 1 < n && comes_before(&list[child], &list[child + 1]))
            child++;
        if (!comes_before(&list[at], &list[child]))
            return;
        swap(&list[at], &list[child]);
        at = child;
    }
}

/* A heap sort: qsort() may allocate. */
void xl_prefix_sort(xl_prefix_entry_t *list, size_t n)
{
    size_t i;

    for (i = 1; i < n && !comes_before(&list[i], &list[i - 1]); i++)
        continue;
    if (i >= n)
        return; /* most files are sorted */
    for (i = n / 2; i; i--)
        sift_down(list, i - 1, n);
    for (i = n - 1; i; i--) {
        swap(&list[0], &list[i]);
        sift_down(list, 0, i);
    }
}

/* ---- the table ------------------------------------------------------- */

/* The way through the addresses: the prefixes that hold the present one, the
 * longest last; the first of them is everything. */
typedef struct {
    xl_prefix_range_t *ranges;
    size_t n, room;
    struct {
        xl_address_t last;
        uint32_t value;
    } open[DEPTH_MAX];
    size_t depth;
    bool full;
} walk_t;

static void range_begins(walk_t *walk, xl_address_t start, uint32_t value)
{
    xl_prefix_range_t *last = walk->n ? &walk->ranges[walk->n - 1] : NULL;

    if (last && !order(last->start, start))
        last->value = value;
    else if (last && last->value == value)
        return;
    else if (walk->n == walk->room)
        walk->full = true;
    else
        walk->ranges[walk->n++] = (xl_prefix_range_t){start, value};
}

/* Ends the prefixes that do not hold the address any more; NULL: none does. */
static void leave(walk_t *walk, const xl_address_t *address)
{
    while (walk->depth > 1 && (!address || order(walk->open[walk->depth - 1].last, *address) < 0)) {
        xl_address_t after = next(walk->open[--walk->depth].last);

        if (after.high || after.low) /* else it was the last of all */
            range_begins(walk, after, walk->open[walk->depth - 1].value);
    }
}

static void enter(walk_t *walk, const xl_prefix_t *prefix, uint32_t value)
{
    leave(walk, &prefix->address);
    walk->open[walk->depth].last = last_of(prefix);
    walk->open[walk->depth++].value = value;
    range_begins(walk, prefix->address, value);
}

size_t xl_prefix_table_size(size_t n)
{
    return (2 * n + 3) * sizeof(xl_prefix_range_t);
}

bool xl_prefix_table_make(xl_prefix_table_t *table, const xl_prefix_entry_t *list, size_t n, void *block, size_t size)
{
    static const xl_prefix_t everything = {{0, 0}, 0};
    walk_t walk = {.ranges = block, .room = size / sizeof(xl_prefix_range_t)};
    bool walled = false;
    size_t i;

    enter(&walk, &everything, XL_PREFIX_NONE);
    for (i = 0; i < n; i++) {
        int to_wall = walled ? 1 : order_of_prefixes(&list[i].prefix, &wall);

        if (i && xl_prefix_same(&list[i].prefix, &list[i - 1].prefix))
            continue;
        if (!walled && to_wall > 0)
            enter(&walk, &wall, XL_PREFIX_NONE);
        walled = walled || to_wall >= 0;
        enter(&walk, &list[i].prefix, list[i].value);
    }
    if (!walled)
        enter(&walk, &wall, XL_PREFIX_NONE);
    leave(&walk, NULL);
    if (walk.full)
        return false;
    *table = (xl_prefix_table_t){walk.ranges, walk.n};
    return true;
}

uint32_t xl_prefix_find(const xl_prefix_table_t *table, xl_address_t address)
{
    size_t low = 0, high = table->n;

    if (!high)
        return XL_PREFIX_NONE;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (order(table->ranges[middle].start, address) <= 0)
            low = middle;
        else
            high = middle;
    }
    return table->ranges[low].value;
}
