# SPDX-License-Identifier: Apache-2.0
"""Tables and matrices, drawn from query results with the panels' own transformations."""

from charts import finite, number
from svg import BORDER, FAINT, LINK, TEXT, mixed, threshold_color, width
from units import written

_LINE = 27


def _merged(panel, results):
    """One line for each set of labels; a line with more labels than another's goes into it if those in common agree."""
    lines = []
    single = len(panel["targets"]) == 1
    for query in panel["targets"]:
        column = "Value" if single else f"Value #{query['refId']}"
        for series in results.get(query["refId"], []):
            labels = {name: value for name, value in series["metric"].items() if name != "__name__"}
            value = number(series["value"])
            fitting = [
                line for line in lines if column not in line and all(line[n] == labels[n] for n in labels if n in line)
            ]
            if not fitting:
                fitting = [{}]
                lines.append(fitting[0])
            for line in fitting:
                line.update(labels)
                line[column] = value
    return lines


def _organized(panel, lines):
    organize = next(step["options"] for step in panel["transformations"] if step["id"] == "organize")
    order = sorted(organize["indexByName"], key=organize["indexByName"].get)
    shown = [name for name in order if not organize["excludeByName"].get(name)]
    titles = [organize["renameByName"].get(name, name) for name in shown]
    found = [[line.get(name) for name in shown] for line in lines]
    sort = panel["options"].get("sortBy")
    if sort and sort[0]["displayName"] in titles:
        place = titles.index(sort[0]["displayName"])
        found.sort(
            key=lambda cells: -(cells[place] if isinstance(cells[place], float) and finite(cells[place]) else -1)
        )
    return titles, found


def _matrix(panel, results):
    grouping = next(step["options"] for step in panel["transformations"] if step["id"] == "groupingToMatrix")
    organize = next(step["options"] for step in panel["transformations"] if step["id"] == "organize")
    corner = next(iter(organize["renameByName"].values()))
    series = results.get(panel["targets"][0]["refId"], [])
    cells = {
        (one["metric"].get(grouping["rowField"], ""), one["metric"].get(grouping["columnField"], "")): number(
            one["value"]
        )
        for one in series
    }
    columns = sorted({column for _, column in cells})
    rows = sorted({row for row, _ in cells})
    return [corner, *columns], [[row, *(cells.get((row, column)) for column in columns)] for row in rows]


def _properties(panel, title):
    found = dict(panel["fieldConfig"]["defaults"])
    for override in panel["fieldConfig"]["overrides"]:
        matcher = override["matcher"]
        numbers = matcher["id"] == "byType" and title is None
        if numbers or (matcher["id"] == "byName" and matcher["options"] == title):
            found.update({each["id"]: each["value"] for each in override["properties"]})
    return found


def table(drawing, panel, results, box, world):
    """Lines and columns; colours behind the values that have thresholds."""
    x, y, w, h = box
    is_matrix = any(step["id"] == "groupingToMatrix" for step in panel["transformations"])
    titles, lines = _matrix(panel, results) if is_matrix else _organized(panel, _merged(panel, results))
    if not lines:
        drawing.text(x + w / 2, y + h / 2, "No data", 13, fill=FAINT, anchor="middle")
        return
    fits = int((h - _LINE) // _LINE)
    looks = [_properties(panel, None if is_matrix and place else title) for place, title in enumerate(titles)]

    def text_of(cell, look):
        if isinstance(cell, float):
            return written(cell, look.get("unit", "short"), look.get("decimals"), world["to"])
        return "-" if cell in (None, "") else cell

    texts = [[text_of(cell, look) for cell, look in zip(line, looks, strict=True)] for line in lines[:fits]]
    wanted = [
        max([width(title, 11.5), *(width(line[place], 12) for line in texts)]) + 22
        for place, title in enumerate(titles)
    ]
    if is_matrix:
        wanted[1:] = [max(wanted[1:])] * (len(wanted) - 1)
    factor = w / sum(wanted)
    wide = [each * factor for each in wanted]
    across = x
    for place, title in enumerate(titles):
        middle = is_matrix and place
        at = across + wide[place] / 2 if middle else across + 8
        drawing.text(
            at, y + 17, title, 11.5, fill=LINK, anchor="middle" if middle else "start", weight=500, room=wide[place] - 6
        )
        for row, line in enumerate(texts):
            level = y + _LINE * (row + 1)
            cell, look = lines[row][place], looks[place]
            colored = (
                look.get("custom.cellOptions", {}).get("type") == "color-background"
                and isinstance(cell, float)
                and finite(cell)
            )
            ink = TEXT
            if colored:
                color = threshold_color(look["thresholds"], cell)
                drawing.rect(across + 1, level + 1, wide[place] - 2, _LINE - 2, mixed(color, "#181b1f", 0.25))
                ink = "#0b0c0e"
            elif look.get("links") and not isinstance(cell, float):
                ink = LINK
            at = across + wide[place] / 2 if middle else across + 8
            anchor = "middle" if middle else "start"
            drawing.text(
                at,
                level + 18,
                line[place],
                12,
                fill=ink,
                anchor=anchor,
                weight=500 if colored else 400,
                room=wide[place] - 10,
            )
        across += wide[place]
    for row in range(len(texts) + 1):
        drawing.line(x, y + _LINE * (row + 1), x + w, y + _LINE * (row + 1), BORDER)
    if len(lines) > fits:
        drawing.text(x + w - 4, y + h + 4, f"{len(lines) - fits} more", 10.5, fill=FAINT, anchor="end")
