"""Dynamic voxelisation: every point keeps its place, no cap on points, pillars or voxels.

`most` is a cap on the points of a cell, the first of the cloud staying; 0 is none. Published
networks have one.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torch.nn import functional as F

from kdbench.ops.constants import constant
from kdbench.ops.sorting import stable_order


@dataclass(frozen=True)
class Grid:
    """A regular grid: the range of points and the size of a cell, in metres."""

    point_range: tuple[float, float, float, float, float, float]  # x0, y0, z0, x1, y1, z1
    cell: tuple[float, ...]  # along x, along y; of voxels along z too

    @property
    def width(self) -> int:
        """Cells along x."""
        return self._cells(0)

    @property
    def height(self) -> int:
        """Cells along y."""
        return self._cells(1)

    @property
    def depth(self) -> int:
        """Cells along z, of a grid of voxels."""
        return self._cells(2)

    def _cells(self, axis: int) -> int:
        return round((self.point_range[axis + 3] - self.point_range[axis]) / self.cell[axis])


@dataclass(frozen=True)
class Pillars:
    """The points of a batch sorted by pillar, and the pillars that hold any.

    Rows of both are sorted by frame, then y cell, then x cell, so the same batch always gives
    the same rows: teacher and student rows correspond by construction.
    """

    points: Tensor  # (n, 4) float32: x, y, z, reflectance, sorted by pillar
    row: Tensor  # (n,) int64: the pillar of each point
    counts: Tensor  # (m,) int64: points in each pillar, at least 1
    coordinates: Tensor  # (m, 3) int64: frame, y cell, x cell
    frames: int  # frames in the batch


@dataclass(frozen=True)
class Voxels:
    """The voxels of a batch that hold any point, sorted by frame, then z, y and x cell."""

    features: Tensor  # (m, 4) float32: mean x, y, z and reflectance of the voxel's points
    counts: Tensor  # (m,) int64: points in each voxel, at least 1
    coordinates: Tensor  # (m, 4) int64: frame, z cell, y cell, x cell
    frames: int  # frames in the batch


def pillarise(points: Tensor, grid: Grid, frames: int, most: int = 0) -> Pillars:
    """Sorts points (n, 5: frame, x, y, z, reflectance) into the pillars of `grid`.

    Points outside the range are dropped. Works for zero points.
    """
    sizes = (grid.width, grid.height)
    order, counts, coordinates = _sort_by_cell(points, grid, sizes, frames, most)
    cell = torch.arange(len(counts), device=counts.device)
    row = cell.repeat_interleave(counts, output_size=len(order))  # which need not be asked for
    points = points[:, 1:5].index_select(0, order)
    return Pillars(points, row, counts, coordinates, frames)


def voxelise(points: Tensor, grid: Grid, frames: int, most: int = 0) -> Voxels:
    """The mean of the points (n, 5: frame, x, y, z, reflectance) in each voxel of `grid`.

    Points outside the range are dropped. Works for zero points. No gradient.
    """
    sizes = (grid.width, grid.height, grid.depth)
    order, counts, coordinates = _sort_by_cell(points, grid, sizes, frames, most)
    means = (_means_on_device if points.is_cuda else _means_on_host)(points, order, counts)
    return Voxels(means, counts, coordinates, frames)


def _sort_by_cell(points: Tensor, grid: Grid, sizes: tuple[int, ...], frames: int, most: int):
    """Order of the points (n, 5) that are kept by cell, points a cell, the cells' coordinates.

    `sizes` is the number of cells along x, y and perhaps z. Coordinates are frame, then the
    last of these axes first.
    """
    outside = frames * math.prod(sizes)  # the key of points out of range: they come last
    sort = _sort_on_device if points.is_cuda else _sort_on_host
    order, counts, coordinates = sort(points, grid, sizes, outside)
    if most:
        order, counts = _first(order, counts, most)
    return order, counts, coordinates


def _first(order: Tensor, counts: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """An order by cell without all but the `most` first points of each, and what is left a cell."""
    begin = (counts.cumsum(0) - counts).repeat_interleave(counts, output_size=len(order))
    place = torch.arange(len(order), device=order.device) - begin
    return order[place < most], counts.clamp(max=most)


def _sort_on_device(points: Tensor, grid: Grid, sizes: tuple[int, ...], outside: int):
    inside, cells = _cells(points, grid, sizes)
    key = cells[0]
    for cell, size in zip(cells[1:], reversed(sizes), strict=True):
        key = torch.add(cell, key, alpha=size)
    key, order = torch.where(inside, key, outside).sort(stable=True)
    first = key < outside
    first[1:] &= key[1:] != key[:-1]
    number = first.cumsum(0)  # of the cells up to each point
    points, found = torch.stack([inside.sum(), first.sum()]).tolist()  # the only wait
    order, number = order[:points], number[:points] - 1
    counts = number.new_zeros(found).scatter_add_(0, number, torch.ones_like(number))
    one = order.index_select(0, counts.cumsum(0) - counts)  # a point of each cell
    return order, counts, torch.stack(cells, dim=1).index_select(0, one)


def _means_on_device(points: Tensor, order: Tensor, counts: Tensor) -> Tensor:
    begin = counts.cumsum(0) - counts
    return F.embedding_bag(order, points, begin, mode="mean")[:, 1:5].contiguous()


def _sort_on_host(points: Tensor, grid: Grid, sizes: tuple[int, ...], outside: int):
    """The same in two passes over the points, and a sort between them."""
    limits = np.array(grid.point_range, np.float32).reshape(2, 3)
    cell = np.array(grid.cell[: len(sizes)], np.float32)
    keys, cells = _keys(_numpy(points), limits, cell, np.array(sizes), outside)
    order = stable_order(torch.from_numpy(keys))
    counts, coordinates = (
        torch.from_numpy(x) for x in _groups(order.numpy(), keys, cells, outside)
    )
    return order[: int(counts.sum())], counts, coordinates


def _means_on_host(points: Tensor, order: Tensor, counts: Tensor) -> Tensor:
    return torch.from_numpy(_means(_numpy(points), order.numpy(), counts.numpy()))


def _numpy(points: Tensor) -> np.ndarray:
    return points.detach().contiguous().numpy()


@njit(cache=True, nogil=True)
def _keys(points, limits, cell, sizes, outside):
    """Of each point a number in the order of frames and cells, and its frame and cells."""
    axes = len(sizes)
    keys, cells = np.empty(len(points), np.int64), np.empty((len(points), 1 + axes), np.int64)
    for i in range(len(points)):
        inside = True
        for axis in range(3):
            inside &= limits[0, axis] <= points[i, 1 + axis] < limits[1, axis]
        keys[i] = outside
        if inside:
            key = cells[i, 0] = np.int64(points[i, 0])
            for axis in range(axes - 1, -1, -1):
                place = np.int64((points[i, 1 + axis] - limits[0, axis]) / cell[axis])
                place = min(place, sizes[axis] - 1)  # a point at the edge may round up
                cells[i, axes - axis] = place
                key = key * sizes[axis] + place
            keys[i] = key
    return keys, cells


@njit(cache=True, nogil=True)
def _groups(order, keys, cells, outside):
    """How many points there are of each key in turn, and the cells of that key."""
    counts, found = np.empty(len(order), np.int64), np.empty_like(cells)
    number, last = 0, np.int64(-1)
    for point in order:
        key = keys[point]
        if key == outside:
            break
        if key != last:
            found[number], counts[number], last = cells[point], 0, key
            number += 1
        counts[number - 1] += 1
    return counts[:number].copy(), found[:number].copy()


@njit(cache=True, nogil=True)
def _means(points, order, counts):
    """Means (m, 4) of consecutive groups of ordered points (n, 5), without their frame."""
    means, begin = np.zeros((len(counts), 4), np.float32), 0
    for number, count in enumerate(counts):
        for point in order[begin : begin + count]:
            for column in range(4):
                means[number, column] += points[point, 1 + column]
        for column in range(4):
            means[number, column] /= np.float32(count)
        begin += count
    return means


def _cells(points: Tensor, grid: Grid, sizes: tuple[int, ...]) -> tuple[Tensor, list[Tensor]]:
    """Which points are within range (n,), and their frame and cells, last axis first, each (n,)."""
    low, high, cell = (
        constant(x, points).unsqueeze(1)
        for x in (grid.point_range[:3], grid.point_range[3:], grid.cell[: len(sizes)])
    )
    xyz = points[:, 1:4].T.contiguous()  # an axis a row: several times faster to work on
    x, y, z = (xyz >= low) & (xyz < high)
    cells = ((xyz[: len(sizes)] - low[: len(sizes)]) / cell).long()
    last = constant(sizes, cells).unsqueeze(1) - 1  # a point at the edge may round up
    along = torch.minimum(cells, last).unbind()
    return x & y & z, [points[:, 0].long(), *reversed(along)]
