# SPDX-License-Identifier: Apache-2.0
"""Overview: is it the network? Whose? Where?"""

import links
from edges import (
    MINIMUM_EVENTS,
    MINIMUM_SEGMENTS,
    broken,
    connect_failures,
    connects_failed,
    dns_failed,
    grpc_failed,
    http_failed,
    limited,
    loss,
    payload,
    rtt,
)
from grafana import dashboard, more, row
from panels import ANY, FAILURES, LOSS, RTT, bars, lines, stat
from promql import (
    CLIENT,
    PAIR,
    ZONES,
    edge_rates,
    named,
    rate,
    total,
    worst,
)
from shared import HERE, PAIR_TITLE, ZONE_TITLE, pairs_table, zone_matrix
from variables import ENDS, NAMESPACE


def _verdict():
    return row(
        "Is it the network? Whose? Where?",
        4,
        stat(
            "Retransmitted",
            "Share of TCP segments that had to be sent again, from both ends of every flow. Healthy networks stay below 0.1 %; "
            "from 2 % on, throughput collapses. Is it the network? If this is red, yes.",
            loss(edges=HERE),
            "percentunit",
            thresholds=LOSS,
        ),
        stat(
            "Pairs of services that lose",
            "Pairs of services that lose more than 2 % of their segments in one of the directions, of those that send more than one a second. "
            "Busy healthy pairs hide others in the share on the left, not here.",
            f"count(max by ({', '.join(PAIR)}) ({loss((*PAIR, 'observer'), HERE, minimum=MINIMUM_SEGMENTS)}) > 0.02) or vector(0)",
            "short",
            thresholds=ANY,
        ),
        stat(
            "Connections failed",
            "Share of TCP connections that were begun and not established: refused is the service, timeout and unreachable "
            "are mostly the network.",
            connects_failed(edges=HERE),
            "percentunit",
            thresholds=FAILURES,
        ),
        stat(
            "RTT, 95th percentile",
            "Smoothed round-trip time of connections that moved data, at their clients.",
            rtt(0.95, edges=HERE),
            "s",
            thresholds=RTT,
        ),
        stat(
            "DNS failed",
            "Share of lookups that were answered with an error other than NXDOMAIN, or not at all, at who asked.",
            dns_failed(edges=HERE),
            "percentunit",
            thresholds=FAILURES,
            links=[links.dashboard("flowgauge-dns", "DNS: which stage")],
        ),
        stat(
            "HTTP failed",
            "Share of clear-text HTTP requests answered by 5xx or not at all, at the client. Red here with a green network "
            "on the left: it is the application.",
            http_failed(edges=HERE),
            "percentunit",
            thresholds=FAILURES,
        ),
        stat(
            "gRPC failed",
            "Share of gRPC calls that ended with a status that is the server's or the network's fault (not, for example, "
            "NOT_FOUND), at the client.",
            grpc_failed(edges=HERE),
            "percentunit",
            thresholds=FAILURES,
        ),
    )


