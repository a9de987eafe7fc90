"""Overlap of rotated boxes on the CPU, in float64 (`rotated_iou_torch.py`: on any device).

The intersection of two boxes is found without clipping polygons. In the frame of box A,
clamping a point's coordinates to A's half sizes leaves the points of A where they are and
moves every other point to A's edge. So the closed curve that B's boundary becomes under that
clamp goes once around exactly the points of A that lie in B, and by Green's theorem

    area(A and B) = - integral over B's boundary of clamp(y) d clamp(x),

a sum of trapezoids over B's four edges. No case needs special care: shared edges, touching and
nested boxes come out right, and rounding moves the area only by about its own size.
"""

import math

import numpy as np
from numba import njit

BEV_COLUMNS = [0, 1, 3, 4, 6]  # of a LiDAR box: x, y, dx, dy, yaw


@njit(cache=True, nogil=True, error_model="numpy")
def _edge_integral(x, y, dx, dy, half_x, half_y):
    """Integral of clamp(y) d clamp(x) along the segment from (x, y) to (x + dx, y + dy)."""
    if dx == 0.0:
        return 0.0
    # Outside [enter, leave] clamp(x) stands still and adds nothing.
    enter, leave = (-half_x - x) / dx, (half_x - x) / dx
    if dx < 0.0:
        enter, leave = leave, enter
    enter, leave = max(enter, 0.0), min(leave, 1.0)
    if leave <= enter:
        return 0.0
    low, high = enter, enter  # where clamp(y) bends
    if dy != 0.0:
        low, high = (-half_y - y) / dy, (half_y - y) / dy
        if dy < 0.0:
            low, high = high, low
        low, high = min(max(low, enter), leave), min(max(high, enter), leave)
    y_enter = min(max(y + enter * dy, -half_y), half_y)
    y_low = min(max(y + low * dy, -half_y), half_y)
    y_high = min(max(y + high * dy, -half_y), half_y)
    y_leave = min(max(y + leave * dy, -half_y), half_y)
    twice = (low - enter) * (y_enter + y_low)
    twice += (high - low) * (y_low + y_high)
    twice += (leave - high) * (y_high + y_leave)
    return 0.5 * dx * twice


@njit(cache=True, nogil=True, error_model="numpy")
def intersection_area(a, b):
    """Area that two boxes [x, y, dx, dy, yaw] share; 0 when one has no area.

    A kernel of another file that calls this is cached with it inside: after a change here,
    delete the `__pycache__` folders.
    """
    if not (a[2] > 0.0 and a[3] > 0.0 and b[2] > 0.0 and b[3] > 0.0):
        return 0.0
    shift_x, shift_y = b[0] - a[0], b[1] - a[1]
    # The boxes lie in circles of radii p and q, and (p + q)^2 <= 2 (p^2 + q^2).
    reach = 0.5 * (a[2] * a[2] + a[3] * a[3] + b[2] * b[2] + b[3] * b[3])
    if shift_x * shift_x + shift_y * shift_y > reach:
        return 0.0
    # The smaller box goes into the larger one's frame: the result is the same both ways round,
    # and a tiny box in a huge one keeps its precision.
    if a[2] * a[3] < b[2] * b[3]:
        a, b, shift_x, shift_y = b, a, -shift_x, -shift_y
    cos, sin = math.cos(a[4]), math.sin(a[4])
    x, y = cos * shift_x + sin * shift_y, cos * shift_y - sin * shift_x
    cos, sin = math.cos(b[4] - a[4]), math.sin(b[4] - a[4])
    ux, uy = 0.5 * b[2] * cos, 0.5 * b[2] * sin  # from b's centre to its front
    vx, vy = -0.5 * b[3] * sin, 0.5 * b[3] * cos  # ... and to its left side
    half_x, half_y = 0.5 * a[2], 0.5 * a[3]
    area = _edge_integral(x + ux + vx, y + uy + vy, -2 * ux, -2 * uy, half_x, half_y)
    area += _edge_integral(x - ux + vx, y - uy + vy, -2 * vx, -2 * vy, half_x, half_y)
    area += _edge_integral(x - ux - vx, y - uy - vy, 2 * ux, 2 * uy, half_x, half_y)
    area += _edge_integral(x + ux - vx, y + uy - vy, 2 * vx, 2 * vy, half_x, half_y)
    return min(max(-area, 0.0), b[2] * b[3])


