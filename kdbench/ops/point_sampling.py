"""Farthest point sampling: a subset of points that covers all of them evenly."""

import numpy as np
import torch
from numba import njit
from torch import Tensor


def farthest_points(xyz: Tensor, count: int) -> Tensor:
    """Indices (B, count) int64 of points (B, N, 3): the first, then always the farthest one.

    Each next point is the one farthest from all that were taken before (PointNet++, section
    3.2); of equally far ones the first. With more than N asked for, points repeat. N must be at
    least 1. No gradient. Equal inputs give equal results.

    One core of the host does it, for points on another device too: each point waits for the one
    before, and as operations of a device that would be seven kernels a point.
    """
    host = xyz.detach().float().cpu().contiguous()
    return torch.from_numpy(_farthest(host.numpy(), count)).to(xyz.device)


@njit(cache=True, nogil=True)
def _farthest(xyz, count):
    index = np.zeros((len(xyz), count), np.int64)
    for b in range(len(xyz)):
        x, y, z = xyz[b, :, 0].copy(), xyz[b, :, 1].copy(), xyz[b, :, 2].copy()
        nearest = np.full(len(x), np.inf, np.float32)
        for i in range(1, count):
            j = index[b, i - 1]
            _lower(nearest, x, y, z, x[j], y[j], z[j])
            index[b, i] = np.argmax(nearest)
    return index


@njit(cache=True, nogil=True)
def _lower(nearest, x, y, z, px, py, pz):
    """Lowers squared distances `nearest` to those from the point (px, py, pz)."""
    for n in range(len(nearest)):  # a loop of its own: the compiler makes vectors of it
        dx, dy, dz = x[n] - px, y[n] - py, z[n] - pz
        distance = dx * dx + dy * dy + dz * dz
        nearest[n] = distance if distance < nearest[n] else nearest[n]
