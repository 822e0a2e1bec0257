# SPDX-License-Identifier: Apache-2.0
#
# The faults of mod_cband 0.9.7.5, each a test that this module does not have it.
#
# Timed.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use POSIX ();
use Test::More;
use XL::Client qw(fetch fetch_many);
use XL::Conf qw(try_conf);
use XL::Faults;
use XL::Status qw(limit status);
use XL::System qw(slurp spew);

subtest 'a query string overflows a buffer of 256 bytes' => sub {
    my $s = served("XLimitQuota all 1000r 1h name=few\n");
    my @children = $s->children;
    for my $length (255, 256, 257, 300, 1000, 7000) {
        for my $query ('a' x $length, 'view=' . 'v' x $length, 'name=' . '%41' x ($length / 3), 'sort='
            . '&' x $length) {
            my $r = fetch($s->port(1), "/xlimit-status?$query");
            like($r->{status}, qr/^(200|400)$/, "a query of $length bytes to the status page: $r->{status}");
        }
        is(fetch($s->port, '/x?' . 'q' x $length)->{status}, 200, '... to a file');
    }
    is_deeply([$s->children], \@children, 'no child has died');
};

subtest 'semaphores that anybody may write, and that are released twice' => sub {
    my $s = served("Mutex sysvsem xlimit\nXLimitRequests client 1000/s burst=1000\nXLimitQuota all 1TB 1h\n",
        children => 2);
    fetch_many([map { { port => $s->port, path => '/x', count => 10, reconnect => 1, from => "127.0.0.$_" } } 1 .. 20]);
    my %server = map { $_ => 1 } $s->pid, $s->children;
    my @shm = map { [split] } split /\n/, slurp('/proc/sysvipc/shm');
    is(scalar(grep { $server{ $_->[4] // '' } } @shm), 0, 'no segment of System V');
    my $user = $> == 0 ? getpwnam 'www-data' : $>;
    my @ours = grep { ($_->[4] // '') eq $user && $_->[0] =~ /^-?\d+$/ } map { [split] } split /\n/,
        slurp('/proc/sysvipc/sem');
    cmp_ok(scalar @ours, '>', 0, scalar(@ours) . ' semaphores');
    is(scalar(grep { oct($_->[2]) & 0077 } @ours), 0, '... that only the server may write');
    # of the servers of other tests as well, which may hold theirs just now
    is(scalar(grep { (semctl($_->[1], 0, 12, 0) || 0) > 1 } @ours), 0, '... and that one at a time can hold');
    is((stat $s->path('state/xlimit.state'))[2] & 07777, 0600, 'the counters are for the server alone');
};

subtest 'only GET is counted' => sub {
    my $s = served("XLimitQuota all 5r 1h name=requests\nXLimitQuota all 1TB 1h name=bytes\n", cgi => 1);
    $s->cgi('read', "#!/bin/sh\ncat >/dev/null\nprintf 'Content-Type: text/plain\\r\\n\\r\\nread'\n");
    my $bytes = 0;
    for my $case ([GET => '/x'], [HEAD => '/x'], [POST => '/cgi/read', body => 'abc'], [OPTIONS => '/x'],
        [DELETE => '/x']) {
        my ($method, $path, @option) = @$case;
        my $r = fetch($s->port, $path, method => $method, @option);
        isnt($r->{status}, 503, "$method is served");
        $bytes += $r->{bytes};
        $s->wait_for(sub { limit($s, 'bytes')->{used} == $bytes }, 5);
        is(limit($s, 'bytes')->{used}, $bytes, '... and its bytes count');
    }
    is(fetch($s->port, '/x', method => $_)->{status}, 503, "$_ is refused when five have been served")
        for qw(GET HEAD POST OPTIONS DELETE);
};

subtest 'a download is lost at kill -9' => sub {
    my $s = served("XLimitQuota all 1TB 1h name=bytes\nXLimitBandwidth session 2MB/s\n");
    my ($got) = @{ fetch_many([{ port => $s->port, path => '/endless' }], until => 5,
        events => [[1, sub { $s->kill9_all }]]) };
    cmp_ok($got->{bytes}, '>', 100_000, "$got->{bytes} bytes came before the server was killed");
    $s->start;
    my $used = limit($s, 'bytes')->{used};
    cmp_ok($used, '>=', $got->{bytes}, '... and count when it is back');
    cmp_ok($used, '<', $got->{bytes} + 1_000_000, '... and no more than had left');
};

subtest 'all of IPv6 is one client' => sub {
    my $s = served("RemoteIPHeader X-Client\nRemoteIPInternalProxy 127.0.0.1\nXLimitRequests client 1/h\n",
        modules => ['remoteip']);
    for my $client ('2001:db8:0:1::1', '2001:db8:0:2::1', '2001:db9::1', 'fe80::1', '192.0.2.1') {
        is(statuses($s, 2, headers => { 'X-Client' => $client }), '200 429', "$client has its own");
    }
    is(statuses($s, 1, headers => { 'X-Client' => '2001:db8:0:1:2:3:4:5' }), '429', 'a /64 is one');
};

subtest 'kB/s is eight times too slow, 1.5G is 1 kB, abc is unlimited' => sub {
    for my $case (['1.5G', '1500MB'], ['1.5GiB', '1536MiB'], ['100kB', '100kB']) {
        my ($written, $meant) = @$case;
        my ($exit, $said) = try_conf("XLimitQuota all $written 1h\n", '-D', 'DUMP_XLIMIT');
        like($said, qr/XLimitQuota all \Q$meant\E 1h/, "$written is $meant");
    }
    for my $wrong ('abc', '12abc', 'G', '-5G', '') {
        my ($exit) = try_conf("XLimitQuota all \"$wrong\" 1h\n");
        is($exit, 1, "\"$wrong\" is refused");
    }
    my $s = served("XLimitBandwidth session 200kB/s\n");
    my $r = fetch($s->port, '/300k');
    my $took = $r->{ended} - $r->{started};
    ok($took > 1.3 && $took < 6, sprintf '300 kB at 200 kB/s: %.2f s', $took);
};

subtest 'GET resets counters' => sub {
    my $s = served("XLimitQuota all 2r 1h name=few\n");
    is(statuses($s, 3), '200 200 503', 'a quota is used up');
    for my $query (qw(reset reset=few reset=all reset_all=1 action=reset&limit=few reset&vhost=localhost)) {
        my $r = fetch($s->port(1), "/xlimit-status?$query");
        isnt($r->{status}, 301, "GET of ?$query: $r->{status}");
    }
    is(limit($s, 'few')->{used}, 2, '... leaves it as it was');
    is(statuses($s, 1), '503', '... and the next one is refused');
};

subtest 'names of virtual hosts become names of XML elements' => sub {
    my $s = served(join '', map { "<VirtualHost *:\@PORT\@>\nServerName $_\nXLimitQuota all 1GB 1h\n</VirtualHost>\n" }
        qw(1st.example xmlns.example _-.example));
    my $r = fetch($s->port(1), '/xlimit-status?format=xml', keep => 1);
    spew($s->path('status.xml'), $r->{body});
    is(system('xmllint', '--noout', $s->path('status.xml')), 0, 'the page is XML');
    unlike($r->{body}, qr/<[^>\s"]*example/, '... with no element called like a host');
    like($r->{body}, qr/"\Q$_\E/, "... $_ is the value of an attribute") for qw(1st.example xmlns.example _-.example);
};

no_circle('XLimitQuota all 1r 1h', sub { fetch($_[0]->port, '/x') });

done_testing;
