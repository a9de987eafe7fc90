"""Neighbours in space and what is gathered from them: PointNet++'s grouping and interpolation.

CPU tensors are worked on by one core, without a distance matrix. On another device distances
are computed for as many queries at a time as keep the matrix below PAIRS_AT_ONCE.
"""

import numpy as np
import torch
from numba import njit
from torch import Tensor

PAIRS_AT_ONCE = 1 << 24


def ball_query(centres: Tensor, points: Tensor, radius: float, count: int) -> Tensor:
    """Indices (B, M, count) int64 of points (B, N, 3) closer than `radius` to centres (B, M, 3).

    Of more than `count` such points the first ones count; with fewer, the first one fills the
    places that are left (PointNet++, section 3.2 and its code). A centre without any gets point 0.
    Coordinates and radius in metres. No gradient; equal inputs give equal results.
    """
    centres, points = centres.detach().float(), points.detach().float()
    limit = np.float32(radius) ** 2
    if _on_host(points):
        return torch.from_numpy(_ball(_numpy(centres), _numpy(points), limit, count))
    return _chunked(_ball_on_device, centres, points, float(limit), count)


def three_nearest(queries: Tensor, points: Tensor, power: int = 2) -> tuple[Tensor, Tensor]:
    """The three points (B, N, 3) nearest to each of the queries (B, M, 3), and their weights.

    Returns indices (B, M, 3) int64, nearest first, and weights (B, M, 3) that sum to 1: inverse
    distances to the `power` 2 (PointNet++, equation 2 with p = 2) or 1 (OpenPCDet). With fewer
    than three points the nearest one fills the places that are left. No gradient.
    """
    queries, points = queries.detach().float(), points.detach().float()
    if _on_host(points):
        found = _three_nearest(_numpy(queries), _numpy(points))
        index, distance = (torch.from_numpy(x) for x in found)
    else:
        index = _chunked(_three_on_device, queries, points)
        distance = (gather_rows(points, index) - queries.unsqueeze(2)).square().sum(-1)
    distance = distance if power == 2 else distance.sqrt()
    weight = 1 / (distance + 1e-8)  # of coinciding points all weight goes to those
    return index, weight / weight.sum(-1, keepdim=True)


def gather_rows(rows: Tensor, index: Tensor) -> Tensor:
    """Rows (B, N, C) at indices (B, ...): (B, ..., C), differentiable in `rows`."""
    first = torch.arange(len(rows), device=rows.device) * rows.shape[1]
    flat = (index + first.view(-1, *[1] * (index.dim() - 1))).flatten()
    return rows.flatten(0, 1).index_select(0, flat).view(*index.shape, rows.shape[2])


def interpolate(rows: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Weighted sums (B, M, C) of rows (B, N, C) at indices (B, M, k) with weights (B, M, k)."""
    return (gather_rows(rows, index) * weight.unsqueeze(-1)).sum(2)


def _on_host(x: Tensor) -> bool:
    return x.device.type == "cpu"


def _numpy(x: Tensor) -> np.ndarray:
    return x.contiguous().numpy()


def _chunked(find, queries: Tensor, points: Tensor, *args) -> Tensor:
    size = max(1, PAIRS_AT_ONCE // max(1, points.shape[0] * points.shape[1]))
    parts = [find(_distances(q, points), *args) for q in queries.split(size, dim=1)]
    return torch.cat(parts, dim=1)


def _distances(queries: Tensor, points: Tensor) -> Tensor:
    """Squared distances (B, M, N), from differences: a matrix product would lose digits."""
    return sum(
        (queries[:, :, None, i] - points[:, None, :, i]).square() for i in range(points.shape[2])
    )


def _ball_on_device(distance: Tensor, limit: float, count: int) -> Tensor:
    n = distance.shape[2]
    order = torch.where(distance < limit, torch.arange(n, device=distance.device), n)
    index = order.topk(min(count, n), dim=2, largest=False, sorted=True).values
    first = torch.where(index[..., :1] < n, index[..., :1], 0)
    index = torch.where(index < n, index, first)
    return torch.cat([index, first.expand(-1, -1, count - index.shape[2])], dim=2)


def _three_on_device(distance: Tensor) -> Tensor:
    index = distance.topk(min(3, distance.shape[2]), dim=2, largest=False, sorted=True).indices
    return torch.cat([index, index[..., :1].expand(-1, -1, 3 - index.shape[2])], dim=2)


@njit(cache=True, nogil=True)
def _ball(centres, points, limit, count):
    index = np.zeros((*centres.shape[:2], count), np.int64)
    for b in range(len(centres)):
        x, y, z = points[b, :, 0].copy(), points[b, :, 1].copy(), points[b, :, 2].copy()
        for m in range(centres.shape[1]):
            px, py, pz = centres[b, m]
            found = 0
            for n in range(len(x)):
                dx, dy, dz = x[n] - px, y[n] - py, z[n] - pz
                if dx * dx + dy * dy + dz * dz < limit:
                    index[b, m, found] = n
                    found += 1
                    if found == count:
                        break
            index[b, m, max(found, 1) :] = index[b, m, 0]
    return index


@njit(cache=True, nogil=True)
def _three_nearest(queries, points):
    index = np.zeros((*queries.shape[:2], 3), np.int64)
    distance = np.empty((*queries.shape[:2], 3), np.float32)
    for b in range(len(queries)):
        x, y, z = points[b, :, 0].copy(), points[b, :, 1].copy(), points[b, :, 2].copy()
        for m in range(queries.shape[1]):
            px, py, pz = queries[b, m]
            _insert_nearest(x, y, z, px, py, pz, index[b, m], distance[b, m])
    return index, distance


@njit(cache=True, nogil=True)
def _insert_nearest(x, y, z, px, py, pz, index, distance):
    """Fills `index` (3,) and squared `distance` (3,) of the points nearest to (px, py, pz)."""
    distance[:] = np.inf
    for n in range(len(x)):
        dx, dy, dz = x[n] - px, y[n] - py, z[n] - pz
        d = dx * dx + dy * dy + dz * dz
        if d < distance[2]:
            k = 2
            while k > 0 and d < distance[k - 1]:
                distance[k], index[k] = distance[k - 1], index[k - 1]
                k -= 1
            distance[k], index[k] = d, n
    for k in range(len(x), 3):
        index[k], distance[k] = index[0], distance[0]
