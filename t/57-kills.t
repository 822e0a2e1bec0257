# SPDX-License-Identifier: Apache-2.0
#
# kill -9, round after round, where it hurts: of who writes the copy while he writes
# it, of children that attach counters and put in keys all the time, and in the middle
# of paced downloads; now one child, now everything. Nothing that was counted is
# lost, and what clients received is counted. `make kills` is the long form, of
# XL_KILLS rounds each.
#
# Timed.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use Fcntl qw(F_GETLK F_UNLCK F_WRLCK SEEK_SET);
use List::Util qw(shuffle sum0);
use Test::More;
use Time::HiRes qw(sleep stat);
use XL::Balance qw($NAME active balance_conf balanced in_background load numbers one_line settled);
use XL::Client qw(now fetch);
use XL::Copy qw(whole);
use XL::Ledger qw(ledger entry);
use XL::Server;
use XL::System qw(spew);

use constant { CHUNK => 65_536, FOLDERS => 40, WORKERS => 4, DOWNLOADS => 8 };

my $rounds = $ENV{XL_KILLS} // 10;
my $seed   = $ENV{XL_SEED} // time;
srand $seed;
note("$rounds rounds each, seed $seed");

# Many counters that nobody uses: a copy that takes its time, and room for those of .htaccess.
my $many = join '', map { "    XLimitQuota all 1TB 1d name=n$_\n" } 1 .. 900;
my $conf = balance_conf() . <<"CONF";
XLimitFlush 100ms
XLimitZone agent key="%{HTTP_USER_AGENT}" entries=500
XLimitRequests agent 1000/s burst=1000 name=agents
<Location /slow>
    XLimitBandwidth session 250kB/s name=each
</Location>
Alias /slow \@DOCROOT\@
<Directory "\@DOCROOT\@">
    AllowOverride Limit
</Directory>
<VirtualHost 127.0.0.1:\@PORT2\@>
    ServerName many.example
$many</VirtualHost>
CONF

my $s = XL::Server->new(children => 2, factor => 20, ports => 3, conf => $conf);
$s->file('200k.bin', 200_000);
$s->file('10k.bin', 10_000);
$s->file("d$_/5k.bin", 5_000) for 1 .. FOLDERS;
my $state = $s->path('state/xlimit.state');
my $copy  = "$state.snapshot";
$s->start;

sub kill_some {
    my ($all, $pid) = @_;
    return $s->kill9_all if $all;
    my @children = $s->children;
    kill KILL => $pid // $children[rand @children];
    return;
}

