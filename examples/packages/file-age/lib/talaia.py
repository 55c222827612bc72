"""What the two programs of this package share: settings, the findings of files, and printing."""

import glob
import json
import os
import re
import sys
import time

SPAN = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
SIZE = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
        "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def warn(message):
    print("W! " + text(message), file=sys.stderr)


def fail(message):
    sys.exit("E! " + text(message))


def text(name):
    """A path or message as text that can be printed: bytes that are not UTF-8, and control characters, as `\\xNN`."""
    shown = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() or c == " " else c.encode("unicode_escape").decode() for c in shown)


def settings():
    path = os.environ.get("TALAIA_CONFIG")
    if not path:
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError) as error:
        fail(f"cannot read the settings in {path}: {error}")
    if not isinstance(found, dict):
        fail("the settings are not a table")
    return found


def now():
    """Unix seconds; the variable NOW has the word, for recorded runs."""
    return float(os.environ.get("NOW") or time.time())


def quantity(value, units, what, where):
    """The number of `26h`, `1h 30m` or `10MiB`; a bare number is seconds or bytes."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]+)\s*", value) if isinstance(value, str) else []
    whole = isinstance(value, str) and re.fullmatch(r"\s*([0-9]+(\.[0-9]+)?\s*[A-Za-z]+\s*)+", value)
    if not whole or any(unit not in units for _, unit in parts):
        fail(f"{where}: {json.dumps(value)} is no {what}; such as {'26h' if units is SPAN else '10MiB'}")
    return sum(float(number) * units[unit] for number, unit in parts)


def entries(config, key, known):
    """The list of things to look at, each a path or a table with `path`, as tables."""
    found = config.get(key, [])
    if not isinstance(found, list):
        fail(f"{key} is not a list")
    out = []
    for i, entry in enumerate(found):
        if isinstance(entry, str):
            entry = {"path": entry}
        where = f"{key}[{i}]"
        if not isinstance(entry, dict) or not isinstance(entry.get("path"), str) or not entry["path"]:
            fail(f"{where} is neither a path nor a table with `path`")
        unknown = sorted(set(entry) - set(known))
        if unknown:
            fail(f"{where}: unknown setting `{unknown[0]}`; there are {', '.join(known)}")
        out.append((where, entry))
    return out


def find(root, pattern):
    """The paths that fit, sorted, and what kept from looking. A path that is there as it is written is no pattern."""
    path = os.path.join(root, pattern)
    if os.path.lexists(path) or not glob.has_magic(path):
        try:
            os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return [], None
        except (OSError, ValueError) as error:
            return [], f"cannot look at {pattern}: {reason(error)}"
        return [path], None
    # `glob` says nothing of a folder that it may not read.
    folder = path
    while glob.has_magic(folder):
        folder = os.path.dirname(folder)
    if os.path.isdir(folder) and not os.access(folder, os.R_OK | os.X_OK):
        return [], f"cannot look into {shown(root, pattern, folder)}: permission denied"
    return sorted(glob.glob(path, recursive=True)), None


def shown(root, pattern, path):
    """The path as the pattern was written: from the root where it began there."""
    return path if os.path.isabs(pattern) else os.path.relpath(path, root)


def recorded_times(path):
    """{path: Unix seconds} that are believed over the file system, for files whose times were lost in a copy."""
    if not path:
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            return {name: float(seconds) for name, seconds in json.load(file).items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        fail(f"times: cannot read {path}: {reason(error)}")


def reason(error):
    """`Permission denied`, without number and path."""
    return (getattr(error, "strerror", None) or str(error)).lower()


class Report:
    """Records and problems; printed as one document."""

    def __init__(self):
        self.metrics = []
        self.problems = {"critical": [], "warning": []}

    def add(self, name, value, tags=None, **more):
        record = {"name": name, "value": value}
        if tags:
            record["tags"] = tags
        record.update((key, what) for key, what in more.items() if what is not None)
        self.metrics.append(record)

    def problem(self, how_bad, message):
        self.problems[how_bad].append(text(message))

    def print(self):
        all_of_them = self.problems["critical"] + self.problems["warning"]
        status = "critical" if self.problems["critical"] else "warning" if all_of_them else "ok"
        message = "; ".join(all_of_them[:10]) or None
        if len(all_of_them) > 10:
            message += f"; and {len(all_of_them) - 10} more"
        print(json.dumps({"metrics": self.metrics, "status": status, "message": message}, ensure_ascii=False))
