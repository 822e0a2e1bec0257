# SPDX-License-Identifier: Apache-2.0
#
# XL::Paced: what the tests of the pacing engine share: one scheme of URLs, and
# what it means that a download was paced. Measures nothing by itself.
#
# A URL is /PACE/SOURCE/NAME. PACE is a section of the test's own configuration
# with its limits, SOURCE the way in which the same NAME is served:
#
#     sendfile mmap read   a file, by EnableSendfile, EnableMMAP, or neither
#     packed               a file through mod_deflate
#     cgi                  the script of that name, with the query string as its argument
#     proxied              from a backend, if there is one
package XL::Paced;

use strict;
use warnings;

use Digest::MD5 qw(md5 md5_hex);
use Exporter qw(import);
use List::Util qw(max min);
use Test::More;

our @EXPORT = qw(sources paced_ok whole_ok furthest_ahead took worst_probe text status_value);

use constant AHEAD_S => 0.060; # of the line, at most: half a chunk and a client that looks late

# Lines for a server that has proxy_http and deflate loaded where they are used.
sub sources {
    my ($backend) = @_;
    my $conf = <<'CONF';
AliasMatch ^/[^/]+/(sendfile|mmap|read|packed)/(.*) @DOCROOT@/$2
ScriptAliasMatch ^/[^/]+/cgi/([a-z]*) @ROOT@/cgi/$1
<LocationMatch ^/[^/]+/sendfile/>
    EnableSendfile On
</LocationMatch>
<LocationMatch ^/[^/]+/read/>
    EnableMMAP Off
</LocationMatch>
<IfModule deflate_module>
    <LocationMatch ^/[^/]+/packed/>
        SetOutputFilter DEFLATE
    </LocationMatch>
</IfModule>
CONF
    $conf .= 'ProxyPassMatch ^/[^/]+/proxied/(.*) ' . $backend->url('/$1') . "\n" if $backend;
    return $conf;
}

# Text that mod_deflate makes about half as long, the same one each time.
sub text {
    my ($bytes) = @_;
    my ($text, $seed) = ('', 'xlimit');
    $text .= unpack('H*', $seed = md5($seed)) . "\n" while length $text < $bytes;
    return substr $text, 0, $bytes;
}

# Seconds from its first request on: a TLS handshake is no part of a response.
sub took {
    my ($download) = @_;
    return $download->{ended} - asked($download);
}

# Of what curl received, from when it was called on.
sub asked {
    my ($download) = @_;
    return @{ $download->{responses} // [] } ? $download->{responses}[0]{started} : $download->{started};
}

# Most bytes that the download had beyond burst + rate x time, in seconds at that rate.
sub furthest_ahead {
    my ($download, $rate, $burst) = @_;
    my $asked = asked($download);
    return max(-9e9, map { ($_->[1] - ($burst // 0)) / $rate - ($_->[0] - $asked) } @{ $download->{series} });
}

# Bytes per second, from the request on, and from the first bytes on: a machine
# that is late with these makes up for it.
sub rate_asked {
    my ($download) = @_;
    return $download->{bytes} / (took($download) || 1e-9);
}

# From the first byte on. A program's head comes before its body, whose first chunk
# is due at its middle; the last one of a response is due at its end.
sub rate_first {
    my ($download) = @_;
    my ($head, $chunk) = my @series = @{ $download->{series} };
    return 0 if @series < 2;
    my ($from, $bytes) = $download->{path} =~ m{/cgi/} ? ($chunk->[0], ($head->[1] + $chunk->[1]) / 2) : @$head;
    return ($series[-1][1] - $bytes) / (($series[-1][0] - $from) || 1e-9);
}

# All complete, and every body is this text.
sub whole_ok {
    my ($name, $downloads, $text) = @_;
    my $md5 = md5_hex($text);
    my @wrong = grep { !is_whole($_, $md5) } @$downloads;
    ok(@$downloads && !@wrong, "$name: complete and unchanged");
    diag(map { complaint($_, $text) } @wrong[0 .. min($#wrong, 2)]) if @wrong;
    return !@wrong;
}

sub is_whole {
    my ($download, $md5) = @_;
    return $download->{complete} && @{ $download->{responses} }
        && !grep { $_->{status} !~ /^20[06]$/ || md5_hex($_->{body} // '') ne $md5 } @{ $download->{responses} };
}

sub complaint {
    my ($download, $text) = @_;
    my ($last) = $download->{responses}[-1];
    return sprintf "'%s', %d bytes, last response: status %s, %d of %d bytes of body\n", $download->{error},
        $download->{bytes}, $last->{status} // 'none', $last->{body_length} // 0, length $text;
}

# From the request on never faster than the rate, from the first bytes on never
# slower, both by `within` (0.02) at most, and never ahead of the line. Options:
# rate, within, burst, ahead (seconds, AHEAD_S).
sub paced_ok {
    my ($name, $downloads, %option) = @_;
    my $rate = $option{rate};
    my $within = $option{within} // 0.02;
    my $slowest = min(map { rate_first($_) / $rate } @$downloads);
    my $fastest = max(map { rate_asked($_) / $rate } @$downloads);
    my $ahead = max(map { furthest_ahead($_, $rate, $option{burst}) } @$downloads);

    ok($slowest >= 1 - $within && $fastest <= 1 + $within, sprintf '%s: %.4f to %.4f of the rate', $name, $slowest,
        $fastest) or diag(load());
    ok($ahead <= ($option{ahead} // AHEAD_S), sprintf '%s: never more than %.0f ms ahead', $name, 1000 * $ahead);
    return;
}

sub load { open my $file, '<', '/proc/loadavg' or return ''; return 'load ' . <$file> }

sub worst_probe {
    my ($probes) = @_;
    return max(map { $_->{took} } @$probes);
}

# One line of /status?format=auto, for instance 'Active'; undef: there is none.
sub status_value {
    my ($port, $name) = @_;
    my $r = XL::Client::fetch($port, '/status?format=auto', keep => 1);
    return $r->{body} =~ /^XLimit\Q$name\E: (.*)$/m ? $1 : undef;
}

1;
