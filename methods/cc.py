"""CC: correlations between objects are the teacher's.

    1/M^2 sum_ij (K_S,ij - K_T,ij)^2
    K_ij = e^(-2 gamma) sum_{p=0..P} (2 gamma e_i . e_j)^p / p!

K is the Gaussian kernel e^(-gamma |e_i - e_j|^2) of unit vectors by its Taylor series up to
order P; e (M, C) are the neck's features inside each labelled box, their mean, divided by their
norm. It has no channels, so nothing is adapted.
"""

import math

from torch.nn import functional as F

from kdbench.method import Method, Paper
from kdbench.ops.embeddings import embed_boxes


class CorrelationCongruence(Method):
    """Options: `gamma` (0.4) and `order` P (2) of the kernel, the paper's, and `weight`.

    With `weight` 100 the term starts at about 1. RepDistiller's 0.02 is for another form of the
    loss, with embeddings of no fixed length.
    """

    name = "cc"
    needs = ("neck",)
    paper = Paper(
        "Correlation Congruence for Knowledge Distillation", 2019, "ICCV 2019, arXiv 1904.01802"
    )
    zero_when_equal = True
    deviations = (
        "an instance is a labelled box, not an image: the paper classifies images",
        "the correlation term alone: the paper adds the KL of softened scores, which is method kd",
        "batches are the data set's; the paper's draw several images of each of few classes",
    )

    def __init__(self, student, teacher, *, gamma=0.4, order=2, weight=100.0):
        super().__init__(student, teacher)
        self.gamma, self.order, self.weight = gamma, order, weight

    def forward(self, student, teacher, batch):
        e_s = embed_boxes(student["neck"], batch.boxes, self.student_specs["neck"])
        e_t = embed_boxes(teacher["neck"], batch.boxes, self.teacher_specs["neck"])
        k_s, k_t = (correlation(e, self.gamma, self.order) for e in (e_s, e_t))
        loss = F.mse_loss(k_s, k_t, reduction="sum") / max(1, k_t.numel())
        return {"correlation": self.weight * loss}


def correlation(x, gamma, order):
    """The kernel (M, M) between rows (M, C)."""
    x = F.normalize(x, dim=1)
    exponent = 2 * gamma * x @ x.T
    series = sum(exponent**p / math.factorial(p) for p in range(order + 1))
    return math.exp(-2 * gamma) * series
