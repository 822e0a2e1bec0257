/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_told: what was told to the error log already, in words that all children
 * and generations share: what comes with every request is said once a minute by
 * one of them. Atomic words, nobody locks; the parent reads none of them, and
 * what a child could write there makes lines rarer or more frequent.
 */
#ifndef XL_TOLD_H
#define XL_TOLD_H

#include "httpd.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* What it is about; each has a word of its own, zones and network files have some
 * hundreds to share. */
typedef enum {
    XL_TOLD_WHEN,   /* a condition fails */
    XL_TOLD_COST,   /* a cost is no number */
    XL_TOLD_TIMER,  /* no timer */
    XL_TOLD_STREAM, /* HTTP/2's places are taken */
    XL_TOLD_ENTRY,  /* the ledger is full */
    XL_TOLD_TARGET, /* an expression is no URL to redirect to */
    XL_TOLD_KINDS
} xl_told_e;

bool xl_told_open(server_rec *s); /* post_config; logs, and false stops the start */

/* Whether it is to be said now; of all who ask true for one, and not again for a minute. */
bool xl_told_minute(xl_told_e what);
bool xl_told_minute_of_zone(uint32_t index);

/* The word of a network file. */
_Atomic uint64_t *xl_told_file(uint32_t source);

#endif
