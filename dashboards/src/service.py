# SPDX-License-Identifier: Apache-2.0
"""One service: who calls it, what it calls, the network beside the application."""

import links
from edges import (
    broken,
    connect_failures,
    connects_failed,
    dns_failed,
    grpc_failed,
    http_duration,
    http_failed,
    http_requests,
    limited,
    loss,
    loss_to_client,
    loss_to_server,
    payload,
    rtt,
)
from grafana import dashboard, more, row
from panels import FAILURES, LOSS, RTT, lines, stat
from promql import (
    CLIENT,
    SERVER,
    edge_rates,
    quantile,
    select,
    total,
)
from service_flows import BOTH, INBOUND, OUTBOUND
from service_rows import application, part
from tables import Column, Label, table
from variables import ENDS, SERVICE_NAMESPACE, WORKLOAD, ZONE


def _glance():
    return row(
        "$workload at a glance",
        4,
        stat(
            "Lost on the way to it",
            "Share of retransmitted segments among what its clients sent. Red here and green on the right: the way in.",
            loss_to_server(edges=INBOUND),
            "percentunit",
            thresholds=LOSS,
        ),
        stat(
            "Lost on the way from it",
            "Share of retransmitted segments among what it sent to its clients.",
            loss_to_client(edges=INBOUND),
            "percentunit",
            thresholds=LOSS,
        ),
        stat(
            "Lost towards what it calls",
            "Share of retransmitted segments on its own connections to others, both directions.",
            loss(edges=OUTBOUND),
            "percentunit",
            thresholds=LOSS,
        ),
        stat(
            "RTT p95, its clients",
            "95th percentile of the smoothed round-trip time of its clients' connections.",
            rtt(0.95, edges=INBOUND),
            "s",
            thresholds=RTT,
        ),
        stat(
            "Connections to it failed",
            "Share of connections to it that were begun and not established.",
            connects_failed(edges=INBOUND),
            "percentunit",
            thresholds=FAILURES,
        ),
        stat(
            "Its requests failed",
            "Share of HTTP requests to it answered by 5xx or not at all, as its clients saw it.",
            http_failed(edges=INBOUND),
            "percentunit",
            thresholds=FAILURES,
        ),
        stat(
            "Its gRPC calls failed",
            "Share of gRPC calls to it that ended for the server's or the network's fault, as its clients saw it.",
            grpc_failed(edges=INBOUND),
            "percentunit",
            thresholds=FAILURES,
        ),
        stat(
            "Its lookups failed",
            "Share of its own DNS lookups that had an error other than NXDOMAIN, or no answer.",
            dns_failed(edges=OUTBOUND),
            "percentunit",
            thresholds=FAILURES,
            links=[links.dashboard("flowgauge-dns", "DNS: which stage")],
        ),
    )


def _peers(title, description, side, edges):
    namespace, workload, zone = (f"{side}_{kind}" for kind in ("namespace", "workload", "zone"))
    by = (namespace, workload, zone, "server_service", "server_port")
    at = links.field
    return table(
        title,
        description,
        [
            Label(namespace, "Namespace"),
            Label(workload, "Workload", (links.service("This service", at("Namespace"), at("Workload")),)),
            Label(zone, "Zone", (links.dashboard("flowgauge-zones", "This zone", zone=at("Zone")),)),
            Label("server_service", "Service dialled"),
            Label("server_port", "Port"),
        ],
        [
            Column("Lost → server", loss_to_server(by, edges), "percentunit", LOSS, decimals=2),
            Column("Lost → client", loss_to_client(by, edges), "percentunit", LOSS, decimals=2),
            Column("RTT p50", rtt(0.5, by, edges), "s"),
            Column("RTT p95", rtt(0.95, by, edges), "s", RTT),
            Column("Connects failed", connects_failed(by, edges), "percentunit", FAILURES, decimals=1),
            Column("Requests", http_requests(by, edges), "reqps"),
            Column("HTTP failed", http_failed(by, edges), "percentunit", FAILURES, decimals=1),
            Column("HTTP p95", http_duration(0.95, by, edges), "s"),
            Column("Payload", payload(by, edges), "Bps"),
        ],
        sort="Payload",
    )


