# SPDX-License-Identifier: Apache-2.0
#
# mode=dry-run of every dimension: what a client can see is, byte by byte and
# without being held up, what a host without the limit sends; and each counter is
# what it is where the same requests meet the same limit enforced.
#
# Timed.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use Digest::SHA qw(sha1_base64);
use Test::More;
use Time::HiRes qw(sleep);
use XL::Client qw(now);
use XL::Server;
use XL::Status qw(status_conf limit);
use XL::System qw(spew);

# Place => [its limit, requests of one client that exceed it].
my %place = (
    bytes     => ['XLimitQuota client 2kB 1h', 10],
    all       => ['XLimitQuota all 3000B 1h exceeded="redirect /elsewhere"', 10],
    count     => ['XLimitQuota client 4r 1h', 8],
    weighed   => ['XLimitQuota all 6r 1h cost="%{req_novary:X-Cost}" exceeded="status 418"', 8],
    slices    => ['XLimitQuota all 100r 1h slice=1min', 6],
    rate      => ['XLimitRequests client 1/h burst=3', 8],
    shared    => ['XLimitRequests all 1/h burst=4 exceeded=close', 8],
    cost      => ['XLimitRequests client 1/h burst=5 cost="%{req_novary:X-Cost}"', 8],
    waits     => ['XLimitRequests client 1/s burst=5 delay=0', 4],
    zone      => ['XLimitRequests agent 1/h burst=1 exceeded="status 503"', 5],
    penalty   => ['XLimitPenalty client 3/1h for=1h', 8],
    closed    => ['XLimitPenalty client 3/1h for=1h exceeded=close', 8],
    missing   => ['XLimitPenalty client 3/1h for=1h count=status:404', 8],
    login     => ['XLimitPenalty client 2/1h for=1h count=status:401', 6],
    block     => [q(XLimitBlock "when=%{QUERY_STRING} =~ /[02468]$/"), 8],
    speed     => ['XLimitRequests client 1/h exceeded="speed 10kB/s 1/h 1"', 4],
    pace      => ['XLimitBandwidth session 10kB/s', 3],
    all_pace  => ['XLimitBandwidth all 10kB/s', 3],
);
my @names = sort keys %place;

sub host {
    my ($port, $mode) = @_;
    my $places = '';
    for my $name (@names) {
        my $limit = $mode eq 'none' ? '' : "$place{$name}[0] name=$name mode=$mode";
        my $headers = $name =~ /bytes|all/ ? '' : 'XLimitHeaders Draft10'; # which are bytes, too
        $places .= "<Location /$name>\n$limit\n$headers\n</Location>\n";
    }
    my $at_once = $mode eq 'none' ? '' : "XLimitConnections client 2 name=at_once mode=$mode\n"
        . "XLimitConnections all 3 name=at_once_all mode=$mode\n";
    return <<"CONF";
<VirtualHost 127.0.0.1:\@PORT$port\@>
    ServerName $mode
    XLimitInherit Off
    UseCanonicalName On
    $places
    <Location /at_once>
        XLimitBandwidth session 30kB/s name=slow
        $at_once
    </Location>
    <Location /login>
        AuthType Basic
        AuthName x
        AuthUserFile "\@ROOT\@/conf/users"
        Require valid-user
    </Location>
</VirtualHost>
CONF
}

my @modes = qw(none dry-run enforce);
my $s = XL::Server->new(ports => 5, factor => 20,
    modules => [qw(remoteip include authn_core auth_basic authn_file authz_user)],
    conf => status_conf() . <<'CONF' . join '', map { host($_ + 2, $modes[$_]) } 0 .. 2);
RemoteIPHeader X-Client
RemoteIPInternalProxy 127.0.0.1
XLimitZone agent key="%{HTTP_USER_AGENT}"
CustomLog logs/verdicts "%v %U %>s %^XS"
ErrorDocument 404 /page.html
<Directory "@DOCROOT@">
    Options +Includes
    AddOutputFilter INCLUDES .html
</Directory>
CONF
for my $name (@names) {
    $s->content("$name/x",      'y' x 600);
    $s->content("$name/x.html", '<!--#echo var="QUERY_STRING" --><!--#include virtual="x" -->');
}
$s->file('pace/large', 100_000);
$s->file('at_once/large', 10_000_000);
$s->content('page.html', "<p>none\n");
spew($s->path('conf/users'), 'me:{SHA}' . sha1_base64('right') . "=\n");
$s->start;

