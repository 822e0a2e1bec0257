# SPDX-License-Identifier: Apache-2.0
#
# When an answer is the event of a penalty: before its client knows its status, not
# when all of it has been sent. Who asks again in the middle of it has no more tries,
# whatever it is made of and comes by.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use Test::More;
use XL::Client qw(fetch now);
use XL::Http2;
use XL::Server;

my $s = XL::Server->new(children => 2, factor => 20, tls => 1, h2 => 1, cgi => 1, modules => ['remoteip'],
    conf => <<'CONF');
ErrorDocument 404 /sorry.html
XLimitPenalty client 3/1h for=1h count=status:200,403,404 name=guess exceeded="status 429"
<Location /100k>
    XLimitBandwidth session 10kB/s name=slow
</Location>
RemoteIPHeader X-Client
RemoteIPInternalProxy 127.0.0.1
CONF
$s->file('100k', 100_000);
$s->content('sorry.html', "no such thing\n");
$s->cgi('slow', "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\nsleep 2\necho late\n");
$s->cgi('form', "#!/bin/sh\nhead -c 9 >/dev/null\nprintf 'Status: 403 Forbidden\\r\\n\\r\\nno\\n'\n");
$s->start;

# Five requests of a client of their own, each as soon as the one before is answered,
# with nothing read but its status.
my $clients = 0;

sub tries {
    my ($what, $status, $ask) = @_;
    my $client = '192.0.2.' . ++$clients;
    my (@kept, @seen); # connections stay open
    for (1 .. 5) {
        my ($connection, $answer) = $ask->($client);
        push @kept, $connection;
        push @seen, $answer // 'nothing';
    }
    is(join(', ', @seen), join(', ', ($status) x 4, 429), $what);
    return;
}

sub line {
    my ($method, $path, $tls, %headers) = @_;
    return sub {
        my ($client) = @_;
        my $connection = XL::Client->new(port => $tls ? $s->tls_port : $s->port, tls => $tls, timeout => 5);
        my %all = (Host => 'localhost', 'X-Client' => $client, %headers);
        $connection->send_all(join "\r\n", "$method $path HTTP/1.1", (map { "$_: $all{$_}" } sort keys %all), '', '');
        my ($status) = $connection->socket->getline =~ /^\S+ (\d+)/;
        return ($connection, $status) if $status ne '100';
        $connection->send_all('a=b&c=dd' . "\n");
        my @lines = map { $connection->socket->getline } 1 .. 2; # an empty one comes first
        return ($connection, $lines[1] =~ /^\S+ (\d+)/ ? "100 $1" : 'nothing');
    };
}

# Its head comes in a frame of its own, as httpd flushes what has no body yet. The client
# is who connects.
sub stream {
    my ($path) = @_;
    return sub {
        my $connection = XL::Http2->new(port => $s->port);
        my $stream = $connection->get($path);
        my $end = now() + 5;
        while (!defined $stream->{status} && now() < $end) {
            select undef, undef, undef, 0.002;
            $connection->read_some;
        }
        return ($connection, $stream->{status});
    };
}

tries("a paced answer$_->[0]", 200, line('GET', '/100k', $_->[1])) for ['', 0], [' over TLS', 1];
tries('the page of an error', 404, line('GET', '/none', 0));
tries('a HEAD', 404, line('HEAD', '/none', 0));
tries('a program that goes on', 200, line('GET', '/cgi/slow', 0));
tries('... over HTTP/2', 200, stream('/cgi/slow'));
tries('what is said behind a 100', '100 403',
    line('POST', '/cgi/form', 0, 'Content-Length' => 9, Expect => '100-continue'));

# A request that is cut off before it has an answer has none.
my $client = XL::Client->new(port => $s->port);
$client->send_all("GET /cgi/slow HTTP/1.1\r\nHost: x\r\nX-Client: 192.0.2.99\r\n");
$client->reset;
is(fetch($s->port, '/100k', method => 'HEAD', headers => { 'X-Client' => '192.0.2.99' })->{status}, 200,
    'half a request is no event');

done_testing;
