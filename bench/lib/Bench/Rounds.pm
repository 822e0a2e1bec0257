# SPDX-License-Identifier: Apache-2.0
#
# Bench::Rounds: the same work for several servers in turn, many short rounds, so
# that what else the machine does falls on all of them alike; the number to look
# at is the median of the ratios to the first one within a round.
#
#     my $got = rounds([['none', $server, { path => '/x', again => 'keep', n => 20 }], ...], rounds => 8, seconds => 2);
#     $got->{none}{per_second}   $got->{none}{cpu} (seconds of the server for a request)
#     @{ $got->{none}{ratios} }  sorted
package Bench::Rounds;

use strict;
use warnings;

use Exporter qw(import);
use List::Util qw(sum0);

use Bench::Load qw(median);
use Bench::Machine qw(look);

our @EXPORT_OK = qw(rounds);

sub rounds {
    my ($rows, %o) = @_;
    my (%per_second, %cpu, %ratios);
    for my $round (0 .. $o{rounds}) { # the first one warms up
        my %now;
        for my $row (@$rows) {
            my ($name, $server, $group) = @$row;
            ($now{$name}, my $cpu) = measure($server, $group, $round ? $o{seconds} : 1);
            push @{ $cpu{$name} }, $cpu if $round;
        }
        next if !$round;
        my $first = $now{ $rows->[0][0] } || 1;
        push @{ $per_second{$_} }, $now{$_} for keys %now;
        push @{ $ratios{$_} }, $now{$_} / $first for keys %now;
    }
    return { map { $_ => { per_second => median(@{ $per_second{$_} }), cpu => median(@{ $cpu{$_} }),
        ratios => [sort { $a <=> $b } @{ $ratios{$_} }] } } keys %per_second };
}

# Requests per second, and CPU seconds of the server for each.
sub measure {
    my ($server, $group, $seconds) = @_;
    my @pids = $server->pids;
    my $before = look(@pids);
    my $got = Bench::Load::run(end => $seconds, groups => [{ name => 'r', port => $server->port, %$group }]);
    my $all = sum0(map { $_->{requests} } @{ $got->{downloads}{r} });
    return ($all / $got->{self}{ran}, (look(@pids)->{cpu} - $before->{cpu}) / ($all || 1));
}

1;
