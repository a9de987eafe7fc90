"""NST: the student's channels are distributed over the map as the teacher's are.

    MMD^2 = mean k(t, t') + mean k(s, s') - 2 mean k(s, t),   k(x, y) = (x . y)^2

A sample is one channel of a frame, its H * W values divided by their norm; the means go over all
pairs of channels, then over frames. Channels need not be as many, so nothing is adapted.
"""

from torch.nn import functional as F

from kdbench.method import Method, Paper
from kdbench.taps import Kind, choose


class NeuronSelectivity(Method):
    """Options: `tap` (a pattern: which maps) and `weight` (50: RepDistiller's)."""

    name = "nst"
    needs = ("neck",)
    paper = Paper(
        "Like What You Like: Knowledge Distill via Neuron Selectivity Transfer",
        2017,
        "arXiv 1707.01219",
    )
    zero_when_equal = True
    deviations = (
        "the polynomial kernel of degree 2 alone; the paper tries linear and Gaussian ones too",
        "the layer is the neck, the last map before the head, as the paper's is the last before "
        "the classifier",
    )

    def __init__(self, student, teacher, *, tap="neck", weight=50.0):
        super().__init__(student, teacher)
        self.names, self.weight = choose(tap, student, Kind.BEV), weight

    def forward(self, student, teacher, batch):
        loss = sum(squared_mmd(student[name], teacher[name]) for name in self.names)
        return {"selectivity": self.weight * loss}


def squared_mmd(x_s, x_t):
    """Between the channels of maps (B, C, H, W); mean over frames."""
    s, t = (F.normalize(x.flatten(2), dim=2) for x in (x_s, x_t))
    return mean_kernel(t, t) + mean_kernel(s, s) - 2 * mean_kernel(s, t)


def mean_kernel(x, y):
    """Mean of (x . y)^2 over all pairs of channels of (B, C, H * W)."""
    return (x @ y.transpose(1, 2)).square().mean()
