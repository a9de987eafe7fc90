"""CaKDP, its distillation: a two-stage teacher judges the boxes that the student is sure of.

    cls = w sum_i ( max_c p_S,i - q_i )^2 / max(1, n)

over n boxes i of the batch: those of the student with a score above `score`, after NMS. q is the
score that the teacher's second stage gives the box, p = sigmoid(z) the student's.
"""

import torch

from kdbench.method import Method, Paper
from kdbench.ops.anchors import has_anchors, proposals


class CaKDP(Method):
    """Options: least `score` of a box (0.25, published) and `centre_score` (0.1) for heads without
    anchors; at most `count` boxes a frame, after NMS at a BEV IoU of `overlap`; `weight`.
    """

    name = "cakdp"
    limits = {
        "score": (0, 1), "centre_score": (0, 1), "overlap": (0, 1), "count": (1, 10_000),
    }  # fmt: skip
    needs = ("head.cls", "head.box")
    teacher_needs = ("judge",)
    paper = Paper(
        "CaKDP: Category-aware Knowledge Distillation and Pruning Framework for Lightweight 3D "
        "Object Detection",
        2024,
        "CVPR 2024",
    )
    deviations = (
        "the student's own boxes are judged, not the teacher's at the same anchors: a teacher of "
        "points has none",
        "headings come without the direction classifier, so that a box may be half a turn off",
        "NMS at 0.7 leaves at most 100 boxes a frame; the pruning of the paper is left out",
    )

    def __init__(
        self, student, teacher, *,
        score=0.25, centre_score=0.1, overlap=0.7, count=100, weight=1.0,
    ):  # fmt: skip
        super().__init__(student, teacher)
        self.score = score if has_anchors(student["head.box"]) else centre_score
        self.overlap, self.count, self.weight = overlap, count, weight

    def forward(self, student, teacher, batch):
        scores = student["head.cls"].sigmoid().amax(-1).flatten(1)  # (B, anchors)
        boxes = self.student_specs["head.box"].decode(student["head.box"].detach()).flatten(1, 3)
        chosen = [self._chosen(*frame) for frame in zip(boxes, scores.detach(), strict=True)]
        judged = teacher["judge"]([b[i] for b, i in zip(boxes, chosen, strict=True)])
        own = torch.cat([s[i] for s, i in zip(scores, chosen, strict=True)])
        self.logs["boxes_judged"] = torch.tensor(len(own))
        return {"cls": self.weight * (own - torch.cat(judged)).square().sum() / max(1, len(own))}

    def _chosen(self, boxes, scores):
        """Indices of one frame's boxes (n, 7) that are judged."""
        sure = torch.nonzero(scores > self.score).squeeze(1)
        return sure[proposals(boxes[sure], scores[sure], self.count, self.overlap)]
