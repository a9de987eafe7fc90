"""The pillar feature net: from points to one feature row a pillar."""

import torch
from torch import Tensor, nn

from kdbench.detectors.layers.row_norm import RowNorm
from kdbench.errors import UsageError
from kdbench.ops.constants import constant
from kdbench.ops.scatter import segment_max, segment_mean
from kdbench.ops.voxelise import Grid, Pillars

POINT_FEATURES = 9  # x, y, z, reflectance, offset to the pillar's mean (3) and to its centre (2)


def decorate(pillars: Pillars, grid: Grid) -> Tensor:
    """The nine features of each point (n, 9), as in PointPillars, section 2.1."""
    xyz = pillars.points[:, :3]
    mean = segment_mean(xyz, pillars.counts)[pillars.row]
    cell, corner = constant(grid.cell, xyz), constant(grid.point_range[:2], xyz)
    centre = (pillars.coordinates[:, 1:].flip(1).to(xyz.dtype) + 0.5) * cell + corner
    return torch.cat([pillars.points, xyz - mean, xyz[:, :2] - centre[pillars.row]], dim=1)


class PillarEncoder(nn.Module):
    """Linear, batch norm, maximum over a pillar's points, ReLU.

    ReLU follows the maximum: it is monotone, so the order does not matter to the result, and
    there are fewer pillars than points.

    Published networks fill a pillar up with rows of zeros, which come out of the batch norm as
    `floor` and take part in the maximum. With `padding` this does so in pillars of fewer points
    than that, for networks trained elsewhere: it is not for training.
    """

    def __init__(self, channels: int, momentum: float, padding: int = 0):
        super().__init__()
        self.padding = padding
        if padding:
            self.register_buffer("floor", torch.zeros(channels))
        self.linear = nn.Linear(POINT_FEATURES, channels, bias=False)
        self.norm = RowNorm(channels, momentum)

    def forward(self, features: Tensor, counts: Tensor) -> Tensor:
        """Point features (n, 9) sorted by pillar, and points a pillar (m,), to rows (m, C)."""
        with torch.autocast(features.device.type, enabled=False):  # metres need full precision
            x = self.linear(features)
        rows = segment_max(self.norm(x), counts)
        return torch.relu(self._padded(rows, counts) if self.padding else rows)

    def _padded(self, rows: Tensor, counts: Tensor) -> Tensor:
        if self.training:
            raise UsageError("a network with padded pillars (option padding) cannot be trained")
        short = (counts < self.padding).unsqueeze(1)
        return torch.where(short, torch.maximum(rows, self.floor), rows)
