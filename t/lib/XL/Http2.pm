# SPDX-License-Identifier: Apache-2.0
#
# XL::Http2: a client of HTTP/2, with prior knowledge or by ALPN over TLS, for what
# curl cannot do: many streams on one connection of which each tells what it received
# and when, and streams that are reset. GET only. Of the header fields it knows those
# that it needs; windows are as large as can be, so that the server never waits for it.
#
#     my $client = XL::Http2->new(port => $server->port);
#     my @streams = map { $client->get('/1mb.bin') } 1 .. 4;
#     $client->reset_stream($streams[0]);
#     run([$client, ...], until => 5, events => [[2, sub { ... }]]);
#
# A stream: path status retry_after length bytes (of its body) started first
# ended (times) series [[time, bytes so far], ...] complete error ('' or why not:
# reset, closed, until).
package XL::Http2;

use strict;
use warnings;

use Carp qw(croak);
use Exporter qw(import);

use XL::Client qw(now);

our @EXPORT_OK = qw(run);

use constant { DATA => 0, HEADERS => 1, RST_STREAM => 3, SETTINGS => 4, PING => 6, GOAWAY => 7, WINDOW_UPDATE => 8 };
use constant { END_STREAM => 1, ACK => 1, END_HEADERS => 4, PADDED => 8, PRIORITY => 32 };
use constant { TABLE_SIZE => 1, PUSH => 2, WINDOW => 4, MOST => 2**31 - 1, CANCEL => 8, TICK => 0.002 };

# Of HPACK's static table, and of its Huffman code.
my %status = (8 => 200, 9 => 204, 10 => 206, 11 => 304, 12 => 400, 13 => 404, 14 => 500);
my %field  = ((map { $_ => 'status' } keys %status), 28 => 'length', 53 => 'retry_after');
my %digit  = ('00000' => 0, '00001' => 1, '00010' => 2, '011001' => 3, '011010' => 4, '011011' => 5, '011100' => 6,
    '011101' => 7, '011110' => 8, '011111' => 9);

