#!/bin/sh
# Processors busy since the last answer, in percent. Lives on (mode = "stream", trigger = "tick"):
# what it has to remember is in its variables, where cpu.sh has to write a file.

before_all=0
before_idle=0

# A line comes when an answer is due; the end of the input means stop.
while read -r _tick; do
    read -r _cpu user nice system idle iowait irq softirq steal _rest </proc/stat
    all=$((user + nice + system + idle + iowait + irq + softirq + steal))
    idle=$((idle + iowait))
    spent=$((all - before_all))
    busy=$((spent - idle + before_idle))
    before_all=$all
    before_idle=$idle
    # One line for each tick. The first answer is the average since the machine started.
    if [ "$spent" -gt 0 ]; then
        tenths=$((1000 * busy / spent))
        echo "{\"name\":\"cpu_busy\",\"value\":$((tenths / 10)).$((tenths % 10)),\"type\":\"percent\"}"
    else
        echo '{"name":"cpu_busy","value":null,"type":"percent"}'
    fi
done
