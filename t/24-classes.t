# SPDX-License-Identifier: Apache-2.0
#
# Classes of clients on a running server: which one an address is in, whose
# requests a limit or an exemption is for, %{XLIMIT_CLASS}; network files that
# change, are spoilt, go away and come back, while requests are served; that each
# of it is told once. Addresses other than 127.x.x.x are what mod_remoteip makes
# of a header. What is refused at -t is t/13-malformed.t's affair.

use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use Test::More;
use Time::HiRes qw(time);
use XL::Client qw(fetch fetch_many);
use XL::Server;
use XL::Status qw(status_conf status limit);
use XL::System qw(slurp spew);

my $s = XL::Server->new(modules => [qw(remoteip headers)], ports => 2);

# Everything is used before it is declared.
my $conf = status_conf() . <<'CONF';
RemoteIPHeader X-Forwarded-For
RemoteIPInternalProxy 127.0.0.1
Header always set X-Class "expr=%{XLIMIT_CLASS}"
Header always set X-Status "expr=%{reqenv:XLIMIT_STATUS}"
<Location /quota>
    XLimitQuota all 2r day class=inner name=inner exceeded="status 429"
    XLimitQuota all 2r day class=!inner name=others exceeded="status 410"
</Location>
<Location /exempt>
    XLimitQuota all 1r day name=exempt
    XLimitExempt class=inner
</Location>
<Location /exempt-others>
    XLimitQuota all 1r day name=exempt-others
    XLimitExempt class=!inner
</Location>
<Location /rate>
    XLimitBandwidth session 100MB/s class=outer
</Location>
<Location /when>
    XLimitQuota all 1r day name=when when="%{XLIMIT_CLASS} in { 'outer', 'mapped' }"
</Location>
<Location /deny>
    <If "%{XLIMIT_CLASS} == 'inner'">
        Redirect 403 /deny
    </If>
</Location>
<Directory "@DOCROOT@/ht">
    AllowOverride Limit
</Directory>
<XLimitClass outer>
    XLimitNetwork 10/8 2001:db8::/32
    XLimitNetwork 127.0.0.0/29
</XLimitClass>
<XLimitClass inner>
    XLimitNetwork 127.0.0.2 10.1/16 2001:db8:1::/48
</XLimitClass>
<XLimitClass mapped>
    XLimitNetwork ::ffff:192.0.2.0/120
</XLimitClass>
<XLimitClass listed>
    XLimitNetworkFile conf/listed.txt
    XLimitNetworkFile conf/more.txt
</XLimitClass>
<XLimitClass third>
    XLimitNetworkFile conf/third.txt
</XLimitClass>
CONF

