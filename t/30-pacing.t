# SPDX-License-Identifier: Apache-2.0
#
# One paced session at a time: the rate holds whatever the rate, the source of
# the bytes, the MPM and the engine, no way of asking gets more than rate and
# burst, and what comes out is what went in.
#
# Timed.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use Compress::Zlib qw(memGunzip);
use File::Temp ();
use List::Util qw(max min sum);
use Test::More;
use XL::Client qw(fetch_many);
use XL::Paced;
use XL::Server;
use XL::System qw(slurp);

my $text = text(40_000_000);
my %size = ('40k' => 40_000, '200k' => 200_000, '400k' => 400_000, '4m' => 4_000_000, '30m' => 30_000_000);
my %body = map { $_ => substr $text, 0, $size{$_} } keys %size;

my $backend = XL::Server->backend;
$backend->content($_, $body{$_}) for keys %size;

my $conf = sources($backend) . <<'CONF' . join '', map { <<"CONF" } qw(10kB 50kB 100kB 1MB 10MB);
<Location /burst/>
    XLimitBandwidth session 50kB/s burst=100kB
</Location>
<Location /small/>
    XLimitBandwidth session 50kB/s burst=20kB
</Location>
<Location /after/>
    XLimitBandwidth session 50kB/s after=100kB
</Location>
<Location /two/>
    XLimitBandwidth session 100kB/s
    XLimitBandwidth session 50kB/s name=narrow
</Location>
CONF
<Location /$_/>
    XLimitBandwidth session $_/s
</Location>
CONF

my @stock = qw(proxy proxy_http deflate);
my %server = (
    event    => XL::Server->new(modules => \@stock, tls => 1, h2 => 1, cgi => 1, factor => 20, conf => $conf),
    first    => XL::Server->new(modules => ['xlimit', @stock], tls => 1, cgi => 1, factor => 20, conf => $conf),
    async    => XL::Server->new(modules => \@stock, tls => 1, cgi => 1, factor => 20,
        conf => "XLimitEngine async\n$conf"),
    blocking => XL::Server->new(modules => \@stock, tls => 1, cgi => 1, conf => "XLimitEngine blocking\n$conf"),
    worker   => XL::Server->new(modules => \@stock, tls => 1, cgi => 1, mpm => 'worker', conf => $conf),
    prefork  => XL::Server->new(modules => \@stock, tls => 1, cgi => 1, mpm => 'prefork', threads => 16, conf => $conf),
);
for my $server (values %server) {
    $server->content($_, $body{$_}) for keys %size;
    $server->cgi('give', "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\nexec cat ../htdocs/\"\$1\"\n");
    $server->start;
}

my %rate = ('10kB' => 10e3, '50kB' => 50e3, '100kB' => 100e3, '1MB' => 1e6, '10MB' => 10e6, two => 50e3,
    burst => 50e3, small => 50e3, after => 50e3);

sub download {
    my ($server, $pace, $source, $name, %more) = @_;
    my $tls = delete $more{tls};
    my $path = "/$pace/$source/" . ($source eq 'cgi' ? "give?$name" : $name);
    return { port => $tls ? $server->tls_port : $server->port, tls => $tls, keep => 1, path => $path, pace => $pace,
        name => $name, title => "$path" . ($tls ? ' over TLS' : ''), %more };
}

# What each server does, all at once: [pace, source, name, more].
my @everywhere = (
    ['10kB', 'mmap', '40k'], ['10kB', 'mmap', '40k', tls => 1],
    ['50kB', 'sendfile', '200k'], ['50kB', 'read', '200k'], ['50kB', 'cgi', '200k'], ['two', 'mmap', '200k'],
    ['50kB', 'proxied', '200k', tls => 1], ['50kB', 'packed', '400k'], ['50kB', 'packed', '400k', tls => 1],
    ['100kB', 'read', '400k', tls => 1], ['100kB', 'proxied', '400k'], ['100kB', 'cgi', '400k'],
    ['1MB', 'sendfile', '4m'], ['1MB', 'cgi', '4m', tls => 1],
);

sub check {
    my (@downloads) = @_;
    for my $one (@{ fetch_many(\@downloads, until => 30) }) {
        my $title = $one->{title};
        if ($one->{path} =~ /packed/) {
            my $r = $one->{responses}[0];
            is($r->{headers}{'content-encoding'}, 'gzip', "$title: packed");
            ok($one->{complete} && memGunzip($r->{body}) eq $body{ $one->{name} }, "$title: unpacks to the same");
        }
        else {
            whole_ok($title, [$one], $body{ $one->{name} });
        }
        paced_ok($title, [$one], rate => $rate{ $one->{pace} });
    }
    return;
}

