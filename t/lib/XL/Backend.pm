# SPDX-License-Identifier: Apache-2.0
#
# XL::Backend: a server to stand behind mod_proxy that says what the test wants, byte by
# byte, and may break off anywhere. A process for each connection; all end with the test.
#
#     my $backend = XL::Backend->new(sub { my ($socket, $path, $head) = @_; ...; return 1 });
#
# The code answers one request by writing to the socket, from which it reads the body, if
# there is one; true: the connection goes on. The request's head is as received.
package XL::Backend;

use strict;
use warnings;

use Carp qw(croak);
use POSIX ();

use XL::System qw(free_port);

my @pids;

sub new {
    my ($class, $answer) = @_;
    my $listen = free_port();
    listen $listen, 128 or croak "listen: $!";
    my $self = bless { port => $listen->sockport }, $class;
    start(sub { accept_all($listen, $answer) });
    return $self;
}

sub port { $_[0]{port} }

# Runs code in a process of its own until the test ends.
sub start {
    my ($code) = @_;
    my $pid = fork // croak "fork: $!";
    if ($pid) {
        push @pids, $pid;
        return $pid;
    }
    $SIG{$_} = 'DEFAULT' for qw(TERM INT HUP ALRM PIPE);
    setpgrp; # its own children go with it
    alarm 600; # and it does not outlive a test that was killed by much
    eval { $code->() };
    POSIX::_exit(0);
}

sub accept_all {
    my ($listen, $answer) = @_;
    $SIG{CHLD} = 'IGNORE';
    while (1) {
        my $socket = $listen->accept or next;
        my $pid = fork;
        next if $pid;
        alarm 100;
        eval { serve($socket, $answer) };
        POSIX::_exit(0);
    }
}

sub serve {
    my ($socket, $answer) = @_;
    while (1) {
        my $head = '';
        while ($head !~ /\r\n\r\n\z/) {
            sysread($socket, $head, 1, length $head) or return;
        }
        my ($path) = $head =~ m{\A\S+ (\S+)};
        $answer->($socket, $path, $head) or return;
    }
}

# The body of a request with that head, without chunk framing.
sub body {
    my ($socket, $head) = @_;
    return read_exactly($socket, $1) if $head =~ /^content-length: *(\d+)/mi;
    return '' if $head !~ /^transfer-encoding: *chunked/mi;
    my $body = '';
    while (1) {
        my $line = '';
        sysread($socket, $line, 1, length $line) or return $body while $line !~ /\n\z/;
        my $size = hex(($line =~ /^([0-9a-f]+)/i)[0] // 0);
        $body .= read_exactly($socket, $size) if $size;
        read_exactly($socket, 2);
        return $body if !$size;
    }
}

sub read_exactly {
    my ($socket, $length) = @_;
    my $data = '';
    while (length $data < $length) {
        sysread($socket, $data, $length - length $data, length $data) or last;
    }
    return $data;
}

sub say_all {
    my ($socket, $text) = @_;
    while (length $text) {
        my $n = syswrite($socket, $text) // return 0;
        substr $text, 0, $n, '';
    }
    return 1;
}

END {
    my $status = $?;
    for my $pid (@pids) {
        kill TERM => -$pid, $pid;
        waitpid $pid, 0;
    }
    $? = $status;
}

1;
