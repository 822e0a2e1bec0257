# SPDX-License-Identifier: Apache-2.0
#
# Clients, programs and owners of folders who try to get round limits: a response that
# calls itself an upgrade or an interim one, variables and handlers out of a .htaccess,
# the page of an error from before any decision, parameters written in another way, a
# kernel that acknowledges nothing, a stream that takes nothing.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use Socket qw(SOL_SOCKET);
use Test::More;
use Time::HiRes qw(sleep);
use XL::Client qw(fetch);
use XL::Http2;
use XL::Server;
use XL::Status qw(status_conf limit);

sub server {
    my ($conf, %option) = @_;
    my $s = XL::Server->new(ports => 2, children => 2, factor => 20, cgi => 1, conf => status_conf() . $conf, %option);
    $s->content('x', "content\n");
    $s->file('8m', 8_000_000);
    return $s;
}

sub statuses {
    my ($s, $path, $n, %option) = @_;
    return join ' ', map { fetch($s->port, $path, %option)->{status} } 1 .. $n;
}

sub program { my ($head, $bytes) = @_; return "#!/bin/sh\nprintf '$head\\r\\n\\r\\n'\nhead -c $bytes /dev/zero\n" }

subtest 'a response that says 101 to who asked for h2c' => sub {
    for my $h2 (0, 1) {
        my $s = server("XLimitQuota all 10MB day name=bytes\nXLimitQuota all 3r day name=count\n", h2 => $h2);
        $s->cgi('switch', program('Status: 101\r\nUpgrade: h2c\r\nConnection: Upgrade', 300_000));
        $s->start;
        my %asks = (headers => { Upgrade => 'h2c', Connection => 'Upgrade' });
        for (1 .. 3) { # a response without an end: read until the server closes
            my $client = XL::Client->new(port => $s->port, timeout => 1);
            $client->request('GET', '/cgi/switch', %asks);
            $client->disconnect;
        }
        $s->wait_for(sub { limit($s, 'bytes')->{used} > 900_000 }, 5);
        cmp_ok(limit($s, 'bytes')->{used}, '>', 900_000, "h2 $h2: its bytes are counted");
        is(statuses($s, '/x', 1), '503', '... and its requests');
    }
};

subtest 'a program that calls its response an interim one' => sub {
    my $s = server("<Location /cgi>\nXLimitBandwidth session 100kB/s\n</Location>\n");
    $s->cgi($_, program("Status: $_", 300_000)) for 100, 103;
    $s->start;
    for my $status (100, 103) {
        my $client = XL::Client->new(port => $s->port, timeout => 1);
        my $r = $client->request('GET', "/cgi/$status");
        cmp_ok($r->{bytes}, '<', 200_000, "$status: paced, $r->{bytes} bytes in a second of 100 kB/s");
        $client->disconnect;
    }
};

# FileInfo is what the owner of a folder needs for mod_rewrite.
subtest 'a .htaccess without AllowOverride Limit' => sub {
    my %says = (
        'no-xlimit'   => 'SetEnvIf Request_URI . no-xlimit=1',
        'xlimit-cost' => 'SetEnvIf Request_URI . xlimit-cost=0',
        'handler'     => "SetHandler server-status\nRewriteEngine On\nRewriteRule . - [H=default-handler]",
        'in a section' => "<Files x>\nSetHandler xlimit-status\n</Files>\nRewriteEngine On\nRewriteRule . - [H=default-handler]",
    );
    for my $override ('FileInfo', 'FileInfo Limit') {
        my $s = server("<Directory \"\@DOCROOT\@/d\">\nAllowOverride $override\n</Directory>\nXLimitQuota all 3r day name=count\n"
            . "SetEnvIf X-Friend yes no-xlimit=1\n", modules => [qw(setenvif rewrite status)]);
        $s->content('d/x', "content\n");
        $s->start;
        for my $what (sort keys %says) {
            $s->content('d/.htaccess', $says{$what} . "\n");
            my $before = limit($s, 'count')->{used};
            statuses($s, '/d/x', 1);
            my $counted = limit($s, 'count')->{used} - $before;
            my $spared = $override =~ /Limit/;
            is($counted, $spared ? 0 : $before < 3 ? 1 : 0, "AllowOverride $override: $what " . ($spared ? 'spares' : 'is not believed'));
        }
        is(statuses($s, '/d/x', 2), '503 503', '... of 3 requests none is left') if $override eq 'FileInfo';
        is(statuses($s, '/d/x', 2, headers => { 'X-Friend' => 'yes' }), '200 200', 'what the server says is believed')
            if $override eq 'FileInfo';
    }
    my $s = server("<Directory \"\@DOCROOT\@/d\">\nAllowOverride FileInfo\n</Directory>\n<Location /d>\n"
        . "XLimitBandwidth session 4kB/s\n</Location>\n", modules => ['env']);
    $s->content('d/x', 'x' x 8_000);
    $s->content('d/.htaccess', "SetEnv xlimit-rate 0\n");
    $s->start;
    my $r = fetch($s->port, '/d/x');
    cmp_ok($r->{ended} - $r->{started}, '>', 0.7, 'xlimit-rate from there is not believed');
};

