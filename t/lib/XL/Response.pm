# SPDX-License-Identifier: Apache-2.0
#
# XL::Response: one HTTP/1.1 response, fed with what the socket gave, piece by
# piece. It finds its own end (Content-Length, chunked, or the stream's), counts
# its body, and hands back in `rest` what belongs to the next response. Never
# looks at single bytes of a body.
package XL::Response;

use strict;
use warnings;

# state: head, length, size, chunk, crlf, trailer, stream, or undef when complete
sub new {
    my ($class, $method, $keep, $started) = @_;
    return bless { method => $method, started => $started, state => 'head', pending => '', rest => '',
        bytes => 0, body_length => 0, body => $keep ? '' : undef, status => 0, reason => '', head => '',
        headers => {}, interim => [], complete => 0, close => 0 }, $class;
}

sub feed {
    my ($self, $data, $now) = @_;
    $self->{first} //= $now;
    $self->{ended} = $now;
    my $before = length $self->{pending};
    $self->{bytes} += length $data;
    $data = $self->{pending} . $data if $before;
    $self->{pending} = '';

    while (!$self->{complete}) {
        my $step = "take_$self->{state}";
        last if !$self->$step(\$data);
    }
    if ($self->{complete}) {
        $self->{rest} = $data;
        $self->{bytes} -= length $data;
    }
    else {
        $self->{pending} = $data;
    }
    return;
}

# The connection has ended: that completes a response without a length.
sub end_of_stream {
    my ($self, $now) = @_;
    $self->{ended} = $now;
    $self->{close} = 1;
    $self->{complete} = 1 if $self->{state} eq 'stream';
    return;
}

# Each take_ consumes what it can of $$data; false: more is needed.

sub take_head {
    my ($self, $data) = @_;
    my $end = index $$data, "\r\n\r\n";
    return 0 if $end < 0;
    $self->{head} = substr $$data, 0, $end + 4, '';
    my ($line, @fields) = split /\r\n/, $self->{head};
    @{$self}{qw(status reason)} = $line =~ m{^HTTP/1\.[01] (\d{3}) ?(.*)} ? ($1, $2) : (0, $line);

    my %headers;
    for my $field (@fields) {
        my ($name, $value) = $field =~ /^([^:]+):\s*(.*?)\s*$/ or next;
        $name = lc $name;
        $headers{$name} = exists $headers{$name} ? "$headers{$name}, $value" : $value;
    }
    if ($self->{status} =~ /^1/) {
        push @{ $self->{interim} }, $self->{status};
        return 1;
    }
    $self->{headers} = \%headers;
    $self->begin_body;
    return 1;
}

sub begin_body {
    my ($self) = @_;
    my $headers = $self->{headers};
    $self->{close} = 1 if ($headers->{connection} // '') =~ /\bclose\b/i;
    if ($self->{method} eq 'HEAD' || $self->{status} == 204 || $self->{status} == 304) {
        $self->{complete} = 1;
    }
    elsif (lc($headers->{'transfer-encoding'} // '') eq 'chunked') {
        $self->{state} = 'size';
    }
    elsif (defined $headers->{'content-length'}) {
        $self->{left} = $headers->{'content-length'};
        $self->{state} = 'length';
        $self->{complete} = 1 if !$self->{left};
    }
    else {
        $self->{state} = 'stream';
    }
    return;
}

sub take_length {
    my ($self, $data) = @_;
    $self->take_body($data);
    $self->{complete} = 1 if !$self->{left};
    return 0;
}

sub take_stream {
    my ($self, $data) = @_;
    $self->{left} = length $$data;
    $self->take_body($data);
    return 0;
}

sub take_size {
    my ($self, $data) = @_;
    return 0 if $$data !~ s/^([0-9A-Fa-f]+)[^\r\n]*\r\n//;
    $self->{left} = hex $1;
    $self->{state} = $self->{left} ? 'chunk' : 'trailer';
    return 1;
}

sub take_chunk {
    my ($self, $data) = @_;
    $self->take_body($data);
    return 0 if $self->{left};
    $self->{state} = 'crlf';
    return 1;
}

sub take_crlf {
    my ($self, $data) = @_;
    return 0 if length $$data < 2;
    substr $$data, 0, 2, '';
    $self->{state} = 'size';
    return 1;
}

sub take_trailer {
    my ($self, $data) = @_;
    return 0 if $$data !~ s/^([^\r\n]*)\r\n//;
    $self->{complete} = 1 if $1 eq '';
    return 1;
}

sub take_body {
    my ($self, $data) = @_;
    my $n = length $$data;
    $n = $self->{left} if $n > $self->{left};
    $self->{left} -= $n;
    $self->{body_length} += $n;
    if ($n == length $$data && !defined $self->{body}) {
        $$data = '';
        return;
    }
    my $piece = substr $$data, 0, $n, '';
    $self->{body} .= $piece if defined $self->{body};
    return;
}

1;
