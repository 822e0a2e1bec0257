# SPDX-License-Identifier: Apache-2.0
#
# XL::Client: HTTP/1.1 on a bare socket, which tells what was received and when.
# Bytes are what came out of the socket (TLS: out of the TLS layer): status
# line, headers, framing and body, of interim responses too. Times are seconds
# of CLOCK_MONOTONIC. Bodies are counted, and kept only where asked for.
#
# One request at a time on a kept connection:
#
#     my $client = XL::Client->new(port => $server->port);
#     my $r = $client->request(GET => '/1mb.bin', headers => { Range => 'bytes=0-9' });
#
# $r: status reason headers (lower-case name => value, repeated ones joined by ", ")
#     head (as received) body (undef unless keep => 1) body_length bytes (of this response)
#     complete (framed to its end) started first ended (times)
#
# Many downloads at once, in one process: fetch_many, below.
package XL::Client;

use strict;
use warnings;

use Carp qw(croak);
use Exporter qw(import);
use IO::Socket::INET;
use POSIX ();
use Socket qw(:all);
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

use XL::Response;

our @EXPORT_OK = qw(now fetch fetch_many rates_per_second rate_between pace_between jain curl curl_series);

use constant { CHUNK => 65_536, TICK => 0.002 };

sub now { clock_gettime(CLOCK_MONOTONIC) }

# ---- one connection ---------------------------------------------------------

# Options: port, to (an IPv4 address, 127.0.0.1), from (the client's own), tls (1),
# timeout (30 s for each request), rcvbuf, maxseg.
sub new {
    my ($class, %option) = @_;
    croak 'XL::Client: no port' if !$option{port};
    return bless { timeout => 30, %option }, $class;
}

# Options: headers {name => value} or [name, value, ...], body, keep (the
# response's body), host, version. Connects where there is no connection.
# A connection that breaks or a timeout gives an incomplete response, of
# status 0 when not even a header came.
sub request {
    my ($self, $method, $target, %option) = @_;
    my $started = now();
    $self->connect if !$self->{socket};
    $self->send_all(request_text($method, $target, %option));
    my $response = XL::Response->new($method, $option{keep}, $started);
    $self->receive($response);
    return $response;
}

# Writes raw bytes, for what request() is too polite for.
sub send_all {
    my ($self, $text) = @_;
    $self->connect if !$self->{socket};
    local $SIG{PIPE} = 'IGNORE';
    while (length $text) {
        my $n = syswrite($self->{socket}, $text) // return 0;
        substr $text, 0, $n, '';
    }
    return 1;
}

# Reads into that response until it is complete, the connection ends or the
# timeout is reached.
sub receive {
    my ($self, $response) = @_;
    my $socket = $self->{socket};
    my $end = now() + $self->{timeout};
    my $early = delete $self->{early};
    $response->feed($early, now()) if defined $early;

    until ($response->{complete}) {
        last if !$self->readable($end - now());
        my $n = sysread $socket, my $data, CHUNK;
        last if !defined $n;
        $n ? $response->feed($data, now()) : $response->end_of_stream(now());
        last if !$n;
    }
    $self->{early} = $response->{rest} if length $response->{rest};
    $self->disconnect if !$response->{complete} || $response->{close};
    return $response;
}

sub readable {
    my ($self, $seconds) = @_;
    return 1 if $self->{tls} && $self->{socket}->pending;
    return 0 if $seconds <= 0;
    vec(my $bits = '', fileno $self->{socket}, 1) = 1;
    return select($bits, undef, undef, $seconds) > 0;
}

sub connect {
    my ($self) = @_;
    my $socket = open_socket($self);
    if ($self->{tls}) {
        start_tls($socket);
        $socket->connect_SSL or croak "TLS: $IO::Socket::SSL::SSL_ERROR";
    }
    $self->{socket} = $socket;
    return $self;
}

sub connected { !!$_[0]{socket} }
sub socket    { $_[0]{socket} }

