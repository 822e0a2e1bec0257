# SPDX-License-Identifier: Apache-2.0
#
# Requests that wait for their turn: when they are served, how many may wait,
# whom they disturb, who leaves meanwhile, and a server that is told to go. That
# their responses are what they would be at once is for 28-delayed-same.t.
#
# Timed.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use JSON::PP qw(decode_json);
use List::Util qw(max min);
use Socket qw(SHUT_WR);
use Test::More;
use XL::Client qw(now fetch fetch_many curl);
use XL::Server;
use XL::Status qw(status_conf limit vhost);
use XL::System qw(allow_files build_dir preload valgrind_errors);

my $serial = 0;

# A request of two units waits for one of them: the time in the name of the place.
# Each has a key of its own.
sub server {
    my (%option) = @_;
    my $conf = status_conf() . <<'CONF' . (delete $option{conf} // '');
LogFormat "%U %>s %^XS %^XD" verdict
CustomLog logs/verdicts verdict
CustomLog logs/deciders "%U %>s %^XL"
XLimitZone key key="%{HTTP:X-Key}"
<Location /2s>
    XLimitRequests key 1/2s burst=1 delay=0 cost=2 name=two
</Location>
<Location /500ms>
    XLimitRequests key 2/s burst=1 delay=0 cost=2 name=half
</Location>
<Location /3s>
    XLimitRequests key 1/3s burst=1 delay=0 cost=2 name=three
</Location>
CONF
    my $server = XL::Server->new(ports => 2, conf => $conf, %option);
    $server->content($_, "content of $_\n") for qw(2s/x 500ms/x 3s/x free/x);
    return $server;
}

sub key { return (headers => { 'X-Key' => 'k' . ++$serial }) }

sub waiting {
    my ($server, $path, $n, %more) = @_;
    return map { { port => $more{tls} ? $server->tls_port : $server->port, path => $path, key(), %more } } 1 .. $n;
}

# From the request on, without the connection's own beginnings.
sub took { my ($one) = @_; return $one->{responses}[0]{first} - $one->{responses}[0]{started} }

sub statuses { my (@list) = @_; return join ' ', sort map { $_->{responses}[0]{status} // 0 } @list }

sub on_time {
    my ($title, $list, $from, $to) = @_;
    my @took = map { took($_) } grep { $_->{complete} } @$list;
    is(scalar @took, scalar @$list, "$title: all have their response");
    my ($least, $most) = (min(@took), max(@took));
    ok($least >= $from - 0.001 && $most <= $to, sprintf "$title: after %.3f to %.3f s", $least, $most);
    return;
}

# Runs code after so many seconds, in another process, while this one is busy.
sub meanwhile {
    my ($seconds, $code) = @_;
    my $pid = fork // die "fork: $!";
    return $pid if $pid;
    select undef, undef, undef, $seconds;
    $code->();
    POSIX::_exit(0);
}

sub nobody_left {
    my ($server) = @_;
    return ok($server->wait_for(sub { vhost($server)->{active} == 0 }, 5), 'nobody is active any more');
}

subtest '500 wait for 2 s on 25 threads' => sub {
    plan skip_all => 'too few open files' if !allow_files(1100);
    my $server = server(factor => 20, conf => "XLimitWaiting 500\n")->start;
    my $active = 0;
    my $watch = sub { $active = max($active, vhost($server)->{active}) };
    my @all = waiting($server, '/2s/x', 500);
    $all[$_]{at} = 0.0014 * $_ for 0 .. $#all; # this process has other things to do than to begin and to end them all
    my ($list, $probes) = fetch_many(\@all, until => 10, events => [[1.2, $watch]],
        probe => { every => 0.05, port => $server->port, path => '/free/x' });
    on_time('500', $list, 2, 2.2);
    is(scalar(grep { $_->{responses}[0]{status} == 200 } @$list), 500, '... and it is 200');
    # not while this process begins 500, or asks for the status
    my @took = sort { $a <=> $b } map { $_->{took} }
        grep { my $at = $_->{started} - $list->[0]{started}; $at > 0.8 && $at < 1.1 || $at > 1.5 && $at < 1.9 } @$probes;
    cmp_ok(scalar @took, '>', 10, scalar(@took) . ' fresh ones meanwhile');
    ok($took[@took * 0.9] < 0.1, sprintf '... are quick: p50 %.1f ms, p90 %.1f ms', map { 1000 * $took[@took * $_] } .5, .9);
    cmp_ok($active, '>=', 500, 'who waits is active');
    nobody_left($server);
    is(limit($server, 'two')->{delayed}, 500, 'all counted as delayed');
    my @logged = $server->log_text('verdicts') =~ m{^/2s/x 200 DELAYED (\d+)$}mg;
    is(scalar @logged, 500, 'the access log says so');
    ok(min(@logged) >= 2e6 && max(@logged) < 2.2e6, sprintf '... and how long: %.3f to %.3f s', min(@logged) / 1e6,
        max(@logged) / 1e6);
    unlike($server->error_log, qr/xlimit\((?:301|325|411|412)\)/, 'nothing to complain about');
};

subtest 'too many' => sub {
    # httpd's own factor: 25 wait, 75 connections are what a child takes
    my $server = server(cgi => 1)->start;
    my ($list, $probes) = fetch_many([waiting($server, '/2s/x', 60)], until => 10,
        probe => { every => 0.1, port => $server->port, path => '/free/x' });
    is(statuses(@$list), join(' ', (200) x 25, (429) x 35), 'as many as threads wait, the rest is refused');
    on_time('who waits', [grep { $_->{responses}[0]{status} == 200 } @$list], 2, 2.2);
    my $refused = max(map { took($_) } grep { $_->{responses}[0]{status} == 429 } @$list);
    ok($refused < 1, sprintf 'who is refused knows at once (%.3f s)', $refused);
    ok(max(map { $_->{took} } @$probes) < 1, sprintf 'the server goes on accepting (%.3f s)', max(map { $_->{took} } @$probes));
    is(scalar(() = $server->error_log =~ /xlimit\(412\): 25 requests/g), 1, 'one line says that places are taken');
    my $limit = limit($server, 'two');
    is("$limit->{delayed} $limit->{refused}", '25 35', 'and so it is counted');

    $server->conf($server->{conf} . "XLimitWaiting 3\n");
    ok($server->restart, 'another bound');
    $list = fetch_many([waiting($server, '/500ms/x', 8)]);
    is(statuses(@$list), '200 200 200 429 429 429 429 429', '... is kept');
    $list = fetch_many([waiting($server, '/500ms/x', 3)]);
    is(statuses(@$list), '200 200 200', 'places are free again');

    $server->conf($server->{conf} . <<'CONF');
<Location /both>
    XLimitRequests key 2/s burst=1 delay=0 cost=2 name=longer
    XLimitRequests key 5/s burst=1 delay=0 cost=2 name=shorter
</Location>
CONF
    $server->content('both/x', 'both');
    ok($server->restart, 'two limits, either of which would make it wait');
    fetch_many([waiting($server, '/both/x', 5)]);
    my @by = $server->log_text('deciders') =~ m{^/both/x 429 (\S+)$}mg;
    is("@by", 'longer longer', 'whom there is no place for, that with the longer wait refuses');
};

subtest 'what a client does meanwhile' => sub {
    my $server = server(tls => 1, cgi => 1, modules => ['reqtimeout'], conf => <<'CONF')->start;
Timeout 1
RequestReadTimeout handshake=1 header=1 body=1
XLimitWaiting 40
<Location /cgi>
    XLimitRequests key 1/2s burst=1 delay=0 cost=2 name=cgi
</Location>
CONF
    $server->cgi('mark', "#!/bin/sh\necho \"\$QUERY_STRING\" >>../marks\nprintf 'Content-Type: text/plain\\r\\n\\r\\nyes\\n'\n");
    chmod 0777, $server->root;
    my @gone = map { my $tls = $_; my @port = (port => $tls ? $server->tls_port : $server->port, tls => $tls);
        map { { @port, path => '/cgi/mark?reset', key(), leave => 0.5, reset => 1 } } 1 .. 5 } 0, 1;
    my @stays = map { my $tls = $_; my @port = (port => $tls ? $server->tls_port : $server->port, tls => $tls);
        map { { @port, path => '/3s/x', key() } } 1 .. 5 } 0, 1;
    fetch_many([@gone, @stays], until => 10);
    on_time('three times Timeout', \@stays, 3, 3.3);
    nobody_left($server);
    my @status = $server->log_text('verdicts') =~ m{^/cgi/mark (\d+) DELAYED}mg;
    is("@status", join(' ', (499) x 10), 'who has reset his connection is logged as 499');
    ok(!-e $server->path('marks'), '... and nothing is run for him');
    my ($least) = sort { $a <=> $b } $server->log_text('verdicts') =~ m{^/cgi/mark 499 DELAYED (\d+)$}mg;
    cmp_ok($least, '<', 1.5e6, '... and his place is free before his turn');

    my $half = XL::Client->new(port => $server->port)->connect;
    $half->send_all("GET /500ms/x HTTP/1.1\r\nHost: localhost\r\nX-Key: half\r\n\r\n");
    shutdown $half->socket, SHUT_WR;
    my $begin = now();
    my $response = $half->receive(XL::Response->new('GET', 1, $begin));
    is($response->{body}, "content of 500ms/x\n", 'who has closed his half gets his response');
    ok(now() - $begin > 0.49, '... when it is his turn');

    my $slow = XL::Client->new(port => $server->port)->connect;
    $slow->send_all("POST /cgi/mark?post HTTP/1.1\r\nHost: localhost\r\nX-Key: slow\r\nContent-Length: 5\r\n\r\n");
    my $pid = meanwhile(2.4, sub { $slow->send_all('12345') });
    is($slow->receive(XL::Response->new('POST', 1, now()))->{status}, 200,
        'the time for a body begins when the request is served');
    waitpid $pid, 0;
};

for my $how (qw(graceful graceful_stop)) {
    subtest "$how while 40 wait" => sub {
        my $server = server(tls => 1, children => 2, threads => 10, factor => 20, conf => "XLimitWaiting 40\n")->start;
        my @old = $server->children;
        my $pid = meanwhile(0.7, sub { kill { graceful => 'USR1', graceful_stop => 'WINCH' }->{$how}, $server->pid });
        my $list = fetch_many([waiting($server, '/2s/x', 20), waiting($server, '/2s/x', 20, tls => 1)], until => 10);
        waitpid $pid, 0;
        on_time($how, $list, 2, 2.4);
        is(statuses(@$list), join(' ', (200) x 40), 'all are served');
        if ($how eq 'graceful') {
            ok($server->wait_for(sub { my %now = map { $_ => 1 } $server->children; !grep { $now{$_} } @old }, 10),
                'the old children are gone');
            nobody_left($server);
        }
        else {
            ok($server->wait_exit(10), 'the server has ended');
            is($server->exit_status, 0, '... with 0');
        }
    };
}

subtest 'SIGTERM while 20 wait' => sub {
    my $server = server(tls => 1)->start;
    my $pid = meanwhile(0.7, sub { kill TERM => $server->pid });
    my $list = fetch_many([waiting($server, '/3s/x', 10), waiting($server, '/3s/x', 10, tls => 1)], until => 10);
    waitpid $pid, 0;
    is(scalar(grep { $_->{error} ne '' } @$list), 20, 'all are cut off');
    ok($server->wait_exit(5), 'the server has ended');
    is($server->exit_status, 0, '... with 0');
    $server->start;
    is(vhost($server)->{active}, 0, 'and nobody is active in the next one');
};

subtest 'with threads' => sub {
    for my $mpm (qw(worker prefork blocking)) {
        my $server = server($mpm eq 'blocking' ? (conf => "XLimitEngine blocking\n") : (mpm => $mpm), threads => 8)->start;
        my ($list) = fetch_many([waiting($server, '/500ms/x', 5)]);
        my @served = grep { $_->{responses}[0]{status} == 200 } @$list;
        on_time($mpm, \@served, 0.5, 1);
        if ($mpm eq 'prefork') {
            is(scalar @served, 5, 'prefork: one in each child');
        }
        else {
            is(statuses(@$list), '200 200 429 429 429', "$mpm: a quarter of the threads may sleep");
            like($server->error_log, qr/xlimit\(411\): 2 requests/, '... and a line says so');
        }
        nobody_left($server);
    }
};

subtest 'HTTP/2' => sub {
    my $server = server(h2 => 1, tls => 1, threads => 8)->start;
    my @format = ('-o', '/dev/null', '-w', '%{http_version} %{http_code} %{time_total}\n');
    my ($exit, $out) = curl('--http2-prior-knowledge', @format, '-H', 'X-Key: h2', $server->url('/500ms/x'));
    like($out, qr/^2 200 0?\.[567]/, 'a stream waits in its worker');
    ($exit, $out) = curl('--http2', @format, '-H', 'X-Key: tls', $server->tls_url('/500ms/x'));
    like($out, qr/^2 200 0?\.[567]/, '... over TLS, too');
    ($exit, $out) = curl('--http2', @format, '-H', 'X-Key: up', $server->url('/500ms/x'));
    like($out, qr/^2 200 0?\.[567]/, 'who asks for an upgrade waits once');
    my @delayed = $server->log_text('verdicts') =~ m{^/500ms/x 200 DELAYED (\d+)$}mg;
    is(scalar(grep { $_ > 0.49e6 && $_ < 0.8e6 } @delayed), 3, '... and the log says how long') or diag("@delayed");
    is(limit($server, 'half')->{delayed}, 2, 'two waited in the clear');
    my $rows = decode_json(fetch($server->port(1), '/xlimit-status?format=json&view=clients', keep => 1)->{body})->{clients};
    is(join(' ', map { $_->{requests} } grep { $_->{key} eq 'up' } @$rows), '1', 'of the key, too, an upgrade is one request');
    nobody_left($server);
};

subtest 'what the start says' => sub {
    my %said = (
        'AsyncRequestWorkerFactor 2, 25 may wait'                        => [{}, ''],
        'factor 20, 500 may wait'                                        => [{ factor => 20, conf => 'XLimitWaiting 500' }, ''],
        'factor 2, 100 may wait'                                         => [{ factor => 2, conf => 'XLimitWaiting 100' }, 325],
        'factor 2, 100 may wait, and nobody does'                        => [{ factor => 2, conf => 'XLimitWaiting 100', only => 1 }, ''],
        'factor 2, 100 may wait with threads'                            => [{ factor => 2, conf => "XLimitWaiting 100\nXLimitEngine blocking" }, ''],
    );
    for my $title (sort keys %said) {
        my ($option, $id) = @{ $said{$title} };
        my $server = delete $option->{only} ? XL::Server->new(%$option) : server(%$option);
        $server->start;
        my @ids = $server->error_log =~ /xlimit\((32\d)\)/g;
        is("@ids", $id, $title);
        like($server->error_log, qr/XLimitWaiting allows 100.*AsyncRequestWorkerFactor \(now 2\) to 4 or more/, '... in words') if $id;
        $server->stop;
    }
};

SKIP: {
    skip 'valgrind does not go with a sanitizer', 1 if preload(build_dir() . '/mod_xlimit.so') ne '';
    subtest 'under valgrind' => sub {
        my $log = File::Temp->newdir;
        chmod 0777, $log;
        my $server = server(threads => 12, wrapper => ['valgrind', '-q', '--trace-children=no', "--log-file=$log/%p",
            '--num-callers=30'])->start;
        my ($list) = fetch_many([waiting($server, '/3s/x', 6, leave => 1, reset => 1),
            waiting($server, '/2s/x', 3), waiting($server, '/500ms/x', 6)], until => 60);
        is(scalar(grep { $_->{complete} } @$list), 9, 'who stays is served');
        nobody_left($server);
        ok($server->stop, 'the server ends');
        my @of_ours = valgrind_errors($log);
        is(scalar @of_ours, 0, 'no error has to do with the module') or diag(@of_ours[0 .. min(2, $#of_ours)]);
        cmp_ok(scalar(() = glob "$log/*"), '>=', 2, '... of parent and child');
    };
}

done_testing;
