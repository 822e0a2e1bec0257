# SPDX-License-Identifier: Apache-2.0
#
# conf/recipes: every file is good by itself with the modules that it names, does
# what docs/recipes.md says, and stands there as it is. Those that say with httpd's
# own modules what BFE's do are driven by 46-recipes-bfe.t.
# Timed.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use Digest::SHA qw(sha1_base64);
use Test::More;
use XL::Client qw(now fetch fetch_many);
use XL::Recipes qw(recipes drive driven served passes_alone logged statuses together counted as);
use XL::Server;
use XL::Status qw(limit);
use XL::System qw(project slurp spew);

my @site = (host => 'www.example.org');

sub verdicts {
    my ($s, $path, $n) = @_;
    return join ' ', map { (split / /, $_, 3)[2] } logged($s, 'verdicts', $n, qr{^\Q$path\E });
}

subtest 'the page and the files' => sub {
    chdir project() or die "chdir: $!";
    my $said = qx(tools/check_recipes 2>&1);
    is($?, 0, 'tools/check_recipes') or diag $said;
    $said = qx(tools/check_recipes --prove 2>&1);
    is($?, 0, 'tools/check_recipes --prove') or diag $said;
    cmp_ok(scalar(() = $said =~ /^right:/mg), '>=', 9, '... by its planted violations');
};

subtest 'alone' => sub {
    my $s = XL::Server->new;
    spew($s->path("conf/$_"), '') for qw(api-keys.txt users);
    for my $name (recipes()) {
        my ($exit, $output) = passes_alone($s, $name);
        is("$exit $output", "0 Syntax OK\n", $name);
    }
};

drive 'site-quota' => sub {
    my $s = served('site-quota', swap => ['100GB' => '100kB'],
        files => { f => 85_000, 'over-quota/index.html' => 'over', 'over-quota/style.css' => 'x' });
    is(statuses($s, '/f', 3), '200 200 302', 'the download that finds it used up is sent away');
    my $sent = fetch($s->port, '/f', @site);
    is($sent->{headers}{location}, 'http://www.example.org/over-quota/index.html', '... to the page');
    is(statuses($s, "/over-quota/$_", 1), '200', "... which is there: $_") for qw(index.html style.css);
    is(statuses($s, '/.well-known/acme-challenge/x', 1), '404', 'a certificate can be renewed');
    is(scalar(() = $s->error_log =~ /xlimit\(\d+\): site of .* has reached (?:80|95) %$/mg), 2,
        'the error log has two warnings')
        or diag $s->error_log;
};

drive 'large-files' => sub {
    my $s = served('large-files', swap => ['all 50' => 'all 2', '40Mbit/s' => '8Mbit/s'],
        files => { 'large' => 10_000_001, 'not' => 10_000_000, 'a.zip' => 1_000_000, 'iso/x' => 5000,
            'iso/l' => 10_000_001 });
    my $got = together($s, '/large', [('203.0.113.1') x 5], leave => 1);
    is(counted($got), '200:3 429:2', 'one client has three large files at once');
    my ($sum) = map { my $n = 0; $n += $_->{bytes} for @$_; $n } $got;
    ok($sum > 1_000_000 && $sum < 2_600_000, "... at 2 MB/s together: $sum in a second");
    is(counted(together($s, '/not', [('203.0.113.2') x 5])), '200:5', 'what is not large is not limited');
    is(verdicts($s, '/not', 5), join(' ', ('PASSED -') x 5), '... nor paced');
    my $zip = together($s, '/a.zip', ['203.0.113.3']);
    is(verdicts($s, '/a.zip', 1), 'PACED archives', 'an archive is paced by its name');
    my $took = $zip->[0]{ended} - $zip->[0]{started};
    ok($took > 0.8 && $took < 1.5, sprintf '... at its rate: %.2f s', $took);
    $got = together($s, '/iso/l', [map { "203.0.113.1$_" } 1 .. 4], leave => 0.5);
    is(counted($got), '200:2 503:2', 'two at once by path, whoever asks');
};

