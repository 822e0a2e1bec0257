# SPDX-License-Identifier: Apache-2.0
#
# The fuzz targets without libFuzzer: each one, built by the compiler of the
# module, takes the files of its corpus and every beginning of them. A target
# without a corpus, or a corpus without a target, is a fault.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use Test::More;
use XL::System qw(build_dir project);

chdir project() or die "chdir: $!";

my @names   = sort map { m{^fuzz/(?!replay)(\w+)\.c$} ? $1 : () } glob 'fuzz/*.c';
my @corpora = sort map { m{([^/]+)/$} ? $1 : () } glob 'fuzz/corpus/*/';
is("@corpora", "@names", 'every target has its corpus');
cmp_ok(scalar @names, '>=', 10, '... and there are some');

for my $name (@names) {
    my @files = sort glob "fuzz/corpus/$name/*";
    my $bytes = 0;
    $bytes += -s $_ for @files;
    cmp_ok($bytes, '<', 32 * 1024, "$name: a corpus of few bytes");
    my $program = build_dir() . "/fuzz/$name";
    my @said = qx(timeout 60 '$program' @files 2>&1);
    is($?, 0, '... which it survives') or diag @said;
    is(scalar(grep /^ok \d+ - .*, [1-9]\d* inputs$/, @said), scalar @files, '... all of it');
}

# what must not be is noticed: an input that cannot be read, none at all
my $program = build_dir() . "/fuzz/$names[0]";
isnt(system("$program /nonexistent >/dev/null 2>&1"), 0, 'a file that is not there is a failure');
isnt(system("$program >/dev/null 2>&1"), 0, '... and so is nothing to do');

done_testing;
