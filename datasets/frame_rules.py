"""Whether the cloud, calibration and labels of a frame fit together."""

from pathlib import Path

import numpy as np

from kdbench.datasets.cloud_layout import layout_problem
from kdbench.datasets.image_frustum import in_image
from kdbench.datasets.reading import Reading
from kdbench.datasets.recording import read_bytes, read_camera, read_cloud
from kdbench.errors import DataError
from kdbench.geometry.boxes import boxes_camera_to_lidar, points_in_boxes
from kdbench.geometry.calibration import Calibration, determinant, is_camera
from kdbench.geometry.kitti_labels import KittiObjects

ROUNDING = 0.02  # by which a rotation in a file may fail to be one


def checked_cloud(training: Path, frame_id: str, reading: Reading) -> np.ndarray:
    """The points of a frame. Raises DataError for a file that is damaged, empty or misread."""
    path = training / "velodyne" / f"{frame_id}.bin"
    if problem := layout_problem(read_bytes(path), reading):
        raise DataError(f"{path}: {problem}")
    points = read_cloud(path, reading)
    if len(points) == 0:
        raise DataError(f"{path}: holds no points")
    return points


def checked_camera(
    training: Path, frame_id: str, reading: Reading
) -> tuple[Calibration, tuple[int, int]]:
    """Calibration and image size of a frame. Raises DataError when they are damaged."""
    calibration, size = read_camera(training, frame_id, reading)
    rotations = {"R0_rect": calibration.r0, "Tr_velo_to_cam": calibration.velo_to_cam[:, :3]}
    for key, matrix in rotations.items():
        if np.abs(matrix @ matrix.T - np.eye(3)).max() > ROUNDING or determinant(matrix) < 0:
            path = training / "calib" / f"{frame_id}.txt"
            raise DataError(f"{path}: {key} holds no rotation matrix")
    return calibration, size


def crop_problem(
    path: Path, points: np.ndarray, calibration: Calibration, size: tuple[int, int]
) -> str | None:
    """Why cropping to the image of `size` leaves none of the points, if it does.

    `path` is that of the calibration.
    """
    if in_image(points, calibration, size).any():
        return None
    p2 = calibration.p2
    cause = "the camera looks elsewhere"
    if not is_camera(p2):
        cause = f"P2 is no camera (focal lengths {p2[0, 0]:g} and {p2[1, 1]:g} pixels)"
    elif min(size) <= 0:
        cause = f"the image has {size[0]} x {size[1]} pixels by P2"
    return (
        f"{path}: none of the {len(points)} points is in the image, {cause}:"
        " --set dataset.crop=false keeps all points"
    )


def points_on(objects: KittiObjects, calibration: Calibration, points: np.ndarray) -> int:
    """How many of the points lie in the boxes of the objects."""
    boxes = boxes_camera_to_lidar(objects.hwl, objects.location, objects.rotation_y, calibration)
    return int(points_in_boxes(points, boxes.astype(np.float32)).any(axis=1).sum())
