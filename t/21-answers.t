# SPDX-License-Identifier: Apache-2.0
#
# What an offender gets: redirect, status, speed, close, pass; what a dry run
# leaves as it was; RateLimit fields, environment and log items. Each location
# has a quota of one request, which the first request uses up.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use JSON::PP qw(decode_json);
use Test::More;
use XL::Client qw(now fetch curl);
use XL::Server;
use XL::Status qw(status_conf limit change);
use XL::System qw(slurp);

# Sections /NAME, each with a quota of one request and what more is said of it.
sub locations {
    my (@named) = @_;
    my $text = '';
    while (my ($name, $more) = splice @named, 0, 2) {
        my $option = $more =~ /^\S+=|^"/ ? " $more" : '';
        $text .= "<Location /$name>\n    XLimitQuota all 1r 1h name=$name$option\n"
            . ($option eq '' ? "    $more\n" : '') . "</Location>\n";
    }
    return $text;
}

sub served { # a server with a file in each of its locations
    my ($conf, %option) = @_;
    my $s = XL::Server->new(ports => 2, conf => status_conf() . $conf, %option);
    $s->content("$_/x", "content of $_\n") for $conf =~ m{<Location /(\w+)>}g;
    return $s->start;
}

# The answer to the request after the one that used up the quota.
sub refused {
    my ($s, $name, %option) = @_;
    my $first = fetch($s->port, "/$name/x");
    is($first->{status}, 200, "$name: the first request is served") if !$s->{used}{$name}++;
    return fetch($s->port, $option{target} // "/$name/x", keep => 1, %option);
}

my @problem = (headers => { Accept => 'application/problem+json' });

subtest 'redirect' => sub {
    my $s = served(locations(
        default => '"exceeded=redirect https://www.example.org/later"',
        (map { ("r$_" => qq("exceeded=redirect https://www.example.org/later $_")) } 301, 302, 303, 307, 308),
        path  => '"exceeded=redirect /elsewhere.html"',
        expr  => '"exceeded=redirect https://www.example.org/%{escape:%{HTTP:X-Word}}?from=%{REQUEST_URI}"',
        raw   => '"exceeded=redirect https://www.example.org/%{HTTP:X-Word}"',
        host  => '"exceeded=redirect https://www.example.org/?was=%{HTTP_HOST}"',
        query => '"exceeded=redirect https://www.example.org/%{unescape:%{QUERY_STRING}}"',
        empty => '"exceeded=redirect /%{HTTP:X-Empty} 307"',
    ), loglevel => 'xlimit:info');

    my $r = refused($s, 'default');
    is("$r->{status} $r->{headers}{location}", '302 https://www.example.org/later', '302 by default');
    for my $code (301, 302, 303, 307, 308) {
        $r = refused($s, "r$code");
        is("$r->{status} $r->{headers}{location} $r->{headers}{'cache-control'}",
            "$code https://www.example.org/later no-store", "... $code when asked for, never to be stored");
    }
    my $self = 'http://localhost:' . $s->port;
    is(refused($s, 'path')->{headers}{location}, "$self/elsewhere.html", 'a path becomes a URL of this host');
    is(refused($s, 'default', method => 'POST', body => 'x=1')->{status}, 302, 'POST, too');
    is(refused($s, 'default', method => 'HEAD')->{body_length}, 0, 'HEAD gets no body');

    $r = refused($s, 'expr', headers => { 'X-Word' => 'two words&more' });
    is($r->{headers}{location}, 'https://www.example.org/two%20words&more?from=/expr/x', 'an expression');
    $r = refused($s, 'host', host => 'www.example.net');
    is($r->{headers}{location}, 'https://www.example.org/?was=www.example.net', 'the host that was asked for');

    $r = refused($s, 'raw', headers => { 'X-Word' => '"><script>alert(1)</script>' });
    unlike($r->{body}, qr/<script>/, 'what a client puts into the URL is escaped in the page');

    my %hostile = (
        'CR LF in the query'    => ['query', target => '/query/x?a%0d%0aSet-Cookie:%20evil=1%0d%0a%0d%0a<p>'],
        'LF alone'              => ['query', target => '/query/x?a%0aSet-Cookie:evil'],
        'NUL'                   => ['query', target => '/query/x?a%00Set-Cookie:evil'],
        'a tab'                 => ['raw', headers => { 'X-Word' => "a\tSet-Cookie: evil" }],
        'a folded line'         => ['raw', headers => { 'X-Word' => "a\r\n Set-Cookie: evil" }],
        'a folded host'         => ['host', host => "localhost\r\n Set-Cookie: evil"],
        'a host with a bare LF' => ['host', host => "localhost\nSet-Cookie: evil"],
        'a bare CR'             => ['raw', headers => { 'X-Word' => "a\rSet-Cookie: evil" }],
        'a host of 4 kB'        => ['host', host => 'a' x 4000],
        'a query of 7 kB'       => ['query', target => '/query/x?' . 'a' x 7000],
        '8-bit bytes'           => ['raw', headers => { 'X-Word' => "\xff\xfe\x80\xc0\xaf" }],
    );
    for my $what (sort keys %hostile) {
        my ($name, @option) = @{ $hostile{$what} };
        my $r = refused($s, $name, @option);
        ok($r->{complete} && $r->{status} =~ /^(302|400|503)$/, "$what: a plain answer, $r->{status}");
        unlike($r->{head}, qr/^Set-Cookie:/mi, '... with no field of the client\'s making');
        unlike($r->{head}, qr/[^\r\n\x20-\x7e\x80-\xff]/, '... nor a control character');
    }
    $r = refused($s, 'raw', headers => { 'X-Word' => 'two words' });
    is($r->{status}, 503, 'an expression that yields no URL: refused plainly');
    ok($r->{headers}{'retry-after'}, '... with Retry-After');
    is(refused($s, 'empty')->{headers}{location}, "$self/", 'an empty value is empty');
};

subtest 'nobody is redirected to where he is' => sub {
    my $s = XL::Server->new(ports => 2, tls => 1, conf => status_conf() . <<'CONF');
XLimitQuota all 1r 1h name=all
XLimitExceeded quota redirect /over.html
<If "%{HTTP:X-Case} == 'abs'">
    XLimitExceeded quota redirect http://localhost:@PORT@/over.html
</If>
<If "%{HTTP:X-Case} == 'space'">
    XLimitExceeded quota redirect /over%20quota.html?why=quota
</If>
<If "%{HTTP:X-Case} == 'index'">
    XLimitExceeded quota redirect /over/
</If>
<If "%{HTTP:X-Case} == 'args'">
    XLimitExceeded quota redirect "/over.html?from=%{REQUEST_URI}"
</If>
CONF
    $s->content($_, 'over quota') for 'over.html', 'over quota.html', 'over/index.html';
    $s->content('x', 'x');
    $s->start;
    is(fetch($s->port, '/x')->{status}, 200, 'the quota is used up');
    for my $case (qw(path abs space index args)) {
        my ($exit, $out) = curl('-L', '--max-redirs', 5, '-H', "X-Case: $case", '-w', ' %{http_code} %{num_redirects}',
            'http://localhost:' . $s->port . '/x');
        is("$exit $out", '0 over quota 200 1', "$case: one redirect, and the page");
    }
    my ($exit, $out) = curl('-L', '--max-redirs', 5, '-w', ' %{http_code} %{num_redirects}',
        'https://localhost:' . $s->tls_port . '/over.html');
    is("$exit $out", '0 over quota 200 0', 'over TLS');
    my $host = 'localhost:' . $s->port;
    is(fetch($s->port, '/over%2Ehtml', host => $host)->{status}, 200, 'the target in another spelling');
    is(fetch($s->port, '/over.html?a=b', host => uc $host)->{status}, 200, '... with a query, and a host in capitals');
    is(fetch($s->port, '/over.html', host => 'other.example')->{status}, 200, '... and on whatever host leads here');
    is(fetch($s->port, '/over.htm', host => $host)->{status}, 302, 'nothing that only looks like it');
    is(fetch($s->port, '/x', host => $host)->{status}, 302, 'all others are still redirected');
};

subtest 'status' => sub {
    my $s = served(<<'CONF' . locations(
ErrorDocument 504 "a text of ours"
ErrorDocument 505 /errors/page.html
ErrorDocument 506 /cgi/page
ErrorDocument 507 /errors/missing.html
<Location /d509>
    ErrorDocument 500 /errors/page.html
</Location>
CONF
        plain => 'Require all granted',
        (map { ("s$_" => "\"exceeded=status $_\"") } 400, 403, 404, 410, 429, 500, 503 .. 507, 509, 599),
        d509 => '"exceeded=status 509"',
    ), cgi => 1);
    $s->content('errors/page.html', "a page of ours\n");
    $s->cgi('page', <<'CGI');
#!/bin/sh
printf 'Content-Type: text/plain\r\n\r\n%s %s %s' $REDIRECT_STATUS $XLIMIT_STATUS $XLIMIT_LIMIT
CGI

    my $r = refused($s, 'plain');
    is($r->{status}, 503, '503 by default');
    like($r->{headers}{'retry-after'}, qr/^3(600|59\d)$/, '... with Retry-After');
    for my $code (400, 403, 404, 410, 429, 500, 503) {
        $r = refused($s, "s$code");
        is($r->{status}, $code, "status $code");
        is(defined $r->{headers}{'retry-after'} ? 'yes' : 'no', $code =~ /429|503/ ? 'yes' : 'no', '... Retry-After?');
        ok($r->{body_length} > 50 && !exists $r->{headers}{location}, '... with a page of httpd\'s');
    }
    $r = refused($s, 's509');
    is("$r->{status} $r->{reason}", '509 Bandwidth Limit Exceeded', '509 and its reason phrase');
    like($r->{body}, qr{<title>509 Bandwidth Limit Exceeded</title>}, '... in the page, too');
    $r = refused($s, 's599');
    is("$r->{status} $r->{reason}", '599 Refused', 'a status that httpd does not know');

    refused($s, $_) for qw(s504 s505 s506 s507 d509);
    my %expected = (s504 => '504 a text of ours', s505 => "505 a page of ours\n", s506 => '506 506 REJECTED s506',
        d509 => "509 a page of ours\n");
    for my $name (sort keys %expected) {
        my $change = change($s, sub {
            $r = fetch($s->port, "/$name/x", keep => 1);
            is("$r->{status} $r->{body}", $expected{$name}, "ErrorDocument is honoured: $name");
        });
        is_deeply($change, { requests => 1, rejected => 1, sent => $r->{bytes} }, '... decided once, counted once');
    }
    $r = fetch($s->port, '/s507/x');
    is($r->{status}, 507, 'an ErrorDocument that is missing');
    is(limit($s, $_)->{used}, 1, "$_: refusals are not charged") for qw(plain s429 s505 s506);
};

subtest 'problem+json' => sub {
    my $s = served(locations(quota => '"exceeded=status 429"', other => '"exceeded=status 509"'));
    my $r = refused($s, 'quota', @problem);
    is("$r->{status} $r->{headers}{'content-type'}", '429 application/problem+json', 'to a client that prefers it');
    is($r->{headers}{'cache-control'}, 'no-store', '... never to be stored');
    is($r->{headers}{'content-length'} // $r->{body_length}, length $r->{body}, '... of the length that it says');
    my $problem = eval { decode_json($r->{body}) } // {};
    is("$problem->{type} $problem->{status} $problem->{limit}", 'about:blank 429 quota', '... and it is valid JSON');
    is($problem->{retry_after}, $r->{headers}{'retry-after'}, '... with the same Retry-After');
    ok($problem->{title} && $problem->{detail}, '... title and detail');

    $r = refused($s, 'quota', @problem, method => 'HEAD');
    is("$r->{status} $r->{headers}{'content-type'} $r->{body_length}", '429 application/problem+json 0', 'HEAD');
    $r = refused($s, 'quota', @problem, method => 'POST', body => 'x' x 5000);
    is("$r->{status} $r->{complete}", '429 1', 'POST with a body');
    $r = refused($s, 'other', @problem);
    is("$r->{status} $r->{reason}", '509 Bandwidth Limit Exceeded', 'with a 509');
    is($r->{headers}{'content-type'}, 'application/problem+json', '... too');

    my @accept = (
        'text/html'                                        => 0,
        '*/*'                                              => 0,
        ''                                                 => 0,
        'application/problem+json;q=0'                     => 0,
        'text/html,application/problem+json;q=0.9'         => 0,
        'text/html, application/xhtml+xml, */*;q=0.8'      => 0,
        'application/problem+jsonx'                        => 0,
        'application/json'                                 => 1,
        'application/json;q=0.5, text/html;q=0.4'          => 1,
        'text/html;q=0.3, application/problem+json; q=0.7' => 1,
        'APPLICATION/PROBLEM+JSON'                         => 1,
        'application/problem+json;q=nonsense'              => 0,
    );
    while (my ($accept, $json) = splice @accept, 0, 2) {
        my $type = refused($s, 'quota', headers => { Accept => $accept })->{headers}{'content-type'};
        is($type =~ /json/ ? 1 : 0, $json, "Accept: $accept");
    }
};

subtest 'speed, close, pass' => sub {
    my $s = served(<<'CONF' . locations(
LogFormat "%U %>s %^XS %^XL %^XD %^XR" xlimit
CustomLog logs/xlimit xlimit
CONF
        speed => '"exceeded=speed 50kB/s"',
        close => 'exceeded=close',
        pass  => 'exceeded=pass',
        dry   => 'mode=dry-run "exceeded=status 429"',
        drydir => 'mode=dry-run "exceeded=redirect https://www.example.org/"',
        dryspeed => 'mode=dry-run "exceeded=speed 1kB/s"',
        free  => 'XLimitInherit Off',
    ), tls => 1);
    $s->file("$_/100k.bin", 100_000) for qw(speed dryspeed);

    my $change = change($s, sub {
        my $before = now();
        is(fetch($s->port, '/speed/100k.bin')->{status}, 200, 'speed: the first request');
        cmp_ok(now() - $before, '<', 1, '... is not paced');
        $before = now();
        is(fetch($s->port, '/speed/100k.bin')->{body_length}, 100_000, '... the second is served');
        my $took = now() - $before;
        ok($took > 1.9 && $took < 2.3, "... at 50 kB/s: 2.0 s ($took)");
    });
    is("$change->{passed} $change->{paced}", '1 1', '... and counted as paced');
    is(limit($s, 'speed')->{used}, 2, '... in the quota, too');

    fetch($s->port, '/close/x');
    for my $case ([port => $s->port], [port => $s->tls_port, tls => 1]) {
        my $client = XL::Client->new(@$case);
        $client->request(GET => '/close/x') if $client->{tls}; # another virtual host, another counter
        my $r = $client->request(GET => '/close/x');
        is("$r->{status} $r->{bytes} " . ($client->connected ? 'open' : 'closed'), '0 0 closed', 'close: not a byte');
    }
    $change = change($s, sub { fetch($s->port, '/close/x') });
    is_deeply($change, { requests => 1, rejected => 1 }, '... and nothing counted as sent');

    $change = change($s, sub { is(fetch($s->port, '/pass/x')->{status}, 200, 'pass: served') for 1 .. 3 });
    is("$change->{requests} $change->{passed}", '3 3', '... and counted as passed');
    is(limit($s, 'pass')->{used}, 3, '... in the quota, too');

    my %plain;
    for my $name (qw(dry drydir dryspeed)) {
        my @r = map { fetch($s->port, "/$name/x", keep => 1) } 1 .. 3;
        s/^Date: .*\r\n//m for map { $_->{head} } @r;
        is($r[2]{head} . $r[2]{body}, $r[0]{head} . $r[0]{body}, "$name: the answer is as if there was no limit");
    }
    my $before = now();
    fetch($s->port, '/dryspeed/100k.bin');
    cmp_ok(now() - $before, '<', 1, '... and at full speed');
    is(limit($s, 'dry')->{used}, 1, '... while the counter says what would have been');
    my @dry = grep { /dry of .*\(dry run: nothing is refused\)/ } split /\n/, $s->error_log;
    is(scalar(@dry), 1, '... and the error log, once');

    my %said;
    my $log;
    $s->wait_for(sub { $log = slurp($s->path('logs/xlimit')); 3 == (() = $log =~ /100k\.bin/g) });
    push @{ $said{ (split /\//)[1] } }, s/^\S+ //r for split /\n/, $log;
    my %expected = (
        speed    => ['200 PASSED - 0 0', '200 PACED speed 0 0'],
        close    => [('200 PASSED - 0 0', '403 REJECTED close 0 0') x 2, '403 REJECTED close 0 0'],
        pass     => ['200 PASSED - 0 0', ('200 PASSED pass 0 0') x 2],
        dry      => ['200 PASSED - 0 -', ('200 REJECTED_DRY_RUN dry 0 -') x 2],
        drydir   => ['200 PASSED - 0 -', ('200 REDIRECTED_DRY_RUN drydir 0 -') x 2],
        dryspeed => ['200 PASSED - 0 -', ('200 PACED_DRY_RUN dryspeed 0 -') x 3],
    );
    # a response is here before its line is written: two threads may write theirs in either order
    is_deeply([sort @{ $said{$_} }], [sort @{ $expected{$_} }], "$_: %^XS %^XL %^XD %^XR in the access log")
        for sort keys %expected;
};

done_testing;
