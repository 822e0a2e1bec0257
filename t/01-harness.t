# SPDX-License-Identifier: Apache-2.0
#
# The harness itself, against a stock httpd: what it starts serves, stops and
# leaves nothing; what it measures is what went over the wire; a failing test
# and a crash are told.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use Digest::MD5 qw(md5_hex);
use File::Path qw(remove_tree);
use Test::More;
use XL::Client qw(now fetch fetch_many rates_per_second rate_between jain curl);
use XL::Server;

my $s = XL::Server->new(xlimit => 0, cgi => 1, tls => 1, h2 => 1, ports => 2, modules => ['deflate', 'ratelimit'],
    conf => <<'CONF');
<Files slow.bin>
    SetOutputFilter RATE_LIMIT
    SetEnv rate-limit 100
</Files>
<Files packed.txt>
    SetOutputFilter DEFLATE
</Files>
CONF
$s->content('index.html', "<p>hello\n");
my $path = $s->file('1mb.bin', 1_000_000, 1);
$s->file('holes.bin', 3_000_000);
link $path, $s->docroot . "/$_" for qw(slow.bin packed.txt);
$s->cgi('say', "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\necho one; sleep 0.05; echo two\n");
my $root = $s->root;

subtest 'start and serve' => sub {
    is((stat $path)[7], 1_000_000, 'a file of the asked size');
    ok($s->start->alive, 'httpd runs');
    is(scalar(() = $s->children), 1, 'one child, as asked');

    my $client = XL::Client->new(port => $s->port);
    my $r = $client->request(GET => '/1mb.bin', keep => 1);
    is($r->{status}, 200, 'a request is answered');
    is(md5_hex($r->{body}), md5_hex(XL::System::slurp($path)), 'the body is the file');
    is($r->{bytes}, length($r->{head}) + 1_000_000, 'received: head and body');
    ok($r->{complete} && $client->connected, 'complete, the connection is kept');
    cmp_ok($r->{first} - $r->{started}, '<', $r->{ended} - $r->{started} + 1e-9, 'times are in order');

    $r = $client->request(GET => '/holes.bin', headers => { Range => 'bytes=10-109' });
    is("$r->{status} $r->{body_length}", '206 100', 'a range on the same connection');
    $r = $client->request(HEAD => '/1mb.bin');
    is("$r->{body_length} $r->{bytes}", '0 ' . length $r->{head}, 'HEAD: a head alone');
    $r = $client->request(GET => '/cgi/say', keep => 1);
    is("$r->{headers}{'transfer-encoding'} $r->{body}", "chunked one\ntwo\n", 'CGI, chunked');
    cmp_ok($r->{bytes}, '>', length($r->{head}) + 8, 'chunk framing is counted');
    is(fetch($s->port(1), '/none')->{status}, 404, 'the second port, an error page');

    my ($sent) = $s->access_log =~ m{"GET /cgi/say HTTP/1.1" 200 (\d+)};
    is($r->{bytes}, $sent, 'as many bytes as httpd says it sent');
};

subtest 'TLS and HTTP/2' => sub {
    my $r = fetch($s->tls_port, '/1mb.bin', tls => 1);
    is("$r->{status} $r->{body_length}", '200 1000000', 'TLS');
    my ($exit, $out) = curl('--http2', '-w', '%{http_version} %{size_download}', '-o', '/dev/null', $s->tls_url('/1mb.bin'));
    is("$exit $out", '0 2 1000000', 'HTTP/2 over TLS');
    ($exit, $out) = curl('--http2-prior-knowledge', '-w', '%{http_version}', '-o', '/dev/null', $s->url('/'));
    is("$exit $out", '0 2', 'HTTP/2 in the clear');
};

