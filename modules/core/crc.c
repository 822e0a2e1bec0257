/* SPDX-License-Identifier: Apache-2.0
 *
 * crc: CRC-32 by half bytes. Owns nothing and keeps nothing: the table of 16
 * words is made on the stack, which costs less than a cache miss. No lock is
 * needed.
 */
#include "xl_crc.h"

#define POLYNOMIAL UINT32_C(0xEDB88320)

static uint32_t shifted(uint32_t crc)
{
    for (int bit = 0; bit < 4; bit++)
        crc = crc & 1 ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
    return crc;
}

uint32_t xl_crc32(const void *data, size_t size)
{
    const unsigned char *byte = data;
    uint32_t half[16], crc = UINT32_MAX;

    for (uint32_t i = 0; i < 16; i++)
        half[i] = shifted(i);
    for (size_t i = 0; i < size; i++) {
        crc ^= byte[i];
        crc = crc >> 4 ^ half[crc & 15];
        crc = crc >> 4 ^ half[crc & 15];
    }
    return ~crc;
}
