# SPDX-License-Identifier: Apache-2.0
#
# `XLimitBandwidth client`: who a client is (address, prefix, what a proxy says
# of it), that he has the rate once, however many connections he opens and
# however he asks, in the scope where the limit stands; and what becomes of the
# table of clients when children die, generations change, or it is full.
#
# Timed.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use List::Util qw(max min sum);
use Test::More;
use XL::Client qw(fetch_many);
use XL::Ledger qw(ledger patch);
use XL::Paced qw(took);
use XL::Server;
use XL::Status qw(status_conf status limit);

use constant { RATE => 200e3, PROXIED => 'X-Client' };

# Who comes from 127.0.0.1 is a proxy, and may say for whom. Another name of a
# path is the same file.
my $base = status_conf() . <<'CONF';
RemoteIPHeader X-Client
RemoteIPInternalProxy 127.0.0.1
AliasMatch ^/[^/]+/(endless|20k)$ @DOCROOT@/$1
CONF

sub served {
    my ($conf, %option) = @_;
    my $s = XL::Server->new(ports => 2, children => 2, factor => 40, modules => ['remoteip'],
        conf => "$base$conf", %option);
    $s->file($_->[0], $_->[1]) for ['endless', 50_000_000], ['20k', 20_000], ['htaccess/file', 50_000_000];
    $s->content('htaccess/.htaccess', "XLimitBandwidth client 200kB/s name=htaccess\n");
    return $s->start;
}

# A download of a client at that address: one that a proxy speaks for, unless
# it is the address 127.0.0.x of the connection itself.
sub download {
    my ($s, $client, $path, %more) = @_;
    my %who = $client =~ /^127\./ ? (from => $client) : (headers => { PROXIED, $client });
    return { port => $s->port, path => $path, %who, %more };
}

