#!/usr/bin/awk -f
# Memory, from /proc/meminfo, in bytes.
#
# Shows: any program with a `#!` line is a plugin, awk among them. A BEGIN block that reads the file
# itself keeps awk away from standard input, where the plugin's settings are.
BEGIN {
    while ((getline < "/proc/meminfo") > 0) {
        sub(/:$/, "", $1)
        kib[$1] = $2
    }
    if (!kib["MemTotal"]) {
        print "E! /proc/meminfo has no MemTotal" > "/dev/stderr"
        exit 1
    }
    total = kib["MemTotal"]; available = kib["MemAvailable"]
    printf "{\"metrics\":["
    printf "{\"name\":\"memory_total\",\"type\":\"integer\",\"unit\":\"B\",\"value\":%.0f},", total * 1024
    printf "{\"name\":\"memory_available\",\"type\":\"integer\",\"unit\":\"B\",\"value\":%.0f},", available * 1024
    printf "{\"name\":\"memory_used\",\"type\":\"percent\",\"value\":%.2f},", 100 * (total - available) / total
    printf "{\"name\":\"swap_used\",\"type\":\"integer\",\"unit\":\"B\",\"value\":%.0f}", (kib["SwapTotal"] - kib["SwapFree"]) * 1024
    print "]}"
}
