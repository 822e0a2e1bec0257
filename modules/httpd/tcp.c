/* SPDX-License-Identifier: Apache-2.0
 *
 * tcp: socket options of Linux' TCP, in a file of its own because the kernel's
 * header (the C library's lacks the newer fields) does not go together with
 * others. Keeps no state.
 */
#include "xl_tcp.h"

#ifdef __linux__

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define STATE_CLOSED 7 /* TCP_CLOSE of the C library's header */

void xl_tcp_limit_unsent(int fd, int bytes)
{
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof(bytes));
}

/* It was asked again and again for an answer, or for room, in vain. */
static bool takes_nothing(const struct tcp_info *info)
{
    return info->tcpi_state == STATE_CLOSED || info->tcpi_backoff;
}

bool xl_tcp_arrives(int fd, uint64_t *bytes)
{
    struct tcp_info info;
    socklen_t size = sizeof(info);
    int queued = 0;

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0
        || size < offsetof(struct tcp_info, tcpi_bytes_acked) + sizeof(info.tcpi_bytes_acked))
        return false;
    if (!takes_nothing(&info) && ioctl(fd, SIOCOUTQ, &queued) != 0)
        return false;
    *bytes = info.tcpi_bytes_acked;
    *bytes += (uint64_t)queued;
    return true;
}

bool xl_tcp_peer_finished(int fd)
{
    char byte;

    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

bool xl_tcp_peer_reset(int fd)
{
    struct tcp_info info;
    socklen_t size = sizeof(info);

    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 && info.tcpi_state == STATE_CLOSED;
}

#else

void xl_tcp_limit_unsent(int fd, int bytes)
{
    (void)fd;
    (void)bytes;
}

bool xl_tcp_arrives(int fd, uint64_t *bytes)
{
    (void)fd;
    (void)bytes;
    return false;
}

bool xl_tcp_peer_finished(int fd)
{
    (void)fd;
    return false;
}

bool xl_tcp_peer_reset(int fd)
{
    (void)fd;
    return false;
}

#endif
