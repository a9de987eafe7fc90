"""Dynamic voxelisation: every point keeps its place, no cap on points, pillars or voxels."""

from dataclasses import dataclass

import torch
from torch import Tensor

from kdbench.ops.scatter import segment_mean


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
    points, row, counts, coordinates = _sort_by_cell(points, grid, (grid.width, grid.height))
    return Pillars(points, row, counts, coordinates, frames)


def voxelise(points: Tensor, grid: Grid, frames: int) -> Voxels:
    """The mean of the points (n, 5: frame, x, y, z, reflectance) in each voxel of `grid`.

    Points outside the range are dropped. Works for zero points.
    """
    sizes = (grid.width, grid.height, grid.depth)
    points, _, counts, coordinates = _sort_by_cell(points, grid, sizes)
    return Voxels(segment_mean(points, counts), counts, coordinates, frames)


def _sort_by_cell(points: Tensor, grid: Grid, sizes: tuple[int, ...]):
    """Points sorted by cell, the cell of each, points a cell, and the cells' coordinates.

    `sizes` is the number of cells along x, y and perhaps z. Coordinates are frame, then the
    last of these axes first.
    """
    points = _in_range(points, grid)
    axes = len(sizes)
    corner = points.new_tensor(grid.point_range[:axes])
    cells = ((points[:, 1 : 1 + axes] - corner) / points.new_tensor(grid.cell[:axes])).long()
    key = points[:, 0].long()
    for axis in reversed(range(axes)):
        # A point at the edge may round up.
        key = key * sizes[axis] + cells[:, axis].clamp_(max=sizes[axis] - 1)
    key, order = torch.sort(key, stable=True)
    key, row, counts = torch.unique_consecutive(key, return_inverse=True, return_counts=True)
    coordinates = []
    for size in sizes:
        coordinates.append(key % size)
        key = key // size
    return points[order, 1:5], row, counts, torch.stack([key, *reversed(coordinates)], dim=1)


def _in_range(points: Tensor, grid: Grid) -> Tensor:
    low = points.new_tensor(grid.point_range[:3])
    high = points.new_tensor(grid.point_range[3:])
    xyz = points[:, 1:4]
    return points[((xyz >= low) & (xyz < high)).all(dim=1)]
