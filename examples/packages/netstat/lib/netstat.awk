# Counters of TCP and UDP, and TCP connections by state.
#
# snmp and netstat have pairs of lines, names and then numbers, and newer kernels add columns: so the
# numbers are found by their names.
#   Tcp: RtoAlgorithm RtoMin ... InSegs OutSegs ...
#   Tcp: 1 200 ... 14669 10798 ...

BEGIN {
    root = setting("root", "/proc")
    got = pairs(root "/net/snmp")
    if (got < 0) fail("cannot read " root "/net/snmp")
    if (!("Tcp:InSegs" in value) || !("Udp:InDatagrams" in value))
        fail(root "/net/snmp has no lines `Tcp:` and `Udp:` with InSegs and InDatagrams")
    pairs(root "/net/netstat")

    show("tcp_packets_in", "Tcp:InSegs")
    show("tcp_packets_out", "Tcp:OutSegs")
    show("tcp_retransmits", "Tcp:RetransSegs")
    show("tcp_errors_in", "Tcp:InErrs")
    show("tcp_resets_out", "Tcp:OutRsts")
    show("tcp_opened", "Tcp:ActiveOpens")
    show("tcp_accepted", "Tcp:PassiveOpens")
    show("tcp_failed", "Tcp:AttemptFails")
    show("tcp_reset", "Tcp:EstabResets")
    show("tcp_established", "Tcp:CurrEstab")
    show("tcp_timeouts", "TcpExt:TCPTimeouts")
    show("tcp_listen_overflows", "TcpExt:ListenOverflows")
    show("tcp_listen_drops", "TcpExt:ListenDrops")
    show("udp_packets_in", "Udp:InDatagrams")
    show("udp_packets_out", "Udp:OutDatagrams")
    show("udp_errors_in", "Udp:InErrors")
    show("udp_no_port", "Udp:NoPorts")
    show("udp_full_in", "Udp:RcvbufErrors")
    show("udp_full_out", "Udp:SndbufErrors")

    # TCP is counted together; UDP over IPv6 has a file of its own, a name and a number to a line.
    while ((getline line < (root "/net/snmp6")) > 0) {
        split(line, f, " ")
        value[f[1]] = f[2]
    }
    show("udp6_packets_in", "Udp6InDatagrams")
    show("udp6_packets_out", "Udp6OutDatagrams")
    show("udp6_errors_in", "Udp6InErrors")

    if (setting("connections", 1)) connections()
}

function pairs(file,    names, numbers, n, key, amount, i, got) {
    while ((got = (getline names < file)) > 0 && (got = (getline numbers < file)) > 0) {
        n = split(names, key, " ")
        split(numbers, amount, " ")
        if (key[1] != amount[1]) { warn(file " has `" key[1] "` without its numbers"); break }
        for (i = 2; i <= n; i++) value[key[1] key[i]] = amount[i]
    }
    close(file)
    return got
}

# What this kernel does not count is left out.
function show(name, key) { if (key in value) metric(name, whole(value[key])) }

# sl local_address rem_address st ...: the state is a number in hex.
function connections(    state, i, file, line, f, count, got, any) {
    split("established syn_sent syn_recv fin_wait1 fin_wait2 time_wait close close_wait last_ack listen closing", state)
    for (i = 1; i <= 2; i++) {
        file = root "/net/tcp" (i == 2 ? "6" : "")
        while ((got = (getline line < file)) > 0) {
            if (split(line, f, " ") < 4 || f[1] !~ /:$/) continue
            count[f[4]]++
        }
        if (got == 0) any = 1                   # one is missing where there is no IPv6, or no IPv4
        close(file)
    }
    if (!any) { warn("cannot read " root "/net/tcp"); return }
    count["03"] += count["0C"]                  # a request that has not got its socket yet
    # All states every time: a series that comes and goes cannot be told from one that was lost.
    for (i = 1; i <= 11; i++)
        metric("tcp_connections", count[sprintf("%02X", i)] + 0, tag("state", state[i]))
}
