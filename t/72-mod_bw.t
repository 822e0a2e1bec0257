# SPDX-License-Identifier: Apache-2.0
#
# The faults of mod_bw 0.9x and of its second version, each a test that this module does
# not have it.
#
# Timed.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use List::Util qw(max min sum);
use Test::More;
use Time::HiRes qw(sleep);
use XL::Client qw(now fetch fetch_many rate_between curl);
use XL::Conf qw(try_conf);
use XL::Faults;
use XL::Ledger qw(ledger entry patch);
use XL::Status qw(limit status vhost);
use XL::System qw(slurp);

sub endless { my ($s, $n, %more) = @_; return map { { port => $s->port, path => '/endless', %more } } 1 .. $n }

# ---- 0.9x -------------------------------------------------------------------

# A process that maps it elsewhere reads and adds to the same counters.
subtest 'pointers in shared memory' => sub {
    my $s = served("XLimitQuota all 1TB 1h name=bytes\nXLimitRequests client 1000/s burst=1000\n", children => 2);
    statuses($s, 5);
    my $used = limit($s, 'bytes')->{used};
    for my $how (qw(graceful restart stop)) {
        $how eq 'stop' ? do { $s->stop; $s->start } : $s->$how;
        is(limit($s, 'bytes')->{used}, $used, "$how: the counters are found again");
        my $r = fetch($s->port, '/x');
        ok($s->wait_for(sub { limit($s, 'bytes')->{used} == $used + $r->{bytes} }, 5), '... and counted on');
        $used += $r->{bytes};
    }
};

subtest 'internal redirects escape every limit' => sub {
    my $s = served(<<'CONF', modules => ['rewrite'], cgi => 1);
XLimitQuota all 4r 1h name=few
XLimitBandwidth session 100kB/s
RewriteEngine On
RewriteRule ^/written /300k [PT]
ErrorDocument 404 /x
<Directory "@DOCROOT@">
    RewriteEngine On
    RewriteRule ^inside$ x
</Directory>
CONF
    $s->content('dir/index.html', 'index');
    $s->cgi('inner', "#!/bin/sh\nprintf 'Location: /x\\r\\n\\r\\n'\n");
    my ($got) = @{ fetch_many([{ port => $s->port, path => '/written' }], until => 1) };
    cmp_ok($got->{bytes}, '<', 150_000, 'what was rewritten is paced');
    fetch($s->port, $_) for qw(/inside /missing /dir/);
    is(limit($s, 'few')->{used}, 4, 'four requests count as four');
    is(fetch($s->port, $_)->{status}, 503, "... and $_ is refused") for qw(/written /inside /missing /dir/ /cgi/inner);
};

subtest 'of many at once more are let in than may be' => sub {
    my $s = served("XLimitConnections all 4 name=four\nXLimitBandwidth session 20kB/s\n", children => 3);
    for my $round (1 .. 3) {
        my $got = fetch_many([map { { port => $s->port, path => '/20k' } } 1 .. 40], until => 10);
        is(scalar(grep { $_->{responses}[0]{status} == 200 } @$got), 4, "round $round: four of forty");
        ok($s->wait_for(sub { !limit($s, 'four')->{active} }, 5), '... and none is left');
    }
};

subtest 'a sleep of a microsecond for each packet' => sub {
    my $s = served("XLimitBandwidth session 100kB/s\n");
    my $switches = sub { sum(map { my $pid = $_; map { slurp($_) =~ /^voluntary_ctxt_switches:\s+(\d+)/m ? $1 : 0 }
        glob "/proc/$pid/task/*/status" } $s->children) };
    my $before = $switches->();
    my $begin = now();
    fetch_many([endless($s, 20)], until => 2);
    my $each = ($switches->() - $before) / 20 / (now() - $begin);
    cmp_ok($each, '<', 400, sprintf 'a paced download wakes up %.0f times a second', $each);
};

# ---- the second version -----------------------------------------------------

subtest 'limits of what is around are not enforced' => sub {
    my $s = served(<<'CONF');
XLimitBandwidth all 200kB/s
XLimitQuota all 6r 1h name=outer
<Location /endless>
    XLimitBandwidth session 10MB/s
    XLimitQuota all 100r 1h name=inner
</Location>
CONF
    my @got = @{ fetch_many([endless($s, 4)], until => 2) };
    my $sum = sum(map { $_->{bytes} } @got);
    cmp_ok($sum, '<', 2 * 200e3 * 1.3, "four below a wide limit inside a narrow one: $sum bytes in 2 s");
    is(statuses($s, 4, path => '/endless', method => 'HEAD'), '200 200 503 503', 'a quota inside another one');
};