def _network():
    return [
        row(
            "Network",
            8,
            lines(
                "Loss by direction",
                "Share of retransmitted segments: of its clients on the way to it, of itself on the way back, and both ways on its own calls.",
                "percentunit",
                (loss_to_server((), INBOUND), "clients → it"),
                (loss_to_client((), INBOUND), "it → clients"),
                (loss_to_server((), OUTBOUND), "it → what it calls"),
                (loss_to_client((), OUTBOUND), "what it calls → it"),
                thresholds=LOSS,
            ),
            lines(
                "Round-trip time",
                "Median and 95th percentile of the smoothed round-trip time, of its clients' connections and of its own.",
                "s",
                (rtt(0.5, (), INBOUND), "clients, median"),
                (rtt(0.95, (), INBOUND), "clients, p95"),
                (rtt(0.5, (), OUTBOUND), "its own, median"),
                (rtt(0.95, (), OUTBOUND), "its own, p95"),
            ),
            lines(
                "Who holds its transfers back",
                "Of the time in which its connections had data to send, either way: busy is the network, receive_window a slow reader, "
                "send_buffer the sender's own buffer.",
                "percentunit",
                (limited(BOTH), "{{limit}}"),
                stack=True,
            ),
        ),
        more(
            8,
            lines(
                "Failed connections by reason",
                "Connections begun and not established: to it, and its own to others.",
                "cps",
                (connect_failures(("reason",), INBOUND), "to it: {{reason}}"),
                (connect_failures(("reason",), OUTBOUND), "its own: {{reason}}"),
                stack=True,
            ),
            lines(
                "Time to connect",
                "From the first SYN to the established connection, at the client, of those that succeeded. Steps of 1 s, 3 s, 7 s are lost SYNs.",
                "s",
                *(
                    (
                        quantile(share, edge_rates("tcp_connect_duration_seconds_bucket", edges, CLIENT)),
                        f"{whose}, {name}",
                    )
                    for edges, whose in ((INBOUND, "to it"), (OUTBOUND, "its own"))
                    for share, name in ((0.5, "median"), (0.99, "p99"))
                ),
            ),
            lines(
                "Connections",
                "Established connections now, and opened a second, as its clients and as it sees them.",
                "short",
                (total(f"{select('tcp_connections', CLIENT, *INBOUND[0])}"), "to it, open"),
                (total(f"{select('tcp_connections', CLIENT, *OUTBOUND[0])}"), "its own, open"),
                (total(edge_rates("tcp_connections_opened_total", INBOUND, CLIENT)), "to it, opened per second"),
                (total(edge_rates("tcp_connections_opened_total", OUTBOUND, CLIENT)), "its own, opened per second"),
            ),
        ),
        more(
            8,
            lines(
                "Handshakes sent again",
                "SYNs that its clients, and SYN-ACKs that it had to send again: loss before there is a connection, or a full queue.",
                "pps",
                (total(edge_rates("tcp_syn_retransmits_total", INBOUND, CLIENT)), "SYN to it"),
                (total(edge_rates("tcp_synack_retransmits_total", INBOUND, SERVER)), "its SYN-ACK"),
                (total(edge_rates("tcp_syn_retransmits_total", OUTBOUND, CLIENT)), "its own SYN"),
            ),
            lines(
                "Connections that broke",
                "Established connections that ended otherwise than by FIN, as the client's end saw it.",
                "cps",
                (
                    broken(("reason",), INBOUND),
                    "to it: {{reason}}",
                ),
                (
                    broken(("reason",), OUTBOUND),
                    "its own: {{reason}}",
                ),
                stack=True,
            ),
            lines(
                "Payload",
                "TCP payload as the watched end sent and received it.",
                "Bps",
                (total(edge_rates("tcp_sent_bytes_total", INBOUND, CLIENT)), "clients → it"),
                (total(edge_rates("tcp_received_bytes_total", INBOUND, CLIENT)), "it → clients"),
                (total(edge_rates("tcp_sent_bytes_total", OUTBOUND, CLIENT)), "it → what it calls"),
                (total(edge_rates("tcp_received_bytes_total", OUTBOUND, CLIENT)), "what it calls → it"),
            ),
        ),
    ]


def build():
    """The dashboard."""
    rows = [
        _glance(),
        row(
            "Both directions",
            7,
            _peers(
                "Who calls it",
                "Its clients, by workload and zone: one red line is that client or zone, all red is this service.",
                "client",
                INBOUND,
            ),
        ),
        more(7, _peers("What it calls", "What it depends on, by workload and zone.", "server", OUTBOUND)),
        *_network(),
        *application(),
        *part(),
    ]
    description = "One service, both directions, the network beside the application. Choose the service above."
    return dashboard(
        "flowgauge-service", "Flowgauge / Service", description, [SERVICE_NAMESPACE, WORKLOAD, ZONE, ENDS], rows
    )
