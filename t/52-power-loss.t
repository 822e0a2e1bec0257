# SPDX-License-Identifier: Apache-2.0
#
# What a start makes of a state file and its copy after a power loss, a broken
# disk or somebody's hands: it goes on from the newest good counters, or
# refuses as it was told to, and nothing is ever deleted.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use POSIX ();
use Test::More;
use XL::Client qw(fetch);
use XL::Copy qw(set slots);
use XL::Ledger qw(ledger entry patch reseal);
use XL::Server;
use XL::Status qw(status_conf limit);
use XL::System qw(slurp spew);

my $BASE = "ServerName fixed.example:80\nXLimitQuota all 1TB 1d name=bytes\nXLimitFlush 1h\n" . status_conf();

my $s = XL::Server->new(conf => $BASE, factor => 20, ports => 2);
$s->file('page.bin', 10_000);
my $state = $s->path('state/xlimit.state');
my $copy  = "$state.snapshot";
my $each; # bytes that one request counts

sub used { return limit($s, 'bytes', 'fixed.example')->{used} / $each }

# With an hour between two copies there is one soon after the start and one at the end.
sub one_request {
    $s->start;
    $s->wait_for(\&changed_since_start, 2) or die 'no copy';
    my $got = fetch($s->port, '/page.bin')->{bytes};
    $s->stop or die 'does not end';
    return $got;
}

my $sequence = 0;
sub changed_since_start {
    my ($newest) = slots($copy);
    return $newest && $newest->{sequence} > $sequence && ($sequence = $newest->{sequence});
}

sub clear {
    for my $path (glob $s->path('state/*')) {
        -d $path && !-l $path ? rmdir $path : unlink $path;
    }
    return;
}

# State files that know of 1 and of 3 requests, a copy of 1 and of 2.
my %sample;
subtest 'samples' => sub {
    $each = one_request();
    $sample{state1} = slurp($state);
    ($sequence) = map { $_->{sequence} } slots($copy);
    one_request();
    $sample{copy} = slurp($copy);
    my ($newest, $other) = slots($copy);
    is($newest->{sequence} - $other->{sequence}, 1, 'both slots are in use, one after the other');
    is($newest->{length} / $newest->{entry}, scalar @{ ledger($state)->{entries} }, 'each holds all entries');
    is((stat $copy)[12] * 512 >= -s $copy ? 1 : 0, 1, 'all of the file is on the disk');
    ($sequence) = map { $_->{sequence} } slots($copy);
    one_request();
    $sample{state3} = slurp($state);
};

# ---- what is done to the files ----------------------------------------------

my ($newest, $other) = do { clear(); spew($copy, $sample{copy}); slots($copy) };
my $first = 4096 + 64 * ledger_rows();
my $entry_bytes = unpack 'L', substr $sample{state3}, 32, 4;

sub ledger_rows { return unpack 'L', substr $sample{state3}, 24, 4 }

sub cut   { my ($bytes) = @_; return sub { truncate $_[0], $bytes or die "$_[0]: $!" } }
sub bytes { my ($at, $bytes) = @_; return sub { patch($_[0], $at, $bytes) } }
sub field { my ($at, $value) = @_; return sub { patch($_[0], $at, pack 'L', $value); reseal($_[0]) } }
sub fill  { my ($text) = @_; return sub { spew($_[0], substr $text x (length $sample{state3}), 0, -s $_[0]) } }
sub gone  { return unlink $_[0] }

sub noise {
    srand 7;
    return spew($_[0], join '', map { chr int rand 256 } 1 .. length $sample{state3});
}

# The entries from the second on, or the quota's.
sub no_entries { return bytes($first + $entry_bytes, "\0" x (length($sample{state3}) - $first - $entry_bytes)) }
sub no_quota   { return bytes(entry(ledger($_[0]), 'bytes', 'fixed.example')->{offset}, "\0" x $entry_bytes)->($_[0]) }

