# SPDX-License-Identifier: Apache-2.0
#
# XL::Server: a private httpd per object, on free ports of 127.0.0.1, with
# everything it writes in a folder that goes away at the end. It never touches
# the system's server, and signals only processes that it started. A failing
# test prints the end of each error log; a server that crashed or that a
# sanitizer complained about fails the test whatever its checks said.
#
#     my $s = XL::Server->new(mpm => 'event', modules => ['deflate'], conf => 'XLimitQuota all 10MB day');
#     $s->file('1mb.bin', 1_000_000);
#     $s->start;
#
# Options of new:
#     mpm         event (default), worker, prefork
#     threads     ThreadsPerChild, 25; prefork: the number of children, 25
#     children    1: how many, from the start to the end (not prefork)
#     factor      AsyncRequestWorkerFactor, httpd's default
#     modules     what is loaded beside the base, in this order; 'xlimit' may be among them,
#                 else it comes last
#     xlimit      0: without our module
#     conf        lines for the server, after everything else. @PORT@ @PORT1@ ... @TLS_PORT@ @ROOT@
#                 @DOCROOT@ @STATE@ are replaced
#     ports       how many clear ports, 1
#     tls         1: a TLS port as well; tls_conf: lines for its virtual host
#     h2          1: HTTP/2 on all ports
#     cgi         1: /cgi/ runs what ->cgi() wrote
#     loglevel    added to `LogLevel notice`
#     wrapper     [command ...] that runs httpd, for instance valgrind
#     crash_ok    1: a crash in the log is what the test wants
package XL::Server;

use strict;
use warnings;

use Carp qw(croak);
use File::Basename qw(dirname);
use File::Path qw(make_path);
use File::Temp ();
use IO::Socket::INET;
use POSIX qw(:sys_wait_h);
use Test::Builder;
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC sleep);

use XL::System qw(build_dir built_in certificate free_port httpd listens module_dir preload processes project slurp spew);

my @servers;

# ---- life -------------------------------------------------------------------

sub new {
    my ($class, %option) = @_;
    my %known = map { $_ => 1 } qw(mpm threads children factor modules xlimit conf ports tls tls_conf h2 cgi
        loglevel wrapper crash_ok);
    my @unknown = grep { !$known{$_} } keys %option;
    croak "XL::Server: no such option: @unknown" if @unknown;

    my $self = bless {
        mpm => 'event', threads => 25, children => 1, modules => [], xlimit => 1, conf => '', ports => 1,
        tls_conf => '', loglevel => '', wrapper => [], %option,
        owner => $$, patience => 20, ready => 0,
    }, $class;

    $self->{module} = build_dir() . '/mod_xlimit.so';
    croak "$self->{module} is missing: build it first" if $self->{xlimit} && !-e $self->{module};
    $self->{patience} = 120 if @{ $self->{wrapper} } || $self->{xlimit} && preload($self->{module});

    $self->{dir} = File::Temp->newdir('xlimit-XXXXXX', TMPDIR => 1);
    chmod 0755, $self->root;
    make_path(map { $self->path($_) } qw(conf logs run htdocs cgi));
    mkdir $self->path('state'), 0700;
    push @servers, $self;
    return $self;
}

# A server to stand behind mod_proxy: without our module, started.
sub backend {
    my ($class, %option) = @_;
    my $self = $class->new(xlimit => 0, %option);
    return $self->start;
}

sub start {
    my ($self) = @_;
    croak 'XL::Server: already running' if $self->alive;

    for my $attempt (1 .. 5) {
        $self->choose_ports if $attempt > 1 || !$self->{port};
        my $log_before = -s $self->path('logs/error') // 0;
        $self->launch;
        # the parent listens a moment before it has children
        my $up = sub { ($self->listening && $self->children) || !$self->alive };
        return $self if $self->wait_for($up) && $self->alive;
        my $said = $self->output . substr($self->error_log, $log_before);
        $self->stop;
        next if $said =~ /Address already in use/;
        croak "httpd did not start:\n$said";
    }
    croak 'httpd found no free port';
}

# Tries to start a server that is expected to refuse: (exit status, all it said).
sub start_refused {
    my ($self) = @_;
    $self->choose_ports if !$self->{port};
    my $log_before = -s $self->path('logs/error') // 0;
    $self->launch;
    my $ended = $self->wait_for(sub { !$self->alive });
    my $said = $self->output . substr($self->error_log, $log_before);
    my $status = $self->{status};
    $self->stop;
    return $ended ? ($status >> 8, $said) : (undef, "it runs\n$said");
}

