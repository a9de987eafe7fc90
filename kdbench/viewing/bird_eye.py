"""A scene from above: the car looks up the page."""

import io

import numpy as np

from kdbench.geometry.boxes import corners
from kdbench.viewing.scene import Panel, Scene
from kdbench.viewing.style import FOUND, TRUTH, Line, legend_handles, summary

HEIGHTS = (-2.2, 1.3)  # metres over the sensor, the ends of the colours
NOSE = 0.022  # of the range: the line that tells the heading
PANEL_WIDTH = 4.2  # inches
TOP, BOTTOM = 0.6, 0.75  # inches for titles and legend


def bird_eye(scene: Scene, title: str, dpi: int = 110) -> bytes:
    """A PNG with a panel a run, side by side."""
    from matplotlib.figure import Figure

    x0, y0, _, x1, y1, _ = scene.point_range
    width = PANEL_WIDTH * len(scene.panels)
    height = PANEL_WIDTH * (x1 - x0) / (y1 - y0) + TOP + BOTTOM
    figure = Figure(figsize=(width, height))
    axes = figure.subplots(1, len(scene.panels), squeeze=False)[0]
    figure.subplots_adjust(0.01, BOTTOM / height, 0.99, 1 - TOP / height, 0.02)
    for axis, panel in zip(axes, scene.panels, strict=True):
        points = _draw(axis, scene, panel)
    _scale_bar(axes[0], scene)
    _height_key(figure, points, height)
    figure.suptitle(title, fontsize=11, y=1 - 0.12 / height, va="top")
    figure.legend(
        handles=legend_handles(), loc="lower right", ncols=3, fontsize=8, frameon=False,
        bbox_to_anchor=(0.99, 0.0),
    )  # fmt: skip
    return _png(figure, dpi)


def _draw(axis, scene: Scene, panel: Panel):
    """One panel; returns the points, for the key of their colours."""
    x0, y0, _, x1, y1, _ = scene.point_range
    points = scene.frame.points[np.argsort(scene.frame.points[:, 2], kind="stable")]
    drawn = axis.scatter(
        -points[:, 1], points[:, 0], c=points[:, 2], s=0.9, cmap="cividis_r", linewidths=0,
        vmin=HEIGHTS[0], vmax=HEIGHTS[1], alpha=0.75, rasterized=True,
    )  # fmt: skip
    nose = NOSE * (x1 - x0)
    for box, verdict in zip(scene.truth, panel.outcome.truth, strict=True):
        _box(axis, box, TRUTH[int(verdict)], nose)
    for box, verdict, score in zip(panel.boxes, panel.outcome.found, panel.scores, strict=True):
        line = FOUND[int(verdict)]
        _box(axis, box, line, nose)
        _score(axis, box, score, line)
    axis.set(xlim=(-y1, -y0), ylim=(x0, x1), aspect="equal", xticks=[], yticks=[])
    axis.set_title(summary(panel), fontsize=9, pad=4)
    return drawn


def _box(axis, box: np.ndarray, line: Line, nose: float) -> None:
    """The footprint of a box (7,), and a line of `nose` metres out of its front."""
    from matplotlib.patches import Polygon

    outline = corners(box)[0, :4, :2]
    around = {"edgecolor": line.colour, "linestyle": line.style, "linewidth": line.width}
    axis.add_patch(
        Polygon(_on_page(outline), closed=True, facecolor=(line.colour, line.fill), **around)
    )
    ahead = np.array([np.cos(box[6]), np.sin(box[6])])
    ends = box[:2] + np.outer([0.5 * box[3], 0.5 * box[3] + nose], ahead)
    axis.plot(*_on_page(ends).T, color=line.colour, linewidth=line.width, solid_capstyle="butt")


def _score(axis, box: np.ndarray, score: float, line: Line) -> None:
    """The score to the right of a box, in hundredths."""
    right = corners(box)[0, :4, 1].min()
    axis.annotate(
        f"{100 * score:.0f}", (-right, box[0]), (2, 0), textcoords="offset points", fontsize=6,
        color=line.colour, va="center", annotation_clip=True, clip_on=True,
    )  # fmt: skip


def _on_page(points: np.ndarray) -> np.ndarray:
    """x forward, y left to the page's right and up."""
    return np.column_stack([-points[:, 1], points[:, 0]])


def _scale_bar(axis, scene: Scene) -> None:
    """Ten metres in the lower left corner."""
    x0, _, _, x1, y1, _ = scene.point_range
    left, low = -y1 + 1.0, x0 + 0.03 * (x1 - x0)
    axis.plot([left, left + 10], [low, low], color="black", linewidth=2.5, solid_capstyle="butt")
    axis.text(left + 5, low + 0.4, "10 m", fontsize=8, ha="center", va="bottom")


def _height_key(figure, points, height: float) -> None:
    axis = figure.add_axes((0.02, 0.42 / height, 0.16, 0.09 / height))
    key = figure.colorbar(points, cax=axis, orientation="horizontal")
    key.solids.set_alpha(1)
    key.ax.tick_params(labelsize=7, length=2)
    key.set_label("metres over the sensor; numbers: score in %", fontsize=7, labelpad=1)


def _png(figure, dpi: int) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi, facecolor="white")
    return file.getvalue()
