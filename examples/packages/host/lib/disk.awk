# Space and inodes by mount, and what was read and written by disk.

BEGIN {
    root = setting("root", "/proc")
    disks()
    if (mounts()) space()
}

# The mounts to look at, in `mount`, and whether each is read-only.
#   27 1 254:0 / /mount/point rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro
# Each device is looked at once, wherever it was mounted first; spaces and the like are `\040`.
function mounts(    file, line, got, f, g, dash) {
    file = root "/self/mountinfo"
    while ((got = (getline line < file)) > 0) {
        dash = index(line, " - ")
        if (!dash || split(line, f, " ") < 6) continue
        split(substr(line, dash + 3), g, " ")
        f[5] = unescape(f[5])
        if (listed(f[5], "ignore_mounts")) continue
        if (SET["mounts", "n"] + 0 > 0) {
            if (!listed(f[5], "mounts")) continue
        } else if (!listed(g[1], "filesystems") || seen[f[3]]++) continue
        # Of two on one mount point the later one is what is seen.
        if (!(f[5] in position)) mount[position[f[5]] = ++count] = f[5]
        readonly[position[f[5]]] = ("," f[6] "," g[3] ",") ~ /,ro,/ ? "true" : "false"
    }
    if (got < 0) fail("cannot read " file)
    if (!count) warn("no mount fits the settings")
    return count
}

# One `stat` for all mounts: block size, blocks, free, free for users, inodes, free inodes, name.
function space(    command, i, next_one, line, n, f, name) {
    command = shell(setting("stat", "stat")) " -f -c '%S %b %f %a %c %d %n' --"
    for (i = 1; i <= count; i++) command = command " " shell(mount[i])
    next_one = 1
    while ((command | getline line) > 0) {
        if (!match(line, /^[0-9]+ [0-9]+ [0-9]+ [0-9]+ [0-9]+ [0-9]+ /)) continue
        split(line, f, " ")
        name = substr(line, RLENGTH + 1)
        # In the order asked for, less those that could not be looked at. Of a name with a line end
        # its first line is here.
        for (i = next_one; i <= count; i++) if (name == first_line(mount[i])) break
        if (i > count) continue
        next_one = i + 1
        report(i, f[1], f[2], f[3], f[4], f[5], f[6])
    }
    close(command)
    if (next_one == 1) fail("`" setting("stat", "stat") " -f` said nothing of any of the " count " mounts")
}

function report(i, size, blocks, free, usable, inodes, inodes_free,    tags) {
    if (blocks + 0 == 0) return                 # nothing that could fill up
    tags = tag("mount", mount[i])
    # As `df` has it: what only root may use counts neither as used nor as free.
    metric("disk_used", percent(blocks - free, blocks - free + usable), tags)
    metric("disk_free", sprintf("%.0f", usable * size), tags)
    metric("disk_total", sprintf("%.0f", blocks * size), tags)
    metric("disk_readonly", readonly[i], tags)
    if (inodes + 0 == 0) return                 # btrfs, vfat: made when they are needed
    metric("inodes_used", percent(inodes - inodes_free, inodes), tags)
    metric("inodes_free", whole(inodes_free), tags)
}

# 8 0 sda reads merged sectors ms writes merged sectors ms in-flight busy-ms ...
# A sector is always 512 bytes here. Partitions are left out: they are not in /sys/block.
function disks(    file, line, got, n, f, tags) {
    file = root "/diskstats"
    while ((got = (getline line < file)) > 0) {
        n = split(line, f, " ")
        if (n < 13 || !wanted(f[3], "disks", "ignore_disks")) continue
        if (SET["disks", "n"] + 0 == 0 && !whole_disk(f[3])) continue
        tags = tag("disk", f[3])
        metric("disk_read", sprintf("%.0f", f[6] * 512), tags)
        metric("disk_written", sprintf("%.0f", f[10] * 512), tags)
        metric("disk_reads", whole(f[4]), tags)
        metric("disk_writes", whole(f[8]), tags)
        metric("disk_busy", sprintf("%.3f", f[13] / 1000), tags)
        metric("disk_in_flight", whole(f[12]), tags)
    }
    if (got < 0) warn("cannot read " file)      # containers without it still have space
}

function whole_disk(name,    file, line, got) {
    gsub("/", "!", name)                        # cciss/c0d0
    file = setting("sys", "/sys") "/block/" name "/size"
    got = (getline line < file)
    close(file)
    return got > 0 && line + 0 > 0              # an empty loop or card reader has nothing to say
}

function first_line(text,    at) { return (at = index(text, "\n")) ? substr(text, 1, at - 1) : text }

# Octal escapes of mountinfo.
function unescape(text,    out) {
    while (match(text, /\\[0-7][0-7][0-7]/)) {
        out = out substr(text, 1, RSTART - 1) sprintf("%c", substr(text, RSTART + 1, 1) * 64 + \
            substr(text, RSTART + 2, 1) * 8 + substr(text, RSTART + 3, 1))
        text = substr(text, RSTART + 4)
    }
    return out text
}
