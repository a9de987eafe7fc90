"""RKD: distances and angles between objects are as the teacher has them.

    distance * mean_{i != j} h(d_S,ij - d_T,ij),       d_ij = |e_i - e_j| / mean of these
    angle * mean_{i != j != k} h(a_S,ijk - a_T,ijk),   a_ijk = cos of the angle at j

h is the Huber loss with delta 1; e (M, C) are the neck's features inside each labelled box, their
mean. Neither relation has channels, so nothing is adapted.
"""

import torch
from torch.nn import functional as F

from kdbench.method import Method, Paper
from kdbench.ops.embeddings import embed_boxes


class RelationalDistillation(Method):
    """Options: weights `distance` (25) and `angle` (50: the paper's), `n` (boxes at most)."""

    name = "rkd"
    needs = ("neck",)
    paper = Paper("Relational Knowledge Distillation", 2019, "CVPR 2019, arXiv 1904.05068")
    zero_when_equal = True
    deviations = (
        "an instance is a labelled box, not an image: the paper classifies and retrieves images",
        "at most n boxes of a batch, drawn anew in each step: angles are between any three",
        "means go over different boxes only, not over i = j, where there is nothing to learn",
    )

    def __init__(self, student, teacher, *, distance=25.0, angle=50.0, n=128):
        super().__init__(student, teacher)
        self.distance, self.angle, self.n = distance, angle, n

    def forward(self, student, teacher, batch):
        e_s = embed_boxes(student["neck"], batch.boxes, self.student_specs["neck"])
        e_t = embed_boxes(teacher["neck"], batch.boxes, self.teacher_specs["neck"])
        drawn = torch.randperm(len(e_s))[: self.n].to(e_s.device)
        distance_s, angle_s = relations(e_s[drawn])
        distance_t, angle_t = relations(e_t[drawn])
        m = len(drawn)
        # Where i = j or j = k or i = k both relations are constant, and add nothing to the sums.
        pairs, triplets = m * (m - 1), m * (m - 1) * (m - 2)
        return {
            "distance": self.distance * _huber(distance_s, distance_t) / max(1, pairs),
            "angle": self.angle * _huber(angle_s, angle_t) / max(1, triplets),
        }


def relations(x):
    """Relative distances (M, M) and cosines of angles (M, M, M), first at j, of rows (M, C)."""
    m = len(x)
    difference = x.unsqueeze(0) - x.unsqueeze(1)
    # The norm's gradient is 0 where the difference is.
    distance = torch.linalg.vector_norm(difference, dim=2)
    mean = distance.sum() / max(1, m * (m - 1))
    direction = F.normalize(difference, dim=2)
    return distance / mean.clamp(min=1e-12), direction @ direction.transpose(1, 2)


def _huber(x, y):
    return F.smooth_l1_loss(x, y, reduction="sum")
