# SPDX-License-Identifier: Apache-2.0
#
# Who is not refused gets what he would get without the module, byte by byte: what
# httpd makes itself, by filters, programs, redirects, negotiation, passwords, caches and
# DAV. Each case goes to the servers of XL::Same.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use Compress::Zlib ();
use Digest::SHA qw(sha1_base64);
use Test::More;
use XL::Same;
use XL::System qw(spew);

my $conf = <<'CONF';
SetEnv ap_trust_cgilike_cl yes
AddType text/html .shtml
AddHandler server-parsed .never
AddHandler type-map .var
AddHandler send-as-is .asis
AddLanguage en .en
AddLanguage de .de
AddEncoding x-gzip .gz
ErrorDocument 404 /errors/404.html
ErrorDocument 403 "no, you may not"
ErrorDocument 402 /cgi/error
ErrorDocument 410 https://www.example.org/gone
Redirect /moved https://www.example.org/moved
RedirectMatch 303 ^/matched/(.*)$ /there/$1
Redirect 402 /pay
Redirect 410 /gone
Redirect 451 /law
RewriteEngine On
RewriteRule ^/written /x.txt [PT]
RewriteRule ^/away /x.txt [R=307,L]
RewriteRule ^/forbidden - [F]
Alias /substituted @DOCROOT@/large.txt
Alias /packed @DOCROOT@/large.txt
Alias /squeezed @DOCROOT@/large.txt
Alias /through @DOCROOT@/large.txt
ExtFilterDefine rot13 mode=output cmd="/usr/bin/tr a-zA-Z n-za-mN-ZA-M"
<Directory "@DOCROOT@">
    Options +Includes +FollowSymLinks +MultiViews +Indexes
    AddOutputFilter INCLUDES .shtml
    AllowOverride All
</Directory>
<Location /packed>
    SetOutputFilter DEFLATE
</Location>
<Location /squeezed>
    SetOutputFilter BROTLI_COMPRESS
</Location>
<Location /through>
    SetOutputFilter rot13
</Location>
<Location /substituted>
    AddOutputFilterByType SUBSTITUTE text/plain
    Substitute "s/line/LINE/"
</Location>
<Location /headers>
    Header set X-Set "%{REQUEST_METHOD}e, said httpd"
    Header always append Vary X-Nothing
    Header unset ETag
    ExpiresActive On
    ExpiresDefault "access plus 1 hour"
</Location>
<Location /cgi/unpacked>
    SetInputFilter DEFLATE
</Location>
<Location /denied>
    Require all denied
</Location>
<Location /secret>
    AuthType Basic
    AuthName "a place"
    AuthUserFile "@ROOT@/conf/users"
    Require valid-user
</Location>
<Location /digest>
    AuthType Digest
    AuthName "a place"
    AuthDigestProvider file
    AuthUserFile "@ROOT@/conf/users"
    Require valid-user
</Location>
<Directory "@DOCROOT@/listed">
    IndexOptions FancyIndexing HTMLTable SuppressColumnSorting
</Directory>
<Directory "@DOCROOT@/fallback">
    FallbackResource /x.txt
</Directory>
DavLockDB "@ROOT@/locks/db"
<Directory "@DOCROOT@/dav">
    Dav On
    Options -MultiViews
</Directory>
CacheRoot "@ROOT@/cache"
CacheHeader On
CacheDefaultExpire 3600
CacheIgnoreNoLastMod On
CacheEnable disk /cached
AliasMatch ^/cached/(.*) @DOCROOT@/$1
ScriptAlias /cached-cgi/ "@ROOT@/cgi/"
<VirtualHost 127.0.0.1:@PORT1@>
    CacheQuickHandler Off
</VirtualHost>
CONF

my @statuses = qw(400 404 405 406 409 411 415 422 423 429 431 500 502 503 504 507 511);
$conf .= join "", map { "RewriteRule ^/status-$_ - [R=$_]\n" } @statuses;

