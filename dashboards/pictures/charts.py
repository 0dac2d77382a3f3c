# SPDX-License-Identifier: Apache-2.0
"""Numbers, lines, bars and heatmaps, drawn from query results."""

import re
import time

from svg import FAINT, GRID, NAMED, SERIES, fitting, scale, threshold_color, width
from units import ticks, written

ORANGES = ["#2b1d12", "#7f2704", "#d94801", "#fd8d3c", "#fdd0a2", "#fff5eb"]


def number(sample):
    """The value of a sample."""
    return float(sample[1])


def finite(value):
    """Neither NaN nor infinite."""
    return value == value and abs(value) != float("inf")


def name_of(legend, labels):
    """A series' name by the legend's pattern."""
    return re.sub(r"\{\{(\w+)\}\}", lambda match: labels.get(match[1], ""), legend).strip() or "value"


def last_values(panel, results):
    """Name and last value of each series of all queries."""
    found = []
    for query in panel["targets"]:
        for series in results.get(query["refId"], []):
            values = [number(sample) for sample in series.get("values", [series.get("value")])]
            values = [value for value in values if finite(value)]
            if values:
                found.append((name_of(query.get("legendFormat", ""), series["metric"]), values[-1]))
    return found


def stat(drawing, panel, results, box, world):
    """A number on its colour; behind it what it was before."""
    x, y, w, h = box
    defaults = panel["fieldConfig"]["defaults"]
    values = last_values(panel, results)
    named = panel["options"]["textMode"] == "value_and_name"
    color = threshold_color(defaults["thresholds"], values[0][1]) if values else "#3d4048"
    ink = "#ffffff" if color in (NAMED["red"], NAMED["blue"], "#3d4048") else "#141619"
    drawing.rect(x, y, w, h, color, radius=3)
    drawing.text(x + 9, y + 19, panel["title"], 12, fill=ink, weight=500, room=w - 16)
    series = results.get(panel["targets"][0]["refId"], [])
    if series and not named:
        points = [(s[0], number(s)) for s in series[0].get("values", []) if finite(number(s))]
        top = max((value for _, value in points), default=0)
        if top > 0 and len(points) > 1:
            high = h * 0.35
            place = [
                (x + w * (t - world["from"]) / (world["to"] - world["from"]), y + h - high * v / top) for t, v in points
            ]
            outline = [(place[0][0], y + h), *place, (place[-1][0], y + h)]
            drawing.path(outline, "none", fill="#ffffff", opacity=0.22)
            drawing.path(place, "#ffffff", thick=1)
    text = written(values[0][1], defaults["unit"], defaults.get("decimals")) if values else defaults.get("noValue", "-")
    if named and values:
        drawing.text(x + w / 2, y + h * 0.5, values[0][0], 14, fill=ink, anchor="middle", weight=500, room=w - 14)
        drawing.text(x + w / 2, y + h * 0.84, text, 26, fill=ink, anchor="middle", weight=600)
    else:
        size = min(34, (w - 16) / max(width(text, 1), 1))
        drawing.text(x + w / 2, y + h * 0.62, text, size, fill=ink, anchor="middle", weight=600)


def bars(drawing, panel, results, box, _world):
    """A bar for each series, the longest the maximum."""
    x, y, w, h = box
    defaults = panel["fieldConfig"]["defaults"]
    values = sorted(last_values(panel, results), key=lambda item: -item[1])
    if not values:
        drawing.text(x + w / 2, y + h / 2, defaults.get("noValue", "-"), 13, fill=FAINT, anchor="middle")
        return
    top = max(value for _, value in values) or 1
    room = min(34, h / len(values))
    label = min(w * 0.4, max(width(name, 12) for name, _ in values) + 10)
    for place, (name, value) in enumerate(values):
        middle = y + room * place + room / 2
        color = threshold_color(defaults["thresholds"], value)
        full = w - label - 62
        drawing.text(x + label - 6, middle + 4, name, 12, anchor="end", room=label)
        drawing.rect(x + label, middle - room * 0.36, full, room * 0.72, GRID, radius=2)
        drawing.rect(x + label, middle - room * 0.36, max(full * value / top, 1), room * 0.72, color, radius=2)
        drawing.text(x + w - 2, middle + 4, written(value, defaults["unit"]), 12, fill=color, anchor="end", weight=500)


def _curves(panel, results):
    found = []
    for query in panel["targets"]:
        for series in results.get(query["refId"], []):
            points = [(sample[0], number(sample)) for sample in series.get("values", [])]
            points = [(moment, value) for moment, value in points if finite(value)]
            if points:
                found.append((name_of(query.get("legendFormat", ""), series["metric"]), points))
    return found


def _stacked(curves):
    base, done = {}, []
    for name, points in curves:
        below = [(moment, base.get(moment, 0)) for moment, _ in points]
        above = [(moment, value + base.get(moment, 0)) for moment, value in points]
        base.update(dict(above))
        done.append((name, points, below, above))
    return done


def _segments(points, step):
    parts = [[]]
    for point in points:
        if parts[-1] and point[0] - parts[-1][-1][0] > step * 3:
            parts.append([])
        parts[-1].append(point)
    return [part for part in parts if part]


