#!/bin/sh
# The smallest plugin: print one JSON object, and each key is a metric.
read -r one five fifteen _ < /proc/loadavg
echo "{\"load1\": $one, \"load5\": $five, \"load15\": $fifteen}"
