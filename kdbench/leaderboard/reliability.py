"""Reliability diagrams: how many detections of a score are right."""

from collections.abc import Sequence

from markupsafe import Markup

from kdbench.leaderboard import svg
from kdbench.leaderboard.columns import known, number
from kdbench.leaderboard.rows import Row

SIZE, LEFT, RIGHT, TOP, BOTTOM = 260, 44, 8, 26, 42
LARGEST = 9  # pixels, radius of a bin that holds every detection


def diagrams(rows: Sequence[Row], metric: str) -> list[Markup]:
    """Small drawings on one scale: the teacher, `none` and the method of the highest mAP."""
    return [_diagram(rows[i], i, metric) for i in _chosen(rows, metric)]


def _chosen(rows: Sequence[Row], metric: str) -> list[int]:
    """Numbers of the rows that are drawn; one of several seeds' options stands for its name."""
    has = [i for i, row in enumerate(rows) if metric in row["reliability"]]
    key = f"{metric}_map"
    chosen = [next((i for i in has if rows[i]["method"] == m), None) for m in ("teacher", "none")]
    methods = [i for i in has if rows[i]["method"] not in ("teacher", "none")]
    methods = [i for i in methods if known(rows[i][key])]
    chosen.append(max(methods, key=lambda i: rows[i][key], default=None))
    return [i for i in chosen if i is not None]


def _diagram(row: Row, place: int, metric: str) -> Markup:
    """Share of right detections over their mean score, a dot a bin, its area the bin's share."""
    bins = row["reliability"][metric]
    error = number(row[f"calibration_{metric}"], ".1f", 100)
    x, y = svg.Scale(0, 1, LEFT, SIZE - RIGHT), svg.Scale(0, 1, SIZE - BOTTOM, TOP)
    drawing = svg.canvas(SIZE, SIZE, f"reliability of {row['label']}")
    drawing.set("data-row", str(place))
    svg.axes(drawing, x, y, "score", "")
    svg.add(drawing, "text", f"{row['label']}: D-ECE {error} %", x=LEFT, y=TOP - 9, class_="name")
    svg.polyline(drawing, [(x(0), y(0)), (x(1), y(1))], "plain")
    total = sum(bins["count"]) or 1
    for count, right, score in zip(bins["count"], bins["right"], bins["score"], strict=True):
        if count:
            _dot(drawing, (x(score), y(right / count), y(score)), count, count / total)
    return svg.markup(drawing)


def _dot(drawing, place: tuple[float, float, float], count: int, share: float) -> None:
    """A bin: a line to where it would be if its scores were right, and a circle."""
    x, y, ideal = place
    svg.add(drawing, "line", x1=x, x2=x, y1=y, y2=ideal, class_="arm")
    radius = round(max(2.0, LARGEST * share**0.5), 1)
    mark = svg.add(drawing, "circle", cx=x, cy=y, r=radius, class_="mark")
    svg.add(mark, "title", f"{count} detections")