subtest 'many at once' => sub {
    my @port = (port => $s->port, path => '/1mb.bin');
    my ($got, $probes) = fetch_many(
        [   (map { { @port } } 1 .. 20),
            (map { { port => $s->tls_port, path => '/1mb.bin', tls => 1 } } 1 .. 20),
            { @port, count => 3, pipeline => 1 },
            { @port, count => 3, maxseg => 1448, rcvbuf => 16_384 },
            { port => $s->port, path => '/packed.txt', headers => { 'Accept-Encoding' => 'gzip' } },
            { @port, path => '/holes.bin', abort => 1_000_000 },
            { @port, path => '/holes.bin', at => 0.2, rcvbuf => 16_384, pause => [[0.0, 0.5]] },
        ],
        probe => { every => 0.1, port => $s->port, path => '/' }, until => 20,
    );
    my @plain = @$got[0 .. 39];
    is(scalar(grep { $_->{complete} && $_->{responses}[0]{body_length} == 1_000_000 } @plain), 40,
        '40 downloads, 20 of them over TLS, complete');
    is(scalar(grep { $_->{series}[-1][1] == $_->{bytes} } @plain), 40, 'each with a series that ends at its size');
    my ($pipelined, $kept, $packed, $aborted, $paused) = @$got[40 .. 44];
    is(join(' ', map { $_->{body_length} } @{ $pipelined->{responses} }), '1000000 1000000 1000000', 'three pipelined');
    is(join(' ', map { $_->{body_length} } @{ $kept->{responses} }), '1000000 1000000 1000000', 'three on a kept connection');
    is(eval { $pipelined->{bytes} - $kept->{bytes} }, 0, 'the same bytes either way');
    my $framed = $packed->{responses}[0];
    ok($packed->{complete} && $framed->{headers}{'content-encoding'} eq 'gzip', 'a compressed one');
    is($aborted->{error}, 'aborted', 'one leaves');
    cmp_ok($aborted->{bytes}, '<', 1_100_000, '... where it was told to');
    cmp_ok($paused->{first} - $paused->{started}, '>=', 0.5, 'one that does not read sees nothing before it does');
    ok($paused->{complete}, '... and gets everything after');
    ok(@$probes && !grep({ $_->{took} > 5 } @$probes), 'probes were answered');
};

subtest 'rates' => sub {
    my $got = fetch_many([map { { port => $s->port, path => '/slow.bin' } } 1 .. 4], until => 3.1);
    is(scalar(grep { $_->{error} eq 'until' } @$got), 4, 'four slow ones are cut off at the end');
    for my $second (rates_per_second($got, undef, 2)) {
        ok($second > 250_000 && $second < 650_000, "mod_ratelimit's 4 x 100 KiB/s are seen as $second B/s");
    }
    my @rates = map { rate_between($_, $_->{started} + 1, $_->{started} + 3) } @$got;
    cmp_ok(jain(@rates), '>', 0.95, 'all alike');
    is(jain(1, 1, 1, 1), 1, 'Jain of equals');
    is(jain(1, 0, 0, 0), 0.25, 'Jain of one who has all');

    my $made = { series => [[10.5, 100], [11.4, 300], [11.6, 700], [12.6, 1000]] };
    is_deeply([rates_per_second($made, 10)], [100, 600], 'whole seconds alone');
    is(rate_between($made, 11, 12), 600, 'between two times');
};

subtest 'life' => sub {
    my ($pid, @before) = ($s->pid, $s->children);
    ok($s->graceful, 'graceful');
    ok($s->wait_for(sub { !grep { my $old = $_; grep { $_ == $old } $s->children } @before }, 20), 'new children');
    is($s->pid, $pid, '... of the same parent');
    is(fetch($s->port, '/')->{status}, 200, '... serve');
    ok($s->restart, 'restart');
    is(fetch($s->port, '/')->{status}, 200, '... serves');

    my $got = fetch_many([{ port => $s->port, path => '/slow.bin' }], until => 0.3);
    cmp_ok($got->[0]{bytes}, '>', 0, 'a download');
    $s->graceful_stop;
    ok($s->wait_exit(20), 'graceful-stop ends');
    is($s->exit_status, 0, '... with 0');

    my $port = $s->port;
    ok($s->start->alive, 'starts again');
    is($s->port, $port, '... on the same port');
    my @orphans = $s->children;
    ok($s->kill9_parent, 'kill -9 of the parent');
    is_deeply([sort $s->children], [sort @orphans], '... leaves orphans, which are known');
    is(fetch($s->port, '/')->{status}, 200, '... and serve');
    $s->stop;
    is(scalar(() = $s->group), 0, 'stop ends them');
    $s->start->kill9_all;
    is(scalar(() = $s->group), 0, 'kill -9 of all');
    $s->start;
    ok($s->stop, 'stop by SIGTERM alone');
};

