"""The pillar feature net: from points to one feature row a pillar."""

import torch
from torch import Tensor, nn

from kdbench.detectors.layers.row_norm import RowNorm
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
    """

    def __init__(self, channels: int, momentum: float):
        super().__init__()
        self.linear = nn.Linear(POINT_FEATURES, channels, bias=False)
        self.norm = RowNorm(channels, momentum)

    def forward(self, features: Tensor, counts: Tensor) -> Tensor:
        """Point features (n, 9) sorted by pillar, and points a pillar (m,), to rows (m, C)."""
        with torch.autocast(features.device.type, enabled=False):  # metres need full precision
            x = self.linear(features)
        return torch.relu(segment_max(self.norm(x), counts))
