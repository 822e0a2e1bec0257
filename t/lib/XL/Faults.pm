# SPDX-License-Identifier: Apache-2.0
#
# XL::Faults: what the tests of other modules' faults share: a server with a status page
# and a few files, and the fault that all of them have, a page for those who are refused
# to which even they are refused.
#
#     my $s = served('XLimitQuota all 3r 1h');       /x, /over.html, /endless, /300k, /20k
#     is(statuses($s, 4), '200 200 200 503', ...);
#     no_circle('XLimitQuota all 1r 1h', sub { my ($s) = @_; fetch($s->port, '/x') });
package XL::Faults;

use strict;
use warnings;

use Exporter qw(import);
use Test::More;

use XL::Client qw(curl);
use XL::Server;
use XL::Status qw(status_conf);

our @EXPORT = qw(served statuses no_circle);

sub served {
    my ($conf, %option) = @_;
    my $s = XL::Server->new(ports => 2, factor => 20, conf => status_conf() . $conf, %option);
    $s->content('x', "x\n");
    $s->content('over.html', 'over');
    $s->file($_->[0], $_->[1]) for ['endless', 50_000_000], ['300k', 300_000], ['20k', 20_000];
    return $s->start;
}

# Of so many requests one after the other; options as of XL::Client's request, and path, method.
sub statuses {
    my ($s, $n, %option) = @_;
    my ($method, $path) = (delete $option{method} // 'GET', delete $option{path} // '/x');
    my $client = XL::Client->new(port => $s->port);
    return join ' ', map { $client->request($method, $path, %option)->{status} } 1 .. $n;
}

# Who is refused by that limit, after the code has used it up, comes to the page.
sub no_circle {
    my ($limit, $use_up) = @_;
    return subtest 'a page for the refused that sends them to itself' => sub {
        my $s = served("$limit exceeded=\"redirect /over.html\"\n");
        $use_up->($s);
        my ($exit, $said) = curl('-L', '--max-redirs', 3, '-w', ' %{http_code} %{num_redirects}',
            'http://localhost:' . $s->port . '/x');
        is("$exit $said", '0 over 200 1', 'who is refused comes to the page, by one redirect');
        ($exit, $said) = curl('-L', '--max-redirs', 3, '-w', ' %{http_code}', 'http://localhost:' . $s->port
            . '/over.html');
        is("$exit $said", '0 over 200', 'it is there for who asks for it, too');
    };
}

1;
