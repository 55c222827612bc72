#!/usr/bin/env python3
"""Asks a web server how it is, and how long the answer took. Here: the hub itself.

Shows: settings from the config, and a status with a message. What is found to be broken is a
result, not a failure of the plugin: it exits with 0 and says `critical`. A traceback or another
exit code would mean that the *check* could not be made.

The `config` table of the plugin is JSON on its standard input (and in the file $TALAIA_CONFIG).
"""
import json
import sys
import time
import urllib.error
import urllib.request

settings = json.load(sys.stdin)
url = settings["url"]
slow = settings.get("slow_ms", 500)

# The system's proxy settings have no say in a check of this very machine.
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
started = time.monotonic()
try:
    with opener.open(url, timeout=settings.get("timeout", 4)) as answer:
        answer.read(65536)
        code = answer.status
    problem = None
except urllib.error.HTTPError as error:
    code, problem = error.code, f"{url} answers {error.code} {error.reason}"
except Exception as error:  # refused, timed out, no such host, not HTTP, ...
    code, problem = None, f"{url}: {getattr(error, 'reason', error)}"
took = (time.monotonic() - started) * 1000

if problem:
    status, message = "critical", problem
elif took > slow:
    status, message = "warning", f"{url} took {took:.0f} ms"
else:
    status, message = "ok", None

print(json.dumps({
    "status": status,
    "message": message,
    "tags": {"url": url},
    "metrics": [
        {"name": "http_up", "type": "boolean", "value": problem is None},
        {"name": "http_code", "type": "integer", "value": code},  # null: an explicit gap
        {"name": "http_time", "type": "float", "unit": "ms", "value": round(took, 2), "warn": slow},
    ],
}))
