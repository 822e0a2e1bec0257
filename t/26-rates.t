# SPDX-License-Identifier: Apache-2.0
#
# Requests of eight clients at once over two children, as fast as they can: in no
# window whatever more are served than the rate yields, the burst and one, and
# nearly all that could be. A request was decided between its first byte and the
# first one of its answer, so that those which lie in a window as a whole were
# decided in it: nothing has to be allowed for the clocks.
#
# Timed.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use POSIX ();
use Test::More;
use Time::HiRes qw(sleep);
use XL::Client qw(now);
use XL::Server;
use XL::Status qw(status_conf limit);

use constant { CLIENTS => 8, SECONDS => 4, RATE => 200, BURST => 40 };

my $rate = RATE . '/s burst=' . BURST;
my $places = join '', map { "<Location /$_>\n    XLimitRequests $_ $rate name=$_\n</Location>\n" } qw(all client zone);
my $s = XL::Server->new(ports => 2, children => 2, factor => 20, conf => status_conf() . <<"CONF");
XLimitZone zone key="%{QUERY_STRING}" entries=1000
$places<Location /waits>
    XLimitRequests all @{[RATE]}/s burst=6 delay=0 name=waits
</Location>
CONF
$s->content("$_/x", "x\n") for qw(all client zone waits);
$s->start;

# What one client sees: lines of status, begin and end.
sub hammer {
    my ($path, $until, $out) = @_;
    my $client = XL::Client->new(port => $s->port, timeout => 5);
    while (now() < $until) {
        my $r = $client->request('GET', $path);
        printf {$out} "%d %.9f %.9f\n", $r->{status}, $r->{started}, $r->{first} // now();
    }
    return;
}

sub hammer_all {
    my ($path) = @_;
    my $until = now() + SECONDS;
    my @pipes = map {
        my $pid = open(my $pipe, '-|') // die $!;
        if (!$pid) {
            hammer($path, $until, \*STDOUT);
            close STDOUT;
            POSIX::_exit(0);
        }
        $pipe;
    } 1 .. CLIENTS;
    return map { my $pipe = $_; map { [split] } <$pipe> } @pipes;
}

# The most that any window has beyond what it may have; 0 or less is right.
sub worst {
    my ($burst, @served) = @_;
    my @ends = sort { $a->[2] <=> $b->[2] } @served;
    my $worst = -9e9;
    for my $first (@served) {
        my $n = 0;
        for my $request (@ends) {
            next if $request->[1] < $first->[1];
            my $over = ++$n - (RATE * ($request->[2] - $first->[1]) + $burst + 1);
            $worst = $over if $over > $worst;
        }
    }
    return $worst;
}

# How many of these requests could be served, had each been decided when it was sent.
sub allowed {
    my ($burst, @all) = @_;
    my ($tat, $n) = (0, 0);
    for my $request (sort { $a->[1] <=> $b->[1] } @all) {
        my $start = $tat > $request->[1] ? $tat : $request->[1];
        next if $start > $request->[1] + $burst / RATE;
        $tat = $start + 1 / RATE;
        $n++;
    }
    return $n;
}

for my $key (qw(all client zone waits)) {
    my $at_once = $key eq 'waits' ? 0 : BURST; # of those who wait none is before his turn
    my @all = hammer_all("/$key/x?1");
    my @served = grep { $_->[0] == 200 } @all;
    my $allowed = allowed($key eq 'waits' ? 6 : BURST, @all);
    my $refused = grep { $_->[0] == 429 } @all;
    is(@served + $refused, scalar @all, "$key: " . @all . ' requests of eight clients, each served or refused');
    my $worst = worst($at_once, @served);
    ok($worst <= 1e-6, sprintf '... no window has more than it may (the fullest lacks %.2f)', -$worst);
    ok(@all > 2 * $allowed, '... under overload');
    my $share = @served / $allowed;
    ok($share > 0.98, sprintf '... %d served, %.4f of what could be', scalar @served, $share);
    my $row = limit($s, $key);
    is("$row->{requests} $row->{refused}", @all . " $refused", '... and counted');
}

done_testing;