def lines(drawing, panel, results, box, world):
    """Lines over time above a table of their last and largest values."""
    x, y, w, h = box
    defaults = panel["fieldConfig"]["defaults"]
    unit = defaults["unit"]
    curves = _curves(panel, results)
    if not curves:
        drawing.text(x + w / 2, y + h / 2, "No data", 13, fill=FAINT, anchor="middle")
        return
    stacking = defaults["custom"]["stacking"]["mode"] == "normal"
    shown = min(len(curves), 4)
    legend_top = y + h - 17 * (shown + 1)
    left, right, top, bottom = x + 54, x + w - 4, y + 4, legend_top - 24
    stacked = _stacked(curves) if stacking else [(name, points, None, points) for name, points in curves]
    highest = max(value for _, _, _, above in stacked for _, value in above)
    lowest = min(0, min(value for _, _, _, above in stacked for _, value in above))
    highest = max(highest, lowest + 1e-9) * 1.05
    thresholds = defaults["thresholds"] if defaults["custom"]["thresholdsStyle"]["mode"] != "off" else {}

    def across(moment):
        return left + (right - left) * (moment - world["from"]) / (world["to"] - world["from"])

    def up(value):
        return bottom - (bottom - top) * (value - lowest) / (highest - lowest)

    for value in ticks(lowest, highest, 4):
        drawing.line(left, up(value), right, up(value), GRID)
        drawing.text(left - 6, up(value) + 4, written(value, unit), 10.5, fill=FAINT, anchor="end")
    minute = 60 * (int(world["from"]) // 60 + 1)
    while minute < world["to"]:
        drawing.line(across(minute), top, across(minute), bottom, GRID)
        text = time.strftime("%H:%M", time.gmtime(minute))
        drawing.text(across(minute), bottom + 14, text, 10.5, fill=FAINT, anchor="middle")
        minute += 60
    for step in thresholds.get("steps", []):
        if step["value"] is not None and lowest < step["value"] < highest:
            drawing.line(
                left, up(step["value"]), right, up(step["value"]), NAMED[step["color"]], dash="6 5", opacity=0.7
            )
    for place, (_, _, below, above) in enumerate(stacked):
        color = SERIES[place % len(SERIES)]
        for part in _segments(above, world["step"]):
            line = [(across(moment), up(value)) for moment, value in part]
            if below is not None:
                floor = dict(below)
                under = [(across(moment), up(floor[moment])) for moment, _ in reversed(part)]
                drawing.path([*line, *under], "none", fill=color, opacity=0.3)
            else:
                edge = [(line[0][0], up(max(lowest, 0))), *line, (line[-1][0], up(max(lowest, 0)))]
                drawing.path(edge, "none", fill=color, opacity=0.07)
            drawing.path(line, color)
    _legend(drawing, curves, unit, (x, legend_top, w), shown)


def _legend(drawing, curves, unit, place, shown):
    x, y, w = place
    drawing.text(x + w - 80, y + 8, "Last", 10.5, fill=FAINT, anchor="end")
    drawing.text(x + w - 4, y + 8, "Max", 10.5, fill=FAINT, anchor="end")
    largest = sorted(range(len(curves)), key=lambda number: -max(value for _, value in curves[number][1]))[:shown]
    for row, index in enumerate(sorted(largest)):
        name, points = curves[index]
        level = y + 25 + 17 * row
        drawing.rect(x, level - 6, 14, 4, SERIES[index % len(SERIES)], radius=1)
        rest = f"  (+{len(curves) - shown} more)" if row == shown - 1 and len(curves) > shown else ""
        drawing.text(x + 20, level, fitting(name, 11.5, w - 190) + rest, 11.5)
        drawing.text(x + w - 80, level, written(points[-1][1], unit), 11.5, anchor="end")
        drawing.text(x + w - 4, level, written(max(v for _, v in points), unit), 11.5, anchor="end")


def heatmap(drawing, panel, results, box, world):
    """Columns of time, lines of buckets, brighter where more fell into."""
    x, y, w, h = box
    series = results.get(panel["targets"][0]["refId"], [])
    buckets = sorted((float(one["metric"]["le"]), dict((s[0], number(s)) for s in one["values"])) for one in series)
    cells, below = [], {}
    for _, counts in buckets:
        cells.append(
            {moment: max(value - below.get(moment, 0), 0) for moment, value in counts.items() if finite(value)}
        )
        below = counts
    used = [place for place, column in enumerate(cells) if any(value > 1e-9 for value in column.values())]
    if not used:
        drawing.text(x + w / 2, y + h / 2, "No data", 13, fill=FAINT, anchor="middle")
        return
    first, last = min(used), max(used)
    top = max(max(column.values(), default=0) for column in cells)
    left, bottom = x + 54, y + h - 22
    high = (bottom - y) / (last - first + 1)
    wide = (w - 60) * world["step"] / (world["to"] - world["from"])
    for place in range(first, last + 1):
        level = bottom - high * (place - first + 1)
        edge = buckets[place][0]
        drawing.text(
            left - 6, level + 4, "+Inf" if not finite(edge) else written(edge, "s"), 10.5, fill=FAINT, anchor="end"
        )
        for moment, value in cells[place].items():
            if value > 1e-9:
                across = left + (w - 60) * (moment - world["from"]) / (world["to"] - world["from"])
                drawing.rect(
                    across, level + 0.5, min(wide, x + w - across) + 0.3, high - 1, scale(ORANGES, (value / top) ** 0.5)
                )
    minute = 60 * (int(world["from"]) // 60 + 1)
    while minute < world["to"]:
        across = left + (w - 60) * (minute - world["from"]) / (world["to"] - world["from"])
        drawing.text(across, y + h - 6, time.strftime("%H:%M", time.gmtime(minute)), 10.5, fill=FAINT, anchor="middle")
        minute += 60
