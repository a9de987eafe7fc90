"""Label KD: what the teacher is sure of, and nobody labelled, becomes a label.

A teacher's detection of class c joins the ground truth of its frame when its score is above
`scores[c]` and it touches no labelled box seen from above. The student's detection loss then
assigns anchors and learns boxes from both; there is no loss term of its own.
"""

from dataclasses import replace

import torch

from kdbench.geometry.rotated_iou import BEV_COLUMNS
from kdbench.geometry.rotated_iou_torch import bev_iou
from kdbench.method import Method, Paper


class LabelKD(Method):
    """Option: `scores`, for each class in the data set's order; the last one goes on."""

    name = "label-kd"
    needs = ("head.cls", "head.box")
    paper = Paper(
        "Towards Efficient 3D Object Detection with Knowledge Distillation",
        2022,
        "NeurIPS 2022, arXiv 2205.15156",
    )
    teaches_by_loss = False
    deviations = (
        "scores of 0.6, 0.5 and 0.5 for KITTI's classes: the authors' for their pillar detector",
        "boxes that overlap a label are left out, so that no object is labelled twice",
    )

    def __init__(self, student, teacher, *, scores=(0.6, 0.5, 0.5)):
        super().__init__(student, teacher)
        self.scores = list(scores)

    @torch.no_grad()
    def relabel(self, batch, teacher, taps):
        added = [
            self._unlabelled(found, boxes)
            for found, boxes in zip(teacher.predict(taps), batch.boxes, strict=True)
        ]
        self.logs["labels_added"] = torch.tensor(sum(len(labels) for _, labels in added))
        pairs = list(zip(batch.boxes, batch.labels, added, strict=True))
        return replace(
            batch,
            boxes=[torch.cat([boxes, more.to(boxes)]) for boxes, _, (more, _) in pairs],
            labels=[torch.cat([labels, more.to(labels)]) for _, labels, (_, more) in pairs],
        )

    def _unlabelled(self, found, boxes):
        """Boxes (n, 7) and labels (n,) of the sure detections that touch none of `boxes`."""
        least = found.scores.new_tensor(self.scores)
        sure = found.scores > least[found.labels.clamp(max=len(least) - 1)]
        iou = bev_iou(found.boxes[:, BEV_COLUMNS], boxes[:, BEV_COLUMNS])
        keep = sure & ~(iou > 0).any(dim=1)
        return found.boxes[keep], found.labels[keep]

    def forward(self, student, teacher, batch):
        return {}
