# SPDX-License-Identifier: Apache-2.0
#
# XL::Storm: clients of every kind at a server that is killed, restarted and
# configured anew meanwhile, and an accountant who compares what they received
# with what was counted. Chance comes from one seed.
#
#     my $report = XL::Storm->new(seconds => 20, seed => 7)->run;
#     { received, counted, cut, complete, requests, active, events => {name => times}, faults => [text, ...] }
#
# What may differ: of each response that was cut, what its process had counted and
# not yet written, which is a chunk.
package XL::Storm;

use strict;
use warnings;

use JSON::PP qw(decode_json encode_json);
use List::Util qw(sum0);
use POSIX ();
use Time::HiRes qw(sleep);

use XL::Client qw(now);
use XL::Server;
use XL::Status qw(status_conf status);

use constant { CLIENTS => 8, CHUNK => 65_536 };

my @paths = ((['/free/20k']) x 6, (['/free/400k']) x 2, (['/paced/20k']) x 4, (['/paced/100k']) x 3, (['/shared/100k']) x 3,
    (['/rate/20k']) x 6, (['/conn/100k']) x 3, (['/zone/20k']) x 4, (['/over/20k']) x 3, (['/lock/none']) x 2, ['/none'],
    ['/free/20k', method => 'HEAD'], ['/up/20k', method => 'POST', body => 'x' x 30_000],
    ['/free/20k', headers => { Range => 'bytes=5000-9999' }]);

my $base = <<'CONF';
ServerName storm.example:80
ServerLimit 8
XLimitQuota all 1TB 1d name=bytes
XLimitZone agent key="%{HTTP_USER_AGENT}" entries=500
AliasMatch ^/[^/]+/([0-9]+k)$ @DOCROOT@/$1
<Location /paced>
    XLimitBandwidth session 400kB/s
    XLimitBandwidth client 1MB/s
</Location>
<Location /shared>
    XLimitBandwidth all 1MB/s name=shared
</Location>
<Location /rate>
    XLimitRequests client 20/s burst=10 delay=2 name=rate
</Location>
<Location /conn>
    XLimitConnections client 2 name=conn
    XLimitBandwidth session 200kB/s name=slow
</Location>
<Location /zone>
    XLimitRequests agent 5/s burst=5 name=agents
    XLimitQuota agent 200kB 10s name=agentquota
</Location>
<Location /over>
    XLimitQuota all 100kB 2s name=over exceeded="speed 50kB/s"
</Location>
<Location /lock>
    XLimitPenalty client 20/5s for=1s count=status:404 name=lock
</Location>
<Location /up>
    XLimitUpload client 500kB/s name=up
</Location>
CONF
my $other = <<'CONF';
XLimitQuota all 1TB 1d name=more
<Location /free>
    XLimitRequests all 100000/s burst=1000 name=other
</Location>
CONF

sub conf {
    my ($more) = @_;
    return $base . ($more ? $other : '') . status_conf();
}

sub new {
    my ($class, %option) = @_;
    my $self = bless { seconds => 20, seed => 1, %option, events => {}, faults => [] }, $class;
    my $s = $self->{server} = XL::Server->new(ports => 2, tls => 1, children => 2, factor => 20, conf => conf(0));
    $s->file("${_}k", 1000 * $_) for 20, 100, 400;
    srand $self->{seed};
    return $self;
}

# ---- clients ----------------------------------------------------------------

# One client's life: what it received, and how many responses were whole and cut.
sub client {
    my ($self, $n, $ports) = @_;
    my ($end, %sum) = (now() + $self->{seconds}, received => 0, complete => 0, cut => 0);
    srand $self->{seed} * 1000 + $n;
    local $SIG{PIPE} = 'IGNORE';
    while (now() < $end) {
        my $tls = rand() < 0.3;
        my $client = XL::Client->new(port => $ports->[$tls], tls => $tls, from => "127.0.0.@{[2 + $n % 4]}", timeout => 15);
        for (1 .. 1 + int rand 5) {
            my ($path, %more) = @{ $paths[rand @paths] };
            $more{headers} = { 'User-Agent' => 'agent-' . int(rand 800), %{ $more{headers} // {} } };
            my $r = eval { $client->request(delete $more{method} // 'GET', $path, %more) } or last;
            $sum{received} += $r->{bytes};
            $sum{ $r->{complete} ? 'complete' : 'cut' }++;
            last if !$client->connected;
        }
        $client->disconnect;
        sleep 0.02 * rand;
    }
    return \%sum;
}

sub start_clients {
    my ($self) = @_;
    my $s = $self->{server};
    my @ports = ($s->port, $s->tls_port);
    for my $n (1 .. CLIENTS) {
        my $pid = open(my $pipe, '-|') // die "fork: $!";
        if (!$pid) {
            print encode_json($self->client($n, \@ports));
            close STDOUT;
            POSIX::_exit(0);
        }
        push @{ $self->{pipes} }, $pipe;
    }
}

# ---- what happens meanwhile --------------------------------------------------

my %happens = (
    kill_child => sub { my @c = $_[0]->children; kill KILL => $c[rand @c] if @c },
    graceful   => sub { $_[0]->graceful },
    configure  => sub { my ($s, $self) = @_; $s->conf(conf($self->{more} = !$self->{more})); $s->graceful },
    restart    => sub { $_[0]->restart },
    kill_all   => sub { $_[0]->kill9_all; $_[0]->start },
    stop       => sub { $_[0]->stop; $_[0]->start },
);

sub run {
    my ($self) = @_;
    my $s = $self->{server}->start;
    my $end = now() + $self->{seconds};
    $self->start_clients;
    while (now() < $end - 1) {
        sleep 0.3 + rand 1.2;
        my $what = (sort keys %happens)[rand keys %happens];
        $self->{events}{$what}++;
        $happens{$what}->($s, $self);
        push @{ $self->{faults} }, "the server is gone after $what\n" . $s->error_log if !$s->alive;
        last if !$s->alive;
    }
    return $self->account;
}

# ---- the accountant -----------------------------------------------------------

sub account {
    my ($self) = @_;
    my $s = $self->{server};
    my @sums = map { my $pipe = $_; local $/; my $text = <$pipe>; close $pipe; decode_json($text) } @{ $self->{pipes} };
    my %all = map { my $key = $_; ($key => sum0(map { $_->{$key} } @sums)) } qw(received complete cut);
    my ($page, @hosts);
    $s->wait_for(sub { $page = status($s); @hosts = grep { $_->{vhost} !~ /^status/ } @{ $page->{vhosts} };
        !grep { $_->{active} } @hosts, @{ $page->{limits} } }, 5);
    my ($counted, $requests) = map { my $key = $_; sum0(map { $_->{$key} } @hosts) } qw(sent requests);
    my $quota = sum0(map { $_->{used} } grep { $_->{name} eq 'bytes' } @{ $page->{limits} });
    my @active = map { ($_->{name} // $_->{vhost}) . ": $_->{active}" } grep { $_->{active} } @hosts, @{ $page->{limits} };
    my $faults = $self->{faults};
    push @$faults, "still active: @active" if @active;
    push @$faults, 'less was counted than received' if $counted < $all{received};
    push @$faults, 'more was counted than can be' if $counted > $all{received} + $all{cut} * CHUNK;
    push @$faults, 'fewer requests were counted than answered' if $requests < $all{complete};
    push @$faults, "the quota has $quota of $counted" if $quota > $counted;
    push @$faults, 'the server did not end by itself' if !$s->stop;
    return { %all, counted => $counted, requests => $requests, events => $self->{events}, faults => $faults };
}

1;
