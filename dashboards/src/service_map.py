# SPDX-License-Identifier: Apache-2.0
"""Who talks to whom: as a graph, as a matrix, and between zones."""

import links
from edges import connects_failed, loss, payload
from grafana import dashboard, row
from panels import FAILURES, LOSS, node_graph
from promql import PAIR, SENDERS, ZONES, edge_rates, total, worst
from shared import HERE, zone_matrix
from tables import matrix
from variables import ENDS, NAMESPACE

# Green, orange from 0.5 %, red from 2 %: by how the percentage is written.
COLORS = (("#73bf69", ""), ("#ff9830", "(0[.][5-9]|1[. ])"), ("#f2495c", "([2-9]|[1-9][0-9])"))
# More arrows than these cannot be told apart.
ARROWS = 60

_ALL_AGAIN = total(edge_rates("tcp_retransmitted_segments_total", HERE, SENDERS), PAIR)
# One operand of a division limits the other to its pairs.
_SENT = worst(ARROWS, f"{total(edge_rates('tcp_sent_segments_total', HERE, SENDERS), PAIR)} > 0")
_LOST = f"{_ALL_AGAIN} / {_SENT}"
_AGAIN = f"({_ALL_AGAIN} and on ({', '.join(PAIR)}) {_SENT})"


def _label(vector, name, source):
    return f'label_replace({vector}, "{name}", "$1", "{source}", "(.*)")'


def _at_nodes(vector):
    """A value of pairs, added up at each of their ends."""
    sides = (
        _label(_label(vector, "title", f"{side}_workload"), "subtitle", f"{side}_namespace")
        for side in ("client", "server")
    )
    return f"sum by (title, subtitle) ({' or '.join(sides)})"


def _written(vector, by, label, unit):
    """The vector's values, rounded, as a label's text."""
    counted = f'count_values by ({", ".join(by)}) ("{label}", round({vector}, 0.01))'
    return f'label_replace({counted}, "{label}", "$1 {unit}", "{label}", "(.*)")'


def _lost(share, by):
    """Loss in percent as text in mainstat, and its colour: the panel takes both from labels, as they are."""
    vector = _written(f"100 * {share}", by, "mainstat", "% lost")
    for color, percent in COLORS:
        vector = f'label_replace({vector}, "color", "{color}", "mainstat", "{percent}.*")'
    return vector


def _nodes():
    """id, title, subtitle, mainstat, color."""
    lost = _lost(f"{_at_nodes(_AGAIN)} / {_at_nodes(_SENT)}", ("title", "subtitle"))
    return f'label_join({lost}, "id", "/", "subtitle", "title")'


def _edges():
    """id, source, target, mainstat, secondarystat, color."""
    text = _written(f"8 * ({payload(PAIR, HERE)}) / 1e6", PAIR, "secondarystat", "Mbit/s")
    vector = f"{_lost(_LOST, PAIR)} * on ({', '.join(PAIR)}) group_left (secondarystat) {text}"
    for name, side in (("source", "client"), ("target", "server")):
        vector = f'label_join({vector}, "{name}", "/", "{side}_namespace", "{side}_workload")'
    return f'label_join({vector}, "id", " → ", "source", "target")'


def _by_service(vector):
    for name, side in (("from", "client"), ("to", "server")):
        vector = f'label_join({vector}, "{name}", "/", "{side}_namespace", "{side}_workload")'
    return f"sum by (from, to) ({vector})"


def build():
    """The dashboard."""
    rows = [
        row(
            "Who talks to whom",
            18,
            node_graph(
                "Service map",
                f"The {ARROWS} pairs of services that send the most segments. An arrow goes from client to server: its share of retransmitted segments, "
                "both directions, and its payload; green below 0.5 %, red from 2 %. A circle: the same at all connections of the service.",
                _nodes(),
                _edges(),
                links=[links.service("This service", links.field("subtitle"), links.field("title"))],
            ),
        ),
        row(
            "As a matrix",
            8,
            matrix(
                "Loss between services",
                f"Share of retransmitted segments, both directions, by client (line) and server (column), of the {ARROWS} pairs that send the most segments. "
                "A red column is a server, a red line a client, a single red cell the way between them.",
                _by_service(_LOST),
                "from",
                "to",
                "client ↓  server →",
                "percentunit",
                LOSS,
            ),
        ),
        row(
            "Between zones",
            6,
            zone_matrix(
                "Loss between zones",
                "Share of retransmitted segments, both directions, by the client's zone (line) and the server's (column).",
                loss(ZONES, HERE),
                "percentunit",
                LOSS,
            ),
            zone_matrix(
                "Failed connections between zones",
                "Share of connections begun and not established, by the client's zone (line) and the server's (column).",
                connects_failed(ZONES, HERE),
                "percentunit",
                FAILURES,
            ),
        ),
    ]
    description = "Who talks to whom, and where segments are lost: as a graph, as a matrix, and between zones."
    return dashboard("flowgauge-map", "Flowgauge / Service map", description, [NAMESPACE, ENDS], rows)
