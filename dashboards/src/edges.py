# SPDX-License-Identifier: Apache-2.0
"""What is asked about edges on several dashboards: loss, round-trip time, failures, by any labels."""

from promql import (
    CLIENT,
    EVERY_EDGE,
    SENDERS,
    SERVER,
    edge_rates,
    occurring,
    quantile,
    ratio,
    total,
    union,
)

# Ratios of fewer segments, attempts, answers or responses a second say nothing and are left out of "worst" lists.
MINIMUM_SEGMENTS = 1
MINIMUM_EVENTS = 0.05


def loss(by=(), edges=EVERY_EDGE, observer=SENDERS, minimum=0):
    """Share of sent segments that were retransmissions; both ends' sending unless one observer is named."""
    sent = total(edge_rates("tcp_sent_segments_total", edges, observer), by)
    again = total(edge_rates("tcp_retransmitted_segments_total", edges, observer), by)
    return ratio(again, sent) if not minimum else f"{again} / ({sent} > {minimum})"


def loss_to_server(by=(), edges=EVERY_EDGE):
    """Loss on the way from client to server, as the client's retransmissions tell."""
    return loss(by, edges, CLIENT)


def loss_to_client(by=(), edges=EVERY_EDGE):
    """Loss on the way from server to client, as the server's retransmissions tell; a server outside is not watched."""
    return loss(by, edges, SERVER)


def out_of_order(by=(), edges=EVERY_EDGE, observer=CLIENT):
    """Share of received segments that came ahead of a gap: loss on the way here, when the sender is not watched."""
    received = total(edge_rates("tcp_received_segments_total", edges, observer), by)
    return ratio(total(edge_rates("tcp_out_of_order_segments_total", edges, observer), by), received)


def rtt(share, by=(), edges=EVERY_EDGE, observer=CLIENT):
    """A quantile of the smoothed round-trip times."""
    return quantile(share, edge_rates("tcp_rtt_seconds_bucket", edges, observer), by)


def connects_failed(by=(), edges=EVERY_EDGE, minimum=0):
    """Share of connections begun that were not established."""
    failed = total(edge_rates("tcp_connect_failures_total", edges, CLIENT), by)
    begun = total(edge_rates("tcp_connect_attempts_total", edges, CLIENT), by)
    return ratio(failed, begun) if not minimum else f"{failed} / ({begun} > {minimum})"


def connect_failures(by=("reason",), edges=EVERY_EDGE):
    """Failed connections a second, of reasons that occur."""
    return occurring(total(edge_rates("tcp_connect_failures_total", edges, CLIENT), by))


def broken(by=("reason",), edges=EVERY_EDGE):
    """Established connections a second that ended otherwise than by FIN, of reasons that occur."""
    return occurring(total(edge_rates("tcp_connections_closed_total", edges, CLIENT, 'reason!="fin"'), by))


def dns_failed(by=(), edges=EVERY_EDGE, observer=CLIENT):
    """Share of lookups answered with an error other than NXDOMAIN, or not at all."""
    silent = edge_rates("dns_timeouts_total", edges, observer)
    bad = edge_rates("dns_responses_total", edges, observer, 'rcode!~"NOERROR|NXDOMAIN"')
    asked = union(edge_rates("dns_responses_total", edges, observer), silent)
    return ratio(total(union(bad, silent), by), total(asked, by))


def http_failed(by=(), edges=EVERY_EDGE, observer=CLIENT):
    """Share of HTTP requests answered by 5xx or not at all."""
    without = edge_rates("http_requests_failed_total", edges, observer)
    bad = edge_rates("http_responses_total", edges, observer, 'code=~"5.."')
    asked = union(edge_rates("http_responses_total", edges, observer), without)
    return ratio(total(union(bad, without), by), total(asked, by))


def grpc_failed(by=(), edges=EVERY_EDGE, observer=CLIENT):
    """Share of gRPC calls that ended for the server's or the network's fault."""
    faults = 'grpc_status=~"UNKNOWN|DEADLINE_EXCEEDED|RESOURCE_EXHAUSTED|INTERNAL|UNAVAILABLE|DATA_LOSS|none"'
    bad = edge_rates("grpc_responses_total", edges, observer, faults)
    return ratio(total(bad, by), total(edge_rates("grpc_responses_total", edges, observer), by))


def http_requests(by=(), edges=EVERY_EDGE, observer=CLIENT):
    """HTTP responses a second."""
    return total(edge_rates("http_responses_total", edges, observer), by)


def http_duration(share, by=(), edges=EVERY_EDGE, observer=CLIENT):
    """A quantile of the time to the response's first byte."""
    return quantile(share, edge_rates("http_response_duration_seconds_bucket", edges, observer), by)


def dns_duration(share, by=(), edges=EVERY_EDGE, observer=CLIENT):
    """A quantile of the time to the first answer."""
    return quantile(share, edge_rates("dns_response_duration_seconds_bucket", edges, observer), by)


def payload(by=(), edges=EVERY_EDGE, observer=CLIENT):
    """TCP payload a second, both directions, as one end saw it."""
    sent = edge_rates("tcp_sent_bytes_total", edges, observer)
    received = edge_rates("tcp_received_bytes_total", edges, observer)
    return f"{total(sent, by)} + {total(received, by)}"


def limited(edges=EVERY_EDGE, observer=SENDERS):
    """Of the time with data to send, the share spent waiting for: the network, the receiver, the own buffer."""
    waited = edge_rates("tcp_limited_seconds_total", edges, observer)
    return f"{total(waited, ('limit',))} / on () group_left () ({total(waited)} > 0)"
