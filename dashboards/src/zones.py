# SPDX-License-Identifier: Apache-2.0
"""Zones: all of one, or a part? Read this before anybody empties a zone."""

import links
from edges import (
    MINIMUM_SEGMENTS,
    connect_failures,
    connects_failed,
    http_failed,
    loss,
    payload,
    rtt,
)
from grafana import dashboard, more, row
from panels import FAILURES, LOSS, RTT, lines, stat, steps
from promql import PAIR, ZONES, named, ratio, worst
from shared import ZONE_TITLE, zone_matrix
from tables import Column, Label, table
from variables import ENDS, ZONE

HERE = (('client_zone=~"$zone"',), ('server_zone=~"$zone"',))
# Share of retransmitted segments from which on flows count as affected.
AFFECTED = 0.01
PART = steps(("yellow", 0.25), ("red", 0.75))


def _crossing(vector):
    """Only pairs of zones that differ, which no matcher can say: those that are `a|a` in one label are left out."""
    marked = f'label_join({vector}, "both", "|", "client_zone", "server_zone")'
    same = f'label_join(group by (client_zone) ({vector}), "both", "|", "client_zone", "client_zone")'
    return f"({marked} unless on (both) {same})"


def _share_affected(by):
    """Of the flows between two zones, told apart by further labels, the share that loses more than 1 %."""
    vector = loss((*ZONES, *by), HERE, minimum=MINIMUM_SEGMENTS)
    return ratio(f"count by ({', '.join(ZONES)}) ({vector} > {AFFECTED})", f"count by ({', '.join(ZONES)}) ({vector})")


def _heat():
    return [
        row(
            "Where",
            6,
            zone_matrix(
                "Loss", "Share of retransmitted segments, both directions.", loss(ZONES, HERE), "percentunit", LOSS
            ),
            zone_matrix(
                "RTT, median", "Median of the smoothed round-trip time, at the client.", rtt(0.5, ZONES, HERE), "s", RTT
            ),
            zone_matrix(
                "RTT, 95th percentile",
                "95th percentile of the smoothed round-trip time, at the client.",
                rtt(0.95, ZONES, HERE),
                "s",
                RTT,
            ),
        ),
        more(
            6,
            zone_matrix(
                "Connections failed",
                "Share of connections begun and not established.",
                connects_failed(ZONES, HERE),
                "percentunit",
                FAILURES,
            ),
            zone_matrix(
                "HTTP failed",
                "Share of clear-text HTTP requests answered by 5xx or not at all.",
                http_failed(ZONES, HERE),
                "percentunit",
                FAILURES,
            ),
            zone_matrix(
                "Payload",
                "TCP payload a second, both directions, as the clients saw it.",
                payload(ZONES, HERE),
                "Bps",
                steps(base="blue"),
            ),
        ),
    ]


def _part():
    at = links.field
    by = (*ZONES, *PAIR)
    chosen = f" and on ({', '.join(by)}) {worst(25, loss(by, HERE))}"
    return [
        row(
            "All of it, or a part?",
            6,
            zone_matrix(
                "Pairs of services affected",
                "Of the pairs of services that talk between two zones, the share that loses more than 1 %. Nearly all: the way between the zones. A few: those services, and no zone is to be emptied.",
                _share_affected(PAIR),
                "percentunit",
                PART,
            ),
            zone_matrix(
                "Nodes affected",
                "Of the nodes that see traffic between two zones, the share that loses more than 1 %. A few: drain those nodes.",
                _share_affected(("instance",)),
                "percentunit",
                PART,
            ),
            table(
                "Worst nodes",
                "Nodes by the share of retransmitted segments among their own ends. The link leads to the addresses behind it there.",
                [
                    Label(
                        "instance",
                        "Node",
                        (
                            links.flows("Addresses by loss", at("Node"), sort="retransmitted_segments"),
                            links.dashboard("flowgauge-node", "This node", instance=at("Node")),
                        ),
                    )
                ],
                [Column("Loss", worst(20, loss(("instance",), HERE)), "percentunit", LOSS, decimals=2)],
                sort="Loss",
            ),
        ),
        more(
            10,
            table(
                "Worst pairs of services, by zone",
                "The 25 pairs of services and zones with the largest share of retransmitted segments.",
                [
                    Label("client_zone", "From zone"),
                    Label("server_zone", "To zone"),
                    Label("client_namespace", "Client's namespace"),
                    Label(
                        "client_workload", "Client", (links.service("Client", at("Client's namespace"), at("Client")),)
                    ),
                    Label("server_namespace", "Server's namespace"),
                    Label(
                        "server_workload", "Server", (links.service("Server", at("Server's namespace"), at("Server")),)
                    ),
                ],
                [
                    Column("Loss", loss(by, HERE) + chosen, "percentunit", LOSS, decimals=2),
                    Column("RTT p95", rtt(0.95, by, HERE) + chosen, "s", RTT),
                    Column("Connects failed", connects_failed(by, HERE) + chosen, "percentunit", FAILURES, decimals=1),
                    Column("Payload", f"({payload(by, HERE)}){chosen}", "Bps"),
                ],
                sort="Loss",
            ),
        ),
    ]


def _time():
    return row(
        "Since when",
        8,
        lines(
            "Loss by pair of zones",
            "Share of retransmitted segments of the ten worst pairs of zones.",
            "percentunit",
            (worst(10, loss(ZONES, HERE)), ZONE_TITLE),
            thresholds=LOSS,
        ),
        lines(
            "RTT p95 by pair of zones",
            "95th percentile of the smoothed round-trip time of the ten slowest pairs of zones.",
            "s",
            (worst(10, rtt(0.95, ZONES, HERE)), ZONE_TITLE),
        ),
        lines(
            "Failed connections by server's zone",
            "Connections begun and not established, by the server's zone and reason; no zone where the server has no name.",
            "cps",
            (connect_failures(("server_zone", "reason"), HERE), "{{server_zone}}: {{reason}}"),
            stack=True,
        ),
    )


def build():
    """The dashboard."""
    crossing = _crossing(payload(ZONES, (('client_zone=~"$zone"', 'client_zone!=""', 'server_zone!=""'),)))
    glance = row(
        "Zones at a glance",
        4,
        stat(
            "Worst pair",
            "The pair of zones with the largest share of retransmitted segments.",
            worst(1, named(loss(ZONES, HERE, minimum=MINIMUM_SEGMENTS), *ZONES)),
            "percentunit",
            thresholds=LOSS,
            legend=ZONE_TITLE,
        ),
        stat(
            "Slowest pair",
            "The pair of zones with the highest 95th percentile of the round-trip time.",
            worst(1, named(rtt(0.95, ZONES, HERE), *ZONES)),
            "s",
            thresholds=RTT,
            legend=ZONE_TITLE,
        ),
        stat(
            "Most failed connections",
            "The pair of zones with the largest share of failed connections.",
            worst(1, named(connects_failed(ZONES, HERE), *ZONES)),
            "percentunit",
            thresholds=FAILURES,
            legend=ZONE_TITLE,
        ),
        stat(
            "Payload across zones",
            "TCP payload a second between zones that differ, which providers charge for.",
            f"sum({crossing})",
            "Bps",
        ),
    )
    description = "Between which zones is it, and is it all of a zone or a part: a few services, a few nodes?"
    return dashboard(
        "flowgauge-zones", "Flowgauge / Zones", description, [ZONE, ENDS], [glance, *_heat(), *_part(), _time()]
    )
