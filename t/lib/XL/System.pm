# SPDX-License-Identifier: Apache-2.0
#
# XL::System: what the tests ask of the machine they run on: where httpd and its
# modules are, which processes live, which port is free; and small files.
# Answers that cannot change are asked for once.
package XL::System;

use strict;
use warnings;

use Carp qw(croak);
use Cwd qw(abs_path);
use Errno qw(EADDRINUSE);
use Exporter qw(import);
use File::Basename qw(dirname);
use File::Temp ();
use IO::Socket::INET;
use POSIX ();

our @EXPORT_OK = qw(allow_files build_dir built_in certificate free_port httpd listens module_dir preload processes project
    slurp spew stand_still valgrind_errors);

my $project = abs_path(dirname(__FILE__) . '/../../..');
my %asked;

sub project { $project }

# The folder of the module under test; XL_BUILD names another one.
sub build_dir {
    my $dir = $ENV{XL_BUILD} // 'build';
    return $dir =~ m{^/} ? $dir : "$project/$dir";
}

sub apxs {
    my ($name) = @_;
    return $asked{$name} //= do {
        my $value = qx(apxs -q $name);
        chomp $value;
        $value;
    };
}

sub httpd      { apxs('sbindir') . '/' . apxs('progname') }
sub module_dir { apxs('LIBEXECDIR') }

sub built_in {
    $asked{-l} //= { map { /^\s+(?:mod_)?(\w+)\.c/ ? ($1 => 1) : () } qx(@{[httpd()]} -l) };
    return $asked{-l}{ $_[0] };
}

# The sanitizer's runtime has to be the first library of a program that knows
# nothing of it.
sub preload {
    my ($module) = @_;
    return $asked{preload} //= join ' ', map { m{=> (/\S*lib[at]san\S*)} ? $1 : () } qx(ldd '$module');
}

sub processes { # the living ones
    opendir my $proc, '/proc' or croak "/proc: $!";
    my @found;
    for my $pid (grep { /^\d+$/ } readdir $proc) {
        open my $stat, '<', "/proc/$pid/stat" or next;
        my $line = <$stat> // next;
        # the name, in parentheses, may hold anything
        my @field = split ' ', substr $line, rindex($line, ')') + 1;
        push @found, { pid => $pid, group => $field[2], threads => $field[17] }
            if $field[0] ne 'Z' || $field[17] > 1; # its other threads end yet, with its files open
    }
    return @found;
}

# kill() returns before all threads of a process have stopped: one that has not could
# still accept a connection, and then answer nobody.
sub stand_still {
    my ($pid) = @_;
    kill STOP => $pid or croak "process $pid: $!";
    for (1 .. 1000) {
        return 1 if !grep { slurp($_) !~ /^State:\s+[TZ]/m } grep { -e } glob "/proc/$pid/task/*/status";
        select undef, undef, undef, 0.002;
    }
    croak "process $pid does not stand still";
}

# Whether this process may still take a new connection.
sub listens {
    my ($pid) = @_;
    my %listening = map { my @f = split; $f[3] eq '0A' ? ("socket:[$f[9]]" => 1) : () } split /\n/,
        slurp('/proc/net/tcp');
    return scalar grep { $listening{ readlink($_) // '' } } glob "/proc/$pid/fd/*";
}

# One self-signed certificate per test run, for localhost and 127.0.0.1.
my $certificate_dir;

sub certificate {
    if (!$certificate_dir) {
        $certificate_dir = File::Temp->newdir('xlimit-XXXXXX', TMPDIR => 1);
        my $said = qx(openssl req -x509 -nodes -days 2 -newkey ec -pkeyopt ec_paramgen_curve:P-256 \\
            -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -addext basicConstraints=CA:FALSE \\
            -keyout $certificate_dir/key.pem -out $certificate_dir/cert.pem 2>&1);
        croak "openssl: $said" if $?;
    }
    return ("$certificate_dir/cert.pem", "$certificate_dir/key.pem");
}

sub free_port {
    for (1 .. 200) {
        my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 15_000 + int rand 15_000,
            Proto => 'tcp', Listen => 1);
        return $socket if $socket;
        croak "no port: $!" if $! != EADDRINUSE;
    }
    croak 'no free port between 15000 and 30000';
}

# At least so many descriptors for this process; false when it may not have them.
sub allow_files {
    my ($n) = @_;
    return POSIX::sysconf(POSIX::_SC_OPEN_MAX()) >= $n || system('prlimit', '--pid', $$, "--nofile=$n:") == 0;
}

# What valgrind, with --log-file=$dir/%p, had to say of our module.
sub valgrind_errors {
    my ($dir) = @_;
    return grep { /mod_xlimit|\bxl_\w+ \(/ } map { s/^==\d+==//mgr } map { split /^==\d+== \n/m, slurp($_) } glob "$dir/*";
}

sub slurp {
    my ($path) = @_;
    open my $file, '<', $path or croak "$path: $!";
    local $/;
    return <$file> // '';
}

sub spew {
    my ($path, $text) = @_;
    open my $file, '>', $path or croak "$path: $!";
    print {$file} $text;
    close $file or croak "$path: $!";
}

1;