my @no_file = (
    ['a folder', sub { unlink $_[0]; mkdir $_[0] }],
    ['a fifo', sub { unlink $_[0]; POSIX::mkfifo($_[0], 0600) }],
    ['a symbolic link', sub { rename $_[0], "$_[0].target"; symlink "$_[0].target", $_[0] }],
    ['a symbolic link to nothing', sub { unlink $_[0]; symlink "$_[0].target", $_[0] }],
    ['a file with two links', sub { link $_[0], "$_[0].other" }],
    $> ? () : ['a file of somebody else', sub { chown 1, 1, $_[0] }],
);

# The state file is spoilt, the copy is good: it is set aside unless nothing is in it.
my @spoilt_state = (
    ['one byte', sub { spew($_[0], 'x') }],
    ['a part of the magic', cut(7)],
    ['a hundred bytes', cut(100)],
    ['a head cut short', cut(4095)],
    ['a head alone', cut(4096)],
    ['rows cut short', cut($first - 100)],
    ['rows alone', cut($first)],
    ['a part of an entry', cut($first + 100)],
    ['one entry of many', cut($first + $entry_bytes)],
    ['text', fill("not a ledger\n")],
    ['noise', \&noise],
    ['ones', fill("\xFF")],
    ['another magic', bytes(0, 'XLIMIT')],
    ['a flipped byte in the version', bytes(8, "\x07")],
    ['another byte order', bytes(12, pack 'N', 0x01020304)],
    ['a wrong checksum', bytes(60, 'oops')],
    ['version 0', field(8, 0)],
    ['a head of another size', field(16, 8192)],
    ['rows of another size', field(20, 32)],
    ['no rows', field(24, 0)],
    ['more rows than bytes', field(24, 100_000)],
    ['absurdly many rows', field(24, 0xFFFFFFFF)],
    ['entries of another layout', field(28, 64)],
    ['entries of another size', field(32, 0xFFFFFFC0)],
    ['other verdicts', field(36, 99)],
    ['more entries than bytes', bytes(128, pack 'L', 100_000)],
    ['an unknown kind', bytes($first, pack 'L', 77)],
    ['another fingerprint', bytes($first + $XL::Ledger::AT{vhost} - 20, 'spoilt')],
    ['a label without an end', bytes($first + $XL::Ledger::AT{vhost}, 'x' x 128)],
    ['another label', bytes($first + $XL::Ledger::AT{vhost}, 'X')],
);
my @empty_state = (
    ['missing', \&gone],
    ['empty', cut(0)],
    ['zeros', fill("\0")],
);
my @holes = (
    ['all entries but one are zeros', no_entries()],
    ['the entry of the quota is zeros', \&no_quota],
);

# The copy is spoilt: what it still knows of.
sub in_head { my ($head, $at, $bytes) = @_; return bytes($head->{at} + $at, $bytes) }
sub head_says { my ($head, %field) = @_; return sub { my ($path) = @_; set($path, $head, %field) } }
sub both { my (@how) = @_; return sub { my ($path) = @_; $_->($path) for @how } }

