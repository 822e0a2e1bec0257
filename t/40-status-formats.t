# SPDX-License-Identifier: Apache-2.0
#
# The status in every format, judged by programs that know the formats: names
# and URLs that try to break out of them, the schema, the page of the fields;
# then the handler on a real server: who may see it, parameters, headers.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use Digest::SHA qw(sha256_base64);
use Test::More;
use XL::Client qw(fetch);
use XL::Server;
use XL::System qw(build_dir project slurp spew);

my $tool   = build_dir() . '/unit/render_tool';
my $schema = project() . '/docs/xlimit-status.xsd';
my @views  = qw(overview vhosts accounts zones clients config);
my $s      = XL::Server->new(ports => 3, modules => ['remoteip'], conf => <<'CONF');
RemoteIPHeader X-Client
RemoteIPInternalProxy 127.0.0.1
<Location /status>
    SetHandler xlimit-status
</Location>
<Location /open>
    SetHandler xlimit-status
    Require all granted
</Location>
<Location /members>
    SetHandler xlimit-status
    Require ip 192.0.2.7
</Location>
<Directory @DOCROOT@/ht>
    AllowOverride Limit
</Directory>
XLimitQuota all 1GB month name=shared scope=server
<XLimitClass office>
    XLimitNetwork 192.0.2.0/24 2001:db8::/32
</XLimitClass>
<XLimitAccount acme>
    XLimitBandwidth client 50MB/s
</XLimitAccount>
<VirtualHost 127.0.0.1:@PORT1@>
    ServerName quota.example
    XLimitAccount acme
    XLimitQuota all 10MB day warn=80 name=daily exceeded="redirect /gone?a=<b>&c"
    XLimitQuota all 100r day name=hits
</VirtualHost>
<VirtualHost 127.0.0.1:@PORT2@>
    ServerName pace.example
    XLimitBandwidth session 1000kbit/s name=line class=!office
    XLimitUpload all 5MB/s burst=1MB
</VirtualHost>
CONF

# Output of a program that reads the text; its status in $?.
sub through {
    my ($text, @command) = @_;
    my $in = $s->root . '/through.in';
    spew($in, $text);
    my $quoted = join ' ', map { "'$_'" } @command;
    return scalar `$quoted < '$in' 2>&1`;
}

sub is_fine {
    my ($text, $what, @command) = @_;
    my $said = through($text, @command);
    return ok($? == 0, $what) || diag(substr $said, 0, 2000);
}

# tidy does not know all of HTML 5; what it complains about beyond that.
sub html_faults {
    my ($html) = @_;
    return grep { /Warning|Error/ && !/proprietary attribute "aria-current"/ } split /\n/,
        through($html, 'tidy', '-e', '-q', '-utf8');
}

sub auto_faults {
    return grep { !/\AXLimit[A-Za-z0-9]+: \S/ || /[\x00-\x1f\x7f]/ } split /\n/, $_[0], -1;
}

sub judge {
    my ($of, %text) = @_;
    is_fine($text{xml}, "$of: XML follows the schema", 'xmllint', '--noout', '--schema', $schema, '-');
    is_fine($text{json}, "$of: JSON is one object of our schema", 'jq', '-e', '-s',
        'length == 1 and .[0].schema == "xlimit-status/1" and ([.[0][] | arrays | length] | all(. > 0) and length > 0)');
    is_deeply([html_faults($text{html})], [], "$of: HTML without a fault");
    my $lines = $text{auto} =~ tr/\n//;
    cmp_ok($lines, '>', 10, "$of: auto has lines");
    chomp $text{auto};
    is_deeply([auto_faults($text{auto})], [], "$of: each is a name, a colon, a value");
    return;
}

subtest 'hostile names' => sub {
    for my $view (@views) {
        judge("hostile $view", map { $_ => scalar `'$tool' $_ $view` } qw(html xml json auto));
    }
    my $xml = `'$tool' xml config`;
    is(through($xml, 'xmllint', '--xpath', 'string(//settings/setting[1]/@name)', '-'),
        "<script>alert(1)</script>\n", 'XML gives a name back as it was');
    my $json = `'$tool' json config`;
    is(through($json, 'jq', '-r', '.settings[0].name'), "<script>alert(1)</script>\n", 'so does JSON');
};

