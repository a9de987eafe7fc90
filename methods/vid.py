"""VID: the student's features carry the information that is in the teacher's.

    1/2 mean( (T - r(S))^2 / v_c + log v_c ),   v_c = softplus(a_c) + epsilon

A lower bound of the mutual information: the negative log-likelihood of the teacher's map T under
a Gaussian whose mean is read off the student's map S by a 1x1 adapter r, and whose variance v is
learned for each channel c. It can be negative.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from kdbench.method import Method, Paper
from kdbench.ops.adapters import Adapter
from kdbench.taps import Kind, choose

EPSILON = 1e-5


class VariationalInformation(Method):
    """Options: `tap` (a pattern: which maps), `variance` (at the start) and `weight`.

    `variance` 5 and `weight` 1 are those of RepDistiller's implementation.
    """

    name = "vid"
    neutral = {"adapter": "linear"}
    needs = ("neck",)
    paper = Paper(
        "Variational Information Distillation for Knowledge Transfer", 2019, "CVPR 2019, 1904.05835"
    )
    deviations = (
        "the mean is read off by one 1x1 convolution, not by several with ReLUs: the same adapter "
        "as the other methods have, so that losses are compared and not adapters",
        "mean over a map, not sum: independent of the map's size",
        "the layer is the neck, the last map before the head",
    )

    def __init__(self, student, teacher, *, tap="neck", variance=5.0, weight=1.0, adapter="linear"):
        super().__init__(student, teacher)
        self.names, self.weight = choose(tap, student, Kind.BEV), weight
        self.adapters = nn.ModuleList(Adapter(student[n], teacher[n], adapter) for n in self.names)
        start = math.log(math.expm1(variance - EPSILON))  # softplus of it is the variance
        self.variances = nn.ParameterList(
            torch.full((teacher[n].channels,), start) for n in self.names
        )

    def forward(self, student, teacher, batch):
        loss = sum(
            gaussian_nll(
                adapter.target(teacher[name]), adapter(student[name]), F.softplus(a) + EPSILON
            )
            for name, adapter, a in zip(self.names, self.adapters, self.variances, strict=True)
        )
        return {"information": self.weight * loss}


def gaussian_nll(x, mean, variance):
    """Mean negative log-likelihood, without its constant; variance (C,) of (B, C, H, W)."""
    variance = variance.view(-1, 1, 1)
    return 0.5 * ((x - mean).square() / variance + variance.log()).mean()
