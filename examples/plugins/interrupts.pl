#!/usr/bin/perl
# Interrupts and context switches since the machine started. Lives on (mode = "stream") and prints when
# it likes: every two seconds.

use strict;
use warnings;

$| = 1;    # without this perl keeps what is printed until some kilobytes have gathered

while (1) {
    open my $stat, '<', '/proc/stat' or die "E! /proc/stat: $!\n";
    my %found;
    while (<$stat>) {
        $found{interrupts} = $1 if /^intr (\d+)/;
        $found{switches}   = $1 if /^ctxt (\d+)/;
    }
    close $stat;
    my @metrics = map { qq({"name":"$_","value":$found{$_},"type":"counter"}) } sort keys %found;
    print '[', join(',', @metrics), "]\n";

    # Sleeps until the next reading, or the end of the input, which means stop.
    my $ready = '';
    vec($ready, fileno(STDIN), 1) = 1;
    exit 0 if select($ready, undef, undef, 2);
}
