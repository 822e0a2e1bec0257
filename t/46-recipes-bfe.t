# SPDX-License-Identifier: Apache-2.0
#
# conf/recipes/bfe-*: what BFE's modules do, said with httpd's own and ours, driven;
# and the tables of docs/recipes.md that say how a line of another limiter is written
# here: each of our lines is one that httpd takes.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use JSON::PP ();
use Test::More;
use XL::Client qw(fetch);
use XL::Recipes qw(recipes drive driven served passes_lines logged statuses as);
use XL::Server;
use XL::Status qw(limit);
use XL::System qw(project slurp);

my @site = (host => 'www.example.org');

sub location { my ($s, $path, %option) = @_; return fetch($s->port, $path, @site, %option)->{headers}{location} // '' }

# A backend that answers with what it was sent: request line and header fields.
sub echo {
    my ($s) = @_;
    $s->cgi('echo', "#!/bin/sh\necho 'Content-Type: text/plain'\necho\necho \"\$REQUEST_METHOD \$REQUEST_URI\"\n"
        . "env | sed -n 's/^HTTP_//p'\n");
    return;
}

drive 'bfe-header' => sub {
    my $s = served('bfe-header', cgi => 1, before => \&echo, conf => qq(ScriptAlias /header/ "\@ROOT\@/cgi/"\n));
    my $r = fetch($s->port, '/header/echo', @site, keep => 1, headers => ['X-Client' => '192.0.2.7', 'X-Debug' => 1,
        'User-Agent' => 'A Mobile']);
    like($r->{body}, qr/^$_$/m, $_) for 'X_CLIENT_IP=192\.0\.2\.7', 'X_LOG_ID=[\w@-]{20,}', 'X_PROTOCOL=HTTP/1\.1',
        'VIA=1\.1 www\.example\.org', 'X_DEVICE=phone';
    unlike($r->{body}, qr/X_DEBUG/, 'X-Debug is taken away');
    is("$r->{headers}{'x-proxied-by'} $r->{headers}{vary}", 'httpd X-Device', 'the response has fields, too');
    is(fetch($s->port, '/header/none', @site)->{headers}{'x-proxied-by'}, 'httpd', '... an error as well');
    unlike(fetch($s->port, '/header/echo', @site, keep => 1)->{body}, qr/X_DEVICE/, 'a condition that does not hold');
};

drive 'bfe-rewrite' => sub {
    my $backend = XL::Server->new(xlimit => 0, cgi => 1, conf => qq(ScriptAlias /list "\@ROOT\@/cgi/echo"\n));
    echo($backend);
    $backend->start;
    my $s = served('bfe-rewrite', swap => ['127.0.0.1:8080' => '127.0.0.1:' . $backend->port],
        files => { 'index.html' => 'start', 'docs/manual/a' => 'manual', b => 'trimmed',
            map { ("$_/x" => $_) } qw(add del only rename) });
    my $body = sub { fetch($s->port, $_[0], @site, keep => 1)->{body} };
    my $port = $backend->port;
    my $shop = $body->('/shop/list?a=1');
    like($shop, qr{^GET /list\?a=1$}m, 'HOST_SET: the backend gets the path');
    like($shop, qr{^HOST=127\.0\.0\.1:$port$}m, '... and its own name');
    is($body->('/start'), 'start', 'PATH_SET');
    is($body->('/manual/a'), 'manual', 'PATH_PREFIX_ADD');
    is($body->('/v1/b'), 'trimmed', 'PATH_PREFIX_TRIM');
    my @queries = (['/add/x?a=1' => '/add/x?from=web&a=1'], ['/add/x' => '/add/x?from=web'],
        ['/del/x?a=1&debug=2&b=3' => '/del/x?a=1&b=3'], ['/del/x?debug=' => '/del/x'], ['/del/x?a=1' => '/del/x?a=1'],
        ['/only/x?a=1&id=7&b=3' => '/only/x?id=7'], ['/only/x?a=1' => '/only/x'],
        ['/rename/x?a=1&q=word&b=3' => '/rename/x?a=1&query=word&b=3'], ['/rename/x?a=1' => '/rename/x?a=1']);
    for my $case (@queries) {
        my ($asked, $got) = @$case;
        my $before = () = $s->log_text('verdicts') =~ /^\Q$got\E 200 /mg;
        statuses($s, $asked, 1);
        is(scalar logged($s, 'verdicts', $before + 1, qr/^\Q$got\E 200 /), $before + 1, $asked);
    }
};

drive 'bfe-redirect' => sub {
    my $s = served('bfe-redirect', swap => ['5/s burst=20' => '1/min burst=1'], files => { 'dir/x' => 'x' },
        conf => <<'CONF');
XLimitRequests all 1/h name=early when="%{REQUEST_URI} == '/old'"
<Directory "@DOCROOT@/dir">
    Redirect 302 /dir/x https://www.example.org/
    XLimitRequests all 1/h name=late
</Directory>
CONF
    is(statuses($s, '/old', 3) . ' ' . statuses($s, '/dir/x', 2), '301 301 301 302 429', 'whom a limit can refuse');
    is(limit($s, 'early', 'www.example.org')->{requests}, 3, '... and who is counted at least');
    is(location($s, '/old'), 'https://www.example.org/new', 'URL_SET');
    is(location($s, '/limited/x'), 'https://www.example.org/new', '... under a limit');
    is(statuses($s, '/limited', 2), '301 429', '... which refuses');
    is(location($s, '/mirror/a/b%20c.iso'), 'https://mirror.example.org/mirror/a/b%20c.iso', 'URL_PREFIX_ADD');
    is(location($s, '/account/x?y=1'), 'https://www.example.org/account/x?y=1', 'SCHEME_SET');
    is(location($s, '/out?url=https://shop.example.org/a'), 'https://shop.example.org/a', 'URL_FROM_QUERY');
    is(statuses($s, "/out?url=$_", 1), '404', "... and nowhere else: $_")
        for qw(https://evil.example/ https://shop.example.org.evil.example/ https://shop.example.org@evil.example/
            //evil.example/);
};

drive 'bfe-logid' => sub {
    my $s = served('bfe-logid', cgi => 1, before => \&echo, conf => qq(ScriptAlias /cgi-bin/ "\@ROOT\@/cgi/"\n));
    my $client = XL::Client->new(port => $s->port);
    my @r = map { $client->request('GET', $_, @site, keep => 1) } '/cgi-bin/echo', '/cgi-bin/none';
    my @id = map { $_->{headers}{'x-log-id'} } @r;
    like($id[0], qr/^[\w@-]{20,}$/, 'the client is told an id');
    isnt($id[0], $id[1], '... another one for each request');
    like($r[0]{body}, qr/^X_LOG_ID=\Q$id[0]\E$/m, '... the backend the same');
    my @logged = sort { $a->[2] <=> $b->[2] } map { [(split ' ', $_)[0 .. 2]] } logged($s, 'with-id.log', 2);
    is_deeply([map { $_->[0] } @logged], \@id, '... the access log, too');
    is("$logged[0][1] $logged[1][2]", "$logged[1][1] 1", '... with the connection, and which request of it this is');
    like($s->error_log, qr/\[\Q$id[1]\E\] .*none/, '... and the error log');
};

drive 'bfe-tag' => sub {
    my $s = served('bfe-tag', files => { map { $_ => 'x' } qw(x api/x api/batch/x) },
        swap => ['50/s burst=100' => '1/min burst=5']);
    is(statuses($s, '/api/batch/x', 4, as('198.51.100.1')), '200 200 200 429', 'a tag is a condition of a limit');
    is(statuses($s, '/api/x', 4, as('198.51.100.1')), '200 200 200 429', '... and a part of the host the key of one');
    is(statuses($s, '/api/x', 1, as('198.51.100.1'), host => 'shop.example.org'), '200',
        '... another host has another');
    is(statuses($s, '/api/batch/x', 8, as('192.0.2.9')), join(' ', (200) x 8), 'the office is exempt');
    my %tags;
    $tags{$_}++ for map { (split / /)[-3] . ' ' . (split / /)[-2] } logged($s, 'tagged.log', 17);
    is_deeply(\%tags, { 'batch www' => 4, 'api www' => 4, 'api shop' => 1, 'office www' => 8 }, 'the log has the tags');
};

drive 'bfe-trace' => sub {
    my $s = served('bfe-trace', cgi => 1, before => \&echo,
        conf => qq(ScriptAlias /traced/ "\@ROOT\@/cgi/"\nScriptAlias /other/ "\@ROOT\@/cgi/"\n));
    my $ask = sub { fetch($s->port, $_[0], @site, keep => 1, headers => { 'User-Agent' => 'a',
        @_[1 .. $#_] })->{body} };
    my ($trace, $span) = $ask->('/traced/echo') =~ /^TRACEPARENT=00-([0-9a-f]{32})-([0-9a-f]{16})-01$/m;
    ok($trace, 'a trace begins');
    my $caller = '4bf92f3577b34da6a3ce929d0e0e4736';
    my $next = $ask->('/traced/echo', traceparent => "00-$caller-00f067aa0ba902b7-01");
    my ($next_span) = $next =~ /^TRACEPARENT=00-$caller-([0-9a-f]{16})-01$/m;
    ok($next_span && $next_span ne '00f067aa0ba902b7' && $next_span ne $span,
        "the caller's goes on with a span of ours") or diag $next;
    like($next, qr/^X_B3_TRACEID=$caller$/m, '... in B3, too');
    unlike($ask->('/other/echo'), qr/TRACEPARENT/, 'what is not to be traced is not');
    my @spans = map { JSON::PP::decode_json($_) } logged($s, 'spans.json', 2);
    is_deeply([sort map { "$_->{traceId} $_->{id} $_->{parentId}" } @spans],
        [sort "$trace $span -", "$caller $next_span 00f067aa0ba902b7"], 'a span each is logged');
    ok(!(grep { abs($_->{timestamp} / 1e6 - time) > 60 || $_->{duration} <= 0 } @spans), '... with its times');
};

drive 'bfe-block' => sub {
    my $s = served('bfe-block', files => { map { $_ => 'x' } qw(x limit/x limit/public/x) });
    is(statuses($s, '/x', 1, as($_)), '0', "an address of the list: $_") for qw(192.0.2.250 198.51.100.77);
    is(statuses($s, '/x', 1, as('192.0.2.251')), '200', 'another address');
    is(statuses($s, '/limit/x', 1), '0', 'CLOSE');
    is(statuses($s, '/x', 1, method => 'DELETE'), '405', 'an answer');
    is(statuses($s, '/limit/public/x', 1, as('192.0.2.250')), '200', 'ALLOW');
    is(limit($s, 'addresses')->{refused}, 2, 'the status page counts each rule');
};

drive 'bfe-trust-clientip' => sub {
    my $s = served('bfe-trust-clientip', remoteip => 0, files => { x => 'x' },
        swap => ['10.0.0.0/8' => '127.0.0.1', '10/s burst=20' => '1/min burst=1']);
    my $says = sub { return (headers => { 'X-Real-Ip' => $_[0] }) };
    is(statuses($s, '/x', 3, $says->('203.0.113.1')), '200 200 429', 'a client that a trusted address names');
    is(statuses($s, '/x', 1, $says->('203.0.113.2')), '200', '... and another');
    my @own = (from => '127.0.0.5');
    is(statuses($s, '/x', 1, @own, $says->("203.0.113.$_")), $_ < 5 ? '200' : '429',
        "from elsewhere the name does not count: $_")
        for 3 .. 5;
    my @lines = logged($s, 'trust.log', 7);
    is($lines[0], '127.0.0.5 127.0.0.5 trusted=- PASSED', 'the log has no mark');
    is($lines[3], '203.0.113.1 127.0.0.1 trusted=1 PASSED', '... but where there is one');
};

is_deeply([driven()], [grep { /^bfe-/ } recipes()], 'every recipe is driven');

# ---- lines of others ---------------------------------------------------------

# The two columns of every table below that heading, `line`<br>`line` each.
sub rows {
    my ($part) = slurp(project() . '/docs/recipes.md') =~ /^## Lines of other limiters\n(.*?)(?=^## |\z)/ms;
    return map { /^\| (`.*?) \| (`.*) \|$/ ? [$1, $2] : () } split /\n/, $part // '';
}

my @rows = rows();
cmp_ok(scalar @rows, '>=', 25, 'the tables were read');
my $s = XL::Server->new;
for my $row (@rows) {
    my ($theirs, $ours) = @$row;
    my ($exit, $output) = passes_lines($s, [$ours =~ /`([^`]+)`/g], qw(xlimit setenvif));
    is("$exit $output", "0 Syntax OK\n", $theirs);
}

done_testing;
