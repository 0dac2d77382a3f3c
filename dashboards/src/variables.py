# SPDX-License-Identifier: Apache-2.0
"""The variables at the top of a dashboard."""

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

# Refreshed when the time range changes: what was there then is what can be chosen.
ON_TIME_RANGE = 2
ALPHABETICAL = 1
CLASSIC_QUERY = 5


def query(name, label, expression, description, *, everything=True, multi=True, regex=""):
    """Values that the data source tells. All stands for series without the label too."""
    model = {
        "type": "query",
        "name": name,
        "label": label,
        "description": description,
        "datasource": DATASOURCE,
        "query": {"qryType": CLASSIC_QUERY, "query": expression, "refId": f"variable-{name}"},
        "refresh": ON_TIME_RANGE,
        "sort": ALPHABETICAL,
        "regex": regex,
        "multi": multi,
        "includeAll": everything,
        "hide": 0,
    }
    if everything:
        model["allValue"] = ".*"
        chosen = ["$__all"] if multi else "$__all"
        model["current"] = {"selected": True, "text": ["All"] if multi else "All", "value": chosen}
    return model


def ends_named(name, kind, matchers):
    """Values of `<kind>` at either end of any flow, which label_values cannot tell at once."""
    sides = (
        f"label_replace(flowgauge_tcp_sent_bytes_total{{{matchers}{',' if matchers else ''}"
        f'{side}_{kind}!=""}}, "{name}", "$1", "{side}_{kind}", "(.*)")'
        for side in ("client", "server")
    )
    return f"query_result(group by ({name}) ({' or '.join(sides)}))"


_BASE = 'cluster=~"$cluster",job=~"$job"'

SCOPE = [
    {
        "type": "datasource",
        "name": "datasource",
        "label": "Data source",
        "description": "The Prometheus that scrapes the exporters.",
        "query": "prometheus",
        "refresh": 1,
        "regex": "",
        "multi": False,
        "includeAll": False,
        "hide": 0,
        "current": {"text": "default", "value": "default"},
    },
    query(
        "cluster",
        "Cluster",
        "label_values(flowgauge_build_info, cluster)",
        "Label cluster of the scraped targets; All if there is none.",
    ),
    query(
        "job",
        "Job",
        'label_values(flowgauge_build_info{cluster=~"$cluster"}, job)',
        "Label job of the exporters' targets.",
    ),
]

NAMESPACE = query(
    "namespace",
    "Namespace",
    ends_named("namespace", "namespace", _BASE),
    "Flows of which either end is in one of these namespaces; All includes what has none.",
    regex='/namespace="([^"]*)"/',
)

# One at a time: it goes into links. All, for hosts without namespaces.
SERVICE_NAMESPACE = query(
    "namespace",
    "Namespace",
    ends_named("namespace", "namespace", _BASE),
    "Namespace of the service; All on hosts without Kubernetes.",
    multi=False,
    regex='/namespace="([^"]*)"/',
)

WORKLOAD = query(
    "workload",
    "Service",
    "query_result(group by (workload) ("
    + " or ".join(
        f'label_replace(flowgauge_tcp_sent_bytes_total{{{_BASE},{side}_namespace=~"$namespace"}}, '
        f'"workload", "$1", "{side}_workload", "(.*)")'
        for side in ("client", "server")
    )
    + "))",
    "Workload: the pod's controller, the systemd unit, the container or the process.",
    everything=False,
    multi=False,
    regex='/workload="([^"]*)"/',
)

ZONE = query(
    "zone",
    "Zone",
    ends_named("zone", "zone", _BASE),
    "Zone of the service's own ends, or of either end where the dashboard is about zones.",
    regex='/zone="([^"]*)"/',
)

PROVIDER = query(
    "provider",
    "Provider",
    f'label_values(flowgauge_tcp_sent_bytes_total{{{_BASE},server_kind="external"}}, server_workload)',
    "External services by their name: from the names file, DNS, or published ranges.",
)

INSTANCE = query(
    "instance",
    "Node",
    f"label_values(flowgauge_build_info{{{_BASE}}}, instance)",
    "Address of the exporter on the node, as Prometheus scrapes it.",
)

ENDS = {
    "type": "custom",
    "name": "ends",
    "label": "Watched at",
    "description": "With sidecar proxies: the applications' own ends, or the proxies', between which the network is.",
    "query": "Applications : (),Sidecar proxies : _proxy",
    "options": [
        {"selected": True, "text": "Applications", "value": "()"},
        {"selected": False, "text": "Sidecar proxies", "value": "_proxy"},
    ],
    "current": {"text": "Applications", "value": "()"},
    "multi": False,
    "includeAll": False,
    "hide": 0,
}

FLOWS = {
    "type": "textbox",
    "name": "flows",
    "label": "/flows behind",
    "description": "What comes before an exporter's address in links to its /flows: http://, or the address of a proxy.",
    "query": "http://",
    "current": {"text": "http://", "value": "http://"},
    "options": [{"selected": True, "text": "http://", "value": "http://"}],
    "hide": 0,
}
