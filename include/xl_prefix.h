/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_prefix: a table of network prefixes, IPv4 and IPv6, in which the longest
 * one that holds an address gives its value.
 *
 * All addresses are of 128 bits: one of IPv4 stands where IPv6 has it, at
 * ::ffff:0:0/96, so that "::ffff:192.0.2.0/120" and "192.0.2.0/24" are the same.
 * A shorter prefix of IPv6 ("::/0") says nothing of IPv4 all the same.
 *
 * The caller gives the memory. A finished table is only read, by any number of
 * threads. Nothing here locks or allocates.
 */
#ifndef XL_PREFIX_H
#define XL_PREFIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t high, low; /* the first bit of the address is the highest of `high` */
} xl_address_t;

typedef struct {
    xl_address_t address; /* zero behind its bits */
    uint32_t bits;        /* 0..128; of IPv4 96 more than what is written */
} xl_prefix_t;

#define XL_PREFIX_NONE 0u
#define XL_PREFIX_TEXT 50 /* room for any prefix as text */

/* One line of the list that a table is made of. */
typedef struct {
    xl_prefix_t prefix;
    uint32_t value;        /* not XL_PREFIX_NONE */
    uint32_t source, line; /* where it was written, in the caller's numbers */
} xl_prefix_entry_t;

/* Addresses from `start` on, up to the next range, have that value. */
typedef struct {
    xl_address_t start;
    uint32_t value;
} xl_prefix_range_t;

typedef struct {
    const xl_prefix_range_t *ranges;
    size_t n;
} xl_prefix_table_t;

/* "192.0.2.0/24" "2001:db8::/32" "10/8" (octets that are missing are 0),
 * "192.0.2.1" (one address). NULL, or a static sentence that says what is wrong;
 * *prefix is then untouched. */
const char *xl_prefix_parse(const char *text, xl_prefix_t *prefix);

/* As one writes it: "192.0.2.0/24", "2001:db8::/32". Returns buf. */
const char *xl_prefix_print(char buf[XL_PREFIX_TEXT], const xl_prefix_t *prefix);

/* Of 4 or 16 bytes in network order. */
xl_address_t xl_prefix_address(const uint8_t *bytes, size_t size);

bool xl_prefix_same(const xl_prefix_t *a, const xl_prefix_t *b);

/* By prefix, then by place: what is there twice stands side by side. In place. */
void xl_prefix_sort(xl_prefix_entry_t *list, size_t n);

/* Bytes that are always enough for a table of n prefixes. */
size_t xl_prefix_table_size(size_t n);

/* Makes the table of a sorted list, which is not needed afterwards. The block is
 * aligned to 8 bytes. Of equal prefixes the first one counts. False: the block is
 * too small, and the table is untouched. */
bool xl_prefix_table_make(xl_prefix_table_t *table, const xl_prefix_entry_t *list, size_t n, void *block, size_t size);

/* The value of the longest prefix that holds the address, or XL_PREFIX_NONE. */
uint32_t xl_prefix_find(const xl_prefix_table_t *table, xl_address_t address);

#endif
