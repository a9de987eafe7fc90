"""AT: the student imitates where the teacher's feature maps are strong.

    sum over maps of mean( (q_S / |q_S| - q_T / |q_T|)^2 ),   q = mean over channels of F^2

q is flattened over the positions of one frame. It has no channels, so nothing is adapted.
"""

from torch.nn import functional as F

from kdbench.method import Method, Paper
from kdbench.taps import Kind, choose


class AttentionTransfer(Method):
    """Options: `tap` (a pattern: which maps) and `weight` (1000: the authors' code)."""

    name = "at"
    needs = ("backbone.*",)
    paper = Paper("Paying More Attention to Attention", 2017, "arXiv 1612.03928")
    zero_when_equal = True

    def __init__(self, student, teacher, *, tap="backbone.*", weight=1000.0):
        super().__init__(student, teacher)
        self.names, self.weight = choose(tap, student, Kind.BEV), weight

    def forward(self, student, teacher, batch):
        loss = sum(
            F.mse_loss(attention(student[name]), attention(teacher[name])) for name in self.names
        )
        return {"attention": self.weight * loss}


def attention(x):
    """The normalised spatial attention (B, H * W) of maps (B, C, H, W)."""
    return F.normalize(x.square().mean(1).flatten(1), dim=1)
