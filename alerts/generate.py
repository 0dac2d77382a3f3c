#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes alerts/rules and docs/alerts.md from alerts/templates, thresholds.yaml and settings.yaml.

The rule files are plain Prometheus rules and are committed: this is needed only after a change. Python's own library is enough.
"""

import argparse
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
DOCS = HERE.parent / "docs" / "alerts.md"
PLACEHOLDER = re.compile(r"\$\{(\w+)\}")
ENTRY = re.compile(r"(\w+): (.*?) # (.+)")
DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
# The order of the table: from what is felt to what it is felt with.
TEMPLATES = ("recording", "services", "dns", "providers", "nodes", "exporter")
MADE = "# Made by alerts/generate.py from alerts/templates and alerts/thresholds.yaml. Do not edit.\n"


class Mistake(Exception):
    """What is wrong with an input; the program ends with it as its one line."""


def read_entries(path):
    """The entries of a file of `name: value # meaning` lines: name to (value, meaning)."""
    entries = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        entry = ENTRY.fullmatch(line)
        if not entry:
            raise Mistake(f"{path.name}:{number}: not `name: value # meaning`")
        name, value, meaning = entry.groups()
        if name in entries:
            raise Mistake(f"{path.name}:{number}: {name} is there twice")
        entries[name] = (value, meaning)
    return entries


def scaled(value, speed):
    """A duration divided by `speed`, as Prometheus spells it; anything else as it is."""
    duration = DURATION.fullmatch(value)
    if not duration or speed == 1:
        return value
    milliseconds = max(1, round(float(duration[1]) * MILLISECONDS[duration[2]] / speed))
    return f"{milliseconds}ms" if milliseconds % 1000 else f"{milliseconds // 1000}s"


def expand(text, values, used=None):
    """`text` with each `${name}` replaced, those in the values too. Names that were used are added to `used`."""

    def value(match):
        name = match[1]
        if name not in values:
            raise Mistake(f"${{{name}}} is neither in thresholds.yaml nor in settings.yaml")
        if used is not None:
            used.add(name)
        return expand(values[name], values, used)

    return PLACEHOLDER.sub(value, text)


def render(template, values):
    """A rule file: the template with its values, and where it comes from."""
    text = expand(template.read_text(), values)
    licence, rest = text.split("\n", 1)
    return f"{licence}\n{MADE}{rest}"


def field(block, name):
    """The value of a one-line field in the text of a rule."""
    found = re.search(rf"^ +{name}: (.+)$", block, re.MULTILINE)
    return found[1] if found else None


def alerts(values):
    """Each alert once, in order: (name, severity, for, summary, names of the thresholds in its expressions)."""
    found = {}
    for template in (HERE / "templates" / f"{name}.yaml" for name in TEMPLATES):
        for block in re.split(r"^ +- (?=alert: )", template.read_text(), flags=re.MULTILINE)[1:]:
            name = block.split("\n", 1)[0].removeprefix("alert: ")
            used = set()
            expand(block[block.index("expr:") : block.index("labels:")], values, used)
            if name in found:
                found[name][4].update(used)
                continue
            lasting = expand(field(block, "for"), values)
            severity, summary = field(block, "severity"), field(block, "summary")
            found[name] = (name, severity, lasting, summary, used)
    return list(found.values())


def markdown_table(values, thresholds):
    """The table of all alerts."""
    lines = ["| alert | severity | when | for | thresholds |", "|---|---|---|---|---|"]
    for name, severity, lasting, summary, used in alerts(values):
        chosen = [
            f"`{threshold}` {values[threshold]}: {meaning}"
            for threshold, (_, meaning) in thresholds.items()
            if threshold in used and meaning != "how long" and not threshold.endswith("_for")
        ]
        link = f"[{name}](../alerts/runbooks/{name}.md)"
        lines.append(f"| {link} | {severity} | {summary} | {lasting} | {'<br>'.join(chosen)} |")
    return "\n".join(lines) + "\n"


def documentation(values, thresholds):
    """docs/alerts.md with the table in its place."""
    before, rest = DOCS.read_text().split("<!-- table -->\n")[:2]
    after = rest.split("<!-- /table -->\n")[1]
    return f"{before}<!-- table -->\n{markdown_table(values, thresholds)}<!-- /table -->\n{after}"


def outputs(options):
    """What to write: path to text."""
    thresholds, settings = (read_entries(HERE / name) for name in ("thresholds.yaml", "settings.yaml"))
    values = {name: value for name, (value, _) in (settings | thresholds).items()}
    if both := settings.keys() & thresholds.keys():
        raise Mistake(f"in thresholds.yaml and in settings.yaml: {', '.join(sorted(both))}")
    values = {name: scaled(value, options.speed) for name, value in values.items()}
    for change in options.set:
        name, equals, value = change.partition("=")
        if not equals or name not in values:
            raise Mistake(f"--set {change}: NAME=VALUE, with a name from thresholds.yaml or settings.yaml")
        values[name] = value
    directory = options.output or HERE / "rules"
    templates = (HERE / "templates" / f"{name}.yaml" for name in TEMPLATES)
    written = {directory / path.name: render(path, values) for path in templates}
    if not options.output:
        written[DOCS] = documentation(values, thresholds)
    return written


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=pathlib.Path, help="write the rules to this directory, and no docs")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="another value; not divided by --speed")
    parser.add_argument("--speed", type=float, default=1, help="divide all durations by this, for tests")
    parser.add_argument("--check", action="store_true", help="write nothing, fail if something would change")
    options = parser.parse_args()
    if not options.speed > 0:
        parser.error("--speed is more than 0")
    if (options.set or options.speed != 1) and not options.output:
        parser.error("--set and --speed need --output: what is committed is made without")
    try:
        written = outputs(options)
    except (Mistake, OSError) as error:
        sys.exit(f"generate.py: {error}")
    stale = [path for path, text in written.items() if not path.exists() or path.read_text() != text]
    if options.check:
        for path in stale:
            print(f"{path.relative_to(HERE.parent)} is not what the templates say: alerts/generate.py", file=sys.stderr)
        sys.exit(bool(stale))
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(written[path])


if __name__ == "__main__":
    main()
