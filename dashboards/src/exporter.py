# SPDX-License-Identifier: Apache-2.0
"""The exporters: do they work, what do they cost, what do they not see?"""

import links
from grafana import dashboard, more, row
from node_measures import AT, BY, ON, rate, select
from panels import ANY, FILL, dashed, lines, stat, steps
from promql import SCOPE, occurring, quantile, total, worst
from tables import Column, Label, table
from variables import INSTANCE


def own(metric, *matchers):
    """Series without the prefix: up, scrape_*, process_*."""
    return f"{metric}{{{','.join((*SCOPE, ON, *matchers))}}}"


def own_rate(metric, *matchers):
    """Growth per second of the same."""
    return f"rate({own(metric, *matchers)}[$__rate_interval])"


PROCESS = own_rate("process_cpu_seconds_total")
PROGRAMS = total(rate("bpf_program_run_seconds_total"), BY)
SERIES = f"{select('series')} / ({select('series_limit')} > 0)"
MAPS = f"{select('map_entries')} / ({select('map_capacity')} > 0)"
DOWN = f"count by (instance) ({select('collector_up')} == 0)"


def _glance():
    return row(
        "Do they work?",
        4,
        stat(
            "Answering",
            "Exporters that Prometheus reached at its last scrape, of its targets.",
            f"sum({own('up')}) / count({own('up')})",
            "percentunit",
            thresholds=steps(("yellow", 0.98), ("green", 1), base="red"),
        ),
        stat(
            "Collectors down",
            "Collectors that could not start or failed, over all nodes.",
            f"sum({DOWN}) or vector(0)",
            "short",
            thresholds=ANY,
        ),
        stat(
            "Label sources down",
            "Sources of names that do not work, over all nodes: the last known names are used.",
            f"count({select('label_source_up')} == 0) or vector(0)",
            "short",
            thresholds=ANY,
        ),
        stat(
            "CPU, mean per node",
            "CPU cores that an exporter and its kernel programs take.",
            f"avg({PROCESS} + on (instance) {PROGRAMS})",
            "percentunit",
        ),
        stat(
            "Memory, largest",
            "Resident memory of the largest exporter, without its BPF maps.",
            f"max({own('process_resident_memory_bytes')})",
            "bytes",
        ),
        stat(
            "Series budget, fullest",
            "Series served of --series.limit. From 1 on, edges are folded into other.",
            f"max({SERIES})",
            "percentunit",
            thresholds=FILL,
        ),
        stat(
            "Lost events",
            "What could not be counted where it belongs, a second, over all nodes.",
            f"sum({rate('lost_events_total')})",
            "ops",
            thresholds=ANY,
        ),
    )


def _nodes():
    at = links.field("Node")
    return row(
        "Which node",
        7,
        table(
            "Exporters",
            "The chosen exporters side by side.",
            [
                Label(
                    "instance",
                    "Node",
                    (links.dashboard("flowgauge-node", "This node", instance=at), links.flows("Its addresses", at)),
                )
            ],
            [
                Column("Up", f"max by (instance) ({own('up')})", "bool_on_off", steps(("green", 1), base="red")),
                Column("Collectors down", f"{DOWN} or 0 * max by (instance) ({own('up')})", "short", ANY),
                Column("CPU, itself", total(PROCESS, BY), "percentunit", decimals=3),
                Column("CPU, its programs", PROGRAMS, "percentunit", decimals=3),
                Column("Memory", total(own("process_resident_memory_bytes"), BY), "bytes"),
                Column("Series", total(select("series"), BY), "short"),
                Column("of limit", total(SERIES, BY), "percentunit", FILL, decimals=1),
                Column("Fullest map", f"max by (instance) ({MAPS})", "percentunit", FILL, decimals=1),
                Column("Scrape", f"max by (instance) ({own('scrape_duration_seconds')})", "s"),
                Column("Lost events", total(rate("lost_events_total"), BY), "ops", ANY),
                Column("Started", f"max by (instance) ({own('process_start_time_seconds')}) * 1000", "dateTimeFromNow"),
            ],
            sort="CPU, itself",
        ),
    )


def _parts():
    return [
        row(
            "Parts",
            8,
            table(
                "Collectors and sources of names",
                "Whether each works: 1 on all nodes, or less. flowgauge check on the node says why not.",
                [Label("part", "Part")],
                [
                    Column(
                        "Works on",
                        f'avg by (part) (label_replace({select("collector_up")}, "part", "collector $1", "collector", "(.*)")'
                        f' or label_replace({select("label_source_up")}, "part", "names: $1", "source", "(.*)")'
                        f' or label_replace({select("node_item_up")}, "part", "node item $1", "item", "(.*)"))',
                        "percentunit",
                        steps(("yellow", 0.01), ("green", 1), base="red"),
                    )
                ],
            ),
            table(
                "Versions",
                "Which version runs on how many nodes.",
                [Label("version", "Version"), Label("revision", "Revision"), Label("arch", "Architecture")],
                [Column("Nodes", f"count by (version, revision, arch) ({select('build_info')})", "short")],
            ),
            lines(
                "Are the numbers right? Ours of the kernel's",
                "What the exporter counted, of what the kernel's own SNMP counters say of the same time. 1 is right; below, something is not seen.",
                "percentunit",
                (select("audit_ratio"), f"{AT}: {{{{counter}}}}"),
                minimum=None,
            ),
        ),
    ]


