# SPDX-License-Identifier: Apache-2.0
#
# Bench::Peers: servers to measure, each with the same few calls: start, port,
# tls_port, pids, docroot, stop, errors. httpd is XL::Server of t/lib on the
# benchmarks' wire; nginx and lighttpd are started the same way here: own
# folder, own ports, own process group, gone with this process.
package Bench::Peers;

use strict;
use warnings;

use Bench::Net qw(wire);
use XL::Server;
use XL::System qw(certificate);

# An XL::Server that listens on the wire, too. Options as there, and `name`.
sub httpd {
    my (%option) = @_;
    my $name = delete $option{name} // 'httpd';
    my $host = wire()->{host};
    my $conf = delete $option{conf} // '';
    if ($host ne '127.0.0.1') {
        my $listen = "Listen $host:\@PORT\@\n";
        $listen .= "Listen $host:\@TLS_PORT\@\n<VirtualHost $host:\@TLS_PORT\@>\nServerName localhost\nSSLEngine on\n"
            . "SSLCertificateFile \"\@CERT\@\"\nSSLCertificateKeyFile \"\@KEY\@\"\n</VirtualHost>\n" if $option{tls};
        $conf = $listen . $conf;
    }
    my $server = XL::Server->new(%option, conf => $conf);
    return bless { name => $name, server => $server, before => 0 }, 'Bench::Peers::Httpd';
}

# What the module has against these lines, '' when it knows them: the one that is measured may be of an earlier day.
sub knows {
    my ($conf, %option) = @_;
    my ($status, $said) = XL::Server->new(%option)->configtest($conf);
    return $status == 0 ? '' : ($said =~ /^(?!AH00526|Syntax error)(.*XLimit.*)/m)[0] || $said;
}

# nginx with these lines in its server block. Options: workers, tls.
sub nginx {
    my (%option) = @_;
    my $self = Bench::Peers::Other->new(name => 'nginx', workers => 1, conf => '', http => '', %option);
    my $host = wire()->{host};
    my $tls = $self->{tls} ? "listen $host:$self->{tls_port} ssl backlog=511;\n"
        . sprintf("ssl_certificate %s; ssl_certificate_key %s; ssl_session_cache off;", certificate()) : '';
    my $user = $> == 0 ? "user www-data;\n" : '';
    $self->command($self->write('nginx.conf', <<"EOT"), qw(/usr/sbin/nginx -c));
${user}daemon off; pid run/nginx.pid; error_log logs/error notice; worker_processes $self->{workers};
worker_rlimit_nofile 131072;
events { worker_connections 30000; }
http {
    access_log logs/access; sendfile on; tcp_nopush on; keepalive_timeout 15; keepalive_requests 1000000;
    client_body_temp_path run/body; proxy_temp_path run/proxy; fastcgi_temp_path run/fastcgi;
    uwsgi_temp_path run/uwsgi; scgi_temp_path run/scgi; client_max_body_size 0;
    default_type application/octet-stream; $self->{http}
    server { listen $host:$self->{port} backlog=511; $tls root $self->{docroot}; $self->{conf} }
}
EOT
    push @{ $self->{command} }, '-p', $self->{dir}->dirname;
    return $self;
}

sub lighttpd {
    my (%option) = @_;
    my $self = Bench::Peers::Other->new(name => 'lighttpd', conf => '', %option);
    my $user = $> == 0 ? qq(server.username = "www-data"\nserver.groupname = "www-data"\n) : '';
    $self->command($self->write('lighttpd.conf', <<"EOT"), qw(/usr/sbin/lighttpd -D -f));
server.document-root = "$self->{docroot}"
server.bind = "@{[wire()->{host}]}"
server.port = $self->{port}
server.errorlog = "@{[$self->{dir}->dirname]}/logs/error"
server.max-connections = 10000
server.max-fds = 30000
server.listen-backlog = 511
${user}mimetype.assign = ( "" => "application/octet-stream" )
$self->{conf}
EOT
    return $self;
}

# ---- httpd ------------------------------------------------------------------

package Bench::Peers::Httpd;

use strict;
use warnings;

sub start {
    my ($self) = @_;
    $self->{server}->start;
    return $self;
}

sub stop     { $_[0]{server}->stop }
sub name     { $_[0]{name} }
sub port     { $_[0]{server}->port }
sub tls_port { $_[0]{server}->tls_port }
sub pids     { $_[0]{server}->group }
sub docroot  { $_[0]{server}->docroot }
sub file     { my ($self, @what) = @_; $self->{server}->file(@what) }

