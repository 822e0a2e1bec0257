# SPDX-License-Identifier: Apache-2.0
#
# Paced HTTP/2: the streams of a connection share its session's rate and take
# part one by one in what others share; how many workers of mod_http2 long ones
# may hold, and who is served then; what is left when streams are reset and
# connections go.
#
# Timed.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use List::Util qw(max min sum);
use Test::More;
use XL::Client qw(fetch curl curl_series pace_between);
use XL::Http2 qw(run);
use XL::Server;
use XL::Status qw(status_conf limit vhost);

my $conf = status_conf() . <<'CONF';
AliasMatch ^/[^/]+/([0-9]+k|endless)$ @DOCROOT@/$1
ScriptAliasMatch ^/[^/]+/cgi$ @ROOT@/cgi/give
<Location /session/>
    XLimitBandwidth session 200kB/s
</Location>
<Location /all/>
    XLimitBandwidth all 400kB/s name=all
</Location>
<Location /client/>
    XLimitBandwidth client 400kB/s name=client
</Location>
<Location /long/>
    XLimitBandwidth session 50kB/s
    XLimitBandwidth all 50MB/s name=long
</Location>
CONF

sub served {
    my ($more, %option) = @_;
    my $s = XL::Server->new(ports => 2, h2 => 1, cgi => 1, factor => 20, conf => "$conf$more", %option);
    $s->file($_ . 'k', 1000 * $_) for 20, 100, 120, 200, 300;
    $s->file('endless', 100_000_000);
    $s->cgi('give', "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\nhead -c 5000 /dev/zero\n");
    return $s->start;
}

# Requests being served, and those that share the limit of that name.
sub active { my ($s, $name) = @_; return join ' and ', vhost($s)->{active}, limit($s, $name)->{active} }

