# SPDX-License-Identifier: Apache-2.0
#
# The short form of the sanitized runs: the module under AddressSanitizer and
# UBSan answers requests of every kind, what reads bytes of others is fed with
# its corpora, and the stores that threads and processes share run under
# ThreadSanitizer. `test SAN=address,undefined` is the long form.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use Test::More;
use XL::System qw(build_dir project);

chdir project() or die "chdir: $!";
delete @ENV{ grep { /^MAKE|^MFLAGS$/ } keys %ENV }; # of the make that runs this test

plan skip_all => 'this build is sanitized already' if build_dir() =~ m{/san-};

# Returns the folder in which these were built with that sanitizer.
sub built {
    my ($san, @what) = @_;
    my $dir = build_dir() . '/san-' . $san =~ tr/,/-/r;
    my @said = qx(make -f Makefile.apxs --no-print-directory JOBS=1 SAN=$san BUILD='$dir' @{[map { "'$dir/$_'" } @what]} 2>&1);
    is($?, 0, "$san: builds") or diag @said[-20 .. -1];
    return $dir;
}

sub runs {
    my ($what, $command) = @_;
    my @said = qx(timeout 200 $command 2>&1);
    return is($?, 0, $what) || diag @said > 60 ? @said[-60 .. -1] : @said;
}

subtest 'addresses and what C does not define' => sub {
    my @units = qw(decide image kept ledger render table validate);
    my @fuzz  = qw(kept ledger query render table text units);
    my $dir   = built('address,undefined', 'mod_xlimit.so', map({ "unit/$_" } @units), map { "fuzz/$_" } @fuzz);
    runs("unit $_", "'$dir/unit/$_'") for @units;
    runs("corpus of $_", "'$dir/fuzz/$_' fuzz/corpus/$_/*") for @fuzz;
    runs($_, "env XL_BUILD='$dir' prove -q $_") for qw(t/27-ends.t);
};

subtest 'threads and processes' => sub {
    my $dir = built('thread', map { "unit/$_" } qw(connections ledger_kill table_kill));
    runs("unit $_", "'$dir/unit/$_' 200") for qw(ledger_kill table_kill);
    runs('unit connections', "'$dir/unit/connections'");
};

done_testing;
