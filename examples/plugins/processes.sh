#!/bin/sh
# How many processes there are, by state.
#
# Shows: several documents from one run. Each line is complete by itself, so a loop can print as it
# goes; nothing has to be collected for one big document.
#
# The state is what follows the last `)` in /proc/PID/stat: the name before it may hold anything.
# `cat` complains about processes that end meanwhile; that is no news.
cat /proc/[0-9]*/stat 2>/dev/null | awk '
    { sub(/^.*\) /, ""); count[substr($0, 1, 1)]++; all++ }
    END {
        state["R"] = "running"; state["S"] = "sleeping"; state["D"] = "waiting"
        state["Z"] = "zombie"; state["T"] = "stopped"; state["I"] = "idle"
        for (letter in state)
            printf "{\"name\":\"processes\",\"type\":\"integer\",\"value\":%d,\"tags\":{\"state\":\"%s\"}}\n", count[letter], state[letter]
        printf "{\"name\":\"processes_total\",\"type\":\"integer\",\"value\":%d}\n", all
    }
'
