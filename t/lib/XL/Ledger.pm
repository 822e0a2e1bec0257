# SPDX-License-Identifier: Apache-2.0
#
# XL::Ledger: a state file as it lies on disk, read and damaged without the module's
# help. The layout is that of include/xl_ledger.h, version 1; the offsets stand
# here once more on purpose: a layout that changes without a new version has to
# fail a test.
#
#     my $ledger = ledger($path);     version rows boot_id entries spooled (bytes of all rows)
#     $ledger->{entries}[0]           offset kind vhost place name sent requests active (of all rows) refusing crowded
#     patch($path, 8, pack 'L', 2);   reseal($path);   # the checksum of the head is right again
package XL::Ledger;

use strict;
use warnings;

use Carp qw(croak);
use Compress::Zlib ();
use Exporter qw(import);
use List::Util qw(sum);

use XL::System qw(slurp);

our @EXPORT_OK = qw(ledger entry patch reseal);

use constant { HEAD => 4096, ROW => 64, SPOOLED => 16, FIXED => 60, BOOT_ID => 64, ENTRY => 640 };

our %AT = (kind => 0, vhost => 32, place => 160, name => 288, tat => 448, requests => 520, sent => 528,
    refusing => 536, crowded => 624, active => 640);

sub ledger {
    my ($path) = @_;
    my $image = slurp($path);
    my ($magic, $version, $order, $head, $row, $rows, $fixed, $entry) = unpack 'a8 L7', $image;
    croak "$path: no ledger that is known here" if $magic ne "xlimit\r\n" || $fixed != ENTRY || $row != ROW;
    croak "$path: its checksum does not match" if unpack('L', substr $image, FIXED, 4) != checksum($image);

    my @entries;
    for (my $at = HEAD + $rows * ROW; $at + $entry <= length $image; $at += $entry) {
        my $one = read_entry(substr($image, $at, $entry), $rows);
        push @entries, { %$one, offset => $at } if $one->{kind};
    }
    my $spooled = sum(map { unpack 'Q', substr $image, HEAD + ROW * $_ + SPOOLED, 8 } 0 .. $rows - 1);
    return { version => $version, rows => $rows, boot_id => unpack('Z40', substr $image, BOOT_ID, 40),
        entries => \@entries, spooled => $spooled };
}

sub read_entry {
    my ($bytes, $rows) = @_;
    my %entry = (kind => unpack 'L', $bytes);
    $entry{$_} = unpack 'Z128', substr $bytes, $AT{$_}, 128 for qw(vhost place name);
    $entry{$_} = unpack 'Q', substr $bytes, $AT{$_}, 8 for qw(tat requests sent refusing crowded);
    $entry{active} += $_ for unpack "l$rows", substr $bytes, $AT{active};
    return \%entry;
}

# The entry of that name ('' is a virtual host's own) of the virtual host whose name begins so.
sub entry {
    my ($ledger, $name, $vhost) = @_;
    my @found = grep { $_->{name} eq $name && index($_->{vhost}, $vhost) == 0 } @{ $ledger->{entries} };
    croak scalar(@found) . " entries called '$name' of $vhost" if @found != 1;
    return $found[0];
}

sub checksum { Compress::Zlib::crc32(substr $_[0], 0, FIXED) }

sub patch {
    my ($path, $offset, $bytes) = @_;
    open my $file, '+<:raw', $path or croak "$path: $!";
    seek $file, $offset, 0 or croak "$path: $!";
    print {$file} $bytes;
    close $file or croak "$path: $!";
    return;
}

sub reseal {
    my ($path) = @_;
    return patch($path, FIXED, pack 'L', checksum(slurp($path)));
}

1;