drive 'fair-use' => sub {
    my $s = served('fair-use', files => { x => 'x', f => 60_000, big => 500_000 },
        swap => ['10/s burst=200' => '1/min burst=9',
        'client 100' => 'client 3', '2MB/s burst=4MB' => '200kB/s burst=50kB', '20GB' => '400kB']);
    is(statuses($s, '/x', 12, as('203.0.113.1')), join(' ', (200) x 10, 429, 429), 'requests');
    is(statuses($s, '/x', 1, as('203.0.113.2')), '200', '... another client has his own');
    is(statuses($s, '/x', 12, as('192.0.2.7')), join(' ', (200) x 12), '... and the office what it wants');
    my $got = together($s, '/f', [('203.0.113.3') x 5]);
    is(counted($got), '200:3 429:2', 'three at once');
    my ($last) = sort { $b <=> $a } map { $_->{ended} - $_->{started} } grep { $_->{bytes} > 60_000 } @$got;
    ok($last > 0.5 && $last < 1.2, sprintf '... which share the rate after the burst: 180 kB in %.2f s', $last);
    is(statuses($s, '/big', 1, as('203.0.113.4')) . ' ' . statuses($s, '/x', 1, as('203.0.113.4')), '200 429',
        'the quota is used up by what finds some left');
};

drive 'api-keys' => sub {
    my $s = served('api-keys', files => { 'v1/x' => 'x' }, swap => ['10/s burst=20' => '1/min burst=4',
        '10000r' => '7r',
        '20/1min' => '3/1min', 'for=10min' => 'for=1h'],
        before => sub { spew($_[0]->path('conf/api-keys.txt'), "k1 acme\nk2 globex\nk3 acme\n") });
    my $with = sub { my ($key, $from) = @_; return (headers => { 'X-Client' => $from // '192.0.2.1',
        'X-Api-Key' => $key }) };
    is(statuses($s, '/v1/x', 4, $with->('k1')), '200 200 200 200', 'a known key');
    my $r = fetch($s->port, '/v1/x', @site, $with->('k2'));
    is("$r->{headers}{'ratelimit-policy'} | $r->{headers}{ratelimit}", '"rate";q=5;w=300 | "rate";r=4;t=60',
        'another customer, who is told what is left') or diag explain $r->{headers};
    is(statuses($s, '/v1/x', 2, $with->('k3')), '200 429', 'a second key of the first one shares his counters');
    is(statuses($s, '/v1/x', 5, $with->('invented')), '401 401 401 401 429', 'a guesser of keys is locked out');
    is(statuses($s, '/v1/x', 1, as('192.0.2.9')), '401', 'no key is no key');
    is(statuses($s, '/v1/x', 1, $with->('k2', '192.0.2.2')), '200', 'a customer from elsewhere does not notice');
    my $daily = served('api-keys', files => { 'v1/x' => 'x' }, swap => ['10000r' => '3r'],
        before => sub { spew($_[0]->path('conf/api-keys.txt'), "k1 acme\n") });
    is(statuses($daily, '/v1/x', 4, $with->('k1')), '200 200 200 429', 'so many a day');
    $r = fetch($daily->port, '/v1/x', @site, $with->('k1'));
    like("$r->{headers}{'ratelimit-policy'} | $r->{headers}{ratelimit}", qr/^"daily";q=3;w=86400 \| "daily";r=0;t=\d+$/,
        '... and what is left is of the day');
};

drive 'login' => sub {
    my $s = served('login', files => { 'private/x' => 'x', login => 'form' },
        swap => ['10/5min' => '5/5min', 'for=15min' => 'for=1h', '60/min burst=60' => '1/min burst=9'],
        before => sub { spew($_[0]->path('conf/users'), 'me:{SHA}' . sha1_base64('right') . "=\n") });
    my $try = sub { my ($client, $password) = @_; return (headers => { 'X-Client' => $client,
        Authorization => 'Basic ' . ($password eq 'right' ? 'bWU6cmlnaHQ=' : 'bWU6d3Jvbmc=') }) };
    is(statuses($s, '/private/x', 8, $try->('192.0.2.1', 'wrong')), '401 401 401 401 401 401 429 429', 'a guesser');
    is(statuses($s, '/private/x', 1, $try->('192.0.2.1', 'right')), '429', '... is out, whatever he knows by then');
    is(statuses($s, '/private/x', 9, $try->('192.0.2.2', 'right')), join(' ', (200) x 9),
        'who knows it is not counted');
    is(statuses($s, '/login', 9, as('192.0.2.3')), join(' ', (200) x 9), 'the form may be looked at');
    my @post = (method => 'POST', body => 'a=b');
    is(statuses($s, '/login', 7, @post, as('192.0.2.3')), '200 200 200 200 200 429 429',
        '... and filled in five times');
    is(statuses($s, '/login', 5, @post, as('192.0.2.4')), '200 200 200 200 200', 'another address');
    is(statuses($s, '/login', 1, @post, as('192.0.2.5')), '503', 'too many from everywhere');
};

