# SPDX-License-Identifier: Apache-2.0
#
# Where limits stand and for whom they hold: server, virtual hosts, sections and
# .htaccess, each with a counter of its own; XLimitInherit, XLimitExempt, and
# which XLimitExceeded speaks. Then what a request leaves behind: RateLimit
# fields, environment, Require expr.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use Test::More;
use XL::Client qw(fetch);
use XL::Server;
use XL::Status qw(status_conf status limit vhost change);
use XL::System qw(slurp);

sub get_status { fetch(@_)->{status} }

# What each limit counted while the code ran: {"vhost/place/name" => n}.
sub charged {
    my ($s, $code) = @_;
    my $used = sub {
        my %used;
        for my $row (grep { defined $_->{used} } @{ status($s)->{limits} }) {
            my $host = $row->{vhost} // '*';
            $host =~ s/:\d+.*//;
            $used{ join '/', $host, $row->{place} // '', $row->{name} } += $row->{used};
        }
        return \%used;
    };
    my $before = $used->();
    $code->();
    my $after = $used->();
    $after->{$_} -= $before->{$_} // 0 for keys %$after;
    return { map { $after->{$_} ? ($_ => $after->{$_}) : () } keys %$after };
}

subtest 'every context has its own counter' => sub {
    my $s = XL::Server->new(ports => 4, modules => ['status'], conf => status_conf() . <<'CONF');
XLimitQuota all 1000r 1h name=each
XLimitQuota all 5000r 1h name=one scope=server
<Location /l1>
    XLimitQuota all 100r 1h name=loc
</Location>
<Location /l2>
    XLimitQuota all 100r 1h name=loc
</Location>
<LocationMatch "^/m\d">
    XLimitQuota all 100r 1h name=match
</LocationMatch>
<Directory "@DOCROOT@/d">
    XLimitQuota all 100r 1h name=dir
    <Files "*.iso">
        XLimitQuota all 100r 1h name=files
    </Files>
    <If "%{QUERY_STRING} == 'if'">
        XLimitQuota all 100r 1h name=if
    </If>
</Directory>
<Directory "@DOCROOT@/ht">
    AllowOverride Limit
</Directory>
<VirtualHost 127.0.0.1:@PORT2@>
    ServerName a.example
    XLimitQuota all 3r 1h name=own
</VirtualHost>
<VirtualHost 127.0.0.1:@PORT2@>
    ServerName b.example
    XLimitQuota all 3r 1h name=own
    <Location /free>
        XLimitInherit Off
        XLimitQuota all 100r 1h name=inner
    </Location>
</VirtualHost>
<VirtualHost 127.0.0.1:@PORT3@>
    ServerName a.example
    XLimitQuota all 3r 1h name=own
</VirtualHost>
CONF
    $s->content($_, 'x') for qw(x l1/x l2/x m1/x d/x.iso d/x d/sub/x ht/x ht/big.iso ht/off/x free/x nothing/x);
    $s->content('ht/.htaccess', <<'HTACCESS');
XLimitQuota all 4r 1h name=hta
<Files *.iso>
    XLimitQuota all 2r 1h name=isos
</Files>
HTACCESS
    $s->content('ht/off/.htaccess', "XLimitInherit Off\n");
    $s->content('nothing/.htaccess', "XLimitQuota all 1r 1h\n");
    $s->start;
    # places are compared by what they end in: how a folder is written is its own affair
    my $simple = sub {
        my ($path) = @_;
        my $got = charged($s, sub { get_status($s->port, $path) });
        return join ' ', sort map { m{^([^/]*)/.*?([^/]+)$} ? "$1:$2=$got->{$_}" : "?$_" } keys %$got;
    };
    is($simple->('/x'),           '*:one=1 localhost:each=1',                 'server: one each, and one for all');
    is($simple->('/l1/missing'),  '*:one=1 localhost:each=1 localhost:loc=1', 'Location, a 404, too');
    is($simple->('/m1/x'),        '*:one=1 localhost:each=1 localhost:match=1', 'LocationMatch');
    is($simple->('/d/sub/x'),     '*:one=1 localhost:dir=1 localhost:each=1', 'Directory');
    is($simple->('/d/x.iso'),     '*:one=1 localhost:dir=1 localhost:each=1 localhost:files=1', 'Files in it');
    is($simple->('/d/x?if'),      '*:one=1 localhost:dir=1 localhost:each=1 localhost:if=1', 'If in it');
    is($simple->('/ht/x'),        '*:one=1 localhost:each=1 localhost:hta=1', '.htaccess');
    is($simple->('/ht/big.iso'),  '*:one=1 localhost:each=1 localhost:hta=1 localhost:isos=1', 'Files in .htaccess');
    is($simple->('/ht/off/x'),    '',                                         'XLimitInherit Off in .htaccess');
    is($simple->('/nothing/x'),   '*:one=1 localhost:each=1', '.htaccess where AllowOverride is None');

    $simple->('/l2/x') for 1 .. 2;
    is(limit($s, 'loc', 'Location /l1')->{used}, 1, 'two Locations with the same line: one');
    is(limit($s, 'loc', 'Location /l2')->{used}, 2, '... and the other');

    is(join(' ', map { get_status($s->port, '/ht/big.iso') } 1 .. 2), '200 503', 'a limit of .htaccess refuses');
    is(get_status($s->port, '/ht/x'), 200, '... what it is about');
    is(get_status($s->port, '/ht/x'), 503, '... and the other one at its end');
    is(get_status($s->port, '/x'),    200, '... and nobody else');
    $s->content('ht/.htaccess', "XLimitQuota all 20r 1h name=hta\n");
    is(get_status($s->port, '/ht/x'), 200, 'a changed .htaccess is in force at once');
    $s->content('ht/.htaccess', "XLimitQuota all 20 1x name=hta\n");
    is(get_status($s->port, '/ht/x'), 500, 'a wrong .htaccess is an error');
    like($s->error_log, qr{ht/\.htaccess: .*"1x"}, '... that the log explains');

    my @hosts = ([$s->port(2), 'a.example'], [$s->port(2), 'b.example'], [$s->port(3), 'a.example']);
    for my $host (@hosts) {
        my ($port, $name) = @$host;
        my $got = charged($s, sub {
            is(join(' ', map { get_status($port, '/x', host => $name) } 1 .. 4), '200 200 200 503',
                "$name:$port: three requests, whatever its neighbours did");
        });
        is_deeply($got, { '*//one' => 3, "$name//each" => 3, "$name//own" => 3 },
            '... counted there, and in what all share');
        my $vhost = vhost($s, "$name:$port");
        is("$vhost->{requests} $vhost->{passed} $vhost->{rejected}", '4 3 1', '... by verdict');
    }
    is(get_status($s->port(2), '/free/x', host => 'b.example'), 200, 'XLimitInherit Off in a Location');
    is(limit($s, 'inner', 'b.example')->{used}, 1, '... with a limit of its own');
    is_deeply(charged($s, sub { get_status($s->port(1), '/x') }), {}, 'XLimitInherit Off in a virtual host');
    $s->stop;
};

subtest 'exempt' => sub {
    my $s = XL::Server->new(ports => 2, modules => ['status'], conf => status_conf() . <<'CONF');
XLimitQuota all 1r 1h name=one
XLimitExempt when="%{HTTP:X-Friend} == 'yes'"
XLimitExempt when="file('@ROOT@/missing') == ''"
XLimitExempt handler=special
SetEnvIf User-Agent ^Monitor no-xlimit
<Location /own-status>
    SetHandler xlimit-status
</Location>
<Location /server-status>
    SetHandler server-status
</Location>
<Location /special>
    SetHandler special
</Location>
<Location /again>
    XLimitInherit Off
    XLimitQuota all 2r 1h name=again
</Location>
CONF
    $s->content($_, 'x') for qw(x again/x);
    $s->start;
    is(get_status($s->port, '/x', headers => { 'X-Friend' => 'yes' }), 200, "when=, request $_") for 1 .. 2;
    my %monitor = (headers => { 'User-Agent' => 'Monitor/1' });
    is(get_status($s->port, '/x', %monitor), 200, "no-xlimit by SetEnvIf, request $_") for 1 .. 2;
    is(get_status($s->port, '/own-status'),    200, 'the status page');
    is(get_status($s->port, '/server-status'), 200, 'server-status');
    is(get_status($s->port, '/special/x'),     404, 'handler=');
    is(limit($s, 'one')->{used}, 0, '... none of them counted');
    is(join(' ', map { get_status($s->port, '/x') } 1 .. 2), '200 503', 'an error in when= exempts nobody');
    is(get_status($s->port, '/own-status'),    200, 'the status page can be seen over quota');
    is(get_status($s->port, '/server-status'), 200, '... and server-status');
    is(get_status($s->port, '/x', headers => { 'X-Friend' => 'yes' }), 200, '... and who is exempt gets in');
    is(join(' ', map { get_status($s->port, '/again/x', headers => { 'X-Friend' => 'yes' }) } 1 .. 3), '200 200 503',
        'XLimitInherit Off drops exemptions, too');
    my $change = change($s, sub { get_status($s->port, '/x', headers => { 'X-Friend' => 'yes' }) });
    is("$change->{requests} $change->{passed}", '1 1', 'an exempt request is still seen by the virtual host');
    $s->stop;
};

subtest 'which action speaks' => sub {
    my $s = XL::Server->new(ports => 2, conf => status_conf() . <<'CONF');
XLimitQuota all 1r 1h name=one when="%{HTTP:X-Fill} == ''"
XLimitExceeded quota status 410
XLimitExceeded any status 411
<Location /any>
    XLimitExceeded any status 420
</Location>
<Location /quota>
    XLimitExceeded any status 421
    XLimitExceeded quota status 422
</Location>
<Location /quota/deeper>
    XLimitExceeded quota status 425
</Location>
<Location /own>
    XLimitQuota all 1r 1h name=own exceeded="status 430"
    XLimitExceeded quota status 431
</Location>
<Location /longer>
    XLimitQuota all 1r 2h name=longer exceeded="status 440"
</Location>
<Location /softer>
    XLimitQuota all 1r 2h name=softer exceeded=pass
</Location>
<Location /redirected>
    XLimitQuota all 1r 2h name=redirected exceeded="redirect /elsewhere"
</Location>
<Location /dry>
    XLimitQuota all 1r 2h name=dry mode=dry-run exceeded="status 450"
</Location>
CONF
    my %expected = (
        '/x'              => '410',
        '/any/x'          => '420',
        '/quota/x'        => '422',
        '/quota/deeper/x' => '425',
        '/own/x'          => '430',
        '/longer/x'       => '440',
        '/softer/x'       => '410',
        '/redirected/x'   => '302',
        '/dry/x'          => '410',
    );
    $s->content($_, 'x') for map { s{^/}{}r } keys %expected;
    $s->start;
    # the inner ones are used up first, then the server's
    get_status($s->port, $_, headers => { 'X-Fill' => 1 }) for sort keys %expected;
    is(get_status($s->port, '/x'), 200, 'the first request is served');
    is(get_status($s->port, $_), $expected{$_}, "$_: $expected{$_}") for sort keys %expected;
    is(limit($s, 'softer')->{used}, 1, 'a quota that would only mark is not charged for what another one refused');
    $s->stop;
};

subtest 'RateLimit fields' => sub {
    my $s = XL::Server->new(ports => 2, conf => status_conf() . <<'CONF');
<Location /off>
    XLimitQuota all 3r 1h
</Location>
<Location /draft>
    XLimitQuota all 3r 1h name=few
    XLimitQuota all 1000r 1d name=many
    XLimitHeaders Draft10
</Location>
<Location /bytes>
    XLimitQuota all 10kB 1h name=vol
    XLimitHeaders Draft10
</Location>
<Location /legacy>
    XLimitQuota all 3r 1h name=few
    XLimitHeaders Legacy
    XLimitExceeded quota redirect https://www.example.org/
</Location>
<Location /legacy/off>
    XLimitHeaders Off
</Location>
<Location /none>
    XLimitHeaders Draft10
</Location>
CONF
    $s->content("$_/x", 'x') for qw(off draft bytes legacy legacy/off none);
    $s->start;
    my @r = map { fetch($s->port, '/draft/x') } 1 .. 4;
    is(join(' ', map { $_->{status} } @r), '200 200 200 503', 'Draft10');
    is($r[$_]{headers}{'ratelimit-policy'}, '"few";q=3;w=3600', "policy of the tightest, response $_") for 0, 3;
    my @left = (2, 1, 0, 0);
    like($r[$_]{headers}{ratelimit} // '', qr/^"few";r=$left[$_];t=3(600|59\d)$/, "... what is left: $_") for 0 .. 3;
    my $r = fetch($s->port, '/bytes/x');
    is($r->{headers}{'ratelimit-policy'}, '"vol";q=10000;qu="content-bytes";w=3600', 'bytes');
    is(fetch($s->port, '/draft/missing')->{headers}{'ratelimit-policy'}, '"few";q=3;w=3600', 'with errors, too');

    @r = map { fetch($s->port, '/legacy/x') } 1 .. 4;
    is(join(' ', map { $_->{status} } @r), '200 200 200 302', 'Legacy');
    for my $n (0 .. 3) {
        my $h = $r[$n]{headers};
        is(join(' ', map { $_ // '-' } @{$h}{qw(x-ratelimit-limit x-ratelimit-remaining)}),
            "3 $left[$n]", "limit and remaining, response $n");
        like($h->{'x-ratelimit-reset'} // '', qr/^3(600|59\d)$/, '... and the seconds until it begins anew');
    }
    unlike(fetch($s->port, "/$_/x")->{head}, qr/ratelimit/i, "none: /$_") for qw(off legacy/off none);
    $s->stop;
};

subtest 'environment' => sub {
    my $s = XL::Server->new(ports => 2, cgi => 1, modules => ['rewrite'], conf => status_conf() . <<'CONF');
LogFormat "%U %>s %{XLIMIT_STATUS}e %{XLIMIT_LIMIT}e %{XLIMIT_REMAINING}e %{XLIMIT_RETRY_AFTER}e" env
CustomLog logs/env env
<Location /cgi/env>
    XLimitQuota all 2r 1h name=cgi exceeded=pass
</Location>
<Location /paced>
    XLimitBandwidth session 10MB/s name=pace
</Location>
<Location /require>
    XLimitQuota all 2r 1h name=required exceeded=pass
    Require expr "%{reqenv:XLIMIT_LIMIT} == ''"
</Location>
<Location /refused>
    XLimitQuota all 1r 1h name=refused "exceeded=status 429"
</Location>
RewriteEngine On
RewriteRule ^/to-cgi$ /cgi/env [PT]
CONF
    $s->cgi('env', <<'CGI');
#!/bin/sh
printf 'Content-Type: text/plain\r\n\r\n'
env | grep '^XLIMIT' | sort | tr '\n' ' '
CGI
    $s->content("$_/x", 'x') for qw(paced require refused);
    $s->start;
    my $get = sub { fetch($s->port, shift, keep => 1)->{body} };
    is($get->('/cgi/env'), 'XLIMIT_REMAINING=1 XLIMIT_STATUS=PASSED ', 'a CGI is told what is left');
    is($get->('/to-cgi'),  'XLIMIT_REMAINING=0 XLIMIT_STATUS=PASSED ', '... under a rewritten URL, too');
    is($get->('/cgi/env'), 'XLIMIT_LIMIT=cgi XLIMIT_REMAINING=0 XLIMIT_STATUS=PASSED ',
        '... and who would have refused it');
    is(join(' ', map { get_status($s->port, '/require/x') } 1 .. 3), '200 200 403', 'Require expr decides with it');
    fetch($s->port, '/refused/x') for 1 .. 2;
    fetch($s->port, '/paced/x');
    $s->wait_for(sub { (() = slurp($s->path('logs/env')) =~ /\n/g) >= 9 }, 5);
    my @lines = split /\n/, slurp($s->path('logs/env'));
    is($lines[0], '/cgi/env 200 PASSED - 1 -', 'in the access log: what is left');
    like($lines[7], qr{^/refused/x 429 REJECTED refused 0 3(600|59\d)$}, '... of a refused request');
    is($lines[8], '/paced/x 200 PACED pace - -', '... of a paced one');
    $s->stop;
};

done_testing;
