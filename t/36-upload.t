# SPDX-License-Identifier: Apache-2.0
#
# XLimitUpload: bodies come no faster than their limits, alone and together,
# whoever reads them and however they are framed; nobody else notices; and what
# nobody wants is not read.
#
# A URL is /LIMIT/READER/: LIMIT is a section with its limits, READER who takes the
# body: cgi, proxied, action (an internal redirect to the CGI), index (a
# DirectoryIndex that is one), dav (PUT), file (nobody).
#
# Timed.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use Digest::MD5 qw(md5_hex);
use List::Util qw(max min sum);
use Socket qw(:all);
use Test::More;
use XL::Client qw(now fetch curl jain);
use XL::Response;
use XL::Server;
use XL::Status qw(status_conf limit vhost);
use XL::System qw(spew);

use constant RATE => 400_000;

# What a script was sent, and what it was told about it.
my $count = <<'CGI';
#!/bin/sh
printf 'Content-Type: text/plain\r\n\r\n%s %s' "$(md5sum | cut -c 1-32)" "$CONTENT_LENGTH"
CGI

my $backend = XL::Server->new(xlimit => 0, cgi => 1);
$backend->cgi('count', $count);
$backend->start;

my $conf = status_conf() . <<'CONF';
Timeout 2
RemoteIPHeader X-Client
RemoteIPInternalProxy 127.0.0.1
ScriptAliasMatch ^/[^/]+/cgi/ @ROOT@/cgi/count
Action counted /session/cgi/ virtual
DavLockDB @ROOT@/dav/lock
<LocationMatch ^/[^/]+/action/>
    SetHandler counted
</LocationMatch>
<LocationMatch ^/[^/]+/index/>
    DirectoryIndex /session/cgi/
</LocationMatch>
<LocationMatch ^/[^/]+/dav/>
    Dav On
</LocationMatch>
<LocationMatch ^/[^/]+/secret/>
    AuthType Basic
    AuthName secret
    AuthUserFile @ROOT@/conf/users
    Require valid-user
</LocationMatch>
<LocationMatch ^/[^/]+/denied/>
    Require all denied
</LocationMatch>
<LocationMatch ^/[^/]+/narrow/>
    LimitRequestBody 100000
    SetHandler cgi-script
    Options ExecCGI
</LocationMatch>
<LocationMatch ^/[^/]+/quota/>
    XLimitQuota all 1r 1h name=none
</LocationMatch>
<LocationMatch ^/[^/]+/moved/>
    XLimitQuota all 1r 1h name=moved "exceeded=redirect /elsewhere"
</LocationMatch>
AliasMatch ^/[^/]+/narrow/ @ROOT@/cgi/count
<Location /session/>
    XLimitUpload session 400kB/s name=session
</Location>
<Location /client/>
    XLimitUpload client 400kB/s name=client
</Location>
<Location /all/>
    XLimitUpload all 400kB/s name=all
</Location>
<Location /both/>
    XLimitUpload all 800kB/s name=both-all
    XLimitUpload session 400kB/s name=both-session
</Location>
<Location /pair/>
    XLimitUpload all 400kB/s name=pair
</Location>
<Location /after/>
    XLimitUpload session 400kB/s after=200kB name=after
</Location>
CONF
$conf .= 'ProxyPassMatch ^/[^/]+/proxied/ ' . $backend->url('/cgi/count') . "\n";

my @modules = qw(actions auth_basic authn_core authn_file authz_user dav dav_fs proxy proxy_http remoteip);

sub served {
    my (%option) = @_;
    my $s = XL::Server->new(ports => 2, cgi => 1, modules => \@modules, conf => $conf, %option);
    $s->cgi('count', $count);
    $s->content("$_/x", 'x') for map { my $limit = $_; map { "$limit/$_" } qw(index dav file) } qw(session free pair);
    mkdir $s->path('dav');
    chmod 0777, $s->path('dav'), map { $s->path("htdocs/$_/dav") } qw(session pair);
    spew($s->path('conf/users'), "user:{SHA}nU4eI71bcnBGqeO0t9tXvY1u5oQ=\n"); # of "pass"
    return $s->start;
}
my %server = (event => served(tls => 1, h2 => 1, children => 2, threads => 16));

