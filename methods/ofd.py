"""OFD: features before their ReLU, imitated where what the teacher says matters.

    sum_l 2^(l-L) mean( d(r(S_l), max(T_l, m_l)) )
    d(s, t) = 0 if s <= t <= 0, else (s - t)^2

S_l and T_l are the maps before the ReLU of stage l of L, r a 1x1 adapter. Below 0 the teacher
says only "off": m_l, its mean value when off, is enough, and a student below that is right. The
teacher's batch norm gives values of mean b and deviation |w| (its shift and scale); taken as
normal,

    m = E[x | x < 0] = b - |w| phi(b / |w|) / Phi(-b / |w|)        for each channel
"""

import math

import torch
from torch import nn

from kdbench.errors import NotApplicable
from kdbench.method import Method, Paper
from kdbench.ops.adapters import Adapter, set_identity
from kdbench.taps import Kind, choose


class OverhaulOfFeatures(Method):
    """Options: `tap` (a pattern: which maps before a ReLU) and `weight`."""

    name = "ofd"
    neutral = {"adapter": "linear"}
    needs = ("preact.*",)
    paper = Paper("A Comprehensive Overhaul of Feature Distillation", 2019, "ICCV 2019, 1904.01866")
    zero_when_equal = True
    deviations = (
        "mean over a map, weight 1: the published 1e-3 of the sum over a frame is for image "
        "features, whose maps have far fewer positions",
        "the adapter is a 1x1 convolution without batch norm: the student's map comes out of one",
    )

    def __init__(self, student, teacher, *, tap="preact.*", weight=1.0, adapter="linear"):
        super().__init__(student, teacher)
        self.names, self.weight = choose(tap, student, Kind.BEV), weight
        for name in self.names:
            if teacher[name].affine is None:
                raise NotApplicable(f"method 'ofd': the tap {name} does not come from a batch norm")
        self.adapters = nn.ModuleList(Adapter(student[n], teacher[n], adapter) for n in self.names)

    def share_adapters(self):
        for adapter in self.adapters:
            set_identity(adapter)

    def forward(self, student, teacher, batch):
        loss = 0.0
        for i, (name, adapter) in enumerate(zip(self.names, self.adapters, strict=True)):
            margin = mean_when_negative(*self.teacher_specs[name].affine).view(-1, 1, 1)
            target = torch.maximum(teacher[name], margin.to(teacher[name]))
            deeper = len(self.names) - 1 - i
            loss = loss + partial_l2(adapter(student[name]), target) / 2**deeper
        return {"feature": self.weight * loss}


def partial_l2(s, t):
    """Mean squared error, without what lies below a target that is not positive."""
    return torch.where((s > t) | (t > 0), s - t, 0.0).square().mean()


@torch.no_grad()
def mean_when_negative(scale, shift):
    """E[x | x < 0] of normal x with mean `shift` and deviation `|scale|`; (C,) float64.

    phi(a) / Phi(-a) = sqrt(2 / pi) / erfcx(a / sqrt 2), which is good for any a.
    """
    mean, deviation = shift.double(), scale.double().abs().clamp(min=1e-6)
    scaled = torch.special.erfcx(mean / deviation / math.sqrt(2))
    return mean - deviation * math.sqrt(2 / math.pi) / scaled
