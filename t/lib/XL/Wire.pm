# SPDX-License-Identifier: Apache-2.0
#
# XL::Wire: what came out of a connection, in a form that can be compared: heads as they
# are, bodies without chunk framing, trailers; what differs from server to server and
# from second to second is blanked. For XL::Same.
package XL::Wire;

use strict;
use warnings;

use Digest::MD5 qw(md5_hex);
use Exporter qw(import);
use List::Util qw(max min);
use Test::More;

our @EXPORT_OK = qw(blank plain same_wire statuses);

# What is one server's own: its ports, its folder. And what is made at random or by the clock.
sub blank {
    my ($server, $text) = @_;
    my $root = quotemeta $server->root;
    $text =~ s{$root}{/root}g;
    for my $port (grep { defined } @{ $server->{port} }, $server->{tls_port}) {
        $text =~ s/:$port\b/:PORT/g;
        $text =~ s/ Port $port\b/ Port PORT/g;
    }
    $text =~ s/^(Date|Age|Expires): [^\r\n]*/$1: -/mgi;
    # files of a test's own are of 2020
    $text =~ s/^(Last-Modified: )(?!.* 2020 )[^\r\n]*(\r\nETag: )[^\r\n]*/$1-$2-/mg;
    # from a hash that each server makes of its own
    $text =~ s/^(Allow: )([^\r\n]*)/$1 . join ',', sort split m{,}, $2/mgie;
    $text =~ s/((?: xmlns:\w+="[^"]*")+)/join ' ', sort split m{ }, $1/ge;
    $text =~ s/^Content-Length: \d+(\r\n(?:[^\r\n]+\r\n)*Content-Type: multipart\/byteranges)/Content-Length: -$1/mgi;
    my %boundary = map { $_ => 1 } $text =~ /boundary=([0-9a-f]{8,16})\b/g;
    $text =~ s/$_/BOUNDARY/g for keys %boundary;
    $text =~ s/(opaquelocktoken:|nonce=")[0-9A-Za-z+\/=-]+/$1-/g;
    $text =~ s{(<lp1:creationdate>|<lp1:getlastmodified>|<lp1:getetag>).*?(</lp1)}{$1-$2}g;
    return $text;
}

# Both of a stream: its text, and the statuses of the responses in it. A response that is
# no such, or that ends early, is left as it is.
sub plain {
    my ($stream, @methods) = @_;
    my ($text, @statuses) = ('');
    while (length $stream) {
        my $end = index $stream, "\r\n\r\n";
        my ($status) = $stream =~ m{\AHTTP/1\.[01] (\d{3})};
        last if $end < 0 || !$status;
        my $head = substr $stream, 0, $end + 4, '';
        push @statuses, $status;
        $text .= $head;
        last if $status == 101;
        next if $status =~ /^1/;
        my $method = shift @methods // 'GET';
        $text .= body($head, \$stream) if $method ne 'HEAD' && $status !~ /^(204|304)$/;
    }
    return ($text . $stream, @statuses);
}

# What is long and not made by httpd itself is as good as its sum.
sub body {
    my ($head, $stream) = @_;
    my $body = whole_body($head, $stream);
    return $body if length $body < 50_000 || $head =~ /^content-type: *multipart/mi;
    return ($body =~ /\A(\[[^\]]*\])/ ? $1 : '') . length($body) . ' bytes, ' . md5_hex($body) . substr $body, -30;
}

sub whole_body {
    my ($head, $stream) = @_;
    return chunks($stream) if $head =~ /^transfer-encoding: *chunked\r$/mi;
    return substr $$stream, 0, $1, '' if $head =~ /^content-length: *(\d+)\r$/mi;
    return '[until the end]' . substr $$stream, 0, length $$stream, '';
}

sub chunks {
    my ($stream) = @_;
    my ($body, $at, $trailer) = ('', 0);
    while ($$stream =~ /\G([0-9a-f]+) *\r\n/gci) {
        $at = pos $$stream;
        my $size = hex $1;
        if (!$size) {
            $trailer = $$stream =~ /\G((?:[^\r\n]+\r\n)*)\r\n/gc ? $1 : '[no end]';
            last;
        }
        $body .= substr $$stream, $at, $size;
        pos($$stream) = $at = min($at + $size + 2, length $$stream);
    }
    substr $$stream, 0, pos($$stream) // length $$stream, '';
    return "[chunked]${body}[trailer]" . ($trailer // '[cut]');
}

# Of a case, but for those of the end.
sub statuses {
    my ($job) = @_;
    my (undef, @statuses) = plain($job->{got}, @{ $job->{methods} });
    pop @statuses if $job->{asked_end} && grep({ !/^1/ } @statuses) == @{ $job->{methods} };
    return join ' ', @statuses, $job->{got} =~ /\[timeout\]\z/ ? 'and no end' : ();
}

sub same_wire {
    my ($title, $left, $right) = @_;
    my ($a, $b) = map { blank($_->{server}, (plain($_->{got}, @{ $_->{methods} }))[0]) } $left, $right;
    return 1 if ok($a eq $b, $title);
    my $at = ($a ^ $b) =~ /\A\0*/ ? $+[0] : 0;
    diag(sprintf "they part at byte %d; %d and %d bytes", $at, length $a, length $b);
    diag(map { s/[^\r\n -~]/?/gr . "\n--\n" } map { substr $_, max(0, $at - 200), 300 } $a, $b);
    return 0;
}

1;
