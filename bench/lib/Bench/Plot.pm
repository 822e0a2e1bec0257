# SPDX-License-Identifier: Apache-2.0
#
# Bench::Plot: lines over time as one SVG file, without a library. Colours are
# readable on light and on dark ground alike; each line also has its own dashes
# and its name at its side, so that nothing hangs on colour alone. What goes off
# the top of the scale is drawn at the top, with its value said.
package Bench::Plot;

use strict;
use warnings;

use List::Util qw(max min);

use constant { WIDTH => 925, HEIGHT => 400, LEFT => 62, RIGHT => 215, TOP => 44, BOTTOM => 52 };

my @colours = ('#9a6fb0', '#c77d1e', '#2f7fc1', '#3c9a5f');
my @dashes  = ('2 3', '7 3', '', '');

# title, x, y: texts; step: of x between two values; target: a level line; marks: x of upright lines;
# lines: [[name, [values]], ...], the last ones on top.
sub lines {
    my (%plot) = @_;
    my $xs = $plot{step} * max(map { scalar @{ $_->[1] } } @{ $plot{lines} });
    my $most = max(map { @{ $_->[1] } } @{ $plot{lines} });
    my $ys = nice(min($most, 2 * $plot{target}));
    my $at = {
        x => sub { LEFT + $_[0] / $xs * (WIDTH - LEFT - RIGHT) },
        y => sub { HEIGHT - BOTTOM - min($_[0], $ys) / $ys * (HEIGHT - TOP - BOTTOM) },
    };
    my $svg = head(%plot) . axes($at, $xs, $ys, %plot);
    my $i = @colours - @{ $plot{lines} };
    my $row = 0;
    for my $line (reverse 0 .. $#{ $plot{lines} }) {
        $svg .= legend($row++, $line + $i, $plot{lines}[$line], $ys);
    }
    $svg .= line($at, $plot{step}, $_ + $i, $plot{lines}[$_]) for 0 .. $#{ $plot{lines} };
    return $svg . "</svg>\n";
}

sub head {
    my (%plot) = @_;
    my ($w, $h) = (WIDTH, HEIGHT);
    return <<"EOT";
<?xml version="1.0" encoding="UTF-8"?>
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 $w $h" width="$w" height="$h" role="img" aria-labelledby="title">
<title id="title">@{[text($plot{title})]}</title>
<style>
  text { font: 13px sans-serif; fill: #202428 }
  .ground { fill: #ffffff } .grid { stroke: #d9dde1 } .axis, .mark { stroke: #5c656d } .mark { stroke-dasharray: 3 4 }
  .line { fill: none; stroke-width: 1.6; stroke-linejoin: round }
  \@media (prefers-color-scheme: dark) {
    text { fill: #e4e7ea } .ground { fill: #16191c } .grid { stroke: #33393f } .axis, .mark { stroke: #98a2ab }
  }
</style>
<rect class="ground" width="$w" height="$h"/>
<text x="@{[LEFT]}" y="24" style="font-weight: bold">@{[text($plot{title})]}</text>
EOT
}

sub axes {
    my ($at, $xs, $ys, %plot) = @_;
    my ($left, $right, $low) = (LEFT, $at->{x}($xs), HEIGHT - BOTTOM);
    my $svg = '';
    for my $i (0 .. 5) {
        my $y = $at->{y}($ys * $i / 5);
        $svg .= straight('grid', $left, $y, $right, $y) . words($left - 8, $y + 4, sprintf('%g', $ys * $i / 5), 'end');
    }
    for (my $x = 0; $x <= $xs; $x += 2) {
        $svg .= straight('axis', $at->{x}($x), $low, $at->{x}($x), $low + 4) . words($at->{x}($x), $low + 18, $x);
    }
    $svg .= straight('mark', $at->{x}($_), TOP, $at->{x}($_), $low) for @{ $plot{marks} // [] };
    my $target = $at->{y}($plot{target});
    my $middle = (TOP + $low) / 2;
    return $svg . straight('axis', $left, $low, $right, $low) . straight('mark', $left, $target, $right, $target)
        . words(($left + $right) / 2, HEIGHT - 12, $plot{x})
        . words(16, $middle, $plot{y}, 'middle', qq( transform="rotate(-90 16 $middle)"));
}

sub straight {
    my ($class, @ends) = @_;
    return sprintf qq(<line class="%s" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>\n), $class, @ends;
}

sub words {
    my ($x, $y, $text, $anchor, $more) = @_;
    return sprintf qq(<text x="%.1f" y="%.1f" text-anchor="%s"%s>%s</text>\n), $x, $y, $anchor // 'middle', $more // '',
        text($text);
}

sub style {
    my ($i) = @_;
    my $dash = $dashes[$i % @dashes];
    return sprintf 'stroke="%s"%s', $colours[$i % @colours], $dash ? qq( stroke-dasharray="$dash") : '';
}

sub line {
    my ($at, $step, $i, $line) = @_;
    my @values = @{ $line->[1] };
    my @points = map { sprintf '%.1f,%.1f', $at->{x}($step * ($_ + 0.5)), $at->{y}($values[$_]) } 0 .. $#values;
    return sprintf qq(<polyline class="line" %s points="%s"><title>%s</title></polyline>\n), style($i),
        "@points", text($line->[0]);
}

sub legend {
    my ($row, $i, $line, $ys) = @_;
    my ($x, $y) = (WIDTH - RIGHT + 14, TOP + 12 + 38 * $row);
    my $most = max(@{ $line->[1] });
    my $more = sprintf 'at most %.1f%s', $most, $most > $ys ? ', off the scale' : '';
    my $sample = sprintf '%s x1="%d" x2="%d" y1="%d" y2="%d"', style($i), $x, $x + 24, $y - 4, $y - 4;
    return qq(<line class="line" $sample/>\n)
        . words($x + 30, $y, $line->[0], 'start') . words($x + 30, $y + 14, $more, 'start', ' style="font-size: 11px"');
}

# The least 1, 2, 2.5 or 5 times a power of ten that is not below.
sub nice {
    my ($value) = @_;
    my $power = 10**int(log($value) / log(10));
    return (grep { $_ >= $value } map { $_ * $power } 1, 1.2, 1.5, 2, 2.5, 5, 10)[0] // $value;
}

sub text { return $_[0] =~ s/&/&amp;/gr =~ s/</&lt;/gr =~ s/>/&gt;/gr }

1;