def _cost():
    return [
        row(
            "What they cost",
            8,
            lines(
                "CPU",
                "CPU cores that exporters take themselves, and their programs in other processes' time; ten most.",
                "percentunit",
                (worst(10, total(PROCESS, BY)), f"{AT}: itself"),
                (worst(10, PROGRAMS), f"{AT}: its programs"),
            ),
            lines(
                "Kernel programs, CPU",
                "CPU cores that each program takes, over all chosen nodes, estimated from samples.",
                "percentunit",
                (total(rate("bpf_program_run_seconds_total"), ("program",)), "{{program}}"),
                stack=True,
            ),
            lines(
                "Kernel programs, time of one run",
                "Mean time of one run of each program.",
                "s",
                (
                    f"{total(rate('bpf_program_run_seconds_total'), ('program',))} / ({total(rate('bpf_program_runs_total'), ('program',))} > 0)",
                    "{{program}}",
                ),
            ),
        ),
        more(
            8,
            lines(
                "Memory",
                "Resident memory of the exporters, ten largest.",
                "bytes",
                (worst(10, own("process_resident_memory_bytes")), AT),
            ),
            lines(
                "Time of a scrape",
                "From the request to the finished answer (99th percentile), the part of it that reads the kernel's sockets, and what Prometheus measured.",
                "s",
                (quantile(0.99, rate("scrape_duration_seconds_bucket")), "answer, p99"),
                (quantile(0.99, rate("pass_duration_seconds_bucket")), "pass over the sockets, p99"),
                (f"max({own('scrape_duration_seconds')})", "Prometheus, slowest node"),
            ),
            lines(
                "Longest hold of a CPU",
                "Longest single run of the walk over the sockets in the last pass.",
                "s",
                (worst(10, select("walk_longest_run_seconds")), AT),
            ),
        ),
    ]


def _budget():
    return [
        row(
            "What they do not see",
            8,
            lines(
                "Series",
                "Series of edges and listeners, and the most that there may be.",
                "short",
                (worst(10, select("series")), AT),
                (select("series_limit"), f"{AT}: limit"),
                overrides=[dashed("/limit/")],
            ),
            lines(
                "Fill of the kernel's maps",
                "Entries of the fullest BPF maps, of their capacity.",
                "percentunit",
                (worst(10, f"max by (map) ({MAPS})"), "{{map}}"),
                thresholds=FILL,
            ),
            lines(
                "Lost, by reason",
                "What could not be counted where it belongs: maps or rings full, chains or paths too long, programs skipped.",
                "ops",
                (occurring(total(rate("lost_events_total"), ("reason",))), "{{reason}}"),
                (total(rate("bpf_program_recursion_misses_total")), "programs skipped (recursion)"),
            ),
        ),
        more(
            8,
            lines(
                "Folded edges",
                "Edges folded into other because --series.limit was reached.",
                "cps",
                (worst(10, total(rate("folded_edges_total"), BY)), AT),
            ),
            lines(
                "Payload without a name",
                "TCP payload whose client or server is unknown; payload between sidecar proxies and their own pods, which no edge has.",
                "Bps",
                (total(rate("unattributed_bytes_total"), ("end",)), "unknown {{end}}"),
                (total(rate("proxy_pod_bytes_total")), "proxies with their own pods"),
            ),
            lines(
                "Failed passes and reloads",
                "Passes over the sockets that failed, sources of names that could not be read again, and questions they could not answer.",
                "ops",
                (total(rate("pass_failures_total")), "passes failed"),
                (occurring(total(rate("label_source_reload_failures_total"), ("source",))), "{{source}}: not read"),
                (occurring(total(rate("label_source_misses_total"), ("source",))), "{{source}}: not known"),
            ),
        ),
        more(
            8,
            lines(
                "Names known",
                "Entries of each source of names, on the node that has most.",
                "short",
                (f"max by (source) ({select('label_source_entries')})", "{{source}}"),
            ),
            lines(
                "Sockets and flows",
                "Sockets that the last pass read, and flow keys that are kept, over all chosen nodes.",
                "short",
                (f"sum({select('walked_sockets')})", "sockets"),
                (f"sum({select('flow_keys')})", "flow keys"),
            ),
            lines(
                "Answers by status",
                "HTTP requests to the exporters by status code: scrapes, and people.",
                "reqps",
                (total(rate("web_responses_total"), ("code",)), "{{code}}"),
                stack=True,
            ),
        ),
    ]


def build():
    """The dashboard."""
    rows = [_glance(), _nodes(), *_parts(), *_cost(), *_budget()]
    description = "Do the exporters work, what do they cost, what do they not see, and are their numbers right?"
    return dashboard("flowgauge-exporter", "Flowgauge / Exporter health and cost", description, [INSTANCE], rows)
