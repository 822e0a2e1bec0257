# SPDX-License-Identifier: Apache-2.0
#
# The rate of one response: by the variable xlimit-rate, however it was set, and
# by the header X-XLimit-Rate of a backend or CGI, which no client ever sees. It
# takes the place of the session's limit for this response, and of no other.
#
# Files have 100,000 bytes; 200 kB/s, wherever it comes from, makes 0.5 s of them.
#
# Timed.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use List::Util qw(max min);
use Test::More;
use XL::Client qw(now fetch fetch_many curl);
use XL::Server;

use constant SIZE => 100_000;

# Its query is its header; &to=PATH names another resource, &status=CODE makes it an error.
my $script = <<'CGI';
#!/bin/sh
IFS='&'
set -- $QUERY_STRING
for word; do
    case $word in
    rate=*) printf 'X-XLimit-Rate: %s\r\n' "${word#rate=}" ;;
    status=*) printf 'Status: %s\r\n' "${word#status=}" ;;
    to=*) printf 'Location: %s\r\n\r\n' "${word#to=}"; exit ;;
    esac
done
printf 'Content-Type: text/plain\r\nCache-Control: max-age=60\r\n\r\n'
head -c 100000 /dev/zero
CGI

my $backend = XL::Server->new(xlimit => 0, cgi => 1);
$backend->cgi('make', $script);
$backend->start;

my $conf = <<'CONF';
ScriptAliasMatch ^/(on|off)/[^/]+/cgi @ROOT@/cgi/make
AliasMatch ^/.*/file$ @DOCROOT@/file
CacheEnable disk /on/cached
CacheRoot @ROOT@/cache

SetEnvIf Request_URI ^/setenvif/ xlimit-rate=200kB/s
SetEnvIf Request_URI ^/exempt/ xlimit-rate=10kB/s no-xlimit
SetEnvIf Request_URI ^/on/exempt/ no-xlimit
SetEnvIf X-Rate (.+) xlimit-rate=$1
RewriteEngine On
RewriteRule ^/rewrite/ - [E=xlimit-rate:200kB/s]
<Location /slow/>
    XLimitBandwidth session 20kB/s name=slow
</Location>
<LocationMatch ^/(setenvif|setenv|rewrite)/>
    XLimitBandwidth session 20kB/s
</LocationMatch>
<Location /setenv/>
    SetEnv xlimit-rate 1.6Mbit/s
</Location>
<Location /bare/>
    SetEnv xlimit-rate 200kB/s
</Location>
<Location /kept/>
    XLimitBandwidth session 200kB/s
</Location>
<Location /others/>
    XLimitBandwidth all 200kB/s
    XLimitBandwidth session 20kB/s
</Location>
XLimitBackendRate On
<Location /on/>
    XLimitBandwidth session 2MB/s
</Location>
<Location /off/>
    XLimitBandwidth session 2MB/s
    XLimitBackendRate Off
</Location>
<Location /off/always/>
    Header always set X-XLimit-Rate 200kB/s
</Location>
<Location /on/always/>
    Header always set X-XLimit-Rate 200kB/s
</Location>
<Location /on/slow/>
    XLimitBandwidth session 20kB/s
</Location>
<Location /on/others/>
    XLimitBandwidth all 200kB/s
</Location>
<Location /on/document/>
    ErrorDocument 404 /off/page/file
    ProxyErrorOverride On
</Location>
CONF
$conf .= 'ProxyPassMatch ^/(?:on|off)/[^/]+/proxied ' . $backend->url('/cgi/make') . "\n";

my @modules = qw(env headers rewrite proxy proxy_http cache cache_disk);
sub served {
    my ($text, %option) = @_;
    my $s = XL::Server->new(cgi => 1, modules => \@modules, conf => $text, %option);
    $s->cgi('make', $script);
    $s->file('file', SIZE);
    mkdir $s->path('cache');
    chmod 0777, $s->path('cache');
    return $s->start;
}
my $s = served($conf, h2 => 1);

