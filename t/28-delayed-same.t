# SPDX-License-Identifier: Apache-2.0
#
# A request that waits for its turn gets the response that it would have had at
# once, byte by byte: each of many kinds is sent to two servers of which one lets
# everything wait a quarter of a second. Twice through what runs before the handler
# would show: escapes decoded twice, headers added twice.
#
# Timed.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use List::Util qw(sum);
use MIME::Base64 qw(encode_base64);
use Test::More;
use XL::Client qw(now fetch);
use XL::Server;
use XL::Status qw(status_conf status vhost);
use XL::System qw(spew);

use constant WAIT => 0.25;

my @modules = qw(rewrite include negotiation autoindex headers proxy proxy_http deflate cache cache_disk
    authn_core auth_basic authn_file authz_user filter unique_id reqtimeout);

my $backend = XL::Server->backend(cgi => 1);
$backend->content('b/x', "behind\n");
scripts($backend);

my $conf = status_conf() . <<'CONF';
LogFormat "%U %q %>s %^XS %^XD" verdict
CustomLog logs/verdicts verdict
UseCanonicalName Off
AllowEncodedSlashes NoDecode
RewriteEngine On
RewriteRule ^/rewritten/(.*) /plain/$1 [PT,E=SEEN:%{ENV:SEEN}x]
RewriteRule ^/moved-early /elsewhere [R=302,L]
Redirect /moved /elsewhere
SetEnvIf Request_URI . toggle=1
ErrorDocument 404 /cgi/env?error
ErrorDocument 403 "no\n"
ProxyPass /back/ @BACK@/
AddLanguage en .en
AddOutputFilter INCLUDES .shtml
CacheRoot @ROOT@/cache
CacheEnable disk /cached
CacheIgnoreCacheControl On
Alias /secret @DOCROOT@/plain
Alias /options @DOCROOT@/plain
<Directory @DOCROOT@>
    Options +Includes +Indexes +MultiViews
    AllowOverride All
    Header add X-Dir once
    SetEnvIf toggle ^1$ toggle=2
    SetEnvIf toggle ^2$ toggled=yes
</Directory>
<Directory @DOCROOT@/plain>
    Header always append X-Seen %{toggled}e
    <If "%{QUERY_STRING} == 'if'">
        Header add X-If once
    </If>
</Directory>
<Directory @DOCROOT@/denied>
    Require all denied
</Directory>
<Location /secret>
    AuthType Basic
    AuthName secret
    AuthUserFile @ROOT@/users
    Require valid-user
</Location>
<Location /packed>
    SetOutputFilter DEFLATE
</Location>
<Location /cgi>
    Header add X-Cgi once
    RequestHeader append X-Twice once
</Location>
<Location /cached>
    Header set Cache-Control max-age=600
</Location>
<Location /paced>
    XLimitBandwidth session 100kB/s
</Location>
CONF

my $limit = <<'CONF';
XLimitZone key key="%{HTTP:X-Key}"
XLimitRequests key 4/s burst=1 delay=0 cost=2 name=all
CONF

sub scripts {
    my ($server) = @_;
    my $head = "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\n";
    $server->cgi('env', "${head}env | grep -v -e XLIMIT_ -e PORT= -e ^REMOTE -e ^_= -e UNIQUE_ID -e X_KEY | sort\n");
    $server->cgi('echo', "${head}exec cat\n");
    $server->cgi('own', "#!/bin/sh\nprintf 'Status: 402\\r\\nContent-Type: text/plain\\r\\n\\r\\npay\\n'\n");
    return;
}