drive 'crawlers' => sub {
    my $s = served('crawlers', files => { x => 'x', 'robots.txt' => 'x', f => 30_000 },
        swap => ['1/s burst=10' => '4/s burst=3', '500kB/s' => '30kB/s']);
    my $agent = sub { return (headers => { 'User-Agent' => "Mozilla/5.0 (compatible; $_[0]/2.1)" }) };
    my $begin = now();
    my $got = together($s, '/x', [map { "192.0.2.$_" } 1 .. 6], $agent->('Googlebot'));
    is(counted($got), '200:4 429:2', 'a crawler on many addresses is one');
    my ($last) = sort { $b <=> $a } map { $_->{ended} } grep { $_->{responses}[0]{status} == 200 } @$got;
    ok($last - $begin > 0.7 && $last - $begin < 1.3, sprintf '... and waits for its turn: %.2f s', $last - $begin);
    is(join(' ', sort map { (split / /)[0] } split /(?<=[a-z]) (?=[A-Z])/, verdicts($s, '/x', 6)),
        'DELAYED DELAYED DELAYED PACED REJECTED REJECTED', '... as the log says') or diag $s->log_text('verdicts');
    is(counted(together($s, '/x', [1 .. 5], $agent->('gOOGLEBOT'))) =~ /429/, 1, 'another spelling does not help');
    is(counted(together($s, '/x', ['192.0.2.1'], $agent->('bingbot'))), '200:1', 'another crawler has its own turn');
    is(counted(together($s, '/x', [1 .. 9], $agent->('Firefox'))), '200:9', 'visitors are not limited');
    is(counted(together($s, '/robots.txt', [1 .. 9], $agent->('Googlebot'))), '200:9', '... nor is robots.txt');
    is(statuses($s, '/x', 1, $agent->('emailcollector')), '403', 'who is not wanted');
    my $download = together($s, '/f', ['192.0.2.1'], $agent->('AppleBot'))->[0];
    my $took = $download->{ended} - $download->{started};
    ok($took > 0.8 && $took < 1.6, sprintf 'a crawler has its rate: %.2f s', $took);
};

drive 'wordpress' => sub {
    my $s = served('wordpress',
        files => { map { $_ => 'x' } qw(wp-login.php xmlrpc.php index.html wp-admin/admin-ajax.php) },
        swap => ['6/min burst=5' => '1/min burst=2', '20/10min for=1h' => '2/10min for=1h',
            '10/min burst=5' => '1/min burst=2',
            '2/s burst=20' => '1/min burst=2', '10/s burst=100' => '1/min burst=4']);
    my $post = sub { return (method => 'POST', body => 'log=a&pwd=b', as($_[0])) };
    is(statuses($s, '/wp-login.php', 5, as('192.0.2.1')), '200 200 200 200 200', 'the form');
    is(statuses($s, '/wp-login.php', 7, $post->('192.0.2.1')), '200 200 200 429 429 429 0',
        'passwords, then not even an answer')
        or diag $s->log_text('verdicts');
    is(statuses($s, '/wp-login.php', 1, as('192.0.2.1')), '0', '... nor the form');
    is(statuses($s, '/index.html', 1, as('192.0.2.1')), '200', '... but the site');
    is(statuses($s, '/xmlrpc.php', 1, $post->('192.0.2.2')), '403', 'xmlrpc.php');
    is(statuses($s, '/?s=word', 5, as('192.0.2.3')), '200 200 200 429 429', 'searches');
    is(statuses($s, '/?p=1', 5, as('192.0.2.3')), '200 200 200 200 200', 'pages');
    is(statuses($s, '/wp-admin/admin-ajax.php', 4, as('192.0.2.4')), '200 200 200 429', 'admin-ajax of a visitor');
    my %cookie = (Cookie => 'a=1; wordpress_logged_in_0123=me');
    is(statuses($s, '/wp-admin/admin-ajax.php', 6, headers => { 'X-Client' => '192.0.2.5', %cookie }),
        '200 200 200 200 200 429', '... and of who is logged in');
};

