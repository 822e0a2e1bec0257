# SPDX-License-Identifier: Apache-2.0
#
# Many downloads that share one limit of `all`: what they get together is the
# rate in every second, over all children; who takes part gets as much as every
# other; what one does not take goes to the others.
#
# Timed.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use List::Util qw(max min sum);
use Test::More;
use XL::Client qw(fetch_many jain now rate_between rates_per_second);
use XL::Paced;
use XL::Server;

use constant { SECONDS => 11, RATE => 2e6 };

my $conf = sources() . <<'CONF';
<Location /shared/>
    XLimitBandwidth all 2MB/s
</Location>
<Location /both/>
    XLimitBandwidth all 1MB/s
    XLimitBandwidth session 100kB/s
</Location>
<Location /burst/>
    XLimitBandwidth all 500kB/s burst=1MB
</Location>
CONF

my %server;
sub start {
    my ($kind, %option) = @_;
    my $server = $server{$kind} = XL::Server->new(tls => 1, conf => $conf, %option);
    $server->file($_->[0], $_->[1], 1) for ['endless', 100_000_000], ['2m', 2_000_000], ['300k', 300_000];
    return $server->start;
}
start('event',   children => 2, factor => 20);
start('worker',  children => 2, mpm => 'worker');
start('prefork', mpm => 'prefork', threads => 24);

sub downloads {
    my ($n, $kind, $tls, $path, %more) = @_;
    my $port = $tls ? $server{$kind}->tls_port : $server{$kind}->port;
    return map { { port => $port, tls => $tls, path => $path, title => "$kind, TLS $tls, $path", %more } } 1 .. $n;
}

