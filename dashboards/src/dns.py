# SPDX-License-Identifier: Apache-2.0
"""Is it DNS: the client's node, the cluster's DNS, or the upstream?"""

import links
from edges import dns_duration, dns_failed
from grafana import dashboard, more, row
from panels import FAILURES, bars, heatmap, lines, stat, steps
from promql import (
    CLIENT,
    PAIR,
    SERVER,
    edge_rates,
    increase,
    mean,
    rate,
    ratio,
    total,
    union,
    worst,
)
from shared import HERE
from tables import Column, Label, table
from variables import ENDS, NAMESPACE

STAGE = "{{client_workload}} → {{server_workload}}"
SLOW = steps(("yellow", 0.1), ("red", 1))


def _rates(name, observer, *matchers):
    return edge_rates(f"dns_{name}_total", HERE, observer, *matchers)


def _asked(by=(), observer=CLIENT):
    return total(union(_rates("responses", observer), _rates("timeouts", observer)), by)


def _duration_mean(by, observer):
    return mean(lambda part: edge_rates(f"dns_response_duration_seconds_{part}", HERE, observer), by)


def _glance():
    return row(
        "Is it DNS?",
        4,
        stat(
            "Queries",
            "DNS queries a second at who asks, those sent again included.",
            total(_rates("queries", CLIENT)),
            "ops",
        ),
        stat(
            "Failed",
            "Share of lookups answered with an error other than NXDOMAIN, or not at all.",
            dns_failed(edges=HERE),
            "percentunit",
            thresholds=FAILURES,
        ),
        stat(
            "Not answered",
            "Share of lookups without any answer within --dns.timeout. Applications wait seconds for these.",
            ratio(total(_rates("timeouts", CLIENT)), _asked()),
            "percentunit",
            thresholds=FAILURES,
        ),
        stat(
            "p95",
            "95th percentile of the time to the first answer, at who asks.",
            dns_duration(0.95, (), HERE),
            "s",
            thresholds=SLOW,
        ),
        stat(
            "Sent again",
            "Share of queries that were sent again before there was an answer: loss on the way, or a slow server.",
            ratio(total(_rates("query_retransmits", CLIENT)), total(_rates("queries", CLIENT))),
            "percentunit",
            thresholds=FAILURES,
        ),
        stat(
            "NXDOMAIN of search lists",
            "Share of answers that are NXDOMAIN about names that only the resolver's search list made up (ndots): no errors, but load.",
            ratio(total(_rates("responses", CLIENT, 'search="true"')), total(_rates("responses", CLIENT))),
            "percentunit",
        ),
    )


def _stages():
    at = links.field
    flows = {"by": "address", "sort": "dns_errors", "client_workload": at("Who asks"), "server_workload": at("Whom")}
    node = f"topk by ({', '.join(PAIR)}) (1, {total(_rates('queries', CLIENT), (*PAIR, 'instance'))})"
    return row(
        "Which stage",
        10,
        (
            16,
            table(
                "Stage by stage",
                "Who asks whom. A resolver that asks others is a client there: if clients → resolver fails and resolver → upstream does as well, it is the upstream; "
                "if only the first does, it is the resolver, or the way to it where the resolver itself answered in time.",
                [
                    Label("client_namespace", "Namespace"),
                    Label(
                        "client_workload", "Who asks", (links.service("This service", at("Namespace"), at("Who asks")),)
                    ),
                    Label("server_namespace", "Its namespace"),
                    Label("server_workload", "Whom", (links.service("This service", at("Its namespace"), at("Whom")),)),
                    Label("instance", "Node", (links.flows("Addresses, most DNS errors first", at("Node"), **flows),)),
                ],
                [
                    Column("Queries", total(_rates("queries", CLIENT), PAIR), "ops"),
                    Column("Failed", dns_failed(PAIR, HERE), "percentunit", FAILURES, decimals=1),
                    Column(
                        "Not answered",
                        ratio(total(_rates("timeouts", CLIENT), PAIR), _asked(PAIR)),
                        "percentunit",
                        FAILURES,
                        decimals=1,
                    ),
                    Column("p95, who asks", dns_duration(0.95, PAIR, HERE, CLIENT), "s", SLOW),
                    Column("p95, who answers", dns_duration(0.95, PAIR, HERE, SERVER), "s", SLOW),
                    Column("of the node", node, hidden=True),
                ],
                sort="Failed",
            ),
        ),
        lines(
            "Failed, by stage",
            "Share of lookups that failed, of the ten stages where it is largest.",
            "percentunit",
            (worst(10, dns_failed(PAIR, HERE)), STAGE),
            thresholds=FAILURES,
        ),
    )


