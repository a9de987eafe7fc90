"""KD: the student learns the teacher's class scores at every anchor.

    bce:  T^2 sum_a,c KL( sigmoid(z_T / T) || sigmoid(z_S / T) ) / F
    mse:  sum_a,c ( p_S - p_T )^2 / F
    F = max(1, sum_a max_c p_T),   p = sigmoid(z)

over all anchors a and classes c of the batch. Hinton, Vinyals and Dean distil a softmax over
classes; detection heads have one sigmoid a class, for which the binary form is the same idea.
KL is binary cross-entropy less the teacher's entropy: same gradient, and 0 when both agree.
"""

import torch

from kdbench.method import Method, Paper
from kdbench.ops.heads import binary_kl


class LogitDistillation(Method):
    """Options: `variant` bce or mse, `temperature` (of bce), `weight`."""

    name = "kd"
    needs = ("head.cls",)
    paper = Paper("Distilling the Knowledge in a Neural Network", 2015, "arXiv 1503.02531")
    variants = ("bce", "mse")
    zero_when_equal = True
    deviations = (
        "binary KL of sigmoid scores in place of softmax KL: the heads have no softmax",
        "divided by the teacher's expected number of foreground anchors, as the detection loss "
        "is by the number of positive ones; a mean over all anchors would vanish",
        "temperature 1: with the background prior of a focal-loss head, T = 4 lifts every "
        "background score from 0.01 to 0.24",
    )

    def __init__(self, student, teacher, *, variant="bce", temperature=1.0, weight=1.0):
        super().__init__(student, teacher)
        self.variant, self.temperature, self.weight = variant, temperature, weight

    def forward(self, student, teacher, batch):
        z_s, z_t = student["head.cls"], teacher["head.cls"]
        foreground = torch.sigmoid(z_t).amax(-1).sum().clamp(min=1)
        if self.variant == "mse":
            loss = (torch.sigmoid(z_s) - torch.sigmoid(z_t)).square().sum()
        else:
            loss = binary_kl(z_s, z_t, self.temperature).sum()
        return {"kd": self.weight * loss / foreground}
