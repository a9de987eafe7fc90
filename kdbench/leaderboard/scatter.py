"""Accuracy against cost: where does distilling beat a wider network, or longer training?"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from kdbench.leaderboard import svg
from kdbench.leaderboard.columns import disturbed, known
from kdbench.leaderboard.rows import Row

WIDTH, HEIGHT = 470, 330
LEFT, RIGHT, TOP, BOTTOM = 50, 12, 26, 46
LINE, LETTER = 13, 6.3  # pixels that a label is high, and a letter of it wide


@dataclass(frozen=True)
class Cost:
    """What stands along x: a key of rows, and how it is drawn."""

    key: str
    title: str
    scale: float = 1.0
    log: bool = False
    told_apart: str = "ratio"  # by what rows of `none` differ in this plot


LATENCY = Cost("latency_p50_ms", "latency p50, ms")
PARAMETERS = Cost("parameters", "parameters, millions", 1e-6, log=True)
STEPS = Cost("steps", "training steps", log=True, told_apart="steps")


@dataclass(frozen=True, eq=False)
class Dot:
    """One row of the leaderboard in a plot."""

    row: Row
    number: int | None  # which row of its table; None for a row of another table
    x: float
    y: float
    told_apart: str

    @property
    def kind(self) -> str:
        """`none`, `teacher` or `method`."""
        name = self.row["method"]
        return name if name in ("none", "teacher") else "method"

    @property
    def label(self) -> str:
        """The method; of `none` what tells its rows apart."""
        if self.kind != "none":
            return self.row["label"]
        value = self.row[self.told_apart]
        return f"none {value:,}" if self.told_apart == "steps" else f"none x{value:g}"


def scatter(rows: Sequence[Row], elsewhere: Sequence[Row], metric: str, cost: Cost) -> Markup:
    """The plot of one table; empty when no row has both numbers.

    `rows` are the table's, `elsewhere` those of `none` in the tables of other ratios, or of other
    numbers of steps.
    """
    dots = [d for n, row in enumerate(rows) for d in _dot(row, n, metric, cost)]
    dots += [d for row in elsewhere for d in _dot(row, None, metric, cost)]
    if not dots:
        return Markup("")
    x = svg.scale_of([d.x for d in dots], LEFT, WIDTH - RIGHT, cost.log)
    y = svg.scale_of([d.y for d in dots], HEIGHT - BOTTOM, TOP)
    label = f"{metric} mAP against {cost.title}"
    drawing = svg.canvas(WIDTH, HEIGHT, label)
    svg.axes(drawing, x, y, cost.title, f"{metric.upper()} mAP")
    front = pareto([(d.x, d.y) for d in dots])
    _stairs(drawing, [(x(dots[i].x), y(dots[i].y)) for i in front])
    plain = sorted((d for d in dots if d.kind != "method"), key=lambda d: d.x)
    svg.polyline(drawing, [(x(d.x), y(d.y)) for d in plain], "plain")
    for dot in dots:
        _mark(drawing, dot, x(dot.x), y(dot.y), cost is LATENCY and disturbed(dot.row))
    named = [dots[i] for i in front] + plain
    _names(drawing, [(x(d.x), y(d.y), d.label) for d in dict.fromkeys(named)])
    return svg.markup(drawing)


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Numbers of the points (cost, accuracy) that no other one beats in both, by rising cost.

    Of equal points the first is one of them.
    """
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1]))
    front: list[int] = []
    for i in order:
        if not front or points[i][1] > points[front[-1]][1]:
            front.append(i)
    return front


def _dot(row: Row, number: int | None, metric: str, cost: Cost) -> list[Dot]:
    """The row's dot, when it has both numbers."""
    x, y = row[cost.key], row[f"{metric}_map"]
    fits = known(x) and known(y) and (x > 0 or not cost.log)
    return [Dot(row, number, x * cost.scale, y, cost.told_apart)] if fits else []


def _stairs(drawing, points: list[tuple[float, float]]) -> None:
    """The front: what can be had at a cost, up to the next better point."""
    path = points[:1]
    for (_, before), (x, y) in zip(points, points[1:], strict=False):
        path += [(x, before), (x, y)]
    svg.polyline(drawing, [*path, (WIDTH - RIGHT, path[-1][1])], "front")


def _mark(drawing, dot: Dot, x: float, y: float, shaky: bool) -> None:
    """A circle for a method, a square for `none`, a diamond for the teacher; with a tooltip."""
    classes = f"mark {dot.kind}" + (" shaky" if shaky else "")
    if dot.kind == "method":
        mark = svg.add(drawing, "circle", cx=x, cy=y, r=4.5, class_=classes)
    else:
        turned = {"transform": f"rotate(45 {x} {y})"} if dot.kind == "teacher" else {}
        mark = svg.add(
            drawing, "rect", x=x - 4.5, y=y - 4.5, width=9, height=9, class_=classes, **turned
        )
    if dot.number is not None:
        mark.set("data-row", str(dot.number))
    svg.add(mark, "title", f"{dot.label}: {dot.y:.2f} mAP at {dot.x:.3g}")


def _names(drawing, places: list[tuple[float, float, str]]) -> None:
    """Names beside their marks, each below the one before where they would overlap."""
    taken: list[tuple[float, float, float]] = []  # left, right, baseline
    for x, y, text in sorted(places, key=lambda p: p[1]):
        width = LETTER * len(text)
        right = x + 9 + width < WIDTH
        left = x + 9 if right else x - 9 - width
        baseline = y - 6  # above the front, which goes on to the right
        while any(
            left < end and left + width > start and abs(baseline - line) < LINE
            for start, end, line in taken
        ):
            baseline += 2
        taken.append((left, left + width, baseline))
        svg.add(drawing, "text", text, x=round(left, 1), y=baseline, class_="name")
