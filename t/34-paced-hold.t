# SPDX-License-Identifier: Apache-2.0
#
# What is held of a paced response that is not a file: its program or backend
# is released at once while there is room (XLimitBuffer, XLimitSpool), and waits
# with its thread when there is none; what is there flows while a source stalls
# or works; what a program flushes comes at once.
#
# Timed.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use List::Util qw(max min);
use Test::More;
use Time::HiRes ();
use XL::Client qw(now fetch_many);
use XL::Paced;
use XL::Server;

my $text = text(3_000_000);

my %script = (
    # all of it, and then a note that it has ended
    give => "cat ../htdocs/3m && : > ../notes/\"\$1\"",
    # half, nothing for three seconds, half
    stall => 'head -c 100000 ../htdocs/3m; sleep 3; head -c 200000 ../htdocs/3m | tail -c 100000',
    lines => 'exec perl -MTime::HiRes=clock_gettime,CLOCK_MONOTONIC,sleep -e '
        . q('$| = 1; for (1 .. 8) { printf "at %.6f\n", clock_gettime(CLOCK_MONOTONIC); sleep 0.3 }'),
);

sub server {
    my (%option) = @_;
    my $server = XL::Server->new(cgi => 1, %option);
    mkdir $server->path('notes');
    chmod 0777, $server->path('notes');
    $server->content('3m', $text);
    $server->cgi($_, "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\n$script{$_}\n") for keys %script;
    return $server->start;
}

my $backend = server(xlimit => 0);
my $conf = sources() . "ProxyPassMatch ^/[^/]+/proxied/(.*) " . $backend->url('/cgi/$1') . <<'CONF';

<Location /paced/>
    XLimitBandwidth session 50kB/s
</Location>
<Location /fast/>
    XLimitBandwidth session 1MB/s
</Location>
CONF
my @stock = (modules => [qw(proxy proxy_http deflate)], tls => 1, factor => 20);
my %server = (
    plain  => server(@stock, conf => $conf),
    small  => server(@stock, conf => "$conf\nXLimitBuffer 16kB\nXLimitSpool 4MB @" . "ROOT@" . "/notes\n"),
    off    => server(@stock, conf => "$conf\nXLimitSpool off\n"),
    tiny   => server(@stock, conf => "$conf\nXLimitSpool 200kB\n"),
    block  => server(@stock, conf => "$conf\nXLimitEngine blocking\n"),
    worker => server(@stock, conf => $conf, mpm => 'worker', factor => undef),
);

sub download {
    my ($kind, $path, %more) = @_;
    my $server = $server{$kind};
    return { port => $more{tls} ? $server->tls_port : $server->port, path => $path, keep => 1, kind => $kind,
        title => "$kind, $path" . ($more{tls} ? ' over TLS' : ''), %more };
}

# When the program of that download had ended, in seconds after the request.
my $wall = Time::HiRes::time() - now();
sub released {
    my ($one) = @_;
    my ($note) = $one->{path} =~ /\?(.*)/;
    my $server = $one->{path} =~ /proxied/ ? $backend : $server{ $one->{kind} };
    my $mtime = (Time::HiRes::stat($server->path("notes/$note")))[9] // return 9e9;
    return $mtime - $wall - $one->{responses}[0]{started};
}

my $notes = 0;
sub give {
    my ($kind, $source, %more) = @_;
    return download($kind, "/fast/$source/give?" . ++$notes, %more);
}

subtest 'a program is released' => sub {
    my @list = map { my $source = $_; map { my $tls = $_;
        (map { give($_, $source, tls => $tls) } qw(plain off tiny)) } 0, 1 } qw(cgi proxied);
    push @list, map { give($_, 'cgi') } qw(small block worker);
    for my $one (@{ fetch_many(\@list, until => 20) }) {
        whole_ok($one->{title}, [$one], $text);
        paced_ok($one->{title}, [$one], rate => 1e6);
        my $released = released($one);
        if ($one->{kind} =~ /plain|small/) {
            ok($released < 1, sprintf '%s: released after %.2f s', $one->{title}, $released);
        }
        elsif ($one->{path} =~ /cgi/) { # a backend may fill the buffers of two sockets, which have room for all of it
            ok($released > 1.5 && $released < 3.2, sprintf '%s: waits for %.2f s', $one->{title}, $released);
        }
    }
};

