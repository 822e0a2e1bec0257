# SPDX-License-Identifier: Apache-2.0
#
# XL::Storm: clients of every kind at a server that is killed, restarted and
# configured anew meanwhile, and an accountant who compares what they received
# with what was counted. Chance comes from one seed.
#
#     my $report = XL::Storm->new(seconds => 20, seed => 7)->run;
#     { received, counted, cut, complete, streams, requests, events => {name => times}, faults => [text, ...] }
#
# What may differ: of each response that was cut, what its process had counted and
# not yet written, which is a chunk. The head of a stream of HTTP/2 counts as text
# that nobody receives: what that is was looked at before the storm.
package XL::Storm;

use strict;
use warnings;

use JSON::PP qw(decode_json encode_json);
use List::Util qw(sum0);
use POSIX ();
use Time::HiRes qw(sleep);

use XL::Client qw(now);
use XL::Http2 ();
use XL::Machine;
use XL::Server;
use XL::Status qw(status_conf status);

use constant { CLIENTS => 8, H2_CLIENTS => 2, CHUNK => 65_536, YEAR => 365 * 86_400 };

my @paths = ((['/free/20k']) x 6, (['/free/400k']) x 2, (['/paced/20k']) x 4, (['/paced/100k']) x 3,
    (['/shared/100k']) x 3, (['/rate/20k']) x 6, (['/conn/100k']) x 3, (['/zone/20k']) x 4, (['/over/20k']) x 3,
    (['/lock/none']) x 2, ['/none'],
    ['/free/20k', method => 'HEAD'], ['/up/20k', method => 'POST', body => 'x' x 30_000],
    ['/free/20k', headers => { Range => 'bytes=5000-9999' }]);

# By HTTP/2: what is served whatever else happens.
my @h2_paths = qw(/free/20k /free/20k /paced/20k /paced/100k /shared/100k);

my $base = <<'CONF';
ServerName storm.example:80
ServerLimit 8
XLimitFlush 200ms
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
    my $clock = $self->{clock} = XL::Machine->clock;
    my $s = $self->{server} = XL::Server->new(ports => 2, tls => 1, h2 => 1, children => 2, factor => 20,
        conf => conf(0), wrapper => $clock ? [$clock->wrapper] : []);
    $s->{patience} = 20; # a wrapper that costs no time
    $s->file("${_}k", 1000 * $_) for 20, 100, 400;
    $self->{disk} = XL::Machine->disk($s->path('state'), 1_048_576);
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
        my $client = XL::Client->new(port => $ports->[$tls], tls => $tls, from => "127.0.0.@{[2 + $n % 4]}",
            timeout => 15);
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

# The same by HTTP/2, over TLS or not: a few streams at once, of which one may be reset.
sub h2_client {
    my ($self, $n, $ports) = @_;
    my ($end, %sum) = (now() + $self->{seconds}, received => 0, complete => 0, cut => 0, streams => 0);
    srand $self->{seed} * 1000 + $n;
    local $SIG{PIPE} = 'IGNORE';
    while (now() < $end) {
        my $tls = rand() < 0.5;
        my $client = eval { XL::Http2->new(port => $ports->[$tls], tls => $tls, from => "127.0.0.@{[2 + $n % 4]}") };
        my @streams = map { $client ? $client->get($h2_paths[rand @h2_paths]) : () } 1 .. 1 + int rand 5;
        my $reset = sub { $client->reset_stream($streams[0]) if !defined $streams[0]{ended} };
        my @events = rand() < 0.2 ? [0.05, $reset] : ();
        XL::Http2::run([$client], until => 15, events => \@events, close => 1) if $client;
        for my $stream (@streams) {
            $sum{received} += $stream->{bytes} + ($stream->{status} ? $self->{heads}{ $stream->{path} } : 0);
            $sum{ $stream->{complete} ? 'complete' : 'cut' }++;
            $sum{streams} += $stream->{complete};
        }
        sleep 0.02 * rand;
    }
    return \%sum;
}

