# SPDX-License-Identifier: Apache-2.0
#
# Where a limiter that holds back what a connection writes meets what is not a
# plain response: tunnels, programs that write their own headers, requests that
# cannot be read, timeouts shorter than a park, HTTP/2, handlers whose client is
# gone. What takes long is asked for first, and looked at in the end.
#
# Timed.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use IO::Socket::INET;
use List::Util qw(max min);
use POSIX ();
use Test::More;
use XL::Client qw(now fetch fetch_many curl);
use XL::Server;
use XL::Status qw(status_conf vhost change);
use XL::System qw(slurp);

use constant { PARKED => 2, SENDFILE => 3, STALLED => 4 }; # ports of the main server's other hosts

my $echo = echo_server();
my $backend = XL::Server->backend(cgi => 1);
$backend->cgi('short', "#!/bin/sh\nsleep 0.3\nprintf 'Content-Type: text/plain\\r\\n\\r\\nok\\n'\n");
$backend->cgi('stall', "#!/usr/bin/perl\n\$| = 1; print qq(Content-Type: text/plain\\r\\n\\r\\n), 'x' x 8_000_000;\n"
        . "sleep 15;\n");

my $s = XL::Server->new(ports => 5, cgi => 1, h2 => 1, factor => 20, modules => [qw(proxy proxy_http)],
    conf => status_conf() . sprintf <<'CONF', $backend->port);
ErrorDocument 400 /3m.bin
<Location /slow/>
    XLimitBandwidth session 10kB/s
</Location>
<Location /paced.txt>
    XLimitBandwidth session 100kB/s
</Location>
<Location /once.txt>
    XLimitQuota all 1r 1h name=once
</Location>
Alias /slow/ @DOCROOT@/
<VirtualHost 127.0.0.1:@PORT2@>
    ServerName parked
    DocumentRoot @DOCROOT@
    Timeout 1
    XLimitBandwidth session 100B/s
</VirtualHost>
<VirtualHost 127.0.0.1:@PORT3@>
    ServerName sendfile
    DocumentRoot @DOCROOT@
    EnableSendfile On
    XLimitBandwidth session 100kB/s
</VirtualHost>
<VirtualHost 127.0.0.1:@PORT4@>
    ServerName stalled
    Timeout 3
    ProxyTimeout 3
    <Location /paced>
        XLimitBandwidth session 50MB/s
    </Location>
    ProxyPassMatch ^/(paced|free)$ http://127.0.0.1:%d/cgi/stall
</VirtualHost>
CONF
$s->file('700.bin', 700);
$s->file('20k.bin', 20_000);
$s->file('300k.bin', 300_000);
$s->file('3m.bin', 3_000_000, 1);
$s->file('20m.bin', 20_000_000);
$s->content("$_.txt", "hello\n") for qw(free paced once);
$s->start;

# ---- what takes long --------------------------------------------------------

my %later = (
    parked => ask(PARKED, '/700.bin'),
    paced  => ask(STALLED, '/paced', rcvbuf => 4096),
    free   => ask(STALLED, '/free', rcvbuf => 4096),
);

