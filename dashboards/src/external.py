# SPDX-License-Identifier: Apache-2.0
"""External services: is it the provider, and only some of its addresses?"""

import links
from edges import (
    MINIMUM_EVENTS,
    broken,
    connect_failures,
    connects_failed,
    http_duration,
    http_failed,
    loss_to_server,
    out_of_order,
    payload,
    rtt,
)
from grafana import dashboard, more, row
from panels import FAILURES, LOSS, RTT, lines, stat
from promql import CLIENT, edge_rates, named, quantile, total, worst
from tables import Column, Label, matrix, table
from variables import ENDS, PROVIDER, query

OUTSIDE = (('server_kind="external"', 'server_workload=~"$provider"', 'client_namespace=~"$namespace"'),)
BY = ("server_workload",)
NAME = "{{server_workload}}"

NAMESPACE = query(
    "namespace",
    "Callers' namespace",
    'label_values(flowgauge_tcp_sent_bytes_total{cluster=~"$cluster",job=~"$job",server_kind="external"}, client_namespace)',
    "Calls of services in these namespaces; All includes those that have none.",
)


def _glance():
    to = [links.dashboard("flowgauge-external", "Only this provider", provider=links.label("server_workload"))]
    return row(
        "Is it a provider? Which?",
        4,
        stat(
            "Providers",
            "External services by name that anything was sent to or received from lately.",
            f"count({payload(BY, OUTSIDE)} > 0)",
            "short",
        ),
        stat(
            "Most failed connections",
            "The provider with the largest share of connections that were not established.",
            worst(1, connects_failed(BY, OUTSIDE, minimum=MINIMUM_EVENTS)),
            "percentunit",
            thresholds=FAILURES,
            legend=NAME,
            links=to,
        ),
        stat(
            "Most loss towards it",
            "The provider with the largest share of segments that we had to send again.",
            worst(1, loss_to_server(BY, OUTSIDE)),
            "percentunit",
            thresholds=LOSS,
            legend=NAME,
            links=to,
        ),
        stat(
            "Most gaps from it",
            "The provider with the largest share of segments that arrived ahead of a gap: loss on the way from it.",
            worst(1, out_of_order(BY, OUTSIDE)),
            "percentunit",
            thresholds=LOSS,
            legend=NAME,
            links=to,
        ),
        stat(
            "Slowest",
            "The provider with the highest 95th percentile of the round-trip time.",
            worst(1, rtt(0.95, BY, OUTSIDE)),
            "s",
            thresholds=RTT,
            legend=NAME,
            links=to,
        ),
    )


def _table():
    at = links.field
    flows = {"by": "address", "server_workload": at("Provider")}
    labels = (*BY, "instance")
    busiest = f"topk by (server_workload) (1, {total(edge_rates('tcp_sent_segments_total', OUTSIDE, CLIENT), labels)})"
    return row(
        "Provider by provider",
        7,
        table(
            "Providers",
            "All that is known of each from our side alone. All of its addresses, or only some? The node, the one that talks to it most, leads to its /flows, which tells.",
            [
                Label(
                    "server_workload",
                    "Provider",
                    (links.dashboard("flowgauge-external", "Only this provider", provider=at("Provider")),),
                ),
                Label(
                    "instance",
                    "Node",
                    (
                        links.flows("Its addresses by round-trip time", at("Node"), sort="rtt_max", **flows),
                        links.flows(
                            "Its addresses by retransmissions", at("Node"), sort="retransmitted_segments", **flows
                        ),
                        links.flows(
                            "Its addresses by failed connections", at("Node"), sort="connect_failures", **flows
                        ),
                    ),
                ),
            ],
            [
                Column("RTT p50", rtt(0.5, BY, OUTSIDE), "s"),
                Column("RTT p95", rtt(0.95, BY, OUTSIDE), "s", RTT),
                Column("Lost towards it", loss_to_server(BY, OUTSIDE), "percentunit", LOSS, decimals=2),
                Column("Gaps from it", out_of_order(BY, OUTSIDE), "percentunit", LOSS, decimals=2),
                Column("Connects failed", connects_failed(BY, OUTSIDE), "percentunit", FAILURES, decimals=1),
                Column("HTTP failed", http_failed(BY, OUTSIDE), "percentunit", FAILURES, decimals=1),
                Column("HTTP p95", http_duration(0.95, BY, OUTSIDE), "s"),
                Column("Payload", payload(BY, OUTSIDE), "Bps"),
                Column(
                    "Callers",
                    f"count by (server_workload) ({payload((*BY, 'client_namespace', 'client_workload'), OUTSIDE)})",
                    "short",
                ),
                Column("of the node", busiest, hidden=True),
            ],
            sort="Connects failed",
        ),
    )


