# SPDX-License-Identifier: Apache-2.0
"""What is asked about nodes: fills of tables, losses, on the chosen ones."""

from panels import steps
from promql import CLIENT, SENDERS, ratio, total
from promql import rate as scoped_rate
from promql import select as scoped_select

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


def fill(part, limit):
    return f"{select(part)} / ({select(limit)} > 0)"


CONNTRACK = fill("node_conntrack_entries", "node_conntrack_limit")
TCP_MEMORY = fill("node_tcp_memory_bytes", "node_tcp_memory_limit_bytes")
UDP_MEMORY = fill("node_udp_memory_bytes", "node_udp_memory_limit_bytes")
NEIGHBOURS = fill("node_neighbour_entries", "node_neighbour_limit")
ORPHANS = fill("node_tcp_orphans", "node_tcp_orphans_limit")
TIME_WAIT = fill("node_tcp_time_wait", "node_tcp_time_wait_limit")
FILES = fill("node_file_handles", "node_file_handles_limit")
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
