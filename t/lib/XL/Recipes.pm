# SPDX-License-Identifier: Apache-2.0
#
# XL::Recipes: the files of conf/recipes, as an admin has them and as a test runs
# them. To run here, a recipe needs other ports and folders, and amounts that are
# reached in a second; nothing else of it changes:
#
#     /var/www/html  /etc/apache2  /var/log/apache2    folders of the test's server
#     *:80                                             its port
#     swap => ['100GB' => '100kB', ...]                what a test says, and the file must hold
#
#     my $s = served('site-quota', swap => ['100GB' => '100kB']);
#
# Clients are told apart by what they send as X-Client, but where the recipe says
# by itself whom it believes: remoteip => 0.
package XL::Recipes;

use strict;
use warnings;

use Carp qw(croak);
use Exporter qw(import);
use File::Basename qw(basename);

use Test::More;
use XL::Client qw(fetch_many);
use XL::Server;
use XL::Status qw(status_conf);
use XL::System qw(httpd module_dir project slurp spew);

our @EXPORT_OK = qw(recipes drive driven served passes_alone passes_lines logged statuses together counted as);

sub recipes { map { basename($_, '.conf') } sort glob project() . '/conf/recipes/*.conf' }

# A subtest for a recipe; driven() are those of this test that have had one.
my %driven;

sub drive {
    my ($name, $code) = @_;
    $driven{$name} = 1;
    subtest($name => $code);
    return;
}

sub driven { sort keys %driven }

sub text_of { slurp(project() . "/conf/recipes/$_[0].conf") }

sub modules_of {
    my ($name) = @_;
    my ($list) = text_of($name) =~ /^# Modules: (.+)$/m or croak "$name: no line of modules";
    return split ' ', $list;
}

sub adapted {
    my ($name, @swap) = @_;
    my $text = text_of($name);
    my @places = ('/var/www/html' => '"@DOCROOT@"', '/etc/apache2' => '@ROOT@/conf', '*:80' => '127.0.0.1:@PORT@',
        '/var/log/apache2' => '@ROOT@/logs');
    while (my ($from, $to) = splice @places, 0, 2) {
        $text =~ s/\Q$from\E/$to/g;
    }
    while (my ($from, $to) = splice @swap, 0, 2) {
        $text =~ s/\Q$from\E/$to/g or croak "$name: there is no '$from' in it";
    }
    return $text;
}

# A started server with that recipe. Options: swap, conf (lines before it), remoteip,
# files {name => size or content}, before (code that gets the server before it starts);
# others go to XL::Server.
sub served {
    my ($name, %option) = @_;
    my $swap = delete $option{swap} // [];
    my $files = delete $option{files} // {};
    my $before = delete $option{before};
    my $remoteip = delete $option{remoteip} // 1;
    my $conf = status_conf() . ($remoteip ? "RemoteIPHeader X-Client\nRemoteIPInternalProxy 127.0.0.1\n" : '')
        . qq(CustomLog logs/verdicts "%U%q %>s %^XS %^XL"\n) . (delete $option{conf} // '');
    my $s = XL::Server->new(ports => 2, factor => 20, %option, modules => [modules_of($name), 'remoteip'],
        conf => $conf . adapted($name, @$swap));

    $files->{$_} =~ /^\d+$/ ? $s->file($_, $files->{$_}) : $s->content($_, $files->{$_}) for keys %$files;
    $before->($s) if $before;
    return $s->start;
}

# httpd -t with nothing but an MPM, these modules and these lines: (exit status, output).
sub try_alone {
    my ($s, $lines, @modules) = @_;
    my $module = sub { $_[0] eq 'xlimit' ? $s->{module} : module_dir() . "/mod_$_[0].so" };
    my @load = map { sprintf 'LoadModule %s_module "%s"', $_, $module->($_) }
        grep { !XL::System::built_in($_) } 'mpm_event', @modules;
    my $root = $s->root;
    $s->choose_ports if !$s->port;
    my %value = (ROOT => $root, DOCROOT => $s->docroot, PORT => $s->port);
    $lines =~ s/\@([A-Z]+)\@/$value{$1} \/\/ croak "no \@$1\@"/ge;
    spew($s->path('conf/alone.conf'), join "\n", "ServerRoot \"$root\"", 'ServerName localhost', 'Listen 127.0.0.1:80',
        'PidFile run/alone.pid', 'ErrorLog logs/alone', @load, $lines, '');
    my $command = join ' ', map { "'$_'" } httpd(), '-t', '-f', $s->path('conf/alone.conf');
    local %ENV = (%ENV, ASAN_OPTIONS => 'detect_leaks=0:detect_odr_violation=0');
    my $preload = XL::System::preload($s->{module});
    $ENV{LD_PRELOAD} = $preload if $preload ne '';
    my $output = qx($command 2>&1);
    return ($? >> 8, $output);
}

sub passes_alone { my ($s, $name) = @_; return try_alone($s, adapted($name), modules_of($name)) }

# The same with a few lines in a <Location>; what has its place in the server's
# configuration stands there.
sub passes_lines {
    my ($s, $lines, @modules) = @_;
    my (@outside, @inside);
    push @{ /^XLimitZone\b|\bat=accept\b/ ? \@outside : \@inside }, $_ for @$lines;
    return try_alone($s, join("\n", @outside, '<Location />', @inside, '</Location>'), @modules);
}

# ---- requests ---------------------------------------------------------------

sub as { my ($client) = @_; return (headers => { 'X-Client' => $client }) }

# The statuses of so many requests, one after the other, each on a connection of
# its own: one that is closed on does not end the rest. 0: closed without a word.
sub statuses {
    my ($s, $path, $n, %option) = @_;
    $option{host} //= 'www.example.org';
    return join ' ', map { XL::Client::fetch($s->port, $path, timeout => 10, %option)->{status} } 1 .. $n;
}

# The lines of a log of which there must be so many: each is written when its
# response has ended, and not in the order of the requests.
sub logged {
    my ($s, $name, $n, $which) = @_;
    $which //= qr/./;
    my @lines;
    $s->wait_for(sub { (@lines = grep { /$which/ } split /\n/, $s->log_text($name)) >= $n }, 5);
    @lines = sort @lines;
    return @lines;
}

# As many at once as there are clients: all of fetch_many.
sub together {
    my ($s, $path, $clients, %option) = @_;
    my %headers = %{ delete $option{headers} // {} };
    my @list = map { { port => $s->port, path => $path, host => 'www.example.org', %option,
            headers => { %headers, 'X-Client' => $_ } } } @$clients;
    return fetch_many(\@list, until => 20);
}

# How often each status came: "200:3 429:1".
sub counted {
    my ($downloads) = @_;
    my %n;
    $n{ $_->{responses}[0]{status} // 0 }++ for @$downloads;
    return join ' ', map { "$_:$n{$_}" } sort keys %n;
}

1;
