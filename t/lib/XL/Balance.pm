# SPDX-License-Identifier: Apache-2.0
#
# XL::Balance: what a server counted, held against what its clients received, for the
# tests that kill it meanwhile.
#
#     my $s = XL::Server->new(ports => 2, conf => balance_conf() . 'XLimitBandwidth session 200kB/s');
#     my $before = numbers($s);
#     my $join = load($s, 8, path => '/400k.bin');      8 downloads are under way
#     $s->kill9_all;
#     my @got = $join->();
#     balanced($before, settled($s), \@got, 'all killed');
package XL::Balance;

use strict;
use warnings;

use Exporter qw(import);
use JSON::PP qw(decode_json encode_json);
use List::Util qw(sum0);
use POSIX ();
use Test::More;

use XL::Client qw(fetch_many);
use XL::Status qw(status status_conf);

our @EXPORT_OK = qw($NAME active balance_conf balanced downloads in_background load numbers one_line settled);

our $NAME = 'fixed.example'; # the port is not the same after every start

# What is looked at: two quotas and a bandwidth that nothing comes near, unless that is
# given; and room for the children of some generations.
sub balance_conf {
    my ($pool) = @_;
    $pool //= '100MB/s';
    return <<"CONF" . status_conf();
ServerName $NAME:80
ServerLimit 8
XLimitQuota all 1TB 1d name=bytes
XLimitQuota all 1000000000r 1d name=requests
XLimitBandwidth all $pool name=pool
CONF
}

# Runs in a process of its own; what comes back waits for the result.
sub in_background {
    my ($code) = @_;
    my $pid = open(my $pipe, '-|') // die "fork: $!";
    if (!$pid) {
        print encode_json($code->());
        close STDOUT;
        POSIX::_exit(0);
    }
    return sub { local $/; my $text = <$pipe>; close $pipe; return @{ decode_json($text) } };
}

sub downloads {
    my ($count, %option) = @_;
    my $list = fetch_many([map { { %option } } 1 .. $count], until => 20);
    return [map { { bytes => $_->{bytes}, complete => $_->{complete}, ended => $_->{ended}, started => $_->{started} } }
            @$list];
}

# The downloads are under way when it returns.
sub load {
    my ($s, $count, %option) = @_;
    my $before = active($s);
    my %all = (port => $s->port, %option);
    my $join = in_background(sub { downloads($count, %all) });
    $s->wait_for(sub { active($s) >= $before + $count }, 5) or die 'only ' . active($s) . ' of them run';
    return $join;
}

# All of one look at the page, without the rows of other hosts and of .htaccess, of which
# there may be many.
sub numbers {
    my ($s) = @_;
    my $page = status($s, "name=$NAME&top=10");
    my ($vhost) = @{ $page->{vhosts} };
    my %limit = map { $_->{name} => $_ } @{ $page->{limits} };
    return { sent => $vhost->{sent}, requests => $vhost->{requests}, active => $vhost->{active},
        bytes => $limit{bytes}{used}, counted => $limit{requests}{used}, pool => $limit{pool}{active} };
}

sub active   { return numbers($_[0])->{active} }
sub one_line { join ' ', map { "$_=$_[0]{$_}" } sort keys %{ $_[0] } }

# Nobody is served: active counts are 0 within two seconds.
sub settled {
    my ($s) = @_;
    $s->wait_for(sub { !active($s) }, 2) or diag('still active: ' . active($s));
    return numbers($s);
}

# What was received since $before is what was counted since; of a response that
# was cut, a chunk may have been counted that its process no longer wrote.
sub balanced {
    my ($before, $after, $got, $what, $chunk) = @_;
    $chunk //= 16_384;
    my $received = sum0(map { $_->{bytes} } @$got);
    my $cut = grep { !$_->{complete} } @$got;
    my $more = $after->{sent} - $before->{sent} - $received;

    if ($cut) {
        cmp_ok($more, '>=', 0, "$what: everything that clients received is counted");
        cmp_ok($more, '<=', $cut * $chunk, '... and of each response that was cut no more than a chunk on top');
    }
    else {
        is($more, 0, "$what: counted is what the clients received, to the byte");
    }
    is($after->{bytes} - $before->{bytes}, $after->{sent} - $before->{sent}, '... in the quota, too');
    is($after->{requests} - $before->{requests}, scalar @$got, '... and every request');
    is($after->{counted} - $before->{counted}, scalar @$got, '... in the quota of requests, too');
    return;
}

1;