# From the first moment when all of them are there.
sub all_seconds {
    my ($title, $list, $rate, $within) = @_;
    my $from = max(map { $_->{first} // 9e99 } @$list);
    my $end = min(map { $_->{series}[-1][0] // 0 } @$list);
    my @seconds = rates_per_second($list, $from, int($end - $from));
    my ($least, $most) = map { $_ / $rate } min(@seconds), max(@seconds);
    ok(@seconds >= SECONDS - 3 && $least >= 1 - $within && $most <= 1 + $within,
        sprintf '%s: %d seconds, %.4f to %.4f of the rate', $title, scalar @seconds, $least, $most);

    my @each = map { rate_between($_, $from, $end) } @$list;
    my @part = map { $_ * @$list / $rate } @each;
    ok(min(@part) >= 1 - $within && max(@part) <= 1 + $within,
        sprintf '%s: each %.4f to %.4f of its share, Jain %.5f', $title, min(@part), max(@part), jain(@each));
    return;
}

subtest '20 share 2 MB/s' => sub {
    # which child accepts a connection is the kernel's choice; with 20 both have some
    my @list = ((map { downloads(20, 'event', $_, '/shared/mmap/endless') } 0, 1),
        downloads(20, 'worker', 0, '/shared/mmap/endless'), downloads(20, 'prefork', 0, '/shared/sendfile/endless'));
    # they have a counter for each virtual host: TLS is one
    my %group;
    push @{ $group{ $_->{title} } }, $_ for @{ fetch_many(\@list, until => SECONDS) };
    all_seconds($_, $group{$_}, RATE, 0.03) for sort keys %group;
};

subtest 'who comes, who leaves, who cannot' => sub {
    # ten all the time, ten more from the third to the sixth second on
    my @stay = downloads(10, 'event', 0, '/shared/mmap/endless');
    my @visit = downloads(10, 'event', 0, '/shared/mmap/300k', at => 3);
    # five that read 20 kB/s at most share with five that read all: what the
    # former leave, the latter get
    my @slow = map { $_->{pause} = [map { [$_ * 0.25, $_ * 0.25 + 0.24] } 0 .. 40]; $_ }
        downloads(5, 'worker', 0, '/shared/mmap/endless', rcvbuf => 4096, maxseg => 1000);
    my @quick = downloads(5, 'worker', 0, '/shared/mmap/endless');
    fetch_many([@stay, @visit, @slow, @quick], until => 13);

    my $begin = min(map { $_->{started} } @stay);
    my @sum = rates_per_second([@stay, @visit], $begin + 1, 7);
    ok(min(@sum) > 0.97 * RATE && max(@sum) < 1.03 * RATE,
        sprintf 'ten join and leave: %.4f to %.4f of the rate in every second', min(@sum) / RATE, max(@sum) / RATE);
    is(scalar(grep { $_->{complete} } @visit), 10, 'the ten got their part');
    my @took = map { $_->{ended} - $_->{started} } @visit;
    ok(min(@took) > 2.8 && max(@took) < 3.4, sprintf '... in %.2f to %.2f s of 3', min(@took), max(@took));
    # long enough for one chunk more or less at the edges not to matter
    my @alone = map { rate_between($_, $begin + 6.8, $begin + 12.8) / (RATE / 10) } @stay;
    ok(min(@alone) > 0.97 && max(@alone) < 1.03,
        sprintf 'the others have it all again: each %.4f to %.4f', min(@alone), max(@alone));

    my $slowly = sum(map { rate_between($_, $begin + 3, $begin + 8.5) } @slow);
    my $quickly = sum(map { rate_between($_, $begin + 3, $begin + 8.5) } @quick);
    cmp_ok($slowly, '<', 0.2 * RATE, sprintf 'five read slowly: %d B/s together', $slowly);
    my $part = $quickly / (RATE - $slowly);
    ok($part > 0.97 && $part < 1.03, sprintf '... what they leave goes to the others: %.4f of it', $part);
};

subtest 'two levels, and a burst' => sub {
    my @few  = downloads(4,  'event', 0, '/both/mmap/endless');
    my @many = downloads(20, 'event', 1, '/both/mmap/endless'); # a counter of their own
    my @burst = downloads(4, 'prefork', 0, '/burst/mmap/2m');
    fetch_many([@few, @many, @burst], until => 7);

    my $begin = max(map { $_->{first} } @few, @many);
    for my $case ([4, 0.1e6, @few], [20, 0.05e6, @many]) {
        my ($n, $share, @list) = @$case;
        my @part = map { rate_between($_, $begin + 0.5, $begin + 5.5) / $share } @list;
        ok(min(@part) > 0.97 && max(@part) < 1.03,
            sprintf '%d below 1 MB/s, each below 100 kB/s: %.4f to %.4f of what the narrower one leaves', $n,
            min(@part), max(@part));
    }
    my $first = min(map { $_->{started} } @burst);
    my @sum = rates_per_second(\@burst, $first, 6);
    ok($sum[0] > 1.4e6 && $sum[0] <= 1.53e6, "burst=1MB: $sum[0] bytes in the first second");
    ok(min(@sum[1 .. 5]) > 0.97 * 0.5e6 && max(@sum[1 .. 5]) < 1.03 * 0.5e6,
        sprintf '... and %d to %d in each that follows', min(@sum[1 .. 5]), max(@sum[1 .. 5]));
};

# A chunk to somebody who is gone is one that the others do not have. Whether he
# is gone or only has nothing more to say, his next one is cut short to find out.
subtest 'who says that he is finished' => sub {
    my @both = map { XL::Client->new(port => $server{event}->port)->connect } 1, 2;
    $_->send_all("GET /both/sendfile/endless HTTP/1.1\r\nHost: localhost\r\n\r\n") for @both;
    my $pieces = sub { # sizes of what each read of the first one finds
        my ($end, @sizes) = (now() + $_[0]);
        while ($both[0]->readable($end - now())) {
            push @sizes, sysread($both[0]->socket, my $data, 1 << 20) || last;
            sysread $both[1]->socket, $data, 1 << 20 if $both[1]->readable(1e-6);
        }
        return @sizes;
    };
    my @before = $pieces->(2);
    shutdown $both[0]->socket, 1;
    my @after = $pieces->(2);
    cmp_ok(min(@before[2 .. $#before]), '>', 1000, sprintf 'before: %d pieces of %d bytes and more', scalar @before,
        min(@before[2 .. $#before]));
    cmp_ok(min(@after), '<=', 64, sprintf 'then: one of %d bytes', min(@after));
    cmp_ok(abs(sum(@after) / 2 / 100e3 - 1), '<', 0.1, sprintf '... and %.4f of his rate', sum(@after) / 2 / 100e3);
    $_->disconnect for @both;
};

done_testing;
