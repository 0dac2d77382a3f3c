#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the dashboards' JSON beside this folder; with --check, says which differ from what is there."""

import json
import sys
from pathlib import Path

import dns
import external
import node
import overview
import service
import service_map
import zones

import exporter

OUTPUT = Path(__file__).resolve().parent.parent
DASHBOARDS = (overview, service, service_map, dns, external, zones, node, exporter)


def main():
    """Builds all, then writes or compares."""
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        sys.exit("usage: build.py [--check]")
    built = {}
    for module in DASHBOARDS:
        made = module.build()
        built[OUTPUT / f"{made['uid']}.json"] = json.dumps(made, indent=2, ensure_ascii=False) + "\n"
    unknown = [path for path in OUTPUT.glob("*.json") if path not in built]
    if check:
        stale = [path for path, text in built.items() if not path.is_file() or path.read_text("utf-8") != text]
        wrong = [path.name for path in (*stale, *unknown)]
        if wrong:
            sys.exit(f"not what dashboards/src says: {', '.join(wrong)}; run make dashboards")
        return
    for path, text in built.items():
        path.write_text(text, "utf-8")
    for path in unknown:
        path.unlink()


if __name__ == "__main__":
    main()
