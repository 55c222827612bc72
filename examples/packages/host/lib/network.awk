# Counters by interface from net/dev, and whether the link is up.
#   eth0: bytes packets errs drop fifo frame compressed multicast bytes packets errs drop ...

BEGIN {
    split("rx_bytes rx_packets rx_errors rx_dropped", column)
    split("tx_bytes tx_packets tx_errors tx_dropped", sent)

    file = setting("root", "/proc") "/net/dev"
    while ((got = (getline line < file)) > 0) {
        # The name ends at the colon; older kernels leave no space after it.
        if ((colon = index(line, ":")) == 0) continue
        name = substr(line, 1, colon - 1)
        sub(/^ +/, "", name)
        n = split(substr(line, colon + 1), f, " ")
        if (n < 12 || !wanted(name, "interfaces", "ignore_interfaces")) continue
        tags = tag("interface", name)
        for (i = 1; i <= 4; i++) {
            metric("network_" column[i], whole(f[i]), tags)
            metric("network_" sent[i], whole(f[i + 8]), tags)
        }
        up(name, tags)
    }
    if (got < 0) fail("cannot read " file)
}

# A device that does not know (a loopback, a tunnel) says `unknown`, and says nothing here.
function up(name, tags,    file, state) {
    file = setting("sys", "/sys") "/class/net/" name "/operstate"
    if ((getline state < file) > 0 && state != "unknown")
        metric("network_up", state == "up" ? "true" : "false", tags)
    close(file)
}