def _suspects():
    fields = {name: links.label(name) for name in PAIR}
    return more(
        4,
        stat(
            "Whose: worst service pair",
            f"The pair of services with the largest share of retransmitted segments in one direction, of those that send more than "
            f"{MINIMUM_SEGMENTS} segment a second, and which end sent them: they were lost on the way from there.",
            worst(1, loss((*PAIR, "observer"), HERE, minimum=MINIMUM_SEGMENTS)),
            "percentunit",
            thresholds=LOSS,
            legend=f"{PAIR_TITLE}, sent by the {{{{observer}}}}",
            links=[
                links.service("Client", fields["client_namespace"], fields["client_workload"]),
                links.service("Server", fields["server_namespace"], fields["server_workload"]),
            ],
        ),
        stat(
            "Where: worst pair of zones",
            f"The pair of zones with the largest share of retransmitted segments, of those that send more than "
            f"{MINIMUM_SEGMENTS} segment a second. If one pair stands out and others through the same zones do not, no zone is to be emptied.",
            worst(1, named(loss(ZONES, HERE, minimum=MINIMUM_SEGMENTS), *ZONES)),
            "percentunit",
            thresholds=LOSS,
            legend=ZONE_TITLE,
            links=[links.dashboard("flowgauge-zones", "Zones", zone=links.label("server_zone"))],
        ),
        stat(
            "Where: worst node",
            f"The node with the largest share of retransmitted segments among its own ends, of those that send more than "
            f"{MINIMUM_SEGMENTS} segment a second.",
            worst(1, loss(("instance",), HERE, minimum=MINIMUM_SEGMENTS)),
            "percentunit",
            thresholds=LOSS,
            legend="{{instance}}",
            links=[
                links.dashboard("flowgauge-node", "Node", instance=links.label("instance")),
                links.flows("Addresses by loss", links.label("instance"), sort="retransmitted_segments"),
            ],
        ),
        stat(
            "Refuses or does not answer",
            f"The server with the largest share of failed connections, of those asked for more than {MINIMUM_EVENTS} a second.",
            worst(1, connects_failed(("server_namespace", "server_workload"), HERE, minimum=MINIMUM_EVENTS)),
            "percentunit",
            thresholds=FAILURES,
            legend="{{server_workload}}",
            links=[links.service("Service", fields["server_namespace"], fields["server_workload"])],
        ),
    )


def _where():
    return row(
        "Where",
        6,
        zone_matrix(
            "Loss between zones",
            "Share of retransmitted segments, both directions, by the client's zone (line) and the server's (column).",
            loss(ZONES, HERE),
            "percentunit",
            LOSS,
        ),
        zone_matrix(
            "RTT between zones, median",
            "Median of the smoothed round-trip times at the client, by the client's zone (line) and the server's (column).",
            rtt(0.5, ZONES, HERE),
            "s",
            RTT,
        ),
        bars(
            "Loss by node, worst ten",
            "Share of retransmitted segments among the ends on each node. One node alone: look at the node, not at the network.",
            "percentunit",
            worst(10, loss(("instance",), HERE)),
            "{{instance}}",
            thresholds=LOSS,
            links=[links.dashboard("flowgauge-node", "Node", instance=links.label("instance"))],
        ),
        bars(
            "External providers, loss at our end",
            "Share of the segments towards each external service that had to be sent again.",
            "percentunit",
            worst(10, loss(("server_workload",), tuple((*one, 'server_kind="external"') for one in HERE))),
            "{{server_workload}}",
            thresholds=LOSS,
            links=[links.dashboard("flowgauge-external", "Provider", provider=links.label("server_workload"))],
        ),
    )