# What the head of each counts as: what is counted of one and is not in its body.
sub look_at_heads {
    my ($self) = @_;
    my $s = $self->{server};
    for my $path (@h2_paths) {
        my $before = counted($s);
        my $client = XL::Http2->new(port => $s->port);
        my $stream = $client->get($path);
        XL::Http2::run([$client], until => 5, close => 1);
        $s->wait_for(sub { !grep { $_->{active} } hosts(status($s)) }, 5);
        $self->{heads}{$path} = counted($s) - $before - $stream->{bytes};
    }
    $self->{before} = { sent => counted($s), requests => sum0(map { $_->{requests} } hosts(status($s))) };
    return;
}

sub hosts   { return grep { $_->{vhost} !~ /^status/ } @{ $_[0]{vhosts} } }
sub counted { return sum0(map { $_->{sent} } hosts(status($_[0]))) }

sub start_clients {
    my ($self) = @_;
    my $s = $self->{server};
    my @ports = ($s->port, $s->tls_port);
    for my $n (1 .. CLIENTS + H2_CLIENTS) {
        my $pid = open(my $pipe, '-|') // die "fork: $!";
        if (!$pid) {
            print encode_json($n > CLIENTS ? $self->h2_client($n, \@ports) : $self->client($n, \@ports));
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
    cut_copy   => sub { my ($s) = @_; $s->kill9_all; cut(copy($s)); $s->start },
    full_disk  => sub { my ($s, $self) = @_; $s->kill9_all; $self->without_room },
    jump       => sub { my ($s, $self) = @_; $self->{clock}->jump((0, YEAR, -YEAR())[rand 3]) },
);

sub copy { return $_[0]->path('state/xlimit.state.snapshot') }
sub cut  { my ($path) = @_; truncate $path, int rand(1 + -s $path) if -e $path }

# There is no copy, and no room for one, until the server has said so.
sub without_room {
    my ($self) = @_;
    my $s = $self->{server};
    my $from = length $s->error_log;
    unlink copy($s);
    $self->{disk}->fill;
    $s->start;
    push @{ $self->{faults} }, 'nothing was said of a full disk'
        if !$s->wait_for(sub { substr($s->error_log, $from) =~ /No space left.*xlimit\(245\)/ }, 5);
    $self->{disk}->empty;
    return;
}

sub run {
    my ($self) = @_;
    my $s = $self->{server}->start;
    my $end = now() + $self->{seconds};
    my %wants = (jump => $self->{clock}, full_disk => $self->{disk});
    my @happens = grep { !exists $wants{$_} || $wants{$_} } sort keys %happens;
    $self->look_at_heads;
    $self->start_clients;
    while (now() < $end - 1) {
        sleep 0.3 + rand 1.2;
        my $what = $happens[rand @happens];
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
    my %all = map { my $key = $_; ($key => sum0(map { $_->{$key} // 0 } @sums)) } qw(received complete cut streams);
    my ($page, @hosts);
    $s->wait_for(sub { $page = status($s); @hosts = hosts($page);
        !grep { $_->{active} } @hosts, @{ $page->{limits} } }, 5);
    my ($counted, $requests) = map { my $key = $_; sum0(map { $_->{$key} } @hosts) - $self->{before}{$key} }
        qw(sent requests);
    my $quota = sum0(map { $_->{used} } grep { $_->{name} eq 'bytes' } @{ $page->{limits} });
    my @active = map { ($_->{name} // $_->{vhost}) . ": $_->{active}" }
        grep { $_->{active} } @hosts, @{ $page->{limits} };
    my $faults = $self->{faults};
    push @$faults, "still active: @active" if @active;
    push @$faults, 'less was counted than received' if $counted < $all{received};
    push @$faults, 'more was counted than can be' if $counted > $all{received} + $all{cut} * CHUNK;
    push @$faults, 'fewer requests were counted than answered' if $requests < $all{complete};
    push @$faults, "the quota has $quota of $counted" if $quota > $counted + $self->{before}{sent};
    push @$faults, 'the server did not end by itself' if !$s->stop;
    return { %all, counted => $counted, requests => $requests, events => $self->{events}, faults => $faults };
}

1;
