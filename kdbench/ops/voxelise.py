"""Dynamic voxelisation: every point keeps its place, no cap on points, pillars or voxels."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

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


def pillarise(points: Tensor, grid: Grid, frames: int) -> Pillars:
    """Sorts points (n, 5: frame, x, y, z, reflectance) into the pillars of `grid`.

    Points outside the range are dropped. Works for zero points.
    """
    order, counts, coordinates = _sort_by_cell(points, grid, (grid.width, grid.height), frames)
    row = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
    points = points[:, 1:5].index_select(0, order)
    return Pillars(points, row, counts, coordinates, frames)


def voxelise(points: Tensor, grid: Grid, frames: int) -> Voxels:
    """The mean of the points (n, 5: frame, x, y, z, reflectance) in each voxel of `grid`.

    Points outside the range are dropped. Works for zero points.
    """
    sizes = (grid.width, grid.height, grid.depth)
    order, counts, coordinates = _sort_by_cell(points, grid, sizes, frames)
    begin = counts.cumsum(0) - counts
    means = F.embedding_bag(order, points, begin, mode="mean")[:, 1:5].contiguous()
    return Voxels(means, counts, coordinates, frames)


def _sort_by_cell(points: Tensor, grid: Grid, sizes: tuple[int, ...], frames: int):
    """Order of the points (n, 5) within range by cell, points a cell, the cells' coordinates.

    `sizes` is the number of cells along x, y and perhaps z. Coordinates are frame, then the
    last of these axes first.
    """
    inside, cells = _cells(points, grid, sizes)
    key = cells[0]
    for cell, size in zip(cells[1:], reversed(sizes), strict=True):
        key = torch.add(cell, key, alpha=size)
    key = torch.where(inside, key, frames * math.prod(sizes))  # those outside come last
    order = stable_order(key)[: int(inside.sum())]
    key = key.index_select(0, order)
    first = torch.ones_like(key, dtype=torch.bool)
    torch.ne(key[1:], key[:-1], out=first[1:])
    begin = first.nonzero().squeeze(1)
    counts = begin.diff(append=begin.new_tensor([len(key)]))
    one = order.index_select(0, begin)  # a point of each cell
    return order, counts, torch.stack([cell.index_select(0, one) for cell in cells], dim=1)


def _cells(points: Tensor, grid: Grid, sizes: tuple[int, ...]) -> tuple[Tensor, list[Tensor]]:
    """Which points are within range (n,), and their frame and cells, last axis first, each (n,)."""
    low, high, cell = (
        points.new_tensor(x).unsqueeze(1)
        for x in (grid.point_range[:3], grid.point_range[3:], grid.cell[: len(sizes)])
    )
    xyz = points[:, 1:4].T.contiguous()  # an axis a row: several times faster to work on
    x, y, z = (xyz >= low) & (xyz < high)
    cells = ((xyz[: len(sizes)] - low[: len(sizes)]) / cell).long()
    last = cells.new_tensor(sizes).unsqueeze(1) - 1  # a point at the edge may round up
    along = torch.minimum(cells, last).unbind()
    return x & y & z, [points[:, 0].long(), *reversed(along)]