sub server {
    my ($own, %option) = @_;
    my $text = $own . $conf =~ s/\@BACK\@/$backend->url('')/er;
    my $s = XL::Server->new(ports => 2, tls => 1, cgi => 1, factor => 20, modules => \@modules, conf => $text, %option);
    $s->content("plain/$_->[0]", $_->[1]) for ['x.txt', "plain\n"], ['a b.txt', "blank\n"], ['%41', "percent\n"],
        ['A', "not percent\n"], ['index.html', "index\n"], ['.htaccess', "Header add X-Access once\nRewriteEngine On\n"
        . "RewriteRule ^again/(.*) \$1\nRewriteRule ^away - [R=301,L]\nRewriteRule ^not - [F]\n"];
    $s->content("denied/x", "no\n");
    $s->content("ssi/x.shtml", qq(<!--#include virtual="/plain/x.txt"--><!--#include virtual="/cgi/env"--><!--#echo var="toggled"-->\n));
    $s->content("packed/x.txt", 'packed ' x 5000);
    $s->content("lang/x.txt.en", "english\n");
    $s->content("list/one.txt", "1\n");
    $s->content("cached/x.txt", "cached\n");
    $s->content("paced/x.txt", 'p' x 30_000);
    $s->file('big.bin', 3_000_000, 1);
    mkdir $s->path('cache');
    chmod 0777, $s->path('cache'), $s->path('logs');
    spew($s->path('users'), "joe:{SHA}" . 'W6ph5Mm5Pz8GgiULbPgzG37mj9g=' . "\n"); # "password"
    scripts($s);
    return $s->start;
}

my $plain = server('');
my $waits = server($limit);
my $serial = 0;

my $auth = 'Authorization: Basic ' . encode_base64('joe:password', '');
my $body = join '', map { "line $_\n" } 1 .. 2000;
my $length = length $body;
my $chunks = join '', map { sprintf "%x\r\n%s\r\n", length, $_ } unpack('(a3000)*', $body), '';

# What is sent, but for the Host and the key; how many responses there will be.
my @kinds = (
    ['a file',                'GET /plain/x.txt'],
    ['HEAD',                  'HEAD /plain/x.txt'],
    ['a range',               'GET /big.bin', 'Range: bytes=100000-200000'],
    ['a large file',          'GET /big.bin'],
    ['If-Modified-Since',     'GET /plain/x.txt', 'If-Modified-Since: Wed, 21 Oct 2037 07:28:00 GMT'],
    ['HTTP/1.0',              'GET /plain/x.txt HTTP/1.0'],
    ['close',                 'GET /plain/x.txt', 'Connection: close'],
    ['a blank in the path',   'GET /plain/a%20b.txt'],
    ['%2541',                 'GET /plain/%2541'],
    ['%41',                   'GET /plain/%41'],
    ['dots in the path',      'GET /plain//../plain/./x.txt'],
    ['%2F',                   'GET /plain%2Fx.txt'],
    ['absolute',              'GET http://localhost/plain/x.txt'],
    ['DirectoryIndex',        'GET /plain/'],
    ['the slash of a folder', 'GET /plain'],
    ['autoindex',             'GET /list/'],
    ['negotiation',           'GET /lang/x', 'Accept-Language: en'],
    ['<If>',                  'GET /plain/x.txt?if'],
    ['.htaccess, rewritten',  'GET /plain/again/x.txt'],
    ['.htaccess, redirected', 'GET /plain/away'],
    ['.htaccess, refused',    'GET /plain/not'],
    ['RewriteRule',           'GET /rewritten/x.txt'],
    ['RewriteRule to a CGI',  'GET /cgi/env/path%20info?a=%2541'],
    ['RewriteRule, early',    'GET /moved-early'],
    ['Redirect',              'GET /moved/x?y'],
    ['404 by a CGI',          'GET /plain/none'],
    ['refused',                'GET /denied/x'],
    ['without password',        'GET /secret/x.txt'],
    ['a wrong password',      'GET /secret/x.txt', 'Authorization: Basic am9lOndyb25n'],
    ['a password',            'GET /secret/x.txt', $auth],
    ['SSI',                   'GET /ssi/x.shtml'],
    ['deflate',               'GET /packed/x.txt', 'Accept-Encoding: gzip'],
    ['a cache, first',        'GET /cached/x.txt'],
    ['a cache, hit',          'GET /cached/x.txt'],
    ['a CGI',                 'GET /cgi/env?x=1'],
    ['a status of a CGI',     'GET /cgi/own'],
    ['POST',                  'POST /cgi/echo', "Content-Length: $length", \$body],
    ['POST to a file',        'POST /plain/x.txt', "Content-Length: $length", \$body],
    ['POST without password', 'POST /secret/x.txt', "Content-Length: $length", \$body],
    ['POST in chunks',        'POST /cgi/echo', 'Transfer-Encoding: chunked', \$chunks],
    ['POST to a backend',     'POST /back/cgi/echo', "Content-Length: $length", \$body],
    ['a backend',             'GET /back/b/x'],
    ['a backend, %2541',      'GET /back/cgi/env/%2541?%2541'],
    ['OPTIONS',               'OPTIONS /plain/x.txt'],
    ['OPTIONS *',             'OPTIONS *'],
    ['TRACE',                 'TRACE /plain/x.txt'],
    ['DELETE',                'DELETE /plain/x.txt'],
    ['paced',                 'GET /paced/x.txt'],
);

sub text_of {
    my ($line, @more) = @_;
    my $text = ref $more[-1] ? ${ pop @more } : '';
    $line .= ' HTTP/1.1' if $line !~ / HTTP/;
    return join("\r\n", $line, 'Host: localhost', 'X-Key: k' . ++$serial, @more, '', '') . $text;
}

# All that comes back for it, less what differs in any two: times and ports; and how long the first byte took.
sub answer {
    my ($server, $texts, %option) = @_;
    my $client = XL::Client->new(port => $option{tls} ? $server->tls_port : $server->port, tls => $option{tls})->connect;
    my $begin = now();
    $client->send_all($_) for ref $texts ? join '', @$texts : $texts;
    my ($got, $first) = ('');
    for my $text (ref $texts ? @$texts : $texts) {
        my ($method) = $text =~ /^(\w+)/;
        my $response = $client->receive(XL::Response->new($method, 1, $begin));
        $first //= ($response->{first} // 9e9) - $begin;
        # of a CGI that is quick enough httpd knows the length
        $response->{head} =~ s/^(?:Transfer-Encoding: chunked|Content-Length: \d+)\r\n//m if $text =~ m{/(?:cgi|none|plain%2F)};
        $got .= "@{ $response->{interim} }\n$response->{head}" . ($response->{body} // '')
            . ($response->{complete} ? '' : '(incomplete)') . ($response->{close} ? '(closes)' : '');
    }
    for my $other (@{ $server->{port} }, $server->{tls_port}, @{ $backend->{port} }) {
        $got =~ s/\b$other\b/PORT/g;
    }
    my $root = $server->root;
    $got =~ s/\Q$root\E/ROOT/g;
    $got =~ s/^(Date|Last-Modified|Expires|Age): .*$/$1: TIME/mg;
    $got =~ s/^X-Key: .*$/X-Key/mg;
    $got =~ s/20\d\d-\d\d-\d\d \d\d:\d\d/TIME/g;
    $got =~ s/^(ETag): .*$/$1/mg;
    $got =~ s/^Allow: (.*)$/join ',', sort split m{,}, $1/me; # as a hash of that process has it
    return ($got, $first);
}

sub same {
    my ($title, $texts, %option) = @_;
    my ($expected) = answer($plain, $texts->(), %option);
    my ($got, $first) = answer($waits, $texts->(), %option);
    ok($got eq $expected, $title) or diag("without delay:\n", substr($expected, 0, 1500), "\nwith:\n", substr $got, 0, 1500);
    return $first;
}

for my $tls (0, 1) {
    my @early;
    for my $kind (@kinds) {
        my ($title, @request) = @$kind;
        my $first = same($title . ($tls ? ', TLS' : ''), sub { text_of(@request) }, tls => $tls);
        push @early, sprintf '%s: %.3f', $title, $first if $first < WAIT - 0.001;
    }
    is("@early", '', 'each has waited');
}

for my $tls (0, 1) {
    my $first = same('six pipelined' . ($tls ? ', TLS' : ''), sub { [map { text_of(@{$_}[1 .. $#$_]) } @kinds[0, 8, 34, 27, 0, 1]] }, tls => $tls);
    ok($first > WAIT - 0.001, 'the first one waits');
    $first = same('a body and the next' . ($tls ? ', TLS' : ''), sub { [map { text_of(@{$_}[1 .. $#$_]) } @kinds[36, 0, 39, 37, 0]] }, tls => $tls);
}

subtest 'Expect: 100-continue' => sub {
    for my $path ('/cgi/echo', '/back/cgi/echo', '/secret/x.txt') {
        my @got;
        for my $server ($plain, $waits) {
            my $client = XL::Client->new(port => $server->port)->connect;
            my $begin = now();
            $client->send_all(text_of("POST $path", "Content-Length: $length", 'Expect: 100-continue'));
            $client->readable(5);
            my $heard = now() - $begin;
            my $response = XL::Response->new('POST', 1, $begin);
            $client->send_all($body) if $path !~ /secret/;
            $client->receive($response);
            push @got, "@{ $response->{interim} } $response->{status} " . ($path =~ /secret/ ? '' : $response->{body} eq $body);
            ok($heard > WAIT - 0.001, "$path: nothing is said before its turn") if $server == $waits;
        }
        is($got[1], $got[0], '... and then the same');
    }
};

subtest 'on one connection' => sub {
    my $client = XL::Client->new(port => $waits->port);
    my @status = map { $client->request('GET', '/plain/x.txt', headers => { 'X-Key' => 'c' . ++$serial })->{status} } 1 .. 5;
    is("@status", '200 200 200 200 200', 'one after the other');
    ok($client->connected, 'which stays');
};

ok($waits->wait_for(sub { vhost($waits)->{active} == 0 }, 5), 'nobody is active any more');
my @log = grep { !/^.xlimit-status/ } $waits->log_text('verdicts') =~ /^(.*)$/mg;
cmp_ok(scalar @log, '>', 100, scalar(@log) . ' requests');
my @other = grep { !/ DELAYED (\d+)$/ || $1 < 1e6 * WAIT || $1 >= 2e6 * WAIT } @log;
is(scalar @other, 0, 'each is logged as delayed, by its time and once') or diag(map { "$_\n" } @other);
my $counted = status($waits)->{limits};
is(sum(map { $_->{requests} } @$counted[grep { $counted->[$_]{name} eq 'all' } 0 .. $#$counted]), scalar @log,
    '... and was decided once');
is(sum(map { $_->{delayed} // 0 } @$counted), scalar @log, '... and counted once');
unlike($waits->error_log, qr/xlimit\((?!323)/, 'nothing to complain about');

done_testing;
