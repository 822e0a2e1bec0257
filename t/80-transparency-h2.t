# SPDX-License-Identifier: Apache-2.0
#
# Who is not refused gets what he would get without the module, over HTTP/2: the same
# requests one after the other on one connection, and all at once, in the clear and over
# TLS, to the servers of XL::Same. What is compared is what curl saw: interim responses,
# heads, bodies, trailers.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use File::Temp ();
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep);
use XL::Backend;
use XL::Client qw(curl);
use XL::Same;
use XL::Wire qw(blank);
use XL::System qw(slurp spew);

my $backend = XL::Backend->new(sub {
    my ($socket, $path, $head) = @_;
    XL::Backend::body($socket, $head);
    my $ok = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n";
    return XL::Backend::say_all($socket, "${ok}Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\n"
        . "X-Sum: 3\r\n\r\n")
        if $path =~ /trailer/;
    if ($path =~ /waits/) {
        XL::Backend::say_all($socket, "${ok}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
        sleep 0.5;
        return XL::Backend::say_all($socket, "0\r\n\r\n");
    }
    return XL::Backend::say_all($socket, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        . "${ok}Content-Length: 3\r\n\r\nabc");
});
my $port = $backend->port;
my $conf = <<"CONF";
SetEnv ap_trust_cgilike_cl yes
AddType text/html .shtml
AddOutputFilter INCLUDES .shtml
H2Push On
H2EarlyHints On
<Directory "\@DOCROOT\@">
    Options +Includes
</Directory>
<Location /pushes.txt>
    H2PushResource /x.txt
</Location>
<Location /packed.txt>
    SetOutputFilter DEFLATE
</Location>
<Location /secret>
    Require all denied
</Location>
Redirect /moved https://www.example.org/
ErrorDocument 404 /errors/404.html
ProxyPass /behind/ http://127.0.0.1:$port/
CONF

my $same = XL::Same->new(h2 => 1, tls => 1, cgi => 1, conf => $conf,
    modules => [qw(include filter deflate proxy proxy_http)],
    files => sub {
        my ($s) = @_;
        $s->content('x.txt', "some text\n");
        $s->content($_, "$_\n") for qw(empty.txt pushes.txt errors/404.html dir/index.html part.html);
        $s->content('page.shtml', '<!--#include virtual="/part.html" --><!--#include virtual="/cgi/say" -->end');
        $s->content('packed.txt', join ' ', 1 .. 4000);
        $s->file('large.bin', 150_000, 1);
        $s->file('huge.bin', 3_000_000, 1);
        $s->cgi('say',   "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\nContent-Length: 4\\r\\n\\r\\nsaid'\n");
        $s->cgi('large', "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\nyes | head -c 100000\n");
        $s->cgi('read',  <<'CGI');
#!/bin/sh
read="$REQUEST_METHOD $(md5sum)"
printf 'Content-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s' ${#read} "$read"
CGI
        $s->cgi('inner', "#!/bin/sh\nprintf 'Location: /x.txt\\r\\n\\r\\n'\n");
    });

my $dir = File::Temp->newdir;
spew("$dir/body", 'b' x 120_000);

# Its name, the status, the path, and lines of curl's configuration.
my @cases = (
    ['a file', 200, '/x.txt'], ['an empty file', 200, '/empty.txt'], ['large', 200, '/large.bin'], 
    ['huge', 200, '/huge.bin'],
    ['HEAD', 200, '/large.bin', 'head'], ['a range', 206, '/large.bin', 'range=100-99999'],
    ['two ranges', 206, '/large.bin', 'range=0-9,2000-90000'], ['past the end', 416, '/x.txt', 'range=500-'],
    ['not modified', 304, '/x.txt', 'header="If-Modified-Since: Sun, 13 Sep 2020 12:26:40 GMT"'],
    ['a precondition', 412, '/x.txt', 'header="If-Match: \"a\""'], ['an index', 200, '/dir/'], ['a slash', 301, '/dir'],
    ['not found', 404, '/missing'], ['forbidden', 403, '/secret'], ['Redirect', 302, '/moved'], 
    ['SSI', 200, '/page.shtml'],
    ['a program', 200, '/cgi/say'], ['a program, large', 200, '/cgi/large'], 
    ['a program, redirected', 200, '/cgi/inner'],
    ['a body', 200, '/cgi/read', qq(data-binary="\@$dir/body")], 
    ['PUT to a program', 200, '/cgi/read', qq(upload-file="$dir/body")],
    ['OPTIONS', 200, '/x.txt', 'request=OPTIONS'],
    ['TRACE', 200, '/x.txt', 'request=TRACE'], ['a method of nobody', 501, '/x.txt', 'request=FETCH'],
    ['deflate', 200, '/packed.txt', 'header="Accept-Encoding: gzip"'], ['pushes', '103 200', '/pushes.txt'],
    ['a trailer', 200, '/behind/trailer'], ['early hints', '103 200', '/behind/hints'],
    ['a long URL', 414, '/' . 'a' x 9000], ['a bad escape', 400, '/%zz'], ['once more', 200, '/x.txt'],
);

sub target { my ($s, $tls, $path) = @_; return $tls ? $s->tls_url($path) : $s->url($path) }

# All cases to one server; returns the process and the folder for what comes. In the clear,
# this curl cannot use a connection twice.
my @ways = (['TLS, one after the other', 1], ['TLS, all at once', 1, '--parallel', '--stderr', '/dev/null'],
    ['clear, a connection each', 0]);

sub ask {
    my ($s, $way) = @_;
    my ($title, $tls, @how) = @$way;
    my $out = "$dir/" . $s->port . '-' . $title =~ tr/a-z//cdr;
    mkdir $out;
    my @parts = map {
        my ($name, undef, $path, @more) = @{ $cases[$_] };
        join "\n", $tls ? "http2\ninsecure" : 'http2-prior-knowledge', 'silent', 'path-as-is', 'include', 'noproxy="*"',
            'max-time=60', 'url=' . target($s, $tls, $path), "output=$out/$_", @more, '';
    } 0 .. $#cases;
    @parts = join "next\n", @parts if $tls;
    spew("$out/conf$_", $parts[$_]) for 0 .. $#parts;
    my $pid = fork // die "fork: $!";
    return ($pid, $out) if $pid;
    system 'curl', '-q', @how, '--config', "$out/conf$_" for 0 .. $#parts;
    POSIX::_exit(0);
}

sub seen {
    my ($s, $file) = @_;
    return -e $file ? blank($s, slurp($file)) : '';
}

for my $way (@ways) {
    my ($without, @others) = map { [$_, ask($_, $way)] } $same->servers;
    waitpid $_->[1], 0 for $without, @others;
    subtest $way->[0] => sub {
        for my $n (0 .. $#cases) {
            my ($name, $status) = @{ $cases[$n] };
            next if $name =~ /trailer/ && $way->[0] =~ /at once/; # curl mixes them up
            my $right = seen($without->[0], "$without->[2]/$n");
            is(join(' ', $right =~ m{^HTTP/2 (\d+)}mg), $status, "$name: $status");
            for my $other (@others) {
                my $got = seen($other->[0], "$other->[2]/$n");
                ok($got eq $right, '... as well') or diag(map { substr($_, 0, 600) . "\n--\n" } $right, $got);
            }
        }
    };
}

# Long ones that wait may have half of the workers: who waits for nothing is none of these.
subtest 'many that do not tell their length' => sub {
    for my $server ($same->servers) {
        my $url = $server->tls_url('/behind/huge-waits/[1-48]');
        my (undef, $said) = curl('--http2', '--parallel', '--stderr', '/dev/null', '-o', '/dev/null', '-w',
            '%{http_code}\n', $url);
        is(scalar(() = $said =~ /^200$/mg), 48, 'are all served');
    }
};
$same->finish;

done_testing;
