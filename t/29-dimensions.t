# SPDX-License-Identifier: Apache-2.0
#
# What all dimensions have in common, for each of them: the answers to who exceeds
# it, in the clear, over TLS and HTTP/2, the names and documents that they carry,
# accounts, inheritance, exemption, .htaccess, and what a graceful restart keeps.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use JSON::PP qw(decode_json);
use Test::More;
use XL::Client qw(fetch fetch_many curl);
use XL::Server;
use XL::Status qw(status_conf status limit);
use XL::System qw(spew);

my @dimensions = qw(quota requests connections penalty block);
my %line = (
    quota       => 'XLimitQuota client 1r 1h',
    requests    => 'XLimitRequests client 1/h',
    connections => 'XLimitConnections client 1',
    penalty     => 'XLimitPenalty client 1/1h for=1h',
    block       => q(XLimitBlock "when=%{QUERY_STRING} == 'again'"),
);
my %title = (
    quota => 'Quota used up', requests => 'Too many requests', connections => 'Too many at once',
    penalty => 'Locked out', block => 'Blocked',
);

# <Location /DIMENSION-KIND>, each with its limit and what is to be said there.
sub locations {
    my ($kind, $more) = @_;
    return join '', map {
        my $lines = ref $more ? $more->($_) : $more;
        "<Location /$_-$kind>\n$line{$_} name=$_-$kind\n$lines\n</Location>\n";
    } @dimensions;
}

sub server {
    my ($conf, %option) = @_;
    my %server = (ports => 2, factor => 20, modules => ['remoteip'], %option);
    my $s = XL::Server->new(%server, conf => status_conf() . <<"CONF");
RemoteIPHeader X-Client
RemoteIPInternalProxy 127.0.0.1
CustomLog logs/verdicts "%U %>s %^XS %^XL"
$conf
CONF
    $s->content("$_/x", "content\n") for $conf =~ m{<Location /([\w-]+)>}g;
    $s->file("$_/slow", 10_000_000) for $conf =~ m{<Location /(connections-[\w-]+)>}g;
    return $s;
}

