"""The pictures of a comparison of data sets."""

from pathlib import Path

import numpy as np

from kdbench.datasets.comparison import HEIGHTS, RANGES, REFLECTANCES, Summary
from kdbench.storage.files import replacing

EDGES = {
    "range": (RANGES, "metres"),
    "height": (HEIGHTS, "metres over the sensor"),
    "reflectance": (REFLECTANCES, ""),
    "reflectance on cars": (REFLECTANCES, ""),
}


def draw(summaries: dict[str, Summary], path: Path | str) -> None:
    """Draws the distributions of data sets, by name, into the PNG file `path`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 8), layout="constrained")
    axes = figure.subplots(2, 4)
    for axis, (name, (edges, unit)) in zip(axes[0], EDGES.items(), strict=True):
        for title, summary in summaries.items():
            axis.stairs(summary.histograms[name], edges, label=title)
        axis.set(title=name, xlabel=unit, ylabel="share of points")
    classes = next(iter(summaries.values())).points_on
    for axis, name in zip(axes[1], classes, strict=False):
        for title, summary in summaries.items():
            distance, count = summary.points_on[name].T
            axis.scatter(distance, np.maximum(count, 0.5), s=6, alpha=0.5, label=title)
        axis.set(title=f"points on a {name}", xlabel="metres", yscale="log", xlim=(0, 80))
    for axis in axes[1, len(classes) :]:
        axis.axis("off")
    axes[0, 0].legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)