sub launch {
    my ($self) = @_;
    my $conf = $self->write_conf('conf/httpd.conf', $self->{conf});
    my @command = (@{ $self->{wrapper} }, httpd(), '-d', $self->root, '-f', $conf, '-DFOREGROUND');

    $self->{ready} = $self->count_ready;
    my $pid = fork // croak "fork: $!";
    if (!$pid) {
        setpgrp;
        open STDIN, '<', '/dev/null';
        open STDOUT, '>', $self->path('logs/output');
        open STDERR, '>&', \*STDOUT;
        $self->sanitizer_env;
        # a test that is killed takes its servers along
        my $shell = 'ulimit -c 0; ulimit -n "$(ulimit -H -n)"; exec setpriv --pdeathsig TERM "$@"';
        exec('sh', '-c', $shell, 'sh', @command) or POSIX::_exit(127);
    }
    $self->{pid} = $pid;
    $self->{groups}{$pid} = 1;
    $self->{status} = undef;
}

sub sanitizer_env {
    my ($self) = @_;
    my $preload = $self->{xlimit} ? preload($self->{module}) : '';
    return if $preload eq '' && !@{ $self->{wrapper} };
    $ENV{LD_PRELOAD}    = $preload if $preload ne '';
    $ENV{ASAN_OPTIONS}  = 'detect_leaks=0:detect_odr_violation=0';
    $ENV{UBSAN_OPTIONS} = 'print_stacktrace=1';
}

# SIGTERM, and SIGKILL for whatever is left after a while. True when it went by itself.
sub stop {
    my ($self) = @_;
    my $clean = 1;
    if ($self->{pid} && $self->alive) {
        # The event MPM, told to end, looks at the sockets of connections that are being closed just
        # then, and may find them freed: close_worker_sockets() of its event.c. Ours have had their time.
        sleep 0.02;
        kill TERM => $self->{pid};
        $clean = $self->wait_exit($self->{patience});
    }
    for my $pid ($self->group) {
        kill KILL => $pid;
        $clean = 0;
    }
    $self->wait_for(sub { !$self->alive }) if $self->{pid};
    $self->forget if $self->wait_for(sub { !$self->group });
    $self->{pid} = undef;
    return $clean;
}

sub graceful { $_[0]->reload('USR1') }
sub restart  { $_[0]->reload('HUP') }