# Of one client two requests: the answer to the second, while the first one of
# connections goes on.
my @held;
sub second {
    my ($s, $place, %option) = @_;
    my $client = delete $option{as} // '192.0.2.1';
    my %headers = (%{ delete $option{headers} // {} }, 'X-Client' => $client);
    my $port = delete $option{port} // $s->port;
    if ($place =~ /^connections/) {
        my $first = XL::Client->new(port => $s->port);
        $first->send_all("GET /$place/slow HTTP/1.1\r\nHost: localhost\r\nX-Client: $client\r\nX-Slow: 1\r\n\r\n");
        push @held, $first if $first->readable(5);
    }
    else {
        fetch($s->port, "/$place/x", headers => { 'X-Client' => $client });
    }
    return fetch($port, "/$place/x?again", keep => 1, headers => \%headers, %option);
}

my $slow = qq(<If "%{HTTP:X-Slow} == '1'">\nXLimitBandwidth session 20kB/s name=slow\n</If>\n);

subtest 'answers' => sub {
    my %page = (quota => 503, block => 403);
    my %status = (quota => 410, requests => 420, connections => 430, penalty => 440, block => 450);
    my $s = server($slow
            . locations('default', '')
            . locations('each', join "\n", map { "XLimitExceeded $_ status $status{$_}" } @dimensions)
            . locations('any',  "XLimitExceeded any status 418\nXLimitExceeded penalty status 440")
            . locations('own', sub {
                "XLimitExceeded any status 418\nXLimitExceeded $_[0] redirect https://www.example.org/$_[0]" })
            . locations('page', sub { 'XLimitExceeded any status ' . ($page{ $_[0] } // 429) }) . <<'CONF');
ErrorDocument 429 /pages/429.html
ErrorDocument 503 /pages/503.html
ErrorDocument 403 "no, not you"
CONF
    $s->content('pages/429.html', "<p>a page of ours\n");
    $s->content('pages/503.html', "<p>another page\n");
    $s->start;
    for my $dimension (@dimensions) {
        my $r = second($s, "$dimension-default", headers => { Accept => 'application/problem+json' });
        my $expected = $dimension eq 'block' ? 403 : 429;
        is($r->{status}, $expected, "$dimension: $expected by default");
        like($r->{body}, qr/"title":"$title{$dimension}","status":$expected.*"limit":"$dimension-default"/,
            '... as the document says');
        is(!!$r->{headers}{'retry-after'}, $expected == 429, '... with Retry-After, or without');
        is(second($s, "$dimension-each")->{status}, $status{$dimension}, '... as configured for it');
        is(second($s, "$dimension-any")->{status}, $dimension eq 'penalty' ? 440 : 418, '... or for any');
        $r = second($s, "$dimension-own");
        is("$r->{status} $r->{headers}{location}", "302 https://www.example.org/$dimension",
            '... before what is for any');
        $r = second($s, "$dimension-page");
        my $page = { block => '403 no, not you', quota => "503 <p>another page\n" }->{$dimension};
        is("$r->{status} $r->{body}", $page // "429 <p>a page of ours\n", '... with the ErrorDocument');
        is(limit($s, "$dimension-page")->{refused}, 1, '... decided once');
        my @log = $s->log_text('verdicts') =~ m{^/$dimension-page/x (\d+ \S+ \S+)}mg;
        is($log[-1], "$r->{status} REJECTED $dimension-page",
            '... and logged by its name') if $dimension ne 'connections';
    }
    @held = ();
    ok($s->wait_for(sub { !grep { $_->{active} } @{ status($s)->{limits} } }, 2), 'nothing is active afterwards');
};

subtest 'close' => sub {
    my $s = server($slow . locations('close', 'XLimitExceeded any close'), tls => 1, h2 => 1);
    $s->content('x', 'x');
    $s->start;
    for my $dimension (@dimensions) {
        my $r = second($s, "$dimension-close");
        is("$r->{status} $r->{bytes}", '0 0', "$dimension: closed without a byte");
        $r = fetch($s->tls_port, "/$dimension-close/x?again", tls => 1, headers => { 'X-Client' => '192.0.2.1' });
        my $own = $dimension =~ /connections|quota|requests|penalty/ ? 200 : 0; # another virtual host counts anew
        is($r->{status}, $own, '... over TLS, by its own count');
        next if $dimension eq 'connections';
        $r = fetch($s->tls_port, "/$dimension-close/x?again", tls => 1, headers => { 'X-Client' => '192.0.2.1' });
        is("$r->{status} $r->{bytes}", '0 0', '... closed without a byte');
        my @each = (qw(-k --http2 -s -o /dev/null -H), 'X-Client: 192.0.2.1', '-w', '%{http_code} %{num_connects}\n');
        my @urls = map { $s->tls_url($_) } '/x', "/$dimension-close/x?again", '/x';
        my (undef, $out) = curl(@each, $urls[0], map { ('--next', @each, $_) } @urls[1, 2]);
        is($out, "200 1\n000 0\n200 0\n", '... over HTTP/2 the stream is reset, and the connection lives');
    }
    @held = ();
    ok($s->wait_for(sub { !grep { $_->{active} } @{ status($s)->{limits} } }, 2), 'nothing is active afterwards');
};

subtest 'RateLimit fields' => sub {
    my $s = server(<<'CONF')->start;
<Location /draft>
    XLimitRequests client 6/min burst=5 name=six
    XLimitHeaders Draft10
</Location>
<Location /legacy>
    XLimitRequests client 6/min burst=5 name=six
    XLimitHeaders Legacy
</Location>
CONF
    my @draft = map { fetch($s->port, '/draft/x')->{headers} } 1 .. 7;
    is($draft[0]{'ratelimit-policy'}, '"six";q=6;w=60', 'the policy');
    is(join(' ', map { $_->{ratelimit} =~ /^"six";r=(\d+);t=\d+$/ } @draft), '5 4 3 2 1 0 0',
        'what remains falls to nothing');
    like($draft[6]{ratelimit}, qr/;t=(59|60)$/, '... and when all of it is there again');
    is($draft[6]{'retry-after'}, 10, '... and the next one');
    my @legacy = map { fetch($s->port, '/legacy/x')->{headers} } 1 .. 2;
    is("@{$legacy[1]}{qw(x-ratelimit-limit x-ratelimit-remaining x-ratelimit-reset)}", '6 4 20',
        'the other form of it');
};

subtest 'accounts' => sub {
    my $lines = join "\n", map { qq($line{$_} name=acme-$_ exceeded="status 418") } @dimensions;
    my $s = server($slow . <<"CONF", ports => 4);
<XLimitAccount acme>
$lines
</XLimitAccount>
<VirtualHost 127.0.0.1:\@PORT2\@>
    ServerName one
    XLimitAccount acme
</VirtualHost>
<VirtualHost 127.0.0.1:\@PORT3\@>
    ServerName two
    XLimitAccount acme
</VirtualHost>
CONF
    $s->content('x', 'x');
    $s->file('slow', 1_000_000);
    $s->start;
    my %as = (headers => { 'X-Client' => '192.0.2.1' });
    is(fetch($s->port(2), '/x?again', %as)->{status}, 418, 'one host: what is blocked');
    is(fetch($s->port(2), '/x', %as)->{status}, 200, '... the first request');
    is(fetch($s->port(3), '/x', %as)->{status}, 418, 'the other host: the second one');
    is(fetch($s->port(3), '/x', headers => { 'X-Client' => '192.0.2.2' })->{status}, 200, '... and another client');
    my %refused = map { $_ => limit($s, "acme-$_")->{refused} } @dimensions;
    is("@refused{qw(block connections)}", '1 0', 'who is told');
    is($refused{quota} + $refused{requests} + $refused{penalty}, 2, '... the rate and the quota');
    ok($s->wait_for(sub { !limit($s, 'acme-connections')->{active} }, 2), 'nothing is active afterwards');
};

subtest 'who is not limited' => sub {
    my $all = join "\n", map { "$line{$_} name=all-$_" } @dimensions;
    my $s = server("$all\n" . <<'CONF', ports => 3);
XLimitBlock name=all "when=%{QUERY_STRING} != 'let'"
SetEnvIf X-Spare 1 no-xlimit
<Location /spared>
    XLimitHeaders Draft10
</Location>
<Location /off>
    XLimitInherit Off
    XLimitRequests client 2/h burst=1 name=own
</Location>
<VirtualHost 127.0.0.1:@PORT2@>
    ServerName apart
    XLimitInherit Off
</VirtualHost>
CONF
    $s->start;
    is(fetch($s->port, '/spared/x')->{status}, 403, 'all are blocked');
    is(join(' ', map { fetch($s->port, '/spared/x', headers => { 'X-Spare' => 1 })->{status} } 1 .. 3), '200 200 200',
        'but who has no-xlimit');
    is(join(' ', map { fetch($s->port, '/off/x')->{status} } 1 .. 3), '200 200 429', 'and where nothing is inherited');
    is(join(' ', map { fetch($s->port(2), '/spared/x')->{status} } 1 .. 3), '200 200 200',
        '... nor in that virtual host');
    is(join(' ', map { limit($s, "all-$_")->{requests} } qw(requests connections penalty)), '1 1 1',
        'nothing of it counts');
};

subtest '.htaccess' => sub {
    my $s = server(<<'CONF');
XLimitZone agent key="%{HTTP_USER_AGENT}"
XLimitQuota client 1TB 1h name=makes-a-table
XLimitRequests agent 100000/s burst=1000 name=has-a-zone
<Directory "@DOCROOT@">
    AllowOverride Limit
</Directory>
<If "%{HTTP:X-Slow} == '1'">
    XLimitBandwidth session 20kB/s name=slow
</If>
CONF
    for my $dimension (@dimensions) {
        for my $key ($dimension eq 'block' ? 'client' : qw(all client agent)) {
            my $line = $line{$dimension} =~ s/ client / $key /r;
            $s->content("$dimension-$key/x", "x\n");
            $s->file("$dimension-$key/slow", 10_000_000);
            $s->content("$dimension-$key/.htaccess", qq($line name=$dimension-$key exceeded="status 418"\n));
        }
    }
    $s->start;
    for my $dimension (@dimensions) {
        for my $key ($dimension eq 'block' ? 'client' : qw(all client agent)) {
            my $place = "$dimension-$key";
            my %as = ('X-Client' => '192.0.2.1', 'User-Agent' => 'one');
            if ($dimension eq 'connections') {
                my $first = XL::Client->new(port => $s->port);
                $first->send_all("GET /$place/slow HTTP/1.1\r\nHost: x\r\nX-Client: 192.0.2.1\r\nUser-Agent: one\r\n"
                        . "X-Slow: 1\r\n\r\n");
                push @held, $first if $first->readable(5);
            }
            else {
                is(fetch($s->port, "/$place/x", headers => \%as)->{status}, 200, "$dimension of $key: the first one");
            }
            is(fetch($s->port, "/$place/x?again", headers => \%as)->{status}, 418,
                "$dimension of $key: the second one");
            next if $key eq 'all' || $dimension eq 'block';
            $as{ $key eq 'client' ? 'X-Client' : 'User-Agent' } = '192.0.2.2';
            is(fetch($s->port, "/$place/x", headers => \%as)->{status}, 200, '... and of another key');
        }
    }
    @held = ();
    $s->content("bad/x", 'x');
    $s->content("bad/.htaccess", "XLimitRequests nobody 1/h\n");
    is(fetch($s->port, '/bad/x')->{status}, 500, 'a zone that there is not');
    like($s->error_log, qr/"nobody" is not a key/, '... which the error log says');
};

subtest 'graceful restart' => sub {
    my $conf = <<'CONF';
XLimitZone small key="%{QUERY_STRING}" entries=1000
XLimitZone other key="%{QUERY_STRING}" entries=1000
<Location /client>
    XLimitRequests client 1/h burst=1 name=client
</Location>
<Location /small>
    XLimitRequests small 1/h burst=1 name=small
</Location>
<Location /other>
    XLimitRequests other 1/h burst=1 name=other
    XLimitPenalty other 2/1h for=1h name=locks exceeded="status 403"
</Location>
CONF
    my $s = server($conf, children => 2)->start;
    my $ask = sub { join ' ', map { fetch($s->port, $_)->{status} } qw(/client/x /small/x?a /other/x?a) };
    is($ask->(), '200 200 200', 'one of two');
    $s->graceful;
    is($ask->(), '200 200 200', 'after a graceful restart the second one');
    is($ask->(), '429 429 429', '... and no more');
    fetch($s->port, '/other/x?b') for 1 .. 3;
    $s->conf($s->{conf} =~ s/(XLimitZone small.*?)1000/${1}5000/r)->graceful;
    is($ask->(), '429 200 429', 'a zone of another size begins anew, and no other');
    $s->conf($s->{conf} =~ s/(XLimitZone small.*\n)(XLimitZone other.*\n)/$2$1/r)->graceful;
    is($ask->(), '429 200 429', '... wherever its line stands');
    $s->restart;
    is($ask->(), '429 429 429', 'a restart that is not graceful keeps them, too');
    is(limit($s, 'client')->{refused}, 4, 'and all of it is counted');
};

# A flood of keys through a zone that has room for few of them.
subtest 'a full zone' => sub {
    my $s = server(<<'CONF', children => 2);
XLimitZone small key="%{QUERY_STRING}" entries=100
<Location /flood>
    XLimitPenalty small 2/1h for=1h name=locks exceeded="status 403"
    XLimitConnections small 1 name=once exceeded="status 418"
    XLimitBandwidth session 20kB/s "when=%{REQUEST_URI} == '/flood/large'" name=slow
</Location>
CONF
    $s->file('flood/large', 10_000_000);
    $s->start;
    is(join(' ', map { fetch($s->port, '/flood/x?locked')->{status} } 1 .. 3), '200 200 403',
        'a key that is locked out');
    my $live = XL::Client->new(port => $s->port);
    $live->send_all("GET /flood/large?live HTTP/1.1\r\nHost: localhost\r\n\r\n");
    ok($live->readable(5), 'and one that is served');
    my $got = fetch_many([map { my $n = $_; { port => $s->port, pipeline => 1,
        paths => [map { "/flood/x?$n-$_" } 1 .. 1000] } } 1 .. 4], until => 60);
    my %n;
    $n{ $_->{status} }++ for map { @{ $_->{responses} } } @$got;
    is_deeply(\%n, { 200 => 4000 }, 'of four thousand others each is served');
    is(fetch($s->port, '/flood/x?locked')->{status}, 403, 'the one is still locked out');
    is(fetch($s->port, '/flood/x?live')->{status}, 418, '... and the other one served');
    my ($zone) = grep { $_->{name} eq 'small' } @{ decode_json(fetch($s->port(1),
        '/xlimit-status?format=json&view=zones', keep => 1)->{body})->{zones} };
    is($zone->{evictions} + $zone->{used}, 2 * 4002, 'the status tells of each key that it is there or made room')
        or diag(explain($zone));
    ok($zone->{used} <= $zone->{capacity} && $zone->{evictions} > 7000, "... $zone->{evictions} made room");
    is($zone->{locked}, 1, '... and that one is locked out');
    unlike($s->error_log, qr/xlimit\(237\)/, 'no key was without a counter');
};

# Where too many wait already a request is refused, as any other refusal is one.
subtest 'who may not even wait' => sub {
    my $s = server(<<'CONF')->start;
XLimitWaiting 1
<Location /waits>
    XLimitRequests all 1/min burst=20 delay=0 name=waits
    XLimitPenalty all 2/1h for=1h count=rejected name=pushy exceeded="status 403"
</Location>
CONF
    is(fetch($s->port, '/waits/x')->{status}, 200, 'the first one is served');
    my $waiting = XL::Client->new(port => $s->port);
    $waiting->send_all("GET /waits/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    ok($s->wait_for(sub { limit($s, 'waits')->{delayed} == 1 }, 5), 'the second one waits');
    is(join(' ', map { fetch($s->port, '/waits/x')->{status} } 1 .. 5), '429 429 429 403 403',
        'of the others three are refused, which are events of a penalty');
    my %row = map { $_ => limit($s, $_) } qw(waits pushy);
    is("$row{waits}{refused} $row{waits}{delayed} $row{pushy}{refused}", '3 1 2', '... and counted so');
    like($s->error_log, qr/xlimit\(406\): pushy of /, '... and the lock-out is logged');
    $waiting->disconnect;
};

# file() of what is not there fails when it is evaluated.
subtest 'expressions that fail' => sub {
    my $s = server(<<'CONF', children => 2)->start;
XLimitZone broken key="%{file:/nonexistent/%{REMOTE_ADDR}}"
XLimitZone sound  key="%{REMOTE_ADDR}"
<Location /key>
    XLimitRequests broken 1/h name=broken
    XLimitQuota broken 1r 1h name=broken-too
    XLimitRequests sound 1/h burst=4 name=sound
</Location>
<Location /when>
    XLimitRequests client 1/h burst=2 name=when "when=file('/nonexistent') == 'x'"
</Location>
<Location /cost>
    XLimitRequests client 1/h burst=2 name=cost cost="%{file:/nonexistent}"
</Location>
LogFormat %P child
CustomLog logs/children child
CONF
    is(join(' ', map { fetch($s->port, '/key/x')->{status} } 1 .. 6), '200 200 200 200 200 429',
        'a key that fails is none: the other limit decides');
    is(join(' ', map { fetch($s->port, '/when/x')->{status} } 1 .. 6), '200 200 200 429 429 429',
        'when= that fails holds');
    is(join(' ', map { fetch($s->port, '/cost/x')->{status} } 1 .. 6), '200 200 200 429 429 429',
        'a cost that fails is 1');
    my %child;
    $s->wait_for(sub {
        fetch_many([map { { port => $s->port, path => "/$_/x" } } (qw(key when cost)) x 10], until => 5);
        %child = map { $_ => 1 } split /\n/, $s->log_text('children');
        keys %child > 1;
    }, 20);
    is(scalar keys %child, 2, 'two children have met them');
    for my $id (501, 502, 503) {
        my @lines = grep { /xlimit\($id\)/ } split /\n/, $s->error_log;
        is(scalar @lines, 1, "xlimit($id): one line in a minute") or diag(@lines);
    }
    like($s->error_log, qr/xlimit\(502\): the key of XLimitZone broken \(\S+:\d+\) cannot be evaluated: .*nonexistent/,
        'which names the zone, its place and what is wrong');
};

# Before a quick handler a request is looked at when nothing is known of it but its URL.
subtest 'a key that is known late' => sub {
    my $s = server(<<'CONF', modules => [qw(remoteip cache cache_disk)]);
CacheRoot "@ROOT@/cache"
CacheEnable disk /never
XLimitZone file key="%{REQUEST_FILENAME}"
XLimitZone env  key="%{reqenv:place}"
XLimitRequests file 1/h burst=2 name=file
XLimitRequests env  1/h burst=1 name=env exceeded="status 418"
<Location /env>
    SetEnvIf Host . place=here
</Location>
CONF
    $s->content($_, 'x') for qw(one two env/x);
    $s->start;
    is(join(' ', map { fetch($s->port, '/one')->{status} } 1 .. 4), '200 200 200 429', 'by its file');
    is(fetch($s->port, '/two')->{status}, 200, '... another one');
    is(join(' ', map { fetch($s->port, '/env/x')->{status} } 1 .. 3), '200 200 418',
        'by a variable that its place sets');
};

done_testing;
