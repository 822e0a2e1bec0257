/* SPDX-License-Identifier: Apache-2.0
 *
 * shared: memory that all processes share (contract in xl_shared.h). Plain mmap()
 * and no apr_shm: a pool's cleanup would take it away at exit, while threads still
 * look. Keeps no state.
 */
#include "xl_shared.h"

#include <sys/mman.h>

void *xl_shared_make(size_t bytes)
{
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return base == MAP_FAILED ? NULL : base;
}

void xl_shared_free(void *base, size_t bytes)
{
    if (base)
        munmap(base, bytes);
}