my @older_copy = (
    ['the newest body spoilt at its start', bytes($newest->{body_at}, "\xFF" x 16)],
    ['the newest body spoilt at its end', bytes($newest->{body_at} + $newest->{length} - 1, "\x99")],
    ['the newest body zeros', bytes($newest->{body_at}, "\0" x $newest->{length})],
    ['the newest head zeros', in_head($newest, 0, "\0" x 128)],
    ['the newest head half written', in_head($newest, 40, "\0" x 88)],
    ['the newest head of another byte order', head_says($newest, order => 0x04030201)],
    ['the newest of an absurd length', head_says($newest, length => 2**40)],
    ['the newest of an absurd place', head_says($newest, body_at => 2**40)],
    ['the newest of an absurd sequence', head_says($newest, sequence => ~0)],
    ['the newest of other entries', head_says($newest, entry => 64)],
    ['the newest of other verdicts', head_says($newest, verdicts => 99)],
    ['the newest with the other number', head_says($newest, sequence => $other->{sequence} - 1)],
);
my @newest_copy = (
    ['good', sub { }],
    ['the older body spoilt', bytes($other->{body_at}, "\xFF" x 16)],
    ['the older head zeros', in_head($other, 0, "\0" x 128)],
    ['from the future, by its clock', head_says($newest, wall => 2**50)],
    ['longer than it was', sub { open my $f, '>>', $_[0] or die; print {$f} "\0" x 100_000 }],
);
my @no_copy = (
    ['missing', \&gone],
    ['empty', cut(0)],
    ['zeros', sub { spew($_[0], "\0" x length $sample{copy}) }],
    ['text', sub { spew($_[0], "no copy\n" x 10_000) }],
    ['cut behind its heads', cut(8192)],
    ['both heads spoilt', both(in_head($newest, 50, 'spoilt'), in_head($other, 50, 'spoilt'))],
    ['both bodies spoilt', both(map { bytes($_->{body_at} + 20, 'spoilt') } $newest, $other)],
    @no_file,
);

# ---- what comes of it -------------------------------------------------------

