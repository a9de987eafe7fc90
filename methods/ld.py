"""LD: the student's box distributions learn from the teacher's, where boxes matter.

    region loss = mean over its anchors of  sum_i ( code_S,i - code_T,i )^2 / (2 sigma^2)

This is KL( N(code_T, sigma^2) || N(code_S, sigma^2) ) of the box codes: a continuous head gives
no distribution of its own, so each code is taken as the mean of one of fixed width.

    main      anchors where the teacher's best score reaches `score`
    valuable  other anchors whose overlap with a ground-truth box exceeds `gamma` times the
              largest overlap that this box has with any anchor
    cls       mean over both regions of T^2 sum_c KL( p_T || p_S ),   p = sigmoid(z / T)
"""

import torch

from kdbench.method import Method, Paper
from kdbench.ops.anchors import near_objects
from kdbench.ops.heads import binary_kl, code_difference


class LocalisationDistillation(Method):
    """Options: `sigma` (in box codes), `score` and `gamma` (regions), weights `main`, `valuable`
    and `cls`, `temperature` T of the class scores.

    gamma 0.25, the weights 0.25 of the regions and T = 2 are published. `cls` is off unless
    asked for: on scores alone `kd` is the method.
    """

    name = "ld"
    needs = ("head.cls", "head.box")
    paper = Paper(
        "Localization Distillation for Dense Object Detection", 2022, "CVPR 2022, arXiv 2102.12252"
    )
    zero_when_equal = True
    deviations = (
        "Gaussians of fixed width in place of softmax over bins: the heads regress continuous "
        "codes; the published form needs a head with bins, for which there is no tap",
        "the temperature 10 of the bins is gone: on Gaussians it is one more factor",
        "the main region is where the teacher is sure, in place of the positive anchors, which "
        "every detector assigns by its own rules",
        "valuable anchors by IoU seen from above, relative to a box's best anchor, in place of "
        "DIoU relative to the matching threshold, which differs from class to class",
        "a head without anchors: the box itself, moved to the cell, takes the anchor's place",
        "headings by the sine of their difference, as detection losses have them",
    )

    def __init__(
        self, student, teacher, *,
        sigma=0.5, score=0.3, gamma=0.25, main=0.25, valuable=0.25, cls=0.0, temperature=2.0,
    ):  # fmt: skip
        super().__init__(student, teacher)
        self.sigma, self.score, self.gamma = sigma, score, gamma
        self.main, self.valuable, self.cls, self.temperature = main, valuable, cls, temperature

    def forward(self, student, teacher, batch):
        main, valuable = self._regions(teacher, batch.boxes)
        difference = code_difference(student["head.box"], teacher["head.box"])
        distance = difference.square().sum(-1) / (2 * self.sigma**2)
        terms = {
            "main": self.main * _mean(distance, main),
            "valuable": self.valuable * _mean(distance, valuable),
        }
        if self.cls:
            z_s, z_t = student["head.cls"], teacher["head.cls"]
            classes = binary_kl(z_s, z_t, self.temperature).sum(-1)
            terms["cls"] = self.cls * _mean(classes, main | valuable)
        return terms

    @torch.no_grad()
    def _regions(self, teacher, boxes):
        """Main and valuable anchors, (B, H, W, A) bool each; no anchor is in both."""
        main = teacher["head.cls"].sigmoid().amax(-1) >= self.score
        codes, spec = teacher["head.box"], self.teacher_specs["head.box"]
        return main, near_objects(codes, spec, boxes, self.gamma) & ~main


def _mean(x, region):
    """Mean of x in a region of the same shape; 0 where the region is empty."""
    return (x * region).sum() / region.sum().clamp(min=1)
