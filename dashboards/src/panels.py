# SPDX-License-Identifier: Apache-2.0
"""The kinds of panels that are drawn: numbers, lines, bars, heatmaps, graphs of nodes."""

from grafana import instant_table, override, panel, steps, target

# Where a share begins to be worth a look, and where it hurts.
LOSS = steps(("yellow", 0.005), ("red", 0.02))
FAILURES = steps(("yellow", 0.01), ("red", 0.05))
RTT = steps(("yellow", 0.05), ("red", 0.2))
FILL = steps(("yellow", 0.7), ("red", 0.9))
ANY = steps(("red", 1e-9))
NONE = steps(base="blue")

_REDUCE = {"calcs": ["lastNotNull"], "fields": "", "values": False}
_LEGEND = {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["lastNotNull", "max"]}


def stat(title, description, expression, unit, *, thresholds=NONE, legend="", links=(), decimals=None):
    """A number with its recent past behind it. With a legend: the value of now, and the series' name above all."""
    named = bool(legend)
    defaults = {"unit": unit, "thresholds": thresholds, "color": {"mode": "thresholds"}, "noValue": "none"}
    if decimals is not None:
        defaults["decimals"] = decimals
    options = {
        "colorMode": "background",
        "graphMode": "none" if named else "area",
        "justifyMode": "auto",
        "orientation": "auto",
        "percentChangeColorMode": "standard",
        "reduceOptions": _REDUCE,
        "showPercentChange": False,
        "textMode": "value_and_name" if named else "value",
        "wideLayout": True,
    }
    queries = [target(expression, legend, instant=named)]
    return panel("stat", title, description, queries, options=options, defaults=defaults, links=links)


def lines(title, description, unit, *queries, stack=False, links=(), thresholds=None, overrides=(), minimum=0):
    """Lines over time; each query is an expression and its legend."""
    custom = {
        "drawStyle": "line",
        "lineInterpolation": "linear",
        "lineWidth": 1,
        "fillOpacity": 30 if stack else 8,
        "gradientMode": "none",
        "showPoints": "never",
        "spanNulls": False,
        "axisPlacement": "auto",
        "scaleDistribution": {"type": "linear"},
        "stacking": {"mode": "normal" if stack else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if thresholds else "off"},
    }
    defaults = {
        "unit": unit,
        "color": {"mode": "palette-classic"},
        "custom": custom,
        "thresholds": thresholds or NONE,
    }
    if minimum is not None:
        defaults["min"] = minimum
    options = {"legend": _LEGEND, "tooltip": {"mode": "multi", "sort": "desc"}}
    targets = [
        target(expression, legend, ref=chr(ord("A") + number)) for number, (expression, legend) in enumerate(queries)
    ]
    return panel(
        "timeseries", title, description, targets, options=options, defaults=defaults, links=links, overrides=overrides
    )


def dashed(legend_matches):
    """What is a limit, not a measurement: dashed, without an area below."""
    return {
        "matcher": {"id": "byRegexp", "options": legend_matches},
        "properties": [
            {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [8, 8]}},
            {"id": "custom.fillOpacity", "value": 0},
        ],
    }


def bars(title, description, unit, expression, legend, *, thresholds=NONE, maximum=None, links=()):
    """The values of now as bars, one for each series."""
    defaults = {"unit": unit, "thresholds": thresholds, "color": {"mode": "thresholds"}, "min": 0, "noValue": "none"}
    if maximum is not None:
        defaults["max"] = maximum
    options = {
        "displayMode": "basic",
        "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": False},
        "maxVizHeight": 28,
        "minVizHeight": 14,
        "minVizWidth": 8,
        "namePlacement": "left",
        "orientation": "horizontal",
        "reduceOptions": _REDUCE,
        "showUnfilled": True,
        "sizing": "auto",
        "valueMode": "text",
    }
    queries = [target(expression, legend, instant=True)]
    return panel("bargauge", title, description, queries, options=options, defaults=defaults, links=links)


def heatmap(title, description, expression):
    """How many fell into which bucket of a histogram of seconds, over time."""
    options = {
        "calculate": False,
        "cellGap": 1,
        "cellValues": {"unit": "short"},
        "color": {
            "mode": "scheme",
            "scheme": "Oranges",
            "fill": "dark-orange",
            "scale": "exponential",
            "exponent": 0.5,
            "steps": 64,
            "reverse": False,
        },
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "showValue": "never",
        "tooltip": {"mode": "single", "showColorScale": True, "yHistogram": True},
        "yAxis": {"axisPlacement": "left", "unit": "s", "reverse": False},
    }
    defaults = {"unit": "short", "custom": {"scaleDistribution": {"type": "linear"}}}
    queries = [target(expression, "{{le}}", form="heatmap")]
    return panel("heatmap", title, description, queries, options=options, defaults=defaults)


def node_graph(title, description, nodes, edges, links=()):
    """Circles and arrows. The panel takes its frames by the queries' names, and their fields by label names, which it finds
    only as they come from the data source: id, title, subtitle, mainstat, secondarystat, color, source, target."""
    options = {"layoutAlgorithm": "layered", "zoomMode": "cooperative", "edges": {}, "nodes": {}}
    return panel(
        "nodeGraph",
        title,
        description,
        [instant_table(nodes, "nodes"), instant_table(edges, "edges")],
        options=options,
        defaults={"unit": "none"},
        overrides=[override("id", links=list(links))],
    )
