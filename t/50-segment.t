# SPDX-License-Identifier: Apache-2.0
#
# The counters of a running server: they outlive kill -9 of a child, of the
# parent and of all, every kind of restart, and changes of the configuration;
# what they say is what the clients received. Two generations, and a server
# beside the orphans of a dead one, count into the same words.
#
# Timed.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use List::Util qw(first max sum0);
use Test::More;
use Time::HiRes qw(sleep);
use XL::Balance qw($NAME active balance_conf balanced downloads in_background load numbers one_line settled);
use XL::Client qw(now fetch);
use XL::Ledger qw(ledger entry);
use XL::Server;
use XL::Status qw(status limit vhost);
use XL::System qw(stand_still);

# Arguments: session bandwidth, more lines, bandwidth of all. Every response is
# paced, so that the server can be caught at work; no quota refuses.
sub server {
    my $s = XL::Server->new(children => 2, factor => 20, ports => 2, conf => conf(@_));
    $s->file('400k.bin', 400_000);
    $s->file('200k.bin', 200_000);
    $s->file('50k.bin', 50_000);
    return $s->start;
}

sub conf {
    my ($session, $more, $pool) = @_;
    return balance_conf($pool) . "XLimitBandwidth session $session name=each\n" . ($more // '');
}

sub descriptors { scalar(() = glob "/proc/$_[0]/fd/*") }

sub log_lines {
    my ($s, $pattern, $from) = @_;
    return grep { /$pattern/ } split /\n/, substr $s->error_log, $from // 0;
}

sub generation { status($_[0])->{generation} // status($_[0])->{server}{generation} }

subtest 'kill -9 of a child under load' => sub {
    my $s = server('100kB/s');
    my $before = numbers($s);
    my @load = load($s, 8, path => '/400k.bin');
    my ($busiest) = sort { descriptors($b) <=> descriptors($a) } $s->children;
    stand_still($busiest); # so that the other child has its part
    push @load, load($s, 8, path => '/400k.bin');
    kill KILL => $busiest;
    my $killed = now();
    my $fresh = fetch($s->port, '/50k.bin');
    is($fresh->{status}, 200, 'a fresh request is answered');
    my @samples;
    while (now() < $killed + 2) {
        push @samples, [now(), active($s), limit($s, 'pool', $NAME)->{active}];
        sleep 0.05;
    }
    my @got = map { $_->() } @load;
    my $cut = grep { !$_->{complete} } @got;
    ok($cut >= 4 && $cut <= 8, 'its downloads are cut, those of the other child are complete') or diag("$cut of 16");
    my $right = sub { my ($at, $seen) = @_; $seen == grep { $_->{ended} > $at } @got };
    my $soon = first { $right->(@$_) } @samples;
    note(sprintf 'active was right after %.2f s', $soon->[0] - $killed) if $soon;
    ok($right->(@{ $samples[-1] }[0, 1]), 'active counts are right within 2 s')
        or diag(join ' ', map { sprintf '%.2f:%d', $_->[0] - $killed, $_->[1] } @samples);
    is($samples[-1][1], $samples[-1][2], '... those of the bandwidth, too');
    my $after = settled($s);
    is("$after->{active} $after->{pool}", '0 0', 'and 0 at the end');
    balanced($before, $after, [@got, $fresh], 'a child killed');
    ok($s->stop, 'the server ends by itself');
};

subtest 'kill -9 of the parent: a new one beside the orphans' => sub {
    my $s = server('100kB/s');
    my $before = numbers($s);
    my $load = load($s, 8, path => '/200k.bin');
    my @orphans = $s->children;
    my $old_port = $s->port;
    my $log = length $s->error_log;

    $s->kill9_parent;
    $s->choose_ports;
    $s->start;
    is(scalar(log_lines($s, qr/notice.*xlimit\(225\).*going on beside them/, $log)), 1, 'one NOTICE says so');
    is(scalar(log_lines($s, qr/xlimit\(/, $log)), 1, '... and nothing else');
    is(active($s), 8, 'the downloads of the orphans are seen as active');
    my $new = in_background(sub { downloads(6, port => $s->port, path => '/50k.bin') });
    my @old = map { fetch($old_port, '/50k.bin') } 1 .. 2;
    my @got = ($load->(), $new->(), @old);
    is(scalar(grep { $_->{complete} } @got), 16, 'every download is complete, on both sides');
    balanced($before, settled($s), \@got, 'orphans and successor');

    $before = numbers($s);
    my $cut = load($s, 4, path => '/400k.bin', port => $old_port);
    kill KILL => @orphans;
    my $killed = now();
    ok($s->wait_for(sub { !active($s) }, 2), 'orphans are killed in turn: active counts are right within 2 s')
        or $s->wait_for(sub { !active($s) }, 12) && diag(sprintf 'only after %.1f s', now() - $killed);
    @got = $cut->();
    is(scalar(grep { $_->{complete} } @got), 0, '... their downloads are cut');
    balanced($before, settled($s), \@got, '... and counted');
    ok($s->stop, 'the server ends by itself');

    $log = length $s->error_log;
    $s->start;
    is(scalar(log_lines($s, qr/xlimit\(/, $log)), 0, 'without orphans a start says nothing');
    $s->stop;
};

subtest 'kill -9 of all' => sub {
    my $s = server('100kB/s');
    my $before = numbers($s);
    my $load = load($s, 8, path => '/400k.bin');
    my @whole = map { fetch($s->port, '/50k.bin') } 1 .. 2;
    $s->kill9_all;
    my @got = $load->();
    is(scalar(grep { $_->{complete} } @got), 0, 'all downloads are cut');
    my $disk = entry(ledger($s->path('state/xlimit.state')), '', $NAME);
    is($disk->{active}, 8, 'the file says that 8 requests are active');
    my $log = length $s->error_log;
    $s->start;
    my $after = numbers($s);
    is(scalar(log_lines($s, qr/xlimit\(/, $log)), 0, 'the start says nothing');
    is("$after->{active} $after->{pool}", '0 0', '... and the server knows that they are gone');
    is("$after->{sent} $after->{requests}", "$disk->{sent} $disk->{requests}", 'counters are what the file said');
    balanced($before, $after, [@got, @whole], 'all killed');

    for my $how (qw(kill stop restart graceful)) {
        $before = numbers($s);
        $how eq 'kill' ? $s->kill9_all : $how eq 'stop' ? $s->stop : ok($s->$how, "$how");
        $s->start if !$s->alive;
        is(one_line(numbers($s)), one_line($before), "the same numbers after $how");
    }
    ok($s->stop, 'the server ends by itself');
};

subtest 'two generations share one bandwidth and one quota' => sub {
    my $s = server('1MB/s', '', '400kB/s');
    my $before = numbers($s);
    my $first = generation($s);
    my @old_children = $s->children;
    my $old = load($s, 4, path => '/200k.bin');
    ok($s->graceful, 'graceful restart');
    is(generation($s), $first + 1, '... is the next generation');
    my $new = in_background(sub { downloads(4, port => $s->port, path => '/200k.bin') });
    ok($s->wait_for(sub { active($s) == 8 }, 2), 'both generations show in one count') or diag(active($s));
    my %living = map { $_ => 1 } $s->children;
    cmp_ok(scalar(grep { $living{$_} } @old_children), '>=', 1, 'the old children still serve');
    my @got = ($old->(), $new->());
    is(scalar(grep { $_->{complete} } @got), 8, 'all downloads are complete');
    my ($from) = sort { $a <=> $b } map { $_->{started} } @got;
    my $rate = sum0(map { $_->{bytes} } @got) / (max(map { $_->{ended} } @got) - $from);
    cmp_ok($rate, '<=', 400_000 * 1.03, 'together no faster than the bandwidth that they share');
    cmp_ok($rate, '>=', 400_000 * 0.90, '... and not much slower');
    balanced($before, settled($s), \@got, 'two generations');
    ok($s->wait_for(sub { my %now = map { $_ => 1 } $s->children; !grep { $now{$_} } @old_children }, 5),
        'the old children end');
    ok($s->stop, 'the server ends by itself');
};

subtest 'a changed configuration matches by name' => sub {
    my $s = server('200kB/s', "XLimitQuota all 1TB 1d name=kept\nXLimitQuota all 1TB 1d name=away\n"
        . "XLimitQuota all 1TB 1d name=old\n");
    my $before = numbers($s);
    my $size = -s $s->path('state/xlimit.state');
    my @got = fetch($s->port, '/50k.bin');
    my $used = $got[0]{bytes};
    is(limit($s, $_, $NAME)->{used}, $used, "$_ counts") for qw(kept away old);

    my $vhosts = join '', map { "<VirtualHost 127.0.0.1:\@PORT\@>\nServerName v$_.example:80\n</VirtualHost>\n" }
        1 .. 200;
    my $load = load($s, 4, path => '/200k.bin');
    my $at = limit($s, 'kept', $NAME)->{used};
    $s->conf(conf('200kB/s', "XLimitQuota all 1TB 1d name=kept\nXLimitQuota all 1TB 1d name=new\n"
                . "XLimitQuota all 1TB 1d name=fresh\n"
                . $vhosts));
    ok($s->graceful, 'graceful restart with 200 more virtual hosts and 3 limits in other words');
    cmp_ok(-s $s->path('state/xlimit.state'), '>', $size + 200 * 600, 'the file has grown');
    cmp_ok(limit($s, 'kept', $NAME)->{used}, '>=', $at, 'the limit that stayed has its count');
    is(limit($s, 'new', $NAME)->{used}, 0, 'one that was added begins at 0');
    is(limit($s, 'fresh', $NAME)->{used}, 0, 'one that was renamed begins anew');
    is(sum0(map { $_->{requests} + $_->{sent} } grep { $_->{vhost} =~ /^v\d+\.example/ } @{ status($s)->{vhosts} }), 0,
        'the new virtual hosts begin at 0');
    is(scalar(grep { $_->{vhost} =~ /^v\d+\.example/ } @{ status($s)->{vhosts} }), 200, '... and are all there');
    my $r = fetch($s->port, '/50k.bin', host => 'v150.example');
    is(vhost($s, 'v150.example')->{sent}, $r->{bytes}, '... and count, each for itself');

    push @got, $load->();
    is(scalar(grep { $_->{complete} } @got), 5, 'downloads of the old generation are complete');
    balanced($before, settled($s), \@got, '... and counted');

    $s->conf(conf('200kB/s', "XLimitQuota all 1TB 1d name=away\nXLimitQuota all 1TB 1d name=old\n"));
    ok($s->graceful, 'the virtual hosts go, the limits come back');
    my $away = limit($s, 'away', $NAME)->{used};
    cmp_ok($away, '>=', $at, '... with their counts');
    is(limit($s, 'old', $NAME)->{used}, $away, '... under their names');
    $s->stop;
    $s->start;
    is(limit($s, 'away', $NAME)->{used}, $away, '... after stop and start, too');
    ok($s->stop, 'the server ends by itself');
};

subtest 'a limit of .htaccess keeps its count' => sub {
    my $s = server('10MB/s', "<Directory \"\@DOCROOT\@\">\nAllowOverride Limit\n</Directory>\n");
    $s->content('deep/page.txt', "deep\n");
    $s->content('deep/.htaccess', "XLimitQuota all 3r 1d name=three\n");
    my @seen = (fetch($s->port, '/deep/page.txt')->{status});
    for my $how (qw(graceful restart kill9_all)) {
        $s->$how;
        $s->start if !$s->alive;
        push @seen, fetch($s->port, '/deep/page.txt')->{status};
    }
    is("@seen", '200 200 200 503', 'over graceful, restart and kill -9 of all');
    ok($s->stop, 'the server ends by itself');
};

subtest 'a burst that is used up stays used up' => sub {
    my $s = server('10MB/s', '', '200kB/s burst=400kB');
    my ($rate, $burst) = (200_000, 400_000);
    my $begin = now();
    my $sum = fetch($s->port, '/400k.bin')->{bytes};
    cmp_ok(now() - $begin, '<', 0.5, 'the burst goes out at once');
    for my $how (qw(graceful restart stop kill9_all)) {
        $s->$how;
        $s->start if !$s->alive;
        $sum += fetch($s->port, '/200k.bin')->{bytes};
        cmp_ok($sum, '<=', $burst + $rate * (now() - $begin + 0.001) + 1, "... and not again after $how");
    }
    cmp_ok(now() - $begin, '<', 6, '... but what the rate gives');
    ok($s->stop, 'the server ends by itself');
};

done_testing();
