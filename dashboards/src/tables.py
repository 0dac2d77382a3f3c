# SPDX-License-Identifier: Apache-2.0
"""Tables: several queries side by side, and matrices of one."""

from dataclasses import dataclass, field

from grafana import instant_table, override, panel


@dataclass(frozen=True)
class Column:
    """A query's value in a table."""

    title: str
    expression: str
    unit: str = "short"
    thresholds: dict | None = None
    links: tuple = ()
    hidden: bool = False
    decimals: int | None = None


@dataclass(frozen=True)
class Label:
    """A label's value in a table."""

    name: str
    title: str
    links: tuple = ()
    width: int | None = None


@dataclass
class _Fields:
    order: dict = field(default_factory=dict)
    renamed: dict = field(default_factory=dict)
    excluded: dict = field(default_factory=lambda: {"Time": True})
    overrides: list = field(default_factory=list)

    def add(self, name, title, hidden=False, **properties):
        self.order[name] = len(self.order)
        if hidden:
            self.excluded[name] = True
            return
        self.renamed[name] = title
        if properties:
            self.overrides.append(override(title, **properties))


def _colored(thresholds):
    cell = {"type": "color-background", "mode": "basic"}
    return {"custom__cellOptions": cell, "thresholds": thresholds, "color": {"mode": "thresholds"}}


def _table(title, description, targets, fields, transformations, sort):
    options = {"cellHeight": "sm", "frameIndex": 0, "showHeader": True, "enablePagination": False}
    if sort:
        options["sortBy"] = [{"displayName": sort, "desc": True}]
    custom = {"align": "auto", "cellOptions": {"type": "auto"}, "filterable": True, "inspect": False}
    return panel(
        "table",
        title,
        description,
        targets,
        options=options,
        defaults={"unit": "short", "custom": custom, "noValue": "-"},
        overrides=fields.overrides,
        transformations=transformations,
    )


def table(title, description, labels, columns, *, sort=None):
    """One line for each set of label values; columns are joined by the labels that they have in common."""
    refs = [chr(ord("A") + number) for number in range(len(columns))]
    fields = _Fields()
    for label in labels:
        properties = {"links": list(label.links)} if label.links else {}
        if label.width:
            properties["custom__width"] = label.width
        fields.add(label.name, label.title, **properties)
    for ref, column in zip(refs, columns, strict=True):
        properties = {"unit": column.unit}
        if column.thresholds:
            properties |= _colored(column.thresholds)
        if column.links:
            properties["links"] = list(column.links)
        if column.decimals is not None:
            properties["decimals"] = column.decimals
        name = "Value" if len(columns) == 1 else f"Value #{ref}"
        fields.add(name, column.title, column.hidden, **properties)
    organize = {"indexByName": fields.order, "renameByName": fields.renamed, "excludeByName": fields.excluded}
    transformations = [{"id": "merge", "options": {}}, {"id": "organize", "options": organize}]
    targets = [instant_table(column.expression, ref) for ref, column in zip(refs, columns, strict=True)]
    return _table(title, description, targets, fields, transformations, sort)


def matrix(title, description, expression, rows, columns, corner, unit, thresholds, links=()):
    """A value for each pair of two labels' values, coloured."""
    fields = _Fields()
    fields.overrides.append(
        {
            "matcher": {"id": "byType", "options": "number"},
            "properties": [
                {"id": "unit", "value": unit},
                *({"id": name.replace("__", "."), "value": value} for name, value in _colored(thresholds).items()),
                {"id": "custom.align", "value": "center"},
                *([{"id": "links", "value": list(links)}] if links else []),
            ],
        }
    )
    grouping = {"rowField": rows, "columnField": columns, "valueField": "Value", "emptyValue": "null"}
    joined = f"{rows}\\{columns}"
    organize = {"renameByName": {joined: corner}, "excludeByName": {}, "indexByName": {}}
    transformations = [{"id": "groupingToMatrix", "options": grouping}, {"id": "organize", "options": organize}]
    return _table(title, description, [instant_table(expression)], fields, transformations, None)
