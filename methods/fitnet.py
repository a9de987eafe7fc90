"""FitNets: the student's features, adapted, imitate the teacher's.

    sum over taps of mean( (r(F_S) - F_T)^2 )

r is a 1x1 adapter from the student's channels to the teacher's, trained with the student.
"""

from torch import nn
from torch.nn import functional as F

from kdbench.method import Method, Paper
from kdbench.ops.adapters import Adapter, features, set_identity
from kdbench.taps import Kind, choose


class FitNet(Method):
    """Options: `tap` (a pattern: which taps are imitated) and `weight`."""

    name = "fitnet"
    neutral = {"adapter": "linear"}
    needs = ("neck|points",)
    paper = Paper("FitNets: Hints for Thin Deep Nets", 2015, "arXiv 1412.6550")
    zero_when_equal = True
    deviations = (
        "the hint is a term of the whole training, not a first stage of its own, as in every "
        "later comparison that includes FitNets",
        "the hint layer is the neck, the last map before the head, or the last features of points: "
        "the paper's middle layer has no counterpart that every detector shares",
    )

    def __init__(self, student, teacher, *, tap="neck|points", weight=1.0, adapter="linear"):
        super().__init__(student, teacher)
        self.weight = weight
        self.names = choose(tap, student, Kind.BEV, Kind.ROWS, Kind.POINTS)
        self.adapters = nn.ModuleList(Adapter(student[n], teacher[n], adapter) for n in self.names)

    def share_adapters(self):
        for adapter in self.adapters:
            set_identity(adapter)

    def forward(self, student, teacher, batch):
        loss = sum(
            _mse(adapter(features(student[name])), adapter.target(features(teacher[name])))
            for name, adapter in zip(self.names, self.adapters, strict=True)
        )
        return {"hint": self.weight * loss}


def _mse(x, y):
    """Mean squared error; 0 where a cloud has no rows."""
    return F.mse_loss(x, y, reduction="sum") / max(1, y.numel())
