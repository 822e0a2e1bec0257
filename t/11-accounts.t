# SPDX-License-Identifier: Apache-2.0
#
# Accounts on a running server: one counter for all hosts of an account and for
# nobody else, in its place among the limits of a request; what the section says
# of exceeded limits and exemptions; its row on the status page; that counters
# are found again when the configuration has moved. What the configuration comes
# to is t/10-config.t's affair.

use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use List::Util qw(max);
use Test::More;
use XL::Client qw(fetch fetch_many);
use XL::Paced qw(took);
use XL::Server;
use XL::Status qw(status_conf status limit vhost);

my $s = XL::Server->new(ports => 3);

my $account = <<'CONF';
<XLimitAccount acme>
    XLimitQuota all %dr day tz=UTC name=hits
    XLimitQuota all 1GB day tz=UTC name=bytes
    XLimitBandwidth client 1MB/s
    XLimitBandwidth session 50MB/s
    XLimitExceeded quota status 451
    XLimitExempt when="%%{QUERY_STRING} == 'free'"
</XLimitAccount>
CONF
my $hosts = <<'CONF';
<VirtualHost 127.0.0.1:@PORT@>
    ServerName one
    XLimitAccount acme
    XLimitExceeded quota status 410
    XLimitQuota all 1000r day tz=UTC name=own
    <Location /apart>
        XLimitInherit Off
    </Location>
</VirtualHost>
<VirtualHost 127.0.0.1:@PORT2@>
    ServerName two
    XLimitAccount acme
</VirtualHost>
<VirtualHost 127.0.0.1:@PORT@>
    ServerName stranger
</VirtualHost>
CONF

sub configure {
    my ($most, $behind) = @_;
    my $section = sprintf $account, $most;
    my $both = $behind ? "$hosts$section" : "$section$hosts";
    $s->conf("XLimitQuota all 2000r day tz=UTC name=outer\n" . status_conf() . $both);
    return;
}

sub port_of { $s->port($_[0] eq 'two' ? 2 : 0) }

sub asked {
    my ($host, $path) = @_;
    return fetch(port_of($host), $path // '/small.txt', host => $host)->{status};
}

configure(5, 0);
$s->file('small.txt', 10);
$s->file('apart/small.txt', 10);
$s->file('500k.bin', 500_000);
$s->start;

subtest 'one counter' => sub {
    is(join(' ', map { asked($_) } qw(one two one two)), '200 200 200 200', 'four of five, over two hosts');
    is(asked('stranger'), 200, 'somebody else has no part in it');
    is(asked('one', '/small.txt?free'), 200, 'nor has what the section exempts');
    is(asked('one', '/apart/small.txt'), 200, 'nor a place that inherits nothing');
    is(limit($s, 'hits')->{used}, 4, 'four were counted');
    is(asked('two'), 200, 'the fifth');
    is(asked('one'), 451, 'the sixth is refused, with the answer of the section');
    is(asked('two'), 451, 'at the other host, too');
    is(asked('two', '/small.txt?free'), 200, 'who is exempt is served');
    is(asked('one', '/apart/small.txt'), 200, 'who is apart, too');
    is(asked('stranger'), 200, 'and so is who is nobody of theirs');
    is(limit($s, 'own', 'one')->{used}, 2, 'a limit of the host counts what was served by it');
    is(limit($s, 'outer', $_)->{used}, $_ eq 'one' ? 2 : 3, "so does that of the main server: $_")
        for qw(one two);
};

subtest 'status' => sub {
    my %rows;
    push @{ $rows{ $_->{account} // 'none' } }, $_ for @{ status($s)->{limits} };
    is(join(' ', map { $_->{name} } @{ $rows{acme} }), 'hits bytes bandwidth-client bandwidth-session',
        'each limit of the account has one row');
    is(scalar(grep { defined $_->{vhost} || $_->{place} ne 'XLimitAccount acme' } @{ $rows{acme} }), 0, 'of no host');
    my ($hits, $bytes, $client) = @{ $rows{acme} };
    is("$hits->{state} $hits->{action}", 'exceeded status 451', 'used up, with the answer of the section');
    my $sent = 0;
    $sent += vhost($s, $_)->{sent} for qw(one two);
    cmp_ok($bytes->{used}, '>', 5 * 10, 'bytes were counted');
    cmp_ok($bytes->{used}, '<', $sent, 'but not those of refusals and of who is spared');
    is("$client->{key} $client->{requests} $client->{active}", 'client 7 0', 'seven met the rate, two of them refused');
    is(vhost($s, $_)->{account}, 'acme', "a host of the account: $_") for qw(one two);
    is(vhost($s, 'stranger')->{account}, undef, 'a host of none');
};

subtest 'found again' => sub {
    configure(8, 1);
    $s->graceful;
    is(limit($s, 'hits')->{used}, 5, 'behind its hosts, and of another amount');
    is(join(' ', map { asked($_) } qw(two one two one)), '200 200 200 451', 'three more');
    $s->stop;
    $s->start;
    is(limit($s, 'hits')->{used}, 8, 'after a stop, too');
    is(asked('two'), 451, 'and it refuses');
};

subtest 'one rate' => sub {
    configure(1000, 0);
    $s->graceful;
    my %before = map { $_ => vhost($s, $_)->{sent} } qw(one two);
    my @list = map { { port => port_of($_), path => '/500k.bin' } } qw(one two);
    my $took = max(map { took($_) } @{ fetch_many(\@list) });
    cmp_ok(vhost($s, $_)->{sent} - $before{$_}, '>', 500_000, "a download from $_") for qw(one two);
    cmp_ok(abs($took - 1), '<', 0.1, sprintf 'the client has one megabyte per second for both: %.3f s', $took);
};

$s->stop;
done_testing;
