# SPDX-License-Identifier: Apache-2.0
#
# XL::Copy: the files of copies beside a state file, of counters and of keys, read
# and damaged without the module's help. The layouts are those of
# include/xl_image.h and xl_kept.h; the offsets stand here once more on purpose.
#
#     my @heads = heads($path);          of both slots: at sequence body_at length writer wall entry mono
#     my ($newest, $other) = slots($path);
#     my ($newest, $other) = whole($path);   only those whose checksums hold, with
#                                            {entries} as XL::Ledger has them
#     set($path, $head, length => 7);    a field of a head, with a right checksum
#     seal($path, $head);                the checksum of its body, too, is right again
#     my @keys = keys_of($path);         of the newest copy: at kind (2: locked out, 3: has used) text word used0 used1
package XL::Copy;

use strict;
use warnings;

use Carp qw(croak);
use Compress::Zlib ();
use Exporter qw(import);

use XL::Ledger qw(patch);
use XL::System qw(slurp);

our @EXPORT_OK = qw(heads keys_of seal set slots whole);

use constant { PAGE => 4096, HEAD => 128, FIXED => 124, KEY => 88 };

# field => [offset, how it is packed]
my %FIELD = (version => [8, 'L'], order => [12, 'L'], ledger_version => [16, 'L'], entry => [20, 'L'],
    verdicts => [24, 'L'], writer => [28, 'L'], sequence => [32, 'Q'], wall => [40, 'q'], body_at => [48, 'Q'],
    length => [56, 'Q'], boot => [64, 'a40'], mono => [104, 'Q'], body_crc => [120, 'L']);

sub heads {
    my ($path) = @_;
    my $bytes = slurp($path);
    my @heads;
    for my $at (0, PAGE) {
        my $head = substr $bytes, $at, HEAD;
        next if length $head < HEAD || $head !~ /\Axlimit(?:AB|KY)/;
        push @heads, { at => $at, map { ($_ => unpack $FIELD{$_}[1], substr $head, $FIELD{$_}[0]) } keys %FIELD };
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

sub seal {
    my ($path, $head) = @_;
    return set($path, $head, body_crc => Compress::Zlib::crc32(substr slurp($path), $head->{body_at}, $head->{length}));
}

sub keys_of {
    my ($path) = @_;
    my ($head) = -e $path ? slots($path) : ();
    my @keys;
    return @keys if !$head;
    my $body = substr slurp($path), $head->{body_at}, $head->{length};
    for (my $at = KEY; $at < length $body; $at += KEY) {
        my %key = (at => $head->{body_at} + $at);
        @key{qw(word used0 used1 kind text)} = unpack 'Q3 L Z20', substr $body, $at + 40, 48;
        $_ &= ~(1 << 63) for @key{qw(used0 used1)}; # which period it is of
        push @keys, \%key;
    }
    return @keys;
}

1;
