#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes what the chart has from elsewhere, and what others have from the chart; --check tells whether it is up to date.

- charts/flowgauge/files: the rules of alerts/ and the dashboards, as they are, because Helm packages nothing outside of the chart
- the table of values in charts/flowgauge/README.md, from the comments in values.yaml
- contrib/kubernetes/flowgauge.yaml, what the chart renders without any values, for those who have no Helm

Needs the packages in tests/requirements.txt: `make chart` brings them."""

import json
import re
import sys
from pathlib import Path

import helm_python
import yaml

TOP = Path(__file__).resolve().parent.parent
CHART = TOP / "charts/flowgauge"
MANIFEST = TOP / "contrib/kubernetes/flowgauge.yaml"
README = CHART / "README.md"
SOURCES = {"rules": ("alerts/rules", "*.yaml"), "dashboards": ("dashboards", "*.json")}
MARKS = ("<!-- values -->\n", "<!-- /values -->\n")

HEADER = """\
# SPDX-License-Identifier: Apache-2.0
#
# Flowgauge on every node of a cluster, without Helm: what charts/flowgauge renders without any values (`make chart`). No image
# is published: build one with the Dockerfile at the top of the sources, push it to your registry, and put its name below.
---
apiVersion: v1
kind: Namespace
metadata:
  name: flowgauge
  labels:
    # The host's namespaces and paths are beyond `baseline`.
    pod-security.kubernetes.io/enforce: privileged
"""


def copies():
    """Each file of the chart that is one of another directory: path, content."""
    for folder, (source, pattern) in SOURCES.items():
        for path in sorted((TOP / source).glob(pattern)):
            yield CHART / "files" / folder / path.name, path.read_text()


def documented():
    """Each value: dotted path, comment, default as JSON."""
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    comment, path = [], []
    for line in (CHART / "values.yaml").read_text().splitlines():
        if found := re.match(r"\s*# -- (.*)", line):
            comment = [found[1]]
        elif comment and (found := re.match(r"\s*# (.*)", line)):
            comment.append(found[1])
        elif found := re.match(r"( *)([A-Za-z]\w*):", line):
            depth = len(found[1]) // 2
            path = path[:depth] + [found[2]]
            value = defaults
            for key in path:
                value = value[key]
            if comment:
                yield ".".join(path), " ".join(comment), json.dumps(value)
            elif not isinstance(value, dict) or not value:
                sys.exit(f"values.yaml: {'.'.join(path)} has no comment")
            comment = []
        elif line.strip() and not line.lstrip().startswith("#"):
            sys.exit(f"values.yaml: one value a line, please: {line}")


def table():
    rows = ["| value | default | meaning |", "|---|---|---|"]
    for path, comment, default in documented():
        rows.append(f"| `{path}` | `{default}` | {comment} |".replace("||", "\\|\\|"))
    return "\n".join(rows) + "\n"


def readme():
    text = README.read_text()
    before, rest = text.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    return before + MARKS[0] + table() + MARKS[1] + after


def manifest():
    with helm_python.Chart.load(CHART) as chart:
        rendered = chart.render({}, name="flowgauge", namespace="flowgauge")
    order = ["serviceaccount", "rbac", "daemonset"]
    text = HEADER
    for name in order:
        text += "---\n" + rendered.pop(f"flowgauge/templates/{name}.yaml").strip() + "\n"
    left = [path for path, content in rendered.items() if content.strip() and not path.endswith("NOTES.txt")]
    if left:
        sys.exit(f"without values, the chart renders {left} as well: say where in the manifest that belongs")
    return re.sub(r"^ *(app.kubernetes.io/managed-by|helm.sh/chart): .*\n", "", text, flags=re.MULTILINE)


def main():
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        sys.exit(__doc__)
    stale = []

    def bring(path, content):
        if path.exists() and path.read_text() == content:
            return
        stale.append(path)
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    wanted = dict(copies())
    for path, content in wanted.items():
        bring(path, content)
    for folder in SOURCES:
        for path in (CHART / "files" / folder).glob("*"):
            if path not in wanted:
                stale.append(path)
                if not check:
                    path.unlink()
    bring(README, readme())
    bring(MANIFEST, manifest())
    for path in stale:
        print(f"{path.relative_to(TOP)}: {'not up to date: make chart' if check else 'written' if path.exists() else 'removed'}")
    sys.exit(1 if check and stale else 0)


main()
