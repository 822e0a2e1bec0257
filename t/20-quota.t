# SPDX-License-Identifier: Apache-2.0
#
# Quotas against a real httpd: exactly the right request is refused, over one
# connection or many, in one child or two; periods turn; slices are released;
# transitions and warnings are logged once.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use Test::More;
use Time::HiRes qw(sleep);
use XL::Client qw(now fetch);
use XL::Server;
use XL::Status qw(status_conf status limit vhost);

# Several clients at once, each a process: the sum of what they counted, by key.
sub in_parallel {
    my ($clients, $code) = @_;
    my (@pipes, %sum);
    for my $i (0 .. $clients - 1) {
        my $pid = open(my $pipe, '-|') // die "fork: $!";
        if (!$pid) {
            my %count = %{ $code->($i) };
            print "$_=$count{$_}\n" for keys %count;
            close STDOUT;
            POSIX::_exit(0);
        }
        push @pipes, $pipe;
    }
    for my $pipe (@pipes) {
        while (my $line = <$pipe>) {
            $sum{$1} += $2 if $line =~ /^(\w+)=(\d+)$/;
        }
        close $pipe;
    }
    return \%sum;
}

sub get_status { fetch(@_)->{status} }

sub log_lines {
    my ($server, $pattern) = @_;
    return grep { /$pattern/ } split /\n/, $server->error_log;
}

subtest 'the eleventh megabyte of ten' => sub {
    my $s = XL::Server->new(ports => 2, conf => status_conf() . <<'CONF');
XLimitQuota all 10MB 1h name=ten "exceeded=redirect https://www.example.org/later"
CONF
    $s->file('1mb.bin', 1_000_000);
    $s->start;

    my $client = XL::Client->new(port => $s->port);
    my $received = 0;
    for my $n (1 .. 10) {
        # by turns on one connection and on connections of their own
        my $r = $n % 2 ? $client->request(GET => '/1mb.bin') : fetch($s->port, '/1mb.bin');
        is("$r->{status} $r->{body_length}", '200 1000000', "download $n is served");
        $received += $r->{bytes};
        is(limit($s, 'ten')->{used}, $received, '... and its bytes are on the status page') if $n == 9 || $n == 10;
        is(limit($s, 'ten')->{state}, 'ok', '... which is not yet all') if $n == 9;
    }
    my $before = vhost($s);
    is($before->{sent}, $received, 'the virtual host has sent as much');
    for my $n (11 .. 13) {
        my $r = $n % 2 ? $client->request(GET => '/1mb.bin') : fetch($s->port, '/1mb.bin', method => 'HEAD');
        is("$r->{status} $r->{headers}{location}", '302 https://www.example.org/later', "download $n is redirected");
        is($r->{headers}{'cache-control'}, 'no-store', '... this time');
        $received += $r->{bytes};
    }
    my $limit = limit($s, 'ten');
    is("$limit->{used} $limit->{state} $limit->{left}", "$before->{sent} exceeded 0",
        'redirects do not count in the quota');
    my $vhost = vhost($s);
    is($vhost->{sent}, $received, '... and do count for the virtual host');
    is("$vhost->{requests} $vhost->{passed} $vhost->{redirected}", '13 10 3', 'requests by verdict');
    is(scalar(log_lines($s, qr/xlimit\(401\): ten/)), 1, 'one line in the error log');
    $s->stop;
};

subtest 'a quota of N bytes serves the request that finds N - 1' => sub {
    my $s = XL::Server->new(ports => 2, conf => status_conf() . <<'CONF');
<Location /a>
    XLimitQuota all 1 1h name=one
</Location>
<Location /b>
    XLimitQuota all 10kB 1h name=exact
</Location>
CONF
    $s->content("$_/x", 'x') for qw(a b);
    $s->start;
    is(join(' ', map { get_status($s->port, '/a/x') } 1 .. 3), '200 503 503', 'one byte');

    # three responses fill it to the last byte; with one more byte a fourth is served
    my $bytes = fetch($s->port, '/b/x')->{bytes};
    for my $more (0, 1) {
        my $conf = $s->{conf};
        $conf =~ s/all \S+ 1h name=exact\S*/'all ' . (3 * $bytes + $more) . " 1h name=exact$more"/e;
        $s->conf($conf)->graceful;
        my $expected = $more ? '200 200 200 200 503' : '200 200 200 503 503';
        is(join(' ', map { get_status($s->port, '/b/x') } 1 .. 5), $expected, "three responses and $more bytes");
    }
    $s->stop;
};