sub everywhere {
    my ($kind) = @_;
    return map {
        my $one = download($server{$kind}, @$_);
        $one->{title} = "$kind: $one->{title}";
        $one->{headers} = { 'Accept-Encoding' => 'gzip' } if $one->{path} =~ /packed/;
        $one
    } @everywhere;
}

subtest 'every MPM, engine and source' => sub { check(map { everywhere($_) } sort keys %server) };

subtest '10 MB/s' => sub {
    check(download($server{event}, '10MB', 'sendfile', '30m'),
        download($server{event}, '10MB', 'mmap', '30m', tls => 1));
};

# However one asks on a connection.
subtest 'no more than rate and burst' => sub {
    my $fifty = join ',', map { $_ * 4000 . '-' . ($_ * 4000 + 3499) } 0 .. 49;
    for my $kind (qw(event blocking)) {
        my $server = $server{$kind};
        my @list = map { my $tls = $_;
            (   download($server, '50kB', 'sendfile', '40k', tls => $tls, count => 5, title => 'kept'),
                download($server, '50kB', 'mmap', '40k', tls => $tls, count => 5, pipeline => 1, title => 'pipelined'),
                download($server, '50kB', 'cgi', '40k', tls => $tls, count => 5, title => 'kept, CGI'),
                download($server, 'small', 'sendfile', '200k', tls => $tls, count => 50, title => '50 ranges',
                    headers => { Range => 'bytes=1000-4999' }),
                download($server, '50kB', 'mmap', '200k', tls => $tls, count => 50, pipeline => 1,
                    title => '50 ranges pipelined', headers => { Range => 'bytes=1000-4999' }),
                download($server, '50kB', 'read', '200k', tls => $tls, title => '50 ranges in one',
                    headers => { Range => "bytes=$fifty" }),
            ) } 0, 1;
        for my $one (@{ fetch_many(\@list, until => 30) }) {
            my $title = "$kind, $one->{title}, TLS $one->{tls}";
            my $burst = $one->{pace} eq 'small' ? 20e3 : 0;
            if ($one->{title} eq '50 ranges in one') {
                my $r = $one->{responses}[0];
                my $held = grep { index($r->{body}, substr $body{'200k'}, $_ * 4000, 3500) >= 0 } 0 .. 49;
                is("$one->{complete} $r->{status} $held", '1 206 50', "$title: complete");
            }
            else {
                whole_ok($title, [$one],
                    $one->{headers} ? substr($body{ $one->{name} }, 1000, 4000) : $body{ $one->{name} });
                is(scalar @{ $one->{responses} }, $one->{count}, "$title: all responses");
            }
            my $ahead = furthest_ahead($one, 50e3, $burst);
            ok($ahead <= 0.060, sprintf "$title: never more than %.0f ms ahead", 1000 * $ahead);
            my $exact = ($one->{bytes} - $burst) / 50e3;
            ok(took($one) < 1.1 * $exact, sprintf "$title: %.2f s for %.2f", took($one), $exact);
        }
    }
};

sub bytes_at {
    my ($one, $seconds) = @_;
    return max(0, map { $_->[0] - $one->{started} <= $seconds ? $_->[1] : 0 } @{ $one->{series} });
}

subtest 'burst= and after=' => sub {
    my @list = map { my $kind = $_; map { my $tls = $_; map { my $pace = $_;
        download($server{$kind}, $pace, 'mmap', '200k', tls => $tls, count => 2, title => "$kind, $pace=, TLS $tls")
    } qw(burst after) } 0, 1 } qw(event worker);
    for my $one (@{ fetch_many(\@list, until => 30) }) {
        whole_ok($one->{title}, [$one], $body{'200k'});
        my ($first, $second) = @{ $one->{responses} };
        my $at_once = bytes_at($one, 0.3);
        ok($at_once >= 100e3 && $at_once <= 100e3 + 0.36 * 50e3, "$one->{title}: $at_once bytes after 0.3 s");
        my @took = map { $_->{ended} - $_->{started} } $first, $second;
        my @exact = ($first->{bytes} - 100e3, $second->{bytes} - ($one->{pace} eq 'after' ? 100e3 : 0));
        for my $i (0, 1) {
            my $part = $took[$i] * 50e3 / $exact[$i];
            ok(abs($part - 1) < 0.025, sprintf '%s: response %d took %.4f of its time', $one->{title}, $i + 1, $part);
        }
    }
};

