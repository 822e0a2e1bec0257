# SPDX-License-Identifier: Apache-2.0
#
# XL::Same: the same requests to servers that differ in our module alone, and the
# proof that their answers do not differ. Three servers or more: without the module, with
# every kind of limit that never bites (idle), and with rates that hold and chunk every
# response (paced). What is compared is all that came out of a connection: interim
# responses, heads, bodies, trailers and whether it was kept, and what the access logs
# say of it. Chunks alone may be cut elsewhere; dates and what httpd makes at random are
# blanked.
#
#     my $same = XL::Same->new(modules => [...], conf => '...', files => sub { my ($server) = @_; ... });
#     $same->check(['ranges', [
#         ['a range', 206, [GET => '/x', headers => { Range => 'bytes=0-9' }]],
#     ]]);
#     $same->finish;
#
# A case is its name, the statuses of the server without the module (interim ones, too),
# and steps on one connection, one after the other. After the last one a request for
# /end.txt follows, which asks for the connection to be closed.
#     [METHOD => target, option...]    a request as of XL::Client, and its response
#     { raw => text, methods => [...], wait => 0 }    text as it is, and the responses to
#                                      requests of these methods (one GET); or nothing
#     qr/.../                          until that came since the last step
#     sub { ... }                      until that is true of the server
#     0.2                              nothing for so many seconds
#     'port 1'                         in the beginning: to that port
#     'shut', 'close'                  the client will send no more; or goes
package XL::Same;

use strict;
use warnings;

use Carp qw(croak);
use Test::More;

use XL::Client qw(now);
use XL::Server;
use XL::Wire qw(blank same_wire statuses);

use constant { AT_ONCE => 48, TIMEOUT => 60, TICK => 0.001, AGE => 1_600_000_000 };

# The boundary of ranges has a length of its own in each server.
my $log = <<'CONF';
ServerName localhost
ServerLimit 2
LogFormat "%m %U%q %>s %B %X %k" same
LogFormat "%m %U%q %>s %X %k" ranges
CustomLog logs/same same   "expr=%{resp:Content-Type} !~ /byteranges/"
CustomLog logs/same ranges "expr=%{resp:Content-Type} =~ /byteranges/"
CONF

my %limits = (
    without => '',
    idle    => <<'CONF',
<XLimitClass nobody>
    XLimitNetwork 192.0.2.0/24 2001:db8::/32
</XLimitClass>
<XLimitClass somebody>
    XLimitNetwork 127/8
</XLimitClass>
XLimitZone agent key="%{HTTP_USER_AGENT}%{HTTP_HOST}%{REQUEST_URI}"
XLimitHeaders Off
XLimitQuota all 1TB month warn=80,95
XLimitQuota all 1000000r day slice=1h
XLimitQuota client 1TB day
XLimitQuota client 1000000r 1h
XLimitQuota agent 1TB week "exceeded=redirect https://www.example.org/"
XLimitRequests all 100000/s burst=100000 delay=100000
XLimitRequests client 100000/s burst=100000
XLimitRequests agent 100000/s burst=100000 exceeded=close
XLimitRequests client 1/h mode=dry-run name=dry
XLimitConnections all 10000
XLimitConnections client 10000 class=somebody
XLimitConnections agent 10000
XLimitConnections client 10000 at=accept name=accept
XLimitPenalty client 1000000/1s for=1h count=status:200,206,304,400,401,404,500 name=statuses
XLimitPenalty client 1000000/1s for=1h count=rejected name=rejected
XLimitBlock class=nobody
XLimitBlock when=false name=never
XLimitBandwidth session 20GB/s burst=1GB
XLimitBandwidth client 20GB/s burst=1GB
XLimitBandwidth agent 20GB/s burst=1GB
XLimitBandwidth all 20GB/s burst=1GB
XLimitUpload session 20GB/s burst=1GB
XLimitUpload client 20GB/s burst=1GB
XLimitUpload agent 20GB/s burst=1GB
XLimitUpload all 20GB/s burst=1GB
<Location />
    XLimitQuota all 1TB month
    XLimitBandwidth client 20GB/s burst=1GB
    XLimitRequests client 100000/s burst=100000
</Location>
CONF
    # by the name of what is asked for: files of megabytes, what is large, all else
    paced   => <<'CONF',
XLimitBandwidth session 20MB/s "when=%{REQUEST_URI} =~ m#huge#" name=huge
XLimitBandwidth session 500kB/s "when=%{REQUEST_URI} =~ m#large#" name=large
XLimitBandwidth session 25kB/s "when=%{REQUEST_URI} !~ m#large|huge|end.txt#" name=small
XLimitBandwidth client 50MB/s
XLimitBandwidth all 50MB/s
XLimitUpload session 2MB/s
CONF
);
$limits{blocking} = "XLimitEngine blocking\n$limits{paced}";