# Bytes of which each tells where it stands.
my (%body, %md5);
sub body {
    my ($size) = @_;
    return $body{$size} //= substr join('', map { sprintf "%015d\n", $_ } 0 .. $size / 16), 0, $size;
}
sub digest { $md5{ $_[0] } //= md5_hex(body($_[0])) }

# ---- many uploads at once ---------------------------------------------------

# Each: path, size; and
#     server method   which (event), POST      headers    {name => value}
#     chunked         in chunks of that size   at         begins so many seconds after the call
#     endless         its chunks never end     deaf       sends on after the answer
#     stop            sends so many bytes and then nothing
#     abort           closes (reset => 1: by a reset) after so many bytes
# What comes back is what went in, with took, from its request to its answer's
# end, sent, the bytes of body that the system took, left, the seconds until the
# connection was closed by the server, and r, the response.
sub upload_many {
    my (@list) = @_;
    $_->{framed} = framed($_) for @list;
    my $begin = now();
    local $SIG{PIPE} = 'IGNORE';
    $_->{begin} = $begin + ($_->{at} // 0) for @list;
    while (my @open = grep { !$_->{done} } @list) {
        my ($read, $write, $next) = ('', '', now() + 0.05);
        for my $up (@open) {
            begin($up) if !$up->{socket} && $up->{begin} <= now();
            next if !$up->{socket};
            my $fd = fileno $up->{socket};
            vec($read, $fd, 1) = 1 if !$up->{ended};
            vec($write, $fd, 1) = 1 if length $up->{pending} && !$up->{answered};
        }
        select $read, $write, undef, 0.05;
        for my $up (grep { $_->{socket} } @open) {
            my $fd = fileno $up->{socket};
            receive($up) if vec $read, $fd, 1;
            send_some($up) if !$up->{done} && vec $write, $fd, 1;
            finish($up, 'late') if !$up->{done} && now() > $up->{begin} + 20;
        }
    }
    return @list;
}

sub begin {
    my ($up) = @_;
    my $server = $server{ $up->{server} // 'event' };
    my %headers = %{ $up->{headers} // {} };
    $headers{$_->[0]} = $_->[1]
        for $up->{chunked} ? ['Transfer-Encoding', 'chunked'] : ['Content-Length', $up->{size}];
    my $method = $up->{method} // 'POST';

    $up->{started} = now();
    $up->{socket}  = XL::Client::open_socket({ port => $server->port });
    setsockopt $up->{socket}, SOL_SOCKET, SO_SNDBUF, 65_536;
    $up->{socket}->blocking(0);
    $up->{head}    = XL::Client::request_text($method, $up->{path}, headers => \%headers);
    $up->{pending} = $up->{head} . $up->{framed};
    $up->{sent}    = -length $up->{head};
    $up->{r}       = XL::Response->new($method, 1, $up->{started});
    return;
}

sub framed {
    my ($up) = @_;
    my $body = body($up->{size});
    return $body if !$up->{chunked};
    my $text = join '', map { sprintf("%x\r\n", length) . "$_\r\n" } unpack "(a$up->{chunked})*", $body;
    return $up->{endless} ? $text : "${text}0\r\n\r\n";
}

sub send_some {
    my ($up) = @_;
    my $stop = $up->{stop} // $up->{abort};
    my $piece = substr $up->{pending}, 0, 65_536;
    $piece = substr $piece, 0, $stop - $up->{sent} if defined $stop && length $piece > $stop - $up->{sent};
    my $n = syswrite $up->{socket}, $piece;
    return $!{EAGAIN} ? () : finish($up, "$!") if !defined $n;
    $up->{sent} += $n;
    substr $up->{pending}, 0, $n, '';
    $up->{pending} = $up->{framed} if $up->{endless} && !length $up->{pending};
    $up->{pending} = '' if defined $stop && $up->{sent} >= $stop;
    finish($up, 'aborted') if defined $up->{abort} && $up->{sent} >= $up->{abort};
    return;
}

sub receive {
    my ($up) = @_;
    my $n = sysread $up->{socket}, my $data, 65_536;
    return $!{EAGAIN} ? () : finish($up, "$!") if !defined $n;
    $n ? $up->{r}->feed($data, now()) : $up->{r}->end_of_stream(now());
    $up->{ended} = !$n;
    return finish($up, 'closed') if !$n && !$up->{r}{complete};
    return if !$up->{r}{complete};
    $up->{took} //= now() - $up->{started};
    $up->{answered} = !$up->{deaf};
    finish($up, '') if !$up->{deaf} && (!$n || !$up->{r}{close});
    return;
}

sub finish {
    my ($up, $error) = @_;
    setsockopt $up->{socket}, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0 if $up->{reset};
    close delete $up->{socket};
    $up->{left}  = now() - $up->{started};
    $up->{error} = $error;
    $up->{done}  = 1;
    delete @{$up}{qw(pending framed)};
    return;
}

sub title { join ' ', $_[0]{method} // 'POST', $_[0]{path}, $_[0]{chunked} ? "chunks of $_[0]{chunked}" : () }

# Each was read whole and unchanged, in that many seconds, within a tenth, and its
# connection kept.
sub took_ok {
    my ($seconds, @list) = @_;
    for my $up (@list) {
        my $r = $up->{r};
        my $whole = $up->{path} =~ /dav/ ? $r->{status} =~ /^20[14]$/
            : $r->{status} == 200 && $r->{body} =~ /^(\S+) (.*)/ && $1 eq digest($up->{size});
        my $took = $up->{took} // 9e9;
        ok($whole && !$r->{close} && $took > 0.9 * $seconds && $took < 1.1 * $seconds,
            sprintf '%s: %d bytes in %.3f s of %.3f', title($up), $up->{size}, $took, $seconds)
            or diag("status $r->{status}, $up->{error}\n$r->{head}$r->{body}");
    }
    return;
}

# Nobody is counted as active any more, 2 s after the last one went at most.
sub nobody_active_ok {
    my ($name, $server) = @_;
    my $rows = sub {
        map { "$_->{name} $_->{active}" } grep { $_->{active} } @{ XL::Status::status($server)->{limits} };
    };
    my $empty = $server->wait_for(sub { !$rows->() && !vhost($server)->{active} }, 2);
    ok($empty, "$name: nobody is active") or diag($rows->());
    return;
}

# ---- the tests --------------------------------------------------------------

subtest 'each at its rate' => sub {
    my @all = map { { path => "/session/$_/", size => 400_000 } } qw(cgi proxied action index);
    push @all, map { { path => "/session/$_/", size => 400_000, chunked => 50_000 } } qw(cgi proxied);
    push @all, { path => '/session/cgi/', size => 400_000, chunked => 1000 };
    push @all, { path => '/session/dav/new', size => 400_000, method => 'PUT' };
    push @all, { path => '/session/cgi/', size => 400_000, headers => { Expect => '100-continue' } };
    took_ok(1.0, upload_many(@all));
    is(join(',', map { @{ $_->{r}{interim} } } @all), '100', 'a client that waits for it is told to go on');
    like($all[1]{r}{body}, qr/ 400000$/, 'mod_proxy tells its backend the length that it was told');
    is(-s $server{event}->path('htdocs/session/dav/new'), 400_000, 'PUT: all of it is in the file');
    nobody_active_ok('afterwards', $server{event});
};

subtest 'together' => sub {
    my %group = (
        session => [(map { { path => '/session/cgi/', size => 600_000 } } 1, 2),
                { path => '/session/dav/chunked', size => 600_000, method => 'PUT', chunked => 9999 }],
        client  => [map { { path => '/client/cgi/', size => 200_000, headers => { 'X-Client' => "192.0.2.$_" } } }
                1, 1, 1, 2, 2, 2],
        all     => [map { { path => '/all/' . ($_ % 2 ? 'cgi/' : 'proxied/'), size => 75_000,
                    headers => { 'X-Client' => "192.0.2.$_" } } } 1 .. 8],
        # the one asks for 8 kB at a time, the other for 2 kB
        pair    => [{ path => '/pair/proxied/', size => 300_000 },
                { path => '/pair/dav/x', size => 300_000, method => 'PUT' }],
        # no program has to start before it is read
        both    => [map { { path => '/both/proxied/', size => $_ } } 600_000, 300_000, 300_000],
    );
    upload_many(map { @$_ } values %group);
    took_ok(1.5, map { @{ $group{$_} } } qw(session pair));
    for my $name (qw(client all)) {
        my @each = map { $_->{took} // 9e9 } @{ $group{$name} };
        my $fair = jain(map { 1 / $_ } @each);
        ok(min(@each) > 1.2 && max(@each) > 1.35 && max(@each) < 1.65 && $fair > 0.99,
            sprintf '%s: 600,000 bytes of each %s in %.3f s, the first after %.3f', $name,
            $name eq 'all' ? 'eight' : 'client', max(@each), min(@each))
            or diag(map { "$_->{path} $_->{error} $_->{sent} $_->{r}{status}\n" } @{ $group{$name} });
    }
    # Three share 800 kB/s until the small ones are there, after 300 / 267 s; then one has 400 kB/s.
    took_ok(1.875, $group{both}[0]);
    took_ok(1.125, @{ $group{both} }[1, 2]);
    nobody_active_ok('afterwards', $server{event});
};

subtest 'on one connection' => sub {
    my $client = XL::Client->new(port => $server{event}->port);
    my $started = now();
    for my $n (1 .. 3) {
        my $r = $client->request(POST => '/session/cgi/', body => body(160_000), keep => 1);
        is((split / /, $r->{body})[0], digest(160_000), "keep-alive: upload $n");
    }
    my $took = now() - $started;
    ok($took > 1.08 && $took < 1.32, sprintf '... three in %.3f s of 1.200: they share one pace', $took);

    $started = now();
    my $post = XL::Client::request_text(POST => '/session/cgi/', body => body(100_000));
    my $get = XL::Client::request_text(GET => '/free/file/x');
    $client->disconnect;
    $client->send_all("$post$get$post$get");
    my @r = map { $client->receive(XL::Response->new('POST', 1, $started)) } 1 .. 4;
    is(join('|', map { $_->{body} } @r), join('|', (digest(100_000) . ' 100000', 'x') x 2), 'pipelined: each its own');
    $took = now() - $started;
    ok($took > 0.45 && $took < 0.55, sprintf '... in %.3f s of 0.500', $took);

    $started = now();
    my $r = fetch($server{event}->port, '/after/cgi/', method => 'POST', body => body(600_000), keep => 1);
    $took = now() - $started;
    ok($r->{status} == 200 && $took > 0.9 && $took < 1.1,
        sprintf 'after=200kB: 600,000 bytes in %.3f s of 1.000', $took);
};

subtest 'HTTP/2' => sub {
    my $s = $server{event};
    spew($s->path('upload'), body(300_000));
    my @data = ('--data-binary', '@' . $s->path('upload'), '-w', ' %{http_code} %{http_version} %{time_total}\n');
    # the words of its line for each of these, and its exit status
    my $h2 = sub {
        my ($exit, $out) = curl(@data, @_);
        return ($exit, map { [split] } grep { /^\S+ .* [\d.]+$/ } split /\n/, $out);
    };
    my $good_ok = sub {
        my ($name, $seconds, $exit, @lines) = @_;
        my @took = map { $_->[-1] } @lines;
        my $whole = grep { $_->[0] eq digest(300_000) && "$_->[-3] $_->[-2]" eq '200 2' } @lines;
        ok(!$exit && @took && $whole == @lines && min(@took) > 0.9 * $seconds && max(@took) < 1.1 * $seconds,
            "$name: @took s of $seconds") or diag($exit, explain(\@lines));
    };
    $good_ok->('one stream', 0.75, $h2->($s->tls_url('/session/cgi/')));
    $good_ok->('without TLS', 0.75, $h2->('--http2-prior-knowledge', $s->url('/session/proxied/')));
    $good_ok->('without a length', 0.75, $h2->('-H', 'Content-Length:', $s->tls_url('/session/cgi/')));
    my ($exit, @two) = $h2->('-Z', '--no-progress-meter', map { $s->tls_url("/session/$_/") } qw(cgi proxied));
    is(scalar @two, 2, 'two streams');
    $good_ok->('... which share the session', 1.5, $exit, @two);

    # What curl makes of an answer before the body's end is its own affair.
    my $started = now();
    $h2->('-o', '/dev/null', $s->tls_url('/session/secret/'));
    cmp_ok(now() - $started, '<', 0.4, 'what is refused is not waited for');
    nobody_active_ok('afterwards', $s);
};

subtest 'nobody else notices' => sub {
    my ($small, $wide) = upload_many({ path => '/session/cgi/', size => 100 }, { path => '/free/cgi/', size => 5e6 });
    ok($_->{r}{body} =~ /^\S{32} / && $& eq digest($_->{size}) . ' ' && $_->{took} < 0.5,
        sprintf '%s: %d bytes in %.3f s', title($_), $_->{size}, $_->{took} // 9e9) for $small, $wide;
    my @chunks = upload_many({ path => '/session/cgi/', size => 100, chunked => 10 });
    ok($chunks[0]{r}{body} eq digest(100) . ' ' && $chunks[0]{took} < 0.5, 'ten chunks of ten bytes');
    my $r = fetch($server{event}->port, '/session/file/x', keep => 1);
    is($r->{body}, 'x', 'a request without a body');
};

subtest 'what nobody wants' => sub {
    my $s = $server{event};
    fetch($s->port, "/session/$_/x", keep => 1) for qw(quota moved); # used up
    my %status = (secret => 401, denied => 403, file => 404, narrow => 413, quota => 503, moved => 302);
    my @list = map { my $to = $_; map { { path => "/session/$to/none", size => 5_000_000, %$_ } }
            {}, { chunked => 100_000 }, { method => 'PUT' } } sort keys %status;
    push @list, { path => '/session/secret/', size => 5_000_000, headers => { Expect => '100-continue' } };
    my $deaf = { path => '/session/secret/', size => 500_000_000, chunked => 1_000_000, endless => 1, deaf => 1 };
    $deaf->{size} = 1_000_000;
    upload_many(@list, $deaf);
    for my $up (@list) {
        my ($to) = $up->{path} =~ m{^/session/(\w+)/};
        my $status = $to eq 'file' && ($up->{method} // '') eq 'PUT' ? 405 : $status{$to};
        my $r = $up->{r};
        ok($r->{status} == $status && $r->{complete} && $r->{close} && ($up->{took} // 9e9) < 0.5
                && $up->{sent} < 4_000_000,
            sprintf '%s: %d after %.3f s, closed, %d bytes sent', title($up), $r->{status}, $up->{took} // 9e9,
            $up->{sent}) or diag("$up->{error}\n$r->{head}");
    }
    is($list[-1]{sent} < 1_000_000 ? "@{ $list[-1]{r}{interim} }" : 'sent', '', 'nobody is told to go on for nothing');
    ok($deaf->{r}{status} == 401 && $deaf->{left} < 3.5,
        sprintf 'who sends on and on after the answer is cut off: after %.3f s', $deaf->{left});

    my $client = XL::Client->new(port => $s->port);
    my @r = map { $client->request(POST => "/session/$_/none", body => body(20_000)) }
        qw(secret denied quota file secret);
    is(join(' ', map { $_->{status} . ($_->{close} ? 'c' : '') } @r[0, 1, 3, 4]), '401 403 404 401',
        'a small body is read, and the connection kept');
    nobody_active_ok('afterwards', $s);
};

subtest 'who goes away, who stops, who never ends' => sub {
    my $s = $server{event};
    my %big = (path => '/all/cgi/', size => 2_000_000);
    my @gone = ({ %big, abort => 100_000 }, { %big, abort => 200_000, reset => 1 }, { %big, abort => 0 },
        { %big, path => '/client/proxied/', abort => 300_000, reset => 1 },
        { %big, path => '/session/cgi/', abort => 150_000, chunked => 10_000 });
    upload_many(@gone);
    nobody_active_ok('aborted', $s);

    my @list = ({ %big, stop => 30_000 }, { %big, stop => 50_000, chunked => 1000 },
        { %big, chunked => 50_000, endless => 1, abort => 1_200_000 });
    my $seen = 0;
    my $child = fork // die "fork: $!";
    if (!$child) {
        upload_many(@list);
        print {*STDERR} map { "# late: $_->{path} $_->{error}\n" } grep { $_->{error} eq 'late' } @list;
        POSIX::_exit(scalar grep { $_->{error} eq 'late' } @list);
    }
    $s->wait_for(sub { ($seen = max($seen, limit($s, 'all')->{active})) == 3 }, 2);
    is($seen, 3, 'three are active');
    my $started = now();
    is(fetch($s->port, '/free/file/x')->{status}, 200, 'a fresh request is served');
    cmp_ok(now() - $started, '<', 0.5, '... at once');
    waitpid $child, 0;
    is($? >> 8, 0, 'who stops is given up after Timeout, who never ends when he goes');
    nobody_active_ok('afterwards', $s);
};

subtest 'other MPMs' => sub {
    %server = (map { $_ => served(mpm => $_, threads => 8) } qw(worker prefork));
    my @all = map { my $mpm = $_; map { { server => $mpm, path => "/session/$_/", size => 300_000 } } qw(cgi proxied) }
        keys %server;
    took_ok(0.75, upload_many(@all));
    nobody_active_ok($_, $server{$_}) for sort keys %server;
};

done_testing;
