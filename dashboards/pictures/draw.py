#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws dashboards from the results of their queries, for the documentation: no Grafana takes part.

usage: draw.py RESULTS FOLDER

RESULTS is what tests/tests/dashboards.rs writes with FLOWGAUGE_PICTURES. The PNG are made by rsvg-convert and pngquant."""

import json
import subprocess
import sys
from pathlib import Path

import charts
import graphs
import grids
from svg import BORDER, FAINT, PANEL, TEXT, Drawing, width

HERE = Path(__file__).resolve().parent.parent
WIDE, CELL, GAP, HEAD = 1480, 38, 8, 56

# Which lines of each dashboard are drawn, in Grafana's units of height: the first screens.
SHOWN = {
    "flowgauge-overview": (0, 35),
    "flowgauge-service": (0, 39),
    "flowgauge-map": (0, 37),
    "flowgauge-dns": (0, 35),
    "flowgauge-external": (0, 31),
    "flowgauge-zones": (0, 37),
    "flowgauge-node": (0, 33),
    "flowgauge-exporter": (0, 32),
}

KINDS = {
    "stat": charts.stat,
    "timeseries": charts.lines,
    "bargauge": charts.bars,
    "heatmap": charts.heatmap,
    "table": grids.table,
    "nodeGraph": graphs.node_graph,
}


def _header(drawing, dashboard, values):
    drawing.text(GAP, 34, dashboard["title"], 20, weight=600)
    across = GAP + width(dashboard["title"], 20) + 40
    for variable in dashboard["templating"]["list"]:
        value = values.get(variable["name"])
        if value is None or variable["name"] in ("cluster", "job"):
            continue
        text = {".*": "All", "()": "Applications"}.get(value, value.replace("|", " + "))
        label = f"{variable['label']}  {text}"
        drawing.rect(across, 14, width(label, 12) + 22, 28, PANEL, stroke=BORDER, radius=3)
        drawing.text(across + 10, 32, variable["label"], 12, fill=FAINT)
        drawing.text(across + 18 + width(variable["label"], 12), 32, text, 12, fill=TEXT)
        across += width(label, 12) + 34


def picture(dashboard, results, world):
    """The SVG of the first lines of a dashboard."""
    first, last = SHOWN[dashboard["uid"]]
    cell = (WIDE - GAP) / 24
    panels = [
        panel
        for panel in dashboard["panels"]
        if panel["gridPos"]["y"] >= first and panel["gridPos"]["y"] + panel["gridPos"]["h"] <= last
    ]
    # A heading without its panels is no use.
    while panels[-1]["type"] == "row":
        panels.pop()
    end = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    drawing = Drawing(WIDE, HEAD + (end - first) * CELL + GAP)
    _header(drawing, dashboard, world["values"])
    for panel in panels:
        at = panel["gridPos"]
        x, y = GAP + at["x"] * cell, HEAD + (at["y"] - first) * CELL
        w, h = at["w"] * cell - GAP, at["h"] * CELL - GAP
        title = panel["title"].replace("$workload", world["values"]["workload"])
        if panel["type"] == "row":
            drawing.text(x + 4, y + 20, title, 14, weight=600)
            continue
        found = results.get(panel["id"], {})
        if panel["type"] == "stat":
            charts.stat(drawing, panel, found, (x, y, w, h), world)
            continue
        drawing.rect(x, y, w, h, PANEL, stroke=BORDER, radius=3)
        drawing.text(x + 10, y + 20, title, 13, weight=500, room=w - 20)
        KINDS[panel["type"]](drawing, panel, found, (x + 10, y + 32, w - 20, h - 42), world)
    return drawing.document()


def main():
    """Draws all dashboards."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    world = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(HERE.glob("*.json")):
        dashboard = json.loads(path.read_text("utf-8"))
        results = {}
        for query in world["queries"]:
            if query["uid"] == dashboard["uid"]:
                results.setdefault(query["panel"], {})[query["reference"]] = query["result"]
        output = folder / f"{dashboard['uid']}.png"
        svg = picture(dashboard, results, world)
        png = subprocess.run(["rsvg-convert"], input=svg.encode(), capture_output=True, check=True).stdout
        small = ["pngquant", "--speed", "1", "--strip", "96", "-"]
        output.write_bytes(subprocess.run(small, input=png, capture_output=True, check=True).stdout)
        print(f"{output.name}: {output.stat().st_size // 1024} kB")


if __name__ == "__main__":
    main()
