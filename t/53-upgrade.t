# SPDX-License-Identifier: Apache-2.0
#
# State files of earlier versions: their counters go on, what they were is kept,
# and a server that does not serve yet changes nothing.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use Test::More;
use XL::Client qw(fetch);
use XL::Ledger qw(ledger entry reseal);
use XL::Server;
use XL::Status qw(status_conf limit vhost);
use XL::System qw(slurp spew);

use constant { HEAD => 4096, ROW => 64, COUNTERS => 448 };

# The same file as version 1 wrote it: no meter of a speed answer, no mark, seven
# verdicts before the refusal and not nine behind it.
sub as_version_1 {
    my ($path) = @_;
    my $image = slurp($path);
    my ($rows, $entry) = (unpack 'x24 L x4 L', $image)[0, 1];
    for (my $at = HEAD + $rows * ROW; $at + $entry <= length $image; $at += $entry) {
        my ($meter, $usage, $requests, $sent, $refusing, $warned, @verdicts)
            = unpack 'a16 x16 a32 x8 Q4 Q9', substr $image, $at + COUNTERS, 176;
        substr $image, $at + COUNTERS, 192,
            pack 'a16 a32 Q2 Q7 Q3 x48', $meter, $usage, $requests, $sent, @verdicts[0 .. 6], $refusing, 0, $warned;
    }
    substr $image, 8, 4, pack 'L', 1;
    substr $image, 36, 4, pack 'L', 7;
    spew($path, $image);
    chmod 0600, $path;
    return reseal($path);
}

my $s = XL::Server->new(ports => 2, conf => status_conf() . <<'CONF');
ServerName fixed.example:80
XLimitQuota all 1TB 1d name=bytes
XLimitQuota all 5r 1d name=requests
CONF
$s->file('x', 1000);
$s->start;
fetch($s->port, '/x') for 1 .. 7;
$s->wait_for(sub { !vhost($s, 'fixed.example')->{active} }, 5);
my $before = [vhost($s, 'fixed.example'), map { limit($s, $_, 'fixed.example')->{used} } qw(bytes requests)];
$s->stop;

my $path = $s->path('state/xlimit.state');
is(ledger($path)->{version}, 2, 'a file of this version');
as_version_1($path);
is(ledger($path)->{version}, 1, '... made one of version 1');
my $old = slurp($path);
is(($s->configtest(''))[0], 0, '-t takes it');
is(slurp($path), $old, '... and changes nothing');

my $from = length $s->error_log;
$s->start;
my $after = [vhost($s, 'fixed.example'), map { limit($s, $_, 'fixed.example')->{used} } qw(bytes requests)];
is_deeply($after, $before, 'all counters go on');
is(fetch($s->port, '/x')->{status}, 503, '... the quota that was used up, too');
like(substr($s->error_log, $from), qr/xlimit\(228\): \S+ was of version 1 and is now of version 2; what it was is in \S+\.bak/,
    'the error log says so');
$s->stop;
is(slurp("$path.bak"), $old, 'what it was is kept');
is(ledger($path)->{version}, 2, 'what it is has this version');
$from = length $s->error_log;
$s->start;
unlike(substr($s->error_log, $from), qr/xlimit\(228\)/, 'once');
$s->stop;

done_testing;