subtest 'the page of an error from before any decision' => sub {
    my $s = server("XLimitQuota all 3r day name=count\nErrorDocument 404 /cgi/sorry\nErrorDocument 400 /cgi/sorry\n");
    $s->cgi('sorry', "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\nsorry\\n'\n");
    $s->start;
    my @all = map { fetch($s->port, $_, keep => 1) } ('/a%2fb') x 6, ('/%zz') x 2;
    is(join(' ', map { $_->{status} } @all), '404 404 404 404 404 404 400 400', 'an error is an error');
    is(scalar(grep { $_->{body} eq "sorry\n" } @all), 3, '... but its program runs no more often than the limit says');
    is(limit($s, 'count')->{used}, 3, '... which counts it');
};

subtest 'keys written in another way' => sub {
    my $s = server(<<'CONF');
XLimitZone api key="%{xlimit_query:key}" entries=100
XLimitZone visit key="%{xlimit_cookie:visit}" entries=100
<Location /q>
    XLimitQuota api 1r day
</Location>
<Location /c>
    XLimitQuota visit 1r day
</Location>
AliasMatch ^/[qc]/ "@DOCROOT@/x"
CONF
    $s->start;
    my @queries = ('key=a', '%6bey=a', 'key=&key=a', 'k%65y=%61', 'x=%zz&key=a', 'key=a&key=b');
    is(join(' ', map { fetch($s->port, "/q/?$_")->{status} } @queries), '200 429 429 429 429 429', 'one key');
    is(statuses($s, '/q/?key=%zz', 2), '200 429', 'what cannot be decoded is a key, too');
    is(statuses($s, '/q/?key=', 2), '200 200', '... and nothing is none');
    my @cookies = ('visit=a', 'visit=; visit=a', 'x=1;visit=a');
    is(join(' ', map { fetch($s->port, '/c/', headers => { Cookie => $_ })->{status} } @cookies), '200 429 429',
        'one cookie');
};

subtest 'a redirect to what a client has filled with blanks' => sub {
    my $s = server("XLimitQuota all 1r day exceeded='redirect \"/%{HTTP_USER_AGENT}\"'\n");
    $s->start;
    statuses($s, '/x', 20, headers => { 'User-Agent' => 'a b' });
    is(scalar(() = $s->error_log =~ /xlimit\(51[12]\)/g), 1, 'is said once');
};

# Nothing that comes in gets past this filter, so that nothing is acknowledged. False:
# the system wants more rights for it than we have.
sub deaf {
    my ($socket) = @_;
    my $drop = pack 'S C C L', 6, 0, 0, 0;
    return setsockopt $socket, SOL_SOCKET, 26, pack 'S x6 P', 1, $drop;
}

subtest 'who acknowledges nothing' => sub {
    my $s = server("XLimitQuota all 1GB day name=bytes\n");
    $s->start;
    my $client = XL::Client->new(port => $s->port, maxseg => 1448);
    $client->connect;
    deaf($client->socket) or plan skip_all => "SO_ATTACH_FILTER: $!";
    $client->send_all("GET /8m HTTP/1.1\r\nHost: localhost\r\n\r\n");
    sleep 0.5;
    $client->reset;
    my $used = sub { limit($s, 'bytes')->{used} };
    ok($s->wait_for(sub { my $n = $used->(); $n > 10_000 && $n < 200_000 }, 5), 'what was sent to him is counted, and no more')
        or diag($used->());
};

subtest 'streams that take nothing' => sub {
    my $s = server("XLimitQuota all 1GB day name=bytes\n", h2 => 1);
    $s->start;
    my $h2 = XL::Http2->new(port => $s->port, window => 0);
    my @streams = map { $h2->get('/8m') } 1 .. 4;
    XL::Http2::run([$h2], until => 0.5, close => 1);
    sleep 0.3;
    # of each some pieces of 128 kB, which mod_http2 takes
    my $used = limit($s, 'bytes')->{used};
    cmp_ok($used, '<', 2_500_000, "$used bytes of four are counted, not many MB");
};

done_testing;
