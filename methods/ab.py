"""AB: the student's neurons switch on and off where the teacher's do.

    sum_l 2^(l-L) mean( max(0, mu - s)^2 if t > 0 else max(0, mu + s)^2 ),   s = r(S_l), t = T_l

S_l and T_l are the maps before the ReLU of stage l of L, r a 1x1 adapter: a neuron is on where
its value is positive, and the student's shall be on or off by a margin mu. The teacher's sign is
all that counts, so equal maps do not cost nothing.
"""

import torch
from torch import nn

from kdbench.method import Method, Paper
from kdbench.ops.adapters import Adapter
from kdbench.taps import Kind, choose


class ActivationBoundaries(Method):
    """Options: `tap` (a pattern: which maps before a ReLU), `margin` (1: the paper's), `weight`."""

    name = "ab"
    neutral = {"adapter": "linear"}
    needs = ("preact.*",)
    paper = Paper(
        "Knowledge Transfer via Distillation of Activation Boundaries Formed by Hidden Neurons",
        2019,
        "AAAI 2019, arXiv 1811.03233",
    )
    deviations = (
        "a term of the whole training, where the paper's initialises the student for some epochs "
        "before: so that every method trains for the same number of steps",
        "mean over a map, weight 1: published weights are for sums over image features",
        "the adapter is a 1x1 convolution without batch norm: the student's map comes out of one",
    )

    def __init__(
        self, student, teacher, *, tap="preact.*", margin=1.0, weight=1.0, adapter="linear"
    ):
        super().__init__(student, teacher)
        self.names, self.margin, self.weight = choose(tap, student, Kind.BEV), margin, weight
        self.adapters = nn.ModuleList(Adapter(student[n], teacher[n], adapter) for n in self.names)

    def forward(self, student, teacher, batch):
        loss = 0.0
        for i, (name, adapter) in enumerate(zip(self.names, self.adapters, strict=True)):
            deeper = len(self.names) - 1 - i
            hinge = boundary_hinge(adapter(student[name]), teacher[name], self.margin)
            loss = loss + hinge / 2**deeper
        return {"boundary": self.weight * loss}


def boundary_hinge(s, t, margin):
    """Mean squared distance of `s` from the side of the margin that `t` is on."""
    wrong_way = torch.where(t > 0, -s, s)
    return torch.relu(margin + wrong_way).square().mean()
