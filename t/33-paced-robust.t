# SPDX-License-Identifier: Apache-2.0
#
# What happens to paced downloads when somebody misbehaves or the server is
# told to go: readers that stop, leave, or never read again, restarts in the
# middle. Nothing is lost, nothing is left behind. At the end one pass under
# valgrind.
#
# Timed.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use List::Util qw(max min sum0);
use Test::More;
use XL::Client qw(now fetch fetch_many rate_between);
use XL::Paced;
use XL::Server;
use XL::Status qw(status_conf status);
use XL::System qw(build_dir preload slurp valgrind_errors);

my $text = text(300_000);

sub server {
    my (%option) = @_;
    my $conf = sources() . <<'CONF' . (delete $option{conf} // '');
<Location /paced/>
    XLimitBandwidth session 50kB/s
</Location>
<Location /short/>
    XLimitBandwidth session 500kB/s
</Location>
<Location /shared/>
    XLimitBandwidth all 500kB/s
</Location>
<Location /status>
    SetHandler xlimit-status
</Location>
CONF
    my $server = XL::Server->new(children => 2, factor => 20, tls => 1, cgi => 1, conf => $conf, %option);
    $server->content('300k', $text);
    $server->content('150k', substr $text, 0, 150_000);
    $server->content('5k', substr $text, 0, 5_000);
    $server->file('10m', 10_000_000, 1);
    $server->cgi('give', "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\nexec cat ../htdocs/\"\$1\"\n");
    return $server->start;
}

sub download {
    my ($server, $path, %more) = @_;
    return { port => $more{tls} ? $server->tls_port : $server->port, path => $path, keep => 1, %more };
}

sub descriptors {
    my ($server) = @_;
    my $n = 0;
    for my $pid ($server->children) {
        opendir my $dir, "/proc/$pid/fd" or next;
        $n += grep { !/^\./ } readdir $dir;
    }
    return $n;
}

# The requests being served, less the one that asks.
sub active { (status_value($_[0]->port, 'Active') // 9e9) - 1 }

subtest 'a reader that stops' => sub {
    my $server = server();
    my @list = map { my $tls = $_;
        download($server, '/paced/mmap/300k',     tls => $tls, pause => [[1, 11]]),
        download($server, '/paced/sendfile/300k', tls => $tls, pause => [[1, 11]], rcvbuf => 4096),
        download($server, '/paced/cgi/give?300k', tls => $tls, pause => [[1, 11]]) } 0, 1;
    # with all that the kernel takes in its buffers, and what it does not
    my @big = map {
        download($server, '/short/mmap/10m', tls => $_, pause => [[1, 11]], rcvbuf => 8192, keep => 0)
    } 0, 1;
    fetch_many([@list, @big], until => 17.5);
    whole_ok('stopped for 10 s at 50 kB/s', \@list, $text);
    for my $one (@list) {
        my $ahead = furthest_ahead($one, 50e3);
        ok($ahead < 0.11, sprintf '... TLS %d: never more than %.0f ms ahead of the line', $one->{tls}, 1000 * $ahead);
        ok(took($one) < 17, sprintf '... and has it after %.2f s', took($one));
    }
    for my $one (@big) {
        my $rate = rate_between($one, $one->{started} + 12, $one->{started} + 15);
        ok(abs($rate / 500e3 - 1) < 0.03, sprintf 'stopped at 500 kB/s, TLS %d: then %.4f of the rate', $one->{tls},
            $rate / 500e3);
        my $most = max(map { rate_between($one, $one->{started} + $_, $one->{started} + $_ + 1) } 11 .. 14);
        # what the socket buffers held, and a quarter of a second to catch up
        cmp_ok($most, '<', 500e3 + 350e3, sprintf '... and never more than %d bytes in a second', $most);
    }
    ok($server->wait_for(sub { active($server) == 0 }, 5), 'nobody is active any more');
};

subtest 'those who never read again, and those who leave' => sub {
    my $server = server(conf => "Timeout 4\n", children => 1);
    fetch_many([map { download($server, '/short/mmap/5k', count => 20) } 1 .. 10]);
    my $before = descriptors($server);
    my $held = sub { # of memory, in bytes
        my ($rss) = slurp('/proc/' . ($server->children)[0] . '/smaps_rollup') =~ /^Private_Dirty:\s+(\d+)/m;
        return 1024 * $rss;
    };
    my $memory = $held->();

    # the buffers of the kernel are full after a while; from then on Timeout counts
    my @deaf = map { my $tls = $_; map { my $path = $_;
        map { download($server, $path, tls => $tls, rcvbuf => 4096, pause => [[0.3, 99]], keep => 0) } 1 .. 5
    } '/short/mmap/10m', '/short/cgi/give?10m', '/shared/sendfile/10m' } 0, 1;
    my @gone = map { my $tls = $_; map {
        download($server, $_, tls => $tls, abort => 20_000, reset => 1),
        download($server, $_, tls => $tls, abort => 25_000)
    } qw(/paced/mmap/300k /paced/cgi/give?300k /shared/mmap/10m) } 0, 1;
    my $watch = fork // die "fork: $!";
    if (!$watch) {
        fetch_many([@deaf, @gone], until => 30);
        POSIX::_exit(0);
    }
    my $begin = now();
    ok($server->wait_for(sub { active($server) >= 30 }, 5), 'all of them are active');
    # with a wish of theirs in the kernel's buffers: 2 x Timeout and what they took to fill
    ok($server->wait_for(sub { active($server) == 0 }, 25), sprintf 'none is, %.1f s later', now() - $begin);
    ok(waitpid($watch, POSIX::WNOHANG()) == 0, '... while the clients still hold their connections');
    is(scalar(() = $server->access_log =~ m{"GET /\S+(?:10m|300k) HTTP/1.1" 200}g), 42, '... and each is logged');
    ok($server->wait_for(sub { descriptors($server) <= $before + 1 }, 5),
        "... their descriptors are closed ($before before, " . descriptors($server) . ' after)');
    SKIP: {
        skip 'a sanitizer keeps freed memory in quarantine', 1 if preload(build_dir() . '/mod_xlimit.so');
        cmp_ok($held->() - $memory, '<', 8e6, '... their memory is back');
    }
    kill KILL => $watch;
    waitpid $watch, 0;

    my @after = (download($server, '/paced/mmap/150k'), download($server, '/shared/mmap/300k', tls => 1, at => 1));
    fetch_many(\@after);
    paced_ok('the next one', [$after[0]], rate => 50e3);
    ok(abs(took($after[1]) * 500e3 / $after[1]{bytes} - 1) < 0.05, sprintf 'the next sharer: %.3f s', took($after[1]));
};

# On fewer connections than there are threads: an MPM that is out of threads
# closes connections that are kept alive.
# What is queued for him in the kernel is given up with him: it would be his all the same,
# and counted for nobody.
subtest 'who reads again when it is too late' => sub {
    for my $mpm (qw(event prefork)) {
        my $s = XL::Server->new(mpm => $mpm, ports => 2, tls => 1, modules => ['alias'], conf => <<'CONF' . status_conf());
Timeout 1
Alias /paced @DOCROOT@
<Location /paced>
    XLimitBandwidth session 2MB/s
</Location>
CONF
        $s->file('8m', 8_000_000);
        $s->start;
        my $total = sub { my ($key) = @_; sum0(map { $_->{$key} } grep { $_->{vhost} !~ /^status/ } @{ status($s)->{vhosts} }) };
        my @list = map { download($s, $_->[0], tls => $_->[1], keep => 0, rcvbuf => 30_000, pause => [[0.2, 4]]) }
            ['/8m', 0], ['/paced/8m', 0], ['/paced/8m', 1];
        fetch_many(\@list, until => 20);
        ok($s->wait_for(sub { !$total->('active') }, 5), "$mpm: nobody is served");
        is(scalar(grep { $_->{complete} } @list), 0, '... nobody has all of it');
        my $more = $total->('sent') - sum0(map { $_->{bytes} } @list);
        ok($more >= 0 && $more < 16_384, '... what he has is counted') or diag($more); # over TLS by proportion
        $s->stop;
    }
};

subtest 'what a thousand leave behind' => sub {
    my $server = server(children => 1);
    my $round = sub {
        my ($count) = @_;
        return fetch_many([map { my $tls = $_; map { my $path = $_;
            map { download($server, $path, tls => $tls, count => $count, keep => 0) } 1 .. 3
        } '/short/mmap/5k', '/short/sendfile/5k', '/short/read/5k' } 0, 1]);
    };
    $round->(3);
    fetch($server->port, '/status');
    my $before = descriptors($server);
    my $got = $round->(60);
    my $n = 0;
    $n += @{ $_->{responses} } for @$got;
    is($n, 1080, '1,080 paced requests on 18 connections');
    is(scalar(grep { $_->{complete} } @$got), 18, '... complete');
    ok($server->wait_for(sub { descriptors($server) <= $before }, 5),
        "no descriptor: $before before, " . descriptors($server) . ' after');
    is(active($server), 0, 'nobody is active');
};

for my $how ('graceful', 'graceful_stop') {
    subtest "$how in the middle of 50" => sub {
        my $server = server();
        my @list = map { my $tls = $_; map { my $path = $_;
            map { download($server, $path, tls => $tls) } 1 .. 5
        } qw(/paced/mmap/150k /paced/sendfile/150k /paced/read/150k /paced/cgi/give?150k /shared/mmap/150k) } 0, 1;
        my $signal = { graceful => 'USR1', graceful_stop => 'WINCH' }->{$how};
        my @old = $server->children;
        my $hand = fork // die "fork: $!";
        if (!$hand) {
            select undef, undef, undef, 1;
            kill $signal => $server->pid;
            POSIX::_exit(0);
        }
        fetch_many(\@list, until => 20);
        waitpid $hand, 0;
        whole_ok("$how: 50 downloads", \@list, substr $text, 0, 150_000);
        my @session = grep { $_->{path} =~ /paced/ } @list;
        paced_ok("$how: the 40 with a rate of their own", \@session, rate => 50e3);
        if ($how eq 'graceful') {
            ok($server->wait_for(sub { my %now = map { $_ => 1 } $server->children; !grep { $now{$_} } @old }, 10),
                'the old children are gone');
            is(fetch($server->port, '/paced/mmap/5k')->{status}, 200, 'the new ones serve');
            is(active($server), 0, 'nobody is active');
        }
        else {
            ok($server->wait_exit(10), 'the server has ended');
            is($server->exit_status, 0, '... with 0');
        }
    };
}

SKIP: {
    skip 'valgrind does not go with a sanitizer', 2 if preload(build_dir() . '/mod_xlimit.so') ne '';
    # What OpenSSL's random numbers are made of is not initialised, on purpose,
    # and all that TLS carries comes from them: there only addresses are checked.
    for my $tls (0, 1) {
        subtest 'under valgrind' . ($tls ? ', TLS' : '') => sub {
            my $log = File::Temp->newdir;
            chmod 0777, $log;
            my $server = server(children => 1, threads => 12, tls => $tls, wrapper => ['valgrind', '-q',
                '--trace-children=no',
                "--log-file=$log/%p", '--num-callers=30', $tls ? '--undef-value-errors=no' : ()]);
            my @list = map { download($server, $_->[0], tls => $tls, %{ $_->[1] }) } ['/paced/mmap/5k', { count => 3 }],
                ['/short/sendfile/150k', {}], ['/short/cgi/give?300k', { count => 2 }], ['/shared/read/150k', {}],
                ['/shared/mmap/150k', { abort => 50_000, reset => 1 }];
            fetch_many(\@list, until => 60);
            is(scalar(grep { $_->{complete} } @list), 4, 'four are complete');
            is($list[4]{error}, 'aborted', 'one leaves');
            ok($server->stop, 'the server ends');
            my @of_ours = valgrind_errors($log);
            is(scalar @of_ours, 0, 'no error has to do with the module') or diag(@of_ours[0 .. min(2, $#of_ours)]);
            cmp_ok(scalar(() = glob "$log/*"), '>=', 2, '... of parent and child');
        };
    }
}

done_testing;
