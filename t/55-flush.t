# SPDX-License-Identifier: Apache-2.0
#
# Who copies the counters to the disk, and when: one child, every XLimitFlush,
# another one soon after that was killed; each process that ends, once more; and
# nobody when nothing has changed. A disk that is full or broken is logged once
# and costs no request.
#
# Timed.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use File::Temp ();
use Test::More;
use Time::HiRes qw(sleep);
use XL::Client qw(now fetch);
use XL::Copy qw(slots);
use XL::Server;
use XL::Status qw(status_conf limit);
use XL::System qw(slurp spew stand_still);

my $NAME = 'fixed.example';
my $BASE = "ServerName $NAME:80\nXLimitQuota all 1TB 1d name=bytes\n" . status_conf();

sub server {
    my ($more, %option) = @_;
    my $s = XL::Server->new(ports => 2, factor => 20, children => 3, %option, conf => $BASE . ($more // ''));
    $s->file('page.bin', 10_000);
    return $s;
}

sub state_file { return $_[0]->path('state/xlimit.state') }
sub copy       { return state_file($_[0]) . '.snapshot' }
sub used       { return limit($_[0], 'bytes', $NAME)->{used} }
sub newest     { return (-e copy($_[0]) ? slots(copy($_[0])) : ())[0] // { sequence => 0, writer => 0 } }
sub sequence   { return newest($_[0])->{sequence} }
sub ask        { return fetch($_[0]->port, '/page.bin')->{bytes} }

# What the newest copy knows: a server without the state file goes on from it.
sub copied {
    my ($s, $spare) = @_;
    unlink glob $spare->path('state/*');
    spew(copy($spare), slurp(copy($s)));
    $spare->start;
    my $used = used($spare);
    $spare->stop;
    return $used;
}

sub said { my ($s, $pattern, $from) = @_; return grep { /$pattern/ } split /\n/, substr $s->error_log, $from // 0 }

my $spare = server();

subtest 'in time, and only when something has changed' => sub {
    my $s = server("XLimitFlush 200ms\n")->start;
    ok($s->wait_for(sub { sequence($s) }, 2), 'a first copy soon after the start');
    sleep 0.7;
    my $before = sequence($s);
    sleep 1;
    is(sequence($s), $before, 'nothing changes: nothing is written');
    my $got = ask($s);
    my $begin = now();
    ok($s->wait_for(sub { sequence($s) > $before }, 2), 'a request: a copy');
    cmp_ok(now() - $begin, '<', 0.6, '... within XLimitFlush and the ticks of mod_watchdog');
    sleep 0.5; # the end of the request may come after the copy of its bytes
    is(copied($s, $spare), $got, '... in which it is counted');
    my ($from, $since) = (sequence($s), now());
    while (now() < $since + 2) {
        ask($s);
        sleep 0.02;
    }
    cmp_ok(sequence($s) - $from, '<=', 2 / 0.2 + 1, 'many requests: no more often than that');
    cmp_ok(sequence($s) - $from, '>=', 4, '... and often enough');
    is(scalar(said($s, qr/xlimit\(24/)), 0, 'it says nothing');
    ok($s->stop, 'the server ends');
};

subtest 'each process that ends' => sub {
    for my $mpm (qw(event worker prefork)) {
        my $s = server("XLimitFlush 1h\n", mpm => $mpm, factor => undef, $mpm eq 'prefork' ? (threads => 3) : ());
        $s->start;
        $s->wait_for(sub { sequence($s) }, 2);
        my $got = ask($s);
        sleep 0.2; # a request ends after its last byte
        my %children = map { $_ => 1 } $s->children;
        $s->stop;
        ok($children{ newest($s)->{writer} }, "$mpm: a child that ends writes");
        is(copied($s, $spare), $got, '... what was counted');
        $s->start;
        $s->wait_for(sub { newest($s)->{sequence} >= 3 }, 2);
        ask($s);
        sleep 0.2;
        ok($s->graceful && $s->wait_for(sub { copied($s, $spare) == 2 * $got }, 5), '... at a graceful restart, too');
        $s->stop;
    }
};

subtest 'takeover' => sub {
    my $s = server("XLimitFlush 100ms\n")->start;
    $s->wait_for(sub { newest($s)->{writer} }, 2);
    my (@gaps, %holders);
    for (1 .. 12) {
        ask($s);
        my $holder = newest($s)->{writer};
        $holders{$holder} = 1;
        kill KILL => $holder or last;
        my $killed = now();
        ok($s->wait_for(sub { ask($s); newest($s)->{writer} != $holder }, 5), 'another one writes') or last;
        push @gaps, now() - $killed;
        $s->wait_for(sub { $s->children == 3 }, 5);
    }
    is(scalar @gaps, 12, 'twelve were killed');
    cmp_ok($_, '<', 1, sprintf 'taken over in %.2f s', $_) for @gaps;
    cmp_ok(scalar keys %holders, '>', 3, 'by one after the other');

    my $holder = newest($s)->{writer};
    stand_still($holder);
    my $stopped = now();
    ok($s->wait_for(sub { ask($s); newest($s)->{writer} != $holder }, 5), 'one that is stopped is replaced, too');
    cmp_ok(now() - $stopped, '<', 1.5, '... when it has not been seen for a while');
    kill CONT => $holder;
    sleep 0.3;
    my $used = used($s);
    $s->kill9_all;
    my $state = slurp(state_file($s));
    $s->start;
    is(used($s), $used, 'nothing is lost by kill -9 of all');
    ok($s->stop, 'the server ends');
    cmp_ok(scalar(said($s, qr/xlimit\(24[3-6]/)), '==', 0, 'nobody complained');
};

# ---- disks ------------------------------------------------------------------

# Writing the copy fails as long as a file exists; optional functions of mod_watchdog are not found.
my $SHIM = <<'C';
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static int broken(const char *what)
{
    const char *path = getenv(what);
    return path && !access(path, F_OK);
}
ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at)
{
    ssize_t (*real)(int, const void *, size_t, off_t) = dlsym(RTLD_NEXT, "pwrite");
    if (broken("SHIM_ENOSPC")) { errno = ENOSPC; return -1; }
    if (broken("SHIM_SHORT") && size > 64) size /= 2;
    return real(fd, bytes, size, at);
}
ssize_t pwrite64(int fd, const void *bytes, size_t size, off_t at) { return pwrite(fd, bytes, size, at); }
int fdatasync(int fd)
{
    int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
    if (broken("SHIM_EIO")) { errno = EIO; return -1; }
    return real(fd);
}
void *apr_dynamic_fn_retrieve(const char *name)
{
    void *(*real)(const char *) = dlsym(RTLD_NEXT, "apr_dynamic_fn_retrieve");
    if (getenv("SHIM_NO_WATCHDOG") && !strncmp(name, "ap_watchdog", 11)) return NULL;
    return real(name);
}
C

my $shim_dir = File::Temp->newdir('xlimit-XXXXXX', TMPDIR => 1);
chmod 0755, "$shim_dir";
spew("$shim_dir/shim.c", $SHIM);
my $no_shim = system 'cc', '-shared', '-fPIC', '-o', "$shim_dir/shim.so", "$shim_dir/shim.c", '-ldl';

sub shimmed {
    my ($more, @variables) = @_;
    return server($more, wrapper => ['sh', '-c', 'export LD_PRELOAD="$1 $LD_PRELOAD"; shift; exec "$@"', 'sh',
        "$shim_dir/shim.so", 'env', @variables]);
}

sub breaks_and_heals {
    my ($s, $what, $break, $heal, $error) = @_;
    my $from = length $s->error_log;
    my $before = sequence($s);
    $break->();
    my ($count, $failed) = (0, 0);
    my $end = now() + 1.5;
    while (now() < $end) {
        $failed += fetch($s->port, '/page.bin')->{status} != 200;
        $count++;
        sleep 0.05;
    }
    is($failed, 0, "$what: all of $count requests are served");
    my @errors = said($s, qr/xlimit\(24/, $from);
    is(scalar @errors, 1, '... with one line in the log') or diag(@errors);
    like($errors[0] // '', qr/:error\].*\Q$error\E.*xlimit\(245\): .*\.snapshot .*; trying again/, '... that says why');
    $heal->();
    ok($s->wait_for(sub { said($s, qr/:notice\].*xlimit\(246\)/, $from) }, 3), '... and one when it has ended');
    ok($s->wait_for(sub { ask($s); sequence($s) > $before + 1 }, 3), '... and copies are written');
    is(scalar(said($s, qr/xlimit\(24/, $from)), 2, '... and no more lines');
    sleep 0.5;
    my $used = used($s);
    is(copied($s, $spare), $used, '... the newest of which is good');
    return;
}

subtest 'a broken disk' => sub {
    plan skip_all => 'no compiler for the shim' if $no_shim;
    my @cases = (['EIO', 'SHIM_EIO', 'Input/output error'], ['ENOSPC', 'SHIM_ENOSPC', 'No space left on device']);
    for my $case (@cases) {
        my ($what, $variable, $error) = @$case;
        my $flag = "$shim_dir/$what";
        my $s = shimmed("XLimitFlush 100ms\nXLimitQuota client 1TB 1h name=keyed\n", "$variable=$flag")->start;
        $s->wait_for(sub { sequence($s) }, 2);
        breaks_and_heals($s, $what, sub { spew($flag, '') }, sub { unlink $flag }, $error);
        my @keys = said($s, qr/:error\].*\Q$error\E.*xlimit\(253\): .*\.keys .*; trying again/);
        is(scalar @keys, 1, '... the copy of the keys, too, is missed once');
        ok($s->wait_for(sub { said($s, qr/:notice\].*xlimit\(254\)/) }, 3), '... and written again');
        is(scalar(said($s, qr/xlimit\(25/)), 2, '... with no more lines');

        spew($flag, '');
        ask($s);
        my $used = used($s);
        sleep 0.5;
        $s->kill9_all;
        unlink $flag;
        $s->start;
        is(used($s), $used, "$what and kill -9 of all: nothing is lost");
        ok($s->stop, 'the server ends');
    }
    my $flag = "$shim_dir/short";
    spew($flag, '');
    my $s = shimmed("XLimitFlush 100ms\n", "SHIM_SHORT=$flag")->start;
    ask($s);
    sleep 0.5;
    is(copied($s, $spare), used($s), 'short writes: copies are whole');
    $s->stop;
};

subtest 'a full disk' => sub {
    my $s = server("XLimitFlush 100ms\n");
    my $folder = $s->path('state');
    my $mounted = !$> && !system "mount -t tmpfs -o size=1M,mode=0700 none $folder >/dev/null 2>&1";
    plan skip_all => 'a disk cannot be had' if !$mounted;
    $s->start;
    $s->stop;
    my $state_size = -s state_file($s);
    unlink glob "$folder/*";
    spew("$folder/filler", 'x' x (1_048_576 - $state_size - 4096));
    my $up = eval { $s->start; 1 };
    ok($up, 'a disk that is full but for the state file: the server starts') or diag($@);
    my $no_room = qr/:error\].*No space left.*xlimit\(245\): .* has no room/;
    ok($s->wait_for(sub { said($s, $no_room) }, 3), '... and says so');
    is(fetch($s->port, '/page.bin')->{status}, 200, '... and serves');
    unlink "$folder/filler";
    ok($s->wait_for(sub { said($s, qr/xlimit\(246\)/) }, 3), 'there is room again: it says so');
    ask($s);
    sleep 0.5;
    is(copied($s, $spare), used($s), '... and the copy is good');
    $s->stop;
    system 'umount', $folder;
};

subtest 'without mod_watchdog' => sub {
    plan skip_all => 'no compiler for the shim' if $no_shim;
    my $s = shimmed("XLimitFlush 100ms\n", 'SHIM_NO_WATCHDOG=1')->start;
    my @said = said($s, qr/xlimit\(/);
    is(scalar @said, 1, 'one line');
    like($said[0], qr/:warn\].*xlimit\(249\): mod_watchdog is not loaded: .* load it/, '... says what is missing');
    my $got = ask($s);
    sleep 0.5;
    is(sequence($s), 0, 'no copy while it runs');
    ok($s->graceful && $s->wait_for(sub { sequence($s) }, 3), '... but when children end');
    is(scalar(said($s, qr/xlimit\(249\)/)), 1, '... and no second warning');
    ask($s);
    $s->stop;
    is(copied($s, $spare), 2 * $got, '... and when the server does');
};

subtest 'more counters than the file has room for' => sub {
    my $s = server("XLimitFlush 100ms\nServerLimit 4\n")->start;
    my $got = ask($s);
    $s->wait_for(sub { sequence($s) }, 2);
    my $size = -s copy($s);
    my @more = map { "XLimitQuota all 1TB 1d name=n$_\n" } 1 .. 300;
    $s->conf(join '', "${BASE}XLimitFlush 100ms\nServerLimit 4\n", @more);
    ok($s->graceful, 'graceful restart with 300 more limits');
    cmp_ok(-s copy($s), '>', $size + 300 * 640, 'the file of copies has grown');
    ok(!-e copy($s) . '.new', '... and nothing else is left');
    ask($s);
    sleep 0.6;
    is(copied($s, $spare), 2 * $got, '... and knows all');
    $s->stop;
};

subtest 'two servers on one state file' => sub {
    my $s = server("XLimitFlush 100ms\n")->start;
    ask($s);
    sleep 0.5;
    my $before = slurp(copy($s));
    my $other = server('XLimitStateFile ' . state_file($s) . "\n");
    my ($status, $said) = $other->start_refused;
    ok($status, 'the second does not start');
    like($said, qr/xlimit\(222\): .* is in use by another running server, process @{[ $s->pid ]}/, '... and says why');
    is(slurp(copy($s)), $before, '... and leaves the copy alone');
    ok($s->stop, 'the first one ends');
};

done_testing();
