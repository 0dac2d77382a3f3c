# SPDX-License-Identifier: Apache-2.0
"""The node and its OS: is it this machine?"""

import links
from grafana import dashboard, more, row
from node_measures import (
    AT,
    BY,
    CONNTRACK,
    CONNTRACK_LOST,
    CPU_STALLED,
    FILES,
    INTERFACE_LOST,
    LOST,
    NEIGHBOURS,
    ORPHANS,
    PORTS,
    SOFTIRQ,
    SOFTNET_LOST,
    STALLED,
    TCP_MEMORY,
    TIME_WAIT,
    UDP_MEMORY,
    fill,
    rate,
    select,
)
from node_rows import cpu, interfaces, workloads
from panels import ANY, FILL, LOSS, dashed, lines, stat
from promql import occurring, total
from tables import Column, Label, table
from variables import ENDS, INSTANCE


def _glance():
    return row(
        "Is it this machine?",
        4,
        stat(
            "Loss",
            "Share of retransmitted segments among the ends on the chosen nodes, the worst of them.",
            f"max({LOST})",
            "percentunit",
            thresholds=LOSS,
        ),
        stat(
            "Conntrack table",
            "Fill of the connection tracking table, the fullest. Full: new connections are dropped.",
            f"max({CONNTRACK})",
            "percentunit",
            thresholds=FILL,
        ),
        stat(
            "Local ports",
            "Connections to the busiest server and port, of the local ports that there are. Full: no connection can be opened.",
            f"max({PORTS})",
            "percentunit",
            thresholds=FILL,
        ),
        stat(
            "Interfaces lose",
            "Packets a second that interfaces lost: errors, overruns, drops on sending.",
            f"sum({INTERFACE_LOST})",
            "pps",
            thresholds=ANY,
        ),
        stat(
            "Backlogs lose",
            "Packets a second that CPUs dropped because their backlog was full: too little CPU for the packets.",
            f"sum({SOFTNET_LOST})",
            "pps",
            thresholds=ANY,
        ),
        stat(
            "Softirq",
            "Share of all CPUs' time spent in software interrupts, the busiest node.",
            f"max({SOFTIRQ})",
            "percentunit",
            thresholds=STALLED,
        ),
        stat(
            "TCP memory",
            "Fill of the memory for TCP buffers, the fullest. Full: packets are dropped, connections reset.",
            f"max({TCP_MEMORY})",
            "percentunit",
            thresholds=FILL,
        ),
        stat(
            "CPU stalled",
            "Share of time in which some task waited for a CPU, the worst node.",
            f"max({CPU_STALLED})",
            "percentunit",
            thresholds=STALLED,
        ),
    )


def _nodes():
    at = links.field("Node")
    return row(
        "Which node",
        7,
        table(
            "Nodes",
            "The chosen nodes side by side. One that stands out with healthy neighbours is the culprit. The link leads to the addresses behind it there.",
            [
                Label(
                    "instance",
                    "Node",
                    (
                        links.dashboard("flowgauge-node", "Only this node", instance=at),
                        links.flows("Its addresses by loss", at, sort="retransmitted_segments"),
                        links.flows("Its addresses by failed connections", at, sort="connect_failures"),
                    ),
                )
            ],
            [
                Column("Loss", LOST, "percentunit", LOSS, decimals=2),
                Column("Conntrack", total(CONNTRACK, BY), "percentunit", FILL, decimals=1),
                Column("Conntrack failures", CONNTRACK_LOST, "pps", ANY),
                Column("Ports", PORTS, "percentunit", FILL, decimals=1),
                Column("Interfaces lose", INTERFACE_LOST, "pps", ANY),
                Column("Backlogs lose", total(SOFTNET_LOST, BY), "pps", ANY),
                Column("Softirq", total(SOFTIRQ, BY), "percentunit", STALLED, decimals=1),
                Column("TCP memory", total(TCP_MEMORY, BY), "percentunit", FILL, decimals=1),
                Column("TIME_WAIT", total(TIME_WAIT, BY), "percentunit", FILL, decimals=1),
                Column("Neighbours", f"max by (instance) ({NEIGHBOURS})", "percentunit", FILL, decimals=1),
                Column("Files", total(FILES, BY), "percentunit", FILL, decimals=1),
                Column("CPU stalled", total(CPU_STALLED, BY), "percentunit", STALLED, decimals=1),
            ],
            sort="Loss",
        ),
    )


def _tables():
    return [
        row(
            "Connection tracking, ports, sockets",
            8,
            lines(
                "Conntrack entries",
                "Entries of the host's connection tracking table, and the most that there may be.",
                "short",
                (select("node_conntrack_entries"), AT),
                (select("node_conntrack_limit"), f"{AT}: limit"),
                overrides=[dashed("/limit/")],
            ),
            lines(
                "Conntrack failures",
                "drop: table full. insert_failed: two connections wanted the same translation. early_drop: evicted. invalid: fits no connection.",
                "pps",
                (occurring(total(rate("node_conntrack_events_total"), ("instance", "event"))), f"{AT}: {{{{event}}}}"),
            ),
            lines(
                "Local ports in use",
                "Connections to the busiest server and port, of the local ports that one address may use for it; a server with several addresses has room for more.",
                "percentunit",
                (PORTS, AT),
                thresholds=FILL,
            ),
        ),
        more(
            8,
            lines(
                "Sockets",
                "Open sockets, connections in TIME_WAIT, and sockets that no process holds any more.",
                "short",
                (select("node_sockets"), f"{AT}: open"),
                (select("node_tcp_time_wait"), f"{AT}: TIME_WAIT"),
                (select("node_tcp_orphans"), f"{AT}: orphans"),
            ),
            lines(
                "Buffers' memory",
                "Memory of TCP's and UDP's buffers and of fragments, of the most that they may have; from TCP's pressure limit on, the kernel makes buffers smaller.",
                "percentunit",
                (TCP_MEMORY, f"{AT}: TCP"),
                (UDP_MEMORY, f"{AT}: UDP"),
                (
                    fill("node_ip_fragment_memory_bytes", "node_ip_fragment_memory_limit_bytes"),
                    f"{AT}: {{{{family}}}} fragments",
                ),
                (
                    fill("node_tcp_memory_pressure_limit_bytes", "node_tcp_memory_limit_bytes"),
                    f"{AT}: TCP's pressure limit",
                ),
                overrides=[dashed("/limit/")],
            ),
            lines(
                "Fill of other tables",
                "Neighbour tables, orphans, TIME_WAIT and open files, of the most that there may be.",
                "percentunit",
                (NEIGHBOURS, f"{AT}: neighbours {{{{family}}}}"),
                (ORPHANS, f"{AT}: orphans"),
                (TIME_WAIT, f"{AT}: TIME_WAIT"),
                (FILES, f"{AT}: open files"),
                thresholds=FILL,
            ),
        ),
    ]


def build():
    """The dashboard."""
    rows = [_glance(), _nodes(), *_tables(), *interfaces(), cpu(), *workloads()]
    description = "Is it this machine: conntrack, ports, interfaces, cloud allowances, softirq, memory, sockets that are not served?"
    return dashboard("flowgauge-node", "Flowgauge / Node and OS", description, [INSTANCE, ENDS], rows)
