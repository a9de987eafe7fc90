"""WKD-F: inside an object, the student's features have the teacher's mean and spread.

    0.02 mean_i( 2 |mu_S,i - mu_T,i|^2 + |sigma_S,i - sigma_T,i|^2 )

mu and sigma (C) are mean and standard deviation over a grid of size x size points in box i: the
Wasserstein distance of two Gaussians with diagonal covariances, the means counting double. The
student's features go through a 1x1 adapter, trained with it.
"""

from math import inf

from kdbench.method import Method, Paper
from kdbench.ops.adapters import Adapter, set_identity
from kdbench.ops.regions import pool_boxes

EPSILON = 1e-5  # of variances


class WassersteinDistillation(Method):
    """Options: `size` of the grid, `mean_weight` (2) and `weight` (0.02), as published."""

    name = "wkd"
    neutral = {"adapter": "linear"}
    limits = {"size": (2, inf)}
    needs = ("neck",)
    paper = Paper(
        "Wasserstein Distance Rivals Kullback-Leibler Divergence for Knowledge Distillation",
        2024,
        "NeurIPS 2024, arXiv 2412.08139",
    )
    zero_when_equal = True
    deviations = (
        "over the insides of ground-truth boxes in place of proposals, which single-stage "
        "detectors do not have; over a whole map the moments would be the background's",
        "a linear adapter in place of one with batch norm and ReLU: taps of the neck are compared "
        "as they are by all methods here",
        "features alone; WKD-L compares classes by how alike they are, of which there are three",
    )

    def __init__(self, student, teacher, *, size=7, mean_weight=2.0, weight=0.02, adapter="linear"):
        super().__init__(student, teacher)
        self.size, self.mean_weight, self.weight = size, mean_weight, weight
        self.adapter = Adapter(student["neck"], teacher["neck"], adapter)

    def share_adapters(self):
        set_identity(self.adapter)

    def forward(self, student, teacher, batch):
        mu_s, sigma_s = self._moments(self.adapter(student["neck"]), batch)
        mu_t, sigma_t = self._moments(self.adapter.target(teacher["neck"]), batch)
        means = (mu_s - mu_t).square().sum()
        spreads = (sigma_s - sigma_t).square().sum()
        objects = max(1, len(mu_t))
        return {"wkd": self.weight * (self.mean_weight * means + spreads) / objects}

    def _moments(self, neck, batch):
        """Mean and standard deviation (M, C) of the features in all boxes of the batch."""
        pooled = pool_boxes(neck, batch.boxes, self.teacher_specs["neck"], self.size)
        features = pooled.flatten(1, 2)
        variance = features.var(1, correction=0)
        return features.mean(1), (variance + EPSILON).sqrt()
