# SPDX-License-Identifier: Apache-2.0
"""The node and its OS: is it this machine?"""

import links
from grafana import dashboard, more, row
from panels import ANY, FILL, LOSS, dashed, lines, stat, steps
from promql import CLIENT, SENDERS, occurring, ratio, total, worst
from promql import rate as scoped_rate
from promql import select as scoped_select
from tables import Column, Label, table
from variables import ENDS, INSTANCE

ON = 'instance=~"$instance"'
BY = ("instance",)
AT = "{{instance}}"
STALLED = steps(("yellow", 0.1), ("red", 0.3))


def select(metric, *matchers):
    """The series of the chosen nodes."""
    return scoped_select(metric, ON, *matchers)


def rate(metric, *matchers):
    """Growth per second on the chosen nodes."""
    return scoped_rate(metric, ON, *matchers)


def _fill(part, limit):
    return f"{select(part)} / ({select(limit)} > 0)"


CONNTRACK = _fill("node_conntrack_entries", "node_conntrack_limit")
TCP_MEMORY = _fill("node_tcp_memory_bytes", "node_tcp_memory_limit_bytes")
UDP_MEMORY = _fill("node_udp_memory_bytes", "node_udp_memory_limit_bytes")
NEIGHBOURS = _fill("node_neighbour_entries", "node_neighbour_limit")
ORPHANS = _fill("node_tcp_orphans", "node_tcp_orphans_limit")
TIME_WAIT = _fill("node_tcp_time_wait", "node_tcp_time_wait_limit")
FILES = _fill("node_file_handles", "node_file_handles_limit")
# Each server address and port can have so many connections from one local address; services with several addresses
# have room for more than this says.
PORTS = (
    f"max by (instance) (sum by (instance, server_workload, server_port) ({select('tcp_connections', CLIENT)}))"
    f" / on (instance) ({select('node_local_ports_limit')} > 0)"
)
SOFTIRQ = f"{rate('node_softirq_seconds_total')} / {select('node_cpus')}"
CPU_STALLED = rate("node_pressure_stalled_seconds_total", 'resource="cpu"', 'kind="some"')
LOST = ratio(
    total(rate("tcp_retransmitted_segments_total", SENDERS), BY), total(rate("tcp_sent_segments_total", SENDERS), BY)
)
CONNTRACK_LOST = total(rate("node_conntrack_events_total", 'event=~"insert_failed|drop|early_drop|chain_too_long"'), BY)
INTERFACE_LOST = (
    f"sum by (instance) ({rate('node_interface_received_errors_total')}"
    f" + {rate('node_interface_received_overruns_total')} + {rate('node_interface_sent_errors_total')}"
    f" + {rate('node_interface_sent_drops_total')})"
)
SOFTNET_LOST = f"{rate('node_softnet_dropped_total')} + {rate('node_softnet_flow_limited_total')}"


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
                    _fill("node_ip_fragment_memory_bytes", "node_ip_fragment_memory_limit_bytes"),
                    f"{AT}: {{{{family}}}} fragments",
                ),
                (
                    _fill("node_tcp_memory_pressure_limit_bytes", "node_tcp_memory_limit_bytes"),
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


def _interfaces():
    device = f"{AT} {{{{device}}}}"
    return [
        row(
            "Interfaces",
            8,
            lines(
                "Throughput",
                "Bytes that the interfaces received (above) and sent (below).",
                "Bps",
                (worst(10, rate("node_interface_received_bytes_total")), f"{device} in"),
                (f"-{worst(10, rate('node_interface_sent_bytes_total'))}", f"{device} out"),
                minimum=None,
            ),
            lines(
                "Share of the link's speed",
                "The busier direction, of the speed that the driver tells; most virtual machines' drivers tell none.",
                "percentunit",
                (
                    f"({rate('node_interface_received_bytes_total')} > {rate('node_interface_sent_bytes_total')} or {rate('node_interface_sent_bytes_total')})"
                    f" / ({select('node_interface_speed_bytes')} > 0)",
                    device,
                ),
                thresholds=FILL,
            ),
            lines(
                "Packets lost at interfaces",
                "Errors, drops and overruns by direction, and drops of the queueing discipline.",
                "pps",
                *(
                    (f"{rate(f'node_interface_{name}_total')} > 0", f"{device}: {name.replace('_', ' ')}")
                    for name in (
                        "received_errors",
                        "received_drops",
                        "received_overruns",
                        "sent_errors",
                        "sent_drops",
                        "queue_drops",
                    )
                ),
            ),
        ),
        more(
            8,
            lines(
                "Cloud allowances exceeded",
                "Packets that the provider queued or dropped because the instance had used up an allowance: it needs a larger instance, not a better network.",
                "pps",
                (rate("node_interface_allowance_exceeded_total"), f"{device}: {{{{allowance}}}}"),
            ),
            lines(
                "Drivers' own events",
                "Events that cost packets or time, as each driver names them: no buffers, queues full, timeouts.",
                "ops",
                (worst(10, rate("node_interface_driver_events_total")), f"{device}: {{{{event}}}}"),
            ),
            lines(
                "Links and queues",
                "Changes of the link within the interval, and bytes that wait in the queueing discipline.",
                "short",
                (f"{rate('node_interface_carrier_changes_total')} > 0", f"{device}: link changes per second"),
                (f"{select('node_interface_queue_backlog_bytes')} > 0", f"{device}: bytes waiting"),
                (f"{select('node_interface_carrier')} == 0", f"{device}: no link (0)"),
            ),
        ),
    ]


def _cpu():
    return row(
        "CPU for packets",
        8,
        lines(
            "Backlogs",
            "dropped: a CPU's backlog was full. flow limited: one flow filled half of it. squeezed: a CPU stopped with packets left, because its budget was used up.",
            "ops",
            (rate("node_softnet_dropped_total"), f"{AT}: dropped"),
            (rate("node_softnet_flow_limited_total"), f"{AT}: flow limited"),
            (rate("node_softnet_time_squeezed_total"), f"{AT}: squeezed"),
        ),
        lines(
            "Software interrupts",
            "Share of all CPUs' time in software interrupts, and packets taken from interfaces.",
            "percentunit",
            (SOFTIRQ, f"{AT}: time"),
            (rate("node_softnet_processed_total"), f"{AT}: packets"),
            overrides=[
                {
                    "matcher": {"id": "byRegexp", "options": "/packets/"},
                    "properties": [{"id": "unit", "value": "pps"}, {"id": "custom.axisPlacement", "value": "right"}],
                }
            ],
        ),
        lines(
            "Pressure",
            "Share of time in which some, or all (full), of the tasks with work to do waited for the resource.",
            "percentunit",
            (rate("node_pressure_stalled_seconds_total"), f"{AT}: {{{{resource}}}} {{{{kind}}}}"),
        ),
    )


def _workloads():
    port = "{{namespace}}/{{workload}}:{{port}}"
    whose = "{{namespace}}/{{workload}}"
    by = ("namespace", "workload")

    def netstat(*names):
        return [
            (f"{worst(10, total(rate(f'netstat_{name}_total'), by))} > 0", f"{whose}: {name.replace('_', ' ')}")
            for name in names
        ]

    return [
        row(
            "Whose sockets",
            8,
            lines(
                "Accept queues, fullest",
                "Connections that wait to be accepted, of the most that may.",
                "percentunit",
                (
                    worst(
                        10,
                        f"sum by (namespace, workload, port) ({select('tcp_accept_queue_length')})"
                        f" / (sum by (namespace, workload, port) ({select('tcp_accept_queue_limit')}) > 0)",
                    ),
                    port,
                ),
                thresholds=FILL,
            ),
            lines(
                "Connections not accepted in time",
                "Connection requests dropped because the accept queue was full, SYN queues that overflowed, SYN cookies sent.",
                "cps",
                (
                    f"{worst(10, total(rate('tcp_accept_queue_drops_total'), (*by, 'port')))} > 0",
                    f"{port}: accept queue",
                ),
                *netstat("tcp_listen_overflows", "tcp_syn_queue_drops", "tcp_syn_cookies_sent"),
            ),
            lines(
                "No room in buffers",
                "Segments and datagrams dropped because a socket's buffer or backlog was full: a process that does not read.",
                "pps",
                *netstat(
                    "tcp_backlog_drops",
                    "tcp_receive_queue_drops",
                    "tcp_receive_pruned",
                    "tcp_out_of_order_pruned",
                    "udp_receive_buffer_errors",
                    "udp_send_buffer_errors",
                    "udp_memory_errors",
                ),
            ),
        ),
        more(
            8,
            lines(
                "Timeouts and aborts",
                "Retransmit timers that ran out, memory pressure, connections ended for want of memory.",
                "ops",
                *netstat("tcp_timeouts", "tcp_memory_pressures", "tcp_aborts_on_memory", "tcp_prune_calls"),
            ),
            lines(
                "Packets that went nowhere",
                "No route, fragments that were not completed, neighbours that did not answer or did not fit their table.",
                "pps",
                *netstat("ip_no_route_discards", "ip_reassembly_failures"),
                (
                    f"{rate('node_neighbour_resolution_failures_total')} > 0",
                    f"{AT}: neighbour does not answer {{{{family}}}}",
                ),
                (f"{rate('node_neighbour_overflows_total')} > 0", f"{AT}: neighbour table full {{{{family}}}}"),
                (
                    f"{rate('node_neighbour_unresolved_discards_total')} > 0",
                    f"{AT}: waited for a neighbour {{{{family}}}}",
                ),
            ),
            lines(
                "Packets dropped by the kernel",
                "By the kernel's own reason, all workloads of the chosen nodes.",
                "pps",
                (worst(15, total(rate("dropped_packets_total"), ("instance", "reason"))), f"{AT}: {{{{reason}}}}"),
            ),
        ),
    ]


def build():
    """The dashboard."""
    rows = [_glance(), _nodes(), *_tables(), *_interfaces(), _cpu(), *_workloads()]
    description = "Is it this machine: conntrack, ports, interfaces, cloud allowances, softirq, memory, sockets that are not served?"
    return dashboard("flowgauge-node", "Flowgauge / Node and OS", description, [INSTANCE, ENDS], rows)
