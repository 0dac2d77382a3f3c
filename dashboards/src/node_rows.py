# SPDX-License-Identifier: Apache-2.0
"""The lower rows of the node's dashboard: interfaces, CPU, whose sockets."""

from grafana import more, row
from node_measures import AT, SOFTIRQ, rate, select
from panels import FILL, lines
from promql import total, worst


def interfaces():
    """Throughput, losses, allowances, links."""
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


def cpu():
    """Backlogs, software interrupts, pressure."""
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


def workloads():
    """Which workload's sockets are not served, or lose."""
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
