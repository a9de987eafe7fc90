"""Logit standardisation: only the order and the spread of the teacher's scores are learned.

    Z = (z - mean_a z) / (std_a z + 1e-7)                      of a class c, over anchors a
    9 mean_frames,c T^2 KL( softmax_a(Z_T / T) || softmax_a(Z_S / T) )

The student need not match the size of the teacher's logits, for which it lacks the capacity.
"""

from kdbench.method import Method, Paper
from kdbench.ops.heads import softmax_kl

EPSILON = 1e-7


class LogitStandardisation(Method):
    """Options: `temperature` T and `weight` (2 and 9, published)."""

    name = "logit-std"
    needs = ("head.cls",)
    paper = Paper(
        "Logit Standardization in Knowledge Distillation", 2024, "CVPR 2024, arXiv 2403.01427"
    )
    zero_when_equal = True
    deviations = (
        "standardised over the anchors of a frame, class by class, and a softmax over these: over "
        "the few classes of a sigmoid head it would take away whether there is an object at all",
    )

    def __init__(self, student, teacher, *, temperature=2.0, weight=9.0):
        super().__init__(student, teacher)
        self.temperature, self.weight = temperature, weight

    def forward(self, student, teacher, batch):
        z_s, z_t = (standardised(taps["head.cls"]) for taps in (student, teacher))
        return {"kl": self.weight * softmax_kl(z_s, z_t, self.temperature).mean()}


def standardised(z):
    """Logits (B, H, W, A, classes) as (B, classes, H W A), each row of mean 0 and deviation 1."""
    rows = z.flatten(1, 3).transpose(1, 2)
    centred = rows - rows.mean(-1, keepdim=True)
    return centred / (rows.std(-1, keepdim=True) + EPSILON)
