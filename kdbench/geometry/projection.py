"""Boxes as the camera sees them."""

import numpy as np

from kdbench.geometry.boxes import corners
from kdbench.geometry.calibration import Calibration

NEAREST = 0.1  # metres before the camera; what lies nearer is cut off a box before projecting

# The edges of a box by the corners of `geometry.boxes.corners`: bottom, top, upright.
_EDGES = np.array(
    [(i, (i + 1) % 4) for i in range(4)]
    + [(4 + i, 4 + (i + 1) % 4) for i in range(4)]
    + [(i, 4 + i) for i in range(4)]
)


def image_boxes(boxes: np.ndarray, calibration: Calibration) -> np.ndarray:
    """Left, top, right, bottom in pixels (n, 4) around LiDAR boxes (n, 7), beyond the image too.

    The part of a box behind the camera is cut off first; a box that is all behind it gives NaN.
    """
    points = calibration.lidar_to_rect(corners(boxes).reshape(-1, 3)).reshape(-1, 8, 3)
    ends = _cut_at_camera(points[:, _EDGES], calibration).reshape(-1, 3)
    pixels, depth = calibration.rect_to_image(ends)
    pixels = pixels.reshape(-1, 2 * len(_EDGES), 2)
    behind = (depth < NEAREST / 2).reshape(pixels.shape[:2])[..., None]
    low = np.where(behind, np.inf, pixels).min(axis=1)
    high = np.where(behind, -np.inf, pixels).max(axis=1)
    around = np.concatenate([low, high], axis=1)
    return np.where(behind.all(axis=1), np.nan, around)


def clip_to_image(around: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Image boxes (n, 4) cut to an image of `image_size` (width, height).

    What the image does not show has no area, NaN included.
    """
    last = np.array(image_size * 2, dtype=np.float64) - 1  # the last pixel of the image
    return np.clip(np.nan_to_num(around), 0, last)


def _cut_at_camera(edges: np.ndarray, calibration: Calibration) -> np.ndarray:
    """Edges (n, 12, 2, 3) in the rect frame, cut where one end lies before NEAREST."""
    depth = edges @ calibration.p2[2, :3] + calibration.p2[2, 3]
    start, end = edges[:, :, 0], edges[:, :, 1]
    difference = depth[..., 1] - depth[..., 0]
    crosses = (depth < NEAREST).any(axis=-1) & (depth >= NEAREST).any(axis=-1)
    at = np.divide(
        NEAREST - depth[..., 0], difference, out=np.zeros_like(difference), where=crosses
    )
    crossing = start + at[..., None] * (end - start)
    cut = crosses[..., None] & (depth < NEAREST)
    return np.where(cut[..., None], crossing[:, :, None], edges)
