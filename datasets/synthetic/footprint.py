"""Rectangles seen from above: x, y of the middle, length, width, yaw."""

import numpy as np


def corners(footprints: np.ndarray) -> np.ndarray:
    """The corners (n, 4, 2) of rectangles (n, 5)."""
    unit = np.array([[0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5], [0.5, -0.5]])
    local = unit * footprints[:, None, 2:4]
    cos, sin = np.cos(footprints[:, 4, None]), np.sin(footprints[:, 4, None])
    x = local[..., 0] * cos - local[..., 1] * sin
    y = local[..., 0] * sin + local[..., 1] * cos
    return np.stack([x, y], axis=-1) + footprints[:, None, :2]


def overlaps(one: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Whether rectangle `one` (5,) meets each of `others` (n, 5): (n,) bool."""
    met = np.zeros(len(others), bool)
    reach = (np.hypot(one[2], one[3]) + np.hypot(others[:, 2], others[:, 3])) / 2
    near = np.flatnonzero(np.hypot(*(others[:, :2] - one[:2]).T) < reach)
    if len(near):  # for most pairs the circles around them settle it
        met[near] = _overlap(one, others[near])
    return met


def _overlap(one: np.ndarray, others: np.ndarray) -> np.ndarray:
    first, second = corners(one[None]), corners(others)
    yaws = np.concatenate([np.full((len(others), 1), one[4]), others[:, 4:5]], axis=1)
    yaws = np.concatenate([yaws, yaws + np.pi / 2], axis=1)
    axes = np.stack([np.cos(yaws), np.sin(yaws)], axis=-1)  # (n, 4, 2): separating directions
    a = np.einsum("ack,nmk->nmc", first, axes)
    b = np.einsum("nck,nmk->nmc", second, axes)
    apart = (a.max(2) < b.min(2)) | (b.max(2) < a.min(2))
    return ~apart.any(axis=1)


def bearings(footprints: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lowest and highest bearing (n,) of rectangles as seen from the origin, and their nearest
    corner's distance (n,)."""
    at = corners(footprints)
    angle = np.arctan2(at[..., 1], at[..., 0])
    return angle.min(axis=1), angle.max(axis=1), np.linalg.norm(at, axis=2).min(axis=1)
