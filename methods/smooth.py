"""Control: the labels, softened as the teacher's outputs are, in the teacher's place.

    sum_a,c w ( Q(t', p_S) - Q(t, p_S) ),   Q(t, p) = |t - p|^2 BCE(p, t)
    t' = 1 - e where t = 1,  e / C where t = 0

over scores p_S of C classes; t and w are targets and weights of the student's own detection loss,
which asks sum w Q(t, p_S), so that both together ask for the softened targets alone. Of a batch, e
in [0, 1/2] is such that the mean entropy of t' is that of the teacher's scores: one number is all
that the teacher says. What a method gains beyond this comes from what a teacher knows.
"""

import torch

from kdbench.errors import NotApplicable
from kdbench.method import Method, Paper
from kdbench.ops.heads import focal

SOFTEST = 0.5  # e at which a positive target says nothing
HALVINGS = 30  # of the interval in which e lies


class LabelSmoothing(Method):
    """It has no option but the factor on its loss; below 1 the targets are softened in part."""

    name = "smooth"
    needs = ("head.cls",)
    paper = Paper(
        "Revisiting Knowledge Distillation via Label Smoothing Regularization",
        2020,
        "CVPR 2020, arXiv 1909.11723",
    )
    deviations = (
        "a control that the paper argues for, not its method: e is that of the teacher's entropy",
        "scores are sigmoids: a target of 1 becomes 1 - e and each of 0 e / C, background too",
        "the focal loss in its quality form, which is least at a soft target",
        "PointRCNN: the scores of its first stage alone",
    )

    def __init__(self, student, teacher):
        super().__init__(student, teacher)
        if student["head.cls"].asked is None:
            raise NotApplicable(
                "method 'smooth': the head does not say what is `asked` of its scores"
            )

    def forward(self, student, teacher, batch):
        logits, spec = student["head.cls"], self.student_specs["head.cls"]
        targets, weights = spec.asked(student, batch)
        counted = weights > 0
        share = (counted * targets).sum() / counted.sum().clamp(min=1)
        entropy = mean_entropy(teacher["head.cls"].sigmoid(), counted)
        e = softness(entropy, share, spec.channels).to(targets)
        self.logs["softness"] = e
        soft = torch.where(targets == 1, 1 - e, e / spec.channels)
        return {"smooth": focal(logits, soft, weights) - focal(logits, targets, weights)}


def binary_entropy(p):
    """Of each probability, in nats."""
    return torch.special.entr(p) + torch.special.entr(1 - p)


def mean_entropy(p, counted):
    """The mean entropy of the probabilities that are counted; 0 where none is."""
    return (binary_entropy(p) * counted).sum() / counted.sum().clamp(min=1)


def softness(entropy, share, classes):
    """The e at which targets, of which a `share` is 1, have this mean entropy; by bisection.

    It grows with e. Where even SOFTEST is not enough, that is the answer.
    """
    low = torch.zeros_like(entropy, dtype=torch.float64)
    high = torch.full_like(low, SOFTEST)
    for _ in range(HALVINGS):
        e = (low + high) / 2
        found = share * binary_entropy(1 - e) + (1 - share) * binary_entropy(e / classes)
        less = found < entropy
        low, high = torch.where(less, e, low), torch.where(less, high, e)
    return (low + high) / 2
