/* SPDX-License-Identifier: Apache-2.0
 *
 * rows: made up rows of a status page, in which is missing what may be.
 */
#ifndef FUZZ_ROWS_H
#define FUZZ_ROWS_H

#include "fuzz.h"
#include "xl_snapshot.h"

#define TEXTS 6u

/* Whether a row may be without it (xl_snapshot.h). */
static inline bool may_lack(xl_sheet_e t, const xl_field_t *field)
{
    return field->show & XL_SHOW_MAYBE ||
           (t == XL_SHEET_LIMITS && field->unit != XL_IN_STATE && field->unit != XL_IN_NAME);
}

/* A field of any row: a text or none, a number or none. */
static inline void fill_row(fuzz_t *f, xl_sheet_e t, unsigned char *row, char *const *texts)
{
    for (size_t i = 0; i < xl_sheets[t].n; i++) {
        const xl_field_t *field = &xl_sheets[t].fields[i];
        uint64_t number = fuzz_number(f), rate[2] = {number, number % 7 ? 1 + number / 3 : 0};
        const char *text = number % (TEXTS + 1) < TEXTS ? texts[number % (TEXTS + 1)] : NULL;

        if (!text && !may_lack(t, field))
            text = "";

        if (field->kind == XL_FIELD_TEXT)
            memcpy(row + field->offset, &text, sizeof(text));
        else
            memcpy(row + field->offset, rate, field->kind == XL_FIELD_RATE ? sizeof(rate) : sizeof(*rate));
    }
}

#endif
