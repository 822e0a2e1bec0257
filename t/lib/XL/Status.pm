# SPDX-License-Identifier: Apache-2.0
#
# XL::Status: the counters of a server under test, read from its status page. The
# page stands in a virtual host of its own, on the second port, so that
# reading changes none of the numbers that a test looks at:
#
#     my $s = XL::Server->new(ports => 2, conf => status_conf() . 'XLimitQuota all 10MB day');
#     limit($s, 'quota-all-day')->{used}
#     vhost($s)->{requests}
package XL::Status;

use strict;
use warnings;

use Carp qw(croak);
use Exporter qw(import);
use JSON::PP qw(decode_json);

use XL::Client qw(fetch);

our @EXPORT_OK = qw(status_conf status limit vhost change);

sub status_conf {
    return <<'CONF';
<VirtualHost 127.0.0.1:@PORT1@>
    ServerName status
    XLimitInherit Off
    <Location /xlimit-status>
        SetHandler xlimit-status
    </Location>
</VirtualHost>
CONF
}

# The whole page, decoded, or what another parameter leaves of it.
sub status {
    my ($server, $more) = @_;
    my $query = 'format=json' . (defined $more ? "&$more" : '');
    my $response = fetch($server->port(1), "/xlimit-status?$query", keep => 1);
    croak "status page: $response->{status}\n$response->{body}" if $response->{status} != 200;
    return decode_json($response->{body});
}

# The row of a limit of that name; where more than one has it, the one in that
# place ("Location /a") or of a virtual host whose name begins so, and if these
# are still more than one, the main server's.
sub limit {
    my ($server, $name, $where) = @_;
    my @rows = grep { $_->{name} eq $name } @{ status($server)->{limits} };
    @rows = grep { ($_->{place} // '') eq $where || is_of($_, $where) } @rows if defined $where;
    @rows = grep { is_of($_, main($server)) } @rows if @rows > 1;
    croak scalar(@rows) . " limits called $name" . (defined $where ? " in $where" : '') if @rows != 1;
    return $rows[0];
}

sub is_of { index($_[0]{vhost} // '', $_[1]) == 0 }

sub main { 'localhost:' . $_[0]->port }

# The row of the virtual host whose name begins so (default: the main server).
sub vhost {
    my ($server, $name) = @_;
    $name //= main($server);
    my @rows = grep { is_of($_, $name) } @{ status($server)->{vhosts} };
    croak scalar(@rows) . " virtual hosts called $name" if @rows != 1;
    return $rows[0];
}

# What that row grew by while the code ran: {requests => 1, sent => 512, passed => 1},
# only what is not 0. Responses are over when their client has them; that their
# requests are no longer active is waited for.
sub change {
    my ($server, $code, $name) = @_;
    my $before = vhost($server, $name);
    $code->();
    my $after;
    $server->wait_for(sub { $after = vhost($server, $name); !$after->{active} }, 10)
        or croak 'requests are still active';
    my %grown = map { $_ => $after->{$_} - $before->{$_} } grep { !/^(vhost|account|active|refusing)$/ } keys %$after;
    return { map { $grown{$_} ? ($_ => $grown{$_}) : () } keys %grown };
}

1;
