/* SPDX-License-Identifier: Apache-2.0
 *
 * ledger_access: the code of the ledger, compiled into the test with the accesses of
 * access.h; blocks are set and copied in pieces, with a turn before each.
 */
#ifndef LEDGER_ACCESS_H
#define LEDGER_ACCESS_H

#include "xl_ledger.h"

#include "access.h"

#include <stddef.h>
#include <string.h>

#define PIECE 32u

static size_t piece(size_t left)
{
    return turn(), left < PIECE ? left : PIECE;
}

static void set_in_pieces(void *to, int value, size_t size)
{
    for (size_t done = 0; done < size; done += PIECE)
        memset((unsigned char *)to + done, value, piece(size - done));
}

static void copy_in_pieces(void *to, const void *from, size_t size)
{
    for (size_t done = 0; done < size; done += PIECE)
        memcpy((unsigned char *)to + done, (const unsigned char *)from + done, piece(size - done));
}

#define memset set_in_pieces
#define memcpy copy_in_pieces
#include "../../modules/store/ledger.c"
#undef memset
#undef memcpy

#endif
