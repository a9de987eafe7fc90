"""PKD: the student's map correlates with the teacher's, whatever their scales.

    mean( (n(r(F_S)) - n(F_T))^2 ) / 2  =  mean_c ( 1 - Pearson(r(F_S)_c, F_T,c) )

n standardises a channel to mean 0 and variance 1 over the cells of all frames of the batch; r is
a 1x1 adapter where the channels differ, else nothing.
"""

from torch import nn
from torch.nn import functional as F

from kdbench.method import Method, Paper
from kdbench.ops.adapters import Adapter
from kdbench.taps import Kind, choose

EPS = 1e-6  # added to the variance: a constant channel becomes zeros


class PearsonDistillation(Method):
    """Options: `tap` (a pattern: which maps) and `weight` (6: published, two-stage detectors)."""

    name = "pkd"
    neutral = {"adapter": "linear"}
    needs = ("neck",)
    paper = Paper(
        "PKD: General Distillation Framework for Object Detectors via Pearson Correlation "
        "Coefficient",
        2022,
        "NeurIPS 2022, arXiv 2207.02039",
    )
    zero_when_equal = True
    deviations = (
        "a 1x1 adapter where channels differ: the paper's pairs have equal widths and need none, "
        "a compressed student does",
        "one map, the neck, in place of a pyramid's levels",
    )

    def __init__(self, student, teacher, *, tap="neck", weight=6.0, adapter="linear"):
        super().__init__(student, teacher)
        self.names, self.weight = choose(tap, student, Kind.BEV), weight
        self.adapters = nn.ModuleList(
            nn.Identity()
            if student[name].channels == teacher[name].channels
            else Adapter(student[name], teacher[name], adapter)
            for name in self.names
        )

    def forward(self, student, teacher, batch):
        loss = sum(
            F.mse_loss(standardised(adapter(student[name])), standardised(teacher[name])) / 2
            for name, adapter in zip(self.names, self.adapters, strict=True)
        )
        return {"pearson": self.weight * loss}


def standardised(x):
    """Maps (B, C, H, W) with mean 0 and variance 1 in each channel."""
    centred = x - x.mean((0, 2, 3), keepdim=True)
    variance = centred.square().mean((0, 2, 3), keepdim=True)
    return centred / (variance + EPS).sqrt()
