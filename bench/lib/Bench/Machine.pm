# SPDX-License-Identifier: Apache-2.0
#
# Bench::Machine: what /proc says of processes and of the machine: CPU time,
# memory, wake-ups, system calls, steal. Reads only, but for raising the limits
# of this process.
package Bench::Machine;

use strict;
use warnings;

use Exporter qw(import);
use List::Util qw(sum0);
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

use XL::System qw(slurp);

our @EXPORT_OK = qw(between look memory raise_open_files shared syscalls weather);

# As many as the kernel lets this process and its children have, at most $files.
sub raise_open_files {
    my ($files) = @_;
    system("prlimit --pid $$ --nofile=$files:$files 2>/dev/null"); # as root, where root may
    my ($soft, $hard) = slurp('/proc/self/limits') =~ /^Max open files\s+(\d+)\s+(\d+)/m;
    return $hard;
}

# What these processes have used by now: CPU seconds, and how often one of their threads went to sleep.
sub look {
    my (@pids) = @_;
    my %sum = (at => clock_gettime(CLOCK_MONOTONIC), cpu => 0, switches => 0);
    for my $task (map { glob "/proc/$_/task/*" } @pids) {
        my ($ran) = (eval { slurp("$task/schedstat") } // '0') =~ /^(\d+)/;
        $sum{cpu} += $ran / 1e9;
        $sum{switches} += (eval { slurp("$task/status") } // '') =~ /^voluntary_ctxt_switches:\s+(\d+)/m ? $1 : 0;
    }
    return \%sum;
}

# Bytes that belong to these processes alone. Their page tables are held meanwhile: not while somebody is timed.
sub memory {
    my (@pids) = @_;
    return 1024 * sum0(map { (eval { slurp("/proc/$_/smaps_rollup") } // '') =~ /^Private_(?:Clean|Dirty):\s+(\d+)/mg }
        @pids);
}

# Bytes of shared memory that one of these processes has touched: the most of all.
sub shared {
    my (@pids) = @_;
    my @sums = map { 1024 * sum0((eval { slurp("/proc/$_/status") } // '') =~ /^RssShmem:\s+(\d+)/mg) } @pids;
    return (sort { $b <=> $a } @sums, 0)[0];
}

# Per second between two looks: cores, switches.
sub between {
    my ($then, $now) = @_;
    my $time = $now->{at} - $then->{at};
    return { seconds => $time, map { $_ => ($now->{$_} - $then->{$_}) / $time } qw(cpu switches) };
}

# System calls per second of these processes, by name and as `all`, counted for so long by perf (linux-perf);
# nothing where that may not be.
sub syscalls {
    my ($seconds, @pids) = @_;
    my @names = qw(futex epoll_wait epoll_ctl timerfd_settime timerfd_create accept4 read sendfile64 write writev fcntl
        close getsockopt setsockopt ioctl poll mmap munmap openat newfstat);
    my $events = join ',', 'raw_syscalls:sys_enter', map { "syscalls:sys_enter_$_" } @names;
    my $said = qx(perf stat -x, -e $events -p @{[join ',', @pids]} sleep $seconds 2>&1);
    my %per_second;
    $per_second{ $2 eq 'raw_syscalls:sys_enter' ? 'all' : $2 =~ s/.*sys_enter_//r } = $1 / $seconds
        while $said =~ /^(\d+),[^,]*,([^,]+),/mg;
    return \%per_second;
}

# ---- the machine ------------------------------------------------------------

my @first = jiffies();

sub jiffies {
    my ($line) = slurp('/proc/stat') =~ /^cpu\s+(.*)/m;
    return split ' ', $line;
}

# Since the last answer: how much of the machine was stolen, how much was busy; and the load. '' when that is too
# short ago to say.
sub weather {
    my @now = jiffies();
    my @d = map { $now[$_] - $first[$_] } 0 .. 7;
    my $all = sum0(@d);
    return '' if $all < 100;
    @first = @now;
    my ($load) = slurp('/proc/loadavg') =~ /^(\S+)/;
    return sprintf 'steal %.1f %%, busy %.0f %%, load %s', 100 * $d[7] / $all, 100 * (1 - ($d[3] + $d[4]) / $all),
        $load;
}

1;
