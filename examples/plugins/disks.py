#!/usr/bin/env python3
"""Bytes read and written by each disk since the machine started.

Lives on (mode = "stream", trigger = "tick"): the interpreter is started once, not for each reading.
"""

import json
import os
import sys

SECTOR = 512

for _tick in sys.stdin:  # its end means stop
    metrics = []
    with open("/proc/diskstats") as stats:
        for line in stats:
            fields = line.split()
            name = fields[2]
            if name.startswith(("loop", "ram")) or not os.path.exists(f"/sys/block/{name}"):
                continue
            tags = {"disk": name}
            for what, sectors in (("disk_read", fields[5]), ("disk_written", fields[9])):
                metrics.append(
                    {"name": what, "value": int(sectors) * SECTOR, "type": "counter", "unit": "B", "tags": tags}
                )
    print(json.dumps({"metrics": metrics}), flush=True)  # one line for each tick
