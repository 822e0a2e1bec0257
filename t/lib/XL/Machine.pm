# SPDX-License-Identifier: Apache-2.0
#
# XL::Machine: faults of the machine under a server: a wall clock that jumps while
# monotonic time does not, and disks of its own (root only), which can be full, and of
# which one goes read-only as the kernel makes it when it finds the disk broken. All
# go away at the end.
#
#     my $clock = XL::Machine->clock;           undef where there is no compiler
#     my $s = XL::Server->new(wrapper => [$clock->wrapper], ...);
#     $clock->jump(365 * 86_400);               seconds, from now on; 0 is the right time
#
#     my $disk = XL::Machine->disk($folder, 1_048_576);     undef where it cannot be mounted
#     $disk->fill; $disk->empty;                with a file called `filler`
#     my $disk = XL::Machine->breakable($folder, $file);    an ext4 in a file
#     $disk->break;
#
# libfaketime is of no use here: it moves timerfd, epoll and poll along with the wall
# clock, monotonic or not, which no jump of a clock does.
package XL::Machine;

use strict;
use warnings;

use Carp qw(croak);
use File::Temp ();

use XL::Ledger qw(patch);
use XL::System qw(spew);

# ---- the clock --------------------------------------------------------------

# All that httpd, APR and their modules ask for the time of day. A condition's
# deadline is a time of day that the kernel compares with its own.
my $SHIM = <<'C';
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static const _Atomic int64_t none, *offset = &none;
static int (*real_gettime)(clockid_t, struct timespec *);
static int (*real_timedwait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("SHIM_CLOCK");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *page = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*offset), PROT_READ, MAP_SHARED, fd, 0);

    real_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    real_timedwait = (int (*)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *))
        dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2"); /* not the one of old programs */
    if (!real_timedwait)
        real_timedwait = (int (*)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *))
            dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    if (page != MAP_FAILED)
        offset = page;
}

int clock_gettime(clockid_t clock, struct timespec *t)
{
    int rc = real_gettime(clock, t);

    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)
        t->tv_sec += *offset;
    return rc;
}

int gettimeofday(struct timeval *t, void *zone)
{
    struct timespec now;
    int rc = clock_gettime(CLOCK_REALTIME, &now);

    (void)zone;
    t->tv_sec = now.tv_sec;
    t->tv_usec = now.tv_nsec / 1000;
    return rc;
}

time_t time(time_t *to)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return to ? *to = now.tv_sec : now.tv_sec;
}

int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until)
{
    struct timespec real = *until;

    real.tv_sec -= *offset;
    return real_timedwait(condition, mutex, &real);
}
C

sub clock {
    my ($class) = @_;
    my $dir = File::Temp->newdir('xlimit-XXXXXX', TMPDIR => 1);
    my $self = bless { dir => $dir }, $class;
    chmod 0755, "$dir";
    spew("$dir/clock.c", $SHIM);
    return undef if system 'cc', '-O1', '-shared', '-fPIC', '-o', "$dir/clock.so", "$dir/clock.c", '-ldl';
    spew("$dir/offset", pack 'q', 0);
    return $self;
}

sub jump {
    my ($self, $seconds) = @_;
    patch("$self->{dir}/offset", 0, pack 'q', $seconds);
    return $self;
}

# A sanitizer's runtime wants to be the first library.
sub wrapper {
    my ($self) = @_;
    return ('env', "SHIM_CLOCK=$self->{dir}/offset", 'sh', '-c', 'export LD_PRELOAD="$LD_PRELOAD $1"; shift; exec "$@"',
        'sh', "$self->{dir}/clock.so");
}

# ---- a disk -----------------------------------------------------------------

my @disks;

sub disk {
    my ($class, $folder, $bytes) = @_;
    return undef if $> || system "mount -t tmpfs -o size=$bytes,mode=0700 none '$folder' >/dev/null 2>&1";
    push @disks, bless { folder => $folder, owner => $$ }, $class;
    return $disks[-1];
}

sub breakable {
    my ($class, $folder, $file) = @_;
    return undef if $>;
    my $made = !system "exec 2>/dev/null; truncate -s 8M '$file' && mkfs.ext4 -q -F '$file'"
        . " && mount -o loop '$file' '$folder' && chmod 0700 '$folder'";
    push @disks, bless { folder => $folder, owner => $$ }, $class if $made;
    return $made ? $disks[-1] : undef;
}

sub break { my ($self) = @_; return !system 'mount', '-o', 'remount,abort', $self->{folder} }

sub fill {
    my ($self) = @_;
    my $path = "$self->{folder}/filler";
    open my $file, '>', $path or croak "$path: $!";
    1 while syswrite $file, "\0" x 4096;
    close $file;
    return $self;
}

sub empty {
    my ($self) = @_;
    unlink "$self->{folder}/filler";
    return $self;
}

sub unmount {
    my ($self) = @_;
    system 'umount', '-l', delete $self->{folder} if $self->{folder} && $self->{owner} == $$;
    return;
}

END {
    my $status = $?;
    $_->unmount for @disks;
    $? = $status;
}

1;
