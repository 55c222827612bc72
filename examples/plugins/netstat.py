#!/usr/bin/env python3
"""TCP segments and UDP datagrams in and out, since the machine was started.

Shows: counters. Print the total as the system has it, never a difference: the hub draws it per
second, and a restart of the machine, which sets it back to 0, makes no false peak.

/proc/net/snmp has pairs of lines, names and then numbers, and newer kernels add columns. So the
numbers are found by their names:

    Tcp: RtoAlgorithm RtoMin ... InSegs OutSegs ...
    Tcp: 1 200 ... 14669 10798 ...
"""
import json

WANTED = {
    "tcp_packets_in": ("Tcp", "InSegs", "TCP packets in"),
    "tcp_packets_out": ("Tcp", "OutSegs", "TCP packets out"),
    "udp_packets_in": ("Udp", "InDatagrams", "UDP packets in"),
    "udp_packets_out": ("Udp", "OutDatagrams", "UDP packets out"),
}


def read_snmp(path="/proc/net/snmp"):
    """{"Tcp": {"InSegs": 14669, ...}, ...}"""
    with open(path, encoding="ascii") as file:
        lines = [line.split() for line in file]
    return {
        names[0].rstrip(":"): dict(zip(names[1:], map(int, numbers[1:])))
        for names, numbers in zip(lines[::2], lines[1::2])
    }


snmp = read_snmp()
metrics = [
    {"name": name, "label": label, "type": "counter", "unit": "packets", "value": snmp[proto][field]}
    for name, (proto, field, label) in WANTED.items()
]
print(json.dumps({"metrics": metrics}))