subtest '8 clients over 2 children' => sub {
    my $s = XL::Server->new(ports => 2, children => 2, conf => status_conf() . <<'CONF');
<Location /n>
    XLimitQuota all 200r 1h name=requests warn=50,80,100
</Location>
<Location /two>
    XLimitQuota all 150r 1h name=outer
    XLimitQuota all 60r 2h name=inner
</Location>
CONF
    $s->content("$_/x", 'x') for qw(n two);
    $s->start;
    for my $path (qw(/n/x /two/x)) {
        my $got = in_parallel(8, sub {
            my %count;
            my $client = XL::Client->new(port => $s->port);
            for my $n (1 .. 50) {
                $client->disconnect if $n % 5 == 0; # so that both children see it
                $count{ 's' . $client->request(GET => $path)->{status} }++;
            }
            return \%count;
        });
        is_deeply($got, $path eq '/n/x' ? { s200 => 200, s503 => 200 } : { s200 => 60, s503 => 340 },
            "$path: exactly as many as the quota has, of 400");
    }
    is(limit($s, 'requests')->{used}, 200, 'the counter says so');
    is(limit($s, 'inner')->{used}, 60, 'the tighter of two is used up');
    is(limit($s, 'outer')->{used}, 60, '... and the other one was charged for none that it refused');
    is(scalar(log_lines($s, qr/xlimit\(401\): requests /)), 1, 'both children together log one line at its end');
    for my $percent (50, 80, 100) {
        my @lines = log_lines($s, qr/xlimit\(403\): requests .* has reached $percent %/);
        is(scalar(@lines), 1, "... and one at $percent %");
    }
    is(limit($s, 'requests')->{suppressed}, 199, 'what was not logged is counted');
    $s->stop;
};

