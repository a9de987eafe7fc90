"""The box convention of kdbench, stated once.

A box is `(x, y, z, dx, dy, dz, yaw)` in the LiDAR frame (x forward, y left, z up), in metres:
`x, y, z` is the centre of the box, `dx, dy, dz` its length, width and height, `yaw` the angle
of its length axis in radians, counter-clockwise from +x as seen from above.
"""

import numpy as np

BOX_COLUMNS = 7


def wrap_angle(angle):
    """`angle` (radians, any shape) brought into [-pi, pi)."""
    return (angle + np.pi) % (2 * np.pi) - np.pi
