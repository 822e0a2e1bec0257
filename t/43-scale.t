# SPDX-License-Identifier: Apache-2.0
#
# Pacing where things are many or scarce: hundreds of downloads in one child of
# 25 threads, a graceful restart in the middle, most of them gone at once; hardly
# any descriptors to be had, a spool that is used up, whose disk is full, or
# that cannot be written at all. Everybody is served, and the error log says
# once why somebody waits.
#
# Timed.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use List::Util qw(max min sum);
use Test::More;
use XL::Client qw(fetch_many jain rate_between);
use XL::Ledger qw(ledger);
use XL::Paced;
use XL::Server;
use XL::Status qw(status_conf vhost);
use XL::System qw(allow_files slurp stand_still);

use constant { MANY => 800, RATE => 16e3, SHARED => 5e6, FILES => 120 };

allow_files(4096) or plan skip_all => 'more than 4096 open files are not allowed here';

# Connections that the MPM of the child polls by a timer; and how many of these
# timers are to expire when their response is due, or have: the others would
# later, by a third of Timeout or ten seconds. The child stands still meanwhile.
sub parked {
    my ($pid) = @_;
    my (%polled, %due);
    stand_still($pid);
    for my $path (glob "/proc/$pid/fdinfo/*") {
        my $text = slurp($path);
        $polled{$1} = 1 while $text =~ /^tfd:\s*(\d+)/mg;
        next if $text !~ /^ticks: (\d+)\n.*^it_value: \((\d+),/ms;
        $due{ $path =~ s{.*/}{}r } = $1 || $2 < 5 ? 1 : 0;
    }
    kill CONT => $pid;
    my @timers = grep { exists $due{$_} } keys %polled;
    return (scalar @timers, sum(0, @due{@timers}));
}

sub active { vhost($_[0])->{active} }
sub idle { my ($s) = @_; return $s->wait_for(sub { !active($s) }, 3) }

# ---- many -------------------------------------------------------------------

subtest 'eight hundred, and a graceful restart' => sub {
    my $text = text(80_000);
    my $s = XL::Server->new(ports => 2, factor => 40, conf => status_conf() . sources() . <<'CONF');
ServerLimit 3
<Location /paced/>
    XLimitBandwidth session 16kB/s
</Location>
CONF
    $s->content('file', $text);
    $s->content('probe', 'x');
    $s->start;
    my ($old) = $s->children;

    my @list = map { { port => $s->port, path => '/paced/' . ($_ % 2 ? 'mmap' : 'sendfile') . '/file', keep => 1,
        at => $_ / MANY } } 1 .. MANY;
    my ($ready, $active, $parked, $due) = ($s->count_ready);
    my ($got, $probes) = fetch_many(\@list, until => 15, probe => { every => 0.1, port => $s->port, path => '/probe' },
        events => [[2.2, sub { ($parked, $due) = parked($old) }], [2.5, sub { $active = active($s) }],
            [3, sub { kill USR1 => $s->pid }]]);
    cmp_ok($parked, '>', 0.9 * MANY, "$parked are parked");
    # more ready ones than threads overrun the queue of httpd's child that ends gracefully
    ok($due > 0 && $due <= 12, "... of which $due are woken up when they are due, for 25 threads");
    cmp_ok($active, '>=', MANY, "$active at once in one child of 25 threads");
    is($s->count_ready, $ready + 1, 'a graceful restart in the middle');
    whole_ok(MANY . ' downloads', $got, $text);
    # a chunk is a tenth of the response's age here, and it is due at its middle
    paced_ok('each of them', $got, rate => RATE, within => 0.1, ahead => 0.4);
    my @took = sort { $a <=> $b } map { $_->{took} } @$probes;
    ok($took[@took / 2] < 0.05, sprintf 'a fresh request took %.1f ms', 1000 * $took[@took / 2]);
    # httpd looks once a second whether it needs another child
    ok($took[-1] < 1.5, sprintf '... and %.1f ms at most', 1000 * $took[-1]);
    ok($s->wait_for(sub { !grep { $_ == $old } $s->children }, 5), 'the old child has ended');
    ok(idle($s), 'nobody is active');
};

subtest 'two hundred of three hundred vanish' => sub {
    my $s = XL::Server->new(ports => 2, children => 2, factor => 40, conf => status_conf() . <<'CONF');
<Location /shared/>
    XLimitBandwidth all 5MB/s name=shared
</Location>
CONF
    $s->file('shared/endless', 100_000_000);
    $s->start;
    my @stay = map { { port => $s->port, path => '/shared/endless' } } 1 .. 100;
    my @gone = map { { port => $s->port, path => '/shared/endless', leave => 2, reset => 1 } } 1 .. 200;
    my $active;
    fetch_many([@stay, @gone], until => 4, events => [[3.8, sub { $active = active($s) }]]);

    is(scalar(grep { $_->{error} eq 'left' } @gone), 200, 'they vanish');
    my $then = max(map { $_->{ended} } @gone);
    cmp_ok($then - min(map { $_->{ended} } @gone), '<', 0.3, '... at once');
    my $from = max(map { $_->{first} } @stay, @gone);
    my $before = sum(map { rate_between($_, $from, $then - 0.1) } @stay, @gone) / SHARED;
    ok($before > 0.9 && $before < 1.1, sprintf 'before: %.3f of the rate', $before);
    my @after = map { rate_between($_, $then + 0.3, $then + 1.7) * @stay / SHARED } @stay;
    my $sum = sum(@after) / @after;
    ok($sum > 0.9 && $sum < 1.1, sprintf '0.3 s later the others have %.3f of it', $sum);
    my $first = sum(map { rate_between($_, $then + 0.3, $then + 0.6) } @stay) / SHARED;
    ok($first > 0.85 && $first < 1.15, sprintf '... %.3f in the first 0.3 s of that', $first);
    ok(min(@after) > 0.9 && max(@after) < 1.1, sprintf '... each %.3f to %.3f of his part, Jain %.5f', min(@after),
        max(@after), jain(@after));
    is($active, 100, 'a hundred are active');
    ok(idle($s), '... and nobody when they left, too');
};

# ---- scarce -----------------------------------------------------------------

# The pages are text of the configuration: no file is needed for them.
my $few = XL::Server->new(ports => 2, factor => 20, wrapper => ['sh', '-c', "ulimit -n @{[FILES]}; exec \"\$@\"", 'sh'],
    conf => status_conf() . sprintf <<'CONF', 'x' x 7000);
ServerLimit 3
<Location /paced/>
    XLimitBandwidth session 2kB/s
</Location>
ErrorDocument 404 "%s
CONF
$few->content('probe', 'x');
$few->start;

# A full disk, where one may be made.
my $disk = File::Temp->newdir('xlimit-XXXXXX', TMPDIR => 1);
my $mounted = $> == 0 && system("mount -t tmpfs -o size=512k,mode=1777 none $disk 2>/dev/null") == 0;
my $owner = $$;
END { system("umount -l $disk") if $mounted && $owner == $$ }

my $forbidden = File::Temp->newdir('xlimit-XXXXXX', TMPDIR => 1);
chmod 0500, "$forbidden";

my $text = text(400_000);
my %spool;
for my $case (['at its limit', 'XLimitSpool 512kB'], ['on a full disk', "XLimitSpool 1GB $disk"],
    ['that cannot be written', "XLimitSpool 1GB $forbidden"], ['that is off', 'XLimitSpool off']) {
    my ($name, $line) = @$case;
    next if $name =~ /disk/ && !$mounted;
    my $s = $spool{$name} = XL::Server->new(ports => 2, cgi => 1, factor => 20, conf => status_conf() . <<"CONF");
XLimitBuffer 64kB
$line
<Location /cgi/>
    XLimitBandwidth session 100kB/s
</Location>
CONF
    $s->content('file', $text);
    $s->content('probe', 'x');
    $s->cgi('give', "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\nexec cat ../htdocs/file\n");
    $s->start;
}

my ($base) = $few->children;
my @pages = map { { port => $few->port, path => '/paced/none' } } 1 .. FILES - 20;
my %programs = map { my $s = $spool{$_}; $_ => [map { { port => $s->port, path => '/cgi/give', keep => 1 } } 1 .. 8] }
    keys %spool;
my %probes = map { my $s = $_; $s => [map { { port => $s->port, path => '/probe', at => $_ / 4 } } 1 .. 16] }
    $few, values %spool;
my %spooled;
fetch_many([@pages, (map { @$_ } values %programs, values %probes)], until => 15,
    events => [[2, sub { $spooled{$_} = spooled($spool{$_}) for keys %spool }]]);

sub spooled { ledger($_[0]->path('state/xlimit.state'))->{spooled} }

sub probes_ok {
    my ($s, $seconds) = @_;
    my $worst = max(map { $_->{complete} && $_->{responses}[0]{status} == 200 ? took($_) : 9e9 } @{ $probes{$s} });
    return ok($worst < $seconds, sprintf 'a fresh request took %.3f s at most', $worst);
}

subtest 'hardly any descriptors' => sub {
    is(scalar(grep { $_->{complete} && $_->{responses}[0]{body_length} == 7000 } @pages), scalar @pages,
        @pages . ' paced responses with ' . FILES . ' descriptors are served');
    # from their first byte: a child that cannot accept is replaced by httpd, which takes a second
    my @rates = map { my ($first, $last) = @{ $_->{series} }[0, -1]; ($last->[1] - $first->[1]) / 2e3
            / (($last->[0] - $first->[0]) || 1e-9) } @pages;
    ok(min(@rates) > 0.9 && max(@rates) < 1.1, sprintf '... at %.3f to %.3f of their rate', min(@rates), max(@rates));
    probes_ok($few, 2);
    # which of a socket and a timer is the one too many, is a matter of who comes first
    my $log = $few->error_log;
    my %lines;
    $lines{$_}++ for $log =~ /pid (\d+):\S* .*xlimit\(301\)/g;
    ok(%lines || $log =~ /Too many open files/, 'the error log says that descriptors are missing');
    cmp_ok(max(0, values %lines), '<=', 1, '... of timers once for each child');
    ok(idle($few), 'nobody is active');
};

for my $name (sort keys %spool) {
    subtest "a spool $name" => sub {
        my ($s, $list) = ($spool{$name}, $programs{$name});
        whole_ok('eight programs', $list, $text);
        # the head comes before the program has ended
        paced_ok('... each', $list, rate => 100e3, within => 0.1, ahead => 0.2);
        probes_ok($s, 0.5);
        my @said = grep { /xlimit\(3\d\d\)/ && /spool/i } split /\n/, $s->error_log;
        is(scalar @said, $name =~ /off/ ? 0 : 1, 'the error log says so once') or diag(@said[0 .. min(1, $#said)]);
        ok(idle($s), 'nobody is active');
        my $most = $name =~ /limit|disk/ ? 512 * 1024 : 0;
        ok($spooled{$name} <= $most && (!$most || $spooled{$name} > 0.5 * $most),
            "$spooled{$name} bytes were in it, of $most that there is room for");
        is(spooled($s), 0, '... and none is');
    };
}

SKIP: { skip 'no disk can be mounted here', 1 if !$mounted; pass('a full disk was there') }

done_testing;
