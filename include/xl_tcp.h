/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_tcp: what only the kernel's TCP can say or do. Where it cannot (another
 * system, no TCP socket) nothing is done, and said so.
 */
#ifndef XL_TCP_H
#define XL_TCP_H

#include <stdbool.h>
#include <stdint.h>

/* No more than about so many bytes wait unsent in the kernel: a slow reader
 * shows as a full socket at once. 0: as the system has it. */
void xl_tcp_limit_unsent(int fd, int bytes);

/* For a connection that will be closed as it is: how many of its bytes have left or
 * will, since it began. That is what the kernel was given, which it sends after a
 * close, too (unless the peer has sent something that nobody read); to a peer that has
 * gone, or takes nothing any more, what was sent, acknowledged or not: then the close
 * is a reset, and the rest goes nowhere. */
bool xl_tcp_break_off(int fd, uint64_t *bytes);

/* The peer will send nothing more, and all that it sent was read: it has gone,
 * or has closed its half and still reads. */
bool xl_tcp_peer_finished(int fd);

/* The peer has broken the connection off: nothing that is sent arrives. */
bool xl_tcp_peer_reset(int fd);

#endif
