# Load averages, what they come to for each processor, pressure, uptime.

BEGIN {
    root = setting("root", "/proc")
    file = root "/loadavg"
    if ((getline line < file) < 0) fail("cannot read " file)
    # 0.42 0.36 0.30 2/413 25775: running and all threads, the last process id
    if (split(line, f, "[ /]") < 5 || f[1] !~ /^[0-9.]+$/) fail(file " is not load averages: " line)
    metric("load1", number(f[1]))
    metric("load5", number(f[2]))
    metric("load15", number(f[3]))
    metric("threads_running", whole(f[4]))
    metric("threads_total", whole(f[5]))

    while ((getline line < (root "/stat")) > 0) {
        if (line ~ /^cpu[0-9]/) cpus++
        else if (cpus) break
    }
    metric("load_per_cpu", cpus ? sprintf("%.2f", f[2] / cpus) : "null")

    if ((getline line < (root "/uptime")) > 0) {
        split(line, f, " ")
        metric("uptime", number(f[1]))
    }

    # Pressure stall information: since Linux 4.20, where it is not switched off.
    # some avg10=2.59 avg60=40.19 avg300=28.64 total=143948059
    split("cpu memory io", resource)
    for (i = 1; i <= 3; i++) {
        file = root "/pressure/" resource[i]
        while ((getline line < file) > 0) {
            n = split(line, f, "[ =]")
            if (n < 9) continue
            tags = tag("resource", resource[i]) "," tag("stalled", f[1])
            metric("pressure", number(f[5]), tags)
            metric("pressure_time", whole(f[9]), tags)
        }
    }
}
