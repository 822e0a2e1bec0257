# SPDX-License-Identifier: Apache-2.0
#
# The configuration: what is accepted, and what it comes to (the text of
# DUMP_XLIMIT). Every directive and every option of include/*.def occurs; what is
# refused is in t/13-malformed.t.

use strict;
use warnings;

use lib 't/lib';
use Test::More;

use XL::Conf qw($s @directives @options %good note_words try_conf label dump_of holds accepts refuses);
use XL::System qw(slurp spew);

# ---- values and options -----------------------------------------------------

accepts 'XLimitQuota all 100GB month day=15 at=04:00 tz=Europe/Berlin slice=1d warn=80,95',
    'XLimitQuota all 100GB month day=15 at=04:00 tz=Europe/Berlin slice=1d warn=80,95 exceeded="status 503" '
    . 'mode=enforce name=quota-all-month';
accepts 'XLimitQuota all 1500 week weekday=fri tz=UTC',
    'XLimitQuota all 1500B week weekday=fri at=00:00 tz=UTC exceeded="status 503" mode=enforce name=quota-all-week';
accepts 'XLimitQuota all 1.5Gi hour tz=Asia/Kathmandu', 'XLimitQuota all 1536MiB hour tz=Asia/Kathmandu ',
    'name=quota-all-hour';
accepts 'XLimitQuota all 3T year at=23:59 tz=America/Argentina/Ushuaia',
    'XLimitQuota all 3TB year at=23:59 tz=America/Argentina/Ushuaia ';
accepts 'XLimitQuota all 1000r 12h',
    'XLimitQuota all 1000r 12h exceeded="status 503" mode=enforce name=quota-all-12h-requests';
accepts 'xlimitquota ALL 10kB day NAME=x.y-Z_1 Mode=DRY-RUN', 'XLimitQuota all 10kB day at=00:00 tz=',
    'mode=dry-run name=x.y-Z_1';
accepts 'XLimitQuota all 1GB 30d scope=server', 'scope=server name=quota-all-30d';
accepts qq(XLimitQuota all 1GB 30d when="%{HTTP_HOST} == 'a b'"), qq(when="%{HTTP_HOST} == 'a b'" name=quota-all-30d);
accepts q(XLimitQuota all 1GB 30d "when=%{HTTP_HOST} == \"a\""), q(when="%{HTTP_HOST} == \"a\"");
accepts 'XLimitQuota all 1GB 30d "exceeded=status 509"',      'exceeded="status 509"';
accepts 'XLimitQuota all 1GB 30d exceeded="status 429"',      'exceeded="status 429"';
accepts 'XLimitQuota all 1GB 30d exceeded=close warn=100',    'warn=100 exceeded="close"';
accepts 'XLimitQuota all 1GB 30d exceeded=pass',              'exceeded="pass"';
accepts 'XLimitQuota all 1GB 30d exceeded="speed 64kbit/s"',  'exceeded="speed 8kB/s"';
accepts 'XLimitQuota all 1GB 30d exceeded="redirect /over"',  'exceeded="redirect /over 302"';
accepts 'XLimitQuota all 1GB 30d exceeded="redirect https://x.example/%{REQUEST_URI} 307"',
    'exceeded="redirect https://x.example/%{REQUEST_URI} 307"';
accepts 'XLimitBandwidth session 500kB/s',
    'XLimitBandwidth session 500kB/s burst=0 after=0 mode=enforce name=bandwidth-session';
accepts 'XLimitBandwidth session 1.5MiB/s burst=10kB after=1MB',
    'XLimitBandwidth session 1536KiB/s burst=10kB after=1MB ';
accepts 'XLimitBandwidth all 10Mbps burst=64Ki',
    'XLimitBandwidth all 1250kB/s burst=64KiB mode=enforce name=bandwidth-all';
accepts 'XLimitBandwidth all 10.5kbit/s', 'XLimitBandwidth all 10500bit/s ';
accepts 'XLimitBandwidth client 2MB/s burst=4MB scope=server',
    'XLimitBandwidth client 2MB/s burst=4MB mode=enforce scope=server name=bandwidth-client';