subtest 'races for the last unit' => sub {
    my $quotas = 100;
    my $s = XL::Server->new(ports => 2, children => 2, conf => status_conf()
            . join '', map { "<Location /q$_/>\n    XLimitQuota all 3r 1h name=q$_\n</Location>\n" } 1 .. $quotas);
    $s->content("q$_/x", 'x') for 1 .. $quotas;
    $s->start;
    my $got = in_parallel(8, sub {
        my %count;
        my $client = XL::Client->new(port => $s->port);
        $count{ "q$_" . '_' . $client->request(GET => "/q$_/x")->{status} }++ for 1 .. $quotas;
        return \%count;
    });
    my @wrong = grep { ($got->{"q${_}_200"} // 0) != 3 || ($got->{"q${_}_503"} // 0) != 5 } 1 .. $quotas;
    is("@wrong", '', "$quotas quotas of 3 requests, each wanted by 8 clients: each serves 3");
    my @used = grep { $_->{vhost} !~ /^status/ && $_->{used} != 3 } @{ status($s)->{limits} };
    is(join(' ', map { "$_->{name}: $_->{used}" } @used), '', '... and says so');
    $s->stop;
};

subtest 'bytes by 8 clients over 2 children' => sub {
    my $s = XL::Server->new(ports => 2, children => 2, conf => status_conf() . "XLimitQuota all 1GB 1h name=bytes\n");
    $s->file('20k.bin', 20_000);
    $s->start;
    my $got = in_parallel(8, sub {
        my $bytes = 0;
        my $client = XL::Client->new(port => $s->port);
        for my $n (1 .. 40) {
            $client->disconnect if $n % 5 == 0;
            $bytes += $client->request(GET => '/20k.bin')->{bytes};
        }
        return { bytes => $bytes };
    });
    is(limit($s, 'bytes')->{used}, $got->{bytes}, '320 downloads, not a byte lost or counted twice');
    $s->stop;
};

subtest 'periods and slices' => sub {
    my $s = XL::Server->new(ports => 2, conf => status_conf() . <<'CONF');
<Location /turn>
    XLimitQuota all 3r 2s name=turn warn=60
</Location>
<Location /slice>
    XLimitQuota all 10r 10s name=slice slice=1s
</Location>
CONF
    $s->content("$_/x", 'x') for qw(turn slice);
    $s->start;
    is(limit($s, 'turn')->{period_end}, undef, 'a period that is a time does not run before its first request');

    my $begun = now();
    my @turn = map { fetch($s->port, '/turn/x') } 1 .. 5;
    my $slice_began = now();
    my @slice = map { fetch($s->port, '/slice/x') } 1 .. 2;
    my $slice_begun = now();
    is(join(' ', map { $_->{status} } @turn), '200 200 200 503 503', 'three in two seconds');
    like($turn[3]{headers}{'retry-after'}, qr/^[12]$/, 'Retry-After: the rest of the period');
    is(join(' ', map { $_->{status} } @slice), '200 503', 'the first slice');
    is($slice[1]{headers}{'retry-after'}, 1, 'Retry-After: the next slice');
    is(limit($s, 'slice')->{released}, 1, 'released so far') if now() - $slice_began < 1;

    sleep 0.01 while now() < $begun + 2.05;
    is(join(' ', map { get_status($s->port, '/turn/x') } 1 .. 5), '200 200 200 503 503', 'three more in the next two');
    my $limit = limit($s, 'turn');
    is("$limit->{used} $limit->{previous}", '3 3', 'used in this period and in the one before');
    my @again = log_lines($s, qr/xlimit\(402\): turn/);
    is(scalar(@again), 1, 'one line when it is free again');
    like($again[0] // '', qr/is free again after \d s and 1 more requests/, '... with the refusals that had none');
    is(scalar(log_lines($s, qr/xlimit\(401\): turn/)), 2, 'one line for each time it was used up');
    is(scalar(log_lines($s, qr/xlimit\(403\): turn .* 60 %/)), 2, 'one warning in each period');

    # what earlier slices left over is kept
    sleep 0.01 while now() < $slice_begun + 3.05;
    my ($from, $served) = (now(), 0);
    $served++ while get_status($s->port, '/slice/x') == 200;
    my ($least, $most) = (int($from - $slice_begun), int(now() - $slice_began));
    ok($served >= $least && $served <= $most, "$served more served after $least slices");
    $s->stop;
};

subtest 'periods that turn under load' => sub {
    my $s = XL::Server->new(ports => 2, children => 2,
        conf => status_conf() . "XLimitQuota all 40r 400ms name=short\n");
    $s->content('x', 'x');
    $s->start;
    my $begun = now();
    my $got = in_parallel(6, sub {
        my %count = (served => 0, refused => 0);
        my $client = XL::Client->new(port => $s->port);
        while (now() < $begun + 1.3) {
            $count{ $client->request(GET => '/x')->{status} == 200 ? 'served' : 'refused' }++;
            $client->disconnect if $count{served} % 7 == 3;
        }
        return \%count;
    });
    my $periods = log_lines($s, qr/xlimit\(401\): short/);
    ok($periods >= 3 && $periods <= 1 + (now() - $begun) / 0.4, "$periods periods were used up");
    my $more = $got->{served} - 40 * $periods;
    ok($more >= 0 && $more < 40, "... each of 40 requests exactly, and $more in one that was not");
    cmp_ok($got->{refused}, '>', 0, '... and the rest was refused');
    $s->stop;
};

subtest 'when=, mode=off' => sub {
    my $s = XL::Server->new(ports => 2, conf => status_conf() . <<'CONF');
XLimitQuota all 2r 1h name=posts "when=%{REQUEST_METHOD} == 'POST'"
XLimitQuota all 1r 1h name=none mode=off
XLimitQuota all 4r 1h name=unknown "when=%{REQUEST_URI} == '/y' && file('@ROOT@/missing') == 'x'"
CONF
    $s->content($_, 'x') for qw(x y);
    $s->start;
    is(join(' ', map { get_status($s->port, '/x') } 1 .. 4), '200 200 200 200', 'others are not counted');
    my @post = map { get_status($s->port, '/x', method => 'POST', body => 'y') } 1 .. 3;
    is("@post", '200 200 503', '... and those are');
    is(join(' ', map { get_status($s->port, '/y') } 1 .. 5), '200 200 200 200 503', 'an error in when= opens no gate');
    is(limit($s, 'posts')->{used}, 2, 'counted: those alone');
    is(join(' ', sort map { $_->{name} } @{ status($s)->{limits} }), 'posts unknown', 'mode=off: not there');
    $s->stop;
};

done_testing;
