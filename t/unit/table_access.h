/* SPDX-License-Identifier: Apache-2.0
 *
 * table_access: the code of the table, compiled into the test with the accesses of
 * access.h; the weaker orders that the code asks for are at work in table.c and
 * pin.c.
 */
#ifndef TABLE_ACCESS_H
#define TABLE_ACCESS_H

#include "table.h"
#include "access.h"

#include "../../modules/store/pin.c"
#include "../../modules/store/table.c"

#endif
