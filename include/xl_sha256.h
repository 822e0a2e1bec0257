/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_sha256: the digest of FIPS 180-4, for the hash of the style sheet in the
 * Content-Security-Policy (APR has MD5 and SHA-1 only). Not for secrets.
 */
#ifndef XL_SHA256_H
#define XL_SHA256_H

#include <stddef.h>
#include <stdint.h>

void xl_sha256(const void *data, size_t length, uint8_t digest[32]);

#endif
