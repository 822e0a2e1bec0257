# SPDX-License-Identifier: Apache-2.0
#
# The views of zones, clients and accounts on a real server, after traffic whose
# numbers are known: every format says the same of it, metrics name nobody, and
# a table of a hundred thousand keys makes the page neither slow nor long.
#
# Timed.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use IO::Socket::INET;
use JSON::PP qw(decode_json);
use Test::More;
use XL::Client qw(now fetch);
use XL::Server;
use XL::Status qw(status_conf);
use XL::System qw(project spew);

use constant { MANY => 100_000, CROWD => 400 };

my $schema = project() . '/docs/xlimit-status.xsd';
my @places = qw(rate login quota pace slow once crowd);
my $s = XL::Server->new(ports => 5, factor => 20, modules => ['remoteip'], conf => status_conf() . <<'CONF');
RemoteIPHeader X-Client
RemoteIPInternalProxy 127.0.0.1
<Location /shown>
    SetHandler xlimit-status
    <RequireAll>
        Require ip 192.0.2.0/24
        Require expr "%{QUERY_STRING} !~ /clients|%/"
    </RequireAll>
</Location>
XLimitZone apikey key="%{req_novary:X-Api-Key}" entries=1000
XLimitZone crowd key="%{QUERY_STRING}" entries=1
<Location /rate>
    XLimitRequests client 10/h burst=1 name=rate
</Location>
<Location /login>
    XLimitPenalty client 2/1h for=1h name=guess
</Location>
<Location /quota>
    XLimitQuota apikey 10kB day name=keyed
</Location>
<Location /pace>
    XLimitBandwidth client 10MB/s name=pace
</Location>
<Location /slow>
    XLimitRequests client 1/h name=slow exceeded="speed 1MB/s 100/h 5"
</Location>
<Location /once>
    XLimitConnections apikey 4 name=once
    XLimitConnections all 8 name=together
    XLimitBandwidth session 20kB/s
</Location>
<Location /crowd>
    XLimitRequests crowd 10/s name=crowd
</Location>
<XLimitAccount acme>
    XLimitQuota all 1GB month name=acme-month
    XLimitBlock name=closed when="%{QUERY_STRING} == 'closed'"
</XLimitAccount>
<XLimitAccount globex>
    XLimitQuota all 1GB month name=globex-month
</XLimitAccount>
<VirtualHost 127.0.0.1:@PORT2@>
    ServerName one.acme.example
    XLimitAccount acme
</VirtualHost>
<VirtualHost 127.0.0.1:@PORT3@>
    ServerName two.acme.example
    XLimitAccount acme
</VirtualHost>
<VirtualHost 127.0.0.1:@PORT4@>
    ServerName other.example
    XLimitQuota client 100r day name=daily
</VirtualHost>
CONF
$s->content("$_/x", "content of $_\n") for @places;
$s->content('x', "content\n");
$s->file('once/endless', 10_000_000);
$s->start;

# ---- reading ----------------------------------------------------------------

sub page {
    my ($server, $query) = @_;
    my $r = fetch($server->port(1), "/xlimit-status?$query", keep => 1);
    is($r->{status}, 200, "?$query") if $r->{status} != 200;
    return $r->{body};
}

sub json { my ($server, $query) = @_; return decode_json(page($server, "json&$query")) }

sub clients { my ($query) = @_; return json($s, 'view=clients&top=1000' . ($query ? "&$query" : ''))->{clients} }

