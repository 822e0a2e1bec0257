# SPDX-License-Identifier: Apache-2.0
#
# The faults of lighttpd's kbytes-per-second, each a test that this module does not have it.
#
# Timed.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use List::Util qw(max min sum);
use Test::More;
use XL::Client qw(fetch fetch_many);
use XL::Faults;

my $s = served(<<'CONF', children => 2);
AliasMatch ^/[^/]+/endless$ @DOCROOT@/endless
<Location /session/>
    XLimitBandwidth session 200kB/s
</Location>
<Location /shared/>
    XLimitBandwidth all 2MB/s
</Location>
CONF

# Bytes in each piece of so many seconds, from one time on.
sub pieces {
    my ($from, $seconds, $n, @list) = @_;
    my @bytes = (0) x $n;
    for my $one (@list) {
        my $before = 0;
        for my $mark (@{ $one->{series} }) {
            my $piece = int(($mark->[0] - $from) / $seconds);
            $bytes[$piece] += $mark->[1] - $before if $mark->[0] >= $from && $piece < $n;
            $before = $mark->[1];
        }
    }
    return @bytes;
}

subtest 'bursts of one second' => sub {
    my ($one) = @{ fetch_many([{ port => $s->port, path => '/session/endless' }], until => 4) };
    my @quarters = pieces($one->{first}, 0.25, 12, $one);
    my @share = map { $_ / (0.25 * 200e3) } @quarters;
    ok(max(@share) < 2, sprintf 'one download: at most %.2f of what a quarter of a second should have', max(@share));
    cmp_ok(scalar(grep { $_ > 0.3 } @share), '>=', 9, '... and nearly none is empty');
};

subtest 'forty to sixty of a hundred sharers get nothing' => sub {
    my @list = map { { port => $s->port, path => '/shared/endless' } } 1 .. 100;
    fetch_many(\@list, until => 4);
    my $from = max(map { $_->{first} // 9e99 } @list);
    cmp_ok($from, '<', 9e99, 'all get something');
    my @each = map { my $one = $_; sum(pieces($from, 0.25, 8, $one)) / (2 * 20e3) } @list;
    cmp_ok(min(@each), '>', 0.5, sprintf '... each %.2f to %.2f of its share in two seconds', min(@each), max(@each));
    cmp_ok(max(@each), '<', 2, '... and nobody twice of it');
    my @quarters = map { $_ / (0.25 * 2e6) } pieces($from, 0.25, 8, @list);
    cmp_ok(max(@quarters), '<', 2, sprintf 'together at most %.2f of what a quarter of a second should have',
        max(@quarters));
};

no_circle('XLimitQuota all 1kB 1h', sub { fetch($_[0]->port, '/20k') });

done_testing;
