# SPDX-License-Identifier: Apache-2.0
#
# Bench::Net: the wire between the benchmarks' servers and their load client. As
# root: a network namespace for the servers and one for the clients with a veth
# pair between them, so that TCP cuts segments, queues and acknowledges as it
# does on a network. Both namespaces have no name and live as long as the
# benchmark: there is nothing to clean up, whatever ends it. Elsewhere: loopback,
# with the segment size set by the client. Nothing of the machine's own network
# is touched.
package Bench::Net;

use strict;
use warnings;

use Exporter qw(import);

our @EXPORT_OK = qw(wire);

use constant { SERVER => '10.77.0.1', CLIENT => '10.77.0.2', MANY => '10.78.0.0/16', FIRST => '10.78.0.1',
    MSS => 1448 };

my $wire;

# { host => of the servers, from => first of many addresses of clients, mss => for the load client,
#   inside => [command that runs the load client where it belongs], said => for people }
# Must be called first: it starts the program anew.
sub wire {
    return $wire //= $> == 0 && !$ENV{XL_BENCH_LOOPBACK} ? namespaces() : loopback();
}

sub loopback {
    return { host => '127.0.0.1', from => '127.1.0.1', mss => MSS, inside => [],
        said => 'loopback, segments of ' . MSS . ' bytes set by the client' };
}

sub namespaces {
    if (!$ENV{XL_BENCH_NAMESPACE}) {
        local $ENV{XL_BENCH_NAMESPACE} = 1;
        system('unshare', '-n', 'true') == 0 or return loopback();
        exec 'unshare', '-n', $^X, $0, @ARGV or die "unshare: $!\n";
    }
    my $keeper = keeper();
    run(qw(ip link set lo up));
    run(qw(ip link add xlb0 type veth peer name xlb1 netns), $keeper);
    run(qw(ip addr add), SERVER . '/30', qw(dev xlb0));
    run(qw(ip link set xlb0 up));
    run(qw(ip route add), MANY, 'via', CLIENT);
    my @inside = ('nsenter', "--net=/proc/$keeper/ns/net");
    run(@inside, qw(ip link set lo up));
    run(@inside, qw(ip addr add), CLIENT . '/30', qw(dev xlb1));
    run(@inside, qw(ip link set xlb1 up));
    run(@inside, qw(ip route add local), MANY, qw(dev lo));
    return { host => SERVER, from => FIRST, mss => 0, inside => \@inside,
        said => 'two network namespaces and a veth pair, MTU 1500' };
}

# A process that holds the clients' namespace and goes with this one.
sub keeper {
    pipe my $reads, my $writes or die "pipe: $!\n";
    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        open STDOUT, '>&', $writes;
        exec qw(setpriv --pdeathsig KILL unshare -n sh -c), 'echo ready; exec sleep 1d >/dev/null';
    }
    close $writes;
    defined <$reads> or die "bench: no namespace for the clients\n";
    return $pid;
}

sub run { system(@_) == 0 or die "bench: @_: failed\n" }

1;
