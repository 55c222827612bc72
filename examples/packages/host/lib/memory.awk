# Memory and swap space from meminfo, in bytes there KiB; swapping and kills from vmstat.

BEGIN {
    root = setting("root", "/proc")
    file = root "/meminfo"
    while ((got = (getline line < file)) > 0) {
        split(line, f, " ")
        if (f[1] ~ /:$/ && f[2] ~ /^[0-9]+$/) kib[substr(f[1], 1, length(f[1]) - 1)] = f[2]
    }
    if (got < 0) fail("cannot read " file)
    if (kib["MemTotal"] + 0 == 0) fail(file " has no MemTotal")

    # Kernels before 3.14 do not say what is available.
    if (!("MemAvailable" in kib))
        kib["MemAvailable"] = kib["MemFree"] + kib["Buffers"] + kib["Cached"]

    bytes("memory_total", "MemTotal")
    bytes("memory_available", "MemAvailable")
    bytes("memory_free", "MemFree")
    bytes("memory_buffers", "Buffers")
    bytes("memory_cached", "Cached")
    bytes("memory_shared", "Shmem")
    bytes("memory_slab", "Slab")
    bytes("memory_dirty", "Dirty")
    metric("memory_used", percent(kib["MemTotal"] - kib["MemAvailable"], kib["MemTotal"]))
    bytes("swap_total", "SwapTotal")
    bytes("swap_free", "SwapFree")
    # Without swap space there is no share of it.
    metric("swap_used", percent(kib["SwapTotal"] - kib["SwapFree"], kib["SwapTotal"]))

    while ((getline line < (root "/vmstat")) > 0) {
        split(line, f, " ")
        if (f[1] == "pswpin") metric("swap_in", whole(f[2]))
        else if (f[1] == "pswpout") metric("swap_out", whole(f[2]))
        else if (f[1] == "oom_kill") metric("oom_kills", whole(f[2]))
    }
}

function bytes(name, key) {
    if (key in kib) metric(name, sprintf("%.0f", kib[key] * 1024))
}