my %program = (
    say    => 'printf "Content-Type: text/plain\r\nContent-Length: 4\r\nX-Program: yes\r\n\r\nsaid"',
    large  => 'printf "Content-Type: text/plain\r\n\r\n"; yes a large line | head -c 120000',
    status => 'printf "Status: 418 Teapot\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nteapo"',
    inner  => 'printf "Location: /x.txt\r\n\r\n"',
    outer  => 'printf "Location: https://www.example.org/\r\n\r\n"',
    error  => 'printf "Content-Type: text/plain\r\nContent-Length: 3\r\n\r\n%s" "$REDIRECT_STATUS"',
    broken => 'echo no head at all',
    silent => 'exit 0',
    fails  => 'exit 3',
    none   => 'printf "Status: 204 No Content\r\n\r\n"',
    same   => 'printf "Status: 304 Not Modified\r\nETag: \"a\"\r\n\r\n"',
    unpacked => 'x=$(cat | md5sum); printf "Content-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" "${#x}" "$x"',
    'nph-raw'   => 'printf "HTTP/1.1 200 Fine\r\nX-Own: head\r\nContent-Length: 3\r\n\r\nraw"',
    'nph-large' => 'printf "HTTP/1.0 203 Large\r\nContent-Type: text/plain\r\n\r\n"; yes | head -c 200000',
    'nph-chunked' => 'printf "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n"',
);
my %content = (
    'x.txt' => "some text, which is not long\n", 'part.html' => "<p>part\n", 'dir/index.html' => "<p>an index\n",
    'page.shtml' => '<!--#include virtual="/part.html" --><!--#echo var="DOCUMENT_NAME" -->'
        . '<!--#include virtual="/cgi/say" --><!--#include virtual="/nested.shtml" --><!--#exec cmd="echo x" -->'
        . '<!--#include virtual="/missing" -->' . "end\n",
    'large.shtml' => '<!--#include virtual="/large.txt" --><!--#include virtual="/cgi/large" -->end' . "\n",
    'nested.shtml' => '<!--#include virtual="/part.html" -->', 'fsize.shtml' => '<!--#fsize virtual="/part.html" -->',
    'errors/404.html' => "<p>not here\n", 'listed/a.txt' => 'a', 'listed/b.html' => 'b', 'listed/c/d' => 'd',
    'which.html.en' => "<p>hello\n", 'which.html.de' => "<p>hallo\n", 'which.html.fr' => "<p>salut\n",
    'map.var' => "URI: which.html.en\nContent-type: text/html\nContent-language: en\n\n"
        . "URI: which.html.de\nContent-type: text/html\nContent-language: de\n",
    'as.asis' => "Status: 203 As it is\nContent-Type: text/plain\nX-As: is\n\nas it is\n",
    'secret/x.txt' => "a secret\n", 'digest/x.txt' => "a secret\n", 'headers/x.txt' => "headers\n",
    'ht/x.txt' => "by its own rules\n", 'ht/.htaccess' => "RewriteEngine On\nRewriteRule ^to\$ x.txt\n"
        . "RewriteRule ^(\\d+)\$ to\nErrorDocument 404 \"not in here\"\nAddDefaultCharset utf-8\n",
    'packed.txt.gz' => Compress::Zlib::memGzip("packed before\n"), 'fallback/y' => 'y', 'dav/old.txt' => "old\n",
    'large.txt' => join('', map { "line $_ of a large text\n" } 1 .. 6000),
);

my $same = XL::Same->new(cgi => 1, ports => 2, conf => $conf, modules => [qw(include filter deflate brotli substitute
    ext_filter headers expires rewrite negotiation autoindex asis authn_core authn_file authz_user auth_basic
    auth_digest dav dav_fs cache cache_disk)], files => sub {
        my ($s) = @_;
        $s->cgi($_, "#!/bin/sh\n$program{$_}\n") for keys %program;
        $s->content($_, $content{$_}) for keys %content;
        spew($s->path('conf/users'), 'me:{SHA}' . sha1_base64('right') . "=\n");
        mkdir $s->path($_) for qw(cache locks);
        chmod 0777, map { $s->path($_) } qw(cache locks htdocs/dav);
        chmod 0666, $s->path('htdocs/dav/old.txt');
    });

sub with { my (%headers) = @_; return (headers => \%headers) }
my $gzip = Compress::Zlib::memGzip('z' x 9000);

