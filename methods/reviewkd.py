"""ReviewKD: early stages of the teacher are learned from with the help of later ones.

From the coarsest map to the finest, what later stages of the student have seen is fused in:

    X_l = z_1 P(F_S,l) + z_2 up(X_l+1),   (z_1, z_2) = sigmoid(conv1x1[P(F_S,l), up(X_l+1)])
    loss = sum_l HCL( conv3x3(X_l), F_T,l )

P is a 1x1 convolution to one width for all stages, up nearest-neighbour upsampling, z one value a
cell. HCL, the hierarchical context loss, is the mean squared error of the maps and of the maps
pooled to 4 x 4, 2 x 2 and 1 x 1 cells, weighted 1, 1/2, 1/4, 1/8 and divided by their sum.
"""

import torch
from torch import nn
from torch.nn import functional as F

from kdbench.method import Method, Paper
from kdbench.taps import Kind, choose

CONTEXTS = (4, 2, 1)  # cells along a side of the pooled maps


class ReviewKD(Method):
    """Options: `tap` (a pattern: maps from fine to coarse), `channels` of the fused maps (0: the
    width of the student's coarsest, as in the authors' code) and `weight` (1: published).
    """

    name = "reviewkd"
    needs = ("backbone.*",)
    paper = Paper("Distilling Knowledge via Knowledge Review", 2021, "CVPR 2021, arXiv 2104.09044")
    deviations = (
        "stages of the backbone, where the paper's detectors use the levels of their pyramid: a "
        "detector on a bird's-eye view has one neck map",
    )

    def __init__(self, student, teacher, *, tap="backbone.*", channels=0, weight=1.0):
        super().__init__(student, teacher)
        self.names, self.weight = choose(tap, student, Kind.BEV)[::-1], weight  # coarse to fine
        width = channels or student[self.names[0]].channels
        self.fusions = nn.ModuleList(
            Fusion(student[name].channels, width, teacher[name].channels, later=i > 0)
            for i, name in enumerate(self.names)
        )

    def forward(self, student, teacher, batch):
        loss, fused = 0.0, None
        for name, fusion in zip(self.names, self.fusions, strict=True):
            fused, output = fusion(student[name], fused)
            loss = loss + context_loss(output, teacher[name])
        return {"review": self.weight * loss}


class Fusion(nn.Module):
    """Attention-based fusion of a stage with the `later` ones, and its map for the teacher."""

    def __init__(self, inputs: int, width: int, outputs: int, later: bool):
        super().__init__()
        self.project = _convolution(inputs, width, 1)
        self.output = _convolution(width, outputs, 3)
        self.attention = nn.Conv2d(2 * width, 2, 1) if later else None

    def forward(self, x, later):
        """A stage (B, inputs, H, W) and the later fused map, or None, to X and its output."""
        x = self.project(x)
        if self.attention is not None:
            later = F.interpolate(later, x.shape[2:], mode="nearest")
            z = self.attention(torch.cat([x, later], dim=1)).sigmoid()
            x = z[:, :1] * x + z[:, 1:] * later
        return x, self.output(x)


def _convolution(inputs: int, outputs: int, size: int) -> nn.Sequential:
    layer = nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs))


def context_loss(student, teacher):
    """HCL of two maps (B, C, H, W); contexts that are no coarser than the map are left out."""
    loss, total, weight = F.mse_loss(student, teacher), 1.0, 1.0
    for size in CONTEXTS:
        if size < min(student.shape[2:]):
            weight /= 2
            pooled = [F.adaptive_avg_pool2d(x, size) for x in (student, teacher)]
            loss, total = loss + weight * F.mse_loss(*pooled), total + weight
    return loss / total
