"""Which points the left colour camera sees, and how large its image is.

KITTI labels only what stands in the image, so the field trains and tests on the points inside
its frustum; a detector fed the whole sweep finds unlabelled objects and loses precision.
"""

import struct
from pathlib import Path

import numpy as np

from kdbench.errors import DataError
from kdbench.geometry.calibration import Calibration

# Focal length of P2 in pixels -> image width and height: the four camera set-ups of KITTI.
KITTI_IMAGE_SIZES = {
    721.5377: (1242, 375),
    718.3351: (1238, 374),
    707.0493: (1224, 370),
    718.8560: (1241, 376),
}
# The projection (3, 4) of a camera like KITTI's, for data that were recorded without one.
SPARE_CAMERA = np.array([[721.5377, 0, 609.5593, 0], [0, 721.5377, 172.854, 0], [0, 0, 1, 0.0]])
_PNG_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"


def in_image(points: np.ndarray, calibration: Calibration, size: tuple[int, int]) -> np.ndarray:
    """Which LiDAR points (n, >= 3) project inside an image of `size` (width, height): (n,) bool."""
    pixels, depth = calibration.rect_to_image(calibration.lidar_to_rect(points[:, :3]))
    return (depth > 0) & (pixels >= 0).all(axis=1) & (pixels < size).all(axis=1)


def image_size(image: Path, calibration: Calibration) -> tuple[int, int]:
    """Width and height of the PNG file `image`, or of its camera when there is no such file.

    The cameras of KITTI are known by their focal length. For any other, the principal point is
    taken for the middle of the image. Raises DataError when the file is not a PNG.
    """
    try:
        with image.open("rb") as file:
            header = file.read(24)
    except FileNotFoundError:
        return _size_of_camera(calibration)
    except OSError as error:
        raise DataError(f"{image}: cannot be read ({error})") from None
    if len(header) < 24 or not header.startswith(_PNG_START):
        raise DataError(f"{image}: not a PNG image")
    return struct.unpack(">II", header[16:])


def _size_of_camera(calibration: Calibration) -> tuple[int, int]:
    for focal, size in KITTI_IMAGE_SIZES.items():
        if abs(calibration.p2[0, 0] - focal) < 1e-3:
            return size
    return round(2 * calibration.p2[0, 2]), round(2 * calibration.p2[1, 2])