# Options: those of XL::Server, and files (called with each server), kinds.
sub new {
    my ($class, %option) = @_;
    my $kinds = delete $option{kinds} // [qw(without idle paced)];
    my $files = delete $option{files};
    my $conf = delete($option{conf}) // '';
    my $self = bless { kinds => $kinds, server => {} }, $class;
    for my $kind (@$kinds) {
        # whether a connection of many streams is kept is not asked when one of them ends
        my $log = $option{h2} ? $log =~ s/ %X %k//gr : $log;
        my $server = $self->{server}{$kind} = XL::Server->new(factor => 20, %option, xlimit => $kind ne 'without',
            conf => "$log$conf\n" . ($kind eq 'without' ? '' : qq(CustomLog logs/verdicts "%^XS"\n$limits{$kind})));
        $server->content('end.txt', "the end\n");
        $files->($server) if $files;
        system('find', $server->docroot, '-exec', 'touch', '-h', '-d', '@' . AGE, '{}', '+');
        $server->start;
    }
    return $self;
}

sub servers { my ($self) = @_; return map { $self->{server}{$_} } @{ $self->{kinds} } }

# Groups of cases, each [title, cases, tls => 1]; all of all groups at once.
sub check {
    my ($self, @groups) = @_;
    my (@jobs, %rows);
    for my $group (@groups) {
        my ($title, $cases, %option) = @$group;
        for my $case (@$cases) {
            my ($name, $statuses, @steps) = @$case;
            my %job = map { $_ => job($self->{server}{$_}, $option{tls}, @steps) } @{ $self->{kinds} };
            push @{ $rows{$title} }, [$name, $statuses, \%job];
            push @jobs, @job{ @{ $self->{kinds} } };
        }
    }
    exchange_all(\@jobs);
    for my $title (map { $_->[0] } @groups) {
        subtest $title => sub { $self->compare(@$_) for @{ $rows{$title} } };
    }
    $self->held_ok;
    return;
}

sub compare {
    my ($self, $name, $statuses, $job) = @_;
    my ($first, @others) = @{ $self->{kinds} };
    my $right = $job->{$first};
    is(statuses($right), $statuses, "$name: $statuses") or diag(substr $right->{got}, 0, 2000);
    same_wire("... as well, $_", $right, $job->{$_}) for @others;
    $self->note_pace($name, $job->{$_}) for grep { /paced|blocking/ } @others;
    return;
}

# Rates as in %limits. A session that was idle has nothing to catch up with but a chunk.
sub note_pace {
    my ($self, $name, $job) = @_;
    return if !$job->{rate};
    my $right = length($job->{got}) / $job->{rate};
    my $took = $job->{ended} - $job->{started};
    $self->{held}++ if $right > 0.3;
    push @{ $self->{quick} }, "$name: $took s of $right" if $took < 0.8 * $right - 0.3;
    return;
}