# The only row of that limit, of that key where it is given.
sub client {
    my ($limit, $key, $part) = @_;
    my @rows = grep { $_->{limit} eq $limit && (!defined $key || $_->{key} eq $key)
        && ($_->{part} // '') eq ($part // '') }
        @{ clients() };
    is(scalar @rows, 1, "one row of $limit" . (defined $key ? " and $key" : '')) if @rows != 1;
    return $rows[0] // {};
}

sub zone { my ($name) = @_; return (grep { $_->{name} eq $name } @{ json($s, 'view=zones')->{zones} })[0] }

# Those columns of a row; '-' is absent.
sub columns { my ($row, @names) = @_; return join ' ', map { $row->{$_} // '-' } @names }

sub asks {
    my ($path, $n, %headers) = @_;
    my $client = XL::Client->new(port => $s->port);
    return map { $client->request('GET', $path, headers => \%headers) } 1 .. $n;
}

sub statuses { return join ' ', map { $_->{status} } @_ }

# ---- what is counted ----------------------------------------------------------

subtest 'a rate, by address' => sub {
    is(statuses(asks('/rate/x', 5, 'X-Client' => '192.0.2.7')), '200 200 429 429 429', 'two of five are served');
    asks('/rate/x', 1, 'X-Client' => '2001:db8:1:2:3:4:5:6');
    my $row = client('rate', '192.0.2.7');
    is(columns($row, qw(state zone place dimension part requests suppressed active locked used amount percent bytes)),
        'exceeded client Location /rate requests - 5 2 0 - - - - -', 'one who was refused three times');
    ok(abs($row->{last_refused} - time) <= 5, 'just now');
    is($row->{vhost}, 'localhost:' . $s->port, 'by a limit of that host');
    is(columns(client('rate', '2001:db8:1:2::'), qw(state requests suppressed last_refused)), 'ok 1 - -',
        'a network of IPv6 is one');
};

subtest 'who is locked out' => sub {
    is(statuses(asks('/login/x', 5, 'X-Client' => '192.0.2.8')), '200 200 429 429 429', 'the third locks him out');
    my $row = client('guess');
    is(columns($row, qw(key state requests suppressed last_refused)), '192.0.2.8 exceeded 5 2 -', 'his row');
    ok($row->{locked} > 3590 && $row->{locked} <= 3600, "for $row->{locked} s");
    is(zone('clients')->{locked}, 1, 'he is the only one');
    is(clients('sort=locked')->[0]{key}, '192.0.2.8', 'and the first by that');
    like(page($s, 'view=clients'), qr{exceeded</span> <small>locked out for (?:60|59)&nbsp;min</small>},
        'as the page says');
};

subtest 'a quota, by a zone' => sub {
    my @got = asks('/quota/x', 3, 'X-Api-Key' => 'k-1');
    my $bytes = 0;
    $bytes += $_->{bytes} for @got;
    ok($s->wait_for(sub { client('keyed')->{used} == $bytes }, 5), 'what its responses had is used');
    my $row = client('keyed', 'k-1');
    is(columns($row, qw(state zone unit used amount requests bytes)), "ok apikey bytes $bytes 10000 - -",
        'of its amount');
    is($row->{percent}, int($bytes / 10) / 10, "which is $row->{percent} %");
    my $limit = (grep { $_->{name} eq 'keyed' } @{ json($s, '')->{limits} })[0];
    is(columns($limit, qw(state unit used left percent amount)), 'ok bytes - - - 10000',
        'the limit has no sum of them');
    asks('/quota/x', 60, 'X-Api-Key' => 'k-2');
    is(client('keyed', 'k-2')->{state}, 'exceeded', 'another one has used his up');
    is(clients('sort=percent')->[0]{key}, 'k-2', '... and is the first by that');
};

subtest 'a bandwidth, and a speed answer' => sub {
    my @got = asks('/pace/x', 2, 'X-Client' => '192.0.2.9');
    ok($s->wait_for(sub { client('pace')->{bytes} == $got[0]{bytes} + $got[1]{bytes} }, 5), 'bytes under a bandwidth');
    is(columns(client('pace'), qw(key state requests active suppressed)), '192.0.2.9 ok 2 0 -', 'requests, too');
    asks('/slow/x', 3, 'X-Client' => '192.0.2.10');
    is(columns(client('slow', undef, ''), qw(key requests state)), '192.0.2.10 3 exceeded', 'the limit itself');
    my $speed = client('slow', undef, 'speed');
    is(columns($speed, qw(key requests state)), '192.0.2.10 1 ok', 'one went at the speed');
    cmp_ok($speed->{bytes}, '>', 200, '... with its bytes');
    is(columns(client('slow', undef, 'requests'), qw(key zone dimension)), '192.0.2.10 client requests',
        'its rate is a part');
};

subtest 'at once' => sub {
    my @open = map { my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $s->port);
        print {$socket} "GET /once/endless HTTP/1.1\r\nHost: x\r\nX-Api-Key: key-9\r\n\r\n"; $socket } 1 .. 3;
    my $active = sub { my ($row) = grep { $_->{limit} eq 'once' } @{ clients() }; return $row ? $row->{active} : 0 };
    ok($s->wait_for(sub { $active->() == 3 }, 5), 'three are served');
    is(columns(client('once'), qw(key state unit amount percent used requests)), 'key-9 ok requests 4 75 - 3',
        'of four');
    is(zone('apikey')->{pinned}, 1, 'its key is in use');
    my $all = (grep { $_->{name} eq 'together' } @{ json($s, '')->{limits} })[0];
    is(columns($all, qw(state unit active amount left percent used)), 'ok requests 3 8 5 37.5 -',
        'three of eight of all');
    like(page($s, ''), qr{37\.5 % used</title>}, 'is a bar');
    close $_ for @open;
    ok($s->wait_for(sub { !$active->() }, 10), 'they are gone');
};

subtest 'keys that make room' => sub {
    asks("/crowd/x?$_", 1) for 1 .. CROWD;
    my $zone = zone('crowd');
    is(columns($zone, qw(key capacity limits pinned locked)), '%{QUERY_STRING} 128 1 0 0', 'the zone');
    is($zone->{used} + $zone->{evictions}, CROWD, "$zone->{used} are there, $zone->{evictions} were forgotten");
    cmp_ok($zone->{evictions}, '>=', CROWD - 128, '... as there is no room for more');
    like($zone->{source}, qr{/httpd\.conf:\d+\z}, 'where it is written');
    is(scalar(grep { $_->{zone} eq 'crowd' } @{ clients() }), $zone->{used}, 'those that are there have rows');
    my ($sum, $of) = (0, json($s, 'view=zones'));
    $sum += $_->{used} for @{ $of->{zones} };
    is($of->{server}{keys_used}, $sum, 'the server has the sum of all');
    is(join(' ', map { $_->{name} } @{ $of->{zones} }), 'clients apikey crowd',
        'clients come first, then zones as written');
};

subtest 'accounts' => sub {
    my $bytes = 0;
    $bytes += fetch($s->port($_), '/x')->{bytes} for 2, 2, 3;
    fetch($s->port(4), '/x');
    my @closed = map { fetch($s->port(3), '/x?closed') } 1, 2;
    is(statuses(@closed), '403 403', 'a limit of one refuses');
    $bytes += $_->{bytes} for @closed;
    my $accounts = sub { json($s, 'view=accounts')->{accounts} };
    ok($s->wait_for(sub { $accounts->()[0]{sent} == $bytes }, 5), 'its hosts have sent what was received');
    is_deeply($accounts->(), [
        { name => 'acme', hosts => 2, requests => 5, sent => $bytes, active => 0, refusing => 1 },
        { name => 'globex', hosts => 0, requests => 0, sent => 0, active => 0, refusing => 0 }],
            'sums, in their order');
    is_deeply([map { $_->{name} } @{ json($s, 'view=accounts&name=GLO')->{accounts} }], ['globex'], 'name= is its own');
    is(client('daily')->{vhost}, 'other.example:' . $s->port(4), 'a client of a host that is in none');
};

# ---- what may be asked for ----------------------------------------------------

subtest 'order, filter, cut' => sub {
    my @numbers = map { $_->{requests} // -1 } @{ clients() };
    is_deeply(\@numbers, [sort { $b <=> $a } @numbers], 'most requests first, quotas last');
    my @keys = map { $_->{key} } @{ clients('sort=-key') };
    is_deeply(\@keys, [sort { $b cmp $a } @keys], 'turned round by key');
    is(scalar @{ json($s, 'view=clients')->{clients} }, 50, 'fifty, where nothing is said');
    is_deeply([map { $_->{key} } @{ json($s, 'view=clients&top=2&sort=key')->{clients} }], [@keys[-1, -2]],
        'top= of them');
    is_deeply([map { $_->{limit} } @{ clients('name=2001:DB8') }], ['rate'], 'name= is a part of a key');
    is_deeply([map { $_->{limit} } @{ clients('name=other.example') }], ['daily'], '... or of a host');
    is_deeply(clients('name=nobody'), [], '... or nothing');
    like(page($s, 'view=clients&name=nobody'), qr{<p>Clients: none\.</p>}, '... as the page says');
    is(fetch($s->port(1), '/xlimit-status?view=clients&sort=percentage')->{status}, 400, 'of a column that there is');
};

sub unescaped { return $_[0] =~ s/&(?:#(\d+)|(lt|gt|amp|quot));/$1 ? chr $1 : { qw(lt < gt > amp & quot ") }->{$2}/ger }

# Rows of an XML of ours as those of the JSON, without what time moves.
sub comparable {
    my ($row) = @_;
    return { map { $_ => "$row->{$_}" } grep { defined $row->{$_} && $_ ne 'locked' } keys %$row };
}

sub rows_of_xml {
    my ($xml, $element) = @_;
    return [map { my %row = /(\w+)="([^"]*)"/g; comparable({ map { $_ => unescaped($row{$_}) } keys %row }) }
        $xml =~ /<$element ([^>]*)\/>/g];
}

sub judged {
    my ($text, @command) = @_;
    my $in = $s->root . '/judged';
    spew($in, $text);
    my $quoted = join ' ', map { "'$_'" } @command;
    my $said = `$quoted < '$in' 2>&1`;
    return $? ? "$? $said" : '';
}

subtest 'every format' => sub {
    for my $view (['zones', 'zone'], ['clients', 'client'], ['accounts', 'account']) {
        my ($list, $element) = @$view;
        my ($rows, $xml) = (json($s, "view=$list")->{$list}, page($s, "xml&view=$list"));
        is(judged($xml, 'xmllint', '--noout', '--schema', $schema, '-') =~ s/^- validates\n//r, '',
            "$list: XML of the schema");
        is_deeply(rows_of_xml($xml, $element), [map { comparable($_) } @$rows], '... with the numbers of the JSON');
        my $html = page($s, "html&units=raw&view=$list");
        my @faults = grep { /Warning|Error/ && !/"aria-current"/ } split /\n/, judged($html, 'tidy', '-e', '-q',
            '-utf8');
        is_deeply(\@faults, [], '... HTML without a fault');
        is_deeply([map { unescaped($_) } $html =~ m{<th scope="row"[^>]*>(.*?)</th>}g],
            [map { $_->{name} // $_->{key} } @$rows], '... has its rows');
        my $column = $list eq 'zones' ? 'used' : 'requests';
        my $label = $list eq 'zones' ? 'Keys known' : 'Requests';
        is_deeply([map { s/<[^>]*>|\342\200\223//gr } $html =~ m{data-label="$label">(.*?)</td>}gi],
            [map { $_->{$column} // '' } @$rows], "... and the same $column");
    }
};

subtest 'nobody is named where it would be kept' => sub {
    for my $view (qw(overview vhosts accounts zones clients config)) {
        my $text = page($s, "auto&view=$view");
        unlike($text, qr/^XLimitClient/m, "auto of $view: no row of a client");
        unlike($text, qr/192\.0\.2|2001:db8|k-[12]\b|key-9/i, '... no key');
    }
    my $auto = page($s, 'auto&view=zones');
    like($auto, qr/^XLimitZone3Name: crowd\nXLimitZone3Key: %\{QUERY_STRING\}\n/m, 'zones are there');
    is($auto =~ /^XLimitZone3Evictions: (\d+)$/m ? $1 : '', zone('crowd')->{evictions}, '... with their numbers');
    like(page($s, 'auto&view=accounts'), qr/^XLimitAccount1Requests: 5\n/m, 'accounts, too');
    unlike(page($s, $_), qr/192\.0\.2|2001:db8/, "?$_ names none")
        for 'json', 'html', 'json&view=zones', 'xml&view=vhosts';
};

subtest 'a view that is kept back' => sub {
    my %far = (keep => 1, headers => { 'X-Client' => '192.0.2.99' });
    is(fetch($s->port, "/shown?$_", %far)->{status}, 200, "?$_ is shown to others") for '', 'view=zones&json', 'top=3';
    is(fetch($s->port, "/shown?$_", %far)->{status}, 403, "?$_ is not")
        for 'view=clients', 'view=%63lients', '%76iew=clients';
};

$s->stop;

# ---- many -------------------------------------------------------------------

# So many requests with keys of their own, pipelined: all that is of interest is that they are answered.
sub crowd {
    my ($server, $from, $to) = @_;
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $server->port) or die "connect: $!";
    my ($served, $rest) = (0, '');
    for (my $at = $from; $at <= $to; $at += 100) {
        my $end = $at + 99 < $to ? $at + 99 : $to;
        print {$socket} map { "GET /x?$_ HTTP/1.1\r\nHost: x\r\n\r\n" } $at .. $end;
        while ($served < $end - $from + 1) {
            sysread($socket, $rest, 65_536, length $rest) or return $served;
            $served += () = $rest =~ /HTTP\/1\.1 200 /g;
            $rest = substr $rest, -12 if length $rest > 12;
        }
    }
    return $served;
}

subtest 'a hundred thousand keys' => sub {
    my $many = XL::Server->new(ports => 2, conf => status_conf() . <<'CONF');
XLimitZone many key="%{QUERY_STRING}" entries=200000
XLimitRequests many 1000/s name=many
CONF
    $many->content('x', 'x');
    $many->start;
    is(crowd($many, 1, MANY), MANY, MANY . ' are served');
    is(crowd($many, 777, 777), 1, '... one of them twice');
    my %size;
    for my $format (qw(html json xml auto)) {
        my $began = now();
        $size{$format} = length page($many, "$format&view=clients");
        my $took = now() - $began;
        ok($took < 2, sprintf '%s: %d bytes in %.3f s', $format, $size{$format}, $took);
        cmp_ok($size{$format}, '<', 60_000, '... which are few');
    }
    my $of = json($many, 'view=clients&top=3&sort=requests');
    is($of->{server}{keys_used}, MANY, 'all are known');
    is(join(' ', map { "$_->{key}:$_->{requests}" } @{ $of->{clients} }), '777:2 1:1 10:1',
        'the one who came twice leads');
    is(join(' ', map { $_->{key} } @{ json($many, 'view=clients&top=3&sort=-key')->{clients} }), '99999 99998 99997',
        'the last ones by name');
    is(scalar @{ json($many, 'view=clients&top=1000000')->{clients} }, 10_000, 'no more than ten thousand at once');
    is(join(' ', map { $_->{key} } @{ json($many, 'view=clients&name=54321')->{clients} }), '54321',
        'one among them is found');
    my $began = now();
    is(json($many, 'view=zones')->{zones}[0]{used}, MANY, 'zones count them');
    cmp_ok(now() - $began, '<', 2, '... in no time');
    cmp_ok(length page($many, ''), '<', 30_000, 'the overview stays small');
};

done_testing;
