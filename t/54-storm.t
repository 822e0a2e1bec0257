# SPDX-License-Identifier: Apache-2.0
#
# A short storm: clients of every kind while children and everything are killed,
# restarted and configured anew, the copy is cut, its disk is full and the clock
# jumps; afterwards what they received is what was counted.
# `make storm MINUTES=30 SEED=7` is the long form.
#
# Timed.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use Test::More;
use XL::Storm;

my $report = XL::Storm->new(seconds => $ENV{XL_STORM_SECONDS} // 15, seed => $ENV{XL_STORM_SEED} // 7)->run;
my $events = join ', ', map { "$report->{events}{$_} x $_" } sort keys %{ $report->{events} };

note("$events: $report->{complete} responses, $report->{streams} of them by HTTP/2, $report->{cut} cut; "
    . "$report->{received} bytes received, $report->{counted} counted");
cmp_ok($report->{complete}, '>', 200, 'hundreds of responses');
cmp_ok($report->{streams}, '>', 20, '... some of them by HTTP/2');
cmp_ok($report->{cut}, '>', 0, '... and some were cut');
is(join("\n", @{ $report->{faults} }), '', "everything is right after $events");

done_testing;