sub lines { return grep { /xlimit\(/ } split /\n/, $_[0] }

sub put {
    my ($state_from, $spoil_state, $spoil_copy) = @_;
    clear();
    spew($state, $sample{$state_from});
    spew($copy, $sample{copy});
    chmod 0600, $state, $copy;
    $spoil_state->($state) if $spoil_state;
    $spoil_copy->($copy) if $spoil_copy;
    return (contents($state), contents($copy));
}

# What is in a file that someone could miss.
sub contents { return -f $_[0] && !-l $_[0] && slurp($_[0]) =~ /[^\0]/ ? slurp($_[0]) : undef }

# The bytes stand under some name yet; a file that was set aside may have grown by zeros.
sub is_kept {
    my ($bytes, $of) = @_;
    return grep { (contents($_) // '') =~ /\A\Q$bytes\E\0*\z/ } glob "$of*";
}

# how the start ends with `fail`, and with `fresh` when that differs
sub starts {
    my ($what, $error, $count, $ids, $lost_state, $lost_copy) = @_;
    $s->conf("${BASE}XLimitStateError $error\n");
    my $from = -s $s->path('logs/error') // 0;
    $s->start;
    my $said = join ' ', map { /xlimit\((\d+)\)/ ? $1 : () } lines(substr $s->error_log, $from);
    is(used() . " $said", "$count $ids", "$what, $error: counts from $count, and says why");
    ok(is_kept($lost_state, $state), '... the state file that does not serve is kept') if defined $lost_state;
    ok(is_kept($lost_copy, $copy), '... and the copy') if defined $lost_copy;
    fetch($s->port, '/page.bin');
    is(used(), $count + 1, '... counts on');
    $s->stop;
    return;
}

sub goes_on {
    my ($count) = @_;
    my $from = -s $s->path('logs/error');
    $s->start;
    is(used(), $count, '... and the next start goes on') or diag(substr $s->error_log, $from);
    $s->stop;
    return;
}

sub refuses {
    my ($what, $error, $pattern) = @_;
    $s->conf("${BASE}XLimitStateError $error\n");
    my ($status, $said) = $s->start_refused;
    my @lines = lines($said);
    ok($status && @lines == 1, "$what, $error: the start fails with one line") or diag($said);
    like($lines[0], $pattern, '... that says why');
    return;
}

subtest 'a spoilt state file and a good copy' => sub {
    for my $case (@spoilt_state) {
        my ($what, $spoil) = @$case;
        my ($lost) = put('state3', $spoil);
        starts($what, 'fail', 2, '227', $lost);
    }
    goes_on(3);
    for my $case (@empty_state) {
        put('state3', $case->[1]);
        starts($case->[0], 'fail', 2, '241');
    }
    goes_on(3);
    for my $case (@holes) {
        put('state3', $case->[1]);
        starts($case->[0], 'fail', 2, '242');
    }
    for my $case (@no_file) {
        put('state3', $case->[1]);
        my $before = join ' ', (lstat $state)[0 .. 5, 7];
        refuses($case->[0], 'fail', qr/xlimit\(222\)/);
        starts($case->[0], 'fresh', 2, '226');
        is(join(' ', (lstat $state)[0 .. 5, 7]), $before, '... and leaves alone what is no file of ours');
    }
};

subtest 'a good state file and any copy' => sub {
    for my $case (@newest_copy, @older_copy) {
        put('state3', undef, $case->[1]);
        starts($case->[0], 'fail', 3, '');
    }
    for my $case (@no_copy) {
        my ($what, $spoil) = @$case;
        my (undef, $lost) = put('state3', undef, $spoil);
        my $says = (grep { $_->[0] eq $what } @no_file) ? '243' : defined $lost ? '244' : '';
        starts("copy: $what", 'fail', 3, $says, undef, $lost);
    }
    put('state1');
    starts('a copy that knows more, of the same boot', 'fail', 1, '');
};

subtest 'a spoilt state file and a spoilt copy' => sub {
    my $spoil_state = bytes(0, 'XLIMIT');
    for my $case (map({ [@$_, 1] } @older_copy), map { [@$_, 2] } @newest_copy) {
        my ($what, $spoil, $count) = @$case;
        my ($lost) = put('state3', $spoil_state, $spoil);
        starts($what, 'fail', $count, '227', $lost);
    }
    for my $case (@no_copy) {
        my ($what, $spoil) = @$case;
        my ($lost_state, $lost_copy) = put('state3', $spoil_state, $spoil);
        my $says = (grep { $_->[0] eq $what } @no_file) ? ' 243' : defined $lost_copy ? ' 244' : '';
        refuses("copy: $what", 'fail', qr/xlimit\(222\): .*is corrupt at offset 0/);
        starts("copy: $what", 'fresh', 0, "227$says", $lost_state, $lost_copy);
    }
};

subtest 'what a newer version wrote is left alone' => sub {
    my @newer = (['the copy', undef, head_says($newest, version => 99)],
        ['the entries of the copy', undef, head_says($newest, ledger_version => 99)],
        ['the state file', field(8, 99), undef]);
    for my $case (@newer) {
        my ($what, @spoil) = @$case;
        my @before = put('state3', @spoil);
        refuses($what, $_, qr/xlimit\(222\): .* was written by a newer version/) for qw(fail fresh);
        is_deeply([contents($state), contents($copy)], \@before, '... and not touched');
    }
};

# As the next boot finds it: each of both may know more.
subtest 'after another boot' => sub {
    my $boot = bytes(64, '00000000-0000-0000-0000-000000000000');
    put('state1', $boot);
    starts('the copy knows more', 'fail', 2, '242');
    put('state3', $boot);
    starts('the state file knows more', 'fail', 3, '');
    put('state3', both($boot, \&no_quota));
    starts('the quota is in the copy alone', 'fail', 2, '242');
    put('state1', $boot, $older_copy[0][1]);
    starts('the newest copy is spoilt, too', 'fail', 1, '');
};

subtest 'who only looks touches nothing' => sub {
    my @cases = (['a good copy', undef], ['no good copy', $no_copy[5][1]]);
    for my $case (@cases) {
        my ($what, $spoil) = @$case;
        my @before = put('state3', bytes(0, 'XLIMIT'), $spoil);
        my ($status) = $s->configtest("${BASE}XLimitStateError fail\n");
        is($status, 0, "-t: $what");
        is_deeply([contents($state), contents($copy)], \@before, '... nothing is touched');
        is(scalar(() = glob $s->path('state/*')), 2, '... nothing is made');
    }
};

cmp_ok(@spoilt_state + @empty_state + @holes + @no_file + @older_copy + @newest_copy + @no_copy, '>=', 50,
    'at least fifty ways');

done_testing();
