"""The box convention of kdbench, stated once.

A box is `(x, y, z, dx, dy, dz, yaw)` in the LiDAR frame (x forward, y left, z up), in metres:
`x, y, z` is the centre of the box, `dx, dy, dz` its length, width and height, `yaw` the angle
of its length axis in radians, counter-clockwise from +x as seen from above.
"""

import math

import numpy as np
from numba import njit

from kdbench.geometry.calibration import Calibration

BOX_COLUMNS = 7

# Corners of the unit box in units of (dx, dy, dz): counter-clockwise from the front left
# corner as seen from above, the four of the bottom first.
_FOOTPRINT = ((0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5), (0.5, -0.5))
_UNIT_CORNERS = np.array([(x, y, z) for z in (-0.5, 0.5) for x, y in _FOOTPRINT])


def wrap_angle(angle):
    """`angle` (radians, any shape) brought into [-pi, pi)."""
    return (angle + np.pi) % (2 * np.pi) - np.pi


def corners(boxes: np.ndarray) -> np.ndarray:
    """The corners (n, 8, 3) of boxes (n, 7), bottom four first, counter-clockwise from above.

    Corner 0 is front left (ahead along the length axis, to its left); 4 to 7 stand on 0 to 3.
    """
    boxes = np.asarray(boxes).reshape(-1, BOX_COLUMNS)
    if not np.issubdtype(boxes.dtype, np.floating):  # half a length of whole metres is no integer
        boxes = boxes.astype(np.float64)
    local = _UNIT_CORNERS.astype(boxes.dtype) * boxes[:, None, 3:6]
    cos, sin = np.cos(boxes[:, 6:7]), np.sin(boxes[:, 6:7])
    x, y = local[..., 0], local[..., 1]
    rotated = np.stack([x * cos - y * sin, x * sin + y * cos, local[..., 2]], axis=-1)
    return rotated + boxes[:, None, :3]


def boxes_camera_to_lidar(
    hwl: np.ndarray, location: np.ndarray, rotation_y: np.ndarray, calibration: Calibration
) -> np.ndarray:
    """LiDAR boxes (n, 7) float64 of KITTI's camera-frame boxes.

    `hwl` (n, 3) height, width, length; `location` (n, 3) the centre of the bottom face in the
    rectified camera frame; `rotation_y` (n,) around the camera's y axis. As the field does it,
    the box is taken as upright in the LiDAR frame: the small tilt between the two frames is
    left out of its orientation, and its height is added along the LiDAR's z.
    """
    centre = calibration.rect_to_lidar(np.reshape(location, (-1, 3)))
    height, width, length = np.reshape(hwl, (-1, 3)).T
    centre[:, 2] += height / 2
    yaw = wrap_angle(-np.asarray(rotation_y) - np.pi / 2)
    return np.column_stack([centre, length, width, height, yaw])


def boxes_lidar_to_camera(
    boxes: np.ndarray, calibration: Calibration
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`hwl` (n, 3), `location` (n, 3) and `rotation_y` (n,): inverse of `boxes_camera_to_lidar`."""
    boxes = np.asarray(boxes, np.float64).reshape(-1, BOX_COLUMNS)
    bottom = boxes[:, :3].copy()
    bottom[:, 2] -= boxes[:, 5] / 2
    hwl = boxes[:, [5, 4, 3]]
    return hwl, calibration.lidar_to_rect(bottom), wrap_angle(-boxes[:, 6] - np.pi / 2)


def points_in_boxes(points: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Which of the points (n, >= 3) lie in or on which of the boxes (m, 7): (n, m) bool."""
    inside = np.zeros((len(points), len(boxes)), np.bool_)
    _fill_inside(points, _as_float64(boxes), inside)
    return inside


def box_of_points(points: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """For each of the points (n, >= 3) the first of the boxes (m, 7) around it, or -1: (n,) int64.

    Faster than `points_in_boxes` where boxes do not overlap or the first one will do.
    """
    index = np.full(len(points), -1, np.int64)
    _fill_index(points, _as_float64(boxes), index)
    return index


def _as_float64(boxes: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(boxes, dtype=np.float64).reshape(-1, BOX_COLUMNS)


# The compiled loops release the interpreter's lock: augmentation runs in threads beside training.
@njit(cache=True, nogil=True)
def _contains(x, y, z, box, cos, sin):
    dx, dy = x - box[0], y - box[1]
    return (
        abs(z - box[2]) <= box[5] / 2
        and abs(dx * cos + dy * sin) <= box[3] / 2
        and abs(dy * cos - dx * sin) <= box[4] / 2
    )


@njit(cache=True, nogil=True)
def _fill_inside(points, boxes, inside):
    for m in range(len(boxes)):
        box, cos, sin = boxes[m], math.cos(boxes[m, 6]), math.sin(boxes[m, 6])
        for n in range(len(points)):
            inside[n, m] = _contains(points[n, 0], points[n, 1], points[n, 2], box, cos, sin)


@njit(cache=True, nogil=True)
def _fill_index(points, boxes, index):
    for m in range(len(boxes) - 1, -1, -1):  # backwards, so that the first box has the last word
        box, cos, sin = boxes[m], math.cos(boxes[m, 6]), math.sin(boxes[m, 6])
        for n in range(len(points)):
            if _contains(points[n, 0], points[n, 1], points[n, 2], box, cos, sin):
                index[n] = m