# 4 MB of spool are enough for one of these, and for one after the other.
subtest 'the spool is given back' => sub {
    my @first = (give('small', 'cgi'), give('small', 'cgi', at => 0.3));
    fetch_many(\@first, until => 10);
    whole_ok($_->{title}, [$_], $text) for @first;
    my @released = map { released($_) } @first;
    ok($released[0] < 1, sprintf 'one has room, %.2f s', $released[0]);
    ok($released[1] > 1, sprintf 'the other one waits, %.2f s', $released[1]);

    my @second = (give('small', 'cgi', count => 2), give('small', 'cgi', at => 6.5, abort => 500_000, reset => 1),
        give('small', 'cgi', at => 7.5));
    fetch_many(\@second, until => 15);
    whole_ok($_->{title}, [$_], $text) for @second[0, 2];
    my $after_kept = released($second[0]) - ($second[0]{responses}[1]{started} - $second[0]{responses}[0]{started});
    ok($after_kept < 1, sprintf 'room again on a kept connection, %.2f s', $after_kept);
    ok(released($second[2]) < 1, sprintf 'room again after one that left, %.2f s', released($second[2]));
    is(scalar(() = glob $server{small}->path('notes/xlimit.*')), 0, 'no file has a name');
};

# Each at its rate, the second half from when it is there on.
sub bytes_at {
    my ($one, $seconds) = @_;
    return max(0, map { $_->[0] - $one->{started} <= $seconds ? $_->[1] : 0 } @{ $one->{series} });
}

subtest 'a source that stalls' => sub {
    my @list = map { my $kind = $_; map { my $tls = $_;
        map { download($kind, "/paced/$_/stall", tls => $tls) } qw(cgi proxied) } 0, 1 } qw(plain off block worker);
    for my $one (@{ fetch_many(\@list, until => 15) }) {
        whole_ok($one->{title}, [$one], substr $text, 0, 200_000);
        my $body = sub { bytes_at($one, $_[0]) };
        for my $at (1, 1.5, 2.3) {
            my $due = min(100e3, 50e3 * $at);
            my $got = $body->($at);
            ok(abs($got - $due) < 8e3, "$one->{title}: $got bytes after $at s");
        }
        ok(furthest_ahead($one, 50e3) < 0.060, sprintf '%s: never ahead, %.3f s', $one->{title},
            furthest_ahead($one, 50e3));
        ok(abs(took($one) - 5.03) < 0.15, sprintf '%s: all after %.2f s', $one->{title}, took($one));
    }
};

subtest 'a handler that works all the time' => sub {
    my $one = download('plain', '/fast/packed/30m', headers => { 'Accept-Encoding' => 'gzip' });
    $server{plain}->content('30m', $text x 10);
    fetch_many([$one], until => 2.5);
    for my $at (0.5, 1, 2) {
        my $got = bytes_at($one, $at);
        ok(abs($got / (1e6 * $at) - 1) < 0.2, "while it packs: $got bytes after $at s");
    }
};

# Server-sent events: each line says when it was written.
subtest 'what is flushed comes at once' => sub {
    my @clients = map { my $kind = $_; map { my $tls = $_; map {
        my $client = XL::Client->new(port => $tls ? $server{$kind}->tls_port : $server{$kind}->port, tls => $tls);
        $client->send_all("GET /paced/$_/lines HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        $client->{title} = "$kind, $_" . ($tls ? ' over TLS' : '');
        $client->{delays} = [];
        $client
    } qw(cgi proxied) } 0, 1 } qw(plain small off block worker);
    my $end = now() + 8;
    while (now() < $end && grep { $_->connected } @clients) {
        for my $client (grep { $_->connected && $_->readable(1e-6) } @clients) {
            my $n = sysread $client->socket, my $data, 65_536;
            my $now = now();
            push @{ $client->{delays} }, map { $now - $_ } ($data // '') =~ /^at ([\d.]+)$/mg;
            $client->disconnect if !$n;
        }
        select undef, undef, undef, 0.005;
    }
    for my $client (@clients) {
        is(scalar @{ $client->{delays} }, 8, "$client->{title}: eight lines");
        my $worst = max(9e9 * !@{ $client->{delays} }, @{ $client->{delays} });
        ok($worst < 0.3, sprintf '%s: each %.3f s after it was written at most', $client->{title}, $worst);
    }
};

done_testing;
