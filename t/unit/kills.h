/* SPDX-License-Identifier: Apache-2.0
 *
 * Processes that work on shared memory and are killed at any moment: the mutex that
 * they have, and how the rest is made to stand still, so that what is there can be
 * held against what each has acknowledged. In what they share:
 *
 *     halt_t halt;                                 for up to STANDING who work
 *     halt_here(&shared->halt, who, parent);       now and then, by each
 *     if (halt_all(&shared->halt, n)) ...          by the parent; false: somebody hangs
 *     halt_ends(&shared->halt);
 */
#ifndef KILLS_H
#define KILLS_H

#include "mix.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KILLS_MOST 1000000ul

#define STANDING 32 /* who can be made to stand still */

typedef struct {
    _Atomic unsigned asked;           /* number of the halt that is asked for; 0: none */
    _Atomic unsigned still[STANDING]; /* in which one each stands still */
    unsigned number;                  /* of the last one; of the parent */
} halt_t;

/* As APR makes it; without priority inheritance others forget to wake somebody. */
static inline void robust_mutex(pthread_mutex_t *mutex)
{
    pthread_mutexattr_t attributes;

    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
    pthread_mutex_init(mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
}

static inline void halt_here(halt_t *halt, unsigned who, pid_t parent)
{
    unsigned asked = atomic_load(&halt->asked);

    if (!asked)
        return;
    atomic_store(&halt->still[who], asked);
    while (atomic_load(&halt->asked) == asked && getppid() == parent)
        usleep(100);
}

static inline bool all_still(const halt_t *halt, unsigned n)
{
    unsigned still = 0;

    for (unsigned i = 0; i < n; i++)
        still += atomic_load(&halt->still[i]) == halt->number;
    return still == n;
}

static inline bool halt_all(halt_t *halt, unsigned n)
{
    int tries;

    atomic_store(&halt->asked, ++halt->number);
    for (tries = 0; tries < 50000 && !all_still(halt, n); tries++)
        usleep(200);
    return tries < 50000;
}

static inline void halt_ends(halt_t *halt)
{
    atomic_store(&halt->asked, 0);
}

static inline uint64_t seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec;
}

#endif