# The bytes of all answers of a connection to these requests, without what tells the
# time and the host.
sub answers {
    my ($port, $name) = @_;
    my $all = '';
    for my $i (1 .. $place{$name}[1]) {
        my $file = $name eq 'missing' && $i % 2 ? 'nothing' : $i % 3 ? 'x' : 'x.html';
        my $client = XL::Client->new(port => $port, timeout => 10);
        my %headers = ('X-Client' => '192.0.2.' . ($i % 5 == 4 ? 1 : 2), 'X-Cost' => $i % 3, 'User-Agent' => 'me');
        $headers{Range} = 'bytes=5-50' if $i == 5;
        $headers{Authorization} = 'Basic bWU6d3Jvbmc=' if $name eq 'login'; # me:wrong
        my $r = $client->request($i % 4 ? 'GET' : 'HEAD', "/$name/$file?$i", keep => 1, headers => \%headers);
        my $head = $r->{head} =~ s/^Date: .*\r\n//mr;
        $all .= "$i: $head" . ($r->{body} // '') . '<' . ($client->connected ? 'kept' : 'closed') . ">\n";
    }
    return $all;
}

for my $name (@names) {
    my (%got, %took);
    for my $i (0 .. 2) {
        my $begin = now();
        $got{ $modes[$i] } = answers($s->port($i + 2), $name) if $i < 2 || $name !~ /pace/;
        $took{ $modes[$i] } = now() - $begin;
    }
    is($got{'dry-run'}, $got{none}, "$name: the same bytes as without it");
    ok($took{'dry-run'} < $took{none} + 0.5, sprintf '... in %.3f s, without it %.3f s', @took{qw(dry-run none)});
    isnt($got{enforce}, $got{none}, '... but not as where it is enforced') if $name !~ /waits|pace/;
    my ($dry, $enforced) = map { limit($s, $name, $_) } @modes[1, 2];
    next if $name =~ /pace/;
    is($dry->{refused}, 0, '... nobody was refused');
    my @columns = grep { defined $enforced->{$_} && $name ne 'speed' } qw(used requests delayed);
    my ($ours, $theirs) = map { my $row = $_; join ' ', map { "$_ $row->{$_}" } @columns } $dry, $enforced;
    is($ours, $theirs, '... the counters are the same');
    is($dry->{would_refuse}, $name eq 'speed' ? 0 : $enforced->{refused}, '... and as many would have been refused');
    ok($enforced->{refused} || $enforced->{delayed}, '... which were some');
}

subtest 'at once' => sub {
    my %refused;
    for my $i (0 .. 2) {
        my $port = $s->port($i + 2);
        my @clients = map { XL::Client->new(port => $port) } 1 .. 7;
        my $status = '';
        for my $n (0 .. $#clients) {
            my $address = '192.0.2.' . ($n % 2 + 1);
            $clients[$n]->send_all("GET /at_once/large HTTP/1.1\r\nHost: localhost\r\nX-Client: $address\r\n\r\n");
            $clients[$n]->readable(5);
            sysread $clients[$n]->socket, my $data, 4096;
            $status .= $data =~ m{^HTTP/1.1 (\d+)} ? "$1 " : '- ';
        }
        is($status, $i == 2 ? '200 200 200 429 429 429 429 ' : '200 ' x 7, "$modes[$i]: who is served");
        is(limit($s, 'at_once_all', $modes[$i])->{active}, 3, '... counted as if three were') if $i;
        $_->disconnect for @clients;
        next if !$i;
        my $of = $i == 1 ? 'would_refuse' : 'refused';
        is(limit($s, 'at_once_all', $modes[$i])->{$of}, 4, '... and four were not');
        ok($s->wait_for(sub { !grep { limit($s, $_, $modes[$i])->{active} } qw(at_once at_once_all) }, 2),
            '... none is active');
    }
};

subtest 'what the logs say' => sub {
    my %status;
    my $log = $s->log_text('verdicts');
    $status{$1}{$2}++ while $log =~ /^(\S+) \S+ \S+ (\S+)$/mg;
    is(join(' ', sort keys %{ $status{none} }), 'PACED PASSED', 'without limits nothing');
    is(join(' ', grep { !/DRY_RUN|PASSED|PACED/ } sort keys %{ $status{'dry-run'} }), '',
        'in a dry run what would have been');
    ok($status{'dry-run'}{"${_}_DRY_RUN"}, "... ${_}_DRY_RUN") for qw(REJECTED REDIRECTED DELAYED PACED);
    my @lines = grep { /of dry-run/ } split /\n/, $s->error_log;
    is(scalar(grep { !/\(dry run: nothing is refused\)/ } @lines), 0, 'each line of the error log says that it is one');
    ok(@lines >= 15, '... ' . @lines . ' lines');
};

done_testing;