# A connection that has asked, and of which nothing is read yet.
sub ask {
    my ($port, $path, %option) = @_;
    my $client = XL::Client->new(port => $s->port($port), %option);
    $client->send_all("GET $path HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    return $client;
}

# Seconds from that request to its line in the log, once it is there.
sub logged_after {
    my ($path, $patience) = @_;
    my $took;
    $s->wait_for(sub { ($took) = $s->access_log =~ m{"GET \Q$path\E HTTP/1.1".* (\d+)$}m }, $patience);
    return defined $took ? $took / 1e6 : undef;
}

# ---- tunnels, and programs that write their own headers ---------------------

# Agrees to any upgrade and sends back what it gets: (port, pid).
sub echo_server {
    my $listener = IO::Socket::INET->new(Listen => 20, LocalAddr => '127.0.0.1') or die "listen: $!";
    my $pid = fork // die "fork: $!";
    return { port => $listener->sockport, pid => $pid, owner => $$ } if $pid;
    $SIG{CHLD} = 'IGNORE';
    while (my $socket = $listener->accept) {
        echo($socket) if !fork;
        close $socket;
    }
    POSIX::_exit(0);
}

sub echo {
    my ($socket) = @_;
    my $asked = '';
    while ($asked !~ /\r\n\r\n/) {
        sysread $socket, $asked, 4096, length $asked or POSIX::_exit(0);
    }
    syswrite $socket, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    syswrite $socket, $_ while sysread $socket, $_, 65_536;
    POSIX::_exit(0);
}

END { kill TERM => $echo->{pid} if $echo && $echo->{owner} == $$ }

# Reads until it has so much, the stream ends, or for so long: (text, closed).
sub read_some {
    my ($client, $bytes, $seconds) = @_;
    my ($text, $end) = ('', now() + $seconds);
    while (length $text < $bytes && $client->readable($end - now())) {
        my $n = sysread $client->socket, $text, 65_536, length $text;
        return ($text, 1) if !$n;
    }
    return ($text, 0);
}

sub tunnel_ok {
    my ($name, $server, $path) = @_;
    my $client = XL::Client->new(port => $server->port);
    $client->send_all("GET $path HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            . "Sec-WebSocket-Key: eGxpbWl0IHhsaW1pdCB4bA==\r\nSec-WebSocket-Version: 13\r\n\r\n");
    my $head = '';
    while ($head !~ /\r\n\r\n/) {
        my ($more) = read_some($client, 1, 3);
        last if !length $more;
        $head .= $more;
    }
    like($head, qr{^HTTP/1\.1 101 .*\r\n\r\n\z}s, "$name: the protocol is switched");
    my ($worst, $right) = (0, 0);
    for my $round (1 .. 6) {
        my $asked = now();
        my $text = "round $round " . 'x' x (200 * $round);
        $client->send_all($text);
        my ($back) = read_some($client, length $text, 3);
        $right += $back eq $text;
        $worst = max($worst, now() - $asked);
    }
    is($right, 6, '... what goes in comes back');
    cmp_ok($worst, '<', 0.25, sprintf '... at once, after %.3f s at most', $worst);
    return;
}

for my $mpm (qw(event prefork)) {
    subtest "$mpm: tunnels and nph programs" => sub {
        my $server = XL::Server->new(mpm => $mpm, threads => 8, cgi => 1,
            modules => [qw(proxy proxy_http proxy_wstunnel)], conf => sprintf <<'CONF', $echo->{port});
ProxyWebsocketFallbackToProxyHttp Off
<Location /paced/>
    XLimitBandwidth session 100kB/s
</Location>
ProxyPassMatch ^/(?:paced|free)/http$ http://127.0.0.1:%1$d/ upgrade=ANY
ProxyPassMatch ^/(?:paced|free)/wstunnel$ ws://127.0.0.1:%1$d/
ScriptAliasMatch ^/(?:paced|free)/(nph-.*) @ROOT@/cgi/$1
CONF
        $server->cgi('nph-lines', "#!/usr/bin/perl\n" . <<'SCRIPT');
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC sleep);
$| = 1;
print "HTTP/1.1 200 Fine\r\nConnection: close\r\n\r\n";
for (1 .. 6) { printf "at %.6f\n", clock_gettime(CLOCK_MONOTONIC); sleep 0.2 }
SCRIPT
        $server->start;
        for my $pace (qw(paced free)) {
            tunnel_ok("$pace, by mod_proxy_$_", $server, "/$pace/$_") for qw(http wstunnel);
            nph_ok("$pace program", $server, "/$pace/nph-lines");
        }
        ok($server->stop, 'the server ends');
    };
}

# Each line says when it was written.
sub nph_ok {
    my ($name, $server, $path) = @_;
    my $client = XL::Client->new(port => $server->port);
    $client->send_all("GET $path HTTP/1.1\r\nHost: localhost\r\n\r\n");
    my ($text, @delays) = ('');
    for (1 .. 50) {
        my ($more, $closed) = read_some($client, 1, 3);
        my $now = now();
        push @delays, map { $now - $_ } $more =~ /^at ([\d.]+)$/mg;
        $text .= $more;
        last if $closed || !length $more;
    }
    like($text, qr{^HTTP/1\.1 200 Fine\r\n}, "$name: has its own status line");
    is(scalar @delays, 6, '... and six lines');
    my $worst = max(9e9 * !@delays, @delays);
    cmp_ok($worst, '<', 0.15, sprintf '... each %.3f s after it was written at most', $worst);
    return;
}

# ---- requests that cannot be read, and those whose body nobody wants --------

subtest 'a large error page for what cannot be read' => sub {
    my $file = slurp($s->path('htdocs/3m.bin'));
    for my $case (['mapped', 0], ['by sendfile, paced', SENDFILE]) {
        my ($name, $port) = @$case;
        my $client = XL::Client->new(port => $s->port($port), timeout => 10);
        $client->send_all("GET / HTTP/1.1\r\nBad Header\r\n\r\n");
        my $response = $client->receive(XL::Response->new('GET', 1, now()));
        is($response->{status}, 400, "$name: 400");
        ok($response->{complete}, '... complete');
        ok(($response->{body} // '') eq $file, sprintf '... with all %d bytes of its page', $response->{body_length});
    }
};

subtest 'a refusal does not ask for the body' => sub {
    is(fetch($s->port, '/once.txt')->{status}, 200, 'the quota is used');
    for my $accept ('application/json', 'text/html') {
        my $client = XL::Client->new(port => $s->port, timeout => 5);
        my $begin = now();
        $client->send_all("POST /once.txt HTTP/1.1\r\nHost: localhost\r\nAccept: $accept\r\n"
                . "Expect: 100-continue\r\nContent-Length: 1000000\r\n\r\n");
        my $response = $client->receive(XL::Response->new('POST', 1, now()));
        is($response->{status}, 503, "$accept: refused");
        is(scalar @{ $response->{interim} }, 0, '... without a 100 Continue');
        ok($response->{complete} && now() - $begin < 1, '... at once');
        my $form = $accept =~ m{json} ? 'application/problem+json' : 'text/html';
        like($response->{headers}{'content-type'}, qr{^\Q$form\E}, '... in the form that was asked for');
    }
};

# ---- HTTP/2 -----------------------------------------------------------------

subtest 'HTTP/2 counts what has no body, and an upgrade once' => sub {
    my $since = 'If-Modified-Since: ' . fetch($s->port, '/free.txt')->{headers}{'last-modified'};
    my @cases = (
        ['HEAD',         200, '--http2-prior-knowledge', '-I'],
        ['304',          304, '--http2-prior-knowledge', '-H', $since],
        ['GET',          200, '--http2-prior-knowledge'],
        ['upgrade, GET', 200, '--http2'],
    );
    for my $file (qw(free paced)) {
        for my $case (@cases) {
            my ($name, $status, @arguments) = @$case;
            my $said;
            my $grown = change($s, sub {
                (undef, $said) = curl('-o', '/dev/null', '-w', '%{http_version} %{http_code}', @arguments,
                    $s->url("/$file.txt"));
            });
            is($said, "2 $status", "$file, $name: $said");
            is($grown->{requests}, 1, '... is one request');
            cmp_ok($grown->{sent} // 0, '>', 20, '... of ' . ($grown->{sent} // 0) . ' bytes');
            cmp_ok($grown->{sent} // 0, '<', 2000, '... and no more');
        }
    }
};

# ---- a connection after its paced response ----------------------------------

# What the kernel takes while nobody reads: 300 kB unless it was told to take less.
sub taken_unread {
    my ($client, $path) = @_;
    my $lines = sub { scalar(() = $s->access_log =~ m{"GET \Q$path\E }g) };
    my $before = $lines->();
    $client->send_all("GET $path HTTP/1.1\r\nHost: localhost\r\n\r\n");
    my $taken = $s->wait_for(sub { $lines->() > $before }, 3);
    my $response = $client->receive(XL::Response->new('GET', 0, now()));
    return $taken && $response->{body_length} == 300_000;
}

# The fastest of a few, as a machine that is busy is slow.
sub speed {
    my ($client) = @_;
    my @times = map { my $r = $client->request(GET => '/20m.bin'); $r->{complete} ? $r->{ended} - $r->{started} : 9e9 }
        1 .. 5;
    return 20e6 / min(@times);
}

subtest 'a paced response leaves a connection as it was' => sub {
    my %client = map { $_ => XL::Client->new(port => $s->port) } qw(paced peer);
    $client{paced}->connect;
    $client{peer}->connect;
    my $slow = $client{paced}->request(GET => '/slow/20k.bin');
    ok($slow->{complete} && $slow->{ended} - $slow->{started} > 1.5, 'a slow response');
    my %speed = map { $_ => speed($client{$_}) } qw(paced peer);
    cmp_ok($speed{paced}, '>', $speed{peer} / 4, sprintf 'then 20 MB at %.0f MB/s, a peer without it has %.0f',
        map { $_ / 1e6 } @speed{qw(paced peer)});

    for my $name (qw(peer paced)) {
        my $client = XL::Client->new(port => $s->port, rcvbuf => 4096);
        $client->request(GET => '/slow/700.bin') if $name eq 'paced';
        ok(taken_unread($client, "/300k.bin?$name"), "$name: 300 kB leave the server before anybody reads them");
    }
};

# ---- a handler whose client is gone -----------------------------------------

# Without a spool the program's response goes out from within its handler, whose
# thread then serves others with what it keeps for itself, such as a connection to a backend.
subtest 'a client that leaves a handler at work' => sub {
    my $server = XL::Server->new(ports => 2, cgi => 1, threads => 3, factor => 20, modules => [qw(proxy proxy_http)],
        conf => status_conf() . sprintf <<'CONF', $backend->port);
XLimitBuffer 64KiB
XLimitSpool off
<Location /cgi/large>
    XLimitBandwidth session 500kB/s
</Location>
ProxyPass /short http://127.0.0.1:%d/cgi/short
CONF
    $server->cgi('large', "#!/usr/bin/perl\nprint qq(Content-Type: text/plain\\r\\n\\r\\n), 'x' x 3_000_000;\n");
    $server->start;
    my @children = $server->children;
    for my $round (1 .. 3) {
        my @gone = map { { port => $server->port, path => '/cgi/large', abort => 100_000, reset => 1 } } 1 .. 3;
        fetch_many(\@gone, until => 10);
        is(scalar(grep { $_->{error} eq 'aborted' } @gone), 3, "round $round: three leave");
        my @next = map { { port => $server->port, path => '/short', keep => 1 } } 1 .. 9;
        fetch_many(\@next, until => 15);
        is(scalar(grep { $_->{complete} && $_->{responses}[0]{body} eq "ok\n" } @next), 9, '... nine are served');
    }
    ok($server->wait_for(sub { !vhost($server)->{active} }, 5), 'nobody is active');
    is_deeply([$server->children], \@children, '... and the child is still the same');
    is(scalar($server->crashes), 0, '... with no complaint');
    ok($server->stop, 'the server ends');
};

# ---- what was asked for in the beginning ------------------------------------

subtest 'a Timeout shorter than a park' => sub {
    my $took = logged_after('/700.bin', 20);
    ok(defined $took, 'it is over');
    my $response = $later{parked}->receive(XL::Response->new('GET', 0, now()));
    ok($response->{complete}, "complete, $response->{body_length} bytes");
    my $due = $response->{bytes} / 100;
    cmp_ok($took // 0, '>', 0.9 * $due, sprintf '... after %.1f s, at 100 bytes per second %.1f', $took // 0, $due);
    cmp_ok($took // 9e9, '<', $due + 1, '... and no later');
};

# One Timeout for the backend's silence, and one for each wait for the client after it.
subtest 'a backend that stalls, a client that never reads' => sub {
    for my $case (['free', 1], ['paced', 3]) {
        my ($name, $times) = @$case;
        my $took = logged_after("/$name", 15);
        ok(defined $took && $took < 3 * $times + 1.5, sprintf '%s: logged after %.1f s', $name, $took // -1);
        my ($text, $closed) = read_some($later{$name}, 9e6, 3);
        ok($closed, "... and gone, after " . length($text) . ' bytes');
    }
    is(vhost($s, 'stalled')->{active}, 0, 'nobody is active');
};

done_testing;