accepts 'XLimitUpload session 8Mbit/s after=64KiB',
    'XLimitUpload session 1MB/s burst=0 after=64KiB mode=enforce name=upload-session';
accepts 'xlimitupload CLIENT 2MB/s', 'XLimitUpload client 2MB/s burst=0 mode=enforce name=upload-client';
accepts qq(XLimitUpload all 50MB/s scope=server mode=dry-run when="%{HTTP_HOST} == 'a'"),
    qq(XLimitUpload all 50MB/s burst=0 mode=dry-run when="%{HTTP_HOST} == 'a'" scope=server name=upload-all);
accepts 'XLimitRequests client 10/s burst=20',
    'XLimitRequests client 10/1s burst=20 nodelay exceeded="status 429" mode=enforce name=requests-client';
accepts 'XLimitRequests all 600/min burst=50 delay=10 cost="%{env:weight}" exceeded="redirect /busy"',
    'XLimitRequests all 600/1min burst=50 delay=10 exceeded="redirect /busy 302" mode=enforce cost="%{env:weight}" '
    . 'name=requests-all';
accepts 'XLimitRequests all 5/10s nodelay scope=server mode=dry-run',
    'XLimitRequests all 5/10s burst=0 nodelay exceeded="status 429" mode=dry-run scope=server name=requests-all';
accepts 'xlimitconnections CLIENT 10', 'XLimitConnections client 10 exceeded="status 429" mode=enforce '
    . 'name=connections-client';
accepts 'XLimitConnections client 200 at=accept',
    'XLimitConnections client 200 at=accept exceeded="close" mode=enforce name=connections-client';
accepts 'XLimitPenalty client 20/10s for=5min count=status:404,401',
    'XLimitPenalty client 20/10s for=5min count=status:401,404 exceeded="status 429" mode=enforce name=penalty-client';
accepts 'XLimitPenalty all 5/s for=250ms count=Rejected', 'XLimitPenalty all 5/1s for=250ms count=rejected ';
accepts 'XLimitPenalty all 5/s for=1w', 'XLimitPenalty all 5/1s for=1w count=requests ';
accepts qq(XLimitBlock when="%{HTTP_HOST} == 'x'" exceeded=close),
    qq(XLimitBlock exceeded="close" mode=enforce when="%{HTTP_HOST} == 'x'" name=block);
accepts qq(XLimitBlock when="true"), 'XLimitBlock exceeded="status 403" ';
accepts 'XLimitQuota client 1GB day', 'XLimitQuota client 1GB day at=00:00 tz=', 'exceeded="status 429"';
accepts qq(XLimitRequests apikey 10/s\nXLimitQuota apikey 1000r day\nXLimitBandwidth apikey 1MB/s\n)
    . qq(XLimitZone apikey key="%{req_novary:X-Api-Key}" entries=100000),
    qq(\nXLimitZone apikey key="%{req_novary:X-Api-Key}" entries=100000\n),
    'XLimitRequests apikey 10/1s burst=0 nodelay', 'name=quota-apikey-day-requests',
    'XLimitBandwidth apikey 1MB/s burst=0 mode=enforce name=bandwidth-apikey';
accepts 'XLimitZone z key="%{HTTP_HOST}"', 'XLimitZone z key="%{HTTP_HOST}" entries=65536';
accepts 'XLimitQuota all 1GB 30d exceeded="speed 64kB/s 10/s 5"', 'exceeded="speed 64kB/s 10/1s 5"';
accepts 'XLimitQuota all 1GB 30d exceeded="speed 64kB/s 5"', 'exceeded="speed 64kB/s 5"';
accepts "XLimitExceeded requests status 503\nXLimitExceeded connections close\nXLimitExceeded penalty pass\n"
    . "XLimitExceeded block redirect /x", map { "    XLimitExceeded $_\n" } 'requests status 503', 'connections close',
    'penalty pass', 'block redirect /x 302';
accepts 'XLimitClientPrefix 24 56',               '    XLimitClientPrefix 24 56';
accepts 'XLimitClientPrefix 1 128',               '    XLimitClientPrefix 1 128';
accepts 'XLimitBackendRate on',                   '    XLimitBackendRate On';
accepts 'XLimitHeaders legacy',                   '    XLimitHeaders Legacy';
accepts 'XLimitExempt handler=server-status',     '    XLimitExempt handler="server-status"';
accepts qq(XLimitExempt when="-R '10.0.0.0/8'"),  qq(    XLimitExempt when="-R '10.0.0.0/8'");