# Writes the configuration anew, signals, and returns when the new generation runs and
# takes every new connection.
sub reload {
    my ($self, $signal) = @_;
    my @old = grep { (getpgrp($_) // 0) == $self->{pid} } $self->children;
    $self->write_conf('conf/httpd.conf', $self->{conf});
    my $before = $self->count_ready;
    kill $signal => $self->{pid};
    $self->wait_for(sub { $self->count_ready > $before || !$self->alive }) or return 0;
    $self->wait_for(sub { !grep { listens($_) } @old }, 5)
        or Test::Builder->new->diag('a child of before takes connections yet');
    return $self->alive;
}

# Returns at once; ->wait_exit says when the last response was served.
sub graceful_stop { kill WINCH => $_[0]{pid} }

sub kill9_parent {
    my ($self) = @_;
    kill KILL => $self->{pid};
    return $self->wait_exit(5);
}

sub kill9_all {
    my ($self) = @_;
    # More than once: the parent may just have been making a child.
    $self->forget if $self->wait_for(sub { kill KILL => $self->group; !$self->alive && !$self->group });
    $self->{pid} = undef;
}

# Nobody is left of these groups: after some thousands of processes their numbers are
# those of others.
sub forget { $_[0]{groups} = {} }


sub alive {
    my ($self) = @_;
    return 0 if !$self->{pid} || defined $self->{status};
    return 1 if waitpid($self->{pid}, WNOHANG) == 0;
    $self->{status} = $?;
    return 0;
}

# True when the parent process is gone; ->exit_status then tells how.
sub wait_exit {
    my ($self, $seconds) = @_;
    return $self->wait_for(sub { !$self->alive }, $seconds);
}

sub exit_status { $_[0]{status} }
sub pid         { $_[0]{pid} }

# Polls until the condition holds; false when it did not in time.
sub wait_for {
    my ($self, $condition, $seconds) = @_;
    my $end = clock_gettime(CLOCK_MONOTONIC) + ($seconds // $self->{patience});
    until ($condition->()) {
        return 0 if clock_gettime(CLOCK_MONOTONIC) > $end;
        sleep 0.01;
    }
    return 1;
}

# ---- processes --------------------------------------------------------------

# All living processes that this server ever started. They keep the process
# group of their parent, so that orphans are found, too.
sub group {
    my ($self) = @_;
    return map { $_->{pid} } grep { $self->{groups}{ $_->{group} } } processes();
}

# The children that serve requests, orphans included (mod_cgid's daemon is none:
# it has one thread).
sub children {
    my ($self) = @_;
    my $least = $self->{mpm} eq 'prefork' ? 1 : 2;
    return map { $_->{pid} }
        grep { $self->{groups}{ $_->{group} } && $_->{pid} != $_->{group} && $_->{threads} >= $least } processes();
}

# ---- configuration ----------------------------------------------------------

# Other lines from the next start, graceful or restart on.
sub conf {
    my ($self, $text) = @_;
    $self->{conf} = $text;
    return $self;
}

# httpd -t with these lines instead of the server's own: (exit status, output).
# More arguments go to httpd, for instance '-D', 'DUMP_XLIMIT'.
sub configtest {
    my ($self, $text, @arguments) = @_;
    $self->choose_ports if !$self->{port};
    my $conf = $self->write_conf('conf/try.conf', $text);
    my $pid = open(my $pipe, '-|') // croak "fork: $!";
    if (!$pid) {
        open STDERR, '>&', \*STDOUT;
        $self->sanitizer_env;
        exec(httpd(), '-d', $self->root, '-f', $conf, '-t', @arguments) or POSIX::_exit(127);
    }
    my $output = do { local $/; <$pipe> } // '';
    close $pipe;
    return ($? >> 8, $output);
}

sub write_conf {
    my ($self, $name, $own) = @_;
    my $text = slurp(project() . '/t/conf/base.conf');
    $text .= slurp(project() . '/t/conf/tls.conf') if $self->{tls};
    $text .= "Protocols h2 h2c http/1.1\n"     if $self->{h2};
    $text =~ s/\@TLS_CONF\@/$self->{tls_conf}/;
    $text .= "# the test's own\n$own\n";

    my ($certificate, $key) = $self->{tls} ? certificate() : ('', '');
    my %value = (
        ROOT => $self->root, DOCROOT => $self->path('htdocs'), STATE => $self->path('state/xlimit.state'),
        PORT => $self->port, TLS_PORT => $self->{tls_port} // 0, CERT => $certificate, KEY => $key,
        LISTEN => join("\n", map { "Listen 127.0.0.1:$_" } @{ $self->{port} }, $self->{tls_port} // ()),
        LOAD => $self->load_lines, MPM => $self->mpm_lines, LOGLEVEL => $self->{loglevel},
        USER => $> == 0 ? "User www-data\nGroup www-data" : '',
        map { ("PORT$_" => $self->port($_)) } 1 .. $#{ $self->{port} },
    );
    $text =~ s/\@([A-Z_]+\d*)\@/$value{$1} \/\/ croak "no \@$1\@"/ge;

    my $path = $self->path($name);
    spew($path, $text);
    return $path;
}

sub load_lines {
    my ($self) = @_;
    my $cgi = $self->{mpm} eq 'prefork' ? 'cgi' : 'cgid';
    my @names = ("mpm_$self->{mpm}", qw(unixd log_config logio authz_core authz_host dir mime alias env setenvif));
    push @names, $cgi          if $self->{cgi};
    push @names, 'ssl'         if $self->{tls};
    push @names, 'http2'       if $self->{h2};
    push @names, @{ $self->{modules} };
    push @names, 'xlimit'      if $self->{xlimit};

    my %seen;
    my @lines;
    for my $name (grep { !$seen{$_}++ && !built_in($_) } @names) {
        my $file = $name eq 'xlimit' ? $self->{module} : module_dir() . "/mod_$name.so";
        push @lines, qq(LoadModule ${name}_module "$file");
    }
    return join "\n", @lines;
}

sub mpm_lines {
    my ($self) = @_;
    my ($threads, $children) = @{$self}{qw(threads children)};
    return "StartServers $threads\nMinSpareServers 1\nMaxSpareServers $threads\nServerLimit $threads\n"
        . "MaxRequestWorkers $threads" if $self->{mpm} eq 'prefork';

    my $all = $threads * $children;
    my @lines = ("ServerLimit $children", "StartServers $children", "ThreadLimit $threads",
        "ThreadsPerChild $threads", "MaxRequestWorkers $all", 'MinSpareThreads 1', "MaxSpareThreads $all");
    push @lines, "AsyncRequestWorkerFactor $self->{factor}" if $self->{factor};
    return join "\n", @lines;
}

# ---- ports ------------------------------------------------------------------

# Below the range from which the kernel takes the ports of outgoing
# connections, so that nobody but another test can come in between.
sub choose_ports {
    my ($self) = @_;
    my @held = map { free_port() } 1 .. $self->{ports} + ($self->{tls} ? 1 : 0);
    my @ports = map { $_->sockport } @held;
    $self->{tls_port} = $self->{tls} ? pop @ports : undef;
    $self->{port} = \@ports;
}

# Somebody else's server on that port would answer, too: ours has said that it is ready.
sub listening {
    my ($self) = @_;
    return 0 if $self->count_ready <= $self->{ready};
    return !!IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->port, Proto => 'tcp');
}

sub count_ready { scalar(() = $_[0]->error_log =~ /resuming normal operations/g) }

sub port     { $_[0]{port}[ $_[1] // 0 ] }
sub tls_port { $_[0]{tls_port} }

sub url {
    my ($self, $path) = @_;
    return 'http://127.0.0.1:' . $self->port . ($path // '/');
}

sub tls_url {
    my ($self, $path) = @_;
    return 'https://127.0.0.1:' . $self->tls_port . ($path // '/');
}

# ---- files ------------------------------------------------------------------

sub root    { $_[0]{dir}->dirname }
sub path    { $_[0]->root . "/$_[1]" }
sub docroot { $_[0]->path('htdocs') }

# A file of that many bytes below the document root: with holes, or (third
# argument true) lines that each tell their offset.
sub file {
    my ($self, $name, $size, $patterned) = @_;
    my $path = $self->path("htdocs/$name");
    make_path(dirname($path));
    open my $file, '>', $path or croak "$path: $!";
    if ($patterned) {
        for (my $at = 0; $at < $size; $at += 65_536) {
            my $block = join '', map { sprintf "%015d\n", $at + 16 * $_ } 0 .. 4095;
            print {$file} substr $block, 0, $size - $at;
        }
    }
    else {
        truncate $file, $size or croak "$path: $!";
    }
    close $file or croak "$path: $!";
    return aged($path);
}

# A file of that content below the document root.
sub content {
    my ($self, $name, $text) = @_;
    my $path = $self->path("htdocs/$name");
    make_path(dirname($path));
    spew($path, $text);
    return aged($path);
}

# httpd marks the ETag of a file younger than a second as weak: responses would
# differ by two bytes.
sub aged {
    my ($path) = @_;
    utime time - 3600, time - 3600, $path;
    return $path;
}

# An executable script at /cgi/NAME.
sub cgi {
    my ($self, $name, $text) = @_;
    my $path = $self->path("cgi/$name");
    spew($path, $text);
    chmod 0755, $path;
    return $path;
}

sub error_log  { $_[0]->log_text('error') }
sub access_log { $_[0]->log_text('access') }
sub output     { $_[0]->log_text('output') }

sub log_text {
    my ($self, $name) = @_;
    my $path = $self->path("logs/$name");
    return -e $path ? slurp($path) : '';
}

# ---- the end ----------------------------------------------------------------

# What no test may leave in a log.
sub crashes {
    my ($self) = @_;
    return grep { /Sanitizer|runtime error:|exit signal (?!Killed|Terminated)|AH00050|corrupted|double free/ }
        split /\n/, $self->error_log . $self->output;
}

sub diagnose {
    my ($self, @more) = @_;
    my @lines = split /\n/, $self->output . $self->error_log;
    splice @lines, 0, @lines - 40 if @lines > 40;
    Test::Builder->new->diag(join "\n", @more, 'error log of the server on port ' . ($self->port // '-') . ':',
        map { "    $_" } @lines);
}

# Perl runs END where it exits by itself, not where a signal ends it.
$SIG{$_} ||= sub { exit 130 } for qw(INT TERM HUP);

END {
    my $status = $?;
    for my $server (grep { $_->{owner} == $$ } @servers) {
        my $running = $server->alive;
        my $clean   = $server->stop;
        my @crashes = $server->{crash_ok} ? () : $server->crashes;
        push @crashes, 'httpd did not end by itself' if $running && !$clean;
        $status ||= 1 if @crashes;
        $server->diagnose(@crashes) if $status || !Test::Builder->new->is_passing;
    }
    $? = $status;
}

1;
