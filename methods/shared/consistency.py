"""Consistency of two detectors' boxes (SE-SSD): what `se-ssd` and `mean-teacher` share.

Of each frame take the anchors with a class score of at least `score`, of student and teacher. A
student's box s is matched with the teacher's t of the same class with the largest BEV IoU, if
that exceeds `overlap`. Over the P matched pairs of the batch,

    box   = w/P sum smoothL1( x, y, z, length, width, height and sin(heading) of s - t ) / 7
    score = w/P sum smoothL1( p_s - p_t )
    w     = exp( -5 (1 - min(1, progress / ramp))^2 )

Boxes are decoded: metres and radians. `progress` is the share of training that is done.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from kdbench.geometry.rotated_iou import BEV_COLUMNS
from kdbench.geometry.rotated_iou_torch import bev_iou
from kdbench.method import Method, Paper
from kdbench.ops.heads import code_difference
from kdbench.taps import Taps, TapSpecs

MOST = 512  # boxes of a frame that are matched: bounds the table of overlaps


class Consistency(Method):
    """Base of the methods that keep a student's boxes consistent with a teacher's."""

    needs = ("head.cls", "head.box")
    paper = Paper(
        "SE-SSD: Self-Ensembling Single-Stage Object Detector From Point Cloud",
        2021,
        "CVPR 2021, arXiv 2104.09804",
    )
    zero_when_equal = True
    deviations = (
        "the ramp of 15 of 60 epochs is a quarter of the training",
        "boxes match within a class: the paper detects cars alone",
        f"at most the {MOST} surest boxes of a frame: early on nearly all can pass the score",
        "no term for the IoU head, which the detectors do not have",
        "no shape-aware augmentation and no orientation-aware IoU loss: they belong to the "
        "student's training, and would change the baseline",
        "student and teacher see the same augmented frame, as everywhere in this benchmark",
    )

    def __init__(self, student, teacher, *, score=0.3, overlap=0.7, ramp=0.25, weight=1.0):
        super().__init__(student, teacher)
        self.score, self.overlap, self.ramp, self.weight = score, overlap, ramp, weight
        self.register_buffer("progress", torch.zeros(()))

    def forward(self, student, teacher, batch):
        (boxes_s, scores_s), (boxes_t, scores_t) = self._pairs(student, teacher)
        matched = max(1, len(scores_s))
        difference = code_difference(boxes_s, boxes_t)  # a box's columns are those of its code
        scale = self.weight * self._ramp() / matched
        self.logs["matched"] = torch.tensor(float(len(scores_s)))
        return {
            "box": scale * _smooth_l1(difference) / 7,
            "score": scale * _smooth_l1(scores_s - scores_t),
        }

    def after_step(self, student, teacher, step, steps):
        self.progress.fill_(step / steps)

    def _ramp(self) -> Tensor:
        done = (self.progress / max(self.ramp, 1e-9)).clamp(max=1)
        return torch.exp(-5 * (1 - done) ** 2)

    def _pairs(self, student, teacher):
        """Matched boxes (p, 7) and scores (p,) of the student, and of the teacher."""
        parts = []
        for frame in range(len(student["head.cls"])):
            s = confident(student, self.student_specs, frame, self.score)
            t = confident(teacher, self.teacher_specs, frame, self.score)
            mine, its = match(s, t, self.overlap)
            parts.append(((s[0][mine], s[1][mine]), (t[0][its], t[1][its])))
        return (
            tuple(torch.cat(x) for x in zip(*side, strict=True))
            for side in zip(*parts, strict=True)
        )


def confident(taps: Taps, specs: TapSpecs, frame: int, least: float):
    """Boxes (n, 7), scores (n,) and classes (n,) of a frame's anchors that score `least`."""
    scores, classes = taps["head.cls"][frame].sigmoid().flatten(0, 2).max(-1)
    top = scores.detach().topk(min(MOST, len(scores))).indices
    top = top[scores[top] >= least]
    boxes = specs["head.box"].decode(taps["head.box"][frame : frame + 1])[0].flatten(0, 2)
    return boxes[top], scores[top], classes[top]


@torch.no_grad()
def match(student, teacher, overlap: float) -> tuple[Tensor, Tensor]:
    """Indices (p,) of the student's boxes with a partner, and (p,) of their partners."""
    (boxes_s, _, classes_s), (boxes_t, _, classes_t) = student, teacher
    if not len(boxes_t):
        none = classes_s.new_zeros(0)
        return none, none
    iou = bev_iou(boxes_s[:, BEV_COLUMNS], boxes_t[:, BEV_COLUMNS])
    iou = iou * (classes_s[:, None] == classes_t)
    best, partner = iou.max(dim=1)
    mine = (best > overlap).nonzero().squeeze(1)
    return mine, partner[mine]


def _smooth_l1(difference: Tensor) -> Tensor:
    return F.smooth_l1_loss(difference, torch.zeros_like(difference), reduction="sum")