drive 'behind-proxy' => sub {
    my $s = served('behind-proxy', remoteip => 0, files => { x => 'x', f => 100_000 },
        swap => ['198.51.100.0/24' => '127.0.0.1',
        '10/s burst=100' => '1/min burst=2', 'client 50' => 'client 2', '2MB/s burst=4MB' => '100kB/s burst=10kB']);
    my $for = sub { return (headers => { 'X-Forwarded-For' => $_[0] }) };
    is(statuses($s, '/x', 4, $for->('203.0.113.1')), '200 200 200 429', 'a visitor behind the proxy');
    is(statuses($s, '/x', 1, $for->('203.0.113.2')), '200', '... and another');
    is(statuses($s, '/x', 1, $for->('203.0.113.3, 203.0.113.1')), '429',
        'what the visitor himself wrote is not believed');
    is(statuses($s, '/x', 1, $for->('203.0.113.9'), from => '127.0.0.5'), '403', 'nobody comes past the proxy');
    my $begin = now();
    my $got = fetch_many([map { { port => $s->port, path => '/f', host => 'www.example.org',
        $for->("203.0.113.$_") } } 5, 6]);
    my ($last) = sort { $b <=> $a } map { $_->{ended} - $begin } @$got;
    is(counted($got), '200:2', 'two visitors download');
    ok($last > 0.7 && $last < 1.4, sprintf '... each at his own rate: %.2f s', $last);
};

drive 'abusers' => sub {
    my $s = served('abusers', files => { x => 'x', 'back-soon/index.html' => 'soon', 'back-soon/logo.png' => 'x' },
        swap => ['300/10s for=10min' => '5/10s for=1h', '30/1min for=10min' => '2/1min for=1h']);
    is(statuses($s, '/x', 7, as('192.0.2.1')), '200 200 200 200 200 302 302', 'who floods the site');
    is(fetch($s->port, '/x', @site, as('192.0.2.1'))->{headers}{location},
        'http://www.example.org/back-soon/index.html',
        '... is told to come back');
    is(statuses($s, "/back-soon/$_", 1, as('192.0.2.1')), '200',
        "... by a page that is there: $_") for qw(index.html logo.png);
    is(statuses($s, '/none', 4, as('192.0.2.2')), '404 404 404 302', 'who looks for what is not there');
    is(statuses($s, '/x', 1, as('192.0.2.2')), '302', '... neither sees what is');
    is(statuses($s, '/x', 1, as('192.0.2.3')), '200', 'others see the site');
};

drive 'downloads' => sub {
    my $s = served('downloads', files => { f => 150_000, g => 60_000 }, swap => ['10MB/s' => '1MB/s', '50GB' => '100kB',
        '500kB/s 4' => '50kB/s 2', '20TB' => '400kB', '100Mbit/s' => '1600kbit/s']);
    my $took = sub { my ($path, @clients) = @_; my $all = together($s, $path, \@clients);
        return (counted($all), map { $_->{ended} - $_->{started} } @$all) };
    my ($counted, $first) = $took->('/f', '192.0.2.1');
    ok($counted eq '200:1' && $first > 0.5 && $first < 1.7,
        sprintf 'a download that goes over the quota slows down: %.2f s', $first);
    (undef, my $second) = $took->('/g', '192.0.2.1');
    ok($second > 1 && $second < 1.6, sprintf '... and the next one is slow: %.2f s', $second);
    (undef, my $other) = $took->('/g', '192.0.2.2');
    ok($other < 0.5, sprintf 'another client is not: %.2f s', $other);
    like(counted(together($s, '/g', [('192.0.2.1') x 4], leave => 0.1)), qr/^200:2 429:2$/,
        'so many at once of who is over');
    $took->('/g', "192.0.2.1$_") for 1 .. 3;
    my ($site, @both) = $took->('/f', '192.0.2.21', '192.0.2.22');
    my ($longest) = sort { $b <=> $a } @both;
    is($site, '200:2', 'over the quota of the site nobody is turned away');
    ok($longest > 1.2, sprintf '... and all share its speed: %.2f s', $longest);
};

