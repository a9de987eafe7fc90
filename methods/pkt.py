"""PKT: each object's chances of having the others as its neighbours are the teacher's.

    mean_i sum_j p_T,ij log(p_T,ij / p_S,ij),   p_ij = k_ij / sum_{l != i} k_il,   p_ii = 0
    k_ij = (cos(e_i, e_j) + 1) / 2

e (M, C) are the neck's features inside each labelled box, their mean. A batch with fewer than
three boxes, which leave no choice of neighbour, gives features at positions drawn at random.
Affinities have no channels, so nothing is adapted.
"""

import torch
from torch.nn import functional as F

from kdbench.method import Method, Paper
from kdbench.ops.embeddings import draw_places, embed_boxes, take

EPSILON = 1e-7


class ProbabilisticTransfer(Method):
    """Options: `n` (positions a frame where there are too few boxes) and `weight`.

    `weight` 470 is 30000 / 64: RepDistiller's for the mean over 64 x 64 affinities, here for the
    mean over rows.
    """

    name = "pkt"
    needs = ("neck",)
    paper = Paper(
        "Learning Deep Representations with Probabilistic Knowledge Transfer",
        2018,
        "ECCV 2018, arXiv 1803.10837",
    )
    zero_when_equal = True
    deviations = (
        "an instance is a labelled box, not an image: the paper retrieves images",
        "positions of the map where a batch has fewer than three boxes: the loss never vanishes",
    )

    def __init__(self, student, teacher, *, n=64, weight=470.0):
        super().__init__(student, teacher)
        self.n, self.weight = n, weight

    def forward(self, student, teacher, batch):
        if sum(map(len, batch.boxes)) >= 3:
            e_s = embed_boxes(student["neck"], batch.boxes, self.student_specs["neck"])
            e_t = embed_boxes(teacher["neck"], batch.boxes, self.teacher_specs["neck"])
        else:
            places = draw_places(teacher["neck"], self.n)
            e_s, e_t = (torch.cat(take(taps["neck"], places)) for taps in (student, teacher))
        p_s, p_t = neighbour_chances(e_s), neighbour_chances(e_t)
        divergence = (p_t * ((p_t + EPSILON) / (p_s + EPSILON)).log()).sum(1).mean()
        return {"affinity": self.weight * divergence}


def neighbour_chances(x):
    """(M, M) from rows (M, C): each row sums to 1, the diagonal is 0."""
    x = F.normalize(x, dim=1)
    affinity = (x @ x.T + 1) / 2
    affinity = affinity * (1 - torch.eye(len(x), dtype=x.dtype, device=x.device))
    return affinity / affinity.sum(1, keepdim=True).clamp(min=EPSILON)
