# SPDX-License-Identifier: Apache-2.0
#
# Rates of requests, numbers at once, penalties, blocks and zones on a real httpd:
# who is refused with what, what is counted, and what is left when all is over.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use Digest::SHA qw(sha1_base64);
use JSON::PP qw(decode_json);
use Test::More;
use Time::HiRes qw(sleep);
use XL::Client qw(now fetch fetch_many);
use XL::Server;
use XL::Status qw(status_conf limit);
use XL::System qw(spew);

sub served {
    my ($conf, %option) = @_;
    my $s = XL::Server->new(ports => 2, factor => 20, modules => [qw(remoteip authn_core auth_basic authn_file authz_user)], conf => status_conf() . <<"CONF", %option);
RemoteIPHeader X-Client
RemoteIPInternalProxy 127.0.0.1
CustomLog logs/verdicts "%U %>s %^XS %^XL"
$conf
CONF
    $s->content("$_/x", "content of $_\n") for $conf =~ m{<Location /(\w+)>}g;
    return $s->start;
}

# The statuses of so many requests one after the other on one connection.
sub statuses {
    my ($s, $path, $n, %option) = @_;
    my $client = XL::Client->new(port => $s->port, from => delete $option{from});
    return join ' ', map { $client->request('GET', $path, %option)->{status} } 1 .. $n;
}

sub as { my ($client) = @_; return (headers => { 'X-Client' => $client }) }