# What the logs say, when all is over: the same in each server.
sub finish {
    my ($self) = @_;
    $_->stop for $self->servers;
    my ($first, @others) = @{ $self->{kinds} };
    my %said = map { $_ => [sort $self->{server}{$_}->error_log =~ /(AH\d+)/g] } @{ $self->{kinds} };
    my %log = map { $_ => [sort split /\n/, blank($self->{server}{$_}, $self->{server}{$_}->log_text('same'))] }
        @{ $self->{kinds} };
    for my $kind (@others) {
        my %verdict = map { $_ => 1 } split /\n/, $self->{server}{$kind}->log_text('verdicts');
        is(join(' ', sort keys %verdict), 'PACED', "all have a rate and none was refused, $kind");
        is_deeply($log{$kind}, $log{$first}, "the access log, $kind") or diag(differing($log{$first}, $log{$kind}));
        is_deeply($said{$kind}, $said{$first}, "what httpd says, $kind") or diag(differing($said{$first},
            $said{$kind}));
        my @lines = grep { !/dry run/ } $self->{server}{$kind}->error_log =~ /(\[xlimit:(?!notice|info).*)/g;
        is("@lines", '', "nothing to complain of in the error log, $kind");
    }
    return;
}

# The paced servers did hold.
sub held_ok {
    my ($self) = @_;
    cmp_ok($self->{held} // 0, '>', 0, ($self->{held} // 0) . ' cases were held for 0.3 s or longer');
    is(join("\n", @{ $self->{quick} // [] }), '', '... and none was quicker than its rate');
    return;
}

sub differing {
    my ($left, $right) = @_;
    my %n;
    $n{$_}++ for @$left;
    $n{$_}-- for @$right;
    return join "\n", map { ($n{$_} > 0 ? '- ' : '+ ') . $_ } grep { $n{$_} } sort keys %n;
}

# ---- all connections, in one loop -------------------------------------------

sub job {
    my ($server, $tls, @steps) = @_;
    my $port = $tls ? $server->tls_port : $server->port;
    if ($steps[0] eq 'port 1') {
        shift @steps;
        ($port, $tls) = ($server->port(1), 0);
    }
    my $text = join ' ', map { ref eq 'ARRAY' ? $_->[1] : ref eq 'HASH' ? $_->{raw} : () } @steps;
    my @rates = ($text =~ /large/ ? 500e3 : (), $text =~ /huge/ ? 20e6 : ());
    return { server => $server, rate => @rates == 1 ? $rates[0] : undef, port => $port, tls => $tls, left => [@steps],
        got => '', out => '', expected => [], methods => [] };
}

sub exchange_all {
    my ($jobs) = @_;
    my @waiting = @$jobs;
    my %active;
    local $SIG{PIPE} = 'IGNORE';
    while (@waiting || %active) {
        begin(shift @waiting, \%active) while @waiting && keys %active < AT_ONCE;
        my ($read, $write) = ('', '');
        my $now = now();
        for my $job (values %active) {
            next_step($job) if $job->{until} && $job->{until}->($job->{server}, $now);
            end($job, \%active, '[timeout]') if $now > $job->{started} + TIMEOUT;
            next if !$job->{socket};
            vec($read, $job->{fd}, 1) = 1;
            vec($write, $job->{fd}, 1) = 1 if length $job->{out};
        }
        select $read, $write, undef, 0.02;
        for my $job (values %active) {
            write_some($job) if vec $write, $job->{fd}, 1;
            read_some($job, \%active) if vec $read, $job->{fd}, 1;
            end($job, \%active) if $job->{gone} && $job->{socket};
        }
    }
    return;
}

sub begin {
    my ($job, $active) = @_;
    $job->{started} = now();
    my $socket = $job->{socket} = XL::Client::open_socket({ port => $job->{port} });
    if ($job->{tls}) {
        XL::Client::start_tls($socket);
        $socket->connect_SSL or croak "TLS: $IO::Socket::SSL::SSL_ERROR";
    }
    $socket->blocking(0);
    $job->{fd} = fileno $socket;
    $active->{ $job->{fd} } = $job;
    next_step($job);
    return;
}

sub end {
    my ($job, $active, $note) = @_;
    delete $active->{ $job->{fd} };
    $job->{got} .= $note if defined $note;
    close delete $job->{socket};
    $job->{ended} = now();
    return;
}

# Goes on with the next step when what the last one waits for is here.
sub next_step {
    my ($job) = @_;
    delete @{$job}{qw(until pattern)};
    $job->{mark} = length $job->{got};
    my $step = shift @{ $job->{left} };
    if (!defined $step) {
        ask($job, [GET => '/end.txt', headers => { Connection => 'close' }]) if !$job->{asked_end}++;
    }
    elsif (ref $step eq 'ARRAY')  { ask($job, $step) }
    elsif (ref $step eq 'Regexp') { $job->{pattern} = $step }
    elsif (ref $step eq 'HASH') {
        $job->{out} .= $step->{raw};
        write_some($job);
        return next_step($job) if exists $step->{wait};
        expect($job, @{ $step->{methods} // ['GET'] });
    }
    elsif ($step eq 'shut')       { shutdown $job->{socket}, 1; next_step($job) }
    elsif ($step eq 'close')      { $job->{gone} = 1 }
    elsif (ref $step eq 'CODE')   { $job->{until} = $step }
    else {
        my $end = now() + $step;
        $job->{until} = sub { $_[1] >= $end };
    }
    return;
}

sub ask {
    my ($job, $step) = @_;
    $job->{out} .= XL::Client::request_text(@$step);
    write_some($job);
    return expect($job, $step->[0]);
}

sub expect {
    my ($job, @methods) = @_;
    push @{ $job->{methods} }, @methods;
    $job->{expected} = [map { XL::Response->new($_, 0, now()) } @methods];
    return;
}

sub write_some {
    my ($job) = @_;
    my $n = syswrite $job->{socket}, $job->{out};
    # who is no longer read is answered all the same
    $job->{out} = defined $n ? substr $job->{out}, $n : $!{EAGAIN} ? $job->{out} : '';
    return;
}

sub read_some {
    my ($job, $active) = @_;
    while (1) {
        my $n = sysread $job->{socket}, my $data, 262_144;
        return if !defined $n && ($!{EAGAIN} || $!{EINTR});
        return end($job, $active) if !$n;
        $job->{got} .= $data;
        follow($job, $data);
        return if !$job->{tls};
    }
}

sub follow {
    my ($job, $data) = @_;
    while (my $response = $job->{expected}[0]) {
        $response->feed($data, 0);
        return if !$response->{complete};
        $data = $response->{rest};
        shift @{ $job->{expected} };
        return next_step($job) if !@{ $job->{expected} };
    }
    next_step($job) if $job->{pattern} && substr($job->{got}, $job->{mark}) =~ $job->{pattern};
    return;
}

1;