# Options: port, from, tls (1), window (of each stream, in bytes).
sub new {
    my ($class, %option) = @_;
    my $self = bless { socket => XL::Client::open_socket(\%option), read => '', next => 1, streams => {} }, $class;
    if ($option{tls}) {
        XL::Client::start_tls($self->{socket}, 'h2');
        $self->{socket}->connect_SSL or croak "TLS: $IO::Socket::SSL::SSL_ERROR";
        croak 'no HTTP/2' if ($self->{socket}->alpn_selected // '') ne 'h2';
    }
    $self->{socket}->blocking(0);
    $self->send_raw("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    $self->send_frame(SETTINGS, 0, 0, pack '(nN)3', TABLE_SIZE, 0, PUSH, 0, WINDOW, $option{window} // MOST);
    $self->send_frame(WINDOW_UPDATE, 0, 0, pack 'N', MOST - 65_535);
    return $self;
}

# A few hundred bytes each, which an empty socket takes.
sub send_raw {
    my ($self, $bytes) = @_;
    local $SIG{PIPE} = 'IGNORE';
    return ($self->{socket} && syswrite($self->{socket}, $bytes) // 0) == length $bytes;
}

sub send_frame {
    my ($self, $type, $flags, $id, $payload) = @_;
    my $length = length $payload;
    return $self->send_raw(pack('CnCCN', $length >> 16, $length & 0xFFFF, $type, $flags, $id) . $payload);
}

sub get {
    my ($self, $path) = @_;
    my $id = $self->{next};
    $self->{next} += 2;
    # :method GET, :scheme http, :authority and :path as plain text, at most 127 bytes
    my $block = "\x82\x86\x01\x09localhost\x04" . chr(length $path) . $path;
    my $stream = $self->{streams}{$id} = { id => $id, path => $path, bytes => 0, series => [], started => now(),
        complete => 0, error => '' };
    $self->send_frame(HEADERS, END_STREAM | END_HEADERS, $id, $block) or $self->end($stream, 'closed');
    return $stream;
}

sub reset_stream {
    my ($self, $stream) = @_;
    $self->send_frame(RST_STREAM, 0, $stream->{id}, pack 'N', CANCEL);
    return $self->end($stream, 'reset');
}

sub end {
    my ($self, $stream, $error) = @_;
    delete $self->{streams}{ $stream->{id} };
    @{$stream}{qw(ended error complete)} = (now(), $error, $error eq '' ? 1 : 0);
    return;
}

sub close {
    my ($self, $error) = @_;
    close delete $self->{socket} if $self->{socket};
    $self->end($_, $error // 'closed') for values %{ $self->{streams} };
    return;
}

# Until no stream is open any more, or for so many seconds: then those that are
# end as `until`, and with close => 1 all connections do. An event runs so many
# seconds after the call, and may begin streams.
sub run {
    my ($clients, %option) = @_;
    my $begin = now();
    my $end = $begin + ($option{until} // 60);
    my @events = sort { $a->[0] <=> $b->[0] } @{ $option{events} // [] };

    while ((my $now = now()) < $end) {
        (shift @events)->[1]->() while @events && $begin + $events[0][0] <= $now;
        last if !@events && !grep { %{ $_->{streams} } } @$clients;
        my $wait = (@events ? $begin + $events[0][0] : $end) - now();
        my $bits = '';
        vec($bits, fileno $_->{socket}, 1) = 1 for grep { $_->{socket} } @$clients;
        select $bits, undef, undef, $wait > 0 ? $wait : 0;
        select undef, undef, undef, TICK;
        for my $client (grep { $_->{socket} } @$clients) {
            $client->read_some if vec $bits, fileno $client->{socket}, 1;
        }
    }
    for my $client (@$clients) {
        $client->end($_, 'until') for values %{ $client->{streams} };
        $client->close if $option{close};
    }
    return;
}

sub read_some {
    my ($self) = @_;
    while (1) {
        my $n = sysread $self->{socket}, $self->{read}, 65_536, length $self->{read};
        return $self->close if defined $n ? !$n : !$!{EAGAIN};
        last if !defined $n;
        $self->take_frames(now());
        return if !$self->{socket};
    }
    return;
}

sub take_frames {
    my ($self, $now) = @_;
    while (length $self->{read} >= 9) {
        my ($high, $low, $type, $flags, $id) = unpack 'CnCCN', $self->{read};
        my $length = $high << 16 | $low;
        last if length $self->{read} < 9 + $length;
        my $payload = substr $self->{read}, 9, $length;
        substr $self->{read}, 0, 9 + $length, '';
        $self->take_frame($type, $flags, $id, $payload, $now);
    }
    return;
}

sub take_frame {
    my ($self, $type, $flags, $id, $payload, $now) = @_;
    $self->send_frame(SETTINGS, ACK, 0, '') if $type == SETTINGS && !($flags & ACK);
    $self->send_frame(PING, ACK, 0, $payload) if $type == PING && !($flags & ACK);
    my $stream = $self->{streams}{$id} or return;
    return $self->end($stream, 'reset') if $type == RST_STREAM;
    return if $type != DATA && $type != HEADERS;

    my ($skip, $padding) = $flags & PADDED ? (1, ord $payload) : (0, 0);
    if ($type == HEADERS) {
        croak 'a head in more than one frame' if !($flags & END_HEADERS);
        $skip += 5 if $flags & PRIORITY;
        take_fields($stream, substr $payload, $skip, length($payload) - $skip - $padding);
    }
    elsif (my $n = length($payload) - $skip - $padding) {
        $stream->{first} //= $now;
        $stream->{bytes} += $n;
        push @{ $stream->{series} }, [$now, $stream->{bytes}];
    }
    $self->end($stream, '') if $flags & END_STREAM;
    return;
}

# ---- HPACK ------------------------------------------------------------------

sub take_fields {
    my ($stream, $block) = @_;
    while (length $block) {
        my $first = ord $block;
        if ($first & 0x80) {
            my $index = take_number(\$block, 7);
            $stream->{status} = $status{$index} if $status{$index};
        }
        elsif (($first & 0xE0) == 0x20) { # how large the dynamic table is: ours is empty
            take_number(\$block, 5);
        }
        else {
            my $name = $field{ take_number(\$block, $first & 0x40 ? 6 : 4) || take_text(\$block) } // 'other';
            my $value = take_text(\$block);
            $stream->{$name} = $value if $name ne 'other';
        }
    }
    return;
}

sub take_number {
    my ($block, $bits) = @_;
    my $most = (1 << $bits) - 1;
    my $number = ord(substr $$block, 0, 1, '') & $most;
    return $number if $number < $most;
    for (my $shift = 0;; $shift += 7) {
        my $byte = ord substr $$block, 0, 1, '';
        $number += ($byte & 0x7F) << $shift;
        return $number if !($byte & 0x80);
    }
}

# Of what is compressed only digits are understood; '?' is the rest.
sub take_text {
    my ($block) = @_;
    my $packed = ord($$block) & 0x80;
    my $length = take_number($block, 7);
    my $text = substr $$block, 0, $length, '';
    return $text if !$packed;
    my ($bits, $digits) = (unpack('B*', $text), '');
    $digits .= $digit{$1} while $bits =~ s/^(000(?:00|01|10)|011(?:001|01[01]|1[01][01]))//;
    return $bits =~ /^1{0,7}\z/ ? $digits : '?';
}

1;
