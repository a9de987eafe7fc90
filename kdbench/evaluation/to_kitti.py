"""Detections in the LiDAR frame, written as KITTI results in the camera frame."""

from collections.abc import Sequence

import numpy as np

from kdbench.geometry.boxes import boxes_lidar_to_camera, corners, wrap_angle
from kdbench.geometry.calibration import Calibration
from kdbench.kitti_labels import KittiObjects

NEAREST = 0.1  # metres before the camera; what lies nearer is cut off a box before projecting

# The edges of a box by the corners of `geometry.boxes.corners`: bottom, top, upright.
_EDGES = np.array(
    [(i, (i + 1) % 4) for i in range(4)]
    + [(4 + i, 4 + (i + 1) % 4) for i in range(4)]
    + [(i, 4 + i) for i in range(4)]
)


def image_boxes(
    boxes: np.ndarray, calibration: Calibration, image_size: tuple[int, int]
) -> np.ndarray:
    """The image boxes (n, 4) around LiDAR boxes (n, 7): left, top, right, bottom in pixels.

    Clipped to an image of `image_size` (width, height); the part of a box behind the camera is
    cut off first. A box that the image does not show gets one without area.
    """
    boxes = np.asarray(boxes, dtype=np.float64)
    points = calibration.lidar_to_rect(corners(boxes).reshape(-1, 3)).reshape(-1, 8, 3)
    ends = _cut_at_camera(points[:, _EDGES], calibration).reshape(-1, 3)
    pixels, depth = calibration.rect_to_image(ends)
    pixels = pixels.reshape(-1, 2 * len(_EDGES), 2)
    behind = (depth < NEAREST / 2).reshape(pixels.shape[:2])[..., None]
    low = np.where(behind, np.inf, pixels).min(axis=1)
    high = np.where(behind, -np.inf, pixels).max(axis=1)
    last = np.array(image_size, dtype=np.float64) - 1  # the last pixel of the image
    low, high = low.clip(0, last), high.clip(0, last)
    return np.concatenate([low, np.maximum(low, high)], axis=1)


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


def to_kitti(
    boxes: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    calibration: Calibration,
    image_size: tuple[int, int],
) -> KittiObjects:
    """The KITTI result of one frame's detections, in their order.

    boxes (n, 7) in the LiDAR frame (`geometry/boxes.py`); scores (n,); labels (n,) index into
    `classes`; image_size: width, height in pixels. Detections that the image does not show are
    left out, as KITTI labels nothing there.
    """
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 7)
    hwl, location, rotation_y = boxes_lidar_to_camera(boxes, calibration)
    bbox = image_boxes(boxes, calibration, image_size)
    # The angle under which the camera sees the object: its own, less that of the viewing ray.
    alpha = wrap_angle(rotation_y - np.arctan2(location[:, 0], location[:, 2]))
    unknown = np.full(len(boxes), -1)
    objects = KittiObjects(
        names=np.array(classes, dtype=str)[np.asarray(labels, dtype=np.int64).reshape(-1)],
        truncated=unknown.astype(np.float64),
        occluded=unknown.astype(np.int64),
        alpha=alpha,
        bbox=bbox,
        hwl=hwl,
        location=location,
        rotation_y=rotation_y,
        score=np.asarray(scores, dtype=np.float64).reshape(-1),
    )
    return objects.select((bbox[:, 2:] > bbox[:, :2]).all(axis=1))
