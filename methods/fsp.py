"""FSP: the student imitates how the teacher's features flow from one stage to the next.

    sum over neighbouring stages of mean( (G_S - G_T)^2 ),   G = F_1 F_2^t / HW

G (C1 x C2) holds the inner products of the channels of two maps over their HW cells. A 1x1
adapter brings each of the student's maps to the teacher's width.
"""

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from kdbench.errors import UsageError
from kdbench.method import Method, Paper
from kdbench.ops.adapters import Adapter, set_identity
from kdbench.taps import Kind, choose


class FlowOfSolution(Method):
    """Options: `tap` (a pattern: two or more maps in a row) and `weight` (50: RepDistiller)."""

    name = "fsp"
    neutral = {"adapter": "linear"}
    needs = ("backbone.*",)
    paper = Paper("A Gift from Knowledge Distillation", 2017, "CVPR 2017")
    zero_when_equal = True
    deviations = (
        "adapters: the paper's teacher and student have equal widths, without which their "
        "matrices cannot be compared",
        "a term of the whole training; the paper trains on it alone first",
        "the two maps are the outputs of neighbouring stages, not the first and last of one",
    )

    def __init__(self, student, teacher, *, tap="backbone.*", weight=50.0, adapter="linear"):
        super().__init__(student, teacher)
        self.names, self.weight = choose(tap, student, Kind.BEV), weight
        if len(self.names) < 2:
            raise UsageError(f"option tap: {tap!r} must name two maps or more")
        self.adapters = nn.ModuleList(Adapter(student[n], teacher[n], adapter) for n in self.names)

    def share_adapters(self):
        for adapter in self.adapters:
            set_identity(adapter)

    def forward(self, student, teacher, batch):
        maps_s = [a(student[n]) for n, a in zip(self.names, self.adapters, strict=True)]
        maps_t = [a.target(teacher[n]) for n, a in zip(self.names, self.adapters, strict=True)]
        flows = zip(pairwise(maps_s), pairwise(maps_t), strict=True)
        return {"flow": self.weight * sum(F.mse_loss(flow(*s), flow(*t)) for s, t in flows)}


def flow(first, second):
    """G (B, C1, C2) of two maps, the finer max-pooled to the coarser, as in the paper."""
    height, width = (min(sizes) for sizes in zip(first.shape[2:], second.shape[2:], strict=True))
    first, second = (F.adaptive_max_pool2d(x, (height, width)) for x in (first, second))
    return torch.einsum("bchw,bdhw->bcd", first, second) / (height * width)
