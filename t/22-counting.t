# SPDX-License-Identifier: Apache-2.0
#
# Whatever is asked for, however it is answered: one request is counted, decided
# once, and the bytes are those that the client's socket received, to the last
# one. What is compared is the status page's growth with what came out of the
# socket, in the clear and over TLS, at full speed and paced.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use POSIX qw(strftime);
use Test::More;
use XL::Client qw(fetch fetch_many curl);
use XL::Server;
use XL::Status qw(status_conf limit change);

my $s = XL::Server->new(ports => 2, tls => 1, cgi => 1, h2 => 1, children => 1, loglevel => 'http2:warn',
    modules => [qw(include rewrite filter deflate reqtimeout)],
    tls_conf => "RewriteEngine On\nRewriteOptions Inherit\nLimitRequestLine 500\n",
    conf => status_conf() . <<'CONF');
XLimitQuota all 1TB 1h name=bytes
XLimitQuota all 100000r 1h name=requests
<If "%{HTTP:X-Paced} == '1'">
    XLimitBandwidth session 30MB/s name=pace
</If>
RequestReadTimeout header=1 body=1
ErrorDocument 404 /errors/404.html
ErrorDocument 403 "no, you may not"
LimitRequestLine 500
Redirect /moved https://www.example.org/moved
RewriteEngine On
RewriteRule ^/written /x.txt [PT]
RewriteRule ^/rewritten-away /x.txt [R=307,L]
RewriteRule ^/gone - [G]
<Directory "@DOCROOT@">
    Options +Includes +FollowSymLinks
    AddType text/html .shtml
    AddOutputFilter INCLUDES .shtml
    RewriteEngine On
    RewriteRule ^inside-1$ inside-2
    RewriteRule ^inside-2$ x.txt
</Directory>
<Location /slow.bin>
    XLimitBandwidth session 500kB/s
</Location>
<Location /denied>
    Require all denied
</Location>
<Location /packed.txt>
    SetOutputFilter DEFLATE
</Location>
CONF
$s->content('x.txt',            "some text\n");
$s->content('empty.txt',        '');
$s->content('denied.txt',       'x');
$s->content('dir/index.html',   "<p>an index\n");
$s->content('errors/404.html',  "<p>not here\n");
$s->content('part.html',        "<p>part\n");
$s->content('nested.shtml',     '<!--#include virtual="/part.html" -->');
$s->content('page.shtml',       '<!--#include virtual="/part.html" --><!--#include virtual="/cgi/say" -->'
        . '<!--#include virtual="/nested.shtml" --><!--#include virtual="/missing" -->' . "end\n");
$s->file('1mb.bin', 1_000_000, 1);
$s->file('3mb.bin', 3_000_000);
$s->file('packed.txt', 300_000, 1);
$s->cgi('say',   "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\none\\n'; sleep 0.02; echo two\n");
$s->cgi('large', "#!/usr/bin/perl\nprint qq(Content-Type: text/plain\\r\\n\\r\\n), 'x' x 700_000;\n");
$s->cgi('inner', "#!/bin/sh\nprintf 'Location: /x.txt\\r\\n\\r\\n'\n");
$s->cgi('outer', "#!/bin/sh\nprintf 'Location: https://www.example.org/\\r\\n\\r\\n'\n");
$s->cgi('read',  "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'; wc -c\n");
$s->cgi('nph-raw', "#!/bin/sh\nprintf 'HTTP/1.1 200 Fine\\r\\nContent-Length: 3\\r\\n\\r\\nraw'\n");
$s->start;

# Everything of a stream until the server closes it.
sub raw {
    my ($text, %option) = @_;
    my $client = XL::Client->new(port => $s->port, %option);
    $client->send_all($text);
    my ($all, $socket) = ('', $client->socket);
    shutdown $socket, 1 if !$option{tls} && !$option{open};
    while ($client->readable(10)) {
        my $n = sysread $socket, my $data, 65_536;
        last if !$n;
        $all .= $data;
    }
    $client->disconnect;
    return $all;
}

my $lately = strftime('%a, %d %b %Y %H:%M:%S GMT', gmtime time - 60);

