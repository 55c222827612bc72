# Units of systemd by state, those that failed, and chosen units in detail.
#
# Where systemd does not run, that is the result (`unknown`, and why), not a failure of the plugin.

BEGIN {
    systemctl = shell(setting("systemctl", "systemctl"))
    if (all_units()) {
        if (SET["units", "n"] + 0 > 0) chosen_units()
        status = problems == "" ? "ok" : critical ? "critical" : "warning"
    } else {
        status = "unknown"
        problems = complaint == "" ? "systemctl lists no units" : complaint
        metric("units_total", "null")
        metric("units_failed", "null")
    }
    print "{\"metrics\":[],\"status\":\"" status "\",\"message\":" (problems == "" ? "null" : quote(problems)) "}"
}

# NAME LOAD ACTIVE SUB DESCRIPTION. Names have no spaces (systemd escapes them); before a unit that
# failed, older versions put a mark. What is no such line is a complaint.
function all_units(    command, line, f, i, state, all, failed, count, names, states) {
    command = systemctl " list-units --all --full --plain --no-legend --no-pager 2>&1"
    while ((command | getline line) > 0) {
        sub(/^[^-A-Za-z0-9_.:\\@]+/, "", line)
        if (split(line, f, " ") < 4 || f[1] !~ /[.][a-z]+$/ || f[2] !~ /^[a-z-]+$/ || f[3] !~ /^[a-z-]+$/) {
            if (complaint == "" && line != "") complaint = line
            continue
        }
        if (f[2] == "not-found") continue       # only mentioned by others
        all++
        count[f[3]]++
        if (f[3] == "failed" && !listed(f[1], "ignore_failed")) {
            failed++
            if (failed <= 10) { names = names (failed > 1 ? ", " : "") f[1]; told[f[1]] = 1 }
        }
    }
    close(command)
    if (!all) return 0

    # All states every time: a series that comes and goes cannot be told from one that was lost.
    states = split("active reloading inactive failed activating deactivating maintenance", state)
    for (i = 1; i <= states; i++) metric("units", count[state[i]] + 0, tag("state", state[i]))
    metric("units_total", all)
    metric("units_failed", failed + 0)
    if (failed) problem("failed: " names (failed > 10 ? " and " failed - 10 " more" : ""), 0)
    return 1
}

# Blocks of KEY=VALUE with an empty line between them: first the units named in full, in their order,
# then those that fit patterns.
function chosen_units(    command, i, name, named, patterns, line, at, got) {
    if ((getline line < (setting("root", "/proc") "/uptime")) > 0) uptime = line + 0
    for (i = 1; i <= SET["units", "n"]; i++) {
        name = SET["units", i]
        if (name ~ /[*?[]/) patterns = patterns " " shell(name)
        else { command = command " " shell(name); named++ }
    }
    command = systemctl " show --no-pager --property=Id,LoadState,ActiveState,SubState,NRestarts," \
        "MemoryCurrent,CPUUsageNSec,TasksCurrent,ActiveEnterTimestampMonotonic --" command patterns
    split("", unit)
    while ((command | getline line) > 0) {
        if (line != "") {
            at = index(line, "=")
            unit[substr(line, 1, at - 1)] = substr(line, at + 1)
        } else if ("Id" in unit) { one_unit(++blocks <= named); split("", unit) }
    }
    close(command)
    if ("Id" in unit) one_unit(++blocks <= named)
    if (blocks < named) problem("`systemctl show` told of " blocks + 0 " of " named " units", 0)
    else if (patterns != "" && blocks == named + 0) problem("no unit fits" patterns, 0)
}

# A unit named in full has to be active. One that a pattern found may rest.
function one_unit(named,    tags, state, active) {
    if (shown[unit["Id"]]++) return             # named twice, also by another of its names
    tags = tag("unit", unit["Id"])
    state = unit["ActiveState"]
    active = state == "active" || state == "reloading"
    metric("unit_active", active ? "true" : "false", tags)
    metric("unit_state", quote(state " (" unit["SubState"] ")"), tags)
    if (unit["LoadState"] == "not-found") {
        if (named) problem("there is no " unit["Id"], 1)
        return
    }
    if (named && unit["Id"] in told) critical = 1
    else if (named && !active)
        problem(unit["Id"] " is " state " (" unit["SubState"] ")", state != "activating")

    # Without accounting, and while it rests, there is nothing to tell.
    if (known(unit["MemoryCurrent"])) metric("unit_memory", unit["MemoryCurrent"], tags)
    if (known(unit["CPUUsageNSec"])) metric("unit_cpu", sprintf("%.3f", unit["CPUUsageNSec"] / 1e9), tags)
    if (known(unit["TasksCurrent"])) metric("unit_tasks", unit["TasksCurrent"], tags)
    if (known(unit["NRestarts"])) metric("unit_restarts", unit["NRestarts"], tags)
    if (active && uptime && unit["ActiveEnterTimestampMonotonic"] > 0)
        metric("unit_active_for", sprintf("%.0f", max(0, uptime - unit["ActiveEnterTimestampMonotonic"] / 1e6)), tags)
}

# Not `[not set]`, nor the greatest number of 64 bits, which says the same in older versions.
function known(text) { return text ~ /^[0-9]+$/ && text != "18446744073709551615" }

function max(a, b) { return a > b ? a : b }

function problem(text, is_critical) {
    problems = problems (problems == "" ? "" : "; ") text
    if (is_critical) critical = 1
}
