"""Reading one frame of a KITTI tree from its files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kdbench.classes import Classes, names_of, renamed
from kdbench.dataset import Frame
from kdbench.datasets.difficulty import difficulty
from kdbench.datasets.image_boxes import with_image_boxes
from kdbench.datasets.image_frustum import SPARE_CAMERA, image_size, in_image
from kdbench.datasets.reading import Reading
from kdbench.errors import DataError
from kdbench.geometry import kitti_labels
from kdbench.geometry.boxes import boxes_camera_to_lidar
from kdbench.geometry.calibration import Calibration, read_calibration
from kdbench.geometry.kitti_labels import KittiObjects

FLOAT_BYTES = 4
AS_KITTI = Reading()


@dataclass(frozen=True, eq=False)
class Recording:
    """A frame as it stands in its files, with what augmentation needs to know beside it."""

    frame: Frame
    difficulty: np.ndarray  # (m,) int64, of each box of the frame: 0 easy .. 2 hard, -1 none
    obstacles: np.ndarray  # (k, 7) float32, boxes of the classes that are no target (Van, ...)


def read_recording(
    training: Path,
    frame_id: str,
    classes: Classes,
    reading: Reading = AS_KITTI,
    labelled: bool = True,
) -> Recording:
    """Frame `frame_id` of the folder `training`, its points cropped to the image frustum.

    Only objects of `classes` become boxes of the frame; one that is not `labelled` has none. Raises
    DataError that names the file.
    """
    calibration, size = read_camera(training, frame_id, reading)
    points = read_cloud(training / "velodyne" / f"{frame_id}.bin", reading)
    objects = kitti_labels.empty()
    if labelled:
        objects = read_objects(training, frame_id, classes, reading)

    names = names_of(classes)
    targets = objects.select(np.isin(objects.names, names))
    others = ~np.isin(objects.names, (*names, "DontCare")) & (objects.hwl > 0).all(axis=1)
    frame = Frame(
        id=frame_id,
        points=points[in_image(points, calibration, size)] if reading.crop else points,
        boxes=_lidar_boxes(targets, calibration),
        labels=np.array([names.index(name) for name in targets.names], np.int64),
        calibration=calibration,
        image_size=size,
    )
    obstacles = _lidar_boxes(objects.select(others), calibration)
    return Recording(frame, difficulty(targets), obstacles)


def read_camera(
    training: Path, frame_id: str, reading: Reading = AS_KITTI
) -> tuple[Calibration, tuple[int, int]]:
    """The calibration of a frame, and the width and height of its image."""
    spare = None if reading.crop else SPARE_CAMERA
    calibration = read_calibration(training / "calib" / f"{frame_id}.txt", spare)
    return calibration, image_size(training / "image_2" / f"{frame_id}.png", calibration)


def read_cloud(path: Path, reading: Reading = AS_KITTI) -> np.ndarray:
    """Points (n, 4) float32 of one sweep: x, y, z in metres, reflectance.

    Raises DataError when the file is missing, cut short or holds a value that is not finite.
    """
    data = read_bytes(path)
    size = FLOAT_BYTES * reading.columns
    if len(data) % size:
        raise DataError(
            f"{path}: {len(data)} bytes are no whole number of {size}-byte points;"
            " the file is cut short or is no point cloud"
        )
    points = np.frombuffer(data, "<f4").reshape(-1, reading.columns)[:, :4]
    if not np.isfinite(points).all():
        raise DataError(f"{path}: a value is not finite")
    if reading.columns == 3:
        points = np.column_stack([points, np.zeros(len(points), np.float32)])
    if reading.max_reflectance != 1:
        points = points / np.array([1, 1, 1, reading.max_reflectance], np.float32)
    return np.ascontiguousarray(points)


def read_bytes(path: Path) -> bytes:
    """What a cloud file holds. Raises DataError when it is missing or cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such point cloud") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read as a point cloud ({error})") from None


def read_objects(
    training: Path, frame_id: str, classes: Classes, reading: Reading = AS_KITTI
) -> KittiObjects:
    """Every labelled object of one frame, by its class's name where it is of `classes`.

    A box of these without a size is a DataError.
    """
    path = training / "label_2" / f"{frame_id}.txt"
    objects = renamed(kitti_labels.read(path), classes)
    flat = (objects.hwl <= 0).any(axis=1) & np.isin(objects.names, names_of(classes))
    if flat.any():
        raise DataError(f"{path}: a {objects.names[flat][0]} has a size that is not above 0")
    if reading.project_boxes:
        objects = with_image_boxes(objects, *read_camera(training, frame_id, reading))
    return objects


def _lidar_boxes(objects: KittiObjects, calibration) -> np.ndarray:
    camera_boxes = objects.hwl, objects.location, objects.rotation_y
    return boxes_camera_to_lidar(*camera_boxes, calibration).astype(np.float32)
