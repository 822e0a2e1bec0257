# SPDX-License-Identifier: Apache-2.0
#
# A request that ends in any way there is, under all kinds of limits at once:
# afterwards nothing is active, in no limit and for no client, and each total has
# grown by that one request.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use IO::Socket::INET;
use JSON::PP qw(decode_json);
use POSIX qw(strftime);
use Test::More;
use Time::HiRes qw(sleep);
use XL::Client qw(now fetch fetch_many);
use XL::Http2 qw(run);
use XL::Server;
use XL::Status qw(status_conf status);

# What stands behind a proxy: takes a line, answers as that says.
sub upstream {
    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 20, ReuseAddr => 1) or die $!;
    my $pid = fork // die $!;
    return ($listen->sockport, $pid) if $pid;
    $SIG{CHLD} = 'IGNORE';
    while (my $peer = $listen->accept) {
        next if fork; # who serves one ends with its peer
        my $head = '';
        while ($head !~ /\r\n\r\n/ && sysread $peer, $head, 4096, length $head) { }
        if ($head =~ /^Upgrade:\s*websocket/mi) {
            syswrite $peer, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        }
        if ($head =~ m{ /backend/broken}) {
            syswrite $peer, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf";
            POSIX::_exit(0);
        }
        syswrite $peer, $1 if $head =~ /\r\n\r\n(.+)/s;
        while (sysread $peer, my $data, 4096) { syswrite $peer, $data; }
        POSIX::_exit(0);
    }
    POSIX::_exit(0);
}

my ($echo, $echo_pid) = upstream();
END { kill TERM => $echo_pid if $echo_pid }

# One of each dimension with each key, so wide that nothing is refused, and one that serves at a speed: without
# COUNT/TIME, which has no burst and refuses the second of two requests in one instant.
my $conf = join '', map { <<"CONF" } qw(all client zone);
XLimitQuota       $_ 1TB 1h name=bytes-$_
XLimitQuota       $_ 1000000r 1h name=count-$_
XLimitRequests    $_ 100000/s burst=100000 name=rate-$_
XLimitConnections $_ 1000 name=at-once-$_
XLimitPenalty     $_ 100000/1s for=1h name=by-request-$_
XLimitPenalty     $_ 100000/1s for=1h count=rejected name=by-rejected-$_
XLimitPenalty     $_ 100000/1s for=1h count=status:404,500,408,403 name=by-status-$_
XLimitBandwidth   $_ 1GB/s name=pace-$_
XLimitQuota       $_ 1r 1h name=speed-$_ exceeded="speed 1GB/s 1000"
CONF

my $s = XL::Server->new(ports => 2, factor => 20, children => 2, cgi => 1, h2 => 1,
    modules => [qw(include rewrite reqtimeout proxy proxy_http proxy_wstunnel proxy_connect unique_id)],
    conf => status_conf() . $conf . <<"CONF");
XLimitZone zone key="%{REQUEST_METHOD}" entries=1000
XLimitConnections client 500 at=accept name=accepted
RequestReadTimeout header=1 body=1
AllowCONNECT $echo
<Proxy *>
    Require all granted
</Proxy>
ProxyRequests On
ProxyPass /ws ws://127.0.0.1:$echo/ws
ProxyPass /backend http://127.0.0.1:$echo/backend
ProxyPass /nobody http://127.0.0.1:1/
ErrorDocument 404 /errors/404.html
ErrorDocument 403 /missing-document
<Directory "\@DOCROOT\@">
    Options +Includes
    AddType text/html .shtml
    AddOutputFilter INCLUDES .shtml
</Directory>
<Location /denied>
    Require all denied
</Location>
<Location /declined.foo>
    SetHandler nobody-has-this
</Location>
<Location /slow>
    XLimitBandwidth session 40kB/s
