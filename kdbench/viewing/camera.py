"""A scene as the camera sees it: boxes in space over the image."""

import io
from collections.abc import Sequence

import numpy as np

from kdbench.geometry.boxes import corners
from kdbench.geometry.calibration import Calibration
from kdbench.geometry.projection import NEAREST
from kdbench.viewing.scene import Scene
from kdbench.viewing.style import FOUND, TRUTH, Line, legend_handles, summary

# By the corners of `geometry.boxes.corners`: every edge once, and a cross on the face ahead.
EDGES = ((0, 1, 2, 3, 0, 4, 5, 6, 7, 4), (1, 5), (2, 6), (3, 7))
CROSS = ((0, 7), (4, 3))
STEPS = 12  # pieces of an edge: one that passes the camera ends where it goes behind it
WIDTH = 11.0  # inches


def camera_view(scene: Scene, title: str, dpi: int = 110) -> bytes:
    """A PNG with a panel a run, one below the other; the scene must have an image."""
    from matplotlib.figure import Figure
    from PIL import Image

    with Image.open(scene.image) as file:
        image = np.asarray(file.convert("RGB"))
    rows, tall = len(scene.panels), WIDTH * image.shape[0] / image.shape[1]
    height = rows * (tall + 0.25) + 0.95
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.subplots(rows, 1, squeeze=False)[:, 0]
    figure.subplots_adjust(0.005, 0.5 / height, 0.995, 1 - 0.6 / height, hspace=0.25 / tall)
    for axis, panel in zip(axes, scene.panels, strict=True):
        axis.imshow(image)
        _boxes(axis, scene.truth, panel.outcome.truth, TRUTH, scene.frame.calibration)
        _boxes(axis, panel.boxes, panel.outcome.found, FOUND, scene.frame.calibration)
        axis.set(xlim=(0, image.shape[1]), ylim=(image.shape[0], 0), xticks=[], yticks=[])
        axis.set_title(summary(panel), fontsize=9, pad=3)
    figure.suptitle(title, fontsize=11, y=1 - 0.1 / height, va="top")
    figure.legend(handles=legend_handles(), loc="lower center", ncols=6, fontsize=8, frameon=False)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi, facecolor="white")
    return file.getvalue()


def strokes(boxes: np.ndarray, calibration: Calibration, path: Sequence[int]) -> np.ndarray:
    """Pixels (n, k, 2) of LiDAR boxes (n, 7) from corner to corner; NaN behind the camera."""
    ends = corners(boxes)[:, list(path)]
    share = np.linspace(0, 1, STEPS)[:, None]
    pieces = ends[:, :-1, None] * (1 - share) + ends[:, 1:, None] * share
    points = calibration.lidar_to_rect(pieces.reshape(-1, 3))
    pixels, depth = calibration.rect_to_image(points)
    pixels[depth < NEAREST] = np.nan
    return pixels.reshape(len(boxes), -1, 2)


def _boxes(axis, boxes, verdicts, lines: dict[int, Line], calibration: Calibration) -> None:
    drawings = [(1.0, strokes(boxes, calibration, path)) for path in EDGES]
    drawings += [(0.5, strokes(boxes, calibration, path)) for path in CROSS]
    for i, verdict in enumerate(verdicts):
        line = lines[int(verdict)]
        for width, pixels in drawings:
            _stroke(axis, pixels[i], line, width * line.width)


def _stroke(axis, pixels: np.ndarray, line: Line, width: float) -> None:
    """A line with a pale rim: dark lines would be lost on dark images."""
    from matplotlib.patheffects import withStroke

    rim = withStroke(linewidth=width + 1.2, foreground="white", alpha=0.45)
    axis.plot(*pixels.T, color=line.colour, linestyle=line.style, linewidth=width,
              path_effects=[rim])  # fmt: skip