# At full speed: as fast as on a connection on which nothing was ever paced.
subtest 'an unpaced response after a paced one' => sub {
    my @list = map { my $kind = $_; map { my $tls = $_; (
        (map { my $pipeline = $_; download($server{$kind}, '50kB', 'sendfile', '40k', tls => $tls,
                pipeline => $pipeline,
                paths => ['/50kB/sendfile/40k', '/free/sendfile/4m', '/50kB/sendfile/40k'],
                title => "$kind, TLS $tls, pipelined $pipeline") } 0, 1),
        download($server{$kind}, 'free', 'sendfile', '4m', tls => $tls),
    ) } 0, 1 } qw(event blocking);
    $list[$_]{at} = 0.2 * $_ for 0 .. $#list;
    my $got = fetch_many(\@list, until => 30);
    my $free = max(map { took($_) } grep { $_->{pace} eq 'free' } @$got);
    for my $one (grep { $_->{pace} ne 'free' } @$got) {
        my @got = @{ $one->{responses} };
        is(join(' ', map { $_->{body_length} } @got), '40000 4000000 40000', "$one->{title}: three responses");
        ok($got[0]{body} eq $body{'40k'} && $got[1]{body} eq $body{'4m'} && $got[2]{body} eq $body{'40k'},
            "$one->{title}: unchanged");
        my @took = map { $got[$_]{ended} - ($_ ? $got[$_ - 1]{ended} : $got[0]{started}) } 0 .. 2;
        my @part = map { $took[$_] / ($got[$_]{bytes} / 50e3) } 0, 2;
        ok(abs($part[0] - 1) < 0.05, sprintf "$one->{title}: paced, %.3f s", $took[0]);
        ok($took[1] < 2 * $free + 0.1, sprintf "$one->{title}: at full speed, %.3f s (else %.3f)", $took[1], $free);
        # what is pipelined begins when the client has not yet read all of the one before
        ok($part[1] < 1.05 && ($one->{pipeline} || $part[1] > 0.95),
            sprintf "$one->{title}: paced again, %.3f s", $took[2]);
    }
};

# Four streams share the rate of the one connection; another one has its own.
subtest 'HTTP/2' => sub {
    my $server = $server{event};
    my @cases = (
        { title => 'TLS, files',   url => $server->tls_url('/50kB/sendfile/40k') },
        { title => 'clear, files', url => $server->url('/50kB/mmap/40k') },
        { title => 'TLS, CGI',     url => $server->tls_url('/50kB/cgi/give?40k') },
        { title => 'TLS, proxied', url => $server->tls_url('/50kB/proxied/40k') },
    );
    for my $case (@cases) {
        my $dir = $case->{dir} = File::Temp->newdir;
        open $case->{pipe}, '-|', 'curl', qw(-q -s -k --http2 --no-progress-meter --noproxy * -Z --parallel-max 4),
            '-w', '%{http_version} %{num_connects} %{time_total}\n', map { ('-o', "$dir/$_", $case->{url}) } 1 .. 4
            or die "curl: $!";
    }
    for my $case (@cases) {
        my ($title, $dir) = @{$case}{qw(title dir)};
        my @lines = map { [split] } readline $case->{pipe};
        ok(close $case->{pipe}, "$title: four streams");
        is(scalar(grep { $_->[0] eq '2' } @lines), 4, "$title: of HTTP/2");
        is(sum(0, map { $_->[1] } @lines), 1, "$title: on one connection");
        is(scalar(grep { -e "$dir/$_" && slurp("$dir/$_") eq $body{'40k'} } 1 .. 4), 4, "$title: unchanged");
        my ($least, $most) = (min(map { $_->[2] } @lines), max(map { $_->[2] } @lines));
        my $part = $most * 50e3 / 160e3;
        ok($part > 0.97 && $part < 1.1, sprintf '%s: %.3f of the time that the bodies take at the rate', $title, $part);
        ok($least > 0.75 * $most, sprintf '%s: the first of them ended after %.2f of %.2f s', $title, $least, $most);
    }
};

done_testing;
