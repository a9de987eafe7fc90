"""MGD: from a part of the student's map, generate the teacher's whole map.

    sum ( G(m * r(F_S)) - F_T )^2 / B,   G = conv3x3, ReLU, conv3x3

m is 0 in a random share of the cells, drawn anew each step; r is a 1x1 adapter. Adapter and
generator train with the student.
"""

import torch
from torch import nn
from torch.nn import functional as F

from kdbench.method import Method, Paper
from kdbench.ops.adapters import Adapter


class MaskedGenerativeDistillation(Method):
    """Options: `mask`, the share of cells that are hidden, and `weight`.

    The defaults are published for one-stage detectors (0.65, 2e-5).
    """

    name = "mgd"
    neutral = {"adapter": "linear"}
    needs = ("neck",)
    paper = Paper("Masked Generative Distillation", 2022, "ECCV 2022, arXiv 2205.01529")
    deviations = (
        "one map, the neck, in place of a pyramid's five",
        "the student does not inherit the teacher's neck and head, as it does in the authors' "
        "code for detectors: the widths differ, and it would be a second method at work",
    )

    def __init__(self, student, teacher, *, mask=0.65, weight=2e-5, adapter="linear"):
        super().__init__(student, teacher)
        self.mask, self.weight = mask, weight
        channels = teacher["neck"].channels
        self.adapter = Adapter(student["neck"], teacher["neck"], adapter)
        self.generator = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, student, teacher, batch):
        adapted = self.adapter(student["neck"])
        # (B, 1, H, W): all channels alike. Drawn on the CPU, whose random state a resumed
        # training takes up again.
        seen = torch.rand(adapted[:, :1].shape).to(adapted.device) >= self.mask
        target = self.adapter.target(teacher["neck"])
        error = F.mse_loss(self.generator(adapted * seen), target, reduction="sum")
        return {"generation": self.weight * error / len(adapted)}
