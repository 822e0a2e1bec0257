# SPDX-License-Identifier: Apache-2.0
#
# The faults of mod_qos, mod_evasive and BFE's mod_prison, each a test that this module
# does not have it.
#
# Timed.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use List::Util qw(max);
use Test::More;
use Time::HiRes qw(sleep);
use XL::Client qw(now fetch fetch_many);
use XL::Faults;
use XL::Status qw(limit status);

# When a request was let in is not before it was asked for nor after it was answered: in the
# shortest time that can hold them there are no more than may be.
sub most_within {
    my ($seconds, @times) = @_;
    my $most = 0;
    for my $first (@times) {
        my $n = grep { $_->[0] >= $first->[0] && $_->[1] <= $first->[0] + $seconds } @times;
        $most = max($most, $n);
    }
    return $most;
}

# Tries all the time, for as long; [asked, answered] of what was served.
sub served_of {
    my ($s, $path, $seconds) = @_;
    my $client = XL::Client->new(port => $s->port);
    my $end = now() + $seconds;
    my ($tried, @served) = (0);
    while (now() < $end) {
        my $r = $client->request(GET => $path);
        push @served, [$r->{started}, $r->{ended}] if $r->{status} == 200;
        $tried++;
        sleep 0.002;
    }
    return ($tried, @served);
}

subtest 'twice the limit at the edge of a window' => sub {
    my $s = served(<<'CONF');
AliasMatch ^/[^/]+/x$ @DOCROOT@/x
<Location /plain/>
    XLimitRequests client 10/s
</Location>
<Location /burst/>
    XLimitRequests client 10/s burst=5
</Location>
<Location /minute/>
    XLimitRequests client 60/min burst=3
</Location>
<Location /penalty/>
    XLimitPenalty client 20/1h for=1h
</Location>
CONF
    for my $case (['plain', 10, 0], ['burst', 10, 5], ['minute', 1, 3]) {
        my ($name, $rate, $burst) = @$case;
        my ($tried, @served) = served_of($s, "/$name/x", 3);
        for my $seconds (0.1, 0.5, 1, 2) {
            my $most = most_within($seconds, @served);
            cmp_ok($most, '<=', $rate * $seconds + $burst + 1, "$name: $most of $tried in any $seconds s");
        }
        cmp_ok(scalar @served, '>=', 0.6 * (3 * $rate + $burst), '... of which ' . @served . ' were served in all');
    }
    is(statuses($s, 22, path => '/penalty/x'), join(' ', (200) x 20, 429, 429),
        'a penalty lets in what it says and no more');
};

# As fast as requests of a key that is known, at least nearly.
subtest 'so many new keys a second, and no more' => sub {
    my $s = served("XLimitZone key key=\"%{req_novary:X-Key}\" entries=100000\n"
        . "XLimitRequests key 1000/s burst=1000 name=key\n",
        children => 2);
    my $run = sub {
        my ($prefix, $fresh) = @_;
        my $n = 0;
        my $client = XL::Client->new(port => $s->port);
        my $begin = now();
        for (1 .. 1500) {
            my $key = $fresh ? $prefix . $n++ : $prefix;
            $client->send_all("GET /x HTTP/1.1\r\nHost: localhost\r\nX-Key: $key\r\n\r\n");
            my $r = XL::Response->new('GET', 0, now());
            $client->receive($r);
        }
        return 1500 / (now() - $begin);
    };
    $run->('warm', 0);
    my @ratio;
    my $per_second;
    for my $round (1 .. 3) {
        my $known = $run->("k$round", 0);
        $per_second = $run->("n$round-", 1);
        push @ratio, $per_second / $known;
    }
    cmp_ok(max(@ratio), '>', 0.6, sprintf 'requests of new keys: %.2f times as many as of a known one (%.0f a second)',
        max(@ratio), $per_second);
    is(status($s)->{server}{keys_used} >= 4500 ? 'all' : 'some', 'all', '... and all are known afterwards');
};

no_circle('XLimitRequests client 1/h', sub { fetch($_[0]->port, '/x') });
no_circle('XLimitPenalty client 1/h for=1h', sub { fetch($_[0]->port, '/x') for 1, 2 });

done_testing;