accepts 'XLimitMemory 2MiB',       "\nXLimitMemory 2MiB\n", "\nXLimitEngine auto\n",
    "\n# XLimitWaiting: ThreadsPerChild\nXLimitBuffer 64kB\nXLimitSpool 1GB\n";
accepts 'XLimitEngine blocking',   "\nXLimitEngine blocking\n", '# XLimitMemory: sized from the scopes';
accepts 'XLimitWaiting 500',       "\nXLimitWaiting 500\n";
accepts 'XLimitBuffer 128KiB',     "\nXLimitBuffer 128KiB\n";
accepts 'XLimitSpool off',         "\nXLimitSpool off\n";
accepts 'XLimitSpool 5GB conf',    "\nXLimitSpool 5GB \"" . $s->path('conf') . qq("\n);
accepts 'XLimitStateFile none',    qq(\nXLimitStateFile "none"\n), "\nXLimitStateError fresh\n";
accepts 'XLimitStateFile run/x',   qq(\nXLimitStateFile ") . $s->path('run/x') . qq("\n);
accepts 'XLimitFlush 90s',         "\nXLimitStateError fresh\nXLimitFlush 90s\n";
accepts 'XLimitStateError fail',   "\nXLimitStateError fail\nXLimitFlush 1s\n";

# ---- classes ----------------------------------------------------------------

my $class = "<XLimitClass office>\nXLimitNetwork 10/8 192.0.2.1\nXLimitNetwork 2001:DB8::/32\n</XLimitClass>\n";
accepts $class, join "\n", '<XLimitClass office>',
    map { "    XLimitNetwork $_" } qw(10.0.0.0/8 192.0.2.1/32 2001:db8::/32);
accepts "${class}XLimitQuota all 1GB 30d class=office", 'class=office name=quota-all-30d-office';
accepts "XLimitUpload client 1MB/s class=!office scope=server\n$class",
    'mode=enforce class=!office scope=server name=upload-client-not-office';
accepts "${class}XLimitBandwidth session 1MB/s class=office name=x when=true", 'when="true" class=office name=x';
accepts "${class}XLimitExempt class=office", '    XLimitExempt class=office';
accepts "XLimitExempt CLASS=!office\n$class", '    XLimitExempt class=!office';
spew($s->path('conf/empty.txt'), "# nobody so far\n");
accepts "<XLimitClass none>\nXLimitNetworkFile conf/empty.txt\n</XLimitClass>",
    '    XLimitNetworkFile "' . $s->path('conf/empty.txt') . '"';

for (["10/8\n# a comment\n192.0.2.1/24\n", 'line 3: "192.0.2.1/24" is no network: bits are set'],
    ["10/8 11/8\n", 'line 1: "10/8 11/8" is no network: it holds a blank'],
    ["\n\nnobody", 'line 3: "nobody" is no network: it does not begin with an address'],
    ["10/8\0\n", 'it is no text: there is a zero byte in it'])
{
    my ($content, $fault) = @$_;
    spew($s->path('conf/bad.txt'), $content);
    refuses("<XLimitClass a>\n> XLimitNetworkFile conf/bad.txt\n</XLimitClass>\n",
        'XLimitNetworkFile: ' . $s->path('conf/bad.txt') . ", $fault");
}
spew($s->path("conf/$_.txt"), "# of $_\n172.16.0.0/12\n") for qw(one other);
my ($exit, $output) = try_conf(join '', map { "<XLimitClass $_>\nXLimitNetworkFile conf/$_.txt\n</XLimitClass>\n" }
    qw(one other));
is $exit, 1, 'refused: the same network in the files of two classes';
holds($output, 'line 2 of ' . $s->path('conf/other.txt') . ': the network 172.16.0.0/12 is in the class "other" and, '
    . 'on line 2 of ' . $s->path('conf/one.txt') . ', in the class "one"', '... names both places');

# Switched off is checked and dropped; its name is free then.
unlike dump_of("XLimitQuota all 1GB 30d mode=off\n"), qr/XLimitQuota/, 'mode=off: no limit';
accepts "XLimitQuota all 1GB 30d mode=off\nXLimitQuota all 2GB 30d", 'XLimitQuota all 2GB 30d ';

# ---- merging ----------------------------------------------------------------

my $host = "<VirtualHost *:\@PORT\@>\nServerName a.example\n%s\n</VirtualHost>\n";

# What the dump says of one virtual host.
sub of_host {
    my ($outside, $inside) = @_;
    my $text = sprintf "%s\n$host", $outside, $inside;
    my $port = $s->port;
    $text =~ s/\@PORT\@/$port/g;
    note_words(\%good, $text);
    my $output = dump_of($text);
    return $output =~ /^# a\.example:$port: virtual host of \S+own\.conf:\d+\n(.*)/ms ? $1 : "none of it:\n$output";
}

my $outside = "XLimitQuota all 1GB 30d name=outer exceeded=close\nXLimitExempt handler=outer-handler";
my $merged = of_host($outside, 'XLimitBandwidth session 1MB/s name=inner');
like $merged, qr/own\.conf:1, inherited from the main server\n    XLimitQuota .* name=outer\n.*name=inner/s,
    'a host has the limits of the main server, then its own';
like $merged, qr/handler="outer-handler"/, '... and its exemptions';

$merged = of_host($outside, <<'EOF');
XLimitInherit Off
XLimitBandwidth session 1MB/s name=inner
XLimitExempt handler=inner-handler
EOF
unlike $merged, qr/outer/, 'XLimitInherit Off drops both';
like $merged, qr/inner-handler.*name=inner/s, '... and keeps its own';
like of_host($outside, 'XLimitInherit On'), qr/name=outer/, 'XLimitInherit On drops nothing';

my $quota = 'XLimitQuota all 1GB 30d name=q';
for (
    ['', $quota, 'status 503', 'the default'],
    ['XLimitExceeded any close',    $quota, 'close', 'any'],
    ["XLimitExceeded any close\nXLimitExceeded quota pass", $quota, 'pass', 'the dimension beats any'],
    ['XLimitExceeded quota pass', "$quota\nXLimitExceeded any close", 'close', 'an inner any beats an outer dimension'],
    ['XLimitExceeded any close', "$quota\nXLimitExceeded quota pass", 'pass', 'inner beats outer'],
    ["XLimitExceeded quota redirect /x 303", qq($quota exceeded="status 429"), 'status 429', 'exceeded= beats both'],
    ["XLimitExceeded quota redirect /x 303", $quota, 'redirect /x 303', 'inherited'],
    ['XLimitExceeded any close', "<Location /a>\nXLimitExceeded any speed 1kB/s\n$quota\n</Location>", 'speed 1kB/s',
        'a section beats its host'],
    ["XLimitExceeded any close\n$quota", 'XLimitExceeded any pass', 'pass',
        'an inherited limit answers as the host says'],
) {
    my ($outer, $inner, $action, $what) = @$_;
    like of_host($outer, $inner), qr/exceeded="\Q$action\E" mode=enforce name=q$/m, "XLimitExceeded: $what";
}
for (['XLimitBackendRate On', 'XLimitBackendRate Off'], ['XLimitClientPrefix 24 48', 'XLimitClientPrefix 32 56'],
    ['XLimitHeaders Draft10', 'XLimitHeaders Off']) {
    my ($outer, $inner) = @$_;
    like of_host($outer, $_), qr/^    $outer$/m, "$outer is inherited: $_" for $quota, 'XLimitInherit Off';
    like of_host($outer, $inner), qr/^    $inner$/m, '... and overridden';
}
like of_host("", "<Location /a>\nXLimitBackendRate On\n</Location>"), qr{^  # <Location /a>\n    XLimitBackendRate On}m,
    'a section without a limit';

# ---- accounts ---------------------------------------------------------------

my $account = <<'EOF';
<XLimitAccount acme>
    XLimitQuota all 1TB month tz=UTC name=month
    XLimitBandwidth client 2MB/s
    XLimitExempt handler=acme-handler
</XLimitAccount>
<XLimitAccount unused>
    XLimitUpload all 1MB/s
</XLimitAccount>
EOF

# The names of the limits that a host has, outermost first; those of its account as "(name)".
sub names_of {
    my @lines = split /\n/, of_host(@_);
    return join ' ', map { /^    (#? *)XLimit.* name=(\S+)$/ ? $1 ? "($2)" : $2 : () } @lines;
}

my ($main, $own) = map { "XLimitQuota all 1GB 30d name=$_" } qw(outer own);
for (
    ["$account$main", "XLimitAccount acme\n$own", 'outer (month) (bandwidth-client) own', 'from outside to inside'],
    ["XLimitAccount acme\n$main\n$account", '', 'outer (month) (bandwidth-client)', 'a section behind its use'],
    ["$account$main", "XLimitAccount acme\nXLimitInherit Off\n$own", '(month) (bandwidth-client) own',
        'XLimitInherit Off keeps the account of the host'],
    ["${account}XLimitAccount acme\n$main", '', 'outer (month) (bandwidth-client)',
        'the account of the main server, for a host without a line of ours'],
    ["${account}XLimitAccount acme\n$main", $own, 'outer (month) (bandwidth-client) own', '... for one with limits'],
    ["${account}XLimitAccount acme\n$main", "XLimitInherit Off\n$own", 'own', '... and not with XLimitInherit Off'],
    ["${account}XLimitAccount acme\n$main", "XLimitAccount unused\n$own", 'outer (upload-all) own',
        "a host's own account comes in its place"],
    ["$account$main", $own, 'outer own', 'nobody else has its limits'],
    ["$account$main", "XLimitAccount acme\nXLimitQuota all 1GB month name=month",
        'outer (month) (bandwidth-client) month', 'its names are its own'],
) {
    my ($outer, $inner, $wanted, $what) = @$_;
    is names_of($outer, $inner), $wanted, "account: $what";
}
like of_host($account, "XLimitAccount acme\nXLimitAccount acme"), qr/^    XLimitAccount acme$/m, 'named twice alike';

# The whole text, to see that nobody else has changed.
my $hosts = join '', map { sprintf $host =~ s/\@PORT\@/$_/r, '' } 8001 .. 8003;
my $text = dump_of("$account${main}\nXLimitAccount acme\n$hosts");
is scalar(() = $text =~ /^    # XLimitQuota .* name=month$/mg), 4, 'each server has the limits of the account once';
is scalar(() = $text =~ /^    XLimitAccount acme$/mg), 4, '... and says so';

# What the section says, what the host says; then the answers of a limit of either.
for (['', '', 503, 503], ['', 429, 429, 429], [451, 429, 451, 429], [451, '', 451, 503]) {
    my ($section, $in_host, $account_code, $host_code) = @$_;
    my ($in_section, $said) = $account;
    $in_section =~ s{^(?=</XLimitAccount>)}{XLimitExceeded quota status $section\n}m if $section;
    $said = of_host($in_section, "XLimitAccount acme\n$quota\n" . ($in_host && 'XLimitExceeded any status 429'));
    like $said, qr/exceeded="status $account_code" .* name=month$/m, "XLimitExceeded of an account: $account_code";
    like $said, qr/exceeded="status $host_code" .* name=q$/m, "... and of its host: $host_code";
}

# ---- the server's own zone --------------------------------------------------

for (['Europe/Berlin', 'Europe/Berlin'], [':Asia/Tokyo', 'Asia/Tokyo'], ['', 'UTC'], ['Nowhere/Land', 'UTC'],
    ['../x', 'UTC']) {
    my ($tz, $zone) = @$_;
    local $ENV{TZ} = $tz;
    my $output = dump_of("XLimitQuota all 1GB day\nXLimitQuota all 1GB week tz=Africa/Cairo\n");
    holds($output, "XLimitQuota all 1GB day at=00:00 tz=$zone ", "TZ=$tz: $zone");
    my $warned = index($output, qq(xlimit(102): the server's own time zone "$tz" cannot be used)) >= 0;
    is $warned, !!($tz =~ /Nowhere|[.]/), '... with a warning when that is not what was asked for';
}

# ---- what is printed can be read again --------------------------------------

sub directives_of { return join "\n", map { s/^ +//r } grep { m{^ *<?/?XLimit} } split /\n/, $_[0] }

spew($s->path('conf/home.txt'), "# at home\n\n 192.168/16 # the router's\r\n\tfd00::/8");
my $lines = directives_of(dump_of(<<'EOF'));
XLimitQuota all 100GB month day=15 at=04:00 tz=Europe/Berlin slice=1d warn=80,95
XLimitQuota all 77r day exceeded="redirect https://x.example/%{escape:%{REQUEST_URI}} 301" when="%{HTTP_HOST} == \"q\""
XLimitBandwidth session 333.3kbit/s after=12345 burst=1Ki mode=dry-run
XLimitExempt when="-R '10.0.0.0/8' || %{QUERY_STRING} == 'a b'"
XLimitExceeded any speed 0.5kB/s
XLimitInherit On
XLimitHeaders Draft10
XLimitMemory 1MiB
XLimitUpload client 2MB/s burst=1Ki
XLimitClientPrefix 30 60
XLimitBackendRate On
<XLimitAccount acme>
XLimitQuota all 1TB month tz=UTC
XLimitBandwidth client 2MB/s
XLimitExempt handler=acme-handler
XLimitExceeded any redirect https://x.example/ 303
</XLimitAccount>
<XLimitAccount other>
XLimitQuota all 1TB month tz=UTC
</XLimitAccount>
XLimitAccount acme
XLimitExempt class=!office
XLimitQuota all 5GB day class=office
XLimitQuota all 5GB day class=!home
<XLimitClass home>
XLimitNetwork 2001:DB8:0::/48
XLimitNetworkFile conf/home.txt
</XLimitClass>
<XLimitClass office>
XLimitNetwork 10/8 192.0.2.1 ::ffff:198.51.100.0/120
XLimitNetwork 2001:db8::/32
</XLimitClass>
EOF
cmp_ok scalar(split /\n/, $lines), '>=', 36, 'a dump of many lines';
is directives_of(dump_of("$lines\n")), $lines, 'the dump of a dump is the same';

# ---- places and identities --------------------------------------------------

$text = <<'EOF';
<VirtualHost *:@PORT@>
    ServerName One.Example
</VirtualHost>
<VirtualHost *:@PORT@>
    ServerName one.example
</VirtualHost>
<VirtualHost 127.0.0.1:@PORT1@>
    ServerName one.example
</VirtualHost>
<VirtualHost 127.0.0.1:@PORT@>
    ServerName one.example
</VirtualHost>
<Location "/a b">
    XLimitQuota all 1GB 30d
    <If "%{QUERY_STRING} == 'x>y'">
        XLimitQuota all 1GB 30d
    </If>
    <Else>
        XLimitQuota all 1GB 30d
    </Else>
</Location>
<LocationMatch ^/(b|c)>
    XLimitQuota all 1GB 30d
</LocationMatch>
<Directory /srv>
    XLimitQuota all 1GB 30d
    <Files *.iso>
        XLimitQuota all 1GB 30d
    </Files>
</Directory>
EOF
my @ports = ($s->port, $s->port(1));
$text =~ s/\@PORT\@/$ports[0]/g;
$text =~ s/\@PORT1\@/$ports[1]/g;
my $dump = dump_of($text);
holds($dump, "\n# $_: virtual host of", "identity $_")
    for "one.example:$ports[0]@*:$ports[0]", "one.example:$ports[0]@*:$ports[0]#2", "one.example:$ports[1]",
    "one.example:$ports[0]\@127.0.0.1:$ports[0]";
holds($dump, "\n  # <$_>\n", "place $_")
    for 'Location /a b', "Location /a b > If %{QUERY_STRING} == 'x>y'", 'Location /a b > Else', 'LocationMatch ^/(b|c)',
    'Directory /srv', 'Directory /srv > Files *.iso';

# ---- nothing was forgotten --------------------------------------------------

ok $good{$_}, "a good $_" for map { $_->[0] } @directives;
ok $good{$_} || $good{ ucfirst() } || $good{ uc() }, "a good $_" for @options;

done_testing;
