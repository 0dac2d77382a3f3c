# SPDX-License-Identifier: Apache-2.0
"""Shapes and text in SVG, and the colours of the dark theme that people know."""

from html import escape

BACKGROUND = "#111217"
PANEL = "#181b1f"
BORDER = "#2a2d33"
GRID = "#2c2f36"
TEXT = "#ccccdc"
FAINT = "#8e8fa0"
LINK = "#6e9fff"

NAMED = {
    "green": "#73bf69",
    "yellow": "#f2cc0c",
    "orange": "#ff9830",
    "red": "#f2495c",
    "blue": "#5794f2",
    "text": TEXT,
}
SERIES = "#7eb26d #eab839 #6ed0e0 #ef843c #e24d42 #1f78c1 #ba43a9 #705da0 #508642 #cca300 #447ebc #c15c17".split()

_NARROW, _WIDE = set("iljtfr.,:;|!'()[]/ "), set("mwMW%@→")


def width(text, size):
    """About how wide the text is, in pixels: fonts are not read."""
    units = sum(0.32 if c in _NARROW else 0.88 if c in _WIDE else 0.66 if c.isupper() else 0.58 for c in text)
    return units * size


def fitting(text, size, room):
    """The text, cut so that it fits."""
    if width(text, size) <= room:
        return text
    while text and width(text + "…", size) > room:
        text = text[:-1]
    return text + "…"


class Drawing:
    """Collects shapes; y grows downwards."""

    def __init__(self, wide, high):
        self.wide, self.high, self.shapes = wide, high, []

    def rect(self, x, y, w, h, fill, *, stroke="none", radius=0, opacity=1):
        """A rectangle."""
        self.shapes.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(w, 0):.1f}" height="{max(h, 0):.1f}" rx="{radius}" '
            f'fill="{fill}" fill-opacity="{opacity}" stroke="{stroke}"/>'
        )

    def text(self, x, y, text, size=12, *, fill=TEXT, anchor="start", weight=400, room=None):
        """A line of text; cut to `room` if there is one."""
        if room is not None:
            text = fitting(text, size, room)
        self.shapes.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:.1f}" fill="{fill}" text-anchor="{anchor}" '
            f'font-weight="{weight}">{escape(text)}</text>'
        )

    def line(self, x1, y1, x2, y2, stroke, *, dash="", thick=1, opacity=1):
        """A straight line."""
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self.shapes.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{stroke}" '
            f'stroke-width="{thick}" stroke-opacity="{opacity}"{dashes}/>'
        )

    def path(self, points, stroke, *, thick=1.4, fill="none", opacity=1, dash=""):
        """Straight lines from point to point."""
        if len(points) < 2:
            return
        d = "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        self.curve(d, stroke, thick=thick, fill=fill, opacity=opacity, dash=dash)

    def curve(self, d, stroke, *, thick=1.4, fill="none", opacity=1, dash=""):
        """Whatever the path's words say."""
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self.shapes.append(
            f'<path d="{d}" fill="{fill}" fill-opacity="{opacity}" stroke="{stroke}" stroke-width="{thick}" '
            f'stroke-linejoin="round"{dashes}/>'
        )

    def circle(self, x, y, r, fill, stroke, thick=3):
        """A circle."""
        self.shapes.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r}" fill="{fill}" stroke="{stroke}" stroke-width="{thick}"/>'
        )

    def document(self):
        """The finished SVG."""
        body = "\n".join(self.shapes)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.wide}" height="{self.high}" '
            f'viewBox="0 0 {self.wide} {self.high}" font-family="Inter, Helvetica, Arial, sans-serif">\n'
            f'<rect width="100%" height="100%" fill="{BACKGROUND}"/>\n{body}\n</svg>\n'
        )


def mixed(one, other, share):
    """A colour on the way from one to the other."""
    a, b = (([int(color[i : i + 2], 16) for i in (1, 3, 5)]) for color in (one, other))
    return "#" + "".join(f"{round(x + (y - x) * share):02x}" for x, y in zip(a, b, strict=True))


def scale(colors, share):
    """A colour of a scale, 0 its beginning and 1 its end."""
    place = min(max(share, 0), 1) * (len(colors) - 1)
    left = min(int(place), len(colors) - 2)
    return mixed(colors[left], colors[left + 1], place - left)


def threshold_color(thresholds, value):
    """The colour of a value by a panel's thresholds."""
    color = "green"
    for step in thresholds.get("steps", []):
        if step["value"] is None or value >= step["value"]:
            color = step["color"]
    return NAMED.get(color, color)