sub ask {
    my ($address, $path, $server) = @_;
    my @from = $address =~ /^127[.]/ ? (from => $address) : (headers => { 'X-Forwarded-For' => $address });
    return fetch(($server // $s)->port, $path // '/x.txt', @from);
}

sub class_of { ask(@_)->{headers}{'x-class'} // 'no header' }

sub answers {
    my ($address, $path, $n) = @_;
    return join ' ', map { ask($address, $path)->{status} } 1 .. $n;
}

# Another file in the place of that one, as who writes such files should do it.
sub replace {
    my ($name, $text) = @_;
    my $path = $s->path("conf/$name");
    spew("$path.new", $text);
    rename "$path.new", $path or die "$path: $!";
}

# Asks until that address is in that class.
sub becomes {
    my ($address, $class, $what) = @_;
    ok $s->wait_for(sub { class_of($address) eq $class }), $what;
}

# Asks until the log has so many lines that match.
sub told {
    my ($pattern, $what) = @_;
    ok $s->wait_for(sub { class_of('127.0.0.9'); $s->error_log =~ $pattern }), $what
        or diag $s->error_log;
}

sub times_told { scalar(() = $s->error_log =~ /$_[0]/g) }

replace('listed.txt', "# listed\n127.0.0.20\n203.0.113.0/24\n");
replace('more.txt',   "127.0.0.30\n");
replace('third.txt',  "127.0.0.40\n");
$s->file("$_/x.txt", 10) for qw(quota exempt exempt-others rate when deny ht);
$s->file('x.txt', 10);
$s->content('ht/.htaccess', "XLimitQuota all 1r day class=inner name=ht\n");
$s->conf($conf)->start;

subtest 'who is in which class' => sub {
    for (['10.2.0.1', 'outer'], ['10.255.255.255', 'outer'], ['10.1.0.1', 'inner'], ['11.0.0.1', ''],
        ['2001:db8::1', 'outer'], ['2001:db8:1::1', 'inner'], ['2001:db8:1:ffff::1', 'inner'],
        ['2001:db8:2::', 'outer'], ['2001:db9::1', ''], ['192.0.2.9', 'mapped'], ['::ffff:192.0.2.9', 'mapped'],
        ['192.0.3.9', ''], ['::ffff:10.1.2.3', 'inner'], ['::10.1.2.3', ''], ['203.0.113.77', 'listed'],
        ['127.0.0.3', 'outer'], ['127.0.0.2', 'inner'], ['127.0.0.1', 'outer'], ['127.0.0.8', ''],
        ['127.0.0.20', 'listed'], ['127.0.0.30', 'listed'], ['127.0.0.40', 'third'])
    {
        my ($address, $class) = @$_;
        is class_of($address), $class, "$address: " . ($class || 'none');
    }
};

subtest 'limits' => sub {
    is answers('127.0.0.2', '/quota/x.txt', 3), '200 200 429', 'one for the class refuses its clients';
    is answers('127.0.0.3', '/quota/x.txt', 1), '200', 'and nobody else';
    is answers('198.51.100.1', '/quota/x.txt', 2), '200 410', 'one for all others is theirs together';
    is answers('10.1.9.9', '/quota/x.txt', 1), '429', 'the class is one, whatever the address';
    my %row = map { $_ => limit($s, $_) } qw(inner others when);
    is "$row{inner}{used} $row{others}{used}", '2 2', 'each has counted its own';
    is_deeply [map { $row{$_}{class} } qw(inner others when)], ['inner', '!inner', undef], 'and says whose it is';
    is ask('127.0.0.3', '/rate/x.txt')->{headers}{'x-status'}, 'PACED',  'a rate paces the class';
    is ask('127.0.0.2', '/rate/x.txt')->{headers}{'x-status'}, 'PASSED', 'and nobody else';
    is answers('127.0.0.3', '/ht/x.txt', 2), '200 200', 'one in .htaccess is not for others';
    is answers('127.0.0.2', '/ht/x.txt', 2), '200 503', 'but for the class';
};

subtest 'exemptions' => sub {
    is answers('127.0.0.2', '/exempt/x.txt', 3), '200 200 200', 'the class is spared';
    is answers('127.0.0.3', '/exempt/x.txt', 2), '200 503', 'others are not';
    is limit($s, 'exempt')->{used}, 1, 'and it was not counted';
    is answers('127.0.0.3', '/exempt-others/x.txt', 3), '200 200 200', 'all others are spared';
    is answers('127.0.0.2', '/exempt-others/x.txt', 2), '200 503', 'the class is not';
};

subtest 'expressions' => sub {
    is answers('127.0.0.2', '/when/x.txt', 2), '200 200', 'not of the class that it names';
    is answers('192.0.2.1', '/when/x.txt', 2), '200 503', 'of one that it names';
    is answers('127.0.0.2', '/deny/x.txt', 1), '403', '<If> knows the class';
    is answers('127.0.0.9', '/deny/x.txt', 1), '200', 'and that one has none';
};

subtest 'a file that changes' => sub {
    replace('listed.txt', "127.0.0.21\n127.0.0.4 # more exact than 127.0.0.0/29\n");
    becomes('127.0.0.21', 'listed', 'a network that came is in the class');
    is class_of('127.0.0.20'), '', 'one that went is not';
    is class_of('127.0.0.4'), 'listed', 'a longer prefix takes from another class';
    is class_of('127.0.0.30'), 'listed', 'what stands in another file stays';
    is class_of('127.0.0.3'), 'outer', 'what stands in the configuration, too';
    is times_told(qr/xlimit\(544\): \S+listed\.txt was read again: 2 networks of the class "listed"/), 1, 'told once';
    is((grep { $_->{name} eq 'XLimitClass listed' } @{ config()->{settings} })[0]{value}, '3 networks',
        'the status page says how many');
};

sub config {
    require JSON::PP;
    return JSON::PP::decode_json(fetch($s->port(1), '/xlimit-status?format=json&view=config', keep => 1)->{body});
}

subtest 'a file that is spoilt' => sub {
    replace('listed.txt', "127.0.0.22\n127.0.0.300\n127.0.0.23/33\n");
    told(qr/xlimit\(542\): .*listed\.txt .*: line 2: "127\.0\.0\.300" is no network/, 'the log names the line');
    is class_of('127.0.0.21'), 'listed', 'the old list is in force';
    is class_of('127.0.0.22'), '', 'nothing of the new one';
    replace('more.txt', "127.0.0.31\n");
    becomes('127.0.0.31', 'listed', 'another file is read all the same');
    is times_told(qr/xlimit\(542\)/), 1, 'that was told once';
    replace('listed.txt', "127.0.0.22\nnobody\n");
    told(qr/xlimit\(542\): .*line 2: "nobody" is no network/, 'another fault is told again');
    replace('listed.txt', "127.0.0.22\n");
    becomes('127.0.0.22', 'listed', 'put right, it counts');
    is class_of('127.0.0.21'), '', '... as a whole';
};

subtest 'a file that goes away' => sub {
    my $path = $s->path('conf/listed.txt');
    rename $path, "$path.away" or die "$path: $!";
    told(qr/xlimit\(543\): \S+listed\.txt is no longer there/, 'the log says so');
    is class_of('127.0.0.22'), 'listed', 'what was read from it stays';
    replace('more.txt', "127.0.0.32\n");
    becomes('127.0.0.32', 'listed', 'another file is read all the same');
    is times_told(qr/xlimit\(543\)/), 1, 'that was told once';
    my $read = times_told(qr/xlimit\(544\): \S+listed\.txt/);
    rename "$path.away", $path or die "$path: $!";
    told(qr/(?:xlimit\(544\): \S+listed\.txt.*){@{[$read + 1]}}/s, 'that it is back is told, though it is as it was');
    is class_of('127.0.0.22'), 'listed', 'and its networks are in the class';
    unlink $path;
    told(qr/(?:xlimit\(543\).*){2}/s, 'gone again: told again');
    replace('listed.txt', "127.0.0.23\n");
    becomes('127.0.0.23', 'listed', 'back with something else');
};

subtest 'a network in two classes' => sub {
    replace('third.txt', "127.0.0.41\n127.0.0.23\n");
    my $third = qr/on line 2 of \S+third\.txt, the network 127\.0\.0\.23\/32 is in the class "third"/;
    my $listed = qr/on line 1 of \S+listed\.txt, in the class "listed"/;
    told(qr/xlimit\(542\): .*third\.txt .*: $third and, $listed/, 'the log names both places');
    is class_of('127.0.0.40'), 'third', 'the old list is in force';
    is class_of('127.0.0.23'), 'listed', 'in both classes';
    is times_told(qr/xlimit\(542\): .*third\.txt/), 1, 'told once';
    replace('listed.txt', "127.0.0.24\n");
    becomes('127.0.0.23', 'third', 'gone from the one, it is in the other');
    is class_of('127.0.0.24') . ' ' . class_of('127.0.0.41'), 'listed third', 'with all that is new';
};

subtest 'under load' => sub {
    my $wrong = 0;
    my %once = (port => $s->port, path => '/x.txt', count => 20);
    for my $round (1 .. 3) {
        my $first = 256 * $round;
        replace('listed.txt', join '', map { sprintf "198.18.%d.%d\n", $_ / 256, $_ % 256 } $first .. $first + 20_000);
        my $seen = 0;
        $s->wait_for(sub {
            my @list = map { { %once, headers => { 'X-Forwarded-For' => $_ } } }
                ("198.18.$round.0", '10.1.0.1', '2001:db8::1', '11.0.0.1') x 5;
            fetch_many(\@list);
            for my $client (@list) {
                my %class = map { $_->{headers}{'x-class'} => 1 } @{ $client->{responses} };
                my $address = $client->{headers}{'X-Forwarded-For'};
                $seen = 1 if $address =~ /^198/ && $class{listed};
                my $right = { '10.1.0.1' => 'inner', '2001:db8::1' => 'outer', '11.0.0.1' => '' }->{$address} // next;
                $wrong++ if join(' ', keys %class) ne $right;
            }
            return $seen && $s->error_log =~ /(?:listed\.txt was read again: 20001 .*){$round}/s;
        }) or last;
        ok $seen, "round $round: 20,001 networks are exchanged while requests are served";
    }
    is $wrong, 0, 'nobody was ever in another class';
};

subtest 'graceful restart' => sub {
    replace('listed.txt', "127.0.0.25\n");
    $s->conf($conf =~ s{XLimitNetwork 127\.0\.0\.2 }{XLimitNetwork 127.0.0.5 }r)->graceful;
    is class_of('127.0.0.25'), 'listed', 'the file, as it is now';
    is class_of('127.0.0.5') . ' ' . class_of('127.0.0.2'), 'inner outer', 'the configuration, too';
    replace('listed.txt', "127.0.0.26\n");
    becomes('127.0.0.26', 'listed', 'and the new children see it change');
};

$s->stop;

subtest 'two children' => sub {
    $s = XL::Server->new(modules => ['headers'], children => 2, threads => 5, conf => <<'CONF');
Header always set X-Class "expr=%{XLIMIT_CLASS}"
LogFormat "%P %{msec}t" children
CustomLog logs/children children
<XLimitClass listed>
    XLimitNetworkFile conf/listed.txt
</XLimitClass>
CONF
    replace('listed.txt', "127.0.0.20\n");
    $s->file('x.txt', 10);
    $s->start;

    # Asks until each child has answered past the next time at which it looks.
    my $both = sub {
        my $since = 1000 * time + 2500;
        return $s->wait_for(sub {
            fetch_many([map { { port => $s->port, path => '/x.txt' } } 1 .. 20]);
            my @lines = split /\n/, slurp($s->path('logs/children'));
            my %late = map { /^(\d+) (\d+)/ && $2 > $since ? ($1 => 1) : () } @lines;
            return keys %late == 2;
        });
    };
    replace('listed.txt', "nobody\n");
    ok $both->(), 'both have seen a file that is spoilt';
    is times_told(qr/xlimit\(542\)/), 1, 'one has told it';
    is class_of('127.0.0.20'), 'listed', 'the old list is in force';
    replace('listed.txt', "127.0.0.21\n");
    ok $both->(), 'both have seen it put right';
    is times_told(qr/xlimit\(544\)/), 1, 'one has told it';
    is_deeply [map { class_of($_) } ('127.0.0.21') x 20], [('listed') x 20], 'both know the new list';
    unlink $s->path('conf/listed.txt');
    ok $both->(), 'both have seen it go';
    is times_told(qr/xlimit\(543\)/), 1, 'one has told it';
    $s->stop;
};

done_testing;
