# SPDX-License-Identifier: Apache-2.0
#
# The fault of mod_ratelimit and of nginx's limit_rate, a rate that belongs to a response
# and not to who asks, in each way in which it can be walked round; each a test that this
# module does not have it.
#
# Timed.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use List::Util qw(sum);
use Test::More;
use XL::Client qw(fetch fetch_many);
use XL::Faults;

use constant { RATE => 100e3, SECONDS => 3, ALLOWED => 1.2 };

my $s = served(<<'CONF', children => 2);
AliasMatch ^/[^/]+/(endless|20k|300k)$ @DOCROOT@/$1
<Location /session/>
    XLimitBandwidth session 100kB/s
</Location>
<Location /client/>
    XLimitBandwidth client 100kB/s
</Location>
CONF

sub one { my ($path, %more) = @_; return { port => $s->port, path => $path, %more } }

# A client of its own for each; all at the same time, since each has its own rate.
my $number = 1;
sub client { my ($n, @more) = @_; my $from = '127.0.1.' . ++$number; return map { one(@more, from => $from) } 1 .. $n }
my @range = map { { Range => 'bytes=' . $_ * 1_000_000 . '-' } } 1 .. 10;

my @ways = (
    ['requests on one connection', one('/session/20k', count => 1000)],
    ['pipelined requests', one('/session/20k', count => 100, pipeline => 1)],
    ['ranges on one connection', one('/session/endless', count => 1000, headers => { Range => 'bytes=100000-109999' })],
    ['small responses on one connection', one('/session/20k', count => 5000, headers => { Range => 'bytes=0-0' })],
    ['each request on a new connection', client(1, '/client/20k', count => 1000, reconnect => 1)],
    ['... eight at a time', client(8, '/client/20k', count => 1000, reconnect => 1)],
    ['twenty connections at once', client(20, '/client/endless')],
    ['a range of a file by each of ten connections',
        map { one('/client/endless', from => '127.0.2.1', headers => $_) } @range],
);
fetch_many([map { @{$_}[1 .. $#$_] } @ways], until => SECONDS);
for my $way (@ways) {
    my ($title, @list) = @$way;
    subtest $title => sub {
        my $sum = sum(map { $_->{bytes} } @list);
        cmp_ok($sum, '<', ALLOWED * RATE * SECONDS, sprintf 'got %.2f times its rate', $sum / RATE / SECONDS);
        cmp_ok($sum, '>', 0.2 * RATE * SECONDS, '... and was served');
    };
}

no_circle('XLimitQuota client 1r 1h', sub { fetch($_[0]->port, '/x') });

done_testing;
