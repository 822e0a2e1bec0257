# SPDX-License-Identifier: Apache-2.0
#
# Who is locked out stays so, and what is used of a quota of clients or of a zone
# stays used, over the end of the server, kill -9 of all of it and another boot;
# what a spoilt copy does to a start; and what becomes of keys whose limit goes.
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use IO::Socket::INET;
use JSON::PP qw(decode_json);
use Test::More;
use XL::Client qw(fetch);
use XL::Copy qw(heads keys_of seal set slots);
use XL::Ledger qw(patch);
use XL::Server;
use XL::Status qw(status_conf);
use XL::System qw(slurp spew);

use constant { LOCKED => 2, USED => 3, HOUR => 3600 };

# A proxy names the client; nothing but 404 at /login.
my %LIMIT = (
    login => "<Location /login>\nXLimitPenalty client 3/1h for=1h count=status:404 name=login\n</Location>\n",
    door  => "<Location /door>\nXLimitPenalty who 1/1h for=1h name=door\n</Location>\n",
    mine  => "<Location /mine>\nXLimitQuota client 3r 1h name=mine\n</Location>\n",
    bytes => "<Location /bytes>\nXLimitQuota client 15kB 1h name=bytes\n</Location>\n",
    key   => "<Location /key>\nXLimitQuota who 3r year name=key\n</Location>\n",
);
my $BASE = "ServerName fixed.example:80\nRemoteIPHeader X-Client\nRemoteIPInternalProxy 127.0.0.1\nXLimitFlush 100ms\n"
    . "AliasMatch ^/(?:mine|bytes|key|door)/ \@DOCROOT\@/page.bin\n" . status_conf();
my $ZONE = "XLimitZone who key=\"%{req_novary:X-Api-Key}\" entries=1000\n";

sub conf_of { my (@names) = @_; return join '', $BASE, (grep { /key|door/ } @names) ? $ZONE : (), @LIMIT{@names} }

my @ALL = sort keys %LIMIT;
my ($s, $state, $copy); # the server that is looked at, and its files

sub look_at {
    ($s) = @_;
    $state = $s->path('state/xlimit.state');
    $copy  = "$state.keys";
    return $s;
}

sub server {
    my (%option) = @_;
    my $new = XL::Server->new(ports => 2, children => 2, modules => ['remoteip'], conf => conf_of(@ALL), %option);
    $new->file('page.bin', 10_000);
    return look_at($new);
}

# ---- a client and his key, by their number ----------------------------------

sub ip { return "192.0.2.$_[0]" }

sub statuses {
    my ($i, $path, $n) = @_;
    my %headers = ('X-Client' => ip($i), 'X-Api-Key' => "k$i");
    return join ' ', map { fetch($s->port, $path, headers => \%headers)->{status} } 1 .. $n;
}

sub row {
    my ($limit, $key) = @_;
    my $page = fetch($s->port(1), "/xlimit-status?format=json&view=clients&name=$key", keep => 1);
    my @rows = grep { $_->{limit} eq $limit && $_->{key} eq $key } @{ decode_json($page->{body})->{clients} };
    return $rows[0] // {};
}

# Locked out of two places, two of three requests and more than the bytes are used.
sub prepare {
    my ($i) = @_;
    is(statuses($i, '/login/x', 5), '404 404 404 404 429', "client $i guesses, and is locked out");
    is(statuses($i, '/door/x', 2), '200 429', '... and his key');
    is(statuses($i, '/mine/x', 2) . ' ' . statuses($i, '/key/x', 2), '200 200 200 200', '... has used of his quotas');
    is(statuses($i, '/bytes/x', 3), '200 200 429', '... and all of his bytes');
    return;
}