# name => [status, method, path, option...]
my @requests = (
    'a small file'                => [200, GET => '/x.txt'],
    'an empty file'               => [200, GET => '/empty.txt'],
    'a megabyte'                  => [200, GET => '/1mb.bin'],
    'three megabytes'             => [200, GET => '/3mb.bin'],
    'HEAD of a megabyte'          => [200, HEAD => '/1mb.bin'],
    'a range'                     => [206, GET => '/1mb.bin', headers => { Range => 'bytes=1000-200999' }],
    'three ranges'                => [206, GET => '/1mb.bin', headers => { Range => 'bytes=0-9,500-50000,-7' }],
    'a range past the end'        => [416, GET => '/x.txt', headers => { Range => 'bytes=5000-' }],
    'not modified'                => [304, GET => '/x.txt', headers => { 'If-Modified-Since' => $lately }],
    'precondition failed'         => [412, GET => '/x.txt', headers => { 'If-Match' => '"other"' }],
    'not found, with a document'  => [404, GET => '/missing'],
    'not found, HEAD'             => [404, HEAD => '/missing'],
    'forbidden, with a text'      => [403, GET => '/denied.txt/../denied/x'],
    'gone'                        => [410, GET => '/gone'],
    'a slash is missing'          => [301, GET => '/dir'],
    'an index'                    => [200, GET => '/dir/'],
    'Redirect'                    => [302, GET => '/moved/there'],
    'an internal rewrite'         => [200, GET => '/written'],
    'two rewrites in a directory' => [200, GET => '/inside-1'],
    'a rewrite that redirects'    => [307, GET => '/rewritten-away'],
    'SSI with four includes'      => [200, GET => '/page.shtml'],
    'CGI, chunked'                => [200, GET => '/cgi/say'],
    'CGI of 700 kB'               => [200, GET => '/cgi/large'],
    'CGI, redirected inside'      => [200, GET => '/cgi/inner'],
    'CGI, redirected outside'     => [302, GET => '/cgi/outer'],
    'CGI that reads'              => [200, POST => '/cgi/read', body => 'y' x 50_000],
    'CGI with 100-continue'       => [200, POST => '/cgi/read', body => 'yes', headers => { Expect => '100-continue' }],
    'compressed'                  => [200, GET => '/packed.txt', headers => { 'Accept-Encoding' => 'gzip' }],
    'HTTP/1.0'                    => [200, GET => '/1mb.bin', version => 'HTTP/1.0'],
    'HTTP/1.0 and CGI'            => [200, GET => '/cgi/large', version => 'HTTP/1.0'],
    'Connection: close'           => [200, GET => '/1mb.bin', headers => { Connection => 'close' }],
    'OPTIONS *'                   => [200, OPTIONS => '*'],
    'OPTIONS of a file'           => [200, OPTIONS => '/x.txt'],
    'TRACE'                       => [200, TRACE => '/x.txt'],
    'PUT'                         => [405, PUT => '/x.txt', body => 'z'],
    'an unknown method'           => [501, FETCH => '/x.txt'],
    'a long URL'                  => [414, GET => '/' . 'a' x 600],
    'a bad escape'                => [400, GET => '/%zz'],
    'a slash in an escape'        => [404, GET => '/a%2Fb'],
    'a bad host'                  => [400, GET => '/x.txt', host => 'a b'],
    'an unknown expectation'      => [417, GET => '/x.txt', headers => { Expect => 'miracles' }],
);

