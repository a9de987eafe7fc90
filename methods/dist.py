"""DIST: the student's scores rise and fall with the teacher's; how high they are is left to it.

    inter * mean_i( 1 - r(p_S[i, :], p_T[i, :]) ) + intra * mean_c( 1 - r(p_S[:, c], p_T[:, c]) )

r is Pearson's correlation, p (anchors, 1 + classes) the softmax of z / T over background and
classes: `inter` compares an anchor's classes, `intra` a class's anchors. With x and y centred
and divided by their norms, 1 - r = |x - y|^2 / 2, which is exactly 0 for equal scores.
"""

import torch
from torch.nn import functional as F

from kdbench.method import Method, Paper
from kdbench.ops.scores import likely_anchors, with_background


class StrongerTeacher(Method):
    """Options: `inter` and `intra` (weights), `temperature`, `n` (anchors a frame of `inter`).

    Weights of 1 and temperature 1 are the authors'.
    """

    name = "dist"
    needs = ("head.cls",)
    paper = Paper(
        "Knowledge Distillation from A Stronger Teacher", 2022, "NeurIPS 2022, arXiv 2205.10536"
    )
    zero_when_equal = True
    deviations = (
        "a softmax over background and classes, with the background's logit 0: the heads have "
        "one sigmoid a class",
        "intra: over all anchors of the batch, which are its samples",
        "inter: over the n anchors of a frame where the teacher most expects an object: in the "
        "mean over all, where the background rules, the few that matter would vanish",
    )

    def __init__(self, student, teacher, *, inter=1.0, intra=1.0, temperature=1.0, n=256):
        super().__init__(student, teacher)
        self.inter, self.intra, self.temperature, self.n = inter, intra, temperature, n

    def forward(self, student, teacher, batch):
        p_s, p_t = self._scores(student), self._scores(teacher)
        likely = likely_anchors(teacher["head.cls"], self.n)
        return {
            "inter": self.inter * uncorrelated(p_s[likely], p_t[likely]),
            "intra": self.intra * uncorrelated(p_s.T, p_t.T),
        }

    def _scores(self, taps):
        """(anchors of the batch, 1 + classes), rows sum to 1."""
        z = with_background(taps["head.cls"].flatten(0, -2))
        return torch.softmax(z / self.temperature, dim=1)


def uncorrelated(x, y):
    """1 - Pearson's correlation of each row of x and y (n, k); mean over rows."""
    x, y = (F.normalize(v - v.mean(1, keepdim=True), dim=1) for v in (x, y))
    return (x - y).square().sum(1).mean() / 2
