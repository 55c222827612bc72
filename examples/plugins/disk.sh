#!/bin/sh
# How full the file systems are.
#
# Shows: metrics with a type, a unit and tags (the full form), made with awk. The same name with
# other tags is another series, so each file system gets its own line in the chart.
#
# `df -P` is the portable output; awk turns its lines into JSON. A mount point may hold spaces,
# quotes or backslashes, so it is put together from the rest of the line and escaped.
df -P -k 2>/dev/null | awk '
    NR == 1 { next }
    $1 ~ /^(tmpfs|devtmpfs|udev|none|shm|efivarfs)$/ { next }   # not on a disk
    seen[$1]++ { next }       # one line per device, however often mounted
    {
        mount = $0
        sub(/^[^ ]+ +[0-9]+ +[0-9]+ +-?[0-9]+ +[-0-9]+% +/, "", mount)
        gsub(/["\\]/, "\\\\&", mount)
        used = ($3 + $4 > 0) ? 100 * $3 / ($3 + $4) : 0
        tags = "\"tags\":{\"mount\":\"" mount "\"}"
        out = out sep "{\"name\":\"disk_used\",\"type\":\"percent\",\"value\":" sprintf("%.2f", used) "," tags "}"
        out = out ",{\"name\":\"disk_free\",\"type\":\"integer\",\"unit\":\"B\",\"value\":" sprintf("%.0f", $4 * 1024) "," tags "}"
        sep = ","
    }
    END { print "{\"metrics\":[" out "]}" }
'
