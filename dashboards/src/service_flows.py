# SPDX-License-Identifier: Apache-2.0
"""Which flows are a service's."""

from promql import (
    CLIENT,
    SERVER,
    edge_rates,
    mean,
)

INBOUND = (('server_namespace=~"$namespace"', 'server_workload="$workload"', 'server_zone=~"$zone"'),)
OUTBOUND = (('client_namespace=~"$namespace"', 'client_workload="$workload"', 'client_zone=~"$zone"'),)
BOTH = INBOUND + OUTBOUND
OWN = ('namespace=~"$namespace"', 'workload="$workload"')

NETWORK_SHARE = (
    f"clamp_min({mean(lambda part: edge_rates(f'http_response_duration_seconds_{part}', INBOUND, CLIENT))} - "
    f"({mean(lambda part: edge_rates(f'http_response_duration_seconds_{part}', INBOUND, SERVER))}), 0)"
)
