/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_siphash: SipHash-2-4 with 128 bits of output (Aumasson and Bernstein,
 * 2012): a hash that nobody without the key can make collide. Keys of clients
 * and zones of any length become 16 bytes through it.
 */
#ifndef XL_SIPHASH_H
#define XL_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

/* The same on every machine: out[0] holds the first eight bytes of the
 * published output as a little-endian number, out[1] the last eight. */
void xl_siphash128(const uint8_t key[16], const void *data, size_t length, uint64_t out[2]);

#endif