subtest 'configtest' => sub {
    my ($exit, $output) = $s->configtest('Header set X y');
    isnt($exit, 0, 'a directive that is not there');
    like($output, qr/Invalid command 'Header'/, '... is named');
    ($exit, $output) = $s->configtest("<Location /x>\n</Location>");
    is("$exit $output", "0 Syntax OK\n", 'a good one');
    ($exit, $output) = XL::Server->new(xlimit => 0, conf => 'DocumentRoot /none/such')->start_refused;
    isnt($exit, 0, 'a start that is refused');
    like($output, qr{/none/such}, '... with its reason');
};

for my $mpm (qw(worker prefork)) {
    my $other = XL::Server->new(xlimit => 0, mpm => $mpm, threads => 4, children => 2, cgi => 1);
    $other->content('index.html', 'x');
    $other->cgi('say', "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\necho hi\n");
    $other->start;
    is(scalar(() = $other->children), $mpm eq 'prefork' ? 4 : 2, "$mpm: its children");
    is(fetch($other->port, '/')->{body_length} . fetch($other->port, '/cgi/say')->{body_length}, '13', "$mpm: a file, CGI");
    my $front = XL::Server->new(xlimit => 0, modules => [qw(proxy proxy_http)],
        conf => 'ProxyPass / ' . $other->url('/'))->start;
    is(fetch($front->port, '/cgi/say')->{body_length}, 3, "$mpm: as a backend");
}

# What happens around a test that fails, dies, is interrupted or has a crash,
# seen from outside.
sub inner {
    my ($code, $signal) = @_;
    my $text = "use Test::More; use XL::Server; use XL::Client; my \$s = XL::Server->new(xlimit => 0)->start;"
        . "print '# ', \$s->root, ' ', \$s->pid, qq{\\n}; \$| = 1; print qq{#\\n};$code";
    my $pid = open(my $pipe, '-|') // die "fork: $!";
    if (!$pid) {
        open STDERR, '>&', \*STDOUT;
        $SIG{$_} = 'DEFAULT' for qw(INT TERM); # a shell's background jobs ignore SIGINT
        exec($^X, "-I$Bin/lib", '-e', $text) or POSIX::_exit(127);
    }
    my $output = <$pipe>;
    my ($dir, $httpd) = $output =~ /^# (\S+) (\d+)/;
    <$pipe>;
    kill $signal => $pid if $signal;
    { local $/; $output .= <$pipe> // ''; }
    close $pipe;
    my $status = $?;
    $s->wait_for(sub { !kill 0 => $httpd }, 20);
    my $seen = { output => $output, status => $status, gone => !kill(0 => $httpd), clean => !-e $dir };
    remove_tree($dir); # of the one that could not do it
    return $seen;
}

my %case = (
    fails       => ['ok(0, q{no}); done_testing;'],
    dies        => ['ok(1); die qq{oops\n};'],
    interrupted => ['sleep 60;', 'INT'],
    terminated  => ['sleep 60;', 'TERM'],
);
for my $name (sort keys %case) {
    my $seen = inner(@{ $case{$name} });
    isnt($seen->{status}, 0, "a test that $name: status");
    ok($seen->{gone} && $seen->{clean}, '... no server, no file is left');
    like($seen->{output}, qr/error log of the server.*resuming normal operations/s, '... the error log is shown');
}
ok(inner('sleep 60;', 'KILL')->{gone}, 'a test that is killed takes its server along');

my $good = inner('ok(1, q{yes}); done_testing;');
is($good->{status}, 0, 'a test that passes: status');
unlike($good->{output}, qr/error log/, '... no error log');

my $crash = inner('kill SEGV => ($s->children)[0]; $s->wait_for(sub { $s->crashes }); ok(1); done_testing;');
isnt($crash->{status}, 0, 'a test that passes while a child crashes: status');
like($crash->{output}, qr/exit signal Segmentation fault/, '... the crash is shown');

undef $s;
done_testing;