# All of them at once: [name, path, seconds, {headers}], where undef stands for at
# once; seconds count from the first byte, before which a program has to start. No
# response has the header.
sub all_ok {
    my (@case) = @_;
    my $list = fetch_many([map { { port => $s->port, path => $_->[1], headers => $_->[3], keep => 1 } } @case],
        until => 10);
    for my $i (0 .. $#case) {
        my ($name, $path, $seconds) = @{ $case[$i] };
        my ($got) = @{ $list->[$i]{responses} };
        my $took = $list->[$i]{ended} - ($list->[$i]{first} // 0);
        my ($least, $most) = defined $seconds ? (0.9 * $seconds, 1.1 * $seconds) : (0, 0.3);
        ok($list->[$i]{complete} && $got->{body_length} == SIZE && $took >= $least && $took <= $most,
            sprintf '%s: %d bytes in %.3f s of %s', $name, $got->{body_length}, $took, $seconds // 'none')
            or diag($list->[$i]{error});
        is($got->{headers}{'x-xlimit-rate'}, undef, '... and no header of ours');
    }
    return $list;
}

sub complaints { return grep { /xlimit\(521\)/ } split /\n/, $s->error_log }

subtest 'the variable' => sub {
    all_ok(
        ['SetEnvIf', '/setenvif/file', 0.5],
        ['SetEnv', '/setenv/file', 0.5],
        ['RewriteRule', '/rewrite/file', 0.5],
        ['where no limit is configured', '/bare/file', 0.5],
        ['0 is unlimited', '/slow/file', undef, { 'X-Rate' => '0' }],
        ['slower than configured', '/kept/file', 1.0, { 'X-Rate' => '100kB/s' }],
        ['what all share stays', '/others/file', 0.5, { 'X-Rate' => '0' }],
        ['exempt', '/exempt/file', undef],
    );
    all_ok(['what all share stays, a higher rate', '/others/file', 0.5, { 'X-Rate' => '1MB/s' }]);
    is(scalar complaints(), 0, 'nobody complained');
};

subtest 'for this response only' => sub {
    my $client = XL::Client->new(port => $s->port);
    my @took;
    for my $rate (undef, '1MB/s', '0', undef) {
        my $started = now();
        my $r = $client->request(GET => '/kept/file', headers => defined $rate ? { 'X-Rate' => $rate } : {});
        push @took, $r->{body_length} == SIZE ? now() - $started : 9e9;
    }
    for my $case ([0, 0.5], [1, 0.1], [2, undef], [3, 0.5]) {
        my ($i, $seconds) = @$case;
        ok(defined $seconds ? $took[$i] > 0.9 * $seconds && $took[$i] < 1.2 * $seconds : $took[$i] < 0.05,
            sprintf 'response %d of a connection in %.3f s of %s', $i + 1, $took[$i], $seconds // 'none');
    }
};

subtest 'the header' => sub {
    all_ok(map({ my $from = $_; (
        ["$from", "/on/x/$from?rate=200kB/s", 0.5],
        ["$from, in bits", "/on/x/$from?rate=1.6Mbit/s", 0.5],
        ["$from, unlimited", "/on/slow/$from?rate=0", undef],
        ["$from, of an error", "/on/x/$from?rate=200kB/s&status=404", 0.5],
        ["$from, faster than configured", "/on/slow/$from?rate=200kB/s", 0.5],
        ["$from, against the variable", "/on/x/$from?rate=200kB/s", 0.5, { 'X-Rate' => '10kB/s' }],
        ["$from, with the variable alone", "/on/x/$from", 0.5, { 'X-Rate' => '200kB/s' }],
        ["$from, exempt", "/on/exempt/$from?rate=10kB/s", undef],
    ) } qw(cgi proxied)),
        ['mod_headers', '/on/always/file', 0.5],
        ['a CGI that names a file', '/on/x/cgi?rate=200kB/s&to=/on/x/file', 0.5],
        ['... in a section that does not listen', '/on/x/cgi?rate=200kB/s&to=/off/x/file', 0.5],
        ['what all share stays', '/on/others/proxied?rate=0', 0.5],
    );
    all_ok(['an error that we make ourselves', '/on/document/proxied?rate=10kB/s&status=404', undef]);
    is(scalar complaints(), 0, 'nobody complained');

    my ($exit, $out) = curl('--http2-prior-knowledge', '-o', '/dev/null', '-D', '-', '-w',
        '%{size_download} %{time_total}', $s->url('/on/x/proxied?rate=200kB/s'));
    my ($size, $took) = split / /, (split /\n/, $out)[-1];
    ok($exit == 0 && $size == SIZE && $took > 0.45 && $took < 0.55, "HTTP/2: $size bytes in $took s of 0.500");
    unlike($out, qr/xlimit-rate/i, '... and no header of ours');

    all_ok([$_ . ' the cache', '/on/cached/proxied?rate=200kB/s&cached', 0.5]) for 'into', 'out of';
    $backend->wait_for(sub { $backend->access_log =~ /&cached / }, 5);
    is(scalar(() = $backend->access_log =~ /&cached /g), 1, '... where the backend was asked once');
};

subtest 'where nobody listens' => sub {
    for my $case (['cgi?rate=10kB/s', '10kB/s'], ['proxied?rate=10kB/s', '10kB/s'], ['proxied?rate=fast', 'fast']) {
        my ($path, $value) = @$case;
        my $started = now();
        my $r = fetch($s->port, "/off/x/$path");
        my $took = now() - $started;
        ok($r->{body_length} == SIZE && $took < 0.3, sprintf 'Off: %s in %.3f s', $path, $took);
        is($r->{headers}{'x-xlimit-rate'}, $value, '... and the header is as any other');
    }
    is(fetch($s->port, '/off/always/none')->{headers}{'x-xlimit-rate'}, '200kB/s', '... with an error, too');
    is(fetch($s->port, '/on/always/none')->{headers}{'x-xlimit-rate'}, undef, 'On: not even there');
};

subtest 'what is no rate' => sub {
    all_ok(
        ['the variable', '/kept/file', 0.5, { 'X-Rate' => 'fast' }],
        ['... without a unit', '/kept/file', 0.5, { 'X-Rate' => '200' }],
        ['... negative', '/kept/file', 0.5, { 'X-Rate' => '-1kB/s' }],
        ['the header', '/on/x/proxied?rate=fast', undef],
        ['... of a CGI', '/on/x/cgi?rate=0kB/s', undef],
        ['... beside a variable that is one', '/on/x/cgi?rate=fast', 0.5, { 'X-Rate' => '200kB/s' }],
    );
    my @said = complaints();
    is(scalar @said, 1, 'said once a minute');
    like($said[0], qr{(?:xlimit-rate|X-XLimit-Rate) of /\S+ is "(?:fast|200|-1kB/s|0kB/s)": .*500kB/s}s,
        '... with the value, its place and what would be right');

    $s = served("XLimitBandwidth session 200kB/s\nSetEnvIf X-Rate (.+) xlimit-rate=\$1\n");
    all_ok(['a long one', '/file', 0.5, { 'X-Rate' => "\xff\x80" . 'x' x 5000 }]);
    @said = complaints();
    ok(@said == 1 && length $said[0] < 500, 'a long one makes no long line') or diag(@said);
};

done_testing;
