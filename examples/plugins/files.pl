#!/usr/bin/perl
# Open files in the whole system, and how near that is to the limit.
#
# Shows: JSON::PP, which is part of Perl, and warn and crit, which are drawn in the chart and sent
# on. They judge nothing here: alerts are made where the metrics end up.
use strict;
use warnings;
use JSON::PP;

open my $file, '<', '/proc/sys/fs/file-nr' or die "E! cannot read file-nr: $!\n";
my ($open, undef, $most) = split ' ', scalar <$file>;

# Adding 0 makes a number of a string; without it JSON::PP would print quotes.
my @metrics = ({ name => 'files_open', type => 'integer', label => 'Open files', value => $open + 0 });

# Today's systems hardly have a limit; a share of nearly nothing says nothing.
push @metrics, {
    name => 'files_used', type => 'percent', warn => 80, crit => 90,
    value => 0 + sprintf('%.2f', 100 * $open / $most),
} if $most < 1e12;

print JSON::PP->new->canonical->encode({ metrics => \@metrics }), "\n";