subtest 'schema and page' => sub {
    is(slurp($schema), `'$tool' schema`, 'docs/xlimit-status.xsd is what render_tool schema prints');
    my $fields = `'$tool' fields`;
    cmp_ok(length $fields, '>', 2000, 'there are fields');
    ok(index(slurp(project() . '/docs/status.md'), $fields) > 0, 'docs/status.md has what render_tool fields prints');
    my $planted = `'$tool' xml` =~ s/<limit /<limit colour="red" /r;
    through($planted, 'xmllint', '--noout', '--schema', $schema, '-');
    isnt($?, 0, 'the schema refuses an attribute that is not in the table');
    ok(html_faults('<!DOCTYPE html><title>x</title><p><script>') > 0, 'tidy complains about a page that is broken');
    is(scalar(auto_faults("XLimitA: \nXLimitB:c\nfine: no\nXLimitC: 1")), 3, 'the rule for auto finds what is wrong');
};

$s->start;
$s->file('1mb.bin', 1_000_000);

sub get {
    my ($url, %option) = @_;
    return fetch($s->port($option{port} // 0), $url, keep => 1, method => $option{method} // 'GET',
        headers => $option{headers} // {});
}

subtest 'the handler' => sub {
    fetch($s->port(1), '/1mb.bin') for 1 .. 3;
    for my $view (@views) {
        judge("live $view", map { $_ => get("/status?$_&view=$view")->{body} } qw(html xml json auto));
    }
    my $json = get('/status?json')->{body};
    is(through($json, 'jq', '-c', '[.limits[] | [.name, .vhost, .unit, .amount, .rate, .state]]'), join(',',
            '[["shared",null,"bytes",1000000000,null,"ok"]',
            '["bandwidth-client",null,null,null,50000000,"ok"]',
            '["daily","quota.example:' . $s->port(1) . '","bytes",10000000,null,"ok"]',
            '["hits","quota.example:' . $s->port(1) . '","requests",100,null,"ok"]',
            '["line","pace.example:' . $s->port(2) . '",null,null,125000,"ok"]',
            '["upload-all","pace.example:' . $s->port(2) . '",null,null,5000000,"ok"]]') . "\n",
        'the limits as configured');
    is(through($json, 'jq', '.limits[] | select(.name == "hits").used'), "3\n", 'three requests were counted');
    my $used = through($json, 'jq', '.limits[] | select(.name == "daily").used');
    cmp_ok($used, '>', 3_000_000, 'three megabytes and their headers');
    is(through($json, 'jq', '.limits[] | select(.name == "daily") | .amount - .used - .left'), "0\n",
        'left is what is left');
    is(through($json, 'jq', '.vhosts[] | select(.vhost | startswith("quota")) | [.requests, .sent] | tostring'),
        qq("[3,${\ ($used + 0)}]"\n), 'the host has sent the same bytes');
    is(through(get('/status?json&view=config')->{body}, 'jq', '-r', '.limits[] | select(.name == "daily").action'),
        "redirect /gone?a=<b>&c 302\n", 'its action, as written');
};

subtest 'clients, uploads and accounts' => sub {
    my $json = get('/status?json')->{body};
    my $row = '[.account, .place, .dimension, .key, .burst, .active, .requests]';
    my $client = '.limits[] | select(.name == "bandwidth-client")';
    is(through($json, 'jq', '-c', "$client | $row"),
        qq(["acme","XLimitAccount acme","bandwidth","client",0,0,3]\n), 'a limit of clients, in an account');
    my $used = through($json, 'jq', '.limits[] | select(.name == "daily").used');
    is(through($json, 'jq', "$client | .bytes"), $used, 'which had the bytes of its host');
    is(through($json, 'jq', '-c', ".limits[] | select(.name == \"upload-all\") | $row"),
        qq([null,null,"upload","all",1000000,0,0]\n), 'an upload that nobody has used');
    is(through($json, 'jq', '-c', '[.vhosts[] | .account]'), qq([null,"acme",null]\n), 'the account of each host');
    is(through($json, 'jq', '-c', '.server | [.keys_used, .keys_capacity >= 1024, .keys_evicted]'), "[1,true,0]\n",
        'one client is known');
    my $config = get('/status?json&view=config')->{body};
    is(through($config, 'jq', '-c', '[.limits[] | select(.class).class]'), qq(["!office"]\n),
        'whose requests a limit is for');
    is(through($config, 'jq', '-r', '.settings[] | select(.name == "XLimitClass office").value'), "2 networks\n",
        'and how many networks that class has');
    like(get('/status')->{body}, qr{<caption>Uploads</caption>}, 'uploads are a table of the page');
    is(through(get('/status?json&name=quota')->{body}, 'jq', '-c', '[.limits[] | .name]'), qq(["daily","hits"]\n),
        'name= of a host keeps what is its alone');
};

subtest 'a limit from .htaccess' => sub {
    $s->content('ht/.htaccess', "XLimitQuota all 5MB day name=found\n");
    $s->content('ht/page.txt', "text\n");
    my $one = '.limits[] | select(.name == "found") | [.origin, .dimension, .vhost != null, .amount, .used > 0]';
    is(through(get('/status?json')->{body}, 'jq', '-c', $one), '', 'is not known before a request met it');
    is(get('/ht/page.txt')->{status}, 200, 'a request meets it');
    is(through(get('/status?json')->{body}, 'jq', '-c', $one), qq(["htaccess","quota",true,null,true]\n),
        'then its counter is there, without an amount');
    is_fine(get('/status?xml')->{body}, 'and the schema allows it', 'xmllint', '--noout', '--schema', $schema, '-');
};

subtest 'parameters' => sub {
    is(through(get('/status?json&name=PACE')->{body}, 'jq', '-c', '[(.vhosts, .limits) | length]'), "[1,2]\n", 'name=');
    is(through(get('/status?json&sort=sent&top=1')->{body}, 'jq', '-r', '.vhosts[].vhost'),
        'quota.example:' . $s->port(1) . "\n", 'sort= and top=');
    like(get('/status?refresh=7')->{body}, qr/<meta http-equiv="refresh" content="7">/, 'refresh=');
    unlike(get('/status')->{body}, qr/http-equiv/, 'no refresh unless asked');
    like(get('/status?units=iec')->{body}, qr/9\.5\d? MiB/, 'units=iec');
    my @accepts = (
        ['application/json', 'application/json'], ['text/xml', 'application/xml; charset=utf-8'],
        ['text/plain', 'text/plain; charset=utf-8'], ['*/*', 'text/html; charset=utf-8']);
    is(get('/status', headers => { Accept => $_->[0] })->{headers}{'content-type'}, $_->[1], "Accept: $_->[0]")
        for @accepts;
    for my $bad ('view=x', 'colour=red', 'top=none', 'sort=colour', 'format=pdf', 'name=%', 'units=%3Cscript%3E') {
        my $r = get("/status?$bad");
        is($r->{status}, 400, "?$bad: 400");
        is($r->{headers}{'content-type'}, 'text/plain; charset=utf-8', 'in plain text');
        like($r->{body}, qr/\A[^\n]{20,}\n\z/, 'that says something in one line');
    }
    like(get('/status?colour=red')->{body}, qr/\Acolour=red: no such parameter; there are view, /, 'and names it');
};

subtest 'headers and methods' => sub {
    my $r = get('/status');
    my %expected = ('cache-control' => 'no-store', 'x-content-type-options' => 'nosniff',
        'referrer-policy' => 'no-referrer', vary => 'Accept');
    is($r->{headers}{$_}, $expected{$_}, $_) for sort keys %expected;
    my ($style) = $r->{body} =~ m{<style>(.*?)</style>}s;
    my $hash = sha256_base64($style) . '=';
    is($r->{headers}{'content-security-policy'}, "default-src 'none'; style-src 'sha256-$hash'; form-action 'self'; "
            . "base-uri 'none'; frame-ancestors 'none'", 'the policy has the hash of the style sheet');
    is(() = $r->{body} =~ /<style/g, 1, 'of which there is one');
    my $head = get('/status', method => 'HEAD');
    is("$head->{status} $head->{body_length}", '200 0', 'HEAD');
    for my $method (qw(POST PUT DELETE OPTIONS)) {
        my $other = get('/status', method => $method);
        is($other->{status}, 405, "$method: 405");
        like($other->{headers}{allow}, qr/\bGET\b/, 'with Allow');
    }
};

subtest 'who may see it' => sub {
    my %far  = (headers => { 'X-Client' => '192.0.2.9' });
    my %near = (headers => { 'X-Client' => '192.0.2.7' });
    is(get('/status')->{status}, 200, 'this machine');
    is(get('/status', %far)->{status}, 403, 'not another one, though the document root is granted to all');
    like($s->error_log, qr/xlimit\(601\): 192\.0\.2\.9 is not local/, 'and the log says why');
    is(get('/status', headers => { 'X-Client' => '::1' })->{status}, 200, '::1');
    is(get('/status', headers => { 'X-Client' => '127.9.9.9' })->{status}, 200, '127/8');
    is(get('/open', %far)->{status}, 200, 'another one where a Require lets it');
    is(get('/members', %near)->{status}, 200, 'the one that a Require names');
    is(get('/members', %far)->{status}, 403, 'and no other');
    is(get('/members')->{status}, 403, 'this machine neither: the Require decides alone');
    is(get('/opening', %far)->{status}, 404, 'a longer name is no part of the location');
};

$s->stop;
done_testing;