for my $tls (0, 1) {
    my ($port, $name) = $tls ? ($s->tls_port, 'localhost:' . $s->tls_port) : ($s->port, undef);
    my $where = $tls ? $name : 'localhost:' . $s->port;
    for my $paced (0, 1) {
        subtest join(', ', $tls ? 'TLS' : 'clear', $paced ? 'paced' : 'unpaced') => sub {
            my $kept = XL::Client->new(port => $port, tls => $tls);
            my @left = @requests;
            while (my ($what, $request) = splice @left, 0, 2) {
                my ($status, $method, $path, %option) = @$request;
                my %headers = (%{ $option{headers} // {} }, $paced ? ('X-Paced' => 1) : ());
                my $r;
                my $before = limit($s, 'bytes', $where)->{used};
                $option{headers} = \%headers;
                my $change = change($s, sub { $r = $kept->request($method => $path, %option) }, $name);
                is($r->{status}, $status, "$what: $status");
                my ($verdicts) = grep { ($change->{$_} // 0) == 1 } qw(passed paced);
                delete $change->{$verdicts} if $verdicts;
                is_deeply($change, { requests => 1, sent => $r->{bytes} }, "... one request of $r->{bytes} bytes");
                is(limit($s, 'bytes', $where)->{used} - $before, $r->{bytes}, '... and the quota was charged as much');
                is($verdicts, $paced ? 'paced' : 'passed', '... by its verdict') if $status == 200 && $method eq 'GET';
            }
        };
    }
}

subtest 'what is no proper request' => sub {
    my $post = "POST /cgi/read HTTP/1.1\r\nHost: localhost\r\n";
    my %text = (
        'garbage'                   => "garbage\r\n\r\n",
        'HTTP/0.9'                  => "GET /1mb.bin\r\n",
        'no host'                   => "GET /x.txt HTTP/1.1\r\n\r\n",
        'a field without a colon'   => "GET /x.txt HTTP/1.1\r\nHost: localhost\r\nnonsense\r\n\r\n",
        'a field of 10 kB'          => "GET /x.txt HTTP/1.1\r\nHost: localhost\r\nX: " . 'y' x 10_000 . "\r\n\r\n",
        '200 fields'                => "GET /x.txt HTTP/1.1\r\nHost: localhost\r\n" . "X: y\r\n" x 200 . "\r\n",
        'HTTP/3.0'                  => "GET /x.txt HTTP/3.0\r\nHost: localhost\r\n\r\n",
        'two lengths'               => "${post}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        'a bad chunk'               => "${post}Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        'an unknown coding'         => "${post}Transfer-Encoding: magic\r\n\r\nab",
    );
    for my $what (sort keys %text) {
        my $all;
        my $change = change($s, sub { $all = raw($text{$what}) });
        my ($status) = $all =~ m{^HTTP/1.1 (\d+)};
        is_deeply([@{$change}{qw(requests sent)}], [1, length $all], "$what: " . ($status // 'no head'));
    }
    my $all;
    my $change = change($s, sub { $all = raw("GET /x.txt HTTP/1.1\r\nHost: loc", open => 1) });
    like($all, qr{^HTTP/1.1 408 }, 'a request that never ends: 408');
    is_deeply([@{$change}{qw(requests sent)}], [1, length $all], '... counted');
    $change = change($s, sub { raw('') });
    is_deeply($change, {}, 'a connection without a request is none');
    my $text = "plain text to a TLS port\r\n\r\n";
    $change = change($s, sub { raw($text, port => $s->tls_port) }, 'localhost:' . $s->tls_port);
    ok(($change->{requests} // 0) <= 1, 'plain text on the TLS port counts at most once');
};

subtest 'one connection, many requests' => sub {
    for my $tls (0, 1) {
        my $port = $tls ? $s->tls_port : $s->port;
        my $name = $tls ? "localhost:$port" : undef;
        for my $paced (0, 1) {
            my %one = (port => $port, tls => $tls, headers => $paced ? { 'X-Paced' => 1 } : {},
                paths => [qw(/1mb.bin /x.txt /missing /cgi/say /dir/ /empty.txt /3mb.bin /packed.txt)]);
            for my $pipeline (0, 1) {
                my $got;
                $one{pipeline} = $pipeline;
                my $change = change($s, sub { ($got) = @{ fetch_many([{%one}], until => 20) } }, $name);
                my $what = ($tls ? 'TLS' : 'clear') . ($paced ? ', paced' : '') . ($pipeline ? ', pipelined' : '');
                ok($got->{complete}, "$what: complete");
                is_deeply([@{$change}{qw(requests sent)}], [8, $got->{bytes}], '... and counted');
            }
        }
    }
};

subtest 'HTTP/2' => sub {
    for my $paced (0, 1) {
        my $out;
        my $where = 'localhost:' . $s->tls_port;
        my $change = change($s, sub {
            (undef, $out) = curl('--http2', '-H', "X-Paced: $paced", '--parallel', '--stderr', '/dev/null',
                '-w', '%{http_version} %{http_code} %{size_header} %{size_download}\n',
                map { ('-o', '/dev/null', $s->tls_url($_)) }
                    qw(/1mb.bin /x.txt /missing /cgi/say /3mb.bin /page.shtml));
        }, $where);
        my @lines = split /\n/, $out;
        is(scalar(grep { /^2 (200|404) / } @lines), 6, ($paced ? 'paced' : 'unpaced') . ': six streams');
        my ($head, $body) = (0, 0);
        for (map { [split] } @lines) {
            $head += $_->[2];
            $body += $_->[3];
        }
        is($change->{requests}, 6, '... six requests');
        my $counted = $change->{sent} - $body;
        ok($counted > $head - 200 && $counted < $head + 6 * 60,
            "... $body bytes of bodies, and $counted of heads ($head)");
        is($change->{paced} // 0, $paced ? 6 : 0, '... by their verdicts');
    }
};

# What left may be a little more than what a client read before it went: its
# kernel had it already. Never less, and never what only was asked for.
subtest 'clients that leave' => sub {
    $s->file('big.bin', 300_000_000);
    link $s->docroot . '/big.bin', $s->docroot . '/slow.bin';
    for my $case (['/slow.bin', 300_000, 0], ['/slow.bin', 100_000, 1], ['/big.bin', 5_000_000, 0],
        ['/big.bin', 40_000_000, 1], ['/big.bin', 7_300_000, 1]) {
        my ($path, $abort, $reset) = @$case;
        for my $tls (0, 1) {
            my ($port, $kind) = $tls ? ($s->tls_port, 'TLS') : ($s->port, 'clear');
            my $used = limit($s, 'bytes', "localhost:$port")->{used};
            my $got;
            my $change = change($s, sub {
                ($got) = @{ fetch_many([{ port => $port, tls => $tls, path => $path, abort => $abort, reset => $reset,
                    rcvbuf => 65_536 }], until => 20) };
            }, "localhost:$port");
            my $over = $change->{sent} - $got->{bytes};
            ok($over >= 0 && $over <= 2 * 65_536 + 16_384,
                "$kind, $path, " . ($reset ? 'RST' : 'FIN') . " after $got->{bytes}: $over more had left");
            my $after = limit($s, 'bytes', "localhost:$port")->{used};
            is($after - $used, $change->{sent}, '... and as much is the quota\'s');
            is($change->{requests}, 1, '... one request');
        }
    }
};

# A hit of mod_cache is answered before anybody else sees the request.
subtest 'mod_cache' => sub {
    for my $quick (qw(On Off)) {
        my $c = XL::Server->new(ports => 2, modules => [qw(cache cache_disk)], conf => status_conf() . <<"CONF");
CacheQuickHandler $quick
CacheRoot "\@ROOT\@/cache"
CacheEnable disk /
CacheDefaultExpire 3600
CacheHeader On
XLimitQuota all 4r 1h name=few
XLimitQuota all 1TB 1h name=bytes
XLimitBandwidth session 200kB/s name=pace "when=%{REQUEST_URI} == '/large.bin'"
CONF
        mkdir $c->path('cache');
        chmod 0777, $c->path('cache');
        $c->file('x.bin',     20_000, 1);
        $c->file('large.bin', 100_000, 1);
        $c->start;
        for my $n (1 .. 3) {
            my $r;
            my $change = change($c, sub { $r = fetch($c->port, '/x.bin') });
            my $expected = $n == 1 ? qr/^MISS/ : qr/^HIT/;
            like($r->{headers}{'x-cache'} // '', $expected, "CacheQuickHandler $quick, request $n");
            is_deeply($change, { requests => 1, passed => 1, sent => $r->{bytes} }, '... counted once');
        }
        my $large = fetch($c->port, '/large.bin');
        is($large->{status}, 200, 'the last one of the quota');
        my $bytes = limit($c, 'bytes')->{used};
        for my $path (qw(/x.bin /large.bin)) {
            my $r;
            my $change = change($c, sub { $r = fetch($c->port, $path) });
            is($r->{status}, 503, "$path: refused, though it is cached");
            unlike($r->{head}, qr/^X-Cache: HIT/m, '... and not by the cache');
            is_deeply($change, { requests => 1, rejected => 1, sent => $r->{bytes} }, '... decided once, counted once');
        }
        is(limit($c, 'few')->{used}, 4, '... and not charged');
        is(limit($c, 'bytes')->{used}, $bytes, '... not in any quota');

        $c->conf($c->{conf} =~ s/name=few/name=again/r)->graceful;
        my $r = fetch($c->port, '/x.bin', keep => 1);
        is("$r->{status} $r->{body_length}", '200 20000', 'what was refused is not what is in the cache');
        my $change = change($c, sub { $r = fetch($c->port, '/large.bin') });
        like($r->{headers}{'x-cache'}, qr/^HIT/, 'a large hit');
        my $took = $r->{ended} - $r->{first};
        ok($took > 0.4 && $took < 0.7, "... is paced: 100 kB at 200 kB/s took $took s");
        is($change->{paced}, 1, '... and counted so');
        is(fetch($c->port, '/x.bin', method => 'HEAD')->{status}, 200, 'HEAD of a hit');
        is(fetch($c->port, '/x.bin', method => 'POST', body => 'x')->{status}, 200, 'POST, which is no hit');
        is(limit($c, 'again')->{used}, 4, '... charged');
        $c->stop;
    }
};

done_testing;