sub disconnect {
    my ($self) = @_;
    close delete $self->{socket} if $self->{socket};
    delete $self->{early};
    return;
}

# Ends with a reset instead of a FIN.
sub reset {
    my ($self) = @_;
    setsockopt $self->{socket}, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
    return $self->disconnect;
}

# One request on a connection of its own: fetch($port, '/x', tls => 1, method => 'HEAD', ...).
sub fetch {
    my ($port, $target, %option) = @_;
    my $client = __PACKAGE__->new(port => $port, map { exists $option{$_} ? ($_ => $option{$_}) : () }
            qw(to from tls timeout rcvbuf maxseg));
    my $response = $client->request($option{method} // 'GET', $target, %option);
    $client->disconnect;
    return $response;
}

sub open_socket {
    my ($option) = @_;
    my $socket = IO::Socket::INET->new(Proto => 'tcp', Type => SOCK_STREAM) or croak "socket: $!";
    setsockopt $socket, SOL_SOCKET, SO_RCVBUF, $option->{rcvbuf} if $option->{rcvbuf};
    setsockopt $socket, IPPROTO_TCP, TCP_MAXSEG, $option->{maxseg} if $option->{maxseg};
    setsockopt $socket, IPPROTO_TCP, TCP_NODELAY, 1;
    if ($option->{from}) {
        bind $socket, pack_sockaddr_in(0, inet_aton($option->{from})) or croak "bind to $option->{from}: $!";
    }
    my $to = $option->{to} ? inet_aton($option->{to}) : INADDR_LOOPBACK;
    CORE::connect($socket, pack_sockaddr_in($option->{port}, $to)) or croak "connect: $!";
    return $socket;
}

my %tls_context;

# alpn: the protocol that is asked for.
sub start_tls {
    my ($socket, $alpn) = @_;
    require IO::Socket::SSL;
    $tls_context{ $alpn // '' } ||= IO::Socket::SSL::SSL_Context->new(SSL_verify_mode => 0,
        $alpn ? (SSL_alpn_protocols => [$alpn]) : ());
    IO::Socket::SSL->start_SSL($socket, SSL_startHandshake => 0, SSL_reuse_ctx => $tls_context{ $alpn // '' })
        or croak "TLS: $IO::Socket::SSL::SSL_ERROR";
}

sub request_text {
    my ($method, $target, %option) = @_;
    my @headers = ref $option{headers} eq 'ARRAY' ? @{ $option{headers} } : %{ $option{headers} // {} };
    unshift @headers, Host => $option{host} // 'localhost';
    push @headers, 'Content-Length' => length $option{body} if defined $option{body};

    my $text = "$method $target " . ($option{version} // 'HTTP/1.1') . "\r\n";
    while (my ($name, $value) = splice @headers, 0, 2) {
        $text .= "$name: $value\r\n";
    }
    return "$text\r\n" . ($option{body} // '');
}

# ---- many downloads at once -------------------------------------------------

# ($downloads, $probes) = fetch_many([{...}, ...], until => 10, probe => {every => 0.1, port => .., path => ..});
#
# Each download: port, path (or paths => [...], one after the other on one
# connection), to, from, host, tls, headers, rcvbuf, maxseg, and
#     count      the path so many times                    pipeline  1: all requests at once
#     reconnect  1: each on a connection of its own
#     at         begins so many seconds after the call     pause     [[from, to], ...] seconds after its
#     abort      closes after so many bytes                          begin in which nothing is read
#     leave      closes so many seconds after its begin    reset     1: closes by a reset
#     keep       1: bodies
#
# until: everything ends after so many seconds (default 120). events: [[seconds,
# code], ...] runs code so many seconds after the call; downloads wait meanwhile.
# A probe is a request on a new connection every so often, while there are
# downloads; tls and headers as above.
#
# What comes back is what went in, with
#     started first ended   times; undef where it did not come to that
#     bytes                 received, and series [[time, bytes so far], ...], one per read
#     responses             as of request(), complete ones and at most one that is not
#     complete              every response was complete
#     error                 '' or why not: closed, aborted, left, until, or what the system said
# A probe has took, the seconds from before its connect to its response's end.
sub fetch_many {
    my ($list, %option) = @_;
    my $begin = now();
    my $end = $begin + ($option{until} // 120);
    my @waiting = sort { $a->{begin} <=> $b->{begin} } map { prepare($_, $begin) } @$list;
    my @events = sort { $a->[0] <=> $b->[0] } @{ $option{events} // [] };
    my ($probe, @probes) = ($option{probe});
    my $next_probe = $probe ? $begin : 9e99;
    my %active;
    local $SIG{PIPE} = 'IGNORE';

    while (1) {
        my $now = now();
        last if $now >= $end;
        begin_download(shift @waiting, \%active) while @waiting && $waiting[0]{begin} <= $now;
        # Who asks while the last download ends has his answer.
        my $left = @waiting || grep { !$_->{is_probe} } values %active;
        last if !$left && !%active;
        (shift @events)->[1]->() while @events && $begin + $events[0][0] <= now();
        if ($left && $now >= $next_probe) {
            push @probes, prepare({ %$probe, is_probe => 1 }, $now);
            begin_download($probes[-1], \%active);
            $next_probe += $probe->{every};
        }
        my $next = $end;
        $next = $next_probe        if $left && $next_probe < $next;
        $next = $waiting[0]{begin} if @waiting && $waiting[0]{begin} < $next;
        $next = $begin + $events[0][0] if @events && $begin + $events[0][0] < $next;
        serve_ready(\%active, $next);
    }
    finish($_, \%active, 'until') for values %active;
    $_->{error} = 'until' for @waiting;
    $_->{took} = $_->{complete} ? $_->{ended} - $_->{started} : 9e99 for @probes;
    return wantarray ? ($list, \@probes) : $list;
}

sub prepare {
    my ($download, $begin) = @_;
    my @paths = $download->{paths} ? @{ $download->{paths} } : ($download->{path}) x ($download->{count} // 1);
    my %fresh = (begin => $begin + ($download->{at} // 0), bytes => 0, series => [], responses => [],
        complete => 0, error => '', left => [@paths], phase => 'send');
    @{$download}{ keys %fresh } = values %fresh;
    return $download;
}

sub begin_download {
    my ($download, $active) = @_;
    $download->{started} = now();
    return connect_download($download, $active);
}

sub connect_download {
    my ($download, $active) = @_;
    my $socket = $download->{socket} = open_socket($download);
    $socket->blocking(0);
    start_tls($socket) if $download->{tls};
    $download->{phase} = $download->{tls} ? 'handshake' : 'send';
    $active->{ fileno $socket } = $download;
    return advance($download, $active);
}

# Waits for the first of all that may go on, then a tick for its neighbours:
# hundreds of paced streams must not cost a system call each.
sub serve_ready {
    my ($active, $until) = @_;
    my ($read, $write, $next, @gone) = ('', '', $until);
    my $now = now();
    for my $fd (keys %$active) {
        my $download = $active->{$fd};
        if ($download->{pause} && defined(my $resume = paused($download, $now))) {
            $next = $resume if $resume < $next;
            next;
        }
        if ($download->{leave}) {
            my $time = $download->{started} + $download->{leave};
            push @gone, $download if $now >= $time;
            $next = $time if $time < $next;
        }
        my $bits = $download->{wants_write} ? \$write : \$read;
        vec($$bits, $fd, 1) = 1;
        $next = $download->{next_pause} if $download->{next_pause} && $download->{next_pause} < $next;
    }
    return map { finish($_, $active, 'left') } @gone if @gone;
    my $wait = $next - $now;
    select $read, $write, undef, $wait > 0 ? $wait : 0;
    select undef, undef, undef, TICK;
    for my $fd (keys %$active) {
        advance($active->{$fd}, $active) if vec($read, $fd, 1) || vec($write, $fd, 1);
    }
    return;
}

# In a pause: the time of its end. Else undef, and next_pause is noted.
sub paused {
    my ($download, $now) = @_;
    delete $download->{next_pause};
    for my $window (@{ $download->{pause} }) {
        my ($from, $to) = map { $download->{started} + $_ } @$window;
        return $to if $now >= $from && $now < $to;
        $download->{next_pause} = $from if $now < $from && $from < ($download->{next_pause} // 9e99);
    }
    return undef;
}

sub advance {
    my ($download, $active) = @_;
    if ($download->{phase} eq 'handshake') {
        my $done = $download->{socket}->connect_SSL;
        my $why = $done ? 0 : 0 + $IO::Socket::SSL::SSL_ERROR;
        $download->{wants_write} = $why == IO::Socket::SSL::SSL_WANT_WRITE();
        return if $download->{wants_write} || $why == IO::Socket::SSL::SSL_WANT_READ();
        return finish($download, $active, "TLS: $IO::Socket::SSL::SSL_ERROR") if !$done;
        $download->{phase} = 'send';
    }
    if ($download->{phase} eq 'send') {
        my @paths = $download->{pipeline} ? splice @{ $download->{left} } : shift @{ $download->{left} };
        my $text = join '', map { request_text('GET', $_, %{$download}{qw(headers host)}) } @paths;
        my $now = now();
        push @{ $download->{open} }, map { XL::Response->new('GET', $download->{keep}, $now) } @paths;
        my $n = syswrite $download->{socket}, $text;
        return finish($download, $active, "write: $!") if ($n // 0) != length $text;
        $download->{phase} = 'read';
        return;
    }
    return read_some($download, $active);
}

sub read_some {
    my ($download, $active) = @_;
    my $socket = $download->{socket};
    do {
        my $n = sysread $socket, my $data, CHUNK;
        if (!defined $n) {
            return if $!{EAGAIN} || $!{EWOULDBLOCK} || $!{EINTR};
            return finish($download, $active, "read: $!");
        }
        my $now = now();
        if (!$n) {
            $download->{open}[0]->end_of_stream($now) if @{ $download->{open} };
            take_complete($download);
            return finish($download, $active, @{ $download->{open} } || @{ $download->{left} } ? 'closed' : '');
        }
        $download->{first} //= $now;
        $download->{bytes} += $n;
        push @{ $download->{series} }, [$now, $download->{bytes}];
        feed($download, $data, $now);
        return finish($download, $active, 'aborted') if $download->{abort} && $download->{bytes} >= $download->{abort};
        if (!@{ $download->{open} }) {
            return finish($download, $active, '') if !@{ $download->{left} };
            return connect_again($download, $active) if $download->{reconnect};
            $download->{phase} = 'send';
            return advance($download, $active);
        }
    } while $download->{tls}; # a record each: until there is none
    return;
}

sub connect_again {
    my ($download, $active) = @_;
    my $socket = delete $download->{socket};
    delete $active->{ fileno $socket };
    close $socket;
    return connect_download($download, $active);
}

sub feed {
    my ($download, $data, $now) = @_;
    while (length $data && @{ $download->{open} }) {
        my $response = $download->{open}[0];
        $response->feed($data, $now);
        return if !$response->{complete};
        $data = $response->{rest};
        take_complete($download);
    }
    return;
}

sub take_complete {
    my ($download) = @_;
    push @{ $download->{responses} }, shift @{ $download->{open} }
        if @{ $download->{open} } && $download->{open}[0]{complete};
    return;
}

sub finish {
    my ($download, $active, $error) = @_;
    my $socket = delete $download->{socket};
    delete $active->{ fileno $socket };
    setsockopt $socket, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0 if $download->{reset};
    $download->{tls} ? $socket->close(SSL_no_shutdown => $download->{reset} || $error ne '') : close $socket;
    $download->{ended}    = now();
    $download->{error}    = $error;
    $download->{complete} = $error eq '';
    my $partial = $download->{open} ? $download->{open}[0] : undef;
    push @{ $download->{responses} }, $partial if $partial && $partial->{bytes};
    delete @{$download}{qw(open left phase wants_write next_pause)};
    return;
}

# ---- what the numbers say ---------------------------------------------------

# Bytes received in each whole second after `from` (default: the first read),
# of one download or several together; the seconds that ended before all did.
sub rates_per_second {
    my ($downloads, $from, $seconds) = @_;
    my @series = map { $_->{series} } ref $downloads eq 'ARRAY' ? @$downloads : $downloads;
    if (!defined $from) {
        ($from) = sort { $a <=> $b } map { @$_ ? $_->[0][0] : () } @series;
        return if !defined $from;
    }
    my @bytes;
    for my $series (@series) {
        my $before = 0;
        for my $mark (@$series) {
            my $second = int($mark->[0] - $from);
            $bytes[$second] += $mark->[1] - $before if $mark->[0] >= $from;
            $before = $mark->[1];
        }
    }
    pop @bytes if @bytes; # the last one was not whole
    $#bytes = $seconds - 1 if defined $seconds;
    return map { $_ // 0 } @bytes;
}

# Bytes per second of one download between two times.
sub rate_between {
    my ($download, $from, $to) = @_;
    my ($low, $high) = (0, 0);
    for my $mark (@{ $download->{series} }) {
        $low  = $mark->[1] if $mark->[0] <= $from;
        $high = $mark->[1] if $mark->[0] <= $to;
    }
    return ($high - $low) / ($to - $from);
}

# The same from the first reads after one time to the last before the other: what a
# client that looks late does not change. undef: there are no two.
sub pace_between {
    my ($download, $from, $to) = @_;
    my @marks = grep { $_->[0] >= $from && $_->[0] <= $to } @{ $download->{series} };
    return undef if !@marks;
    my ($first) = (grep { $_->[0] < $marks[0][0] + 0.01 } @marks)[-1]; # a chunk may take several
    return $marks[-1] == $first ? undef : ($marks[-1][1] - $first->[1]) / ($marks[-1][0] - $first->[0]);
}

# Jain's index of fairness: 1 when all are equal, 1/n when one has everything.
sub jain {
    my @values = @_;
    my ($sum, $squares) = (0, 0);
    for my $value (@values) {
        $sum += $value;
        $squares += $value * $value;
    }
    return $squares ? $sum * $sum / (@values * $squares) : 0;
}

# curl, for what is not spoken here (HTTP/2): (exit status, standard output).
sub curl {
    my (@arguments) = @_;
    open my $pipe, '-|', 'curl', '-q', '-s', '-k', '--noproxy', '*', @arguments or croak "curl: $!";
    my $output = do { local $/; <$pipe> } // '';
    close $pipe;
    return ($? >> 8, $output);
}

# curl in the background: returns code that waits for its end and tells {exit, started,
# series => [[time, bytes so far], ...]} of what it wrote.
sub curl_series {
    my (@arguments) = @_;
    my $pid = open(my $report, '-|') // croak "fork: $!";
    return sub { my @lines = map { [split] } <$report>; close $report;
        return { exit => $lines[-1][0], started => $lines[0][0], series => [@lines[1 .. $#lines - 1]] } } if $pid;
    my ($bytes, @series) = (0, [now()]);
    if (open my $pipe, '-|', 'curl', '-q', '-s', '-k', '-N', '--noproxy', '*', @arguments) {
        while (my $n = sysread $pipe, my $data, CHUNK) {
            push @series, [now(), $bytes += $n];
        }
        close $pipe;
    }
    print map { "@$_\n" } @series, [$? >> 8];
    close STDOUT;
    POSIX::_exit(0);
}

1;