my @made = (
    ['SSI', 200, [GET => '/page.shtml']],
    ['SSI, large', 200, [GET => '/large.shtml']],
    ['SSI, HEAD', 200, [HEAD => '/page.shtml']],
    ['SSI that asks for a size', 200, [GET => '/fsize.shtml']],
    (map { ["a program: $_->[0]", $_->[1], [GET => "/cgi/$_->[0]"], [GET => '/x.txt']] } ['say', '200 200'],
        ['large', '200 200'], ['status', '418 200'], ['inner', '200 200'], ['outer', '302 200'], ['broken', '500'],
        ['silent', '500'], ['fails', '500'], ['none', '204 200'], ['same', '304 200'], ['missing', '404 200']),
    (map { ["a program: $_->[0]", $_->[1], [GET => "/cgi/$_->[0]"]] } ['nph-raw', 200], ['nph-large', 203],
        ['nph-chunked', 200]),
    ['HEAD of a program', 200, [HEAD => '/cgi/large'], ],
    ['as it is', 203, [GET => '/as.asis']],
    ['deflate', 200, [GET => '/packed', with('Accept-Encoding' => 'gzip')]],
    ['deflate, not wanted', 200, [GET => '/packed']],
    ['deflate, HEAD', 200, [HEAD => '/packed', with('Accept-Encoding' => 'gzip')]],
    ['deflate, a range', 206, [GET => '/packed', with('Accept-Encoding' => 'gzip', Range => 'bytes=5-50')]],
    ['brotli', 200, [GET => '/squeezed', with('Accept-Encoding' => 'br')]],
    ['a body that is unpacked', 200, [POST => '/cgi/unpacked', with('Content-Encoding' => 'gzip'), body => $gzip]],
    ['a filter of its own program', 200, [GET => '/through']],
    ['substitute', 200, [GET => '/substituted']],
    ['headers and expires', 200, [GET => '/headers/x.txt']],
    ['packed before', 200, [GET => '/packed.txt.gz']],
);

my @ways = (
    ['Redirect', 302, [GET => '/moved/there?x=y']],
    ['RedirectMatch', 303, [GET => '/matched/there']],
    ['an internal rewrite', 200, [GET => '/written']],
    ['a rewrite that redirects', 307, [GET => '/away']],
    ['a rewrite that forbids', 403, [GET => '/forbidden']],
    (map { ["a status of $_", $_, [GET => "/status-$_"]] } @statuses),
    ['rewrites of a directory', '200 200 404', map { [GET => "/ht/$_"] } qw(to 12 nothing)],
    ['an index', '200 301', [GET => '/dir/'], [GET => '/dir']],
    ['a fallback', 200, [GET => '/fallback/missing']],
    ['a page for 404', 404, [GET => '/missing/x']],
    ['a page for 404, POST', 404, [POST => '/missing/x', body => 'abc']],
    ['a text for 403', 403, [GET => '/denied/x']],
    ['a program for 402', 402, [GET => '/pay']],
    ['elsewhere for 410', 302, [GET => '/gone']],
    ['nothing for 451', 451, [GET => '/law']],
    ['a list', 200, [GET => '/listed/']],
    ['a list, sorted', 200, [GET => '/listed/?C=N;O=D']],
    ['a plain list', 200, [GET => '/listed/?F=0']],
    (map { ["which language: $_->[0]", $_->[1], [GET => '/which', with('Accept-Language' => $_->[0])],
        [GET => '/map.var', with('Accept-Language' => $_->[0])]] } ['de', '200 200'],
        ['en;q=0.5, de;q=0.7', '200 200']),
    ['no language', '406', [GET => '/which.html', with('Accept-Language' => 'xx', Accept => 'image/png')]],
    ['no password, then the right one', '401 200', [GET => '/secret/x.txt'],
        [GET => '/secret/x.txt', with(Authorization => 'Basic bWU6cmlnaHQ=')]],
    ['wrong passwords', '401 401 401', map { [GET => '/secret/x.txt', with(Authorization => "Basic $_")] }
        qw(bWU6d3Jvbmc= bWU= =*=)],
    ['POST without a password', '401 200', [POST => '/secret/x.txt', body => 'b' x 3000], [GET => '/x.txt']],
    ['digest', '401 401', [GET => '/digest/x.txt'], [GET => '/digest/x.txt', with(Authorization => 'Digest x')]],
);