drive 'customer' => sub {
    my $s = served('customer', files => { f => 50_000, e => 17_000 },
        swap => ['1TB' => '200kB', '1MB/s' => '20kB/s', '200Mbit/s' => '1600kbit/s', '100Mbit/s' => '800kbit/s']);
    my $from = sub { my ($host, $n) = @_; return map { { port => $s->port, path => '/f',
        host => "$host.acme.example" } } 1 .. $n };
    my $took = sub {
        my ($all) = fetch_many([@_]);
        return (sort { $b <=> $a } map { $_->{ended} - $_->{started} } @$all)[0];
    };
    my $www = $took->($from->('www', 1));
    ok($www > 0.15 && $www < 0.45, sprintf 'a site has the whole rate: %.2f s', $www);
    my $files = $took->($from->('files', 1));
    ok($files > 0.35 && $files < 0.8, sprintf '... the other one half of it: %.2f s', $files);
    my $both = $took->($from->('www', 1), $from->('files', 1));
    ok($both > 0.4 && $both < 0.8, sprintf '... and both share it: %.2f s', $both);
    cmp_ok(limit($s, 'traffic')->{used}, '>', 200_000, 'one quota counted what both sent');
    my $got = fetch_many([map { { %$_, leave => 1 } } $from->('files', 1)])->[0];
    ok($got->{bytes} < 30_000 && $got->{bytes} > 10_000, "over it both are slow: $got->{bytes} in a second");
    like($s->error_log, qr/xlimit\(\d+\): traffic of .*XLimitAccount acme .*has reached 95 %/, 'the error log says so');
};

drive 'dry-run' => sub {
    my $s = served('dry-run', files => { x => 'x' }, swap => ['10/s burst=50' => '1/min burst=2']);
    is(statuses($s, '/x', 6, as('192.0.2.1')), '200 200 200 200 200 200', 'nobody is refused');
    is(statuses($s, '/x', 1, as('192.0.2.2')), '200', '... nor anybody else');
    my @lines = logged($s, 'would.log', 3);
    is(scalar @lines, 3, 'the log has those who would have been, and no others');
    like($lines[0], qr/^192\.0\.2\.1 .*"GET \/x HTTP\/1.1" 200 REJECTED_DRY_RUN requests$/, '... and by which limit');
    is(limit($s, 'requests')->{would_refuse}, 3, 'so does the status page');
};

drive 'slow-backend' => sub {
    my $slow = qq(#!/bin/sh\nsleep 0.7\necho "Content-Type: text/plain"\necho\necho done\n);
    my $backend = XL::Server->new(xlimit => 0, cgi => 1, conf => qq(ScriptAlias /app/ "\@ROOT\@/cgi/"\n));
    $backend->cgi('slow', $slow);
    $backend->start;
    my $s = served('slow-backend', cgi => 1, conf => qq(ScriptAlias /cgi-bin/ "\@ROOT\@/cgi/"\n),
        files => { 'busy.html' => 'busy' },
        swap => ['127.0.0.1:8080' => '127.0.0.1:' . $backend->port, 'all 20' => 'all 6',
            '2/s burst=10 delay=5' => '5/s burst=3 delay=1'],
        before => sub { $_[0]->cgi('report', $slow) });
    my $got = together($s, '/app/slow', [map { "192.0.2.$_" } 1 .. 9], keep => 1);
    is(counted($got), '200:6 503:3', 'so many at once');
    my ($refused) = map { $_->{responses}[0] } grep { $_->{responses}[0]{status} == 503 } @$got;
    like($refused->{headers}{'retry-after'}, qr/^\d+$/, '... and when to come back');
    is($refused->{body}, 'busy', '... with a page');
    $got = together($s, '/app/slow', [('192.0.2.20') x 6]);
    is(counted($got), '200:4 429:2', 'one client: two at once, two who wait, and no more');
    my @took = sort { $a <=> $b } map { $_->{ended} - $_->{started} } grep { $_->{responses}[0]{status} == 200 } @$got;
    ok($took[1] < 1 && $took[2] > 0.8 && $took[3] > 1, "... as long as they must: @took");
    is(counted(together($s, '/cgi-bin/report', [map { "192.0.2.$_" } 1 .. 3])), '200:2 503:1', 'a program');
    ok($s->wait_for(sub { !limit($s, 'report')->{active} }, 3), '... until it has ended');
    is(counted(together($s, '/cgi-bin/report', [('192.0.2.1') x 2])), '200:1 429:1', '... once for each client');
};

is_deeply([driven()], [grep { !/^bfe-/ } recipes()], 'every recipe is driven');

done_testing;
