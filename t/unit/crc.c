/* SPDX-License-Identifier: Apache-2.0
 *
 * crc: CRC-32 of texts whose checksum others have published.
 */
#include "tap.h"
#include "xl_crc.h"

int main(void)
{
    static const struct {
        const char *text;
        uint32_t crc;
    } t[] = {
        { "", 0 },
        { "a", UINT32_C(0xE8B7BE43) },
        { "123456789", UINT32_C(0xCBF43926) },
        { "The quick brown fox jumps over the lazy dog", UINT32_C(0x414FA339) },
    };
    unsigned char page[4096] = { 0 };
    unsigned missed = 0;
    uint32_t sound;
    size_t i;

    for (i = 0; i < sizeof(t) / sizeof(*t); i++)
        is_u64(xl_crc32(t[i].text, strlen(t[i].text)), t[i].crc, t[i].text);
    is_u64(xl_crc32(page, sizeof(page)), UINT32_C(0xC71C0011), "a page of zeros");
    sound = xl_crc32(page, sizeof(page));
    for (i = 0; i < 8 * sizeof(page); i++) {
        page[i / 8] ^= (unsigned char)(1 << i % 8);
        missed += xl_crc32(page, sizeof(page)) == sound;
        page[i / 8] ^= (unsigned char)(1 << i % 8);
    }
    is_u64(missed, 0, "each flipped bit of it changes the checksum");
    return done_testing();
}
