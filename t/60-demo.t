# SPDX-License-Identifier: Apache-2.0
#
# The demo, twice at once and without a terminal: both do what they say, end by
# themselves, and leave nothing behind. A third one is interrupted in the middle
# and leaves nothing behind either. One that cannot do what it should fails.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use File::Path qw(make_path);
use File::Temp ();
use POSIX qw(:sys_wait_h);
use Test::More;
use Time::HiRes qw(sleep);
use XL::Client qw(now);
use XL::System qw(build_dir processes project slurp spew);

use constant PATIENCE => 40;

my $project = project();

# Each demo in a temporary folder of its own, in which nothing may be left; its
# processes have no terminal.
sub begin {
    my ($program) = @_;
    $program //= "$project/tools/demo";
    my $self = { dir => File::Temp->newdir, output => File::Temp->new, begun => now() };
    chmod 0755, "$self->{dir}";
    $self->{pid} = fork // die "fork: $!";
    if (!$self->{pid}) {
        $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
        %ENV = (%ENV, TMPDIR => "$self->{dir}", XL_BUILD => build_dir());
        open STDIN,  '<', '/dev/null';
        open STDOUT, '>', $self->{output}->filename;
        open STDERR, '>&', \*STDOUT;
        exec($program) or POSIX::_exit(127);
    }
    return $self;
}

# Waits for its end: exit status, -1 when it had to be killed.
sub end {
    my ($self) = @_;
    while (!waitpid $self->{pid}, WNOHANG) {
        if (now() - $self->{begun} > PATIENCE) {
            kill KILL => $self->{pid};
            waitpid $self->{pid}, 0;
            return -1;
        }
        sleep 0.02;
    }
    my $status = $?;
    $self->{took} = now() - $self->{begun};
    return $status & 127 ? "signal $status" : $status >> 8;
}

sub output { slurp($_[0]{output}->filename) }

# The processes that have its folder in their command line.
sub servers {
    my ($self) = @_;
    return grep { my $line = eval { slurp("/proc/$_->{pid}/cmdline") } // ''; $line =~ /\Q$self->{dir}\E/ } processes();
}

sub left_behind {
    my ($self) = @_;
    opendir my $dir, "$self->{dir}" or die "$self->{dir}: $!";
    return ((grep { !/^\.\.?$/ } readdir $dir), map { "process $_->{pid}" } servers($self));
}

sub wait_for {
    my ($condition) = @_;
    for (1 .. 1000) {
        return 1 if $condition->();
        sleep 0.02;
    }
    return 0;
}

# ---- two at once ------------------------------------------------------------

my @demos = (begin(), begin());
my %ports;
for my $demo (@demos) {
    is(end($demo), 0, 'demo: exit status') or diag output($demo);
    my $text = output($demo);
    cmp_ok($demo->{took} // 99, '<', 20, '... in less than 20 s');
    unlike($text, qr/WRONG|Press Enter/, '... with nothing wrong, and no question');

    my @served = $text =~ /^ +(\d+) +200 +[\d,]+ B/mg;
    is("@served", '1 2 3 4 5 6 7 8 9 10', '... ten downloads are served');
    like($text, qr{^ +11 +302 .*to http://127\.0\.0\.1:\d+/over-quota\.html$}m, '... and the eleventh is redirected');
    my ($asked, $got) = $text =~ /^ +a download at 500 kB\/s +([\d.]+) kB\/s +([\d.]+) kB\/s +ok$/m;
    is($asked, '500.0', '... a rate was asked for');
    cmp_ok(abs(($got // 0) / 500 - 1), '<=', 0.02, "... and got: $got kB/s");
    my ($received, $counted) = $text =~ /^ +bytes of files\.example\.org, counted +([\d,]+) +([\d,]+) +ok$/m;
    is($counted, $received, '... the status page counts what the sockets received');
    like($received, qr/^10,0\d\d,\d{3}$/, '... which is the quota, headers and a little more');
    like($text, qr/^ +files-per-day +files\.example\.org:\d+ +exceeded +10\.\d\d MB +10\.00 MB/m,
        '... the limit stands in its table');
    $ports{$_}++ for $text =~ m{^ +(?:status|over-quota) page +http://127\.0\.0\.1:(\d+)/}mg;
    is_deeply([left_behind($demo)], [], '... and nothing is left behind');
}
is(scalar keys %ports, 4, 'each has its own ports');

# ---- one that is interrupted ------------------------------------------------

for my $signal (qw(INT TERM)) {
    my $demo = begin();
    ok(wait_for(sub { output($demo) =~ /a fresh request every/ && servers($demo) }), 'a demo in its middle');
    kill $signal => $demo->{pid};
    is(end($demo), 130, "... ends at SIG$signal");
    unlike(output($demo), qr/\[\w+:\w+\]/, '... without a word of the error log');
    is_deeply([left_behind($demo)], [], '... and leaves nothing behind');
}

# ---- one that cannot do what it should --------------------------------------
# A copy of it with the same configuration, but for the quota and the paces, which
# are in dry-run.

my $tree = File::Temp->newdir;
chmod 0755, "$tree";
make_path("$tree/tools", "$tree/conf", "$tree/t/lib/XL");
spew("$tree/$_", slurp("$project/$_")) for 'tools/demo', map { "t/lib/XL/$_.pm" } qw(Client Response Server System);
chmod 0755, "$tree/tools/demo";
my $conf = slurp("$project/conf/demo.conf");
is($conf =~ s/^( +XLimit(?:Quota|Bandwidth) .*)$/$1 mode=dry-run/mg, 3, 'a conf/demo.conf that only counts');
spew("$tree/conf/demo.conf", $conf);

my $demo = begin("$tree/tools/demo");
is(end($demo), 1, '... fails');
my $text = output($demo);
like($text, qr/first request redirected +no\. 11 +no\. - +WRONG/, '... says that nobody was redirected');
like($text, qr/a download at 500 kB\/s .*WRONG/, '... and that nothing was paced');
is_deeply([left_behind($demo)], [], '... and leaves nothing behind');

done_testing;
