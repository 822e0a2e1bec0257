# SPDX-License-Identifier: Apache-2.0
#
# What a .htaccess file may say, and what the error log says of one that says
# something else: such a request is answered with 500.

use strict;
use warnings;

use lib 't/lib';
use Test::More;

use XL::Client qw(fetch);
use XL::Server;
use XL::System qw(slurp spew);

my $s = XL::Server->new;

my %htaccess = (
    good => <<'EOF',
XLimitQuota all 1GB day exceeded="status 429" when="%{HTTP_HOST} != 'x'"
XLimitBandwidth session 10MB/s
XLimitUpload all 10MB/s
XLimitExceeded any close
XLimitHeaders Off
XLimitBackendRate Off
XLimitExempt handler=x
<Files nothing>
    XLimitInherit Off
</Files>
EOF
    value      => "\nXLimitQuota all 1XB day\n",
    twice      => "XLimitQuota all 1GB day\nXLimitQuota all 2GB day\n",
    scope      => "XLimitQuota all 1GB day scope=server\n",
    engine     => "XLimitMemory 1MB\n",
    account    => "XLimitAccount x\n",
    section    => "<XLimitAccount x>\n</XLimitAccount>\n",
    prefix     => "XLimitClientPrefix 24 56\n",
    class      => "XLimitQuota all 1GB day class=nobody\n",
    networks   => "<XLimitClass x>\n</XLimitClass>\n",
    network    => "XLimitNetwork 10/8\n",
    restricted => qq(XLimitExempt when="file('/etc/passwd') =~ /root/"\n),
    forbidden  => "XLimitQuota all 1GB day\n",
);
my %log = (
    value      => '.htaccess: XLimitQuota: "1XB" is not a size: unknown unit',
    twice      => 'called "quota-all-day" too',
    scope      => '.htaccess: XLimitQuota: scope=server is for the server\'s configuration, not for .htaccess',
    engine     => '.htaccess: XLimitMemory not allowed here',
    account    => '.htaccess: XLimitAccount not allowed here',
    section    => '.htaccess: <XLimitAccount not allowed here',
    prefix     => '.htaccess: XLimitClientPrefix not allowed here',
    class      => '.htaccess: XLimitQuota: there is no class "nobody"; right would be the name of an <XLimitClass NAME>',
    networks   => '.htaccess: <XLimitClass not allowed here',
    network    => '.htaccess: XLimitNetwork not allowed here',
    restricted => 'is no expression: ',
    forbidden  => '.htaccess: XLimitQuota not allowed here',
);
my $root = $s->path('htdocs');
$s->conf(<<"EOF");
<Directory "$root">
    AllowOverride Limit
</Directory>
<Directory "$root/forbidden">
    AllowOverride FileInfo
</Directory>
EOF
for (keys %htaccess) {
    $s->file("$_/x.txt", 10);
    spew("$root/$_/.htaccess", $htaccess{$_});
}
$s->start;
is fetch($s->port, '/good/x.txt')->{status}, 200, '.htaccess: limits are accepted';
for (sort keys %log) {
    is fetch($s->port, "/$_/x.txt")->{status}, 500, ".htaccess: $_ is refused";
    like slurp($s->path('logs/error')), qr/\Q$log{$_}\E/, '... and the log says why';
}
$s->stop;

done_testing;
