# SPDX-License-Identifier: Apache-2.0
#
# Who is not refused gets what he would get without the module, byte by byte: methods,
# ranges, conditions, files in each way httpd sends them, connections, and what is no
# proper request; in the clear and over TLS. Each case goes to the servers of XL::Same.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use Test::More;
use XL::Same;

my $conf = <<'CONF';
AliasMatch ^/(sendfile|mmap|read)/(.*) @DOCROOT@/$2
<LocationMatch ^/sendfile/>
    EnableSendfile On
</LocationMatch>
<LocationMatch ^/read/>
    EnableMMAP Off
</LocationMatch>
TraceEnable extended
SetEnv ap_trust_cgilike_cl yes
Timeout 50
<VirtualHost 127.0.0.1:@PORT1@>
    RequestReadTimeout header=1 body=1
    KeepAliveTimeout 1
</VirtualHost>
CONF
# which virtual hosts do not inherit
my $each = <<'CONF';
LimitRequestFields 50
LimitRequestFieldSize 4000
LimitRequestLine 1000
CONF
my $same = XL::Same->new(modules => [qw(reqtimeout)], ports => 2, cgi => 1, tls => 1, conf => $conf . $each,
    tls_conf => $each,
    kinds => [qw(without idle paced blocking)], files => sub {
        my ($s) = @_;
        mkdir $s->path('signs');
        chmod 0777, $s->path('signs');
        $s->content('x.txt', "some text, which has fifty-six bytes, as may be counted.\n");
        $s->content('empty.txt', '');
        $s->content('dir/index.html', "<p>an index\n");
        $s->file('large.bin', 200_000, 1);
        $s->file('huge.bin', 5_000_000, 1);
        # Its own length, or too much for httpd to count: else it is chance whether it is chunked.
        $s->cgi('read', <<'CGI');
#!/bin/sh
read="$REQUEST_METHOD $(md5sum)"
printf 'Content-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s' ${#read} "$read"
CGI
        $s->cgi('ended', <<'CGI');
#!/usr/bin/perl
syswrite STDOUT, "Content-Type: text/plain\r\n\r\nall there\n";
close STDOUT, close STDIN;
open my $file, '>', "../signs/ended$ENV{QUERY_STRING}";
CGI
        $s->cgi('large', "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\nyes | head -c 150000\n");
    });

my $etag = '"38-5b1a..."';
my $date = 'Sun, 13 Sep 2020 12:26:40 GMT';
my $earlier = 'Sat, 12 Sep 2020 12:26:40 GMT';
sub range { return (headers => { Range => "bytes=$_[0]", @_[1 .. $#_] }) }

my @methods = (
    (map { ["$_ of a file", 200, [$_ => '/x.txt']] } qw(GET HEAD POST)),
    ['OPTIONS *', 200, [OPTIONS => '*']],
    ['OPTIONS', 200, [OPTIONS => '/x.txt']],
    ['TRACE', 200, [TRACE => '/x.txt', headers => { 'X-Me' => 'abc' }]],
    ['TRACE with a body', 200, [TRACE => '/x.txt', body => 'body']],
    (map { ["$_ is not allowed", 405, [$_ => '/x.txt']] } qw(PUT DELETE PATCH PROPFIND MKCOL COPY LOCK)),
    ['a method of nobody', 501, [FETCH => '/x.txt']],
    ['a method in small letters', 501, ['get' => '/x.txt']],
    ['CONNECT', 405, [CONNECT => 'localhost:80']],
    ['GET with a body', 200, [GET => '/x.txt', body => 'y' x 5000]],
    ['POST of a large body to a file', 200, [POST => '/x.txt', body => 'y' x 200_000]],
    ['an absolute target', 200, [GET => 'http://localhost/x.txt']],
    ['not found', 404, [GET => '/missing']],
    ['HEAD, not found', 404, [HEAD => '/missing']],
    ['a slash is missing', 301, [GET => '/dir']],
    ['a directory', 200, [GET => '/dir/']],
    ['an empty file', 200, [GET => '/empty.txt']],
    ['path info', 404, [GET => '/x.txt/more']],
    ['an escaped slash', 404, [GET => '/a%2Fb']],
    ['HTTP/1.0', 200, [GET => '/x.txt', version => 'HTTP/1.0']],
    ['HTTP/1.0, large', 200, [GET => '/large.bin', version => 'HTTP/1.0']],
    ['HTTP/1.0, keep-alive', 200, [GET => '/large.bin', version => 'HTTP/1.0',
        headers => { Connection => 'Keep-Alive' }]],
    ['a program', 200, [GET => '/cgi/large']],
    (map { ["HTTP/1.0 and a program, $_", 200, [GET => "/cgi/$_", version => 'HTTP/1.0',
        headers => { Connection => 'Keep-Alive' }]] } qw(read large)),
);

my @conditions = (
    ['not modified since', 304, [GET => '/x.txt', headers => { 'If-Modified-Since' => $date }]],
    ['modified since', 200, [GET => '/x.txt', headers => { 'If-Modified-Since' => $earlier }]],
    ['unmodified since', 200, [GET => '/x.txt', headers => { 'If-Unmodified-Since' => $date }]],
    ['not unmodified since', 412, [GET => '/x.txt', headers => { 'If-Unmodified-Since' => $earlier }]],
    ['any match', 200, [GET => '/x.txt', headers => { 'If-Match' => '*' }]],
    ['no match', 412, [GET => '/x.txt', headers => { 'If-Match' => '"other"' }]],
    ['none may match', 304, [GET => '/x.txt', headers => { 'If-None-Match' => '*' }]],
    ['none may match, POST', 200, [POST => '/cgi/read', headers => { 'If-None-Match' => '*' }, body => 'x']],
    ['none of others', 200, [GET => '/large.bin', headers => { 'If-None-Match' => '"a", W/"b"' }]],
    ['HEAD, not modified', 304, [HEAD => '/large.bin', headers => { 'If-Modified-Since' => $date }]],
    ['not modified, and on', '304 200', [GET => '/x.txt', headers => { 'If-Modified-Since' => $date }],
        [GET => '/x.txt']],
);

my @ranges = (
    ['a range', 206, [GET => '/large.bin', range('1000-150999')]],
    ['one byte', 206, [GET => '/large.bin', range('0-0')]],
    ['the last bytes', 206, [GET => '/large.bin', range('-70000')]],
    ['from there on', 206, [GET => '/large.bin', range('199990-')]],
    ['two ranges', 206, [GET => '/large.bin', range('0-9,1000-99999')]],
    ['many ranges', 206, [GET => '/large.bin', range(join ',', map { ($_ * 3000) . '-' . ($_ * 3000 + 99) } 0 .. 60)]],
    ['ranges that overlap', 206, [GET => '/large.bin', range('0-5000,2000-9000,-7')]],
    ['too many that overlap', 200, [GET => '/x.txt', range(join ',', map { "$_-50" } 0 .. 45)]],
    ['past the end', 416, [GET => '/x.txt', range('5000-')]],
    ['backwards', 200, [GET => '/x.txt', range('9-5')]],
    ['nonsense', 200, [GET => '/x.txt', range('a-b')]],
    ['of an empty file', 200, [GET => '/empty.txt', range('0-9')]],
    ['HEAD', 206, [HEAD => '/large.bin', range('0-9')]],
    ['if it is that date', 206, [GET => '/large.bin', range('5-9', 'If-Range' => $date)]],
    ['if it is another date', 200, [GET => '/large.bin', range('5-9', 'If-Range' => $earlier)]],
    ['if it is another tag', 200, [GET => '/x.txt', range('5-9', 'If-Range' => '"z"')]],
    ['of a program', 200, [GET => '/cgi/large', range('0-3')]],
    ['of megabytes', 206, [GET => '/huge.bin', range('100000-4999998')]],
    ['two of megabytes', 206, [GET => '/huge.bin', range('0-2000000,3000000-4000000')]],
);

my @files = map { my $how = $_; map { ["$_, $how", 200, [GET => "/$how/$_"]] } qw(large.bin huge.bin) }
    qw(sendfile mmap read);
push @files, ['all of them on one connection', join(' ', (200) x 6), map { [GET => "/$_"] }
    qw(sendfile/huge.bin x.txt read/large.bin mmap/huge.bin empty.txt sendfile/large.bin)];

my $get = "GET /x.txt HTTP/1.1\r\nHost: localhost\r\n";
my $post = "POST /cgi/read HTTP/1.1\r\nHost: localhost\r\n";
my $chunked = "${post}Transfer-Encoding: chunked\r\n";

# A program that has ended before httpd looks for its answer, since its own body is late.
sub ended {
    my ($n, $version) = @_;
    return ({ raw => "POST /cgi/ended?$n HTTP/$version\r\nHost: a\r\nConnection: Keep-Alive\r\n"
        . "Content-Length: 3\r\n\r\n",
        wait => 0 }, sub { -e $_[0]->path("signs/ended$n") }, { raw => 'abc' });
}
my @bodies = (
    ['a program that has ended', 200, ended(1, '1.1')],
    ['a program that has ended, HTTP/1.0', 200, ended(2, '1.0')],
    ['a body', 200, [POST => '/cgi/read', body => 'z' x 100_000]],
    ['an empty body', 200, [POST => '/cgi/read', body => '']],
    ['chunked', 200, { raw => "${chunked}\r\n5\r\nabcde\r\n6;ext=\"1\"\r\nabcdef\r\n0\r\n\r\n" }],
    ['chunked, in pieces', 200, { raw => "${chunked}\r\n5\r\nab", wait => 0 }, 0.05,
        { raw => "cde\r", wait => 0 }, 0.05,
        { raw => "\n3\r\nxyz\r\n0", wait => 0 }, 0.05, { raw => "\r\n\r\n" }],
    ['chunked, with a trailer', 200, { raw => "${chunked}Trailer: X-Sum\r\n\r\n4\r\nabcd\r\n0\r\nX-Sum: 7\r\n\r\n" }],
    ['large chunks', 200, { raw => "${chunked}\r\n" . ("10000\r\n" . 'q' x 65_536 . "\r\n") x 3 . "0\r\n\r\n" }],
    ['chunked, to a file', 200, { raw => "POST /x.txt HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        . "5\r\nabcde\r\n0\r\n\r\n" }],
    ['100-continue', '100 200', { raw => "${post}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n", wait => 0 },
        qr/ 100 .*\r\n\r\n/, { raw => 'abcde' }],
    ['100-continue, chunked', '100 200', { raw => "${chunked}Expect: 100-continue\r\n\r\n", wait => 0 },
        qr/ 100 .*\r\n\r\n/, { raw => "5\r\nabcde\r\n0\r\n\r\n" }],
    ['100-continue, not waited for', '100 200', [POST => '/cgi/read', body => 'abc',
        headers => { Expect => '100-continue' }]],
    ['100-continue, not found', '100 408', 'port 1', { raw => "POST /missing HTTP/1.1\r\nHost: localhost\r\n"
        . "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n" }],
    ['another expectation', 417, [GET => '/x.txt', headers => { Expect => 'miracles' }]],
    (map { my ($method, $path, $status) = @$_;
        ["chunked, $method $path, which nobody reads", "$status 200", { raw => "$method $path HTTP/1.1\r\nHost: localhost\r\n"
            . "Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\nX-T: 1\r\n\r\n" }, [GET => '/x.txt']] }
        [POST => '/missing', 404], [PUT => '/x.txt', 405]),
    ['a body that ends early', 400, { raw => "${post}Content-Length: 50\r\n\r\nabc", wait => 0 }, 'shut',
        { raw => '' }],
    ['a body that never comes', 408, 'port 1', { raw => "${post}Content-Length: 50\r\n\r\nabc" }],
);

my @connections = (
    ['kept', '200 200 404 200 301', map { [GET => $_] } qw(/x.txt /large.bin /missing /cgi/read /dir)],
    ['pipelined', '200 200 404 200 200', { raw => join('', map { "GET $_ HTTP/1.1\r\nHost: localhost\r\n\r\n" }
        qw(/x.txt /large.bin /missing /cgi/read /empty.txt)), methods => [('GET') x 5] }],
    ['thirty pipelined', join(' ', (200) x 30), { raw => "$get\r\n" x 30, methods => [('GET') x 30] }],
    ['HEAD and GET pipelined', '200 200', { raw => "HEAD /large.bin HTTP/1.1\r\nHost: a\r\n\r\n$get\r\n",
        methods => [qw(HEAD GET)] }],
    ['pipelined behind a body', '200 200', { raw => "${post}Content-Length: 3\r\n\r\nabc$get\r\n",
        methods => [qw(POST GET)] }],
    ['empty lines before it', 200, { raw => "\r\n\r\n$get\r\n" }],
    ['Connection: close', 200, [GET => '/large.bin', headers => { Connection => 'close' }]],
    ['slowly typed', 200, { raw => 'GET /x.txt HT', wait => 0 }, 0.1,
        { raw => "TP/1.1\r\nHost: local", wait => 0 }, 0.1,
        { raw => "host\r\n\r\n" }],
    ['nothing more to send', 200, { raw => "$get\r\n", wait => 0 }, 'shut', { raw => '' }],
    ['large, nothing more to send', 200, { raw => "GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n", wait => 0 }, 'shut',
        { raw => '' }],
    ['a pause, then another one', '200 200', [GET => '/large.bin'], 0.3, [GET => '/x.txt']],
    ['a pause that is too long', '200', 'port 1', [GET => '/large.bin'], qr/never/],
    ['an upgrade that nobody offers', 200, [GET => '/x.txt', headers => { Upgrade => 'foo', Connection => 'Upgrade' }]],
);

my @malformed = (
    (map { ["garbage: $_->[0]", 400, { raw => "$_->[1]\r\n\r\n" }] } ['a word', 'garbage'], 
        ['four', 'GET /x.txt /y HTTP/1.1'], ['no target', 'GET  HTTP/1.1'], ['8-bit', "\xff\xfe\x80"],
        ['NUL', "GET /x\0y HTTP/1.1\r\nHost: a"], ['no version', "GET /x.txt HTTP/\r\nHost: a"],
        ['a tab', "GET\t/x.txt\tHTTP/1.1\r\nHost: a"], ['a bare CR', "GET /x.txt\rHTTP/1.1\r\nHost: a"]),
    ['HTTP/0.9', '', { raw => "GET /x.txt\r\n" }],
    ['HTTP/2.0', 200, { raw => "GET /x.txt HTTP/2.0\r\nHost: a\r\n\r\n" }],
    ['HTTP/1.9', 200, { raw => "GET /x.txt HTTP/1.9\r\nHost: a\r\n\r\n" }],
    ['no host', 400, { raw => "GET /x.txt HTTP/1.1\r\n\r\n" }],
    ['two hosts', 400, { raw => "${get}Host: b\r\n\r\n" }],
    ['a bad host', 400, [GET => '/x.txt', host => 'a b']],
    ['a bad escape', 400, [GET => '/%zz']],
    ['above the root', 400, [GET => '/../../etc/passwd']],
    ['a long line', 414, [GET => '/' . 'a' x 1100]],
    ['a long field', 400, [GET => '/x.txt', headers => { X => 'y' x 5000 }]],
    ['many fields', 400, { raw => $get . "X: y\r\n" x 60 . "\r\n" }],
    ['a field without a colon', 400, { raw => "${get}nonsense\r\n\r\n" }],
    ['a field with a blank', 400, { raw => "${get}A B: c\r\n\r\n" }],
    ['NUL in a field', 400, { raw => "${get}X: a\0b\r\n\r\n" }],
    ['a folded field', 200, { raw => "${get}X: a\r\n b\r\n\r\n" }],
    ['LF alone', 400, { raw => "GET /x.txt HTTP/1.1\nHost: a\n\n" }],
    ['two lengths', 400, { raw => "${post}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab" }],
    ['a length that is none', 400, { raw => "${post}Content-Length: 1x\r\n\r\nab" }],
    ['a negative length', 400, { raw => "${post}Content-Length: -1\r\n\r\n" }],
    ['length and chunked', 200, { raw => "${chunked}Content-Length: 3\r\n\r\n0\r\n\r\n$get\r\n" }],
    ['chunked twice', 200, { raw => "${post}Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" }],
    ['chunked, then not', 400, { raw => "${post}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" }],
    ['an unknown coding', 400, { raw => "${post}Transfer-Encoding: magic\r\n\r\nab" }],
    ['chunked in HTTP/1.0', 200, { raw => "POST /cgi/read HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" }],
    (map { ["a chunk that is none: $_->[0]", 400, { raw => "${chunked}\r\n$_->[1]" }] } ['no size', "zz\r\n"],
        ['empty', "\r\n"], ['negative', "-5\r\nabc"], ['no end', "3\r\nabcdef\r\n0\r\n\r\n"]),
    (map { my ($method, $path) = @$_; map { ["$method $path, a chunk that is none: $_->[0]", $_->[2], { raw => "$method $path "
            . "HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n$_->[1]\r\n" }] }
        ['no size', 'zz', 400], ['a blank in front', ' A', 400], ['huge', 'A' x 35, 413] }
        [POST => '/missing'], [PUT => '/x.txt'], [POST => '/dir/']),
    ['a chunk that is huge', 413, { raw => "${chunked}\r\nfffffffffffffffff\r\n" }],
    ['an upgrade of HTTP/2 by hand', 400, { raw => "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" }],
    ['a head that never ends', 408, 'port 1', { raw => "GET /x.txt HTTP/1.1\r\nHost: a\r\n" }],
    ['nothing', '', 'shut', qr/never/],
);

my @groups = (
    ['methods', \@methods], ['conditions', \@conditions], ['ranges', \@ranges], ['files', \@files], 
    ['bodies', \@bodies],
    ['connections', \@connections], ['no proper requests', \@malformed],
);
# half a connection is none of TLS's, nor has it another port; a sign is given once
sub of_tls { my ($case) = @_; return !grep { /^(shut|port 1|CODE.*)$/ } @$case }
my @over_tls = map { my ($title, $cases) = @$_; ["$title, TLS", [grep { of_tls($_) } @$cases], tls => 1] } @groups;
$same->check(@groups, @over_tls);
$same->finish;

done_testing;
