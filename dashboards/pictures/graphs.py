# SPDX-License-Identifier: Apache-2.0
"""The service map: circles in layers, arrows between them."""

import math

from svg import FAINT, PANEL, TEXT

_RADIUS = 36
# Half of a label's width and height.
_LABEL = (38, 15.5)


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
    taken = [(at_x, at_y, 60, _RADIUS + 24) for at_x, at_y in place.values()]
    labels = [_arrow(drawing, one, place, taken) for one in arrows]
    for middle_x, middle_y, color, lines in labels:
        drawing.rect(middle_x - _LABEL[0], middle_y - 16, 2 * _LABEL[0], 2 * _LABEL[1], PANEL, radius=3, opacity=0.9)
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


def _bend(start, end, place):
    """The middle point of a curve that keeps clear of the circles between its ends."""
    length = math.hypot(end[0] - start[0], end[1] - start[1]) or 1
    dx, dy = (end[0] - start[0]) / length, (end[1] - start[1]) / length
    off = 0
    for x, y in place.values():
        along = (x - start[0]) * dx + (y - start[1]) * dy
        beside = (x - start[0]) * -dy + (y - start[1]) * dx
        if (x, y) not in (start, end) and 0 < along < length and abs(beside) < _RADIUS + 20:
            off = (-1 if beside >= 0 else 1) * (_RADIUS + 20 - abs(beside)) * 2.6
    return (start[0] + end[0]) / 2 - dy * off, (start[1] + end[1]) / 2 + dx * off


def _shortened(point, towards, by):
    length = math.hypot(towards[0] - point[0], towards[1] - point[1]) or 1
    return point[0] + (towards[0] - point[0]) / length * by, point[1] + (towards[1] - point[1]) / length * by


def _arrow(drawing, one, place, taken):
    """Draws it, and says where its label goes: where nothing else is, if there is such a place."""
    labels = one["metric"]
    color = labels.get("color", FAINT)
    first, last = place[labels["source"]], place[labels["target"]]
    middle = _bend(first, last, place)
    start, end, tip = (
        _shortened(first, middle, _RADIUS + 3),
        _shortened(last, middle, _RADIUS + 11),
        _shortened(last, middle, _RADIUS + 2),
    )
    words = (f"{x:.1f} {y:.1f}" for x, y in (start, middle, end))
    drawing.curve("M{} Q{} {}".format(*words), color, thick=2.2)
    dx, dy = (tip[0] - end[0]) / 9, (tip[1] - end[1]) / 9
    head = [(end[0] - dy * 5, end[1] + dx * 5), tip, (end[0] + dy * 5, end[1] - dx * 5)]
    drawing.path([*head, head[0]], color, fill=color)

    def at(t):
        return tuple(
            (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c for a, b, c in zip(start, middle, end, strict=True)
        )

    def free(point):
        return all(abs(point[0] - x) > w + _LABEL[0] or abs(point[1] - y) > h + _LABEL[1] for x, y, w, h in taken)

    tried = [at(share) for share in (0.5, 0.42, 0.58, 0.34, 0.66, 0.27, 0.73)]
    best = next((point for point in tried if free(point)), tried[0])
    taken.append((*best, *_LABEL))
    return (*best, color, (labels.get("mainstat", ""), labels.get("secondarystat", "")))
