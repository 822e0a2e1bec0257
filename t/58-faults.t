# SPDX-License-Identifier: Apache-2.0
#
# What the machine may do to a running server: its disk is full to the last byte, its
# disk breaks and is read-only from one moment to the next, its clock jumps by a year
# and back. Requests are served throughout, there is one line where there is
# something to say, and the counters are right afterwards.
#
# Timed.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use List::Util qw(sum0);
use Test::More;
use XL::Balance qw($NAME balance_conf load numbers one_line settled);
use XL::Client qw(now fetch fetch_many);
use XL::Copy qw(whole);
use XL::Ledger qw(entry);
use XL::Machine;
use XL::Server;

use constant { FOLDERS => 30, YEAR => 365 * 86_400 };

my $BASE = balance_conf() . <<'CONF';
XLimitFlush 100ms
<Directory "@DOCROOT@">
    AllowOverride Limit
</Directory>
CONF

my $SLOW = "<Location /400k>\nXLimitBandwidth session 200kB/s\n</Location>\n";

sub server {
    my ($more, %option) = @_;
    my $s = XL::Server->new(children => 2, factor => 20, ports => 2, %option, conf => $BASE . $more);
    $s->{patience} = 20;
    $s->content('x', "x\n");
    $s->file("${_}k", 1000 * $_) for 10, 100, 400;
    for my $folder (1 .. FOLDERS) {
        $s->content("d$folder/x", "x\n");
        $s->content("d$folder/.htaccess", "XLimitQuota all 1TB 1d name=q\n");
    }
    return $s;
}