@njit(cache=True, nogil=True)
def _pairwise(a, b, iou):
    """Shared areas (n, m), or with `iou` those over the unions."""
    result = np.zeros((len(a), len(b)))
    x, y, area = b[:, 0].copy(), b[:, 1].copy(), b[:, 2] * b[:, 3]
    # Most pairs are far apart, and this is quicker to see than by a call. It is a little more
    # than the distance within which `intersection_area` looks at a pair.
    reach = 0.50001 * (b[:, 2] ** 2 + b[:, 3] ** 2)
    for i in range(len(a)):
        own, far = a[i, 2] * a[i, 3], 0.50001 * (a[i, 2] ** 2 + a[i, 3] ** 2)
        for j in range(len(b)):
            if (x[j] - a[i, 0]) ** 2 + (y[j] - a[i, 1]) ** 2 <= reach[j] + far:
                shared = intersection_area(a[i], b[j])
                if shared > 0.0:
                    result[i, j] = shared / (own + area[j] - shared) if iou else shared
    return result


@njit(cache=True, nogil=True)
def _paired(a, b, index_a, index_b):
    area = np.empty(len(index_a))
    for k in range(len(index_a)):
        area[k] = intersection_area(a[index_a[k]], b[index_b[k]])
    return area


def _float64(boxes, columns: int) -> np.ndarray:
    return np.ascontiguousarray(boxes, dtype=np.float64).reshape(-1, columns)


def bev_intersection(a, b) -> np.ndarray:
    """Shared areas (n, m) in square metres of boxes a (n, 5) and b (m, 5).

    A box is [x, y, dx, dy, yaw] in any right-handed plane: metres, radians counter-clockwise.
    """
    return _pairwise(_float64(a, 5), _float64(b, 5), False)


def paired_bev_intersection(a, b, index_a, index_b) -> np.ndarray:
    """Shared areas (k,) of the box pairs a[index_a], b[index_b]; boxes as `bev_intersection`."""
    return _paired(_float64(a, 5), _float64(b, 5), index_a, index_b)


def bev_iou(a, b) -> np.ndarray:
    """Intersection over union (n, m), 0..1, of boxes a (n, 5) and b (m, 5), see above.

    A box without area has IoU 0 with every box.
    """
    return _pairwise(_float64(a, 5), _float64(b, 5), True)


def iou_3d(a, b) -> np.ndarray:
    """Intersection over union (n, m) of LiDAR boxes a (n, 7) and b (m, 7), `geometry/boxes.py`."""
    a, b = _float64(a, 7), _float64(b, 7)
    shared = bev_intersection(a[:, BEV_COLUMNS], b[:, BEV_COLUMNS])
    top = np.minimum((a[:, 2] + a[:, 5] / 2)[:, None], b[:, 2] + b[:, 5] / 2)
    bottom = np.maximum((a[:, 2] - a[:, 5] / 2)[:, None], b[:, 2] - b[:, 5] / 2)
    # Rounding of z +- dz / 2 must not lift the shared height over a box's own.
    height = np.clip(top - bottom, 0, np.minimum(a[:, None, 5], b[:, 5]).clip(0))
    volume_a, volume_b = a[:, 3:6].prod(axis=1), b[:, 3:6].prod(axis=1)
    return over_union(shared * height, volume_a[:, None], volume_b)


def over_union(shared, size_a, size_b) -> np.ndarray:
    """shared / (size_a + size_b - shared), and 0 where nothing is shared."""
    union = size_a + size_b - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)
