/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_crc: CRC-32 (IEEE 802.3, as zlib has it). Finds what a torn write or a
 * flipped bit did to a block; who can write to the block can forge it.
 */
#ifndef XL_CRC_H
#define XL_CRC_H

#include <stddef.h>
#include <stdint.h>

uint32_t xl_crc32(const void *data, size_t size);

#endif
