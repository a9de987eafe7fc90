"""The camera beside the sensor: its calibration and image size, as a KITTI car has them."""

import numpy as np

from kdbench.geometry.calibration import Calibration

IMAGE_SIZE = (1242, 375)  # width, height in pixels


def _rotation(x: float, y: float, z: float) -> np.ndarray:
    """A small rotation around the three axes in turn, radians."""
    cx, sx, cy, sy, cz, sz = np.cos(x), np.sin(x), np.cos(y), np.sin(y), np.cos(z), np.sin(z)
    around_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    around_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    around_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return around_z @ around_y @ around_x


_AXES = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])  # LiDAR to camera

CALIBRATION = Calibration(
    p2=np.array(
        [[721.5377, 0.0, 609.5593, 44.857], [0.0, 721.5377, 172.854, 0.216], [0.0, 0.0, 1.0, 0.003]]
    ),
    r0=_rotation(0.0044, -0.0098, 0.0074),
    velo_to_cam=np.column_stack(
        [_rotation(-0.0148, 0.0006, 0.0075) @ _AXES, [-0.004, -0.076, -0.272]]
    ),
)