def _since_when():
    return [
        row(
            "Since when",
            8,
            lines(
                "Loss, worst pairs",
                "Share of retransmitted segments of the ten worst pairs of services at each moment.",
                "percentunit",
                (worst(10, loss(PAIR, HERE, minimum=MINIMUM_SEGMENTS)), PAIR_TITLE),
                thresholds=LOSS,
            ),
            lines(
                "Round-trip time",
                "Quantiles of the smoothed round-trip times at the clients.",
                "s",
                *((rtt(share, (), HERE), name) for share, name in ((0.5, "median"), (0.95, "p95"), (0.99, "p99"))),
            ),
            lines(
                "Failed connections by reason",
                "Connections begun and not established. refused: nobody listens. timeout: SYNs vanish. unreachable: routes. "
                "abandoned: the application did not wait. other: among them no free local port.",
                "cps",
                (connect_failures(("reason",), HERE), "{{reason}}"),
                stack=True,
            ),
        ),
        more(
            8,
            lines(
                "Established connections that broke",
                "Connections that ended otherwise than by FIN: reset by the other end, by the watched end, or given up by TCP (timeout).",
                "cps",
                (
                    broken(("reason",), HERE),
                    "{{reason}}",
                ),
                stack=True,
            ),
            lines(
                "DNS answers by code",
                "First answers by response code, and lookups without an answer, at who asked. NXDOMAIN of the resolver's search list is left out.",
                "ops",
                (total(edge_rates("dns_responses_total", HERE, CLIENT, 'search="false"'), ("rcode",)), "{{rcode}}"),
                (total(edge_rates("dns_timeouts_total", HERE, CLIENT)), "no answer"),
                stack=True,
            ),
            lines(
                "Who holds transfers back",
                "Of the time in which there was data to send: busy is the network and congestion control, receive_window a slow "
                "reader at the other end, send_buffer the sender's own buffer.",
                "percentunit",
                (limited(HERE), "{{limit}}"),
                stack=True,
            ),
        ),
        more(
            8,
            lines(
                "HTTP responses by class",
                "Clear-text HTTP responses by the first digit of their status, and requests without a response, at the client.",
                "reqps",
                (
                    total(
                        f'label_replace({edge_rates("http_responses_total", HERE, CLIENT)}, "class", "${{1}}xx", "code", "(.).*")',
                        ("class",),
                    ),
                    "{{class}}",
                ),
                (total(edge_rates("http_requests_failed_total", HERE, CLIENT), ("reason",)), "no response: {{reason}}"),
                stack=True,
            ),
            lines(
                "Packets dropped by the kernels",
                "Packets that the nodes' kernels dropped, by the kernel's own reason.",
                "pps",
                (worst(10, total(rate("dropped_packets_total", 'namespace=~"$namespace"'), ("reason",))), "{{reason}}"),
            ),
            lines(
                "Payload",
                "TCP payload of the clients, both directions; UDP payload.",
                "Bps",
                (payload((), HERE), "TCP"),
                (
                    f"{total(edge_rates('udp_sent_bytes_total', HERE, CLIENT))} + {total(edge_rates('udp_received_bytes_total', HERE, CLIENT))}",
                    "UDP",
                ),
                stack=True,
            ),
        ),
    ]


def build():
    """The dashboard."""
    rows = [
        _verdict(),
        _suspects(),
        row(
            "Whose",
            10,
            pairs_table(
                "Worst pairs of services",
                "The 25 pairs with the largest share of retransmitted segments. Lost → server: the client's retransmissions. Lost → client: the "
                "server's; empty where the server is outside, then gaps at the client tell. The node leads to /flows there: which addresses.",
                HERE,
            ),
        ),
        _where(),
        *_since_when(),
        row(
            "Blind spots",
            4,
            stat(
                "Exporters that answer",
                "Exporters that Prometheus reached at its last scrape, of those it has as targets.",
                'sum(up{job=~"$job",cluster=~"$cluster"}) / count(up{job=~"$job",cluster=~"$cluster"})',
                "percentunit",
                links=[links.dashboard("flowgauge-exporter", "Exporters")],
            ),
            stat(
                "Collectors that do not work",
                "Collectors that could not start or failed, over all nodes: what they measure is missing here.",
                'count(flowgauge_collector_up{cluster=~"$cluster",job=~"$job"} == 0) or vector(0)',
                "short",
                thresholds=ANY,
                links=[links.dashboard("flowgauge-exporter", "Exporters")],
            ),
            stat(
                "Payload without a name",
                "Share of TCP payload whose client or server is unknown.",
                f"{total(rate('unattributed_bytes_total'))} / ({total(rate('tcp_sent_bytes_total'))} + {total(rate('tcp_received_bytes_total'))} > 0)",
                "percentunit",
            ),
            stat(
                "Edges folded into other",
                "Edges a second that were folded because --series.limit was reached: sums stay right, names are lost.",
                total(rate("folded_edges_total")),
                "cps",
                thresholds=ANY,
            ),
        ),
    ]
    description = "Is it the network, whose, and which part of it: loss, round-trip time, failed connections, DNS and HTTP at a glance."
    return dashboard("flowgauge-overview", "Flowgauge / Overview", description, [NAMESPACE, ENDS], rows)
