"""The pictures of a comparison of data sets."""

from pathlib import Path

import numpy as np

from kdbench.datasets.comparison import HEIGHTS, RANGES, REFLECTANCES, Summary
from kdbench.storage.files import replacing

EDGES = {"range": (RANGES, "metres"), "height": (HEIGHTS, "metres over the sensor")}
COLUMNS = 4


def draw(summaries: dict[str, Summary], path: Path | str) -> None:
    """Draws the distributions of data sets of the same classes, by name, into the PNG `path`."""
    from matplotlib.figure import Figure

    first = next(iter(summaries.values()))
    count = len(first.histograms) + len(first.points_on)
    rows = -(-count // COLUMNS)
    figure = Figure(figsize=(15, 4 * rows), layout="constrained")
    axes = figure.subplots(rows, COLUMNS).flat
    for name in first.histograms:
        _histograms(next(axes), name, summaries)
    for name in first.points_on:
        _points_on(next(axes), name, summaries)
    for axis in axes:
        axis.axis("off")
    figure.axes[0].legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)


def _histograms(axis, name: str, summaries: dict[str, Summary]) -> None:
    edges, unit = EDGES.get(name, (REFLECTANCES, ""))
    for title, summary in summaries.items():
        axis.stairs(summary.histograms[name], edges, label=title)
    axis.set(title=name, xlabel=unit, ylabel="share of points")


def _points_on(axis, name: str, summaries: dict[str, Summary]) -> None:
    for title, summary in summaries.items():
        distance, count = summary.points_on[name].T
        axis.scatter(distance, np.maximum(count, 0.5), s=6, alpha=0.5, label=title)
    axis.set(title=f"points on a {name}", xlabel="metres", yscale="log", xlim=(0, 80))