# What its error log got above notice since the last call, alike lines once, with how often.
sub errors {
    my ($self) = @_;
    my $log = $self->{server}->error_log;
    my $new = substr $log, $self->{before};
    $self->{before} = length $log;
    my %seen;
    for my $line (grep { !/:(?:notice|info)\]/ } split /\n/, $new) {
        $line =~ s/^\[[^\]]*\] //;
        $line =~ s/\[pid [^\]]*\] |\[client [^\]]*\] //g;
        $seen{ $line =~ s/\d{3,}/N/gr }++;
    }
    return map { "$seen{$_} x $_" } sort keys %seen;
}

# ---- nginx, lighttpd --------------------------------------------------------

package Bench::Peers::Other;

use strict;
use warnings;

use File::Path qw(make_path);
use File::Temp ();
use IO::Socket::INET;
use POSIX qw(:sys_wait_h);
use Time::HiRes qw(sleep);

use Bench::Net qw(wire);
use XL::System qw(free_port processes slurp spew);

my @running;

sub new {
    my ($class, %option) = @_;
    my $self = bless {%option, owner => $$, before => 0}, $class;
    $self->{dir} = File::Temp->newdir('xlimit-XXXXXX', TMPDIR => 1);
    my $root = $self->{dir}->dirname;
    chmod 0755, $root;
    make_path(map { "$root/$_" } qw(conf logs run htdocs));
    chmod 0777, "$root/logs", "$root/run";
    $self->{docroot} = "$root/htdocs";
    my @held = map { free_port() } 1 .. 2;
    ($self->{port}, $self->{tls_port}) = map { $_->sockport } @held;
    return $self;
}

sub write {
    my ($self, $name, $text) = @_;
    my $path = $self->{dir}->dirname . "/conf/$name";
    spew($path, $text);
    return $path;
}

sub command {
    my ($self, $conf, @words) = @_;
    $self->{command} = [@words, $conf];
}

sub start {
    my ($self) = @_;
    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        setpgrp;
        chdir $self->{dir}->dirname;
        open STDIN, '<', '/dev/null';
        open STDOUT, '>', 'logs/output';
        open STDERR, '>&', \*STDOUT;
        exec 'setpriv', '--pdeathsig', 'TERM', @{ $self->{command} } or POSIX::_exit(127);
    }
    $self->{pid} = $pid;
    push @running, $self;
    for (1 .. 200) {
        return $self if IO::Socket::INET->new(PeerAddr => wire()->{host}, PeerPort => $self->{port}, Proto => 'tcp');
        last if waitpid($pid, WNOHANG) == $pid;
        sleep 0.02;
    }
    my $root = $self->{dir}->dirname;
    die "bench: $self->{name} did not start:\n" . join '', map { -e ? slurp($_) : '' } glob "$root/logs/*";
}

sub stop {
    my ($self) = @_;
    my $pid = delete $self->{pid} or return;
    kill TERM => $pid;
    for (1 .. 100) {
        last if waitpid($pid, WNOHANG) == $pid;
        sleep 0.02;
    }
    kill KILL => map { $_->{pid} } grep { $_->{group} == $pid } processes();
    waitpid $pid, WNOHANG;
    @running = grep { $_ != $self } @running;
}

sub name     { $_[0]{name} }
sub port     { $_[0]{port} }
sub tls_port { $_[0]{tls_port} }
sub docroot  { $_[0]{docroot} }

sub pids {
    my ($self) = @_;
    return map { $_->{pid} } grep { $_->{group} == $self->{pid} } processes();
}

# A file of that size with holes below the document root.
sub file {
    my ($self, $name, $size) = @_;
    my $path = "$self->{docroot}/$name";
    open my $file, '>', $path or die "$path: $!\n";
    truncate $file, $size or die "$path: $!\n";
    close $file or die "$path: $!\n";
    utime time - 3600, time - 3600, $path;
    return $path;
}

sub errors {
    my ($self) = @_;
    my $log = $self->{dir}->dirname . '/logs/error';
    my $text = -e $log ? slurp($log) : '';
    my $new = substr $text, $self->{before};
    $self->{before} = length $text;
    my %seen;
    for my $line (grep { /\[(?:warn|error|alert|crit|emerg)\]/ } split /\n/, $new) {
        $seen{ $line =~ s/^[\d\/]+ [\d:]+ //r =~ s/\d{2,}/N/gr }++;
    }
    return map { "$seen{$_} x $_" } sort keys %seen;
}

END {
    my $status = $?;
    $_->stop for grep { $_->{owner} == $$ } @running;
    $? = $status;
}

1;
