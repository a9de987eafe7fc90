"""Inter-voxel affinity: the student's voxels (or points) resemble each other as the teacher's do.

    mean over frames of  1/n^2 sum_ij ( C_S,ij - C_T,ij )^2,     C_ij = cos(f_i, f_j)

over n voxels drawn at random from the frame, the same ones in both networks. Affinities have no
channels, so nothing is adapted.
"""

from math import inf

from torch.nn import functional as F

from kdbench.method import Method, Paper
from kdbench.ops.embeddings import draw_places, take
from kdbench.taps import find


class VoxelRelation(Method):
    """Options: `n` voxels, or points, of a frame, and `weight`."""

    name = "relation"
    limits = {"n": (1, inf)}
    needs = ("voxel|points",)
    paper = Paper(
        "Point-to-Voxel Knowledge Distillation for LiDAR Semantic Segmentation",
        2022,
        "CVPR 2022, arXiv 2206.02099",
    )
    zero_when_equal = True
    deviations = (
        "the inter-voxel part alone: detectors have no class logits for each point or voxel",
        "voxels are drawn from the whole frame and uniformly; the paper draws supervoxels, more "
        "of the distant and of rare classes, by labels for each point that boxes do not give",
        "n = 512 and weight 1 are choices of this port",
    )

    def __init__(self, student, teacher, *, n=512, weight=1.0):
        super().__init__(student, teacher)
        self.n, self.weight = n, weight
        (self.tap,) = find(self.needs[0], student)

    def forward(self, student, teacher, batch):
        places = draw_places(teacher[self.tap], self.n)
        loss = student[self.tap].features.sum() * 0.0  # a cloud without voxels
        frames = (take(taps[self.tap], places) for taps in (student, teacher))
        for rows_s, rows_t in zip(*frames, strict=True):
            loss = loss + F.mse_loss(affinity(rows_s), affinity(rows_t)) / len(places)
        return {"affinity": self.weight * loss}


def affinity(rows):
    """Cosines (n, n) between rows (n, C)."""
    unit = F.normalize(rows, dim=1)
    return unit @ unit.T
