# SPDX-License-Identifier: Apache-2.0
"""PromQL: what panels ask for, put together from a few words.

Every flow is watched at both of its ends where both are ours, at one where the other is outside. Two rules keep sums right:

- what both ends tell alike (connections, failures, DNS answers, HTTP responses) is summed over one observer;
- what an end tells of its own sending (segments, retransmissions, bytes sent) may be summed over both, because the
  two ends of a connection send different segments.
"""

SCOPE = ('cluster=~"$cluster"', 'job=~"$job"')

# $ends is () for the application's ends and _proxy for those in sidecar proxies.
CLIENT = 'observer=~"client$ends"'
SERVER = 'observer=~"server$ends"'
SENDERS = 'observer=~"(client|server)$ends"'

PAIR = ("client_namespace", "client_workload", "server_namespace", "server_workload")
ZONES = ("client_zone", "server_zone")

# Which edges a panel is about: alternatives, each a tuple of matchers. A flow belongs if it meets one of them.
EVERY_EDGE = ((),)
EITHER_NAMESPACE = (('client_namespace=~"$namespace"',), ('server_namespace=~"$namespace"',))


def select(metric, *matchers):
    """The series of flowgauge_<metric> in the dashboard's scope."""
    return f"flowgauge_{metric}{{{','.join(SCOPE + matchers)}}}"


def rate(metric, *matchers):
    """Growth per second."""
    return f"rate({select(metric, *matchers)}[$__rate_interval])"


def increase(metric, *matchers):
    """Growth within the dashboard's time range."""
    return f"increase({select(metric, *matchers)}[$__range])"


def union(*vectors):
    """All series of these; one that is in several counts once."""
    return " or ".join(vectors)


def edge_rates(metric, edges, *matchers):
    """Growth per second on the edges that meet one of the alternatives."""
    return union(*(rate(metric, *matchers, *alternative) for alternative in edges))


def total(vector, by=()):
    """The sum, for each of the labels `by`."""
    return f"sum by ({', '.join(by)}) ({vector})" if by else f"sum({vector})"


def ratio(part, whole):
    """part / whole where there is a whole; 0 where nothing of it is part."""
    return f"({part} or 0 * {whole}) / ({whole} > 0)"


def quantile(share, buckets, by=()):
    """A quantile of a histogram, for each of the labels `by`."""
    return f"histogram_quantile({share}, {total(buckets, (*by, 'le'))})"


def mean(histogram_of, by=()):
    """The mean of a histogram; `histogram_of` makes the vector of a suffix."""
    return f"{total(histogram_of('sum'), by)} / ({total(histogram_of('count'), by)} > 0)"


def occurring(vector):
    """Only what happens at all: reasons that do not occur would fill the legend."""
    return f"({vector}) > 0"


def worst(count, vector):
    """The largest values."""
    return f"topk({count}, {vector})"


def named(vector, *labels):
    """With a dash in place of empty label values, so that a table's cell is never blank."""
    for label in labels:
        vector = f'label_replace({vector}, "{label}", "-", "{label}", "^$")'
    return vector
