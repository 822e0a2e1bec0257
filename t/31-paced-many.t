# SPDX-License-Identifier: Apache-2.0
#
# 200 paced downloads at once in one child of 25 threads, from every source,
# clear and over TLS: each has its rate, and whoever comes is served at once.
# What holds its thread (worker, prefork, the blocking engine) has the rates
# too, with as many as it has threads.
#
# Timed.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use Test::More;
use XL::Client qw(fetch_many);
use XL::Paced;
use XL::Server;

use constant { MANY => 200, RATE => 50e3, PROBE_S => 0.1 };

my $text = text(150_000);
my $backend = XL::Server->backend(factor => 20);
$backend->content('file', $text);

my $conf = sources($backend) . <<'CONF';
<Location /paced/>
    XLimitBandwidth session 50kB/s
</Location>
CONF
my @common = (modules => [qw(proxy proxy_http)], tls => 1, cgi => 1);

sub prepare {
    my ($server) = @_;
    $server->content('file', $text);
    $server->content('probe', 'x');
    $server->cgi('give', "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\nexec cat ../htdocs/file\n");
    return $server->start;
}

sub downloads {
    my ($server, $source, $tls, $n, $over, $begin) = @_;
    my $path = "/paced/$source/" . ($source eq 'cgi' ? 'give' : 'file');
    return map { { port => $tls ? $server->tls_port : $server->port, tls => $tls, path => $path, keep => 1,
        at => ($begin // 0) + $over * $_ / $n } } 1 .. $n;
}

my $event = prepare(XL::Server->new(@common, factor => 20, conf => $conf));
for my $source (qw(sendfile mmap read cgi proxied)) {
    for my $tls (0, 1) {
        my $title = MANY . " x $source" . ($tls ? ' over TLS' : '');
        # to start 200 programs, to ask a backend 200 times, to shake 200 hands is work before the pace begins, and adds up
        my $over = { cgi => 1.5, proxied => 0.5 }->{$source} // 0;
        my ($got, $probes) = fetch_many([downloads($event, $source, $tls, MANY, $over + $tls)],
            until => 20, probe => { every => PROBE_S, port => $event->port, path => '/probe' });
        whole_ok($title, $got, $text);
        paced_ok($title, $got, rate => RATE);
        cmp_ok(scalar @$probes, '>=', 25, "$title: probes");
        my $worst = worst_probe($probes);
        ok($worst < 0.1, sprintf '%s: a fresh request took %.1f ms at most', $title, 1000 * $worst);
    }
}

# Enough children or threads for all of them, and a few for whoever else comes.
my %holding = (
    worker   => prepare(XL::Server->new(@common, mpm => 'worker', threads => 64, conf => $conf)),
    prefork  => prepare(XL::Server->new(@common, mpm => 'prefork', threads => 64, conf => $conf)),
    blocking => prepare(XL::Server->new(@common, threads => 64, conf => "XLimitEngine blocking\n$conf")),
);
# One kind after the other: this client shakes hands, too, and notes late what it reads late.
my $begin = 0;
my @list = map { my $kind = $_; map { my $source = $_; map { my $tls = $_;
    map { { %$_, title => "6 x $source, $kind, TLS $tls" } }
        downloads($holding{$kind}, $source, $tls, 6, 0.1, $begin += 0.1)
} 0, 1 } qw(sendfile mmap read cgi proxied) } sort keys %holding;
my %by_title;
push @{ $by_title{ $_->{title} } }, $_ for @{ fetch_many(\@list, until => 20) };
for my $title (sort keys %by_title) {
    whole_ok($title, $by_title{$title}, $text);
    paced_ok($title, $by_title{$title}, rate => RATE);
}

done_testing;