sub near_ok {
    my ($got, $right, $title) = @_;
    return ok(defined $got && $got > 0.9 * $right && $got < 1.1 * $right,
        sprintf '%s: %.3f of %.3f', $title, $got // 0, $right);
}

subtest 'streams share' => sub {
    my $s = served('', tls => 1);
    my ($page, $alike, $unequal, $left, @others) = map { XL::Http2->new(port => $s->port) } 1 .. 8;
    my @page = map { $page->get('/session/20k') } 1 .. 60;
    my @alike = map { $alike->get('/session/100k') } 1 .. 4;
    my @unequal = map { $unequal->get("/session/$_") } '20k', '300k';
    my @left = map { $left->get('/session/endless') } 1 .. 4;
    my @all = (map({ $others[0]->get('/all/endless') } 1 .. 3), $others[1]->get('/all/endless'));
    my @client = (map({ $others[2]->get('/client/endless') } 1 .. 3), $others[3]->get('/client/endless'));
    my %http1 = map { $_ => curl_series('--http1.1', '--max-time', 3, $s->url("/$_/endless")) } qw(all client);
    my $begin = $alike[0]{started};
    run([$page, $alike, $unequal, $left, @others], until => 8, events => [
        [1, sub { $left->reset_stream($_) for @left[0 .. 2] }], [3.2, sub { $_->close for $left, @others }]]);
    push @all, $http1{all}->();
    push @client, $http1{client}->();

    is(scalar(grep { $_->{complete} && $_->{status} == 200 && $_->{bytes} == $_->{length} } @alike, @unequal), 6,
        'streams are served');
    near_ok(max(map { $_->{ended} - $begin } @alike), 2, 'four of one connection: seconds for all');
    cmp_ok(min(map { $_->{ended} - $begin } @alike), '>', 1.7, '... and alike');
    near_ok($unequal[1]{ended} - $begin, 1.6, 'a short one and a long one: seconds for both');
    cmp_ok($unequal[0]{ended} - $begin, '<', 0.4, '... of which the short one has its turn');
    near_ok(pace_between($left[3], $begin + 1.7, $begin + 3.1), 200e3, 'who is left when three are reset: B/s');
    is(scalar(grep { $_->{complete} && $_->{status} == 200 } @page), 60, 'a page of sixty pictures is served');
    near_ok(max(map { $_->{ended} - $begin } @page), 6, '... seconds for all');
    for my $case (['all', @all], ['client', @client]) {
        my ($name, @list) = @$case;
        my @rates = map { pace_between($_, $begin + 1, $begin + 2.8) // 0 } @list;
        near_ok(sum(@rates), 400e3, "$name: four streams of two connections, and HTTP/1.1: B/s");
        near_ok($_, 80e3, '... each') for min(@rates), max(@rates);
    }
    ok($s->wait_for(sub { active($s, 'all') eq '0 and 0' && active($s, 'client') eq '0 and 0' }, 2),
        'nobody is active') or diag(active($s, 'all'));

    my (undef, $said) = curl('--http2', '-w', '%{http_version} %{http_code} %{time_total}', '-o', '/dev/null',
        $s->tls_url('/session/200k'));
    my ($version, $status, $took) = split ' ', $said;
    is("$version $status", '2 200', 'over TLS');
    near_ok($took, 1, '... seconds');
};

# Half of six workers.
subtest 'long ones do not take all workers' => sub {
    my $s = served("H2MinWorkers 2\nH2MaxWorkers 6\nServerLimit 1\n");
    my ($first, $second, $more, $others, @alone) = map { XL::Http2->new(port => $s->port) } 1 .. 7;
    my (@long, @refused, @short, @free, @again, @last, %active, @lines, $http1);
    my $lines = sub { scalar(() = $s->error_log =~ /xlimit\(303\)/g) };
    my $served_before = vhost($s);

    run([$first, $second, $more, $others, @alone], until => 6.5, events => [
        [0.0, sub { @long = (map({ $first->get('/long/endless') } 1, 2), $second->get('/long/endless')) }],
        [0.4, sub { $active{during} = active($s, 'long') }],
        [0.5, sub { @refused = map { $more->get("/long/$_") } qw(endless 200k cgi) }],
        [0.6, sub { @free = map { $others->get("/free/$_") } qw(100k cgi 100k cgi) }],
        [0.7, sub { @short = map { $others->get('/session/20k') } 1 .. 5 }],
        [1.2, sub { push @refused, $more->get('/long/endless') }],
        [1.3, sub { $http1 = fetch($s->port, '/long/20k') }],
        [1.9, sub { @lines = ($lines->(), vhost($s)->{rejected} - $served_before->{rejected}) }],
        [2.0, sub { $first->reset_stream($_) for @long[0, 1]; $second->close }],
        [2.7, sub { $active{reset} = active($s, 'long') }],
        # 2.4 s each
        [2.8, sub { @again = map { $_->get('/long/120k') } @alone }],
        [5.5, sub { $active{ended} = active($s, 'long'); @last = map { $_->get('/long/120k') } @alone }],
        [6.0, sub { $_->close for @alone }],
    ]);

    is(join(' ', map { $_->{status} // 0 } @long), '200 200 200', 'three are served');
    is($active{during}, '3 and 3', '... and active');
    cmp_ok(min(map { $_->{bytes} } @long), '>', 20e3, '... and go on');
    is(join(' ', map { $_->{status} // 0 } @refused), '503 503 503 503', 'further long ones are refused');
    is(join(' ', map { $_->{retry_after} // 0 } @refused), '10 10 10 10', '... and told when to try again');
    cmp_ok(max(map { $_->{ended} - $_->{started} } @refused), '<', 0.3, '... at once');
    is($lines[0], 1, '... and the error log says so once');
    is($lines[1], 4, '... and the status page four times');
    is(join(' ', map { "$_->{status}:$_->{bytes}" } @free), '200:100000 200:5000 200:100000 200:5000',
        'who is not paced is served');
    my $took = max(map { $_->{ended} - $_->{started} } @free);
    cmp_ok($took, '<', 0.5, sprintf '... within %.3f s', $took);
    is(scalar(grep { $_->{complete} && $_->{bytes} == 20_000 } @short), 5, 'short ones are served');
    near_ok(max(map { $_->{ended} - $_->{started} } @short), 0.5, '... seconds');
    is($http1->{status}, 200, 'so is HTTP/1.1');
    near_ok($http1->{ended} - $http1->{started}, 0.4, '... seconds');

    is($active{reset}, '0 and 0', 'two streams are reset, a connection is closed: nobody is active');
    is(scalar(grep { $_->{complete} && $_->{bytes} == 120_000 } @again), 3, 'three others are served');
    near_ok($_->{ended} - $_->{started}, 2.4, '... seconds') for @again;
    is($active{ended}, '0 and 0', 'when these have ended nobody is active');
    is(join(' ', map { $_->{status} // 0 } @last), '200 200 200', 'three more are served');
    ok($s->wait_for(sub { active($s, 'long') eq '0 and 0' }, 2), '... and leave nothing behind');
    is($lines->(), 1, 'the error log has nothing to add');
};

done_testing;
