#!/usr/bin/env python3
"""The kernel's random numbers, in the map form.

Shows: the form that plugins of Sentinella print, an object of metrics by any key, with `row_name`
and `metric_name`. Such plugins run unchanged.
"""
import json


def number(name):
    with open(f"/proc/sys/kernel/random/{name}", encoding="ascii") as file:
        return int(file.read())


print(json.dumps({
    "metrics": {
        "metric_1": {
            "row_name": "Available entropy",
            "metric_name": "entropy_available",
            "value": number("entropy_avail"),
            "type": "integer",
        },
        "metric_2": {
            "row_name": "Pool size",
            "metric_name": "entropy_pool",
            "value": number("poolsize"),
            "type": "integer",
        },
    }
}))
