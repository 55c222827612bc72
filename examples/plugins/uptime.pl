#!/usr/bin/perl
# How long the machine has been up, and what it runs.
#
# Shows: a string as a metric, and a flat document printed without any JSON module. Perl comes with
# JSON::PP, but a flat document needs no more than printf, as long as strings are escaped.
use strict;
use warnings;

sub first_line {
    my ($path) = @_;
    open my $file, '<', $path or die "E! cannot read $path: $!\n";
    my $line = <$file> // '';
    chomp $line;
    return $line;
}

my ($up) = split ' ', first_line('/proc/uptime');
my $kernel = first_line('/proc/sys/kernel/osrelease');
$kernel =~ s/(["\\])/\\$1/g;

printf qq({"uptime": %.0f, "kernel": "%s"}\n), $up, $kernel;
