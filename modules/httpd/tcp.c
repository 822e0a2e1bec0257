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

/* Gone, or asked more than once for an answer, or for room, in vain. */
static bool takes_nothing(const struct tcp_info *info)
{
    return info->tcpi_state == STATE_CLOSED || info->tcpi_backoff > 1;
}

/* What is queued goes with it: a peer that wakes up after the close would get all of it. */
static void will_be_reset(int fd)
{
    struct linger linger = { .l_onoff = 1 };

    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

bool xl_tcp_break_off(int fd, uint64_t *bytes)
{
    struct tcp_info info;
    socklen_t size = sizeof(info);
    int queued = 0;

    /* The queue first: what is acknowledged in between is in both, else it were in neither. */
    if (ioctl(fd, SIOCOUTQ, &queued) != 0 || getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0
        || size < offsetof(struct tcp_info, tcpi_bytes_retrans) + sizeof(info.tcpi_bytes_retrans))
        return false;
    *bytes = info.tcpi_bytes_acked;
    if (!takes_nothing(&info)) {
        *bytes += (uint64_t)queued;
        return true;
    }
    will_be_reset(fd);
    /* What left, once each: who acknowledges nothing may have it all the same. */
    if (info.tcpi_bytes_sent - info.tcpi_bytes_retrans > *bytes)
        *bytes = info.tcpi_bytes_sent - info.tcpi_bytes_retrans;
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

bool xl_tcp_break_off(int fd, uint64_t *bytes)
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
