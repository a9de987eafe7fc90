"""Dynamic voxelisation: every point keeps its place, no cap on points or pillars."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Grid:
    """A regular grid over the ground: the range of points and the size of a cell, in metres."""

    point_range: tuple[float, float, float, float, float, float]  # x0, y0, z0, x1, y1, z1
    cell: tuple[float, float]  # along x, along y

    @property
    def width(self) -> int:
        """Cells along x."""
        return round((self.point_range[3] - self.point_range[0]) / self.cell[0])

    @property
    def height(self) -> int:
        """Cells along y."""
        return round((self.point_range[4] - self.point_range[1]) / self.cell[1])


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


def pillarise(points: Tensor, grid: Grid, frames: int) -> Pillars:
    """Sorts points (n, 5: frame, x, y, z, reflectance) into the pillars of `grid`.

    Points outside the range are dropped. Works for zero points.
    """
    low = points.new_tensor(grid.point_range[:3])
    high = points.new_tensor(grid.point_range[3:])
    xyz = points[:, 1:4]
    points = points[((xyz >= low) & (xyz < high)).all(dim=1)]
    size = points.new_tensor(grid.cell)
    cells = ((points[:, 1:3] - low[:2]) / size).long()
    x = cells[:, 0].clamp_(max=grid.width - 1)  # a point at the edge may round up
    y = cells[:, 1].clamp_(max=grid.height - 1)
    key = (points[:, 0].long() * grid.height + y) * grid.width + x
    key, order = torch.sort(key, stable=True)
    pillar, row, counts = torch.unique_consecutive(key, return_inverse=True, return_counts=True)
    coordinates = torch.stack(
        [
            pillar // (grid.height * grid.width),
            pillar // grid.width % grid.height,
            pillar % grid.width,
        ],
        dim=1,
    )
    return Pillars(points[order, 1:5], row, counts, coordinates, frames)