subtest 'paced downloads hold threads' => sub {
    my $s = served("<Location /endless>\n    XLimitBandwidth session 20kB/s\n</Location>\n", threads => 10);
    my (undef, $probes) = fetch_many([endless($s, 60)], until => 3, probe => { every => 0.2, port => $s->port,
        path => '/x' });
    my @late = grep { !$_->{complete} || $_->{took} > 1 } @$probes[0 .. $#$probes - 1];
    cmp_ok(scalar @$probes, '>', 5, scalar(@$probes) . ' requests while 60 downloads are paced by 10 threads');
    is(scalar @late, 0, '... are served at once');
};

subtest 'HTTP/2 is not limited' => sub {
    my $s = served("XLimitBandwidth session 200kB/s\nXLimitQuota all 3r 1h name=few\n", h2 => 1);
    my ($exit, $said) = curl('--http2-prior-knowledge', '-o', '/dev/null', '-w',
        '%{http_version} %{http_code} %{time_total}',
        $s->url('/300k'));
    my ($version, $status, $took) = split ' ', $said;
    is("$version $status", '2 200', 'a file over HTTP/2');
    ok($took > 1.3 && $took < 6, "... of 300 kB at 200 kB/s: $took s");
    my @status = map { (curl('--http2-prior-knowledge', '-o', '/dev/null', '-w', '%{http_code}', $s->url('/x')))[1] }
        1 .. 3;
    is("@status", '200 200 503', '... and the quota refuses');
};

subtest 'the pace stays on the connection for the next response' => sub {
    my $s = served("<Location /20k>\n    XLimitBandwidth session 20kB/s\n</Location>\n");
    my $client = XL::Client->new(port => $s->port);
    my $slow = $client->request(GET => '/20k');
    my $quick = $client->request(GET => '/300k');
    cmp_ok($slow->{ended} - $slow->{started}, '>', 0.7, 'a paced response');
    cmp_ok($quick->{ended} - $quick->{started}, '<', 3, '... and on the same connection one that is not: not 15 s');
};

subtest 'unlimited when mod_proxy is loaded first' => sub {
    my $backend = XL::Server->backend;
    $backend->file('300k', 300_000);
    for my $order ([qw(proxy proxy_http xlimit)], [qw(xlimit proxy proxy_http)]) {
        my $s = served('ProxyPass / ' . $backend->url . "\nXLimitBandwidth session 200kB/s\nXLimitQuota all 2r 1h\n",
            modules => $order);
        my $r = fetch($s->port, '/300k');
        cmp_ok($r->{ended} - $r->{started}, '>', 1.3, "loaded as @$order: what comes from behind is paced");
        is(statuses($s, 2, path => '/300k', method => 'HEAD'), '200 503', '... and counted');
    }
};

subtest 'one name on two ports is one host' => sub {
    my $s = served(<<'CONF', ports => 3);
<VirtualHost *:@PORT@>
    ServerName same.example
    XLimitQuota all 2r 1h
</VirtualHost>
<VirtualHost *:@PORT2@>
    ServerName same.example
    XLimitQuota all 2r 1h
</VirtualHost>
CONF
    for my $n (0, 2) {
        is(join(' ', map { fetch($s->port($n), '/x', host => 'same.example')->{status} } 1 .. 3), '200 200 503',
            "port $n has a counter of its own");
    }
};

subtest 'an ErrorDocument is counted twice' => sub {
    my $s = served("ErrorDocument 404 /over.html\n"
        . "XLimitQuota all 100r 1h name=requests\nXLimitQuota all 1TB 1h name=bytes\n");
    my $r = fetch($s->port, '/missing', keep => 1);
    is("$r->{status} $r->{body}", '404 over', 'a page of its own');
    ok($s->wait_for(sub { limit($s, 'bytes')->{used} == $r->{bytes} }, 5), '... whose bytes count once')
        or diag(limit($s, 'bytes')->{used} . " of $r->{bytes}");
    is(limit($s, 'requests')->{used}, 1, '... and which is one request');
};

subtest 'who reads slowly keeps an equal share' => sub {
    my $s = served("XLimitBandwidth all 1MB/s\n");
    my @slow = endless($s, 3, rcvbuf => 4096, maxseg => 1000, pause => [map { [$_ * 0.25, $_ * 0.25 + 0.24] } 0 .. 40]);
    my @quick = endless($s, 1);
    fetch_many([@slow, @quick], until => 4);
    my $begin = $quick[0]{started};
    my $rate = rate_between($quick[0], $begin + 1.5, $begin + 3.8);
    cmp_ok($rate, '>', 0.6e6, sprintf 'one beside three that read slowly has %.0f kB/s of 1000, not 250', $rate / 1000);
};

subtest 'an abort counts in full' => sub {
    my $s = served("XLimitQuota all 1TB 1h name=bytes\nXLimitBandwidth session 1MB/s\n");
    my ($got) = @{ fetch_many([endless($s, 1, abort => 300_000, reset => 1)], until => 5) };
    ok($s->wait_for(sub { !limit($s, 'bytes')->{active} && !vhost($s)->{active} }, 5), 'who has gone is gone');
    my $used = limit($s, 'bytes')->{used};
    ok($used >= $got->{bytes} && $used < $got->{bytes} + 1_000_000,
        "$got->{bytes} of 50,000,000 bytes came, $used count");
};

subtest '5M is five bytes per second' => sub {
    my ($exit, $said) = try_conf("XLimitBandwidth session 5MB/s\n", '-D', 'DUMP_XLIMIT');
    like($said, qr{XLimitBandwidth session 5MB/s}, '5MB/s is 5,000,000');
    ($exit, $said) = try_conf("XLimitBandwidth session 5M\n");
    is($exit, 1, '5M alone is no rate');
    my $s = served("XLimitBandwidth session 5MB/s\n");
    my $r = fetch($s->port, '/300k');
    cmp_ok($r->{ended} - $r->{started}, '<', 3, '... and 300 kB do not take a day');
};

subtest 'who was served at kill -9 is active for ever' => sub {
    my $s = served("XLimitConnections all 3 name=three\nXLimitBandwidth session 20kB/s\n");
    my ($before, $after);
    my $got = fetch_many([endless($s, 3)], until => 6, events => [
        [0.5, sub { $before = limit($s, 'three')->{active}; kill KILL => $s->children }],
    ]);
    is($before, 3, 'three are served when the child is killed');
    ok($s->wait_for(sub { ($after = limit($s, 'three')->{active}) == 0 }, 10), '... and none afterwards');
    is(fetch($s->port, '/x')->{status}, 200, '... so that others are served');
};

subtest 'graceful loses counters, and doubles limits while generations overlap' => sub {
    my $s = served("ServerLimit 3\nXLimitConnections all 3 name=three\nXLimitQuota all 1TB 1h name=bytes\n"
        . "XLimitBandwidth all 300kB/s\n");
    fetch($s->port, '/20k');
    my $used = limit($s, 'bytes')->{used};
    my (@during, $active);
    my @old = endless($s, 2);
    my @new = endless($s, 1, at => 2);
    fetch_many([@old, @new], until => 5, events => [
        [1, sub { kill USR1 => $s->pid }],
        [3, sub { $active = limit($s, 'three')->{active}; @during = map { fetch($s->port, '/x')->{status} } 1, 2 }],
    ]);
    cmp_ok(limit($s, 'bytes')->{used}, '>', $used + 500_000, 'what was used before still counts');
    is($active, 3, 'two of the old generation and one of the new are served');
    is("@during", '429 429', '... which are three');
    my $begin = $old[0]{started};
    my $sum = sum(map { rate_between($_, $begin + 3, $begin + 4.8) } @old, @new);
    cmp_ok($sum, '<', 400e3, sprintf '... and share 300 kB/s: %.0f', $sum / 1000);
};

subtest 'large values wrap' => sub {
    my $s = served("XLimitQuota all 9000000TB 1h name=large\n");
    my $path = $s->path('state/xlimit.state');
    my $one = entry(ledger($path), '', 'localhost:' . $s->port);
    my $sent = 6_000_000_000_123;
    patch($path, $one->{offset} + $XL::Ledger::AT{sent}, pack 'Q', $sent);
    is(vhost($s)->{sent}, $sent, 'more than 32 bits of bytes are shown');
    my $r = fetch($s->port, '/x');
    ok($s->wait_for(sub { vhost($s)->{sent} == $sent + $r->{bytes} }, 5), '... and added to');
    is(limit($s, 'large')->{amount} // limit($s, 'large')->{limit}, '9000000000000000000', 'a limit of 9 EB is one');
};

no_circle('XLimitConnections all 1', sub {
    my ($s) = @_;
    my $client = XL::Client->new(port => $s->port, rcvbuf => 4096);
    $client->send_all("GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n");
    $client->readable(5);
    push @{ $s->{kept} }, $client;
});

done_testing;
