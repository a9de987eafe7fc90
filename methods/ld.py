"""LD: the student's box distributions learn from the teacher's, where boxes matter.

    bins         distance = sum over coordinates of  T^2 KL( softmax(z_T / T) || softmax(z_S / T) )
    continuous   distance = sum_i ( code_S,i - code_T,i )^2 / (2 sigma^2)
    region loss  = mean of the distance over its anchors or points

The second is KL( N(code_T, sigma^2) || N(code_S, sigma^2) ): a continuous head gives no
distribution of its own, so each code is taken as the mean of one of fixed width.

    main      anchors, or points, where the teacher's best score reaches `score`
    valuable  other anchors whose overlap with a ground-truth box exceeds `gamma` times the
              largest overlap that this box has with any anchor; other points in a box
    cls       mean over both regions of T'^2 sum_c KL( p_T || p_S ),   p = sigmoid(z / T')
"""

import torch

from kdbench.method import Method, Paper
from kdbench.ops.anchors import near_objects
from kdbench.ops.heads import binary_kl, code_difference, softmax_kl
from kdbench.ops.roi_points import boxes_of_points
from kdbench.taps import Kind, find


class LocalisationDistillation(Method):
    """Options: `sigma` (in box codes), `score` and `gamma` (regions), weights `main`, `valuable`
    and `cls`, `bin_temperature` T, `temperature` T' of the class scores.

    gamma 0.25, the weights 0.25 of the regions, T = 10 and T' = 2 are published. `cls` is off
    unless asked for: on scores alone `kd` is the method.
    """

    name = "ld"
    needs = ("head.cls", "head.box|head.bins|head.residuals")
    paper = Paper(
        "Localization Distillation for Dense Object Detection", 2022, "CVPR 2022, arXiv 2102.12252"
    )
    zero_when_equal = True
    deviations = (
        "Gaussians of fixed width in place of softmax over bins where a head regresses continuous "
        "codes; a temperature would only be one more factor on them",
        "bins: residuals within a bin, height and size are not distilled, they have no bins",
        "points: the valuable region is the inside of the boxes",
        "the main region is where the teacher is sure, in place of the positive anchors, which "
        "every detector assigns by its own rules",
        "valuable anchors by IoU seen from above, relative to a box's best anchor, in place of "
        "DIoU relative to the matching threshold, which differs from class to class",
        "a head without anchors: the box itself, moved to the cell, takes the anchor's place",
        "headings by the sine of their difference, as detection losses have them",
    )

    def __init__(
        self, student, teacher, *,
        sigma=0.5, score=0.3, gamma=0.25, main=0.25, valuable=0.25, cls=0.0,
        bin_temperature=10.0, temperature=2.0,
    ):  # fmt: skip
        super().__init__(student, teacher)
        self.sigma, self.score, self.gamma = sigma, score, gamma
        self.main, self.valuable, self.cls = main, valuable, cls
        self.bin_temperature, self.temperature = bin_temperature, temperature
        self.tap = find(self.needs[1], student)[0]
        self.kind = student[self.tap].kind

    def forward(self, student, teacher, batch):
        main, valuable = self._regions(teacher, batch.boxes)
        distance = self._distance(student, teacher)
        terms = {
            "main": self.main * _mean(distance, main),
            "valuable": self.valuable * _mean(distance, valuable),
        }
        if self.cls:
            z_s, z_t = student["head.cls"], teacher["head.cls"]
            classes = binary_kl(z_s, z_t, self.temperature).sum(-1)
            terms["cls"] = self.cls * _mean(classes, main | valuable)
        return terms

    def _distance(self, student, teacher):
        """Of the box distributions: (B, H, W, A)."""
        codes = student[self.tap], teacher[self.tap]
        if self.kind is not Kind.BINS:
            difference = code_difference(*codes)
            return difference.square().sum(-1) / (2 * self.sigma**2)
        bins = self.teacher_specs[self.tap].bins
        z_s, z_t = (x[..., : sum(bins)].split(bins, -1) for x in codes)
        return sum(softmax_kl(s, t, self.bin_temperature) for s, t in zip(z_s, z_t, strict=True))

    @torch.no_grad()
    def _regions(self, teacher, boxes):
        """Main and valuable anchors or points, (B, H, W, A) bool each; none is in both."""
        main = teacher["head.cls"].sigmoid().amax(-1) >= self.score
        if self.kind is Kind.BOX:
            near = near_objects(teacher[self.tap], self.teacher_specs[self.tap], boxes, self.gamma)
        else:
            near = _inside(teacher["points"].positions, boxes).view_as(main)
        return main, near & ~main


def _inside(positions, boxes):
    """Whether points, as many a frame, are in a box (a frame: (m, 7)) of theirs: (n,) bool."""
    frames = positions.view(len(boxes), -1, 3)
    return torch.cat([boxes_of_points(p, b) >= 0 for p, b in zip(frames, boxes, strict=True)])


def _mean(x, region):
    """Mean of x in a region of the same shape; 0 where the region is empty."""
    return (x * region).sum() / region.sum().clamp(min=1)