def _answers():
    return row(
        "Answers",
        8,
        lines(
            "Answers by code",
            "First answers by response code, NXDOMAIN of search lists apart, and lookups without an answer, at who asks.",
            "ops",
            (total(_rates("responses", CLIENT, 'search="false"'), ("rcode",)), "{{rcode}}"),
            (total(_rates("responses", CLIENT, 'search="true"')), "NXDOMAIN of a search list"),
            (total(_rates("timeouts", CLIENT)), "no answer"),
            stack=True,
        ),
        lines(
            "Queries by type",
            "Queries by type of record, at who asks. AAAA beside each A is usual; much of PTR or ANY is not.",
            "ops",
            (total(_rates("queries", CLIENT), ("qtype",)), "{{qtype}}"),
            stack=True,
        ),
        lines(
            "Errors by server",
            "Answers with an error other than NXDOMAIN, and lookups without an answer, by who should have answered.",
            "ops",
            (
                total(_rates("responses", CLIENT, 'rcode!~"NOERROR|NXDOMAIN"'), ("server_workload", "rcode")),
                "{{server_workload}}: {{rcode}}",
            ),
            (total(_rates("timeouts", CLIENT), ("server_workload",)), "{{server_workload}}: no answer"),
            stack=True,
        ),
    )


def _durations():
    return row(
        "Time to the answer",
        8,
        heatmap(
            "Time to the answer",
            "Lookups by the time to their first answer, at who asks.",
            total(edge_rates("dns_response_duration_seconds_bucket", HERE, CLIENT), ("le",)),
        ),
        lines(
            "p95 by server",
            "95th percentile of the time to the first answer, at who asks, by who answers.",
            "s",
            (worst(10, dns_duration(0.95, ("server_workload",), HERE)), "{{server_workload}}"),
        ),
        lines(
            "Network and server",
            "Mean time to the first answer, at who asks and at who answers. Far apart: the way between them. Together and high: the server, or whom it asks.",
            "s",
            (_duration_mean(("server_workload",), CLIENT), "{{server_workload}}, at who asks"),
            (_duration_mean(("server_workload",), SERVER), "{{server_workload}}, at itself"),
        ),
    )


def _odd():
    return row(
        "What else goes wrong",
        8,
        lines(
            "Late and unsolicited answers",
            "Answers to no query that waits: late (after --dns.timeout), or unsolicited (sent twice, or forged).",
            "ops",
            (
                total(_rates("unmatched_responses", CLIENT), ("server_workload", "reason")),
                "{{server_workload}}: {{reason}}",
            ),
        ),
        lines(
            "Truncated, and over TCP",
            "Answers that did not fit a datagram, queries over TCP, and messages that are no DNS.",
            "ops",
            (total(_rates("truncated_responses", CLIENT)), "truncated"),
            (total(_rates("tcp_queries", CLIENT)), "queries over TCP"),
            (total(_rates("malformed_messages", CLIENT)), "malformed"),
            (total(_rates("query_retransmits", CLIENT)), "queries sent again"),
        ),
        lines(
            "Datagrams dropped at DNS servers",
            "Datagrams that sockets on port 53 dropped on arrival, nearly always because they are not read fast enough.",
            "pps",
            (
                total(rate("udp_receive_drops_total", 'port="53"'), ("namespace", "workload")),
                "{{namespace}}/{{workload}}",
            ),
        ),
    )


def _domains():
    bad = increase("dns_domain_responses_total", 'rcode!~"NOERROR|NXDOMAIN"')
    everything = increase("dns_domain_responses_total")
    return more(
        9,
        table(
            "Domains",
            "First answers within the time range by registrable domain, of all clients (the namespace above does not apply), and the share of them that were errors, NXDOMAIN apart; with --dns.names only.",
            [Label("domain", "Domain")],
            [
                Column("Answers", worst(25, total(everything, ("domain",))), "short", decimals=0),
                Column(
                    "NXDOMAIN",
                    ratio(
                        total(increase("dns_domain_responses_total", 'rcode="NXDOMAIN"'), ("domain",)),
                        total(everything, ("domain",)),
                    ),
                    "percentunit",
                    decimals=1,
                ),
                Column(
                    "Errors",
                    ratio(total(bad, ("domain",)), total(everything, ("domain",))),
                    "percentunit",
                    FAILURES,
                    decimals=1,
                ),
            ],
            sort="Answers",
        ),
        bars(
            "Failed by node",
            "Share of lookups that failed, by the node of who asked, worst ten. One node alone: its OS, not DNS.",
            "percentunit",
            worst(10, dns_failed(("instance",), HERE)),
            "{{instance}}",
            thresholds=FAILURES,
            links=[
                links.dashboard("flowgauge-node", "Node", instance=links.label("instance")),
                links.flows("Addresses, most DNS errors first", links.label("instance"), sort="dns_errors"),
            ],
        ),
    )


def build():
    """The dashboard."""
    description = (
        "Is it DNS: the client's node, the resolver, or the upstream? Codes, timeouts and times, stage by stage."
    )
    rows = [_glance(), _stages(), _answers(), _durations(), _odd(), _domains()]
    return dashboard("flowgauge-dns", "Flowgauge / DNS", description, [NAMESPACE, ENDS], rows)
