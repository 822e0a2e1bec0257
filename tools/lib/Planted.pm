# SPDX-License-Identifier: Apache-2.0
#
# Planted: what the checks of the tree share: reading it, and proving a check by
# planting violations in a temporary copy.
package Planted;

use strict;
use warnings;

use File::Basename qw(dirname);
use File::Copy qw(copy);
use File::Find ();
use File::Path qw(make_path);
use File::Temp ();
use FindBin qw($Bin);

# Paths relative to the root whose name matches, below these files and folders.
sub files {
    my ($root, $name, @below) = @_;
    my @found;
    my @there = grep { -e } map { "$root/$_" } @below;
    return if !@there;
    File::Find::find({ no_chdir => 1, wanted => sub { push @found, $_ if -f && /$name/ } }, @there);
    return sort map { substr $_, 1 + length $root } @found;
}

sub read_file {
    my ($path) = @_;
    open my $file, '<', $path or die "$path: $!\n";
    local $/;
    return <$file> // '';
}

sub write_file {
    my ($path, $text) = @_;
    make_path(dirname($path));
    open my $file, '>', $path or die "$path: $!\n";
    print {$file} $text;
    close $file or die "$path: $!\n";
}

# C without its comments, strings kept, each on the line where it was.
sub without_comments {
    my ($text) = @_;
    $text =~ s{("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|(/\*.*?\*/|//[^\n]*)}{$1 // blank($2)}gse;
    return $text;
}

sub blank { $_[0] =~ s/[^\n]+/ /gr }

sub remove {
    my ($root, $name, @below) = @_;
    unlink map { "$root/$_" } files($root, $name, @below ? @below : '.');
}

# Runs check on a clean copy, which must pass, and on one copy per case, where
# it must say what the case tells. 0 when all was caught.
sub prove {
    my ($check, @cases) = @_;
    my $missed = 0;
    for my $case (['nothing in a clean copy'], @cases) {
        my ($what, $path, $plant, $expected) = @$case;
        my $copy = copy_of_tree(dirname($Bin));
        my $root = $copy->dirname;
        plant($root, $path, $plant) if $plant;
        my @faults = $check->($root);
        my $caught = $expected ? grep({ /$expected/ } @faults) : !@faults;
        printf "%s %s\n", $caught ? 'right:' : 'WRONG:', $what;
        next if $caught;
        $missed++;
        print map { "    said: $_\n" } @faults;
    }
    return $missed ? 1 : 0;
}

sub plant {
    my ($root, $path, $plant) = @_;
    return $plant->($root) if !defined $path;
    my $text = -e "$root/$path" ? read_file("$root/$path") : "/* SPDX-License-Identifier: Apache-2.0 */\n";
    write_file("$root/$path", ref $plant ? $plant->($text) : $text . $plant);
}

sub copy_of_tree {
    my ($root) = @_;
    my $copy = File::Temp->newdir('xlimit-XXXXXX', TMPDIR => 1);
    for my $path (files($root, qr/./, qw(mod_xlimit.c include modules status conf docs t))) {
        make_path(dirname("$copy/$path"));
        copy("$root/$path", "$copy/$path") or die "$path: $!\n";
    }
    return $copy;
}

1;
