# SPDX-License-Identifier: Apache-2.0
"""Tables that several dashboards have, and the flows and names that they share."""

import links
from edges import (
    connects_failed,
    http_failed,
    loss,
    loss_to_client,
    loss_to_server,
    out_of_order,
    payload,
    rtt,
)
from panels import FAILURES, LOSS, RTT
from promql import (
    EITHER_NAMESPACE,
    PAIR,
    SENDERS,
    ZONES,
    edge_rates,
    named,
    total,
    worst,
)
from tables import Column, Label, matrix, table

HERE = EITHER_NAMESPACE
PAIR_TITLE = "{{client_workload}} → {{server_workload}}"
ZONE_TITLE = "{{client_zone}} → {{server_zone}}"


def pairs_table(title, description, edges, count=25):
    """The worst pairs of services, and the network beside the application for each."""
    chosen = f" and on ({', '.join(PAIR)}) {worst(count, loss(PAIR, edges))}"
    at = links.field
    flows = {"by": "address", "sort": "retransmitted_segments"}
    flows |= {name: at(title) for name, title in (("client_workload", "Client"), ("server_workload", "Server"))}
    again = total(edge_rates("tcp_retransmitted_segments_total", edges, SENDERS), (*PAIR, "instance"))
    sent = total(edge_rates("tcp_sent_segments_total", edges, SENDERS), (*PAIR, "instance"))
    node = f"topk by ({', '.join(PAIR)}) (1, {again} + 0.000001 * {sent})"
    return table(
        title,
        description,
        [
            Label("client_namespace", "Client's namespace", width=150),
            Label("client_workload", "Client", (links.service("Client", at("Client's namespace"), at("Client")),)),
            Label("server_namespace", "Server's namespace", width=150),
            Label("server_workload", "Server", (links.service("Server", at("Server's namespace"), at("Server")),)),
            Label(
                "instance",
                "Node that sees most loss",
                (links.flows("Addresses of this pair", at("Node that sees most loss"), **flows),),
            ),
        ],
        [
            Column("Lost → server", loss_to_server(PAIR, edges) + chosen, "percentunit", LOSS, decimals=2),
            Column("Lost → client", loss_to_client(PAIR, edges) + chosen, "percentunit", LOSS, decimals=2),
            Column("Gaps at client", out_of_order(PAIR, edges) + chosen, "percentunit", LOSS, decimals=2),
            Column("RTT p50", rtt(0.5, PAIR, edges) + chosen, "s"),
            Column("RTT p95", rtt(0.95, PAIR, edges) + chosen, "s", RTT),
            Column("Connects failed", connects_failed(PAIR, edges) + chosen, "percentunit", FAILURES, decimals=1),
            Column("HTTP failed", http_failed(PAIR, edges) + chosen, "percentunit", FAILURES, decimals=1),
            Column("Payload", f"({payload(PAIR, edges)}){chosen}", "Bps"),
            Column("Loss", loss(PAIR, edges) + chosen, "percentunit", LOSS, decimals=2),
            Column("of the node", node + chosen, hidden=True),
        ],
        sort="Loss",
    )


def zone_matrix(title, description, vector, unit, thresholds):
    """A value for each pair of zones, coloured."""
    return matrix(
        title,
        description,
        named(vector, *ZONES),
        "client_zone",
        "server_zone",
        "client ↓  server →",
        unit,
        thresholds,
        links=[links.dashboard("flowgauge-zones", "This server zone", zone="${__field.name}")],
    )
