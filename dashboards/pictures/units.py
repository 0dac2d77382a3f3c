# SPDX-License-Identifier: Apache-2.0
"""Values with their units, as a panel writes them."""

import math
import time


def _digits(value, decimals):
    if decimals is None:
        decimals = 0 if value == 0 or abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text and decimals > 1 else text


def _scaled(value, names, base, decimals):
    step = 0
    while abs(value) >= base and step < len(names) - 1:
        value, step = value / base, step + 1
    return f"{_digits(value, decimals)} {names[step]}".strip()


def _seconds(value, decimals):
    for limit, factor, name in ((1e-3, 1e6, "µs"), (1, 1e3, "ms"), (60, 1, "s")):
        if abs(value) < limit:
            return f"{_digits(value * factor, decimals)} {name}"
    return f"{_digits(value / 60, decimals)} min"


def written(value, unit, decimals=None, now=None):
    """The value as people read it."""
    if value is None or math.isnan(value):
        return "-"
    if unit == "percentunit":
        share = value * 100
        return f"{_digits(share, decimals if decimals is not None else 3 if 0 < abs(share) < 0.1 else None)}%"
    if unit == "s":
        return "0 s" if value == 0 else _seconds(value, decimals)
    if unit == "Bps":
        return _scaled(value, ["B/s", "kB/s", "MB/s", "GB/s"], 1000, decimals)
    if unit == "bytes":
        return _scaled(value, ["B", "KiB", "MiB", "GiB"], 1024, decimals)
    if unit == "bool_on_off":
        return "On" if value else "Off"
    if unit == "dateTimeFromNow":
        minutes = ((now or time.time()) - value / 1000) / 60
        return f"{minutes:.0f} minutes ago"
    suffix = {"ops": "ops/s", "cps": "c/s", "pps": "p/s", "reqps": "req/s"}.get(unit, "")
    if suffix:
        return f"{_digits(value, decimals)} {suffix}"
    return _scaled(value, ["", "K", "M", "G"], 1000, decimals)


def ticks(low, high, count):
    """Round values between two others."""
    span = high - low
    if span <= 0:
        return [low]
    raw = span / max(count, 1)
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9) * step
    return [first + step * i for i in range(int((high - first) / step + 1e-6) + 1)]
