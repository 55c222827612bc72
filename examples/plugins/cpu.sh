#!/bin/bash
# How busy the processors are: the share of time since the run before.
#
# Shows: remembering something between runs. $TALAIA_STATE_DIR is a private folder of the plugin that
# stays; the numbers of this run are kept there and compared with in the next one. The first run has
# nothing to compare with and says so with `null`, an explicit gap.
#
# (A counter would do without this: print the total and let the hub make a rate of it. A share of
# two counters, as here, is what it cannot know.)
set -eu

# cpu  user nice system idle iowait irq softirq steal ...
read -r _ user nice system idle iowait irq softirq steal _ < /proc/stat
busy=$((user + nice + system + irq + softirq + steal))
total=$((busy + idle + iowait))

state="${TALAIA_STATE_DIR:?run me with talaia}/last"
used=null
if [[ -r $state ]] && read -r last_busy last_total < "$state" && ((total > last_total)); then
    # Whole numbers only in bash, so hundredths of a percent, and then the point.
    hundredths=$(((busy - last_busy) * 10000 / (total - last_total)))
    if ((hundredths >= 0)); then
        printf -v used '%d.%02d' $((hundredths / 100)) $((hundredths % 100))
    fi
fi

# A new file moved over the old one: a run that is killed here leaves no half file behind.
echo "$busy $total" > "$state.new"
mv "$state.new" "$state"

echo "[{\"name\": \"cpu_used\", \"type\": \"percent\", \"value\": $used}]"