# All of it: two responses are more than all of his bytes.
sub is_copied {
    my ($i) = @_;
    my (%is, $bytes);
    for my $key (keys_of($copy)) {
        my ($kind, $text) = @$key{qw(kind text)};
        $is{$_} = 1 for "$kind $text", map { "$text $_" } @$key{qw(used0 used1)};
        $bytes ||= $text eq ip($i) && grep { $kind == USED && $_ > 20_000 } @$key{qw(used0 used1)};
    }
    my @wanted = (LOCKED . ' ' . ip($i), LOCKED . " k$i", ip($i) . ' 2', "k$i 2");
    return $bytes && @wanted == grep { $is{$_} } @wanted;
}

sub is_kept {
    my ($i, $title, $least, $most) = @_;
    my @locked = map { $_->{locked} // 0 } row(login => ip($i)), row(door => "k$i");
    is(statuses($i, '/login/x', 1) . ' ' . statuses($i, '/door/x', 1), '429 429', "$title: client $i is locked out");
    my @right = grep { $_ >= ($least // HOUR - 300) && $_ <= ($most // HOUR) } @locked;
    is(scalar @right, 2, '... for the rest of his time')
        or diag("@locked");
    is(join(' ', map { $_->{used} // '-' } row(mine => ip($i)), row(key => "k$i")), '2 2', '... two requests are used');
    is(statuses($i, '/bytes/x', 1), '429', '... and his bytes');
    is(statuses($i, '/mine/x', 2) . ' ' . statuses($i, '/key/x', 2), '200 429 200 429', '... and one is left');
    return;
}

sub said { my ($from) = @_; return join ' ', substr($s->error_log, $from) =~ /xlimit\((2\d\d)\)/g }
sub log_end { return length $s->error_log }

# ---- ends and starts --------------------------------------------------------

my $event = server(factor => 20)->start;
subtest 'stop and start' => sub {
    prepare(1);
    $s->stop;
    is(sprintf('%04o', (stat $copy)[2] & oct 7777), '0600', 'the copy is for nobody else');
    cmp_ok((stat $copy)[12] * 512, '>=', -s $copy, '... and all of it is on the disk');
    my $from = log_end();
    $s->start;
    is(said($from), '', 'a start says nothing');
    is(statuses(99, '/login/x', 1), '404', 'others are not locked out');
    is_kept(1, 'after a stop');
};

subtest 'restarts' => sub {
    prepare(2);
    ok($s->graceful, 'graceful');
    ok($s->restart, 'restart');
    is_kept(2, 'after both');
    prepare(3);
    ok($s->graceful, 'graceful');
    $s->stop;
    $s->start;
    is_kept(3, 'after one, and a stop');
};

# The one that copies is a child that a graceful restart leaves behind, with its downloads.
subtest 'a graceful restart and long downloads' => sub {
    my $slow = conf_of(@ALL) . "ServerLimit 8\n<Location /slow.bin>\nXLimitBandwidth session 1kB/s\n</Location>\n";
    server(factor => 20, children => 1, conf => $slow)->start; # who serves is who copies
    $s->file('slow.bin', 1_000_000);
    statuses(1, '/login/x', 5);
    ok($s->wait_for(sub { keys_of($copy) > 0 }, 5), 'a copy is made');
    my @old = $s->children;
    my @downloads = map { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $s->port) } 1 .. 12;
    for my $download (@downloads) {
        print {$download} "GET /slow.bin HTTP/1.1\r\nHost: x\r\n\r\n";
        $download->flush;
    }
    sysread $_, my $some, 1 for @downloads;
    my $writer = (slots($copy))[0]{writer};
    ok((grep { $_ == $writer } @old), '... by a child');
    ok($s->graceful, 'graceful');
    ok($s->wait_for(sub { $s->children > @old }, 5), 'there are others');
    prepare(2);
    ok(kill(0, $writer), 'the child is still there');
    ok($s->wait_for(sub { is_copied(2) }, 5), '... but another one makes a copy');
    close $_ for @downloads;
    $s->kill9_all;
    $s->start;
    is_kept(2, 'after kill -9 of all');
    $s->stop;
    look_at($event);
};

subtest 'kill -9' => sub {
    prepare(4);
    ok($s->wait_for(sub { is_copied(4) }, 5), 'a copy is made while it runs');
    my ($keys, $counters) = map { (slots($_))[0]{sequence} } $copy, "$state.snapshot";
    my $many = sub { statuses(4, '/login/x', 2); (slots("$state.snapshot"))[0]{sequence} > $counters + 3 };
    ok($s->wait_for($many, 10), 'who is locked out tries again and again');
    is((slots($copy))[0]{sequence}, $keys, '... which is no reason for another copy');
    $s->kill9_all;
    $s->start;
    is_kept(4, 'after kill -9 of all');
};

subtest 'children without a parent' => sub {
    prepare(5);
    ok($s->wait_for(sub { is_copied(5) }, 5), 'a copy is made');
    $s->kill9_parent;
    my ($keys, $counters) = map { (slots($_))[0]{sequence} } $copy, "$state.snapshot";
    my $serve = sub { statuses(6, '/bytes/x', 1); (slots("$state.snapshot"))[0]{sequence} > $counters + 3 };
    ok($s->wait_for($serve, 10), 'they serve, and copy their counters');
    is((slots($copy))[0]{sequence}, $keys, '... but no keys, which another server may do already');
    $s->kill9_all;
    $s->start;
    is_kept(5, 'after that');
};

subtest 'other MPMs' => sub {
    for my $mpm (qw(worker prefork)) {
        server(mpm => $mpm, $mpm eq 'prefork' ? (threads => 3) : ())->start;
        prepare(1);
        prepare(2);
        ok($s->wait_for(sub { is_copied(2) }, 5), "$mpm: a copy is made");
        $s->kill9_all;
        $s->start;
        is_kept(1, "$mpm, after kill -9 of all");
        $s->stop;
        $s->start;
        is_kept(2, "$mpm, after a stop");
        $s->stop;
    }
    look_at($event);
};

# ---- another boot -----------------------------------------------------------

# As the next boot finds it: so many seconds later, on a monotonic clock that began anew.
sub reboot {
    my ($seconds) = @_;
    my $uptime = 9 * 24 * 3_600_000; # that the boot before was older
    patch($state, 64, '00000000-0000-0000-0000-000000000000');
    patch($copy, $_->{at} + 40, pack 'Q', $_->{word} + $uptime) for grep { $_->{kind} == LOCKED } keys_of($copy);
    my ($newest) = slots($copy);
    set($copy, $newest, @$_) for [boot => '00000000-0000-0000-0000-000000000000'],
        [wall => $newest->{wall} - 1000 * $seconds], [mono => $newest->{mono} + $uptime];
    return seal($copy, $newest);
}

subtest 'another boot' => sub {
    my @cases = (['at once', 0], ['half an hour later', 1800, 1500, 1800], ['the clock is a day behind', -86_400]);
    my $i = 10;
    for my $case (@cases) {
        my ($what, $seconds, @left) = @$case;
        prepare(++$i);
        $s->stop;
        reboot($seconds);
        $s->start;
        is_kept($i, "another boot, $what", @left);
    }
    prepare(++$i);
    $s->stop;
    reboot(3600);
    $s->start;
    is(statuses($i, '/login/x', 1) . ' ' . statuses($i, '/door/x', 1), '404 200', 'an hour later his time is over');
};

# ---- spoilt copies ----------------------------------------------------------

sub fill  { my ($text) = @_; return sub { spew($copy, substr $text x 100_000, 0, -s $copy) } }
sub heads_say { my ($field, $value) = @_; return sub { set($copy, $_, $field, $value) for heads($copy) } }
sub gone  { return unlink $copy }

sub spoil_bodies { patch($copy, $_->{body_at} + 90, 'spoilt') for heads($copy); return }

# A record that is none, with right checksums.
sub spoil_record {
    for my $head (heads($copy)) {
        patch($copy, $head->{body_at} + 88 + 64, pack 'L', 77);
        seal($copy, $head);
    }
    return;
}

# 252: it is called something else now; 251: it is left alone.
my @spoilt = (
    ['both bodies spoilt', \&spoil_bodies, '252', qr/checksum does not match/],
    ['both heads spoilt', sub { patch($copy, $_, 'spoilt') for 40, 4136 }, '252', qr/checksum of its head/],
    ['records of no kind', \&spoil_record, '252', qr/a record of no kind/],
    ['text', fill("no copy\n"), '252', qr/not a copy of keys/],
    ['cut behind its heads', sub { truncate $copy, 8192 or die }, '252', qr/shorter than its head says/],
    ['a copy of counters', sub { spew($copy, slurp("$state.snapshot")) }, '252', qr/not a copy of keys/],
    ['absurdly long', heads_say(length => 2**40), '252', qr/absurd length/],
    ['of a newer version', heads_say(version => 99), '251', qr/newer version/],
    ['a folder', sub { gone(); mkdir $copy }, '251', qr/no regular file|cannot be opened/],
    ['a symbolic link', sub { gone(); symlink "$state.snapshot", $copy }, '251', qr/symbolic link/],
    ['missing', \&gone, ''],
    ['empty', sub { truncate $copy, 0 or die }, ''],
    ['zeros', fill("\0"), ''],
);

# What is there under any name, in one text.
sub contents { return join '', map { -f $_ && !-l $_ ? slurp($_) : () } glob "$copy*" }

sub clear {
    for my $path (glob "$copy*") {
        -d $path && !-l $path ? rmdir $path : unlink $path;
    }
    return;
}

subtest 'a spoilt copy' => sub {
    my $is_copied = sub { my ($i) = @_; scalar grep { $_->{kind} == LOCKED && $_->{text} eq ip($i) } keys_of($copy) };
    for my $i (20, 21) {
        statuses($i, '/login/x', 5);
        ok($s->wait_for(sub { $is_copied->($i) }, 5), "client $i is locked out, and copied");
    }
    $s->stop;
    my $good = slurp($copy);
    for my $case (@spoilt) {
        my ($what, $spoil, $id, $why) = @$case;
        clear();
        spew($copy, $good);
        chmod 0600, $copy;
        $spoil->();
        my $before = contents();
        my $from = log_end();
        $s->conf(conf_of(@ALL) . "XLimitStateError fail\n")->start;
        is(said($from), $id, "$what: the start goes on, and says so in one line");
        like(substr($s->error_log, $from), $why, '... and why') if $why;
        is(statuses(20, '/login/x', 1), '404', '... nobody is locked out');
        if ($id eq '252') {
            ok(index(contents(), substr $before, 0, 100_000) >= 0, '... what was there is kept');
            ok($s->wait_for(sub { heads($copy) > 0 }, 5), '... and another copy is begun');
        }
        $s->stop;
        is(contents(), $before, '... and it is left alone') if $id eq '251';
    }
    clear();
    spew($copy, $good);
    chmod 0600, $copy;
    my ($newest) = slots($copy);
    patch($copy, $newest->{body_at} + 90, 'spoilt');
    $s->conf(conf_of(@ALL))->start;
    is(statuses(20, '/login/x', 1) . ' ' . statuses(21, '/login/x', 1), '429 404', 'one body spoilt: the other serves');
    $s->stop;
    clear();
};

# ---- other configurations ---------------------------------------------------

subtest 'a limit goes and comes back' => sub {
    $s->conf(conf_of(@ALL))->start;
    prepare(30);
    $s->stop;
    $s->conf(conf_of(grep { $_ ne 'login' } @ALL))->start;
    is(statuses(30, '/login/x', 1), '404', 'without the limit nobody is locked out');
    is(statuses(30, '/door/x', 1), '429', '... but by the others');
    $s->stop;
    $s->conf(conf_of(@ALL))->start;
    is(statuses(30, '/login/x', 5), '404 404 404 404 429', 'with it he begins anew');
    is(join(' ', map { $_->{used} // '-' } row(mine => ip(30)), row(key => 'k30')), '2 2', '... in that limit alone');
    $s->stop;
    $s->conf(conf_of('login', 'mine'))->start;
    $s->stop;
    $s->conf(conf_of(@ALL))->start;
    is(statuses(30, '/login/x', 1) . ' ' . statuses(30, '/door/x', 1), '429 200', 'a zone goes: its keys do');
    $s->stop;
    my $before = slurp($copy);
    $s->conf($BASE . "XLimitRequests client 1000/s name=rate\n")->start;
    fetch($s->port, '/page.bin');
    $s->stop;
    is(slurp($copy), $before, 'without any such limit the copy is left alone');
    $s->conf(conf_of(@ALL))->start;
    is(statuses(30, '/login/x', 1), '429', '... and serves when there is one again');
    $s->stop;
};

subtest 'the first such limit comes with a graceful restart' => sub {
    clear();
    $s->conf($BASE . "XLimitRequests client 1000/s name=rate\n")->start;
    fetch($s->port, '/page.bin');
    ok(!-e $copy, 'no penalty and no quota of keys: no copy');
    $s->conf(conf_of(@ALL));
    ok($s->graceful, 'graceful');
    prepare(40);
    ok($s->wait_for(sub { is_copied(40) }, 5), '... then there is one');
    $s->kill9_all;
    $s->start;
    is_kept(40, 'after kill -9 of all');
    $s->stop;
};

# A file that is there already is used as it is: with 4096 bytes for a body one has room for 45 keys.
subtest 'more keys than there is room for' => sub {
    clear();
    spew($copy, "\0" x (4 * 4096));
    chmod 0600, $copy;
    my $from = log_end();
    $s->conf(conf_of(@ALL))->start;
    statuses($_, '/key/x', 1) for 101 .. 140;
    ok($s->wait_for(sub { (keys_of($copy) // 0) == 40 }, 5), '40 keys have used of their quota');
    is(said($from), '', '... for which there is room');
    statuses($_, '/door/x', 2) for 101 .. 130;
    my $locked = sub { scalar grep { $_->{kind} == LOCKED } keys_of($copy) };
    ok($s->wait_for(sub { $locked->() == 30 }, 5), '30 are locked out besides: all of these are copied');
    is(scalar(my @all = keys_of($copy)), 45, '... and 15 of the others');
    ok($s->wait_for(sub { said($from) }, 5), '... it says so');
    $s->kill9_all;
    my @lines = grep { /xlimit\(255\)/ } split /\n/, substr $s->error_log, $from;
    is(scalar @lines, 1, '... once');
    like($lines[0], qr/:warn\].* has room for 45; \d+ more, usages of quotas before lock-outs/, '... what stays out');
    $s->start;
    is(join(' ', map { statuses($_, '/door/x', 1) } 101 .. 130), join(' ', (429) x 30), 'all are locked out after it');
    $s->stop;
};

subtest 'who keeps nothing' => sub {
    clear();
    my ($status) = $s->configtest(conf_of(@ALL));
    is($status, 0, '-t');
    ok(!-e $copy, '... makes nothing');
    spew($copy, "no copy\n");
    $s->configtest(conf_of(@ALL));
    is(join(' ', glob "$copy*"), $copy, '... and moves nothing');
    clear();
    $s->conf(conf_of(@ALL) . "XLimitStateFile none\n")->start;
    is(statuses(50, '/login/x', 5), '404 404 404 404 429', 'XLimitStateFile none');
    $s->stop;
    ok(!glob("$copy*"), '... no file');
    $s->start;
    is(statuses(50, '/login/x', 1), '404', '... and nobody is locked out after it');
    $s->stop;
};

done_testing();
