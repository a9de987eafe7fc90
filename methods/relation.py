"""Inter-voxel affinity: the student's voxels resemble each other as the teacher's do.

    mean over frames of  1/n^2 sum_ij ( C_S,ij - C_T,ij )^2,     C_ij = cos(f_i, f_j)

over n voxels drawn at random from the frame, the same ones in both networks. Affinities have no
channels, so nothing is adapted.
"""

import torch
from torch.nn import functional as F

from kdbench.method import Method, Paper


class VoxelRelation(Method):
    """Options: `n` voxels of a frame, and `weight`."""

    name = "relation"
    needs = ("voxel",)
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

    def forward(self, student, teacher, batch):
        rows_s, rows_t = student["voxel"], teacher["voxel"]
        loss = rows_s.features.sum() * 0.0  # a cloud without voxels
        frames = _by_frame(rows_t.coordinates[:, 0])
        for rows in frames:
            # Drawn on the CPU, whose random state a checkpoint keeps.
            drawn = rows[torch.randperm(len(rows))[: self.n].to(rows.device)]
            affinity_s, affinity_t = (
                affinity(rows_s.features[drawn]),
                affinity(rows_t.features[drawn]),
            )
            loss = loss + F.mse_loss(affinity_s, affinity_t) / len(frames)
        return {"affinity": self.weight * loss}


def affinity(rows):
    """Cosines (n, n) between rows (n, C)."""
    unit = F.normalize(rows, dim=1)
    return unit @ unit.T


def _by_frame(frame):
    """Row indices of each frame that has any."""
    counts = torch.unique_consecutive(frame, return_counts=True)[1].tolist()
    return torch.arange(len(frame), device=frame.device).split(counts) if counts else []