sub said     { my ($s, $pattern, $from) = @_; return grep { /$pattern/ } split /\n/, substr $s->error_log, $from // 0 }
sub statuses { my ($s, $path, $n) = @_; return join ' ', map { fetch($s->port, $path)->{status} } 1 .. $n }

# What the newest copy says was sent.
sub copied {
    my ($s) = @_;
    my ($slot) = whole($s->path('state/xlimit.state.snapshot'));
    return $slot ? entry($slot, '', $NAME)->{sent} : 0;
}

# Each folder has a counter that is attached now.
sub all_served {
    my ($s, $what) = @_;
    my @status = map { fetch($s->port, $_)->{status} } map { ('/10k', "/d$_/x") } 1 .. FOLDERS;
    is(scalar(grep { $_ == 200 } @status), 2 * FOLDERS, "$what: every request is served");
    return;
}

# ---- disks ------------------------------------------------------------------

subtest 'a disk that is full to the last byte' => sub {
    my $s = server('');
    my $disk = XL::Machine->disk($s->path('state'), 4_194_304);
    plan skip_all => 'only root may mount a disk' if !$disk;
    $s->start;
    $s->wait_for(sub { copied($s) || fetch($s->port, '/x') && 0 }, 3);
    $disk->fill;
    all_served($s, 'full');
    my $after = settled($s);
    ok($s->wait_for(sub { copied($s) == $after->{sent} }, 3), '... what was counted is copied, as its room was there');
    for my $how (qw(graceful restart kill9_all)) {
        $s->$how;
        $s->start if !$s->alive;
        is(one_line(numbers($s)), one_line($after), "$how: nothing is lost");
    }
    is(scalar(said($s, qr/xlimit\(/)), 0, 'nobody has anything to say');

    # More than a comfortable half of the room, then more than all of it: as with an XLimitMemory
    # that is too small.
    my @more = map { "XLimitQuota all 1TB 1d name=n$_\n" } 1 .. 300;
    my $conf = $s->{conf};
    my $from = length $s->error_log;
    $s->conf($conf . join '', @more[1 .. 28]);
    ok($s->graceful, 'a configuration that just finds room: a graceful restart');
    is(scalar(said($s, qr/:error\].*xlimit\(210\): .*No space left.*make room/, $from)), 1, '... with a line of it');
    is(one_line(numbers($s)), one_line($after), '... nothing is lost');
    $from = length $s->error_log;
    $s->conf($conf . join '', @more);
    $s->graceful;
    my @lines = said($s, qr/xlimit\(/, $from);
    is(scalar @lines, 1, 'a configuration that needs more room: one line');
    like($lines[0] // '', qr/:crit\].*xlimit\(223\): .*No space left.*; make room/, '... that says what to do');
    my ($status, $said) = $s->alive ? (0, '') : $s->start_refused;
    like($said, qr/xlimit\(223\): .*No space left/, '... and so does a start');
    $disk->empty;
    $s->conf($conf)->start;
    is(one_line(numbers($s)), one_line($after), '... nothing is lost');
    $s->conf($conf . join '', @more);
    ok($s->graceful, 'with room again it is taken');
    is(one_line(numbers($s)), one_line($after), '... with the counts that were there');
    ok($s->stop, 'the server ends by itself');
    $disk->unmount;
};

subtest 'a disk that breaks' => sub {
    my $s = server($SLOW);
    my $disk = XL::Machine->breakable($s->path('state'), $s->path('disk'));
    plan skip_all => 'no disk of our own can be mounted' if !$disk;
    $s->start;
    $s->wait_for(sub { copied($s) || fetch($s->port, '/x') && 0 }, 3);
    my $join = load($s, 4, path => '/400k');
    ok($disk->break, 'the kernel makes it read-only');
    all_served($s, 'broken');
    my @got = $join->();
    is(scalar(grep { $_->{complete} } @got), 4, '... downloads that were under way are complete');
    my $after = settled($s);
    my $line = qr/:error\].*Read-only file system: xlimit\(245\): .* cannot be written; a power loss would cost/;
    ok($s->wait_for(sub { said($s, $line) }, 3), '... and it says so');
    ok($s->graceful, 'graceful restart');
    is(one_line(numbers($s)), one_line($after), '... with the counts that were there');
    fetch($s->port, '/10k');
    is(scalar(said($s, qr/xlimit\(/)), 1, 'that was one line');
    my $copied = copied($s);

    # Only now something is lost, and said.
    $s->kill9_all;
    my $from = length $s->error_log;
    $s->start;
    my @lines = said($s, qr/xlimit\(22/, $from);
    is(scalar @lines, 1, 'a start on the broken disk: one line');
    like($lines[0] // '', qr/:error\].*xlimit\(226\): .*Read-only file system; counters go on from the copy/,
        '... of what follows');
    is(numbers($s)->{sent}, $copied, '... which follows');
    all_served($s, 'without a file');
    ok($s->stop, 'the server ends by itself');
    $disk->unmount;
};

# ---- clocks -----------------------------------------------------------------

# Seconds that 100 kB take at 200 kB/s; a second of grace for a busy machine.
sub is_paced {
    my ($s, $what) = @_;
    my $r = fetch($s->port, '/pace/100k');
    my $took = $r->{ended} - $r->{started};
    ok($r->{status} == 200 && $took > 0.4 && $took < 1.5, sprintf '%s: 100 kB at 200 kB/s take %.2f s', $what, $took);
    return;
}

sub used_up {
    my ($s, $what) = @_;
    my $both = statuses($s, '/day/x', 1) . ' ' . statuses($s, '/hour/x', 1);
    is($both, '503 503', "$what: quotas that were used up are so yet");
    return;
}

sub is_copied {
    my ($s, $what) = @_;
    my $sent = settled($s)->{sent};
    ok($s->wait_for(sub { copied($s) == $sent }, 3), "$what: what is counted is copied")
        or diag(copied($s) . " of $sent");
    return;
}

my $CLOCKS = <<'CONF';
AliasMatch ^/(?:day|hour|pace|lock)/(.*) @DOCROOT@/$1
<Location /day>
    XLimitQuota all 3r day name=day
</Location>
<Location /hour>
    XLimitQuota all 3r 1h name=hour
</Location>
<Location /pace>
    XLimitBandwidth session 200kB/s
</Location>
<Location /lock>
    XLimitPenalty all 2/10s for=2s count=status:404 name=lock
</Location>
CONF

my $clock = XL::Machine->clock;

subtest 'a clock that jumps' => sub {
    plan skip_all => 'no compiler for the shim' if !$clock;
    my $s = server($CLOCKS, wrapper => [$clock->wrapper])->start;
    my $jump = sub {
        my ($years) = @_;
        $clock->jump($years * YEAR);
        my $year = (gmtime(time + $years * YEAR))[5] + 1900;
        like(fetch($s->port, '/x')->{headers}{date}, qr/ $year /, "it is $year");
    };
    is(statuses($s, '/day/x', 4), '200 200 200 503', 'a quota of a day is used up');
    is(statuses($s, '/hour/x', 4), '200 200 200 503', '... and one of an hour');
    is_paced($s, 'now');

    $jump->(-1);
    used_up($s, 'a year back');
    is_paced($s, '...');
    all_served($s, '...');
    is_copied($s, '...');
    $jump->(0);
    used_up($s, 'and forth again');

    $jump->(1);
    is(statuses($s, '/day/x', 4), '200 200 200 503', 'a year on: a new day');
    is(statuses($s, '/hour/x', 4), '200 200 200 503', '... and a new hour');
    is_paced($s, '...');
    all_served($s, '...');
    is_copied($s, '...');
    is(statuses($s, '/lock/none', 4), '404 404 404 429', 'three errors lock out');
    my $locked = now();
    $jump->(0);
    is(statuses($s, '/lock/x', 1), '429', '... whatever the clock says');
    used_up($s, 'and back again');
    is_paced($s, '...');
    ok($s->wait_for(sub { fetch($s->port, '/lock/x')->{status} == 200 }, 5), '... the lock-out ends');
    my $took = now() - $locked;
    ok($took > 1.5 && $took < 3.5, sprintf '... after %.2f s of 2', $took);

    for my $how (qw(graceful kill9_all)) {
        $jump->(-1);
        my $before = settled($s);
        $s->$how;
        $s->start if !$s->alive;
        is(one_line(numbers($s)), one_line($before), "$how in the wrong year: nothing is lost");
        used_up($s, '...');
        $jump->(0);
    }
    is(scalar(said($s, qr/xlimit\((?!40\d)/)), 0, 'nobody has anything to say');
    is(scalar(said($s, qr/xlimit\(402\).* after -/)), 0, '... nor has a limit been used up for less than no time');
    ok($s->stop, 'the server ends by itself');
};

# What is under way in that moment: a thread that waits does not ask what time it is.
# What the event MPM holds has expired, or comes from the future: it closes that,
# and all connections that it keeps, and nobody is counted for it any longer.
subtest 'a clock that jumps under a download' => sub {
    plan skip_all => 'no compiler for the shim' if !$clock;
    for my $mpm (qw(prefork event)) {
        $clock->jump(0);
        my @factor = $mpm eq 'prefork' ? (factor => undef, threads => 8) : ();
        my $s = server($SLOW, wrapper => [$clock->wrapper], mpm => $mpm, @factor)->start;
        for my $years (1, -1) {
            my $before = numbers($s);
            my $join = load($s, 4, path => '/400k');
            $clock->jump($years * YEAR);
            my $fresh = fetch($s->port, '/x');
            is($fresh->{status}, 200, "$mpm, $years year: who comes then is served");
            my @got = $join->();
            my $whole = grep { $_->{complete} } @got;
            note("$whole of 4 are complete");
            my $after = settled($s);
            my $more = $after->{sent} - $before->{sent} - sum0(map { $_->{bytes} } @got, $fresh);
            ok($more >= 0 && $more <= (4 - $whole) * 65_536, '... what is received is counted') or diag($more);
            is("$after->{active} " . ($after->{requests} - $before->{requests}), '0 5', '... and nobody is active');
            next if $mpm eq 'event';
            is($whole, 4, '... all are complete');
            my @took = map { $_->{ended} - $_->{started} } @got;
            is(scalar(grep { $_ > 1.7 && $_ < 3 } @took), 4, '... at their pace') or diag("@took");
        }
        ok($s->stop, 'the server ends by itself');
    }
};

# The kernel of a client that has asked for many things acknowledges late: what was
# written last may have no answer yet when the MPM gives up, and arrives all the same.
subtest 'a clock that jumps under what is not acknowledged' => sub {
    plan skip_all => 'no compiler for the shim' if !$clock;
    $clock->jump(0);
    my $s = server($SLOW, wrapper => [$clock->wrapper])->start;
    for my $round (1 .. 2) {
        my $before = numbers($s);
        my @list = map { { port => $s->port, paths => [('/x') x 24, '/400k'], at => $_ / 50, pause => [[0.2, 0.8]] } }
            1 .. 8;
        my $got = fetch_many(\@list, until => 20, events => [[0.5, sub { $clock->jump(YEAR) }]]);
        my $cut = grep { !$_->{complete} } @$got;
        my $more = settled($s)->{sent} - $before->{sent} - sum0(map { $_->{bytes} } @$got);
        cmp_ok($cut, '>', 0, "$cut of 8 are cut");
        ok($more >= 0 && $more <= $cut * 65_536, '... what is received is counted') or diag($more);
        $clock->jump(0);
    }
    ok($s->stop, 'the server ends by itself');
};

done_testing;
