"""The 2D backbone and the upsampling neck over a bird's-eye-view map (SECOND, PointPillars)."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn


def conv_block(
    inputs: int, outputs: int, stride: int, momentum: float, eps: float = 1e-3
) -> nn.Sequential:
    """3x3 convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs, eps=eps, momentum=momentum),
        nn.ReLU(inplace=True),
    )


class BevBackbone(nn.Module):
    """Stages of one strided convolution and `depths[i]` further ones."""

    def __init__(self, inputs: int, widths, depths, strides, momentum: float):
        super().__init__()
        stages = []
        for width, depth, stride in zip(widths, depths, strides, strict=True):
            blocks = [conv_block(inputs, width, stride, momentum)]
            blocks += [conv_block(width, width, 1, momentum) for _ in range(depth)]
            stages.append(nn.Sequential(*blocks))
            inputs = width
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """(B, C, H, W) to the map of each stage, and the same before its last ReLU."""
        maps, preacts = zip(*self.each(x), strict=True)
        return list(maps), list(preacts)

    def each(self, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """The two maps of each stage, in order."""
        for *blocks, (conv, norm, _) in self.stages:
            for block in blocks:
                x = block(x)
            preact = norm(conv(x))
            x = torch.relu(preact)
            yield x, preact

    def last_norms(self) -> list[nn.BatchNorm2d]:
        """The batch norm before the last ReLU of each stage."""
        return [stage[-1][1] for stage in self.stages]


class UpsamplingNeck(nn.Module):
    """Brings each stage to the finest resolution by a transposed convolution; concatenates."""

    def __init__(self, inputs, widths, factors, momentum: float):
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.ConvTranspose2d(c, width, factor, stride=factor, bias=False),
                nn.BatchNorm2d(width, eps=1e-3, momentum=momentum),
                nn.ReLU(inplace=True),
            )
            for c, width, factor in zip(inputs, widths, factors, strict=True)
        )

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Stage maps to one (B, sum of widths, H, W)."""
        pairs = zip(self.branches, maps, strict=True)
        return torch.cat([branch(x) for branch, x in pairs], dim=1)