</Location>
CONF
$s->content('x.txt',           "some text\n");
$s->content('declined.foo',    "x\n");
$s->content('dir/index.html',  "<p>an index\n");
$s->content('errors/404.html', "<p>not here\n");
$s->content('denied/x',        'x');
$s->content('page.shtml', join '', map { qq(<!--#include virtual="$_" -->) } qw(/dir/ /missing /cgi/say));
$s->file('big.bin',            30_000_000);
$s->file('slow/big.bin',       30_000_000);
$s->cgi('say',    "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\none\\n'\n");
$s->cgi('broken', "#!/bin/sh\nexit 1\n");
$s->cgi('inner',  "#!/bin/sh\nprintf 'Location: /x.txt\\r\\n\\r\\n'\n");
$s->cgi('sleep',  "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\none\\n'; sleep 30\n");
$s->cgi('read',   "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'; wc -c\n");
$s->start;

# Everything that should be 0, as text: '' when it is.
sub busy {
    my $page = status($s);
    my $zones = decode_json(fetch($s->port(1), '/xlimit-status?format=json&view=zones', keep => 1)->{body});
    return join ' ', (map { $_->{active} ? "host:$_->{active}" : () } @{ $page->{vhosts} }[0]),
        (map { $_->{active} ? "$_->{name}:$_->{active}" : () } @{ $page->{limits} }),
        (map { $_->{pinned} ? "$_->{name}:$_->{pinned} keys" : () } @{ $zones->{zones} });
}

# How many requests each limit has met, and each quota was charged, besides.
sub met {
    my %met;
    for my $row (@{ status($s)->{limits} }) {
        next if $row->{name} eq 'accepted' || ($row->{place} // '') ne '';
        next if ($row->{vhost} // '') !~ /^localhost/;
        my $used = ($row->{unit} // '') eq 'requests' && $row->{key} eq 'all' ? $row->{used} : undef;
        $met{ $row->{name} } = $row->{requests} // $used // next;
    }
    return \%met;
}

# That many requests, however they end; or as many as the code then says.
sub ends {
    my ($what, $n, $code) = @_;
    my $before = met();
    $code->();
    my $busy;
    ok($s->wait_for(sub { ($busy = busy()) eq '' }, 2), "$what: nothing is active within 2 s") or diag($busy);
    $n = $n->() if ref $n;
    my $after = met();
    my @wrong = map { my $grown = $after->{$_} - $before->{$_}; $grown == $n ? () : "$_ $grown" } sort keys %$after;
    is("@wrong", '', "... and each limit has met $n");
    return;
}

sub get {
    my ($what, $status, $path, %option) = @_;
    my $method = delete $option{method} // 'GET';
    ends($what, 1, sub {
        is(fetch($s->port, $path, method => $method, %option)->{status}, $status, "$what: $status");
    });
    return;
}

sub text { "GET $_[0] HTTP/1.1\r\nHost: localhost\r\n\r\n" }

# Sends that, waits for so many bytes of an answer, and goes away.
sub leave {
    my ($text, $bytes, $reset) = @_;
    my $client = XL::Client->new(port => $s->port);
    $client->send_all($text);
    my $got = 0;
    while ($got < $bytes && $client->readable(5)) {
        my $n = sysread($client->socket, my $data, 4096) or last;
        $got += $n;
    }
    $reset ? $client->reset : $client->disconnect;
    return $got;
}

ok(scalar(keys %{ met() }) >= 20, 'limits of all kinds: ' . join ' ', sort keys %{ met() });
is(busy(), '', 'nothing is active before');

my $lately = strftime('%a, %d %b %Y %H:%M:%S GMT', gmtime time - 60);
get('a file', 200, '/x.txt');
get('HEAD', 200, '/big.bin', method => 'HEAD');
get('not modified', 304, '/x.txt', headers => { 'If-Modified-Since' => $lately });
get('a range', 206, '/big.bin', headers => { Range => 'bytes=5-100' });
get('not found, with an ErrorDocument', 404, '/missing');
get('forbidden, whose ErrorDocument is missing', 403, '/denied/x');
get('an index', 200, '/dir/');
get('a slash is missing', 301, '/dir');
get('an internal redirect', 200, '/cgi/inner');
get('a CGI that fails', 500, '/cgi/broken');
get('SSI with three subrequests', 200, '/page.shtml');
get('a handler that nobody has', 200, '/declined.foo');
get('a method that is none', 501, '/x.txt', method => 'FETCH');
get('a backend that is not there', 503, '/nobody/x');
get('a large file', 200, '/big.bin');
get('a POST', 200, '/cgi/read', method => 'POST', body => 'x' x 100_000);
ends('a backend that breaks off', 1, sub { fetch($s->port, '/backend/broken') });

for my $reset (0, 1) {
    my $how = $reset ? 'RST' : 'FIN';
    ends("$how after the request", 1, sub { leave(text('/slow/big.bin'), 1, $reset) });
    ends("$how in the response", 1, sub { leave(text('/slow/big.bin'), 9000, $reset) });
    ends("$how in an unpaced response", 1, sub { leave(text('/big.bin'), 100_000, $reset) });
    ends("$how in the body", 1, sub {
        leave("POST /cgi/read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nabc", 0, $reset);
        sleep 0.1;
    });
    ends("$how after the response", 1, sub { leave(text('/x.txt'), 200, $reset) });
}
ends('no more than a part of a head: 408', 1, sub {
    my $r = XL::Client->new(port => $s->port, timeout => 5);
    $r->send_all("GET /x.txt HTTP/1.1\r\nHost: loc");
    is($r->receive(XL::Response->new('GET', 0, now()))->{status}, 408, 'no more than a part of a head: answered so');
});
ends('no more than a part of a body', 1, sub {
    my $r = XL::Client->new(port => $s->port, timeout => 5);
    $r->send_all("POST /cgi/read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc");
    like($r->receive(XL::Response->new('POST', 0, now()))->{status}, qr/^(?:408|400|500|200)$/, 'it is answered');
});
ends('garbage', 1, sub { leave("garbage\r\n\r\n", 1, 0) });
ends('HTTP/0.9', 1, sub { leave("GET /x.txt\r\n", 10, 0) });
ends('nothing at all', 0, sub { leave('', 0, 0) });
ends('eight pipelined', 8, sub {
    my @paths = (qw(/x.txt /missing /dir/ /cgi/say)) x 2;
    my ($got) = @{ fetch_many([{ port => $s->port, pipeline => 1, paths => \@paths }]) };
    ok($got->{complete}, 'eight pipelined: complete');
});
ends('three pipelined by one who leaves', 3, sub {
    leave(text('/x.txt') x 2 . text('/slow/big.bin'), 3000, 1);
});

ends('an upgrade to WebSocket', 1, sub {
    my $client = XL::Client->new(port => $s->port);
    $client->send_all("GET /ws/x HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            . "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n");
    like(read_some($client), qr/^HTTP\/1.1 101 /, 'an upgrade to WebSocket: 101');
    $client->send_all('to and fro');
    is(read_some($client), 'to and fro', '... and back');
    like(busy(), qr/at-once-all:1/, '... which is active as long as it lasts');
    $client->disconnect;
});
ends('CONNECT', 1, sub {
    my $client = XL::Client->new(port => $s->port);
    $client->send_all("CONNECT 127.0.0.1:$echo HTTP/1.1\r\nHost: 127.0.0.1:$echo\r\n\r\n");
    like(read_some($client), qr/^HTTP\/1.\d 200 /, 'CONNECT: 200');
    $client->send_all("GET /tunnel HTTP/1.1\r\n\r\nto and fro");
    like(read_some($client), qr/^to and fro/, '... and back');
    $client->reset;
});

ends('four HTTP/2 streams, one reset at its beginning and one in its middle', 4, sub {
    my $client = XL::Http2->new(port => $s->port);
    my @streams = map { $client->get($_) } '/slow/big.bin', '/slow/big.bin', '/x.txt';
    run([$client], until => 3, events => [[0.01, sub { $client->reset_stream($streams[0]) }],
        [1.5, sub { $client->reset_stream($streams[1]) }]]);
    is($streams[2]{status}, 200, 'HTTP/2: the third one is served');
    push @streams, $client->get('/dir/');
    run([$client], until => 5);
    is($streams[3]{status}, 200, '... and so is one after both were reset');
    $client->close;
});
# A stream that the server has not begun when its connection goes is no request.
my $logged = sub { scalar(() = $s->access_log =~ m{ /slow/big.bin HTTP/2}g) };
my $logged_before = $logged->();
ends('HTTP/2 whose client is gone', sub { $logged->() - $logged_before }, sub {
    my $client = XL::Http2->new(port => $s->port);
    $client->get('/slow/big.bin') for 1 .. 4;
    run([$client], until => 2);
    $client->close;
});
ok($logged->() > $logged_before, '... of which there were some');

sub read_some {
    my ($client) = @_;
    my $data = '';
    sysread $client->socket, $data, 4096 if $client->readable(5);
    return $data;
}

subtest 'a child that is killed' => sub {
    my @clients = map { my $c = XL::Client->new(port => $s->port);
        $c->send_all(text('/slow/big.bin')); $c } 1 .. 12;
    my $h2 = XL::Http2->new(port => $s->port);
    $h2->get('/slow/big.bin') for 1 .. 3;
    my $busy;
    run([$h2], until => 1);
    ok($s->wait_for(sub { ($busy = busy()) =~ /at-once-client:15\b/ }, 5), 'fifteen requests are active') or diag("<$busy>");
    kill KILL => $s->children;
    ok($s->wait_for(sub { ($busy = eval { busy() } // 'no page') eq '' }, 4), 'nothing is a moment later')
        or diag($busy);
    get('and afterwards', 200, '/x.txt');
};

done_testing;
