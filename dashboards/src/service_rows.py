# SPDX-License-Identifier: Apache-2.0
"""The lower rows of a service's dashboard: the application, and which part of it."""

import links
from edges import (
    connects_failed,
    http_duration,
    http_failed,
    http_requests,
    loss,
    rtt,
)
from grafana import more, row
from panels import FAILURES, LOSS, RTT, bars, dashed, heatmap, lines
from promql import (
    CLIENT,
    SENDERS,
    SERVER,
    ZONES,
    edge_rates,
    mean,
    quantile,
    rate,
    select,
    total,
)
from service_flows import BOTH, INBOUND, NETWORK_SHARE, OUTBOUND, OWN
from shared import zone_matrix
from tables import Column, Label, table


def application():
    """HTTP, gRPC, the accept queue."""
    by_code = ("code",)
    accept = 'namespace=~"$namespace"', 'workload="$workload"'
    return [
        row(
            "Application",
            8,
            lines(
                "HTTP responses by code",
                "Clear-text HTTP responses of it by status code, and requests to it without a response, as its clients saw it.",
                "reqps",
                (http_requests(by_code, INBOUND), "{{code}}"),
                (
                    total(edge_rates("http_requests_failed_total", INBOUND, CLIENT), ("reason",)),
                    "no response: {{reason}}",
                ),
                stack=True,
            ),
            lines(
                "HTTP duration: its clients' view and its own",
                "Time to the first byte of the response. At the client it includes the network, at the server it does not: far apart is the network, "
                "together and high is the service.",
                "s",
                (http_duration(0.5, (), INBOUND, CLIENT), "at clients, median"),
                (http_duration(0.95, (), INBOUND, CLIENT), "at clients, p95"),
                (http_duration(0.5, (), INBOUND, SERVER), "at it, median"),
                (http_duration(0.95, (), INBOUND, SERVER), "at it, p95"),
            ),
            lines(
                "Of each request: network and service",
                "Mean time to the response's first byte as its clients saw it, in two parts: the part that it saw itself, and the rest, which is the network.",
                "s",
                (mean(lambda part: edge_rates(f"http_response_duration_seconds_{part}", INBOUND, SERVER)), "service"),
                (NETWORK_SHARE, "network"),
                stack=True,
            ),
        ),
        more(
            8,
            heatmap(
                "HTTP duration at its clients",
                "Requests by the time to the first byte of their response.",
                total(edge_rates("http_response_duration_seconds_bucket", INBOUND, CLIENT), ("le",)),
            ),
            lines(
                "gRPC by status",
                "gRPC calls to it by grpc-status, as its clients saw it.",
                "reqps",
                (total(edge_rates("grpc_responses_total", INBOUND, CLIENT), ("grpc_status",)), "{{grpc_status}}"),
                stack=True,
            ),
            lines(
                "Accept queue",
                "Connections that wait to be accepted, and the most that may; what does not fit is dropped.",
                "short",
                (f"sum by (port) ({select('tcp_accept_queue_length', *accept)})", "port {{port}}: waiting"),
                (f"sum by (port) ({select('tcp_accept_queue_limit', *accept)})", "port {{port}}: limit"),
                (total(rate("tcp_accept_queue_drops_total", *accept), ("port",)), "port {{port}}: dropped per second"),
                overrides=[dashed("/limit/")],
            ),
        ),
    ]


def part():
    """Zones, nodes, ends; its sockets."""
    by_node = ("instance",)
    return [
        row(
            "Which part of it",
            8,
            zone_matrix(
                "Loss by zone",
                "Share of retransmitted segments on its connections, in and out, by the client's zone (line) and the server's (column).",
                loss(ZONES, BOTH),
                "percentunit",
                LOSS,
            ),
            table(
                "Nodes that see it",
                "Nodes with ends of its connections. One node alone with loss: the node. The link leads to the addresses behind it there.",
                [
                    Label(
                        "instance",
                        "Node",
                        (
                            links.flows(
                                "Addresses, most loss first",
                                links.field("Node"),
                                workload="${workload}",
                                sort="retransmitted_segments",
                            ),
                            links.flows(
                                "Addresses, most failures first",
                                links.field("Node"),
                                workload="${workload}",
                                sort="connect_failures",
                            ),
                            links.dashboard("flowgauge-node", "This node", instance=links.field("Node")),
                        ),
                    )
                ],
                [
                    Column("Loss", loss(by_node, BOTH), "percentunit", LOSS, decimals=2),
                    Column("RTT p95", rtt(0.95, by_node, BOTH, SENDERS), "s", RTT),
                    Column("Connects failed", connects_failed(by_node, BOTH), "percentunit", FAILURES, decimals=1),
                    Column("HTTP failed", http_failed(by_node, BOTH), "percentunit", FAILURES, decimals=1),
                ],
                sort="Loss",
            ),
            bars(
                "RTT p95 by where it was watched",
                "With a sidecar proxy there are four ends: client (application to its proxy), client_proxy and server_proxy (between the proxies: the network), "
                "server (proxy to its application). Before or behind the proxy? The long bar tells.",
                "s",
                quantile(0.95, edge_rates("tcp_rtt_seconds_bucket", INBOUND), ("observer",)),
                "{{observer}}",
                thresholds=RTT,
            ),
        ),
        more(
            8,
            lines(
                "Its sockets' trouble, as the kernel counts it",
                "Of the network namespaces of this workload: accept queue overflows, segments dropped for want of room, retransmit timers that ran out.",
                "ops",
                *(
                    (total(rate(f"netstat_{name}_total", *OWN)), name.replace("_", " "))
                    for name in (
                        "tcp_listen_overflows",
                        "tcp_backlog_drops",
                        "tcp_receive_queue_drops",
                        "tcp_timeouts",
                        "udp_receive_buffer_errors",
                        "ip_no_route_discards",
                    )
                ),
            ),
            lines(
                "Packets dropped by the kernel",
                "Packets of this workload that the kernel dropped, by the kernel's own reason.",
                "pps",
                (total(rate("dropped_packets_total", *OWN), ("reason",)), "{{reason}}"),
            ),
            lines(
                "UDP",
                "Datagrams to it and its own, and those dropped because a socket was not read fast enough.",
                "pps",
                (total(edge_rates("udp_sent_packets_total", INBOUND, CLIENT)), "to it"),
                (total(edge_rates("udp_sent_packets_total", OUTBOUND, CLIENT)), "its own"),
                (total(rate("udp_receive_drops_total", *OWN)), "dropped at its sockets"),
            ),
        ),
    ]
