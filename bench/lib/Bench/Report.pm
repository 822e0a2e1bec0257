# SPDX-License-Identifier: Apache-2.0
#
# Bench::Report: tables for people, on the screen and in the results' folder
# (XL_BENCH_OUT, else bench-results in the build folder). A table is a list of
# rows of columns; one of numbers is aligned to the right.
package Bench::Report;

use strict;
use warnings;

use Exporter qw(import);
use File::Path qw(make_path);
use List::Util qw(max);

use Bench::Machine qw(weather);
use Bench::Net qw(wire);
use XL::System qw(build_dir);

our @EXPORT_OK = qw(heading number out_dir say_line save table verdict);

my $log;

sub out_dir {
    my $dir = $ENV{XL_BENCH_OUT} // build_dir() . '/bench-results';
    make_path($dir);
    return $dir;
}

sub save {
    my ($name, $text) = @_;
    my $path = out_dir() . "/$name";
    open my $file, '>', $path or die "$path: $!\n";
    print {$file} $text;
    close $file or die "$path: $!\n";
    return $path;
}

# Begins the benchmark's own file of results.
sub heading {
    my ($name, $text) = @_;
    my $path = out_dir() . "/$name.txt";
    open $log, '>', $path or die "$path: $!\n";
    $log->autoflush;
    $| = 1;
    weather();
    say_line("\n$text");
    say_line(wire()->{said} . "; results in $path");
}

sub say_line {
    my ($text) = @_;
    print "$text\n";
    print {$log} "$text\n" if $log;
}

# The first row is the heads of the columns. Ends with the machine's weather since the last table.
sub table {
    my ($title, @rows) = @_;
    my @width = map { my $c = $_; max(map { length($_->[$c] // '') } @rows) } 0 .. $#{ $rows[0] };
    say_line("\n$title") if $title;
    for my $row (@rows) {
        my @cells = map { my $text = $row->[$_] // ''; $_ ? sprintf "%*s", $width[$_], $text
            : sprintf "%-*s", $width[$_], $text } 0 .. $#width;
        say_line('  ' . join('  ', @cells) =~ s/\s+\z//r);
    }
    my $weather = weather();
    say_line("  ($weather)") if $weather;
}

sub verdict { return $_[0] ? 'met' : 'MISSED' }

sub number {
    my $n = sprintf '%.0f', $_[0];
    1 while $n =~ s/^(-?\d+)(\d{3})/$1,$2/;
    return $n;
}

1;
