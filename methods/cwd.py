"""CWD: in each channel, the student puts its weight where the teacher does.

    T^2 / C sum_c KL( softmax_hw(F_T,c / T) || softmax_hw(r(F_S)_c / T) )

a mean over frames, a sum over the chosen maps; r is a 1x1 adapter.
"""

from torch import nn
from torch.nn import functional as F

from kdbench.method import Method, Paper
from kdbench.ops.adapters import Adapter, set_identity
from kdbench.taps import Kind, choose


class ChannelWiseDistillation(Method):
    """Options: `tap` (a pattern: which maps), `temperature` T and `weight`.

    The defaults are those of MMRazor for detectors (T 1, weight 10).
    """

    name = "cwd"
    neutral = {"adapter": "linear"}
    needs = ("neck",)
    paper = Paper(
        "Channel-wise Knowledge Distillation for Dense Prediction", 2021, "arXiv 2011.13256"
    )
    zero_when_equal = True
    deviations = (
        "the neck's map, as detectors do it; the paper's best results are on the class scores of "
        "segmentation",
    )

    def __init__(
        self, student, teacher, *, tap="neck", temperature=1.0, weight=10.0, adapter="linear"
    ):
        super().__init__(student, teacher)
        self.names = choose(tap, student, Kind.BEV)
        self.temperature, self.weight = temperature, weight
        self.adapters = nn.ModuleList(Adapter(student[n], teacher[n], adapter) for n in self.names)

    def share_adapters(self):
        for adapter in self.adapters:
            set_identity(adapter)

    def forward(self, student, teacher, batch):
        loss = sum(
            divergence(adapter(student[name]), adapter.target(teacher[name]), self.temperature)
            for name, adapter in zip(self.names, self.adapters, strict=True)
        )
        return {"channels": self.weight * loss}


def divergence(student, teacher, temperature):
    """T^2 KL of the spatial softmax of maps (B, C, H, W), a mean over frames and channels."""
    log_s, log_t = ((x / temperature).flatten(2).log_softmax(-1) for x in (student, teacher))
    total = F.kl_div(log_s, log_t, reduction="sum", log_target=True)
    return temperature**2 * total / log_t[..., 0].numel()