# What these got together, in rates, between two moments of their fetch_many: from
# read to read, so that a client that looks late does not count.
sub rates_of {
    my ($from, $to, @list) = @_;
    my $sum = 0;
    for my $one (@list) {
        my $begin = $one->{begin} - ($one->{at} // 0);
        my ($first, $last) = (grep { $_->[0] >= $begin + $from && $_->[0] <= $begin + $to } @{ $one->{series} })[0, -1];
        $sum += ($last->[1] - $first->[1]) / ($last->[0] - $first->[0]) if $last && $last != $first;
    }
    return $sum / RATE;
}

# Of what they got together from their first request on, in seconds. Who reads late is behind.
sub furthest_ahead {
    my @list = @_;
    my $begin = min(map { $_->{started} } @list);
    my ($bytes, $most, @reads) = (0, 0);
    for my $one (@list) {
        my $before = 0;
        push @reads, map { my $read = [$_->[0], $_->[1] - $before]; $before = $_->[1]; $read } @{ $one->{series} };
    }
    for my $read (sort { $a->[0] <=> $b->[0] } @reads) {
        $bytes += $read->[1];
        $most = max($most, $bytes / RATE - ($read->[0] - $begin));
    }
    return $most;
}

sub about_ok {
    my ($got, $right, $title) = @_;
    return ok($got > 0.9 * $right && $got < 1.1 * $right, sprintf '%s: %.3f of %.2f rates', $title, $got, $right);
}

# ---- who a client is, and where the limit stands ----------------------------

my $s = served(<<'CONF');
CustomLog logs/pids "%{pid}P"
Listen [::ffff:127.0.0.3]:@PORT@
<Location /each/>
    XLimitBandwidth client 200kB/s name=each
</Location>
<Location /host/>
    XLimitBandwidth client 200kB/s name=host
</Location>
<Location /server/>
    XLimitBandwidth client 200kB/s name=server scope=server
</Location>
<Location /burst/>
    XLimitBandwidth client 100kB/s name=burst burst=200kB
</Location>
<Location /dry/>
    XLimitBandwidth client 1kB/s name=dry mode=dry-run
    XLimitBandwidth client 200kB/s name=wet
</Location>
<Directory @DOCROOT@/htaccess>
    AllowOverride Limit
</Directory>
<XLimitAccount acme>
    XLimitBandwidth client 200kB/s name=account
</XLimitAccount>
<VirtualHost *:@PORT@>
    ServerName main
</VirtualHost>
<VirtualHost *:@PORT@>
    ServerName other
</VirtualHost>
<VirtualHost *:@PORT@>
    ServerName acme1
    XLimitAccount acme
</VirtualHost>
<VirtualHost *:@PORT@>
    ServerName acme2
    XLimitAccount acme
</VirtualHost>
<VirtualHost *:@PORT@>
    ServerName prefix
    XLimitClientPrefix 24 48
</VirtualHost>
<VirtualHost *:@PORT@>
    ServerName few
    XLimitBandwidth all 2MB/s
    XLimitBandwidth client 200kB/s
</VirtualHost>
<VirtualHost *:@PORT@>
    ServerName many
    XLimitBandwidth all 2MB/s
    XLimitBandwidth client 200kB/s
</VirtualHost>
<VirtualHost *:@PORT@>
    ServerName greedy
    XLimitBandwidth all 2MB/s
    XLimitBandwidth client 200kB/s
</VirtualHost>
CONF

subtest 'who a client is, and where the limit stands' => sub {
    my $each = sub { my ($client, $n) = @_; map { download($s, $client, '/each/endless') } 1 .. $n // 1 };
    my $host = sub { my ($name, @clients) = @_; map { download($s, $_, '/each/endless', host => $name) } @clients };
    my $at = sub { my ($path, @hosts) = @_; map { download($s, '127.0.0.4', $path, host => $_) } @hosts };

    my @eight = ((map { download($s, '127.0.0.2', '/each/endless') } 1, 2),
        (map { download($s, '127.0.0.2', '/each/20k', count => 1000) } 1, 2),
        (map { download($s, '127.0.0.2', '/each/20k', count => 1000, reconnect => 1) } 1, 2),
        (map { download($s, '127.0.0.2', '/each/endless', count => 1000, headers => { Range => 'bytes=1000-9999' }) }
            1, 2));
    my $burst = download($s, '127.0.0.4', '/burst/20k', count => 20, reconnect => 1);
    # A crowd that comes in one instant mostly becomes one child's: who shares with others across children
    # has his part all the same.
    my @crowd = map { download($s, '198.51.100.201', '/each/endless') } 1 .. 100;
    my @many = map { download($s, "198.51.100.$_", '/x/endless', host => 'many', at => 0.04 * $_) } 1 .. 20;
    my @greedy = map { download($s, '198.51.100.200', '/x/endless', host => 'greedy', at => 0.1 * $_) } 1 .. 8;
    my @modest = map { download($s, "198.51.100.$_", '/x/endless', host => 'greedy', at => 0.06 * $_) } 1 .. 12;
    my @groups = (
        ['an address', 1, $each->('127.0.0.4', 3)],
        ['another one', 1, $each->('127.0.0.5')],
        ['the proxy itself', 1, $each->('127.0.0.1')],
        ['whom the proxy names', 1, $each->('198.51.100.7', 3)],
        ['another one whom it names', 1, $each->('198.51.100.8')],
        ['two of one /64', 1, map { $each->($_) } '2001:db8:0:1::1', '2001:db8:0:1:ffff:ffff:ffff:2'],
        ['one of the next /64', 1, $each->('2001:db8:0:2::1')],
        ['IPv4, in IPv4 and in IPv6 form', 1, map { $each->($_) } '192.0.2.1', '::ffff:192.0.2.1'],
        ['another one in IPv6 form', 1, $each->('::ffff:192.0.2.2')],
        ['by IPv4, and by a socket of IPv6', 1, $each->('127.0.0.6'),
            map { { %$_, to => '127.0.0.3' } } $each->('127.0.0.6')],
        ['another one by a socket of IPv6', 1, map { { %$_, to => '127.0.0.3' } } $each->('127.0.0.7')],
        ['prefix 24: two of one network', 1, $host->('prefix', '203.0.113.1', '203.0.113.255')],
        ['prefix 24: the next network', 1, $host->('prefix', '203.0.112.255')],
        ['prefix 48: two of one network', 1, $host->('prefix', '2001:db8:1::1', '2001:db8:1:ffff::1')],
        ['prefix 48: the next network', 1, $host->('prefix', '2001:db8:2::1')],

        ['of the main server: one host', 1, $at->('/host/endless', 'main', 'main')],
        ['... another host', 1, $at->('/host/endless', 'other')],
        ['scope=server: two hosts together', 1, $at->('/server/endless', 'main', 'other')],
        ['an account: two hosts together', 1, $at->('/x/endless', 'acme1', 'acme2')],
        ['.htaccess: one client', 1, $at->('/htaccess/file', 'main', 'main')],
        ['.htaccess: another one', 1, download($s, '127.0.0.5', '/htaccess/file')],
        ['beside a dry run', 1, $at->('/dry/endless', 'main')],

        (map { my $client = "198.51.100.$_";
            ['one of four below 2 MB/s', 1, map { download($s, $client, '/x/endless', host => 'few') } 1, 2]
        } 1 .. 4),
        ['a hundred connections', 1, @crowd],
        ['twenty below 2 MB/s', 10, @many],
        ['one with eight connections among twelve with one', 1, @greedy],
        ['... who get the rest of 2 MB/s', 9, @modest],
    );

    my $before = status($s)->{server}{keys_used};
    my $known;
    my @all = (@eight, $burst, map { @{$_}[2 .. $#$_] } @groups);
    fetch_many(\@all, until => 6.2, events => [[5.5, sub { $known = status($s)->{server} }]]);

    about_ok(rates_of(1, 6, @eight), 1, 'one client with eight connections');
    my $ahead = furthest_ahead(@eight);
    cmp_ok($ahead, '<', 0.15, sprintf '... never more than %.0f ms ahead of the line', 1000 * $ahead);
    my %status = map { $_->{status} => 1 } map { @{ $_->{responses} } } @eight[6, 7];
    is(join(' ', keys %status), '206', '... ranges are ranges');
    cmp_ok(min(map { scalar @{ $_->{responses} } } @eight[2 .. 7]), '>', 3,
        '... keep-alive, reconnects and ranges got their part');
    my %pids = map { $_ => 1 } split /\n/, $s->log_text('pids');
    is(scalar keys %pids, 2, '... over two children');

    for my $group (@groups) {
        my ($title, $right, @list) = @$group;
        about_ok(rates_of(1.2, 5.5, @list), $right, $title);
    }
    for my $case (['twenty', 0.5, @many], ['the twelve', 0.75, @modest]) {
        my ($title, $right, @list) = @$case;
        my @got = sort { $a <=> $b } map { rates_of(1.2, 5.5, $_) } @list;
        about_ok($got[0], $right, "$title: who has least");
        about_ok($got[-1], $right, "$title: who has most");
    }
    # 400 kB, of which 200 at once
    ok($burst->{complete} && abs(took($burst) - 2) < 0.2, sprintf 'twenty connections of a client with a burst: %.2f s '
        . 'of 2', took($burst));

    # /64 and /24: one key; a dry run has none
    my $keys = 2 + 12 + 4 + 7 + 4 + 20 + 13;
    is($known->{keys_used} - $before, $keys, "the status page: $keys clients, once for each limit that they meet");
    cmp_ok($known->{keys_used}, '<=', $known->{keys_capacity}, "... of $known->{keys_capacity} that there is room for");
    is(scalar(() = $s->error_log =~ /xlimit\(23\d\)/g), 0, 'nothing to complain of');
};

# ---- what becomes of the table ----------------------------------------------

my $probe = <<'CONF';
<Location /probe/>
    XLimitBandwidth client 200kB/s name=probe
</Location>
CONF

# Clients that read next to nothing have a key in each of twelve limits: few of
# them make a table of the least size full.
use constant LIMITS => 12;
my $small = $probe . "XLimitMemory 132kB\n<Location /fill/>\n"
    . join('', map { "    XLimitBandwidth client 100MB/s name=fill$_\n" } 1 .. LIMITS) . "</Location>\n";

sub fill {
    my ($s, $network, $n) = @_;
    return map { download($s, "10.$network.1.$_", '/fill/endless', rcvbuf => 4096, pause => [[0.5, 4.2], [4.4, 99]]) } 1 .. $n;
}

sub probes {
    my ($s, $network, %more) = @_;
    return map { download($s, "10.$network.2.$_", '/probe/endless', %more) } 1 .. 10;
}

sub full_lines { scalar(() = $_[0]->error_log =~ /xlimit\(237\).* limit "probe"/g) }

my $graceful = served("$probe\nServerLimit 4\n");
my $killed   = served($probe);
my ($left, $dead) = map { served($small) } 1, 2;
my %holding  = map { $_ => served($probe, mpm => $_, threads => 8, factor => 0) } qw(worker prefork);
my $bare     = served("<Directory \@DOCROOT@/htaccess>\n    AllowOverride Limit\n</Directory>\n");

subtest 'full, graceful, kill -9' => sub {
    my @old  = map { download($graceful, '10.1.1.1', '/probe/endless') } 1 .. 3;
    my @new  = map { download($graceful, '10.1.1.1', '/probe/endless', at => 2.5) } 1 .. 3;
    # one by one: whom the kernel wakes up is its own affair, and more at once may be one child's
    my @held = map { download($killed, '10.1.1.1', '/probe/endless', at => 0.06 * $_) } 1 .. 20;
    my %each = map { my $mpm = $_; map { ("$mpm $_->[0]" => [map { download($holding{$mpm}, $_, '/probe/endless') }
        ($_->[0]) x $_->[1]]) } ['10.1.1.1', 3], ['10.1.1.2', 1] } keys %holding;
    my @bare = map { download($bare, "10.1.1.$_", '/htaccess/file') } 1 .. 3;
    my %fill = map { $_ => [fill($_, 1, 160)] } $left, $dead;
    my %full = map { $_ => [probes($_, 1, at => 1)] } $left, $dead;
    my ($capacity, $alive, $active, $emptied);
    my @children = $killed->children;

    fetch_many([@old, @new, @held, @bare, (map { @$_ } values %each, values %fill, values %full)], until => 6.6, events => [
        [1.5, sub { kill USR1 => $graceful->pid; kill KILL => $children[0] }],
        [2.0, sub { $capacity = status($left)->{server}{keys_capacity} }],
        [3.5, sub { $alive = grep { $_->{socket} } @held; $active = limit($killed, 'probe')->{active} }],
        [4.5, sub { kill KILL => $dead->children }],
        [6.5, sub { $emptied = sum(map { limit($dead, $_)->{active} } 'probe', 'fill1') }],
    ]);

    about_ok(rates_of(3, 6.3, @old, @new), 1, 'graceful: one meter for old and new generation');
    ok(rates_of(3, 6.3, @$_) > 0.4, '... of which both have their part') for \@old, \@new;
    is(scalar(grep { $_->{error} ne 'until' } @old, @new), 0, '... and nobody is cut off');

    ok($alive > 0 && $alive < 20, "kill -9 of a child: $alive of 20 are served on");
    is($active, $alive, '... and so many are active 2 s later');
    about_ok(rates_of(2.5, 6.3, @held), 1, '... who have all of it');

    about_ok(rates_of(1, 6.3, @{ $each{$_} }), 1, "MPM $_, " . @{ $each{$_} } . ' connections') for sort keys %each;
    about_ok(rates_of(1, 6.3, @bare), 1, 'no table at all: three clients share the rate of one');
    is(scalar(() = $bare->error_log =~ /xlimit\(236\).* limit "htaccess"/g), 1, '... which the error log says once');

    cmp_ok($capacity, '<', 1300, "a table for $capacity clients is full of " . 160 * LIMITS);
    for my $s ($left, $dead) {
        is(scalar(grep { !@{ $_->{responses} } || $_->{responses}[0]{status} != 200 } @{ $fill{$s} }, @{ $full{$s} }),
            0, '... and everybody is served');
        about_ok(rates_of(1.5, 4.3, @{ $full{$s} }), 1, '... ten that find no place share the rate of one');
        is(full_lines($s), 1, '... which the error log says once');
    }
    is($emptied, 0, 'kill -9 of all children: 2 s later nobody is active');
};

subtest 'room again' => sub {
    ok($left->wait_for(sub { !limit($left, 'fill1')->{active} }, 5), 'those who left are gone');
    # as if it had been full a minute ago: then it is said, too
    my ($entry) = grep { $_->{name} eq 'probe' && $_->{crowded} } @{ ledger($left->path('state/xlimit.state'))->{entries} };
    ok($entry, 'it is known that the table was full') or return;
    patch($left->path('state/xlimit.state'), $entry->{offset} + $XL::Ledger::AT{crowded},
        pack 'Q', $entry->{crowded} - (61_000 << 20));

    # half as many keys as there is room for, all of them new
    my %own = map { $_ => [probes($_, 2, at => 0.5)] } $left, $dead;
    fetch_many([(map { fill($_, 2, 40) } $left, $dead), map { @$_ } values %own], until => 3.5);
    about_ok(rates_of(1, 3.3, @{ $own{$left} }), 10, 'those who left: ten new clients have ten rates');
    about_ok(rates_of(1, 3.3, @{ $own{$dead} }), 10, 'those who were killed: ten new clients have ten rates');
    like($left->error_log, qr/xlimit\(238\).* limit "probe"/, 'the error log says so');
    is(full_lines($left), 1, '... and no more');
    cmp_ok(status($left)->{server}{keys_evicted}, '>', 0, '... and the status page, that others were forgotten');
};

done_testing;
