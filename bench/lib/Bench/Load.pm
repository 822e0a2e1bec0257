# SPDX-License-Identifier: Apache-2.0
#
# Bench::Load: runs the load client with a plan and reads what it prints
# (bench/load_print.h has the form). Looks at the server meanwhile, at the
# moments that are asked for. Statistics of what came are here, too.
#
#     my $got = Bench::Load::run(end => 30, groups => [{ download => 1, name => 'd', n => 10, ... }],
#         at => [[5, sub { ... }], [25, sub { ... }]]);
package Bench::Load;

use strict;
use warnings;

use Exporter qw(import);
use List::Util qw(max min sum0);
use Time::HiRes qw(clock_gettime sleep CLOCK_MONOTONIC);

use Bench::Net qw(wire);
use XL::System qw(build_dir project);

our @EXPORT_OK = qw(average jain median percentile served steady variation whole_rate);

my @fields = qw(group id status requests bytes sent start request first end ahead behind mark_s mark_bytes
    burst_s burst_bytes gap error);

sub program {
    my @places = ($ENV{XL_LOAD} // (), build_dir() . '/bench/load', project() . '/build/bench/load');
    my ($found) = grep { -x } @places;
    return $found // die "bench: no load client at @places: `make -f Makefile.apxs bench BENCH=none` builds it\n";
}

# A plan's text. Each group: a hash of the keys that load_plan.c knows, `kind` is download (default), upload or probe.
sub plan {
    my (%option) = @_;
    my @lines = ("end=$option{end}", 'mss=' . wire()->{mss});
    for my $group (@{ $option{groups} }) {
        my %g = (host => wire()->{host}, %$group);
        my $kind = delete $g{kind} // 'download';
        push @lines, join ' ', $kind, map { "$_=$g{$_}" } grep { defined $g{$_} } sort keys %g;
    }
    return join '', map { "$_\n" } @lines;
}

# Fresh requests are timed by a process of their own: the turns of one that is busy with downloads would be in them.
sub run {
    my (%option) = @_;
    my ($work, $probes) = ([], []);
    push @{ ($_->{kind} // '') eq 'probe' ? $probes : $work }, $_ for @{ $option{groups} };
    my @clients = map { launch(plan(%option, groups => $_)) } grep { @$_ } $work, $probes
        or die "bench: a plan without groups\n";
    my $epoch = $clients[0]{epoch};
    for my $moment (sort { $a->[0] <=> $b->[0] } @{ $option{at} // [] }) {
        my $wait = $epoch + $moment->[0] - clock_gettime(CLOCK_MONOTONIC);
        sleep $wait if $wait > 0;
        $moment->[1]->(clock_gettime(CLOCK_MONOTONIC) - $epoch);
    }
    my $got = {};
    for my $client (@clients) {
        parse($client->{answer}, $got);
        waitpid $client->{pid}, 0;
        die "bench: the load client failed\n" if $?;
    }
    return $got;
}

sub launch {
    my ($text) = @_;
    pipe my $plan, my $ask or die "pipe: $!\n";
    pipe my $answer, my $says or die "pipe: $!\n";
    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        open STDIN, '<&', $plan;
        open STDOUT, '>&', $says;
        close $_ for $ask, $answer;
        exec 'setpriv', '--pdeathsig', 'KILL', @{ wire()->{inside} }, program() or POSIX::_exit(127);
    }
    close $_ for $plan, $says;
    print {$ask} $text;
    close $ask;
    my $line = <$answer> // '';
    $line =~ /^epoch\t([\d.]+)/ or die "bench: the load client did not start\n";
    return { pid => $pid, answer => $answer, epoch => $1 };
}

# { downloads => { group => [{...}] }, each => { group => [[bytes per second]] },
#   windows => { group => { ms => [bytes] } }, probes => { group => [{...}] }, self => of the first client {...} }
sub parse {
    my ($answer, $got) = @_;
    while (my $line = <$answer>) {
        chomp $line;
        my ($kind, @value) = split /\t/, $line;
        if ($kind eq 'd') {
            my %d;
            @d{@fields} = @value;
            push @{ $got->{downloads}{ $d{group} } }, \%d;
        }
        elsif ($kind eq 'e') { push @{ $got->{each}{ $value[0] } }, [@value[2 .. $#value]] }
        elsif ($kind eq 'w') { $got->{windows}{ $value[0] }{ $value[1] } = [@value[2 .. $#value]] }
        elsif ($kind eq 'p') {
            push @{ $got->{probes}{ $value[0] } }, { start => $value[1], ms => $value[2], status => $value[3],
                error => $value[4] };
        }
        elsif ($kind eq 'self') {
            $got->{self} //= { ran => $value[0], cpu => $value[1] + $value[2], longest_ms => $value[3] };
        }
    }
}

# ---- numbers ----------------------------------------------------------------

sub served { return grep { $_->{error} eq '-' && $_->{status} =~ /^2/ } @{ $_[0] } }

# Bytes per second of a whole response, from its request to its last byte.
sub whole_rate {
    my ($d) = @_;
    return $d->{end} > $d->{request} ? $d->{bytes} / ($d->{end} - $d->{request}) : 0;
}

# Bytes per second between two beginnings of a burst; undef: it was too short.
sub steady {
    my ($d) = @_;
    my $time = $d->{burst_s} - $d->{mark_s};
    return $d->{mark_s} && $time > 0 ? ($d->{burst_bytes} - $d->{mark_bytes}) / $time : undef;
}

sub jain {
    my $squares = sum0(map { $_ * $_ } @_);
    return $squares ? sum0(@_)**2 / (@_ * $squares) : 0;
}

# Standard deviation divided by the mean.
sub variation {
    my $mean = average(@_) || return 0;
    return sqrt(average(map { ($_ - $mean)**2 } @_)) / $mean;
}

sub average { return @_ ? sum0(@_) / @_ : 0 }

sub percentile {
    my ($part, @values) = @_;
    return 0 if !@values;
    @values = sort { $a <=> $b } @values;
    return $values[min($#values, int($part * @values))];
}

sub median {
    my @sorted = sort { $a <=> $b } @_;
    return @sorted ? ($sorted[$#sorted / 2] + $sorted[@sorted / 2]) / 2 : 0;
}

1;
