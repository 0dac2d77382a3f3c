# SPDX-License-Identifier: Apache-2.0
"""Dashboards in Grafana's JSON: targets, rows, and the frame around them. Panels are in panels.py and tables.py."""

from variables import DATASOURCE, FLOWS, SCOPE

# Grafana 10.4's; newer ones bring it up to date when they load it.
SCHEMA_VERSION = 39
TAG = "flowgauge"
WIDTH = 24


def target(expression, legend="", *, ref="A", instant=False, form="time_series"):
    """One query. Table and heatmap are forms that the data source knows."""
    query = {
        "refId": ref,
        "datasource": DATASOURCE,
        "expr": expression,
        "editorMode": "code",
        "format": form,
        "instant": instant,
        "range": not instant,
    }
    if legend:
        query["legendFormat"] = legend
    if form == "time_series" and not instant:
        # A step of a scrape interval at least, whatever the data source says.
        query["intervalFactor"] = 1
    return query


def instant_table(expression, ref="A"):
    """The values of now, labels as columns."""
    return target(expression, ref=ref, instant=True, form="table")


def steps(*above, base="green"):
    """Colours by absolute thresholds: (colour, from)."""
    first = [{"color": base, "value": None}]
    return {"mode": "absolute", "steps": first + [{"color": color, "value": value} for color, value in above]}


def panel(kind, title, description, targets, *, options, defaults, overrides=(), transformations=(), links=()):
    """A panel without a place. `defaults` are the fields' defaults; `links` go from each value."""
    defaults = {"mappings": [], **defaults}
    if links:
        defaults["links"] = list(links)
    made = {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "targets": targets,
        "options": options,
        "fieldConfig": {"defaults": defaults, "overrides": list(overrides)},
    }
    if transformations:
        made["transformations"] = list(transformations)
    return made


def override(field, **properties):
    """Properties of one field by its name; `custom__align` stands for `custom.align`."""
    return {
        "matcher": {"id": "byName", "options": field},
        "properties": [{"id": name.replace("__", "."), "value": value} for name, value in properties.items()],
    }


def row(title, height, *panels):
    """A heading and one line of panels: each a panel, or a pair of width and panel; the rest share what is left."""
    wide = [item for item in panels if isinstance(item, tuple)]
    left = WIDTH - sum(width for width, _ in wide)
    share, over = divmod(left, max(1, len(panels) - len(wide)))
    placed = []
    for item in panels:
        if isinstance(item, tuple):
            placed.append(item)
        else:
            # What cannot be shared goes to the first.
            placed.append((share + (over > 0), item))
            over -= over > 0
    return title, height, placed


def more(height, *panels):
    """Another line of panels below the same heading."""
    return row(None, height, *panels)


def _placed(rows):
    y, number, placed = 0, 1, []
    for title, height, panels in rows:
        if title is not None:
            place = {"x": 0, "y": y, "w": WIDTH, "h": 1}
            heading = {"type": "row", "title": title, "collapsed": False, "id": number, "gridPos": place}
            placed.append({**heading, "panels": []})
            y, number = y + 1, number + 1
        x = 0
        for width, made in panels:
            if x + width > WIDTH:
                raise ValueError(f"{made['title']}: does not fit into its line")
            placed.append({"id": number, "gridPos": {"x": x, "y": y, "w": width, "h": height}, **made})
            x, number = x + width, number + 1
        y += height
    return placed


def dashboard(uid, title, description, variables, rows):
    """A dashboard: the scope's variables first, a dropdown of all its siblings, nothing to edit."""
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": [TAG],
        "editable": False,
        "graphTooltip": 1,
        "id": None,
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "annotations": {"list": []},
        "links": [
            {
                "type": "dashboards",
                "title": "Flowgauge",
                "tooltip": "The other dashboards, with this time range and these variables",
                "icon": "external link",
                "tags": [TAG],
                "asDropdown": True,
                "includeVars": True,
                "keepTime": True,
                "targetBlank": False,
                "url": "",
            }
        ],
        "templating": {"list": [*SCOPE, *variables, FLOWS]},
        "panels": _placed(rows),
    }
