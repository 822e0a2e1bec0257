# SPDX-License-Identifier: Apache-2.0
#
# Who is not refused gets what he would get without the module, byte by byte: what comes
# from behind httpd, whole or broken, by HTTP, FastCGI, tunnels and WebSocket. Each case
# goes to the servers of XL::Same.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use FCGI;
use Test::More;
use Time::HiRes qw(sleep);
use XL::Backend;
use XL::Same;
use XL::Server;
use XL::System qw(free_port);

my $large = join '', map { "line $_ of what is large\n" } 1 .. 6000;
my $ok = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n";
sub chunks { return join '', map { sprintf "%x\r\n%s\r\n", length, $_ } @_ }

# What the backend says for each path: text, and pauses in between; 'close' ends the connection.
my %answer = (
    length  => ["${ok}Content-Length: 5\r\nX-Mine: yes\r\nSet-Cookie: a=b; path=/\r\n\r\nabcde"],
    chunked => ["${ok}Transfer-Encoding: chunked\r\n\r\n" . chunks('abc', 'defg') . "0\r\n\r\n"],
    trailer => ["${ok}Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n" . chunks('abc') . "0\r\nX-Sum: 3\r\n\r\n"],
    pieces  => ["${ok}Transfer-Encoding: chunked\r\n\r\n3\r\na", 0.05, "bc\r", 0.05, "\n2\r\nde\r\n0\r\n\r\n"],
    waits   => ["${ok}Content-Length: 9\r\n\r\nabc", 0.2, 'def', 0.2, 'ghi'],
    streams => ["${ok}\r\nuntil ", 0.05, 'the end', 'close'],
    old     => ["HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nold", 'close'],
    large   => ["${ok}Content-Length: " . length($large) . "\r\n\r\n$large"],
    'large-chunked' => ["${ok}Transfer-Encoding: chunked\r\n\r\n", 
        (map { chunks(substr $large, $_ * 8000, 8000) } 0 .. 19), "0\r\n\r\n"],
    'large-streams' => ["${ok}\r\n$large", 'close'],
    empty   => ["${ok}Content-Length: 0\r\n\r\n"],
    none    => ["HTTP/1.1 204 No Content\r\nX-Mine: yes\r\n\r\n"],
    same    => ["HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n"],
    away    => ["HTTP/1.1 302 Found\r\nLocation: /app/there\r\nContent-Length: 0\r\n\r\n"],
    fails   => ["HTTP/1.1 500 Oh\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\noh"],
    unknown => ["HTTP/1.1 299 What\r\nContent-Length: 2\r\n\r\noh"],
    retry   => ["HTTP/1.1 503 Later\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"],
    hints   => ["HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n", 0.05,
        "${ok}Content-Length: 3\r\n\r\nabc"],
    'hints-large' => ["HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\n"
        . "${ok}Content-Length: " . length($large) . "\r\n\r\n$large"],
    processing => ["HTTP/1.1 102 Processing\r\n\r\n", 0.05, "${ok}Content-Length: 3\r\n\r\nabc"],
    # broken ones
    short   => ["${ok}Content-Length: 50\r\n\r\nabc", 'close'],
    cut     => ["${ok}Transfer-Encoding: chunked\r\n\r\n5\r\nab", 'close'],
    'no-end'  => ["${ok}Transfer-Encoding: chunked\r\n\r\n" . chunks('abc'), 'close'],
    'large-short' => ["${ok}Content-Length: 900000\r\n\r\n$large", 'close'],
    'large-cut' => ["${ok}Transfer-Encoding: chunked\r\n\r\n" . chunks($large) . "5\r\nab", 'close'],
    'bad-chunk' => ["${ok}Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n", 'close'],
    'no-head' => ["HTTP/1.1 200 OK\r\nContent-Ty", 'close'],
    nothing => ['close'],
    garbage => ["this is no HTTP\r\n\r\n", 'close'],
    'bad-field' => ["${ok}nonsense\r\nContent-Length: 0\r\n\r\n", 'close'],
    'huge-field' => ["${ok}X: " . 'y' x 20_000 . "\r\nContent-Length: 0\r\n\r\n", 'close'],
    'two-lengths' => ["${ok}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 'close'],
    both    => ["${ok}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 'close'],
);

my $backend = XL::Backend->new(sub {
    my ($socket, $path, $head) = @_;
    my ($name) = $path =~ m{([\w-]+)(?:\?.*)?\z};
    return echo($socket, $head) if $name =~ /echo/;
    return tunnel($socket) if $name =~ /ws/;
    XL::Backend::body($socket, $head);
    for my $part (@{ $answer{$name} // ["HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"] }) {
        return 0 if $part eq 'close';
        my $text = $head =~ /\AHEAD/ ? $part =~ s/\r\n\r\n\K.*//sr : $part;
        $part =~ /\A0\.\d+\z/ ? sleep($part) : XL::Backend::say_all($socket, $text);
    }
    return 1;
});

sub echo { # of the request itself, but for what is each server's own
    my ($socket, $head) = @_;
    XL::Backend::say_all($socket, "HTTP/1.1 100 Continue\r\n\r\n") if $head =~ /^expect: 100/mi;
    my $text = $head . XL::Backend::body($socket, $head);
    return XL::Backend::say_all($socket, "${ok}Content-Length: " . length($text) . "\r\n\r\n$text");
}

sub tunnel { # what comes goes back
    my ($socket) = @_;
    XL::Backend::say_all($socket, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        . "Sec-WebSocket-Accept: x\r\n\r\n\x81\x05hello");
    while (sysread $socket, my $data, 65_536) {
        XL::Backend::say_all($socket, $data);
        return 0 if $data =~ /bye/;
    }
    return 0;
}

my %fcgi = (
    small => sub { "Content-Type: text/plain\r\n\r\nsmall" }, status => sub { "Status: 418 Tea\r\n\r\ntea" },
    large => sub { "Content-Type: text/plain\r\nX-Fcgi: yes\r\n\r\n$large" },
    empty => sub { "Content-Type: text/plain\r\n\r\n" },
    inner => sub { "Location: /x.txt\r\n\r\n" }, broken => sub { 'no head' },
    echo  => sub { "Content-Type: text/plain\r\n\r\n$_[0]{REQUEST_METHOD} $_[0]{QUERY_STRING} "
        . do { local $/; <STDIN> } },
);
my $socket = free_port();
my $fcgi_port = $socket->sockport;
close $socket;
my $fcgi = FCGI::OpenSocket("127.0.0.1:$fcgi_port", 100);
for (1 .. 4) {
    XL::Backend::start(sub {
        my %env;
        my $request = FCGI::Request(\*STDIN, \*STDOUT, \*STDERR, \%env, $fcgi);
        while ($request->Accept >= 0) {
            my ($name) = $env{SCRIPT_NAME} =~ /(\w+)\z/;
            print $fcgi{$name}->(\%env);
        }
    });
}
FCGI::CloseSocket($fcgi);

my $httpd = XL::Server->backend(cgi => 1);
$httpd->content('x.txt', "from behind\n");
$httpd->file('large.bin', 150_000, 1);
$httpd->file('huge.bin', 3_000_000, 1);

my $nobody = free_port();
my ($port, $down) = ($backend->port, $nobody->sockport);
close $nobody;
my $conf = <<"CONF";
ProxyPass /app/ http://127.0.0.1:$port/app/
ProxyPassReverse /app/ http://127.0.0.1:$port/app/
ProxyPass /once/ http://127.0.0.1:$port/once/ disablereuse=on
ProxyPass /flush/ http://127.0.0.1:$port/flush/ flushpackets=on
ProxyPass /up/ http://127.0.0.1:$port/up/ upgrade=websocket
ProxyPass /tunnel/ ws://127.0.0.1:$port/tunnel/
ProxyPass /down/ http://127.0.0.1:$down/ retry=0
ProxyPass /fcgi/ fcgi://127.0.0.1:$fcgi_port/
ProxyPass /fcgi-down/ fcgi://127.0.0.1:$down/ retry=0
<Proxy balancer://two>
    BalancerMember http://127.0.0.1:$port/two
    BalancerMember http://127.0.0.1:$port/three
</Proxy>
ProxyPass /two/ balancer://two/
ProxyPass /httpd/ ${\ $httpd->url}
<Location /own-errors/>
    ProxyPass http://127.0.0.1:$port/own/
    ProxyErrorOverride On
    ErrorDocument 500 "an error of our own"
</Location>
<VirtualHost 127.0.0.1:\@PORT1\@>
    ProxyRequests On
    AllowCONNECT $port
</VirtualHost>
CONF

my $same = XL::Same->new(ports => 2, conf => $conf, kinds => [qw(without idle paced blocking)],
    modules => [qw(proxy proxy_http proxy_wstunnel proxy_connect proxy_fcgi slotmem_shm lbmethod_byrequests
        proxy_balancer)],
    files => sub { $_[0]->content('x.txt', "here\n") });

my @through = qw(app once flush two);
my @whole = map { my ($name, $status) = @$_; map { ["$name, $_", $status, [GET => "/$_/$name"]] } @through }
    ((map { [$_, 200] } qw(length chunked trailer pieces waits streams old large large-chunked large-streams empty)),
        [none => 204],
    [same => 304], [away => 302], [fails => 500], [unknown => 299], [retry => 503], [hints => '103 200'],
    ['hints-large', '103 103 200'], [processing => '102 200'], [missing => 404]);
push @whole,
    (map { ["HEAD, $_", 200, [HEAD => "/app/$_"]] } qw(length chunked large)),
    ['on one connection', join(' ', (200) x 5), map { [GET => "/app/$_"] } qw(length chunked large streams trailer)],
    ['pipelined', '200 200 200', { raw => join('', map { "GET /app/$_ HTTP/1.1\r\nHost: a\r\n\r\n" }
        qw(length large chunked)),
        methods => [qw(GET GET GET)] }],
    ['HTTP/1.0', 200, [GET => '/app/large-chunked', version => 'HTTP/1.0']],
    ['a body', 200, [POST => '/app/echo', body => 'b' x 500]],
    ['a large body', 200, [POST => '/app/echo-large', body => $large]],
    ['a chunked body', 200, { raw => "POST /app/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        . "3\r\nabc\r\n0\r\n\r\n" }],
    ['a body that is asked for', '100 200', { raw => "POST /app/echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
        . "Content-Length: 3\r\n\r\n", wait => 0 }, qr/ 100 /, { raw => 'abc' }],
    ['an error page of its own', 500, [GET => '/own-errors/fails']],
    (map { my $file = $_; ["httpd behind it: $file", '200 206', [GET => "/httpd/$file"],
        [GET => "/httpd/$file", headers => { Range => 'bytes=2-9' }]] } qw(x.txt large.bin huge.bin)),
    ['a proxy that is asked', 200, 'port 1', [GET => "http://127.0.0.1:$port/large"]];

my @broken = (
    (map { ["$_->[0]", $_->[1], [GET => "/app/$_->[0]"]] }
        (map { [$_, 200] } qw(short cut no-end large-short large-cut garbage two-lengths both)),
        (map { [$_, 502] } qw(no-head nothing bad-field huge-field bad-chunk))),
    ['nobody there', 503, [GET => '/down/x']],
    ['nobody there for a body', 503, [POST => '/down/x', body => 'x' x 9000]],
    ['no FastCGI', 503, [GET => '/fcgi-down/x']],
);

my @fcgi = (
    (map { ["FastCGI: $_->[0]", $_->[1], [GET => "/fcgi/$_->[0]"]] } [large => 200], [empty => 200], [status => 418],
        [small => 200],
        [inner => 200], [broken => 200]),
    ['FastCGI: HEAD', 200, [HEAD => '/fcgi/large']],
    ['FastCGI: a body', 200, [POST => '/fcgi/echo?q', body => 'b' x 40_000]],
);

my $upgrade = "HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\n"
    . "Sec-WebSocket-Version: 13\r\n\r\n";
my @tunnels = ((map { my $how = $_;
    (["WebSocket, $how", '101', { raw => "GET /$how/ws $upgrade", wait => 0 }, qr/hello\z/,
        { raw => "\x81\x84abcd....", wait => 0 },
        qr/\.\.\.\.\z/, 0.1, { raw => "\x88\x80bye!", wait => 0 }, qr/bye!/, 'close'],
     ["WebSocket, $how, large", '101', { raw => "GET /$how/ws-large $upgrade", wait => 0 }, qr/hello/,
        { raw => '<' . 'x' x 120_000 . '>', wait => 0 }, qr/>\z/, { raw => 'bye', wait => 0 }, qr/bye\z/, 'close'])
    } qw(up tunnel)),
    ['no WebSocket', 200, [GET => '/up/length'], ],
    ['CONNECT', '200', 'port 1', { raw => "CONNECT 127.0.0.1:$port HTTP/1.1\r\nHost: a\r\n\r\n", wait => 0 },
        qr/\r\n\r\n/,
        { raw => "GET /length HTTP/1.1\r\nHost: b\r\n\r\n", wait => 0 }, qr/abcde\z/, 'close'],
    ['CONNECT to elsewhere', '403', 'port 1', { raw => "CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: a\r\n\r\n",
        methods => ['CONNECT'] }],
);

$same->check(['from a backend', \@whole], ['broken', \@broken], ['FastCGI', \@fcgi], ['tunnels', \@tunnels]);
$same->finish;

done_testing;
