/* SPDX-License-Identifier: Apache-2.0
 *
 * siphash: against the vectors of the reference implementation (key 00..0f,
 * message 00 01 02 ..; those past 63 bytes made with `openssl mac SIPHASH`).
 */
#include "tap.h"
#include "xl_siphash.h"

#include <stdlib.h>

static const struct {
    size_t length;
    const char *hex;
} vectors[] = {
    {0, "a3817f04ba25a8e66df67214c7550293"},   {1, "da87c1d86b99af44347659119b22fc45"},
    {2, "8177228da4a45dc7fca38bdef60affe4"},   {3, "9c70b60c5267a94e5f33b6b02985ed51"},
    {7, "a1f1ebbed8dbc153c0b84aa61ff08239"},   {8, "3b62a9ba6258f5610f83e264f31497b4"},
    {9, "264499060ad9baabc47f8b02bb6d71ed"},   {15, "5493e99933b0a8117e08ec0f97cfc3d9"},
    {16, "6ee2a4ca67b054bbfd3315bf85230577"},  {17, "473d06e8738db89854c066c47ae47740"},
    {63, "5150d1772f50834a503e069a973fbd7c"},  {64, "1eaf077dc0d4cd3f8cad4d383658a74b"},
    {255, "1c9bb67528165f8e468248e3799b0eab"}, {256, "67a00304d3834c4612eaee7b5f579acb"},
    {257, "1b25fee1ef6fbb23179c26056c2995fc"},
};

static void to_hex(const uint64_t out[2], char hex[33])
{
    for (unsigned i = 0; i < 16; i++)
        snprintf(hex + 2 * i, 3, "%02x", (unsigned)(out[i / 8] >> 8 * (i % 8) & 0xff));
}

/* From a heap block of exactly this length, at this offset: a sanitizer sees a
 * byte too many, and alignment must not matter. */
static void hash_to_hex(const uint8_t key[16], const void *data, size_t length, size_t offset, char hex[33])
{
    uint8_t *block = malloc(offset + length + !length);
    uint64_t out[2];

    memcpy(block + offset, data, length);
    xl_siphash128(key, block + offset, length, out);
    free(block);
    to_hex(out, hex);
}

int main(void)
{
    static const uint8_t other_key[16] = {0xff, 0xee, 0xdd, 0xcc, 0xbb, 0xaa, 0x99, 0x88,
                                          0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0x00};
    uint8_t key[16], message[257];
    char hex[33];

    for (unsigned i = 0; i < sizeof(message); i++)
        message[i] = (uint8_t)i;
    memcpy(key, message, sizeof(key));

    for (size_t i = 0; i < sizeof(vectors) / sizeof(*vectors); i++) {
        char what[64];

        snprintf(what, sizeof(what), "%zu bytes", vectors[i].length);
        hash_to_hex(key, message, vectors[i].length, 0, hex);
        is_str(hex, vectors[i].hex, what);
        hash_to_hex(key, message, vectors[i].length, 3, hex);
        is_str(hex, vectors[i].hex, "the same, unaligned");
    }
    hash_to_hex(other_key, "The quick brown fox", 19, 0, hex);
    is_str(hex, "078c0e5f5f10e472be356cbd89ee3aae", "another key");
    return done_testing();
}
