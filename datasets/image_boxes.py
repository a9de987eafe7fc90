"""2D boxes for objects that were labelled in the point cloud alone."""

from dataclasses import replace

import numpy as np

from kdbench.geometry.boxes import boxes_camera_to_lidar
from kdbench.geometry.calibration import Calibration
from kdbench.geometry.kitti_labels import KittiObjects
from kdbench.geometry.projection import clip_to_image, image_boxes


def without_image_box(objects: KittiObjects) -> np.ndarray:
    """Which objects (n,) have a 2D box without an area."""
    return (objects.bbox[:, 2:] <= objects.bbox[:, :2]).any(axis=1)


def with_image_boxes(
    objects: KittiObjects, calibration: Calibration, size: tuple[int, int]
) -> KittiObjects:
    """The same objects; those without a 2D box have the one around their 3D box in the image.

    `size` is the image's width and height. What the image does not show keeps a box without area.
    """
    lacking = without_image_box(objects) & (objects.hwl > 0).all(axis=1)
    some = objects.select(lacking)
    boxes = boxes_camera_to_lidar(some.hwl, some.location, some.rotation_y, calibration)
    bbox = objects.bbox.copy()
    bbox[lacking] = clip_to_image(image_boxes(boxes, calibration), size)
    return replace(objects, bbox=bbox)
