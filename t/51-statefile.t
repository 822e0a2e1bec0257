# SPDX-License-Identifier: Apache-2.0
#
# The file under the counters, and what httpd does with one that it cannot use:
# one clear line, nothing deleted, and as XLimitStateError says. Who only looks
# (-t, -D DUMP_XLIMIT) changes nothing. The memory, the mutex, and what the
# start warns of.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use Digest::MD5 qw(md5_hex);
use POSIX ();
use Test::More;
use XL::Client qw(now fetch);
use XL::Ledger qw(ledger entry patch reseal);
use XL::Server;
use XL::Status qw(status_conf status limit vhost);
use XL::System qw(httpd slurp spew);

my $BASE = "ServerName fixed.example:80\nXLimitQuota all 1TB 1d name=bytes\n" . status_conf();

sub server {
    my ($more, %option) = @_;
    my $s = XL::Server->new(ports => 2, factor => 20, %option, conf => $BASE . ($more // ''));
    $s->file('page.bin', 10_000);
    return $s;
}

sub state_file { $_[0]->path('state/xlimit.state') }
sub used       { limit($_[0], 'bytes', 'fixed.example')->{used} }
sub state_name { my $page = status($_[0]); $page->{state} // $page->{server}{state} }

# Returns when no request is under way: an answer is there before its request has ended.
sub settle {
    my ($s) = @_;
    $s->wait_for(sub { !grep { $_->{active} } @{ ledger(state_file($s))->{entries} } }, 5)
        or die 'a request does not end';
    return;
}

# A graceful restart that is over: old children may take a last request.
sub graceful {
    my ($s) = @_;
    my %old = map { $_ => 1 } $s->children;
    return $s->graceful && $s->wait_for(sub { !grep { $old{$_} } $s->children }, 5);
}

sub sum_of { entry(ledger(state_file($_[0])), '', 'fixed.example')->{sent} }

sub lines { grep { /xlimit\(/ } split /\n/, $_[0] }

# What the module has to say about a start; a kind of restart is the name of a method.
sub start_says {
    my ($s, $how) = @_;
    my $from = length $s->error_log;
    $how //= 'start';
    $s->$how;
    return lines(substr $s->error_log, $from);
}

sub says_nothing { is(join("\n", @{ $_[0] }), '', $_[1]) }

# All that can be seen of a path.
sub sight {
    my ($path) = @_;
    my @stat = lstat $path or return 'nothing';
    return join ' ', @stat[0 .. 5, 7, 9], -l _ ? readlink $path : -f _ ? md5_hex(slurp($path)) : '';
}

sub mode { my @stat = lstat $_[0]; return @stat ? sprintf '%o', $stat[2] & 07777 : 'none' }
sub files { join ' ', map { s{.*/}{}r } glob $_[0]->path('state/*') }

sub sights { map { ("$_" => sight($_)) } glob "$_[0]/*" }

# A state file with something in it, and a counter to lose.
my $sample;
subtest 'a state file' => sub {
    my $s = server();
    umask 0;
    my @said = start_says($s);
    umask 022;
    says_nothing(\@said, 'a first start says nothing');
    is(mode(state_file($s)), '600', 'is for its owner alone');
    is((stat state_file($s))[4], $>, '... who starts the server');
    my $received = fetch($s->port, '/page.bin')->{bytes};
    is(used($s), $received, 'counts');
    is(state_name($s), state_file($s), 'is named on the status page');
    is(sum_of($s), $received, '... and in the file, while the server runs');
    is(files($s), 'xlimit.state xlimit.state.snapshot', 'nothing but its copy is in its folder');
    is(mode(state_file($s) . '.snapshot'), '600', '... which is for its owner alone, too');
    $s->stop;
    $sample = slurp(state_file($s));
    cmp_ok(length $sample, '<=', 1_000_000, 'of a size that one can bear');
    is((stat state_file($s))[12] * 512 >= length $sample ? 1 : 0, 1, '... all of which is on the disk');
};

sub damaged {
    my ($path, $offset, $bytes) = @_;
    spew($path, $sample);
    patch($path, $offset, $bytes);
}

my $first_entry = 4096 + 64 * unpack 'L', substr $sample, 24, 4;

# how it is made, what the log says of it, whether it is renamed
my @unusable = (
    ['a folder', sub { mkdir $_[0] }, qr/is no regular file|cannot be opened: Is a directory/],
    ['a fifo', sub { POSIX::mkfifo($_[0], 0600) }, qr/is no regular file/],
    ['a symbolic link', sub { spew("$_[0].target", $sample); symlink "$_[0].target", $_[0] }, qr/is a symbolic link/],
    ['a symbolic link to nothing', sub { symlink "$_[0].target", $_[0] }, qr/is a symbolic link/],
    ['a file with two links', sub { spew($_[0], $sample); link $_[0], "$_[0].other" }, qr/has more than one link/],
    ['a file of somebody else', sub { spew($_[0], $sample); chown 1, 1, $_[0] }, qr/belongs to user 1, not to 0/],
    ['a file in no folder', sub { rmdir $_[0] =~ s{/[^/]+$}{}r }, qr/cannot be opened: No such file or directory/],
);
@unusable = grep { $_->[0] !~ /somebody/ } @unusable if $>;

my @corrupt = (
    ['text', sub { spew($_[0], "not a ledger\n" x 1000) }, qr/is corrupt at offset 0: not a state file of xlimit/],
    ['a few bytes', sub { spew($_[0], "xlimit\r\n") }, qr/is corrupt at offset \d+: /],
    ['a head cut short', sub { spew($_[0], substr $sample, 0, 3000) },
        qr/is corrupt at offset 0: shorter than the head/],
    ['a flipped bit in the head', sub { damaged($_[0], 25, "\x01") }, qr/is corrupt at offset 60: the checksum/],
    ['another byte order', sub { damaged($_[0], 12, pack 'N', 0x01020304) }, qr/is corrupt at offset 12: .*byte order/],
    ['rows beyond its end', sub { damaged($_[0], 24, pack 'L', 100_000); reseal($_[0]) },
        qr/is corrupt at offset 24: its sizes contradict each other/],
    ['an unknown kind', sub { damaged($_[0], $first_entry, pack 'L', 77) },
        qr/is corrupt at offset $first_entry: an entry of unknown kind/],
    ['a label without end', sub { damaged($_[0], $first_entry + $XL::Ledger::AT{vhost}, 'x' x 128) },
        qr/is corrupt at offset @{[ $first_entry + 32 ]}: a label that does not end/],
    ['another label', sub { damaged($_[0], $first_entry + $XL::Ledger::AT{vhost}, 'X') },
        qr/is corrupt at offset @{[ $first_entry + 8 ]}: an entry whose fingerprint/],
);

sub refuses {
    my ($s, $pattern, $what) = @_;
    my %before = sights($s->path('state'));
    my ($status, $said) = $s->start_refused;
    ok($status, "$what: the start fails") or diag($said);
    my @lines = lines($said);
    is(scalar @lines, 1, '... with one line') or diag($said);
    my $path = state_file($s);
    like($lines[0], qr/xlimit\(222\): the state file \Q$path\E $pattern.*; /, '... that says why and what to do');
    is_deeply({ sights($s->path('state')) }, \%before, '... and touches nothing');
}

sub clear_state {
    my ($s) = @_;
    unlink grep { !-d } glob $s->path('state/*');
    rmdir for grep { -d } glob $s->path('state/*');
    mkdir $s->path('state'), 0700;
    spew($s->path('state/keep'), "another's\n");
}

subtest 'what is no state file' => sub {
    my $s = server();
    for my $case (@unusable) {
        my ($what, $make, $reason) = @$case;
        clear_state($s);
        unlink $s->path('state/keep') if $what =~ /no folder/;
        $make->(state_file($s));
        $s->conf("${BASE}XLimitStateError fail\n");
        refuses($s, $reason, $what);

        my %before = sights($s->path('state'));
        $s->conf("${BASE}XLimitStateError fresh\n");
        my @said = start_says($s);
        is(scalar @said, 1, '... with "fresh" it starts, with one line') or diag(@said);
        my $path = state_file($s);
        like($said[0], qr/:error\].*xlimit\(226\): the state file \Q$path\E $reason.*; counters begin anew/,
            '... that says why');
        is(state_name($s) . ' ' . used($s), 'none 0', '... counts from 0 and in no file');
        my $got = fetch($s->port, '/page.bin')->{bytes};
        graceful($s);
        is(used($s), $got, '... and over a graceful restart');
        $s->stop;
        is_deeply({ sights($s->path('state')) }, \%before, '... and touches nothing');
    }
};

subtest 'a corrupt state file' => sub {
    my $s = server();
    for my $case (@corrupt) {
        my ($what, $make, $reason) = @$case;
        clear_state($s);
        $make->(state_file($s));
        chmod 0600, state_file($s);
        my $damaged = slurp(state_file($s));
        $s->conf("${BASE}XLimitStateError fail\n");
        refuses($s, $reason, $what);

        $s->conf($BASE); # fresh is the default
        my @said = start_says($s);
        is(scalar @said, 1, '... by default it starts, with one line') or diag(@said);
        my $path = state_file($s);
        like($said[0], qr/:error\].*xlimit\(227\): the state file \Q$path\E $reason/, '... that says why');
        my ($aside) = ($said[0] // '') =~ /it is now called (\S+), and counters begin anew/;
        like($aside // '', qr/^\Q$path\E\.corrupt-\d{8}T\d{6}Z-\d+$/, '... and what it is called now');
        ok(defined $aside && slurp($aside) =~ /^\Q$damaged\E\0*\z/, '... with all that was in it');
        is(mode($aside) . ' ' . mode(state_file($s)), '600 600', 'old and new file: 0600');
        is(state_name($s) . ' ' . used($s), state_file($s) . ' 0', '... counts from 0 in a new file');
        $s->stop;
        says_nothing([start_says($s)], '... which the next start finds good');
        $s->stop;
    }
};

subtest 'a file that others have a right to' => sub {
    my $s = server();
    spew(state_file($s), $sample);
    patch(state_file($s), 8, pack 'L', ledger(state_file($s))->{version} + 1);
    reseal(state_file($s));
    for my $error (qw(fresh fail)) {
        $s->conf("${BASE}XLimitStateError $error\n");
        refuses($s, qr/was written by a newer version of this module and is left as it is/, "a newer version, $error");
    }
    unlink state_file($s);
    $s->start;
    my $got = fetch($s->port, '/page.bin')->{bytes};
    for my $error (qw(fresh fail)) {
        my $other = server("XLimitStateFile @{[ state_file($s) ]}\nXLimitStateError $error\n");
        my ($status, $said) = $other->start_refused;
        my @lines = lines($said);
        ok($status, "held by a running server, $error: the start fails");
        is(scalar @lines, 1, '... with one line') or diag($said);
        my $pid = $s->pid;
        like($lines[0], qr/xlimit\(222\): .*is in use by another running server, process $pid; /,
            '... that names its process');
    }
    is(used($s), $got, '... which counts as before');
    is(fetch($s->port, '/page.bin')->{status}, 200, '... and serves');
    ok(graceful($s), '... and restarts gracefully');
    is(used($s), 2 * $got, '... and counts on');
    my ($one, $two) = map { server()->start } 1 .. 2;
    fetch($one->port, '/page.bin');
    is(used($one) . ' ' . used($two), "$got 0", 'servers with files of their own run side by side');
    $_->stop for $one, $two, $s;
    is(sum_of($one) . ' ' . sum_of($two), "$got 0", '... and keep their counters apart');
};

# As init and admins start it. Its exit status; one that runs after all is stopped.
sub start_daemon {
    my ($s, $conf) = @_;
    my $file = $s->write_conf('conf/httpd.conf', $conf);
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        open STDOUT, '>', '/dev/null';
        open STDERR, '>&', \*STDOUT;
        $s->sanitizer_env;
        exec(httpd(), '-d', $s->root, '-f', $file, '-k', 'start') or POSIX::_exit(127);
    }
    waitpid $pid, 0;
    my $status = $? >> 8;
    kill TERM => slurp($s->path('run/httpd.pid')) if !$status && $s->wait_for(sub { -s $s->path('run/httpd.pid') }, 2);
    return $status;
}

subtest 'a daemon that cannot start says so by its exit status' => sub {
    my @cases = (
        ['a newer file', '', sub { patch($_[0], 8, pack 'L', 99); reseal($_[0]) }],
        ['a corrupt head, fail', "XLimitStateError fail\n", sub { patch($_[0], 25, "\x01") }],
        ['a corrupt entry, fail', "XLimitStateError fail\n", sub { patch($_[0], $first_entry, pack 'L', 77) }],
        ['a link, fail', "XLimitStateError fail\n", sub { rename $_[0], "$_[0].old"; symlink "$_[0].old", $_[0] }],
        ['too little memory', "XLimitMemory 5kB\n", sub { }],
        ['posixsem', "Mutex posixsem xlimit\n", sub { }],
    );
    for my $case (@cases) {
        my ($what, $conf, $make) = @$case;
        my $s = server($conf);
        $s->choose_ports;
        spew(state_file($s), $sample);
        $make->(state_file($s));
        is(start_daemon($s, "$BASE$conf"), 1, $what);
        is(scalar lines($s->error_log), 1, '... and says why in its error log');
    }
};

subtest 'who only looks touches nothing' => sub {
    my $s = server("XLimitFlush 1h\n");
    my @looks = (
        ['-t', 0, $BASE],
        ['-t -D DUMP_XLIMIT', 0, $BASE, '-D', 'DUMP_XLIMIT'],
        ['-t with more to count', 0, $BASE . join '', map { "XLimitQuota all 1TB 1d name=n$_\n" } 1 .. 100],
        ['-t that fails', 1, "${BASE}XLimitQuota all 12parsecs 1d\n"],
        ['-t -D DUMP_XLIMIT that fails', 1, "${BASE}XLimitQuota all 1B 1d name=bytes\n", '-D', 'DUMP_XLIMIT'],
    );
    for my $look (@looks) {
        my ($what, $fails, $conf, @arguments) = @$look;
        my ($status) = $s->configtest($conf, @arguments);
        is(($status ? 1 : 0) . ' ' . sight(state_file($s)), "$fails nothing", "$what makes no file");
    }
    $s->start;
    my $got = fetch($s->port, '/page.bin')->{bytes};
    settle($s);
    $s->wait_for(sub { slurp(state_file($s) . '.snapshot') =~ /^xlimit/ }, 2);
    my %before = sights($s->path('state'));
    for my $look (@looks) {
        my ($what, $fails, $conf, @arguments) = @$look;
        my ($status) = $s->configtest($conf, @arguments);
        is($status ? 1 : 0, $fails, "$what beside the running server");
        is_deeply({ sights($s->path('state')) }, \%before, '... touches nothing');
    }
    is(used($s), $got, 'it counts as before');
    $s->stop;
};

subtest 'XLimitStateFile none' => sub {
    my $s = server("XLimitStateFile none\n");
    says_nothing([start_says($s)], 'a start says nothing');
    is(state_name($s), 'none', 'the status page says none');
    my $got = fetch($s->port, '/page.bin')->{bytes};
    ok(graceful($s) && used($s) == $got, 'counters live over graceful');
    ok($s->restart && used($s) == $got, '... and restart');
    my ($child) = $s->children;
    kill KILL => $child;
    $s->wait_for(sub { my @now = $s->children; @now && $now[0] != $child });
    is(used($s), $got, '... and kill -9 of a child');
    $s->stop;
    $s->start;
    is(used($s), 0, '... and end with the server');
    is(sight(state_file($s)), 'nothing', 'no file is made');
    $s->stop;
};

subtest 'a file that changes its place while the server runs' => sub {
    my $s = server();
    $s->start;
    my $got = fetch($s->port, '/page.bin')->{bytes};
    $s->conf("${BASE}XLimitStateFile \@ROOT\@/state/elsewhere\n");
    my @said = start_says($s, 'graceful');
    is(scalar @said, 1, 'one line');
    like($said[0], qr/:warn\].*xlimit\(203\): XLimitStateFile is now \S+elsewhere, but counters stay in \S+xlimit/,
        '... says that it takes a stop and a start');
    is(used($s), $got, 'counting goes on');
    $s->stop;
    $s->start;
    is(state_name($s) . ' ' . used($s), $s->path('state/elsewhere') . ' 0', '... after which it is so');
    $s->stop;
};

subtest 'XLimitMemory' => sub {
    my $s = server("XLimitMemory 5kB\n");
    my ($status, $said) = $s->start_refused;
    my @lines = lines($said);
    ok($status, 'too little: the start fails');
    is(scalar @lines, 1, '... with one line') or diag($said);
    like($lines[0], qr/xlimit\(221\): XLimitMemory is 5000 bytes, but the \d+ counters .* take \d+ bytes; raise /,
        '... that names the size, and the directive');
    is(sight(state_file($s)), 'nothing', '... and makes no file');

    my ($least) = $lines[0] =~ /take (\d+) bytes/;
    $s->conf("${BASE}XLimitMemory @{[ $least - 1 ]}\n");
    ok(($s->start_refused)[0], 'a byte less than what it asks for is too little');
    $s->conf("${BASE}XLimitMemory $least\n");
    says_nothing([start_says($s)], 'what it asks for is enough');
    is(-s state_file($s), $least, '... and is the size of the file');
    my $got = fetch($s->port, '/page.bin')->{bytes};

    $s->conf("${BASE}XLimitMemory @{[ 4 * $least ]}\nXLimitQuota all 1TB 1d name=more\n");
    my @said = start_says($s, 'graceful');
    is(used($s), $got, 'more of it: a graceful restart has room') or diag(@said);
    my $size = -s state_file($s);
    cmp_ok($size, '>', $least, '... and a larger file');
    cmp_ok($size, '<=', 4 * $least, '... of no more than was asked for');
    $s->stop;
    $s->conf("${BASE}XLimitMemory $least\n");
    says_nothing([start_says($s)], 'a file that is larger is used as it is');
    is(used($s) . ' ' . -s state_file($s), "$got $size", '... with its counters');

    # httpd ends when a graceful restart finds what it cannot do
    $s->conf("${BASE}XLimitMemory 5kB\n");
    my $from = length $s->error_log;
    ok(!$s->graceful, 'too little at a graceful restart: httpd ends');
    is(scalar(grep { /xlimit\(221\)/ } lines(substr $s->error_log, $from)), 1, '... with that line');
    $s->conf($BASE);
    $s->stop;
    $s->start;
    is(used($s), $got, '... and has lost nothing');
    $s->stop;
};

# ext4 keeps what a posix_fallocate() that fails has taken; tmpfs does not.
subtest 'a full disk' => sub {
    my $s = server("XLimitMemory 8MB\n");
    my ($image, $folder) = map { $s->path($_) } qw(disk state);
    my $mounted = !$> && !system "(truncate -s 2M $image && mkfs.ext4 -q -O ^has_journal $image"
        . " && mount -o loop $image $folder) >/dev/null 2>&1";
    plan skip_all => 'a disk cannot be had' if !$mounted;
    my ($status, $said) = $s->start_refused;
    my $left = -s state_file($s);
    system 'umount', $folder;
    ok($status, 'the start fails');
    like((lines($said))[0], qr/xlimit\(223\): the counters need \d+ bytes in \S+: .*: No space left on device; /,
        '... with the size, and what to do');
    is($left, 0, '... and does not keep what room there was');
};

subtest 'more processes than the file has rows for' => sub {
    my $s = server();
    $s->start;
    my $got = fetch($s->port, '/page.bin')->{bytes};
    $s->stop;
    my $rows = ledger(state_file($s))->{rows};
    $s->conf("${BASE}ServerLimit 60\n");
    my @said = start_says($s);
    is(scalar @said, 1, 'one line');
    like($said[0], qr/:notice\].*xlimit\(224\): \S+ was rebuilt for 120 processes, with all its counters/,
        '... says what is done');
    is("$rows " . ledger(state_file($s))->{rows}, '64 120', 'rows before and after');
    is(used($s), $got, 'the counters are kept');
    is(files($s), 'xlimit.state xlimit.state.snapshot', 'nothing else is left in the folder');
    is(mode(state_file($s)), '600', '... of mode 0600');
    $s->stop;
    says_nothing([start_says($s)], 'once');
    $s->stop;
};

subtest 'the first start after a boot' => sub {
    my $s = server("XLimitBandwidth all 100kB/s name=pool\n");
    $s->start;
    my $got = fetch($s->port, '/page.bin')->{bytes};
    $s->kill9_all;
    my $pool = entry(ledger(state_file($s)), 'pool', 'fixed.example');
    cmp_ok($pool->{tat}, '>', 0, 'a meter was at work');
    # as after a boot: monotonic time began anew, so that what is written is far ahead
    patch(state_file($s), 64, '00000000-0000-0000-0000-000000000000');
    patch(state_file($s), $pool->{offset} + $XL::Ledger::AT{tat}, pack 'Q', 3_600 * 10**9 + POSIX::floor(now() * 1e9));
    $s->start;
    my $before = now();
    fetch($s->port, '/page.bin');
    cmp_ok(now() - $before, '<', 1, 'meters are at rest');
    is(used($s), 2 * $got, '... and counters are kept');
    is(ledger(state_file($s))->{boot_id}, slurp('/proc/sys/kernel/random/boot_id') =~ s/\n//r, 'the new boot is noted');
    $s->stop;
};

subtest 'Mutex' => sub {
    for my $mutex ('pthread', 'fcntl:@ROOT@/run', 'sysvsem', 'flock:@ROOT@/run') {
        my $s = server("Mutex $mutex xlimit\n", children => 2);
        is(join(' ', map { /xlimit\((\d+)\)/ } start_says($s)), $mutex =~ /lock|fcntl/ ? 209 : '', "$mutex: what is said");
        my $got = fetch($s->port, '/page.bin')->{bytes};
        my $new = "XLimitQuota all 1TB 1d name=new\n";
        $s->conf("${BASE}Mutex $mutex xlimit\n$new");
        ok(graceful($s), '... restarts gracefully');
        fetch($s->port, '/page.bin');
        is(used($s) . ' ' . limit($s, 'new', 'fixed.example')->{used}, 2 * $got . " $got", '... and counts on');
        ok($s->stop, '... stops');
    }
    my $s = server("Mutex posixsem xlimit\n");
    my ($status, $said) = $s->start_refused;
    ok($status, 'posixsem: the start fails');
    my @lines = lines($said);
    is(scalar @lines, 1, '... with one line') or diag($said);
    like($lines[0], qr/xlimit\(202\): "Mutex posixsem" would stop the server when a process is killed/,
        '... that says why');
};

# Lines of the start-up check: which ids, in that order.
sub warnings_of { join ' ', map { /:warn\].*xlimit\((32\d)\)/ ? $1 : $_ } @_ }

subtest 'what the start warns of' => sub {
    my %names = (321 => 'AsyncRequestWorkerFactor', 322 => 'limit of open files', 323 => 'ServerLimit',
        324 => 'XLimitEngine');
    my $pace = "XLimitBandwidth session 1MB/s\n";
    my $speed = 'XLimitQuota all 1GB 1d name=slow "exceeded=speed 10kB/s"' . "\n";
    my $good = "ServerLimit 2\n";
    my $few = ['sh', '-c', 'ulimit -n 200; exec "$@"', 'sh'];
    my @cases = (
        ['nothing is paced', '', '', factor => undef],
        ['all is well', '', $good . $pace],
        ['the default factor', '321', $good . $pace, factor => undef],
        ['a small factor', '321', $good . $pace, factor => 7],
        ['a factor of 8', '', $good . $pace, factor => 8],
        ['one child at most', '323', $pace],
        ['few open files', '322', $good . $pace, wrapper => $few],
        ['few open files and no pacing', '', $good, wrapper => $few],
        ['all three', '321 322 323', $pace, factor => undef, wrapper => ['sh', '-c', 'ulimit -n 100; exec "$@"', 'sh']],
        ['a quota that paces when it is used up', '321 323', $speed, factor => undef],
        ['pacing in a directory', '321 323', "<Location /x>\n$pace</Location>\n", factor => undef],
        ['pacing that is off', '', "XLimitBandwidth session 1MB/s mode=off\n", factor => undef],
        ['the blocking engine', '', "XLimitEngine blocking\n$pace", factor => undef],
        ['async with worker', '324', "XLimitEngine async\n$pace", mpm => 'worker', factor => undef],
        ['auto with worker', '', $pace, mpm => 'worker', factor => undef],
        ['auto with prefork', '', $pace, mpm => 'prefork', threads => 3, factor => undef],
    );
    for my $case (@cases) {
        my ($what, $ids, $conf, %option) = @$case;
        my $s = server($conf, %option);
        my @said = start_says($s);
        is(warnings_of(@said), $ids, $what);
        for my $line (@said) {
            my ($id) = $line =~ /xlimit\((\d+)\)/;
            like($line, qr/\Q$names{$id}\E/, "... $id names what to change");
        }
        $s->stop;
    }
};

done_testing();
