# SPDX-License-Identifier: Apache-2.0
#
# `speed` as the answer to a quota that is used up: responses that are running
# slow down at that moment, new ones are slow from their beginning, and all are
# back at what they had when the period turns or the next slice is released;
# whatever the response comes from, and however it is paced.
#
# Periods begin with their first byte, so that the clock of each test is that
# of its first download.
#
# Timed.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use List::Util qw(max min sum);
use Test::More;
use XL::Client qw(fetch fetch_many pace_between curl_series);
use XL::Paced;
use XL::Server;
use XL::Status qw(status_conf limit);

use constant { SPEED => 20e3, RATE => 250e3, PERIOD => 5 };

my @sources = qw(sendfile mmap read cgi proxied);
my $backend = XL::Server->backend;
$backend->file($_->[0], $_->[1]) for ['8m', 8_000_000], ['2m', 2_000_000];

# A counter for each source. What has a rate besides is at its quota after two
# seconds; what has none, at once.
sub conf {
    my $conf = status_conf() . sources($backend) . 'CustomLog logs/verdicts "%U %^XS %^XL"' . "\n";
    for my $source (@sources, 'h2') {
        $conf .= <<"CONF";
<Location /paced/$source/>
    XLimitQuota all 500kB 5s name=$source
    XLimitBandwidth session 250kB/s name=rate-$source
    XLimitExceeded quota speed 20kB/s
</Location>
<Location /free/$source/>
    XLimitQuota all 2MB 5s name=free-$source exceeded="speed 20kB/s"
</Location>
CONF
    }
    return $conf . <<'CONF';
Alias /paced/h2/ @DOCROOT@/
<Location /slices/>
    XLimitQuota all 2MB 8s slice=2s name=slices exceeded="speed 20kB/s"
    XLimitBandwidth session 500kB/s
</Location>
<Location /requests/>
    XLimitQuota all 3r 4s name=requests exceeded="speed 40kB/s"
</Location>
<Location /new/>
    XLimitQuota all 300kB 5s name=new exceeded="speed 20kB/s"
</Location>
<Location /crowd/>
    XLimitQuota all 1MB 4s name=crowd exceeded="speed 20kB/s"
    XLimitBandwidth all 1MB/s
</Location>
<Location /host/>
    XLimitQuota all 100kB 5s name=host exceeded="speed 20kB/s"
</Location>
<Location /server/>
    XLimitQuota all 100kB 5s name=server exceeded="speed 20kB/s" scope=server
</Location>
<Location /dry/>
    XLimitQuota all 10kB 5s name=dry exceeded="speed 1kB/s" mode=dry-run
</Location>
<Location /narrower/>
    XLimitQuota all 10kB 5s name=narrower exceeded="speed 500kB/s"
    XLimitBandwidth session 20kB/s
</Location>
<Location /exempt/>
    XLimitQuota all 10kB 5s name=exempt exceeded="speed 1kB/s"
    XLimitExempt when="true"
</Location>
<XLimitAccount acme>
    XLimitQuota all 100kB 5s name=account
    XLimitExceeded quota speed 20kB/s
</XLimitAccount>
<VirtualHost *:@PORT@>
    ServerName main
</VirtualHost>
<VirtualHost *:@PORT@>
    ServerName other
</VirtualHost>
<VirtualHost *:@PORT@>
    ServerName acme1
    XLimitAccount acme
</VirtualHost>
<VirtualHost *:@PORT@>
    ServerName acme2
    XLimitAccount acme
</VirtualHost>
CONF
}

my %server;
sub start {
    my ($kind, %option) = @_;
    my $prefix = delete $option{conf} // '';
    my $s = $server{$kind} = XL::Server->new(ports => 2, tls => 1, cgi => 1, modules => [qw(proxy proxy_http)],
        conf => $prefix . conf(), %option);
    $s->file($_->[0], $_->[1]) for ['8m', 8_000_000], ['2m', 2_000_000], ['200k', 200_000], ['20k', 20_000];
    $s->cgi('give', "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\nexec cat ../htdocs/\"\$1\"\n");
    return $s->start;
}
start('event',    children => 2, factor => 20, h2 => 1);
start('blocking', threads => 24, conf => "XLimitEngine blocking\n");
start('worker',   threads => 24, mpm => 'worker');
start('prefork',  threads => 24, mpm => 'prefork');
my $s = $server{event};