subtest 'requests' => sub {
    my $s = served(<<'CONF');
<Location /burst>
    XLimitRequests client 1/min burst=3 name=burst
</Location>
<Location /all>
    XLimitRequests all 2/h burst=1 name=all exceeded="status 503"
</Location>
<Location /cost>
    XLimitRequests client 1/h burst=9 name=cost cost="%{req_novary:X-Cost}"
    XLimitHeaders Draft10
</Location>
<Location /dear>
    XLimitRequests client 10/s burst=2 name=dear cost=4
</Location>
<Location /dearer>
    XLimitQuota client 5r 1h name=dearer cost=6
</Location>
<Location /trace>
    XLimitRequests client 1/h name=trace
</Location>
<Location /dry>
    XLimitRequests client 1/h name=dry mode=dry-run
</Location>
<Location /slow>
    XLimitRequests client 1/h name=slow exceeded="speed 1MB/s 1/h"
</Location>
CONF
    is(statuses($s, '/burst/x', 6), '200 200 200 200 429 429', 'from rest burst + 1 are served');
    is(statuses($s, '/burst/x', 5, as('192.0.2.7')), '200 200 200 200 429', 'another client has his own');
    is(statuses($s, '/burst/x', 2, as('2001:db8:1:2::1')), '200 200', 'one of IPv6');
    is(statuses($s, '/burst/x', 3, as('2001:db8:1:2:ffff::2')), '200 200 429', '... by its /64');
    is(statuses($s, '/all/x', 2, as('192.0.2.1')) . ' ' . statuses($s, '/all/x', 1, as('192.0.2.2')), '200 200 503',
        'all share one counter, and are answered as configured');
    my $refused = fetch($s->port, '/burst/x', keep => 1, headers => { Accept => 'application/problem+json' });
    like($refused->{headers}{'retry-after'}, qr/^(5\d|60)$/, 'Retry-After is when the next one may come');
    like($refused->{body}, qr/"title":"Too many requests".*"limit":"burst"/, 'the problem document says what it is');

    is(statuses($s, '/cost/x', 1, headers => { 'X-Cost' => 11 }), '429', 'more than the burst never passes');
    for my $place (qw(dear dearer)) {
        my $never = fetch($s->port, "/$place/x", keep => 1, headers => { Accept => 'application/problem+json' });
        is("$never->{status} " . ($never->{headers}{'retry-after'} // 'none'), '429 none',
            "$place: costs more than there ever is, and nobody is told to come back");
        is((decode_json($never->{body}))->{retry_after}, undef, '... nor by the problem document');
        like($s->error_log, qr/$place of .*; this request costs more than there ever is at once$/m, '... as the error log says');
    }
    my $client = XL::Client->new(port => $s->port);
    is(join(' ', map { $client->request('TRACE', '/trace/x')->{status} } 1, 2), '200 429', 'TRACE is a request');
    my $cheap = fetch($s->port, '/cost/x', headers => { 'X-Cost' => 4 });
    is($cheap->{headers}{ratelimit} =~ /r=(\d+)/ ? $1 : '', 6, 'a cost of 4 leaves 6 of 10');
    is(statuses($s, '/cost/x', 3, headers => { 'X-Cost' => 0 }), '200 200 200', 'what costs nothing passes');
    is(statuses($s, '/cost/x', 1, headers => { 'X-Cost' => 7 }), '429', 'seven are no longer there');
    is(statuses($s, '/cost/x', 1, headers => { 'X-Cost' => 6 }), '200', '... six are');

    is(statuses($s, '/dry/x', 3), '200 200 200', 'a dry run refuses nobody');
    my $dry = limit($s, 'dry');
    is("$dry->{refused} $dry->{would_refuse}", '0 2', '... and counts who would have been');
    is(statuses($s, '/slow/x', 4), '200 200 429 429', 'a speed has a rate of requests of its own');
    is(limit($s, 'slow')->{refused}, 2, '... whose refusals are the limit\'s');
    is(join(' ', $s->log_text('verdicts') =~ m{^/slow/x (\d+ \S+ \S+)}mg),
        '200 PASSED - 200 PACED slow 429 REJECTED slow 429 REJECTED slow', '... by its name');
    my @log = $s->log_text('verdicts') =~ m{^/burst/x (429 \S+ \S+)}mg;
    is($log[0], '429 REJECTED burst', 'the access log says who decided');
    is(limit($s, 'burst')->{refused}, 5, 'the status page counts them');
    my @lines = $s->error_log =~ /(xlimit\(404\): burst of .*)/g;
    is(scalar @lines, 3, 'one line for each client that is refused');
    like($lines[1], qr{, key "192\.0\.2\.7" has more requests than may come; worth trying again in \d+ s}, '... with its key');
};

subtest 'connections' => sub {
    my $s = served(<<'CONF', children => 2);
<Location /client>
    XLimitConnections client 3 name=client
    XLimitBandwidth session 20kB/s
</Location>
<Location /all>
    XLimitConnections all 4 name=all exceeded="status 503"
    XLimitBandwidth session 20kB/s
</Location>
CONF
    $s->file('client/f', 40_000);
    $s->file('all/f', 40_000);
    for my $case (['client', 3, 429], ['all', 4, 503]) {
        my ($name, $most, $status) = @$case;
        my $got = fetch_many([map { { port => $s->port, path => "/$name/f" } } 1 .. 12], until => 10);
        my %n;
        $n{ $_->{responses}[0]{status} }++ for @$got;
        is("@n{200, $status}", "$most " . (12 - $most), "$name: $most of twelve that come at once are served");
        ok($s->wait_for(sub { !limit($s, $name)->{active} }, 2), '... and none is active afterwards');
        is(fetch($s->port, "/$name/x")->{status}, 200, '... so that the next one is served');
    }
    my $other = fetch_many([map { { port => $s->port, path => '/client/f', headers => { 'X-Client' => "192.0.2.$_" } } }
            1 .. 8], until => 10);
    is(scalar(grep { $_->{responses}[0]{status} == 200 } @$other), 8, 'eight clients have one each');
};

# mod_cgid waits up to three seconds for a program to end, after its response has.
subtest 'a program that outlives its response' => sub {
    my $s = served(<<'CONF', cgi => 1);
<Location /cgi>
    XLimitConnections client 1 name=one
</Location>
CONF
    $s->cgi('stays', "#!/bin/sh\ntrap '' TERM\necho Content-Type: text/plain\necho\necho x\nexec <&- >&- 2>&-\nsleep 2\n");
    is(statuses($s, '/cgi/stays', 1), '200', 'its response ends');
    ok($s->wait_for(sub { !limit($s, 'one')->{active} }, 1), '... and with it the request that counts');
};

subtest 'at=accept' => sub {
    my $s = served("XLimitConnections client 2 at=accept name=accept\n", children => 2);
    $s->content('x', 'x');
    my @open = map { my $c = XL::Client->new(port => $s->port, from => '127.0.0.5'); $c->request('GET', '/x'); $c } 1 .. 2;
    ok((2 == grep { $_->connected } @open), 'two connections are served');
    my $third = XL::Client->new(port => $s->port, from => '127.0.0.5', timeout => 3);
    my $answer = $third->request('GET', '/x');
    is($answer->{status}, 0, 'the third is closed without a word');
    is(fetch($s->port, '/x', from => '127.0.0.6')->{status}, 200, 'another client is served');
    $open[0]->disconnect;
    ok($s->wait_for(sub { fetch($s->port, '/x', from => '127.0.0.5', timeout => 3)->{status} == 200 }, 5),
        'when one has gone there is room for another');
    like($s->error_log, qr/xlimit\(405\): accept of \S+ .*, key "127\.0\.0\.5" has as many at once/, 'the error log says so');
};

subtest 'penalties' => sub {
    my $s = served(<<'CONF');
<Location /login>
    AuthType Basic
    AuthName x
    AuthUserFile "@ROOT@/conf/users"
    Require valid-user
    XLimitPenalty client 5/1min for=2s count=status:401 name=login
</Location>
<Location /events>
    XLimitPenalty client 3/10s for=1s name=events exceeded="status 403"
</Location>
<Location /rejected>
    XLimitRequests client 1/h name=rate
    XLimitPenalty client 2/10s for=1h count=rejected name=rejected exceeded="redirect /elsewhere"
</Location>
<Location /target>
    XLimitPenalty client 1/10s for=1h name=target exceeded="redirect /target/x"
</Location>
CONF
    spew($s->path('conf/users'), 'me:{SHA}' . sha1_base64('right') . "=\n");
    my %wrong = (Authorization => 'Basic bWU6d3Jvbmc='), my %right = (Authorization => 'Basic bWU6cmlnaHQ=');
    is(statuses($s, '/login/x', 8, headers => { 'X-Client' => '192.0.2.1', %wrong }), '401 401 401 401 401 401 429 429',
        'five wrong passwords pass, the sixth locks out');
    is(statuses($s, '/login/x', 1, headers => { 'X-Client' => '192.0.2.1', %right }), '429', 'the right one comes too late');
    is(statuses($s, '/login/x', 1, headers => { 'X-Client' => '192.0.2.2', %right }), '200', 'from elsewhere it gets in');
    like($s->error_log, qr/xlimit\(406\): login of .*, key "192\.0\.2\.1" is locked out/, 'the error log says so');
    my $since = now();
    is(statuses($s, '/events/x', 5), '200 200 200 403 403', 'the event that is one too many is refused');
    sleep 0.1 while now() < $since + 0.7;
    is(statuses($s, '/events/x', 1), '403', 'tries while locked out');
    sleep 0.05 while now() < $since + 1.2;
    is(statuses($s, '/events/x', 1), '200', '... do not prolong it');
    is(statuses($s, '/rejected/x', 6), '200 429 429 429 302 302', 'who is refused again and again is locked out');
    is(statuses($s, '/target/x', 3), '200 200 200', 'the page to which it sends people is never refused by it');
    is(scalar(() = $s->error_log =~ /xlimit\(406\): target of .* is locked out/g), 1, '... though a line says who is locked out');
    is(statuses($s, '/target/y', 1), '302', '... from all else');
    ok($s->wait_for(sub { fetch($s->port, '/login/x', headers => { 'X-Client' => '192.0.2.1', %right })->{status} == 200 }, 4),
        'his time is over');
};

subtest 'blocks and zones' => sub {
    my $s = served(<<'CONF');
XLimitRequests apikey 1/h burst=1 name=key
XLimitQuota    apikey 4r 1h name=quota
XLimitZone apikey key="%{req_novary:X-Api-Key}" entries=1000
XLimitZone parts  key="%{XLIMIT_ADDR}|%{HTTP_HOST}|%{xlimit_cookie:sid}|%{xlimit_query:q}"
<Location /block>
    XLimitBlock when="%{HTTP_USER_AGENT} =~ /Bad/" name=bad
</Location>
<Location /parts>
    XLimitRequests parts 1/h name=parts
</Location>
CONF
    is(statuses($s, '/block/x', 1, headers => { 'User-Agent' => 'BadBot' }), '403', 'blocked');
    is(statuses($s, '/block/x', 1, headers => { 'User-Agent' => 'Good' }), '200', 'and who is not');
    is(statuses($s, '/block/x', 4), '200 200 200 200', 'without a key nothing is limited');
    my $long = 'k' x 4000;
    for my $key ('a', 'b', "\xff\xfe \"x", $long, "${long}2") {
        is(statuses($s, '/block/x', 3, headers => { 'X-Api-Key' => $key }), '200 200 429', 'each key has its own');
    }
    my @parts = ([q => '?q=a%20b'], [q2 => '?q=a%20c'], [cookie => '?q=a%20b', Cookie => 'a=1; sid=7; b=2'],
        [client => '?q=a%20b', 'X-Client' => '192.0.2.9']);
    is(statuses($s, "/parts/x$_->[1]", 2, headers => { @$_[2 .. $#$_] }), '200 429', "a key of several parts: $_->[0]")
        for @parts;
    is(statuses($s, '/parts/x?x=1&q=a+b', 1), '429', 'a parameter is decoded');
};

subtest 'waiting' => sub {
    my $s = served(<<'CONF');
<Location /wait>
    XLimitRequests client 10/s burst=5 delay=1 name=wait
</Location>
<Location /together>
    XLimitRequests client 10/s burst=5 delay=0 name=together
    XLimitConnections client 3 name=three
</Location>
CONF
    my $begin = now();
    is(statuses($s, '/wait/x', 6), '200 200 200 200 200 200', 'who is early waits and is served');
    my $took = now() - $begin;
    ok($took > 0.3 && $took < 0.8, sprintf '... six in %.3f s', $took);
    my $limit = limit($s, 'wait');
    is($limit->{delayed}, 4, '... four of them waited');
    my @log = $s->log_text('verdicts') =~ m{^/wait/x 200 (\S+) \S+$}mg;
    is("@log", 'PASSED PASSED DELAYED DELAYED DELAYED DELAYED', '... as the access log says');
    fetch($s->port, '/together/x');
    my $got = fetch_many([map { { port => $s->port, path => '/together/x' } } 1 .. 6], until => 5);
    is(join(' ', sort map { $_->{responses}[0]{status} } @$got), '200 200 200 429 429 429', 'who waits counts as served');
};

done_testing;
