# SPDX-License-Identifier: Apache-2.0
#
# What stays when requests have gone: memory of the children over very many of them,
# each passing every kind of limit, and memory and descriptors of the parent over very
# many graceful restarts. Nothing may grow in the second half of either. `make leaks`
# is the long form, of XL_REQUESTS requests and one restart for each 10,000 of them.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use List::Util qw(max sum0);
use POSIX ();
use Test::More;
use XL::Client qw(fetch);
use XL::Server;
use XL::Status qw(status_conf status limit);
use XL::System qw(build_dir preload slurp);

use constant { CLIENTS => 4, AT_ONCE => 25, KEPT => 1000, SAMPLES => 20 };

my $requests = $ENV{XL_REQUESTS} // 20_000;
my $restarts = max(10, int $requests / 10_000);

my $conf = <<'CONF' . status_conf();
XLimitZone agent key="%{HTTP_USER_AGENT}" entries=500
XLimitBandwidth all 1GB/s name=server
<Location /all>
    XLimitQuota all 1TB day name=bytes
    XLimitQuota client 1000000000r 1h name=requests
    XLimitBandwidth session 100MB/s
    XLimitBandwidth client 200MB/s
    XLimitUpload client 100MB/s
    XLimitRequests client 100000/s burst=100000
    XLimitRequests agent 100000/s burst=100000 delay=1
    XLimitConnections client 1000
    XLimitPenalty client 1000000/10s for=10s count=status:404 name=penalty
    XLimitBlock when="%{HTTP_USER_AGENT} == 'nobody'"
</Location>
CONF

# kB of private memory, of shared mappings, and how many open files.
sub anon   { my ($pid) = @_; return slurp("/proc/$pid/status") =~ /^RssAnon:\s+(\d+)/m ? $1 : die "no RssAnon of $pid" }
sub files  { my ($pid) = @_; return scalar(() = glob "/proc/$pid/fd/*") }
sub shared {
    my ($pid) = @_;
    no warnings 'portable'; # addresses have 64 bits
    return sum0(map { /^(\w+)-(\w+) rw-s/ ? (hex($2) - hex $1) / 1024 : () } split /\n/, slurp("/proc/$pid/maps"));
}

sub sample {
    my ($s) = @_;
    my $pid = $s->pid;
    my @children = $s->children;
    return { parent => anon($pid), children => max(map { anon($_) } @children), shared => shared($pid),
        files => files($pid), child_files => max(map { files($_) } @children) };
}

# The most in the last quarter, and by how much that is over the most in the one before.
sub growth {
    my ($what, @samples) = @_;
    my $quarter = int @samples / 4;
    my ($before, $after) = map { max(map { $_->{$what} } @$_) } [@samples[-2 * $quarter .. -$quarter - 1]],
        [@samples[-$quarter .. -1]];
    return ($after, $after - $before);
}

# A sanitizer keeps for a while what was freed.
my $sanitized = preload(build_dir() . '/mod_xlimit.so') ne '';

sub grew {
    my ($what, $most, $title, @samples) = @_;
    return if $sanitized && $title =~ /^kB/;
    my ($after, $more) = growth($what, @samples);
    note("$title: " . join ' ', map { $_->{$what} } @samples);
    cmp_ok($more, '<=', $most, "$title: $after, $more more than a quarter earlier");
    return;
}

# So many answers of that size, many requests at a time, on kept connections.
sub ask {
    my ($s, $n, $count, $size) = @_;
    my ($client, $asked) = (undef, 0);
    while ($count > 0) {
        my $now = $count < AT_ONCE ? $count : AT_ONCE;
        ($client, $asked) = (XL::Client->new(port => $s->port, from => "127.0.0.@{[2 + $n]}"), 0) if !$client;
        $client->send_all(join '', map { "GET /all/x HTTP/1.1\r\nHost: localhost\r\nUser-Agent: a" . int(rand 2000)
            . "\r\n\r\n" } 1 .. $now) or return 0;
        for (my $left = $now * $size; $left > 0;) {
            my $got = sysread($client->socket, my $data, $left) or return 0;
            $left -= $got;
        }
        $count -= $now;
        $asked += $now;
        $client = $client->disconnect if $asked >= KEPT;
    }
    return 1;
}

sub ask_all {
    my ($s, $count, $size) = @_;
    my @pids = map {
        my $n = $_;
        my $pid = fork // die "fork: $!";
        POSIX::_exit(eval { ask($s, $n, $count / CLIENTS, $size) } ? 0 : 1) if !$pid;
        $pid;
    } 1 .. CLIENTS;
    return !grep { waitpid $_, 0; $? } @pids;
}

my $s = XL::Server->new(children => 2, factor => 20, ports => 2, conf => $conf);
$s->content('all/x', 'x' x 1000);
$s->start;
my $size = fetch($s->port, '/all/x', headers => { 'User-Agent' => 'a1' })->{bytes};

subtest "$requests requests" => sub {
    my @children = sort $s->children;
    my @samples;
    for my $i (1 .. SAMPLES) {
        ask_all($s, $requests / SAMPLES, $size) or last;
        push @samples, sample($s);
    }
    is(scalar @samples, SAMPLES, 'all are answered, with as many bytes each') or return;
    is(limit($s, 'bytes')->{used}, ($requests + 1) * $size, '... and counted');
    is(join(' ', sort $s->children), "@children", '... by the same children');
    grew('children', 256, 'kB of a child', @samples);
    grew('parent', 64, 'kB of the parent', @samples);
    grew('shared', 0, 'kB of shared memory', @samples);
    grew('files', 0, 'open files of the parent', @samples);
};

subtest "$restarts graceful restarts" => sub {
    my @samples;
    for my $i (1 .. $restarts) {
        my @old = $s->children;
        $s->graceful or last;
        # a child that ends adds `Connection: close`
        $s->wait_for(sub { my %now = map { $_ => 1 } $s->children; !grep { $now{$_} } @old }, 10) or last;
        ask_all($s, CLIENTS, $size) or last;
        push @samples, sample($s);
    }
    is(scalar @samples, $restarts, 'each is followed by requests that are answered') or return;
    grew('parent', 64, 'kB of the parent', @samples);
    grew('children', 256, 'kB of a child', @samples);
    grew('shared', 0, 'kB of shared memory', @samples);
    grew('files', 0, 'open files of the parent', @samples);
    grew('child_files', 0, '... and of a child', @samples);
    is(limit($s, 'bytes')->{used}, ($requests + 1 + CLIENTS * $restarts) * $size, 'all were counted');
};

ok($s->stop, 'the server ends by itself');
done_testing;
