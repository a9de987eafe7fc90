"""How far ground truth and detections overlap: in the image, from above, and in space.

Pairs are (k,) indices into ground truth and detections; every function gives k values in 0..1.
Boxes are in the camera frame (x right, y down, z forward), as the KITTI files have them.
"""

import numpy as np

from kdbench.geometry.kitti_labels import KittiObjects
from kdbench.geometry.rotated_iou import over_union, paired_bev_intersection


def image_overlaps(truth: KittiObjects, found: KittiObjects, i, j) -> tuple:
    """IoU (k,) of the image boxes truth[i], found[j], and the shared part (k,) of found[j]."""
    a, b = truth.bbox[i], found.bbox[j]
    left_top = np.maximum(a[:, :2], b[:, :2])
    size = np.minimum(a[:, 2:], b[:, 2:]) - left_top
    shared = np.where((size > 0).all(axis=1), size[:, 0] * size[:, 1], 0.0)
    area_a, area_b = _image_area(truth)[i], _image_area(found)[j]
    part = np.divide(shared, area_b, out=np.zeros_like(shared), where=shared > 0)
    return over_union(shared, area_a, area_b), part


def _image_area(objects: KittiObjects) -> np.ndarray:
    size = objects.bbox[:, 2:] - objects.bbox[:, :2]
    return size[:, 0] * size[:, 1]


def bev_and_3d_overlaps(truth: KittiObjects, found: KittiObjects, i, j) -> tuple:
    """IoU (k,) from above and IoU (k,) in space of the boxes truth[i], found[j]."""
    shared = paired_bev_intersection(_bev_boxes(truth), _bev_boxes(found), i, j)
    ground_a, ground_b = _ground_area(truth)[i], _ground_area(found)[j]
    bottom_a, bottom_b = truth.location[i, 1], found.location[j, 1]  # y points down
    height_a, height_b = truth.hwl[i, 0], found.hwl[j, 0]
    top = np.maximum(bottom_a - height_a, bottom_b - height_b)
    volume = shared * np.maximum(0.0, np.minimum(bottom_a, bottom_b) - top)
    bev = over_union(shared, ground_a, ground_b)
    return bev, over_union(volume, ground_a * height_a, ground_b * height_b)


def _bev_boxes(objects: KittiObjects) -> np.ndarray:
    """(n, 5) [x, z, length, width, angle]: rotation_y turns x towards -z, hence the sign."""
    hwl, location = objects.hwl, objects.location
    return np.stack(
        [location[:, 0], location[:, 2], hwl[:, 2], hwl[:, 1], -objects.rotation_y], axis=1
    )


def _ground_area(objects: KittiObjects) -> np.ndarray:
    return objects.hwl[:, 1] * objects.hwl[:, 2]
