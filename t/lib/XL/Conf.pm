# SPDX-License-Identifier: Apache-2.0
#
# XL::Conf: configurations to try with `httpd -t`: what is accepted and what it
# comes to, what is refused with which words and on which line; and which words
# of the language were tried.
#
#     use XL::Conf qw($s accepts refuses);
#     accepts 'XLimitQuota all 1GB day', 'XLimitQuota all 1GB day at=00:00 ';
#     refuses '> XLimitQuota all', 'the amount is missing';
package XL::Conf;

use strict;
use warnings;

use Exporter qw(import);
use Test::More;

use XL::Server;
use XL::System qw(project slurp spew);

our @EXPORT_OK = qw($s @directives @options %good %bad note_words try_conf label dump_of holds accepts refuses);

our $s = XL::Server->new(modules => ['setenvif'], ports => 2);

# The directives (with their contexts) and options as the module declares them.
our @directives = map { [/"(<?\w+)", \w+, \w+, (\w+)/] } slurp(project() . '/include/xl_directives.def')
    =~ /^XL_DIRECTIVE\((.*?,.*?,.*?,.*?),/mg;
our @options = map { /nodelay/ ? $_ : "$_=" } slurp(project() . '/include/xl_options.def') =~ /^XL_OPTION\((\w+),/mg;
die "the tables of directives and options were not read\n" if @directives < 20 || @options < 14;

our (%good, %bad); # word => how often it was tried

sub note_words {
    my ($seen, $text) = @_;
    $seen->{$_}++ for $text =~ m{(?<!/)(<?\bXLimit\w+)}g;
    $seen->{"$_="}++ for $text =~ /[\s"](\w+)=/g;
    $seen->{$_}++ for $text =~ /\s(nodelay)\b/g;
}

# Runs -t on lines of a file of their own, so that its line numbers are known.
# A line that begins with "> " is the faulty one; returns its number, too.
sub try_conf {
    my ($text, @arguments) = @_;
    my ($line, $n) = (0, 0);
    for (split /\n/, $text) { $n++; $line = $n if /^> / }
    $text =~ s/^> //mg;
    spew($s->path('conf/own.conf'), $text);
    my ($exit, $output) = $s->configtest("Include conf/own.conf\n", @arguments);
    $exit = 'a crash' if !$exit && $output !~ /^Syntax OK$/m;
    return ($exit, $output, $line);
}

# A configuration as the label of a test.
sub label {
    my ($text) = @_;
    s/\s*\n\s*/ | /g, s/[^ -~]/?/g, s/^[ |]+|[ |]+$//g for $text;
    return $text;
}

sub dump_of {
    my ($exit, $output) = try_conf($_[0], '-D', 'DUMP_XLIMIT');
    diag $output if $exit;
    return $output;
}

# Not is(index ...): a failure shows what was said instead.
sub holds {
    my ($output, $text, $what) = @_;
    return 1 if ok index($output, $text) >= 0, $what;
    diag "wanted: $text\ngot:\n$output";
    return 0;
}

sub accepts {
    my ($text, @lines) = @_;
    note_words(\%good, $text);
    my $output = dump_of($text);
    holds($output, $_, label("$text: $_")) for @lines;
}

sub refuses {
    my ($text, $message) = @_;
    my ($exit, $output, $line) = try_conf($text);
    note_words(\%bad, $text);
    is $exit, 1, 'refused: ' . label($text);
    holds($output, $message, "... with the right words");
    like $output, qr/line $line of \S*own\.conf/, "... and line $line";
}

1;