# A start has nothing to say about counters that were left by a kill, but for those that
# a child was just giving away: the copy knows them yet, and there is a place.
sub up_again {
    my ($what, $given_away) = @_;
    my $from = length $s->error_log;
    $s->start if !$s->alive;
    my $expected = $given_away ? qr/xlimit\((?:401|242)\)/ : qr/xlimit\(401\)/;
    my @said = grep { /xlimit\(/ && !/$expected/ } split /\n/, substr $s->error_log, $from;
    is("@said", '', "$what: the start says nothing");
    return;
}

# ---- while a copy is written ------------------------------------------------

# Somebody has a record lock on the copy as long as he writes it.
sub is_locked {
    open my $file, '<', $copy or return 1;
    my $lock = pack 's s x4 q q l x4', F_WRLCK, SEEK_SET, 0, 0, 0;
    fcntl $file, F_GETLK, $lock or die "$copy: $!";
    return unpack('s', $lock) != F_UNLCK;
}

sub mtime { return join ' ', (stat $copy)[9] // 0 }

# Returns in the moment in which somebody writes, or a little later.
sub writing {
    my ($was) = @_;
    my $end = now() + 3;
    1 while mtime() eq $was && now() < $end;
    my $until = now() + 0.003 * rand() ** 2;
    1 while now() < $until;
    return;
}

# What the newest copy says was sent, and whether the other one is half written.
sub look_at_copy {
    my @slots = whole($copy);
    return (0, 0) if !@slots;
    return (entry($slots[0], '', $NAME)->{sent}, @slots < 2 ? 1 : 0);
}

subtest 'while the copy is written' => sub {
    my $torn = 0;
    for my $round (1 .. $rounds) {
        fetch($s->port, '/10k.bin');
        my $before = settled($s);
        my $finished = sub { (look_at_copy())[0] == $before->{sent} && !is_locked() };
        ok($s->wait_for($finished, 5), "$round: a copy is written");
        my ($writer) = map { $_->{writer} } whole($copy);
        my $was = mtime();
        fetch($s->port, '/10k.bin');
        my $got = settled($s);
        writing($was);
        kill_some($round % 2, $writer);
        my ($copied, $half) = look_at_copy();
        $torn += $half;
        cmp_ok($copied, '>=', $before->{sent}, '... and is there when who writes the next is killed');
        up_again('...');
        is(one_line(numbers($s)), one_line($got), '... nothing is lost');
        is($got->{requests} - $before->{requests}, 1, '... of what was counted');
        next if $round % 5;
        $s->kill9_all;
        unlink $state;
        ($copied) = look_at_copy();
        $s->start;
        is(numbers($s)->{sent}, $copied, '... without the state file it goes on from the copy');
    }
    note("$torn of $rounds kills left a copy half written");
};

# ---- children that attach counters and put in keys --------------------------

# Each folder twice, on kept connections; what was received, and how many responses were whole and cut.
sub walk {
    my ($n) = @_;
    my %sum = (received => 0, complete => 0, cut => 0);
    my $client = XL::Client->new(port => $s->port, from => "127.0.0.@{[2 + $n]}", timeout => 5);
    srand $n + $$;
    for my $folder (shuffle((1 .. FOLDERS) x 2)) {
        my $r = eval { $client->request('GET', "/d$folder/5k.bin", headers => { 'User-Agent' => rand() }) };
        last if !$r && !defined eval { $client->connect };
        $sum{received} += $r->{bytes} if $r;
        $sum{ $r && $r->{complete} ? 'complete' : 'cut' }++;
    }
    return [\%sum];
}

sub twice {
    my %seen;
    $seen{ join ' ', @{$_}{qw(kind vhost place name)} }++ for @{ ledger($state)->{entries} };
    return grep { $seen{$_} > 1 } sort keys %seen;
}

subtest 'of children that attach counters and put in keys' => sub {
    for my $round (1 .. $rounds) {
        for my $folder (1 .. FOLDERS) {
            spew($s->path("htdocs/d$folder/.htaccess"),
                join '', map { "XLimitQuota all 1TB 1d name=r$round-$_\n" } 1 .. 10);
        }
        my $before = numbers($s);
        my @join = map { my $n = $_; in_background(sub { walk($n) }) } 1 .. WORKERS;
        sleep 0.01 + 0.06 * rand;
        kill_some($round % 2);
        my @sums = map { $_->() } @join;
        my %got = map { my $key = $_; ($key => sum0(map { $_->{$key} } @sums)) } qw(received complete cut);
        up_again($round, 1);
        ok($s->wait_for(sub { !active($s) }, 2), '... nobody is active who is gone');
        my $after = numbers($s);
        my ($sent, $requests) = map { $after->{$_} - $before->{$_} } qw(sent requests);
        cmp_ok($sent, '>=', $got{received}, '... all that was received is counted');
        cmp_ok($sent, '<=', $got{received} + $got{cut} * CHUNK, '... and no more than a chunk on top of what was cut');
        ok($requests >= $got{complete} && $requests <= $got{complete} + $got{cut}, '... and requests')
            or diag("$requests counted, $got{complete} whole, $got{cut} cut");
        is(join(', ', twice()), '', '... no counter is there twice');
        my @fresh = grep { $_->{name} =~ /^r$round-/ } @{ ledger($state)->{entries} };
        cmp_ok(scalar @fresh, '>', 0, '... some were attached');
    }
};

# ---- paced downloads --------------------------------------------------------

subtest 'in the middle of paced downloads' => sub {
    my $all_cut = 0;
    for my $round (1 .. $rounds) {
        my $before = numbers($s);
        my $join = load($s, DOWNLOADS, path => '/slow/200k.bin');
        sleep 0.3 * rand;
        my $said = numbers($s);
        kill_some($round % 2);
        my @got = $join->();
        up_again($round);
        my $soon = $s->wait_for(sub { !active($s) }, 2);
        ok($soon, '... nobody is active who is gone');
        my $after = numbers($s);
        $all_cut += grep { !$_->{complete} } @got;
        cmp_ok($after->{sent}, '>=', $said->{sent}, '... what the page said before is there');
        balanced($before, $after, \@got, '...', CHUNK);
    }
    cmp_ok($all_cut, '>=', DOWNLOADS * int($rounds / 2), "$all_cut of " . DOWNLOADS * $rounds . ' were cut');
};

ok($s->stop, 'the server ends by itself');
done_testing;
