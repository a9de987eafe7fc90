"""PointNet++ with multi-scale grouping, as PointRCNN uses it.

Qi et al., "PointNet++", NeurIPS 2017, sections 3.2 to 3.4. Features are rows (..., C).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdbench.detectors.layers.point_pyramid import PointPyramid
from kdbench.detectors.layers.row_norm import RowNorm
from kdbench.ops.macs import declared_macs
from kdbench.ops.point_grouping import gather_rows, interpolate

# Of each set abstraction two scales: radius in metres, neighbours, channels (PointRCNN's code).
SCALES = (
    ((0.1, 16, (16, 16, 32)), (0.5, 32, (32, 32, 64))),
    ((0.5, 16, (64, 64, 128)), (1.0, 32, (64, 96, 128))),
    ((1.0, 16, (128, 196, 256)), (2.0, 32, (128, 196, 256))),
    ((2.0, 16, (256, 256, 512)), (4.0, 32, (256, 384, 512))),
)
BALLS = [[(radius, count) for radius, count, _ in scales] for scales in SCALES]
PROPAGATION = ((128, 128), (256, 256), (512, 512), (512, 512))  # channels, finest level first
SHARE = 4  # a level keeps one point in four of the level below


class SharedMlp(nn.Module):
    """The same linear layers, each with batch norm and ReLU, for every row."""

    def __init__(self, widths: list[int], momentum: float, first=nn.Linear):
        super().__init__()
        layers = []
        for inputs, outputs in zip(widths, widths[1:], strict=False):
            linear = nn.Linear if layers else first
            norm = RowNorm(outputs, momentum)
            layers += [linear(inputs, outputs, bias=False), norm, nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        """Rows (..., C) to rows (..., last width)."""
        return torch.relu(self._before_relu(x))

    def pool(self, x: Tensor) -> Tensor:
        """Groups of rows (..., k, C) to the maximum of each (..., last width).

        ReLU comes after the maximum: it is monotone, and there are fewer rows then.
        """
        return torch.relu(self._before_relu(x).max(dim=-2).values)

    def _before_relu(self, x: Tensor) -> Tensor:
        rows = self.layers(x.flatten(0, -2))
        return rows.view(*x.shape[:-1], rows.shape[1])


class GroupLinear(nn.Linear):
    """A linear layer on [offset from the centre, feature] of every neighbour of every centre.

    A point is the neighbour of many centres. So features are multiplied once a point and gathered
    afterwards, and only the three columns of offsets are multiplied once a neighbour. (Positions
    are not split the same way: differences of products of coordinates would lose digits.)
    """

    def forward(self, rows: Tensor, xyz: Tensor, centres: Tensor, group: Tensor) -> Tensor:
        """Rows (B, N, C) at (B, N, 3), neighbours (B, M, k) of (B, M, 3): (B * M * k, outputs)."""
        near, far = self.weight.split([3, rows.shape[2]], dim=1)
        offset = gather_rows(xyz, group) - centres.unsqueeze(2)
        macs = group.numel() * self.weight.numel()  # as if it were not split
        with declared_macs(macs, own=False):
            gathered = gather_rows(F.linear(rows, far, self.bias), group)
            return torch.addmm(gathered.flatten(0, -2), offset.flatten(0, -2), near.t())


class SetAbstraction(nn.Module):
    """For each centre a feature of its neighbours, at one or several scales."""

    def __init__(self, inputs: int, widths, momentum: float):
        super().__init__()
        self.scales = nn.ModuleList(
            SharedMlp([inputs + 3, *w], momentum, first=GroupLinear) for w in widths
        )
        self.channels = sum(w[-1] for w in widths)

    def forward(self, rows: Tensor, xyz: Tensor, centres: Tensor, groups: list[Tensor]) -> Tensor:
        """Rows (B, N, C) at points (B, N, 3) to rows (B, M, channels) at centres (B, M, 3).

        `groups` holds for each scale the neighbours (B, M, k) of the centres.
        """
        parts = []
        for mlp, group in zip(self.scales, groups, strict=True):
            first, *others = mlp.layers
            x = first(rows, xyz, centres, group)
            for layer in others:
                x = layer(x)
            parts.append(torch.relu(x.view(*group.shape, x.shape[1]).max(dim=2).values))
        return torch.cat(parts, dim=-1)


class PointNet2(nn.Module):
    """Four set abstractions and the feature propagations back to every point.

    `width` maps a published channel width to the one to use. The output has `channels`.
    """

    def __init__(self, inputs: int, width, momentum: float):
        super().__init__()
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        channels = [inputs]
        for scales in SCALES:
            widths = [[width(w) for w in published] for _, _, published in scales]
            self.down.append(SetAbstraction(channels[-1], widths, momentum))
            channels.append(self.down[-1].channels)
        coarse = channels.pop()
        for published in reversed(PROPAGATION):
            widths = [width(w) for w in published]
            self.up.insert(0, SharedMlp([coarse + channels.pop(), *widths], momentum))
            coarse = widths[-1]
        self.channels = coarse

    def forward(self, pyramid: PointPyramid, rows: Tensor) -> Tensor:
        """Features (B, N, inputs) of the pyramid's points to (B, N, channels)."""
        levels = [rows]
        for i, layer in enumerate(self.down):
            xyz, centres = pyramid.xyz[i : i + 2]
            levels.append(layer(levels[-1], xyz, centres, pyramid.groups[i]))
        coarse = levels.pop()
        for mlp, above in zip(reversed(self.up), reversed(pyramid.above), strict=True):
            coarse = mlp(torch.cat([interpolate(coarse, *above), levels.pop()], dim=-1))
        return coarse