def _time():
    return [
        row(
            "Since when",
            8,
            lines(
                "RTT, median",
                "Median of the smoothed round-trip time, by provider.",
                "s",
                (worst(12, rtt(0.5, BY, OUTSIDE)), NAME),
            ),
            lines(
                "RTT, 95th percentile",
                "95th percentile of the smoothed round-trip time. Far above a steady median: some of its addresses only.",
                "s",
                (worst(12, rtt(0.95, BY, OUTSIDE)), NAME),
            ),
            lines(
                "Time to connect, p99",
                "From the first SYN to the established connection, by provider. Steps of 1 s, 3 s, 7 s are lost SYNs.",
                "s",
                (
                    worst(12, quantile(0.99, edge_rates("tcp_connect_duration_seconds_bucket", OUTSIDE, CLIENT), BY)),
                    NAME,
                ),
            ),
        ),
        more(
            8,
            lines(
                "Lost towards it",
                "Share of the segments to each provider that we had to send again. All providers at once: our own way out.",
                "percentunit",
                (worst(12, loss_to_server(BY, OUTSIDE)), NAME),
                thresholds=LOSS,
            ),
            lines(
                "Gaps from it",
                "Share of the segments from each provider that arrived ahead of a gap.",
                "percentunit",
                (worst(12, out_of_order(BY, OUTSIDE)), NAME),
                thresholds=LOSS,
            ),
            lines(
                "Failed connections by reason",
                "Connections begun and not established, by provider and reason.",
                "cps",
                (connect_failures((*BY, "reason"), OUTSIDE), "{{server_workload}}: {{reason}}"),
                stack=True,
            ),
        ),
        more(
            8,
            lines(
                "Connections that broke",
                "Established connections that ended otherwise than by FIN: reset_received is the provider, timeout the way.",
                "cps",
                (
                    broken((*BY, "reason"), OUTSIDE),
                    "{{server_workload}}: {{reason}}",
                ),
                stack=True,
            ),
            lines(
                "HTTP failed",
                "Share of clear-text HTTP requests answered by 5xx or not at all; what is inside TLS is not seen.",
                "percentunit",
                (worst(12, http_failed(BY, OUTSIDE)), NAME),
                thresholds=FAILURES,
            ),
            lines(
                "Payload",
                "TCP payload, both directions, by provider.",
                "Bps",
                (worst(12, payload(BY, OUTSIDE)), NAME),
                stack=True,
            ),
        ),
    ]


def _callers():
    zones = ("client_zone", "server_workload")
    return row(
        "From where",
        7,
        matrix(
            "Failed connections by our zone",
            "Share of connections to each provider (column) that failed, by the zone they came from (line). One line alone: our zone's way out. One column: the provider.",
            named(connects_failed(zones, OUTSIDE), *zones),
            "client_zone",
            "server_workload",
            "our zone ↓  provider →",
            "percentunit",
            FAILURES,
        ),
        matrix(
            "RTT p95 by our zone",
            "95th percentile of the round-trip time to each provider (column), by the zone it was measured from (line).",
            named(rtt(0.95, zones, OUTSIDE), *zones),
            "client_zone",
            "server_workload",
            "our zone ↓  provider →",
            "s",
            RTT,
        ),
        table(
            "Callers",
            "Who depends on it: services by what they send to and receive from the chosen providers.",
            [
                Label("client_namespace", "Namespace"),
                Label(
                    "client_workload",
                    "Service",
                    (links.service("This service", links.field("Namespace"), links.field("Service")),),
                ),
                Label("server_workload", "Provider"),
            ],
            [
                Column("Payload", payload(("client_namespace", "client_workload", *BY), OUTSIDE), "Bps"),
                Column(
                    "Connects failed",
                    connects_failed(("client_namespace", "client_workload", *BY), OUTSIDE),
                    "percentunit",
                    FAILURES,
                    decimals=1,
                ),
            ],
            sort="Payload",
        ),
    )


def build():
    """The dashboard."""
    rows = [_glance(), _table(), *_time(), _callers()]
    description = "Managed databases, object stores, APIs of others: is it one of them, and only some of its addresses?"
    return dashboard(
        "flowgauge-external", "Flowgauge / External services", description, [PROVIDER, NAMESPACE, ENDS], rows
    )
