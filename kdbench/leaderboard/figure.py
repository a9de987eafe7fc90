"""The answer as one picture: what methods gain, with intervals, and what their paper reports.

An SVG that stands alone, for a README or a slide: light on light pages, dark on dark ones.
"""

from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

from kdbench.errors import KdbenchError
from kdbench.evaluation.filled_ap import METRICS
from kdbench.leaderboard import svg
from kdbench.leaderboard.columns import is_noise, known
from kdbench.leaderboard.rows import Row
from kdbench.storage.files import write_text

NAMES, PANEL, GAP, LINE = 200, 260, 30, 20  # pixels
TOP, BOTTOM = 62, 58
LONGEST = 30  # methods; of more the best ones are shown
LETTERS = 95  # of a title on one line
STYLE = """
svg { --ink: #1c2127; --faint: #66707c; --rule: #dde2e7; --paper: #ffffff; --better: #0f7b4f;
  --worse: #b3382c; --accent: #2458c5; font: 12px system-ui, sans-serif; background: var(--paper) }
@media (prefers-color-scheme: dark) { svg { --ink: #e6e9ec; --faint: #9aa4af; --rule: #343b43;
  --paper: #15181b; --better: #4cc38a; --worse: #f0766a; --accent: #8ab0ff } }
text { fill: var(--ink) } .tick, .note { fill: var(--faint); font-size: 11px }
.head { font-weight: 600; font-size: 13px } .end { text-anchor: end } .mid { text-anchor: middle }
.grid { stroke: var(--rule) } .zero { stroke: var(--faint) } .arm { stroke: var(--ink) }
.dot { stroke-width: 1.5 } .better { fill: var(--better); stroke: var(--better) }
.worse { fill: var(--worse); stroke: var(--worse) }
.noise { fill: var(--paper); stroke: var(--faint) }
.paper { fill: none; stroke: var(--accent); stroke-width: 1.5 }
"""


def write_figure(tables: Sequence[tuple[str, Sequence[Row]]], path: Path) -> Path:
    """Writes the picture of the table with the most runs. Raises KdbenchError where none gains."""
    usable = [(title, rows) for title, rows in tables if _methods(rows)]
    if not usable:
        raise KdbenchError("--figure: no row has a gain over `none`; run both, and report again")
    title, rows = max(usable, key=lambda table: sum(len(row["seeds"]) for row in table[1]))
    write_text(path, svg.markup(figure(title, rows)) + "\n")
    return path


def figure(title: str, rows: Sequence[Row]) -> Element:
    """A line a method, from the largest gain down; a panel a metric."""
    methods = _methods(rows)
    height = TOP + LINE * len(methods) + BOTTOM
    drawing = svg.canvas(NAMES + len(METRICS) * (PANEL + GAP), height, f"gains: {title}")
    drawing.set("xmlns", "http://www.w3.org/2000/svg")
    svg.add(drawing, "style", STYLE)
    svg.add(drawing, "text", _shortened(title), x=12, y=20, class_="note")
    for n, row in enumerate(methods):
        svg.add(drawing, "text", f"{row['label']} ({len(row['seeds'])})", x=NAMES - 12,
                y=_middle(n) + 4, class_="end")  # fmt: skip
    for n, metric in enumerate(METRICS):
        _panel(drawing, metric, methods, NAMES + n * (PANEL + GAP))
    none = next(row for row in rows if row["method"] == "none")
    foot = (
        f"Points of mAP over none ({len(none['seeds'])} seeds), 95 % intervals. Filled: more than "
        "noise, all methods looked at. Blue ring: what the paper reports."
    )
    svg.add(drawing, "text", foot, x=12, y=height - 12, class_="note")
    return drawing


def _methods(rows: Sequence[Row]) -> list[Row]:
    found = [r for r in rows if r["method"] not in ("none", "teacher") and known(r["bev_gain"])]
    return sorted(found, key=lambda row: -row["bev_gain"])[:LONGEST]


def _shortened(title: str) -> str:
    return title if len(title) <= LETTERS else title[: LETTERS - 1].rstrip() + "…"


def _middle(line: int) -> float:
    return TOP + LINE * line + LINE / 2


def _panel(drawing: Element, metric: str, methods: Sequence[Row], left: float) -> None:
    keys = [f"{metric}_gain{end}" for end in ("", "_low", "_high")]
    reported = _reported(metric, methods)
    values = [row[key] for row in methods for key in keys if known(row[key])]
    x = svg.scale_of([0.0, *values, *reported.values()], left, left + PANEL)
    bottom = TOP + LINE * len(methods)
    svg.add(drawing, "text", f"{METRICS[metric]} mAP", x=left, y=TOP - 14, class_="head")
    for value in x.ticks():
        kind = "zero" if value == 0 else "grid"
        svg.add(drawing, "line", x1=x(value), x2=x(value), y1=TOP, y2=bottom, class_=kind)
        svg.add(drawing, "text", f"{value:+g}" if value else "0", x=x(value), y=bottom + 16,
                class_="tick mid")  # fmt: skip
    for n, row in enumerate(methods):
        _whisker(drawing, [row[key] for key in keys], is_noise(row, metric), x, _middle(n))
        if row["label"] in reported:
            ring = {"cx": x(reported[row["label"]]), "cy": _middle(n), "r": 5, "class_": "paper"}
            svg.add(drawing, "circle", **ring)


def _whisker(drawing: Element, gain: list, noise: bool, x: svg.Scale, middle: float) -> None:
    value, low, high = gain
    if known(low) and known(high):
        svg.add(drawing, "line", x1=x(low), x2=x(high), y1=middle, y2=middle, class_="arm")
    else:
        noise = True  # nothing is known of it
    sign = "noise" if noise else "better" if value > 0 else "worse"
    svg.add(drawing, "circle", cx=x(value), cy=middle, r=4, class_=f"dot {sign}")


def _reported(metric: str, methods: Sequence[Row]) -> dict[str, float]:
    """By row: the gain over `none` that its paper reports."""
    return {
        claim["method"]: claim["reported"]
        for claim in methods[0]["table"]["claims"]
        if claim["over"] == "none" and claim["metric"] == metric
    }
