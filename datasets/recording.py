"""Reading one frame of a KITTI tree from its files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kdbench.dataset import Frame
from kdbench.datasets.image_frustum import image_size, in_image
from kdbench.errors import DataError
from kdbench.geometry import kitti_labels
from kdbench.geometry.boxes import boxes_camera_to_lidar
from kdbench.geometry.calibration import read_calibration
from kdbench.geometry.kitti_labels import KittiObjects

_POINT_BYTES = 16  # four float32: x, y, z, reflectance


@dataclass(frozen=True, eq=False)
class Recording:
    """A frame as it stands in its files, with what augmentation needs to know beside it."""

    frame: Frame
    difficulty: np.ndarray  # (m,) int64, of each box of the frame: 0 easy .. 2 hard, -1 none
    obstacles: np.ndarray  # (k, 7) float32, boxes of the classes that are no target (Van, ...)


def read_recording(training: Path, frame_id: str, classes: tuple[str, ...]) -> Recording:
    """Frame `frame_id` of the folder `training`, its points cropped to the image frustum.

    Only objects of `classes` become boxes of the frame. Raises DataError that names the file.
    """
    calibration = read_calibration(training / "calib" / f"{frame_id}.txt")
    size = image_size(training / "image_2" / f"{frame_id}.png", calibration)
    points = read_cloud(training / "velodyne" / f"{frame_id}.bin")
    objects = read_objects(training / "label_2" / f"{frame_id}.txt")

    targets = objects.select(np.isin(objects.names, classes))
    others = objects.select(~np.isin(objects.names, (*classes, "DontCare")))
    frame = Frame(
        id=frame_id,
        points=points[in_image(points, calibration, size)],
        boxes=_lidar_boxes(targets, calibration),
        labels=np.array([classes.index(name) for name in targets.names], np.int64),
        calibration=calibration,
        image_size=size,
    )
    return Recording(frame, difficulty(targets), _lidar_boxes(others, calibration))


def read_cloud(path: Path) -> np.ndarray:
    """Points (n, 4) float32 of one sweep: x, y, z in metres, reflectance.

    Raises DataError when the file is missing, cut short or holds a value that is not finite.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such point cloud") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read as a point cloud ({error})") from None
    if len(data) % _POINT_BYTES:
        raise DataError(
            f"{path}: {len(data)} bytes are no whole number of {_POINT_BYTES}-byte points;"
            " the file is cut short or is no point cloud"
        )
    points = np.frombuffer(data, "<f4").reshape(-1, 4)
    if not np.isfinite(points).all():
        raise DataError(f"{path}: a value is not finite")
    return points


def read_objects(path: Path) -> KittiObjects:
    """Every labelled object of one frame; a box without a size is a DataError."""
    objects = kitti_labels.read(path)
    flat = (objects.hwl <= 0).any(axis=1) & (objects.names != "DontCare")
    if flat.any():
        raise DataError(f"{path}: a {objects.names[flat][0]} has a size that is not above 0")
    return objects


def difficulty(objects: KittiObjects) -> np.ndarray:
    """KITTI's difficulty of each object: 0 easy, 1 moderate, 2 hard, -1 none of them; (n,) int64.

    The height is counted in whole pixels, first and last included, as the field does when it
    picks objects for sampling.
    """
    height = objects.bbox[:, 3] - objects.bbox[:, 1] + 1
    result = np.full(len(objects), -1, np.int64)
    limits = ((2, 25, 2, 0.5), (1, 25, 1, 0.3), (0, 40, 0, 0.15))  # from hard to easy
    for level, min_height, max_occluded, max_truncated in limits:
        reached = (
            (height >= min_height)
            & (objects.occluded <= max_occluded)
            & (objects.truncated <= max_truncated)
        )
        result[reached] = level
    return result


def _lidar_boxes(objects: KittiObjects, calibration) -> np.ndarray:
    camera_boxes = objects.hwl, objects.location, objects.rotation_y
    return boxes_camera_to_lidar(*camera_boxes, calibration).astype(np.float32)
