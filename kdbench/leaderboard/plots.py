"""Gains with their intervals, and training curves."""

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from kdbench.leaderboard import svg
from kdbench.leaderboard.columns import is_noise, known
from kdbench.leaderboard.curves import Curve
from kdbench.leaderboard.rows import Row

CELL, THICK = 150, 20  # pixels of one whisker's drawing
WIDTH, HEIGHT = 470, 330


def gain_keys(rows: Iterable[Row], metric: str) -> dict[str, str]:
    """Title -> key in rows of the mean gain and the gain of each class that has an interval."""
    start, end = f"{metric}_", "_gain_low"
    keys = [key for row in rows for key in row if key.startswith(start) and key.endswith(end)]
    classes = dict.fromkeys(key[len(start) : -len(end)] for key in keys if key != f"{metric}{end}")
    return {"mAP": f"{metric}_gain"} | {name: f"{metric}_{name}_gain" for name in classes}


def gain_scale(rows: Iterable[Row], keys: Iterable[str]) -> svg.Scale:
    """One scale for all whiskers of a table, zero in it."""
    keys = list(keys)
    names = [f"{key}{end}" for key in keys for end in ("", "_low", "_high")]
    values = [row[name] for row in rows for name in names if known(row.get(name))]
    return svg.scale_of([0.0, *values], 4, CELL - 4, margin=0.03)


def whisker(row: Row, key: str, scale: svg.Scale) -> Markup:
    """A gain as a dot on its interval; empty where there is none. Hollow: no more than noise.

    A mean gain is noise when it does not survive the look at all methods, a class's when its
    interval holds zero.
    """
    value, low, high = (row.get(f"{key}{end}") for end in ("", "_low", "_high"))
    if not known(value) or row["method"] == "none":
        return Markup("")
    drawing = svg.canvas(CELL, THICK, f"{value:+.2f}")
    middle = THICK / 2
    svg.add(drawing, "line", x1=scale(0), x2=scale(0), y1=0, y2=THICK, class_="zero")
    metric, _, rest = key.partition("_")
    noise = rest == "gain" and is_noise(row, metric)
    if known(low) and known(high):
        noise = noise or (rest != "gain" and low <= 0 <= high)
        svg.add(drawing, "line", x1=scale(low), x2=scale(high), y1=middle, y2=middle, class_="arm")
    sign = "noise" if noise else "better" if value > 0 else "worse"
    svg.add(drawing, "circle", cx=scale(value), cy=middle, r=4, class_=f"dot {sign}")
    return svg.markup(drawing)


def whisker_axis(scale: svg.Scale) -> Markup:
    """The numbers over a column of whiskers."""
    drawing = svg.canvas(CELL, THICK, "points of AP")
    for value in svg.ticks(scale.low, scale.high, 6):
        svg.add(drawing, "text", f"{value:+g}" if value else "0", x=scale(value), y=15,
                class_="tick mid")  # fmt: skip
    return svg.markup(drawing)


def curve_plot(curves: Sequence[Curve], rows: Sequence[Row]) -> Markup:
    """Detection losses by step; empty without curves."""
    curves = [curve for curve in curves if len(curve.steps)]
    if not curves:
        return Markup("")
    x = svg.scale_of([0, *(c.steps[-1] for c in curves)], 50, WIDTH - 12, margin=0)
    y = svg.scale_of([v for c in curves for v in c.losses if known(v)] or [1], HEIGHT - 46, 26)
    drawing = svg.canvas(WIDTH, HEIGHT, "detection loss by training step")
    svg.axes(drawing, x, y, "training step", "detection loss")
    for place, curve in enumerate(curves):
        points = [(x(s), y(v)) for s, v in zip(curve.steps, curve.losses, strict=True) if known(v)]
        line = svg.polyline(drawing, points, f"curve c{place}")
        line.set("data-row", str(curve.row))
        svg.add(line, "title", rows[curve.row]["label"])
        _key(drawing, place, rows[curve.row]["label"])
    return svg.markup(drawing)


def _key(drawing, place: int, text: str) -> None:
    """A curve's name in the upper right corner, beside a piece of its line."""
    y = 36 + 15 * place
    svg.polyline(drawing, [(WIDTH - 24, y - 4), (WIDTH - 44, y - 4)], f"curve c{place}")
    svg.add(drawing, "text", text, x=WIDTH - 50, y=y, class_="name end")
