# SPDX-License-Identifier: Apache-2.0
#
# XL::Copy: the file of copies beside a state file, read and damaged without the
# module's help. The layout is that of include/xl_image.h; the offsets stand
# here once more on purpose.
#
#     my @heads = heads($path);          of both slots: at sequence body_at length writer wall entry
#     my ($newest, $other) = slots($path);
#     my ($newest, $other) = whole($path);   only those whose checksums hold, with
#                                            {entries} as XL::Ledger has them
#     set($path, $head, length => 7);    a field of a head, with a right checksum
package XL::Copy;

use strict;
use warnings;

use Carp qw(croak);
use Compress::Zlib ();
use Exporter qw(import);

use XL::Ledger qw(patch);
use XL::System qw(slurp);

our @EXPORT_OK = qw(heads set slots whole);

use constant { PAGE => 4096, HEAD => 128, FIXED => 124 };

# field => [offset, how it is packed]
my %FIELD = (version => [8, 'L'], order => [12, 'L'], ledger_version => [16, 'L'], entry => [20, 'L'],
    verdicts => [24, 'L'], writer => [28, 'L'], sequence => [32, 'Q'], wall => [40, 'q'], body_at => [48, 'Q'],
    length => [56, 'Q'], body_crc => [120, 'L']);

sub heads {
    my ($path) = @_;
    my $bytes = slurp($path);
    my @heads;
    for my $at (0, PAGE) {
        my $head = substr $bytes, $at, HEAD;
        next if length $head < HEAD || $head !~ /\AxlimitAB/;
        push @heads, { at => $at, map { ($_ => unpack $FIELD{$_}[1], substr $head, $FIELD{$_}[0], 8) } keys %FIELD };
    }
    return @heads;
}

sub slots { return sort { $b->{sequence} <=> $a->{sequence} } heads($_[0]) }

sub whole {
    my ($path) = @_;
    my ($bytes, @whole) = slurp($path);
    for my $slot (slots($path)) {
        my $head = substr $bytes, $slot->{at}, HEAD;
        next if unpack('L', substr $head, FIXED, 4) != Compress::Zlib::crc32(substr $head, 0, FIXED);
        my $body = substr $bytes, $slot->{body_at}, $slot->{length};
        next if $slot->{body_crc} != Compress::Zlib::crc32($body);
        my @entries = map { XL::Ledger::read_entry(substr($body, $_ * $slot->{entry}, $slot->{entry}), 0) }
            0 .. $slot->{length} / $slot->{entry} - 1;
        push @whole, { %$slot, entries => \@entries };
    }
    return @whole;
}

sub set {
    my ($path, $head, $field, $value) = @_;
    my ($offset, $how) = @{ $FIELD{$field} // croak "no field $field" };
    patch($path, $head->{at} + $offset, pack $how, $value);
    my $bytes = substr slurp($path), $head->{at}, FIXED;
    return patch($path, $head->{at} + FIXED, pack 'L', Compress::Zlib::crc32($bytes));
}

1;
