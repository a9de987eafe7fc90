"""The calibration of one KITTI frame, and its file format.

Three frames meet here. LiDAR: x forward, y left, z up. Rectified camera ("rect"): x right,
y down, z forward. Image: pixels of the left colour camera, x right, y down. Metres otherwise.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kdbench.errors import DataError
from kdbench.storage.text import number, read_text

# Key in the file -> shape of its matrix. Only these three are used.
KEYS = {"P2": (3, 4), "R0_rect": (3, 3), "Tr_velo_to_cam": (3, 4)}
SINGULAR = 1e-6  # a determinant; that of a rotation is 1
FOCAL = 10.0  # pixels; no camera has a shorter focal length


@dataclass(frozen=True, eq=False)
class Calibration:
    """How the LiDAR frame, the rectified camera frame and the left colour image relate."""

    p2: np.ndarray  # (3, 4) float64, projection: rectified camera -> left colour image
    r0: np.ndarray  # (3, 3) float64, rectifying rotation
    velo_to_cam: np.ndarray  # (3, 4) float64, LiDAR -> camera before rectification

    def lidar_to_rect(self, points: np.ndarray) -> np.ndarray:
        """Points (n, 3) of the LiDAR frame in the rectified camera frame, float64."""
        rotation, translation = self._lidar_to_rect()
        return np.asarray(points, np.float64) @ rotation.T + translation

    def rect_to_lidar(self, points: np.ndarray) -> np.ndarray:
        """Points (n, 3) of the rectified camera frame in the LiDAR frame, float64."""
        rotation, translation = self._lidar_to_rect()
        # Files hold rounded rotations, so the true inverse is taken and not the transpose.
        return (np.asarray(points, np.float64) - translation) @ np.linalg.inv(rotation).T

    def rect_to_image(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (n, 2) and depth (n,) in metres of points (n, 3) of the rectified camera frame.

        Depth is measured along the viewing axis of the left colour camera; a point with depth
        <= 0 is not in front of it and its pixel means nothing.
        """
        homogeneous = np.asarray(points, np.float64) @ self.p2[:, :3].T + self.p2[:, 3]
        depth = homogeneous[:, 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            return homogeneous[:, :2] / depth[:, None], depth

    def _lidar_to_rect(self) -> tuple[np.ndarray, np.ndarray]:
        """Rotation (3, 3) and translation (3,) from the LiDAR to the rectified camera frame."""
        transform = self.r0 @ self.velo_to_cam
        return transform[:, :3], transform[:, 3]


def read_calibration(path: Path | str, spare: np.ndarray | None = None) -> Calibration:
    """The calibration in one KITTI calib file.

    `spare` (3, 4) is the P2 of a file whose own is absent or no camera. Raises DataError that names
    the file, and the key where one is missing or damaged.
    """
    return parse_calibration(read_text(path, "calibration file"), str(path), spare)


def parse_calibration(
    text: str, path: str = "<text>", spare: np.ndarray | None = None
) -> Calibration:
    """The calibration in the text of a KITTI calib file; `path` stands in error messages."""
    rows = _rows(text, path)
    if spare is not None and not ("P2" in rows and is_camera(_matrix(rows, "P2", path))):
        rows["P2"] = _numbers(spare)
    calibration = Calibration(*(_matrix(rows, key, path) for key in KEYS))
    rotations = (calibration.r0, calibration.velo_to_cam[:, :3])
    if abs(determinant(rotations[0]) * determinant(rotations[1])) < SINGULAR:
        raise DataError(f"{path}: R0_rect or Tr_velo_to_cam is singular: no rotation of the LiDAR")
    return calibration


def _rows(text: str, path: str) -> dict[str, str]:
    """The text after each key. Raises DataError for a key that is there twice, and not the same."""
    rows: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, row = line.partition(":")
        if colon and rows.setdefault(key.strip(), row) != row:
            raise DataError(f"{path}: {key.strip()} is given twice")
    return rows


def is_camera(p2: np.ndarray) -> bool:
    """Whether a projection (3, 4) is that of a camera, and not zeros or the identity."""
    return bool(min(p2[0, 0], p2[1, 1]) >= FOCAL and abs(determinant(p2[:, :3])) > SINGULAR)


def determinant(matrix: np.ndarray) -> float:
    """The determinant of a matrix (3, 3); 0 for one whose numbers are too small or large for it."""
    with np.errstate(all="ignore"):
        found = float(np.linalg.det(matrix))
    return found if np.isfinite(found) else 0.0


def _matrix(rows: dict[str, str], key: str, path: str) -> np.ndarray:
    shape = KEYS[key]
    if key not in rows:
        raise DataError(f"{path}: no line {key}")
    try:
        values = np.array([number(column) for column in rows[key].split()])
    except ValueError as error:
        raise DataError(f"{path}: {key}: {error}") from None
    if len(values) != np.prod(shape):
        raise DataError(f"{path}: {key} has {len(values)} numbers, expected {np.prod(shape)}")
    return values.reshape(shape)


def format_calibration(calib: Calibration) -> str:
    """The text of a KITTI calib file, all seven lines.

    A `Calibration` knows one camera and no inertial unit, so P0, P1 and P3 repeat P2 and
    Tr_imu_to_velo is the identity: other readers want the lines, detection never uses them.
    """
    matrices = {
        "P0": calib.p2,
        "P1": calib.p2,
        "P2": calib.p2,
        "P3": calib.p2,
        "R0_rect": calib.r0,
        "Tr_velo_to_cam": calib.velo_to_cam,
        "Tr_imu_to_velo": np.eye(3, 4),
    }
    return "".join(f"{key}: {_numbers(matrix)}\n" for key, matrix in matrices.items())


def _numbers(matrix: np.ndarray) -> str:
    return " ".join(f"{value:.12e}" for value in matrix.ravel())
