# SPDX-License-Identifier: Apache-2.0
"""The chart and the values that are tried on it, by Helm's own engine."""

from pathlib import Path

import helm_python
import yaml

TOP = Path(__file__).resolve().parents[3]
CHART = TOP / "charts/flowgauge"
RELEASE, NAMESPACE = "flowgauge", "monitored"


def cases():
    """Each file of values: its name without `-values.yaml`, and what is in it."""
    found = {path.name.removesuffix("-values.yaml"): yaml.safe_load(path.read_text()) or {} for path in sorted(CHART.glob("ci/*-values.yaml"))}
    assert "default" in found, "no values in ci/"
    return found


def templates(values, name=RELEASE):
    """The text of each rendered template by its file."""
    with helm_python.Chart.load(CHART) as chart:
        chart.validate_schema(values)
        rendered = chart.render(values, name=name, namespace=NAMESPACE)
    return {Path(path).name: text for path, text in rendered.items()}


def objects(values, name=RELEASE):
    """All rendered objects."""
    texts = templates(values, name)
    texts.pop("NOTES.txt")
    return [each for text in texts.values() for each in yaml.safe_load_all(text) if each]


def of_kind(found, kind):
    return [each for each in found if each["kind"] == kind]


def one(found, kind):
    (single,) = of_kind(found, kind)
    return single


def container(found):
    (single,) = one(found, "DaemonSet")["spec"]["template"]["spec"]["containers"]
    return single
