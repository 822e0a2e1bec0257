# SPDX-License-Identifier: Apache-2.0
#
# The tree itself: its checks hold and prove that they can fail, the module
# exports its record alone, and tools/need does what it says without touching
# this machine's packages.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use File::Temp ();
use Test::More;
use XL::System qw(build_dir project spew);

chdir project() or die "chdir: $!";

for my $check (qw(check_layers check_docs)) {
    my $said = qx(tools/$check 2>&1);
    is($?, 0, "tools/$check") or diag $said;
    $said = qx(tools/$check --prove 2>&1);
    is($?, 0, "tools/$check --prove") or diag $said;
    cmp_ok(scalar(() = $said =~ /^right:/mg), '>=', 15, '... by its planted violations');
}

my $module = build_dir() . '/mod_xlimit.so';
# but for what a sanitizer adds to it
my @exported = map { /\s[A-TV-Z]\s+(?!__odr_asan)(\w+)/ ? $1 : () } qx(nm -D --defined-only '$module');
is("@exported", 'xlimit_module', 'the module exports its record and nothing else');

# What hardens it, for a process that strangers talk to; a sanitizer has its own.
SKIP: {
    my %header = map { /^\s+(GNU_\w+)\s+.*?\s([RWE ]{3})\s+0x/ ? ($1 => $2) : () } qx(readelf -lW '$module');
    my $dynamic = qx(readelf -dW '$module');
    my $symbols = qx(nm -D --undefined-only '$module');
    like($header{GNU_STACK} // 'none', qr/^RW /, 'the module needs no stack that can be executed');
    ok($header{GNU_RELRO}, 'what is relocated is read-only afterwards');
    like($dynamic, qr/\bBIND_NOW\b|Flags:.*\bNOW\b/, '... all of it, at once');
    unlike($dynamic, qr/\bTEXTREL\b|\bRPATH\b|\bRUNPATH\b/, '... no code is, and no library is looked for elsewhere');
    skip 'sanitized', 2 if $symbols =~ /__(?:asan|tsan|ubsan|msan)_/;
    like($symbols, qr/\b__stack_chk_fail\b/, 'stacks are protected');
    like($symbols, qr/\b__\w+_chk\b(?<!__stack_chk)/, 'copies are checked against the size of their target');
}

# tools/need on a machine where the package jq is missing until it is installed
sub need {
    my ($id) = @_;
    my $dir = File::Temp->newdir;
    my %command = (
        id           => "echo $id",
        'dpkg-query' => qq{[ "\$4" = jq ] && ! [ -e $dir/jq-is-there ] || echo installed},
        'apt-get'    => qq{echo "\$DEBIAN_FRONTEND: \$*" >>$dir/ran; case "\$*" in *install*) touch $dir/jq-is-there;; esac},
    );
    for my $name (keys %command) {
        spew("$dir/$name", "#!/bin/sh\n$command{$name}\n");
        chmod 0755, "$dir/$name";
    }
    my $said = qx(PATH=$dir:\$PATH tools/need 2>&1);
    my $exit = $? >> 8;
    my $ran = -e "$dir/ran" ? XL::System::slurp("$dir/ran") : '';
    return ($exit, $said, $ran, scalar qx(PATH=$dir:\$PATH tools/need 2>&1));
}

my ($exit, $said, $ran) = need(1000);
is($exit, 1, 'need, as a user: fails');
like($said, qr/^As root: .*apt-get install -y --no-install-recommends jq$/m, '... and names the command');
is($ran, '', '... and installs nothing');

($exit, $said, $ran, my $again) = need(0);
is($exit, 0, 'need, as root: succeeds');
like($ran, qr/\Anoninteractive: .*update\nnoninteractive: .*install -y --no-install-recommends jq\n\z/,
    '... by one update and one install');
is($again, '', '... and has nothing to do the next time');

for my $list (glob 'tools/deps*') {
    my @unexplained = grep { /^[a-z]/ && !/^\S+\s+\S/ } split /\n/, XL::System::slurp($list);
    is("@unexplained", '', "every package of $list has its reason");
}

# The README's two commands stand alone under their heading: they are what is tried first.
my ($start) = XL::System::slurp('README.md') =~ /^## Quick start\n(.*?)^#/ms;
is_deeply([map { /\S/ ? s/^    //r : () } split /\n/, $start],
    ['make -f Makefile.apxs demo', 'make -f Makefile.apxs test'], 'README: Quick start');

done_testing;
