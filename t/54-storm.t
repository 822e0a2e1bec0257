# SPDX-License-Identifier: Apache-2.0
#
# A short storm: clients of every kind while children and everything are killed,
# restarted and configured anew; afterwards what they received is what was counted.
# `make storm MINUTES=30 SEED=7` is the long form, in which there is HTTP/2, copies
# are cut, their disk is full and the clock jumps. Those are not in the short one
# as long as it is not known why some 24 kB are missing after one run in five.
#
# Timed.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use Test::More;
use XL::Storm;

my $wild   = defined $ENV{XL_STORM_SECONDS};
my $report = XL::Storm->new(seconds => $ENV{XL_STORM_SECONDS} // 15, seed => $ENV{XL_STORM_SEED} // 7,
    wild => $wild)->run;
my $events = join ', ', map { "$report->{events}{$_} x $_" } sort keys %{ $report->{events} };

note("$events: $report->{complete} responses, $report->{streams} of them by HTTP/2, $report->{cut} cut; "
    . "$report->{received} bytes received, $report->{counted} counted");
cmp_ok($report->{complete}, '>', 200, 'hundreds of responses');
cmp_ok($report->{streams}, '>', 20, '... some of them by HTTP/2') if $wild;
cmp_ok($report->{cut}, '>', 0, '... and some were cut');
is(join("\n", @{ $report->{faults} }), '', "everything is right after $events");

done_testing;
