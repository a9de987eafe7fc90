"""Detections in the LiDAR frame, written as KITTI results in the camera frame."""

from collections.abc import Sequence

import numpy as np

from kdbench.geometry.boxes import boxes_lidar_to_camera, wrap_angle
from kdbench.geometry.calibration import Calibration
from kdbench.geometry.kitti_labels import KittiObjects
from kdbench.geometry.projection import clip_to_image, image_boxes


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
    bbox = clip_to_image(image_boxes(boxes, calibration), image_size)
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
