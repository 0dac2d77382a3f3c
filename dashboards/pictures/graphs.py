# SPDX-License-Identifier: Apache-2.0
"""The service map: circles in layers, arrows between them."""

import math

from svg import FAINT, PANEL, TEXT

_RADIUS = 36


def _layers(nodes, edges):
    """The longest way from a node that nobody calls; what calls in circles stays where it was reached first."""
    depth = dict.fromkeys(nodes, 0)
    for _ in range(len(nodes)):
        changed = False
        for source, target in edges:
            if source != target and depth[target] < depth[source] + 1 <= len(nodes):
                depth[target], changed = depth[source] + 1, True
        if not changed:
            break
    return depth


def _places(nodes, edges, box):
    x, y, w, h = box
    depth = _layers(nodes, edges)
    layers = [[node for node in nodes if depth[node] == level] for level in range(max(depth.values()) + 1)]
    layers = [layer for layer in layers if layer]
    place = {}
    for level, layer in enumerate(layers):
        # In the order of the middle of whom they are called by.
        def middle(node):
            callers = [place[source][1] for source, target in edges if target == node and source in place]
            return sum(callers) / len(callers) if callers else y

        across = x + 70 + (w - 140) * level / max(len(layers) - 1, 1)
        for row, node in enumerate(sorted(layer, key=middle)):
            # Layers are shifted against each other, so that arrows over two of them pass beside the circles.
            shift = (level % 2 - 0.5) * 0.32 * h / len(layer) if len(layers) > 2 else 0
            place[node] = (across, y + h * (row + 0.5) / len(layer) + shift)
    return place


def node_graph(drawing, panel, results, box, _world):
    """Frames by the queries' names, as the panel takes them."""
    x, y, w, h = box
    nodes = {series["metric"]["id"]: series for series in results.get("nodes", [])}
    arrows = results.get("edges", [])
    pairs = [(one["metric"]["source"], one["metric"]["target"]) for one in arrows]
    linked = {end for pair in pairs for end in pair}
    if not linked:
        drawing.text(x + w / 2, y + h / 2, "No data", 13, fill=FAINT, anchor="middle")
        return
    place = _places([node for node in nodes if node in linked], pairs, box)
    labels = []
    for one in arrows:
        labels.append(_arrow(drawing, one, place))
    for middle_x, middle_y, color, lines in labels:
        drawing.rect(middle_x - 44, middle_y - 16, 88, 31, PANEL, radius=3, opacity=0.85)
        drawing.text(middle_x, middle_y - 3, lines[0], 11, fill=color, anchor="middle", weight=600)
        drawing.text(middle_x, middle_y + 11, lines[1], 10, fill=FAINT, anchor="middle")
    for node, (at_x, at_y) in place.items():
        labels = nodes[node]["metric"]
        drawing.circle(at_x, at_y, _RADIUS, PANEL, labels.get("color", FAINT))
        share, _, word = labels.get("mainstat", "").partition(" ")
        drawing.text(at_x, at_y, share, 14, anchor="middle", weight=600)
        drawing.text(at_x, at_y + 14, word, 9.5, fill=FAINT, anchor="middle")
        drawing.text(at_x, at_y + _RADIUS + 16, labels.get("title", ""), 12.5, fill=TEXT, anchor="middle", weight=600)
        drawing.text(at_x, at_y + _RADIUS + 30, labels.get("subtitle", ""), 10.5, fill=FAINT, anchor="middle")


def _arrow(drawing, one, place):
    labels = one["metric"]
    (x1, y1), (x2, y2) = place[labels["source"]], place[labels["target"]]
    color = labels.get("color", FAINT)
    length = math.hypot(x2 - x1, y2 - y1) or 1
    dx, dy = (x2 - x1) / length, (y2 - y1) / length
    start = (x1 + dx * (_RADIUS + 3), y1 + dy * (_RADIUS + 3))
    end = (x2 - dx * (_RADIUS + 10), y2 - dy * (_RADIUS + 10))
    drawing.line(*start, *end, color, thick=2.2)
    left = (end[0] - dy * 5, end[1] + dx * 5)
    right = (end[0] + dy * 5, end[1] - dx * 5)
    tip = (end[0] + dx * 9, end[1] + dy * 9)
    drawing.path([left, tip, right, left], color, fill=color)
    middle = ((start[0] * 0.45 + end[0] * 0.55), (start[1] * 0.45 + end[1] * 0.55))
    return (*middle, color, (labels.get("mainstat", ""), labels.get("secondarystat", "")))