my $props = '<?xml version="1.0"?><propfind xmlns="DAV:"><prop><getcontentlength/><resourcetype/></prop></propfind>';
my $set = '<?xml version="1.0"?><propertyupdate xmlns="DAV:" xmlns:x="x:"><set><prop><x:colour>red</x:colour></prop>'
    . '</set></propertyupdate>';
my $lock = '<?xml version="1.0"?><lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope><locktype><write/>'
    . '</locktype></lockinfo>';
my @dav = (
    ['OPTIONS', 200, [OPTIONS => '/dav/']],
    ['PROPFIND', '207 207 207 404', [PROPFIND => '/dav/', with(Depth => 0)], [PROPFIND => '/dav/old.txt'],
        [PROPFIND => '/dav/old.txt', with(Depth => 0), body => $props], [PROPFIND => '/dav/missing', with(Depth => 1)]],
    ['PUT', '201 200 204 200 204 404', [PUT => '/dav/a', body => 'abc'], [GET => '/dav/a'],
        [PUT => '/dav/a', body => 'x' x 90_000],
        [GET => '/dav/a'], [DELETE => '/dav/a'], [GET => '/dav/a']],
    ['PUT, chunked', '201 200', { raw => "PUT /dav/b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        . "3\r\nabc\r\n0\r\n\r\n" },
        [GET => '/dav/b']],
    ['PUT of a range', '201 400', [PUT => '/dav/c', body => 'abcdef'],
        [PUT => '/dav/c', body => 'X', with('Content-Range' => 'bytes x/y')]],
    ['PUT with conditions', '201 412', [PUT => '/dav/d', body => 'a'], 
        [PUT => '/dav/d', body => 'b', with('If-None-Match' => '*')]],
    ['collections', '201 405 201 201 201 412 204', [MKCOL => '/dav/e/'], [MKCOL => '/dav/e/'], 
        [PUT => '/dav/e/f', body => 'f'],
        [COPY => '/dav/e/', with(Destination => 'http://localhost/dav/g/')],
        [MOVE => '/dav/g/f', with(Destination => 'http://localhost/dav/h')],
        [COPY => '/dav/e/f', with(Destination => 'http://localhost/dav/h', Overwrite => 'F')], [DELETE => '/dav/e/']],
    ['properties', '201 207 207', [PUT => '/dav/i', body => 'i'], [PROPPATCH => '/dav/i', body => $set],
        [PROPFIND => '/dav/i', with(Depth => 0)]],
    ['locks', '201 200 423 423 423', [PUT => '/dav/j', body => 'j'], [LOCK => '/dav/j', body => $lock],
        [PUT => '/dav/j', body => 'k'],
        [DELETE => '/dav/j'], [LOCK => '/dav/j', body => $lock]],
    ['what is no XML', '400', [PROPFIND => '/dav/', body => '<propfind']],
);

my @cache = map {
    my ($what, @port) = @$_;
    my @q = $what =~ /quick/ ? 'q' : 'n';
    (["a miss and hits, $what", '200 200 200', @port, ([GET => "/cached/x.txt?@q"]) x 3],
     ["large, $what", '200 200 206 304', @port, ([GET => "/cached/large.txt?@q"]) x 2,
        [GET => "/cached/large.txt?@q", with(Range => 'bytes=100-99999')],
        [GET => "/cached/large.txt?@q", with('If-Modified-Since' => 'Sun, 13 Sep 2020 12:26:40 GMT')]],
     ["reload, $what", '200 200 200', @port, [GET => "/cached/part.html?@q"],
        [GET => "/cached/part.html?@q", with('Cache-Control' => 'no-cache')], [HEAD => "/cached/part.html?@q"]],
     ["only if cached, $what", '504', @port, [GET => "/cached/dir/index.html?@q",
         with('Cache-Control' => 'only-if-cached')]],
     ["a program, $what", '200 200', @port, ([GET => "/cached-cgi/say?@q"]) x 2],
     ["not found, $what", '404 404', @port, ([GET => "/cached/missing?@q"]) x 2])
} ['quick handler'], ['no quick handler', 'port 1'];

$same->check(['what httpd makes', \@made], ['ways to it', \@ways], ['DAV', \@dav], ['mod_cache', \@cache]);
$same->finish;

done_testing;
