"""A second stage that judges any boxes, not its own proposals alone."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from kdbench.detectors.layers import rcnn_head
from kdbench.detectors.layers.roi_sampling import collect


@dataclass(frozen=True)
class RoiJudge:
    """Boxes to scores, by the second stage over the points and features of the first."""

    xyz: Tensor  # (B, N, 3)
    features: Tensor  # (B, N, C)
    scores: Tensor  # (B, N) of the first stage
    refine: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # to logits (r,) and codes
    count: int  # points of a box
    margin: float  # metres around it

    @torch.no_grad()
    def __call__(self, boxes: list[Tensor]) -> list[Tensor]:
        """Scores (m,) from 0 to 1 of each frame's boxes (m, 7); 0 of a box without points."""
        labels = [box.new_zeros(len(box), dtype=torch.long) for box in boxes]
        rois = collect(boxes, labels, [box.new_zeros(len(box)) for box in boxes])
        cloud = self.xyz, self.features, self.scores, self.count, self.margin
        *pooled, filled = rcnn_head.pool(rois, *cloud)
        logits, _ = self.refine(*pooled)
        found = logits.float().sigmoid() * filled
        return list(found.split([len(box) for box in boxes]))