sub download {
    my ($kind, $tls, $path, %more) = @_;
    my $port = $tls ? $server{$kind}->tls_port : $server{$kind}->port;
    return { port => $port, tls => $tls, path => $path, title => "$kind, TLS $tls, $path", %more };
}

sub from { # one and the same thing, by source
    my ($kind, $tls, $pace, $source, $file) = @_;
    return download($kind, $tls, "/$pace/$source/" . ($source eq 'cgi' ? "give?$file" : $file));
}

# A period begins with the first byte that the server counts: after the request was sent,
# and before this client, which begins sixty of them, has read it (half a second was seen).
# What has to lie behind something is reckoned from when it was read, what in front of
# something from when it was asked for.
sub read_at {
    my ($download, $seconds) = @_;
    return ($download->{series}[0] ? $download->{series}[0][0] : 0) + $seconds;
}

sub asked_at { my ($download, $seconds) = @_; return XL::Paced::asked($download) + $seconds }

sub bytes_at {
    my ($download, $time) = @_;
    return max(0, map { $_->[1] } grep { $_->[0] <= $time } @{ $download->{series} });
}

sub pace_ok {
    my ($title, $got, $right) = @_;
    return ok(defined $got && $got > 0.9 * $right && $got < 1.1 * $right,
        sprintf '%s: %d B/s of %d', $title, $got // -1, $right);
}

# By the clock of another one, or by its own.
sub pace_of {
    my ($from, $to, $clock, $download) = @_;
    return pace_between($download // $clock, read_at($clock, $from), asked_at($clock, $to));
}

# ---- all of them at once ----------------------------------------------------

my @paced = ((map { my $source = $_; map { from('event', $_, 'paced', $source, '2m') } 0, 1 } @sources),
    map { my $kind = $_; map { my $tls = $_; map { from($kind, $tls, 'paced', $_, '2m') } qw(mmap cgi proxied) } 0, 1 }
    qw(blocking worker prefork));
my @free = ((map { my $source = $_; map { from('event', $_, 'free', $source, '8m') } 0, 1 } @sources),
    map { from($_, 0, 'free', 'mmap', '8m') } qw(blocking worker prefork));
my ($slices) = download('event', 0, '/slices/mmap/8m');
my @requests = map { download('event', 0, '/requests/mmap/20k', at => $_) } 0, 0.1, 0.2, 0.5, 4.6;
my ($before, $new, $newer) = (download('event', 0, '/new/mmap/8m'),
    map { download('event', 0, '/new/mmap/200k', at => $_) } 1, 2);
my @crowd = map { download('event', 0, '/crowd/mmap/2m') } 1 .. 16;
my %pair = map { $_->[0] => [download('event', 0, $_->[1], host => $_->[2]),
        download('event', 0, $_->[1], host => $_->[3], at => 1)] }
    ['host', '/host/mmap/200k', 'main', 'other'], ['server', '/server/mmap/200k', 'main', 'other'],
    ['account', '/x/mmap/200k', 'acme1', 'acme2'];
my $third = download('event', 0, '/host/mmap/200k', host => 'main', at => 1);
my $dry = download('event', 0, '/dry/mmap/200k', count => 3);
my $exempt = download('event', 0, '/exempt/mmap/200k', count => 3);
my $narrower = download('event', 0, '/narrower/mmap/200k');

my $h2 = curl_series('--http2', '--max-time', 7.5, $s->tls_url('/paced/h2/2m'));
fetch_many([@paced, @free, $slices, @requests, $before, $new, $newer, @crowd, (map { @$_ } values %pair), $third, $dry,
    $exempt, $narrower], until => 7.5);
push @paced, { %{ $h2->() }, title => 'event, HTTP/2' };

subtest 'slow when it is used up, and back' => sub {
    for my $one (@paced) {
        my $most = bytes_at($one, read_at($one, 2.3));
        ok($most > 0.9 * 500e3 && $most < 500e3 + 0.1 * RATE + 0.5 * SPEED, "$one->{title}: slows down at $most bytes");
        pace_ok('... then', pace_of(2.4, 4.8, $one), SPEED);
        pace_ok('... and after the turn of the period', pace_of(5.3, 6.8, $one), RATE);
    }
};

subtest 'what has no rate besides' => sub {
    for my $one (@free) {
        my $most = bytes_at($one, read_at($one, 1));
        # no more than a piece of 1 MB goes out before the quota is looked at again
        ok($most >= 2e6 && $most < 3.2e6, "$one->{title}: slows down at $most bytes");
        pace_ok('... then', pace_of(1.3, 4.7, $one), SPEED);
        my $again = bytes_at($one, read_at($one, 6.3)) - bytes_at($one, asked_at($one, 4.8));
        ok($again > 1.9e6 && $again < 3.3e6, "... and after the turn of the period $again bytes more");
    }
};

subtest 'new ones' => sub {
    pace_ok('alone', pace_of(0.3, 0.9, $before), SPEED);
    for my $case (['the first', $before], ['a new one', $new], ['a newer one', $newer]) {
        pace_ok("of three: $case->[0]", pace_of(2.2, 4.8, $before, $case->[1]), SPEED / 3);
    }
    cmp_ok(bytes_at($newer, read_at($newer, 0.5)), '<', 10e3, 'a new one is slow from its beginning');
};

subtest 'a crowd' => sub {
    my $rate = sub {
        my ($from, $to) = (read_at($crowd[0], $_[0]), asked_at($crowd[0], $_[1]));
        return sum(map { bytes_at($_, $to) - bytes_at($_, $from) } @crowd) / ($to - $from);
    };
    my ($slow, $back) = ($rate->(1.3, 3.9), $rate->(4.3, 4.8));
    pace_ok('sixteen together', $slow, SPEED);
    ok($back > 0.9e6 && $back < 1.1e6, sprintf '... and together at once after the turn: %d B/s of 1000000', $back);
    my @waited = sort { $a <=> $b } map { my $one = $_; my $turn = read_at($crowd[0], 4);
        my ($next) = grep { $_->[0] > $turn + 0.05 } @{ $one->{series} }; $next ? $next->[0] - $turn : 9e9 } @crowd;
    cmp_ok($waited[-1], '<', 1, sprintf '... each of them after %.2f to %.2f s', @waited[0, -1]);
};

subtest 'slices' => sub {
    for my $slice (0 .. 2) {
        my $at = 2 * $slice;
        pace_ok("slice $slice", pace_of($at + 0.2, $at + 0.8, $slices), 500e3);
        pace_ok('... used up', pace_of($at + 1.2, $at + 1.9, $slices), SPEED);
    }
};

subtest 'requests' => sub {
    my @took = map { took($_) } @requests;
    for my $case ([0, 0], [1, 0], [2, 0], [3, 0.5], [4, 0]) {
        my ($i, $seconds) = @$case;
        my ($least, $most) = $seconds ? (0.9 * $seconds, 1.1 * $seconds) : (0, 0.2);
        ok($requests[$i]{complete} && $took[$i] >= $least && $took[$i] <= $most,
            sprintf 'request %d in %.3f s of %.1f', $i + 1, $took[$i], $seconds);
    }
};

subtest 'scopes' => sub {
    cmp_ok(took($_->[0]), '<', 0.3, 'the first') for values %pair;
    cmp_ok(took($pair{host}[1]), '<', 0.3, 'each host has a quota: the other one is free');
    pace_ok('... and the first is not', pace_of(0.1, 3.5, $third), SPEED);
    pace_ok("$_: the other host has none of its own", pace_of(0.1, 3.5, $pair{$_}[1]), SPEED) for qw(server account);
};

subtest 'who does nothing' => sub {
    cmp_ok(took($dry), '<', 0.5, 'a dry run: three downloads at once');
    cmp_ok(took($exempt), '<', 0.5, 'who is exempt');
    pace_ok('a rate that is narrower holds', pace_of(0.1, 5, $narrower), SPEED);
    my $verdicts = sub { join ',', map { m{^/\Q$_[0]\E/\S+ (.*)} ? $1 : () } split /\n/, $s->log_text('verdicts') };
    is($verdicts->('dry'), 'PASSED -,PACED_DRY_RUN dry,PACED_DRY_RUN dry', '... of which the log says what would be');
    is($verdicts->('exempt'), 'PASSED -,PASSED -,PASSED -', '... who is exempt is not');
    is($verdicts->('requests'), 'PASSED -,PASSED -,PASSED -,PACED requests,PASSED -', '... and what was');
};

done_testing;
