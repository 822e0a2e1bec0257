# SPDX-License-Identifier: Apache-2.0
#
# Where directives may stand, and configurations that are refused: with which
# words, and on which line. Every directive and every option of include/*.def
# occurs in one that is malformed.

use strict;
use warnings;

use lib 't/lib';
use Test::More;

use XL::Conf qw($s @directives @options %bad try_conf label refuses);
use XL::System qw(project slurp spew);

$s->choose_ports;
my @ports = ($s->port, $s->port(1));

# ---- contexts ---------------------------------------------------------------

my %sample = (
    XLimitQuota      => 'all 1GB month',       XLimitBandwidth  => 'session 1MB/s', XLimitExceeded => 'any close',
    XLimitHeaders    => 'Off',                 XLimitExempt     => 'handler=x',     XLimitInherit  => 'On',
    XLimitStateFile  => 'none',                XLimitStateError => 'fail',          XLimitMemory   => '1MB',
    XLimitEngine     => 'async',               XLimitBuffer     => '10kB',          XLimitSpool    => 'off',
    XLimitUpload     => 'client 1MB/s',        XLimitClientPrefix => '24 56',       XLimitBackendRate => 'On',
    XLimitAccount    => 'x',                   '<XLimitAccount' => "y>\n</XLimitAccount>",
    XLimitRequests   => 'client 10/s',         XLimitConnections => 'client 5',
    XLimitPenalty    => 'client 5/s for=1min', XLimitBlock       => 'when=true',
    XLimitZone       => 'z key=x',             XLimitFlush       => '5s',
    XLimitNetwork    => '10/8 ::/0',           XLimitNetworkFile => 'conf/networks',
    XLimitWaiting    => '5',
    '<XLimitClass'   => "y>\nXLimitNetwork 10/8\n</XLimitClass>",
);
my %allowed = (
    XL_IN_SCOPES => qr/^(?!Limit$|XLimit(?:Account|Class)$)/, XL_IN_ACCOUNTS => qr/^(?!Limit$|XLimitClass$)/,
    XL_IN_HOSTS => qr/^VirtualHost$/,
    XL_IN_SERVER => qr/^(?!)/, XL_IN_CLASS => qr/^XLimitClass$/,
);
my %section = (
    'VirtualHost' => "VirtualHost *:$ports[0]", 'Directory' => 'Directory /srv', 'Location' => 'Location /x',
    'Files' => 'Files x', 'If' => 'If true', 'Limit' => 'Limit GET',
    'XLimitAccount' => 'XLimitAccount z', 'XLimitClass' => 'XLimitClass z',
);
spew($s->path('conf/networks'), "10/8\n");
my $x = "<XLimitAccount x>\n</XLimitAccount>\n";
for (@directives) {
    my ($name, $contexts) = @$_;
    my $line = "$name " . ($sample{$name} // die "13-malformed.t has no example of $name\n");
    is !(try_conf("$line\n$x"))[0], $contexts ne 'XL_IN_CLASS', "$name: in server config, or not";
    for my $in (sort keys %section) {
        my $around = $in eq 'Limit' ? "<Location />\n%s</Location>\n" : '%s';
        my ($exit, $output) = try_conf(sprintf("$around$x", "<$section{$in}>\n$line\n</$in>\n"));
        my $allowed = $in =~ $allowed{$contexts};
        is !$exit, $allowed, "$name: " . ($allowed ? 'in' : 'not in') . " <$in>" or diag $output;
        like $output, qr/line [23] of \S*own\.conf:\n$name>? (?:cannot occur|not allowed|makes no sense)/,
            '... and says so' if !$allowed;
    }
}

# ---- malformed --------------------------------------------------------------

# What must be said, in t/conf/malformed.txt.
my @malformed = map { [/\A(.*)^=> (.*?)\n?\z/ms] } map { s/^#.*\n?//mgr } split /\n\n+/,
    slurp(project() . '/t/conf/malformed.txt') =~ s/\@PORT\@/$ports[0]/gr;
@malformed = grep { defined $_->[0] } @malformed;
refuses(@$_) for @malformed;
refuses("\n# a comment\n\n> XLimitQuota session 1GB month\n", '"session" is not a key; right would be client, all or');
refuses("> XLimitExceeded quota redirect /a\x01b\n", 'is not a URL to redirect to: it holds a control character');
cmp_ok scalar @malformed, '>=', 196, scalar(@malformed) . ' malformed configurations';

# What the contract names for later is unknown until it works.
for (qw(XLimitEventLog
    XLimitCluster XLimitStatusWrite CBandLimit))
{
    refuses("> $_ all 1", "Invalid command '$_'");
}

# The same name is no trouble where the counters differ.
for (split /^--\n/m, <<"EOF") {
XLimitQuota all 1GB day
<Location /x>
    XLimitQuota all 1GB day
</Location>
--
<VirtualHost *:$ports[0]>
    ServerName a
    XLimitQuota all 1GB day
</VirtualHost>
<VirtualHost *:$ports[0]>
    ServerName b
    XLimitQuota all 1GB day
</VirtualHost>
--
XLimitQuota all 1GB day
<VirtualHost *:$ports[0]>
    ServerName a
    XLimitInherit Off
    XLimitQuota all 2GB day
</VirtualHost>
--
XLimitQuota all 1GB day
XLimitQuota all 1000r day
XLimitQuota all 1GB week
XLimitBandwidth all 1MB/s
XLimitBandwidth session 1MB/s
XLimitBandwidth client 1MB/s
XLimitUpload all 1MB/s
XLimitUpload session 1MB/s
XLimitUpload client 1MB/s
--
<XLimitClass a>
    XLimitNetwork 10/8 10/8 10.1/16
    XLimitNetwork 10/8
</XLimitClass>
XLimitQuota all 1GB day
XLimitQuota all 1GB day class=a
XLimitQuota all 1GB day class=!a
EOF
    my ($exit, $output) = try_conf($_);
    is $exit, 0, 'no clash: ' . label($_) or diag $output;
}

# ---- nothing was forgotten --------------------------------------------------

ok $bad{$_}, "a malformed $_" for (map { $_->[0] } @directives), @options;

done_testing;
