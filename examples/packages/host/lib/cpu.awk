# cpu  user nice system idle iowait irq softirq steal guest guest_nice, in hundredths of a second.
# The time of guests is part of user and nice. Counters are printed as they are. Shares are of the
# time since the run before, which is kept in the state folder; the first run has `null`.

BEGIN {
    root = setting("root", "/proc")
    split("user nice system idle iowait irq softirq steal", mode)

    file = root "/stat"
    while ((got = (getline line < file)) > 0) {
        n = split(line, f, " ")
        if (f[1] ~ /^cpu[0-9]*$/ && n >= 5) {
            cpus += f[1] != "cpu"
            now[++count] = f[1]
            for (i = 1; i <= 8; i++) now[f[1], i] = f[i + 1] + 0
        } else if (f[1] == "ctxt") switches = f[2]
        else if (f[1] == "intr") interrupts = f[2]
    }
    if (got < 0) fail("cannot read " file)
    if (!(("cpu", 1) in now)) fail(file " has no line `cpu`")

    # A restart of the machine begins all counters again.
    getline boot < (root "/sys/kernel/random/boot_id")
    state = ENVIRON["TALAIA_STATE_DIR"]
    if (state != "") recall(state "/cpu")

    for (i = 1; i <= 8; i++) metric("cpu_time", sprintf("%.2f", now["cpu", i] / 100), tag("mode", mode[i]))
    metric("cpus", cpus ? cpus : "null")
    metric("cpu_used", used("cpu"))
    metric("cpu_user", share("cpu", 1, 2))
    metric("cpu_system", share("cpu", 3, 3))
    metric("cpu_iowait", share("cpu", 5, 5))
    metric("cpu_steal", share("cpu", 8, 8))
    metric("context_switches", whole(switches))
    metric("interrupts", whole(interrupts))
    if (setting("per_core", 0))
        for (i = 1; i <= count; i++)
            if (now[i] != "cpu") metric("cpu_core_used", used(now[i]), tag("cpu", substr(now[i], 4)))

    if (state != "") keep(state "/cpu")
}

# What the run before kept. A file without its last line was never finished and counts as none: so it
# can be written in place, and there is no second file to leave behind.
function recall(file,    line, f, i, finished) {
    getline line < file
    if (line == "boot " boot) {
        while ((getline line < file) > 0) {
            if (line == "end") finished = 1
            split(line, f, " ")
            for (i = 1; i <= 8; i++) before[f[1], i] = f[i + 1] + 0
        }
    }
    close(file)
    if (!finished) split("", before)
}

function keep(file,    i, j, text) {
    text = "boot " boot "\n"
    for (j = 1; j <= count; j++) {
        text = text now[j]
        for (i = 1; i <= 8; i++) text = text sprintf(" %.0f", now[now[j], i])
        text = text "\n"
    }
    print text "end" > file
    close(file)
}

# Passed since the run before, in the modes from `first` to `last`. Some of them may step back a little.
function passed(cpu, first, last,    i, sum) {
    for (i = first; i <= last; i++)
        if (now[cpu, i] > before[cpu, i]) sum += now[cpu, i] - before[cpu, i]
    return sum + 0
}

function share(cpu, first, last) {
    return ((cpu, 1) in before) ? percent(passed(cpu, first, last), passed(cpu, 1, 8)) : "null"
}

function used(cpu) {
    return ((cpu, 1) in before) ? percent(passed(cpu, 1, 8) - passed(cpu, 4, 5), passed(cpu, 1, 8)) : "null"
}
