"""PointRCNN's second stage: each proposal's points, in its own frame, to a score and a box.

Shi et al., sections 3.3 and 3.4; the layers are those of the authors' code.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdbench.detectors.layers.corner_loss import corner_loss
from kdbench.detectors.layers.point_head import branch
from kdbench.detectors.layers.pointnet2 import SetAbstraction, SharedMlp
from kdbench.detectors.layers.roi_sampling import FOREGROUND, Rois
from kdbench.ops.point_grouping import ball_query, gather_rows
from kdbench.ops.point_sampling import farthest_points
from kdbench.ops.roi_points import enlarge, roi_points, to_canonical

LOCAL = 5  # x, y, z in the RoI's frame, first-stage score, distance from the sensor
UP, MERGE = (128, 128), (128,)
# Set abstractions: radius (m) among POOLED points of a RoI, neighbours, channels.
STAGES = (
    (0.2, 16, (128, 128, 128)),
    (0.4, 16, (128, 128, 256)),
)
POOLED, CENTRES = 512, (128, 32)
WHOLE = (256, 256, 512)  # the last one, over all points that are left
HIDDEN = (256, 256)
MARGIN = 1.0  # metres around a proposal from which its points are taken
FARTHEST = 70.0  # metres: the unit of distances from the sensor
POSITIVE, NEGATIVE = 0.6, 0.45  # 3D IoU from which, and below which, a RoI is an object or none
SURE, NONE = 0.7, 0.25  # in the release: from 0 at NONE, a RoI's target grows to 1 at SURE


@dataclass(frozen=True)
class Refinement:
    """What the second stage makes of its proposals."""

    rois: Rois
    cls: Tensor  # (r,) logits
    codes: Tensor  # (r, channels) of the second stage's coder
    filled: Tensor  # (r,) bool: whether a proposal has points
    frames: Tensor  # (B,) bool: whether a frame has points


def pool(
    rois: Rois, xyz: Tensor, rows: Tensor, scores: Tensor, count: int, margin: float = MARGIN
) -> tuple[Tensor, Tensor, Tensor]:
    """`count` points in and around each RoI: (R, count, LOCAL), their features, and if any.

    Around a RoI is up to `margin` metres beyond each face.
    Takes all points (B, N, 3) with features (B, N, C) and first-stage scores (B, N). A RoI
    without points gets zeros.
    """
    found = [roi_points(xyz[i], enlarge(rois.of(i)[0], margin), count) for i in range(len(xyz))]
    index, inside = (torch.cat(parts) for parts in zip(*found, strict=True))
    index = index + (rois.frame * xyz.shape[1]).unsqueeze(1)
    points, features, score = (x.flatten(0, 1)[index] for x in (xyz, rows, scores))
    distance = points.norm(dim=-1) / FARTHEST - 0.5
    own = to_canonical(points, rois.boxes.unsqueeze(1))
    local = torch.cat([own, score.unsqueeze(-1), distance.unsqueeze(-1)], dim=-1)
    filled = inside > 0
    there = filled[:, None, None]
    return local * there, features * there, filled


class RefinementHead(nn.Module):
    """A small PointNet++ over a RoI's points. `width` maps published channels to those to use.

    `centres` is how many points each set abstraction keeps. `released` learns as PointDistiller's
    release does: from graded scores, and from corners.
    """

    def __init__(
        self, inputs: int, width, coder, momentum: float, centres=CENTRES, released: bool = False
    ):
        super().__init__()
        self.coder, self.centres, self.released = coder, tuple(centres), released

        def widths(published):
            return [width(w) for w in published]

        self.up = SharedMlp([LOCAL, *widths(UP)], momentum)
        self.merge = SharedMlp([width(UP[-1]) + inputs, *widths(MERGE)], momentum)
        channels = width(MERGE[-1])
        self.stages = nn.ModuleList()
        for *_, published in STAGES:
            self.stages.append(SetAbstraction(channels, [widths(published)], momentum))
            channels = self.stages[-1].channels
        self.whole = SharedMlp([channels + 3, *widths(WHOLE)], momentum)
        self.cls = branch(width(WHOLE[-1]), widths(HIDDEN), 1, momentum)
        self.box = branch(width(WHOLE[-1]), widths(HIDDEN), coder.channels, momentum)
        nn.init.normal_(self.box[-1].weight, std=0.001)

    def forward(self, local: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Points (R, P, LOCAL) with features (R, P, C) to logits (R,) and codes (R, channels)."""
        xyz = local[..., :3]
        # Of fewer points on the same surface each is farther from the next.
        spread = max(1.0, POOLED / local.shape[1]) ** 0.5
        rows = self.merge(torch.cat([self.up(local), rows], dim=-1))
        levels = zip(self.centres, STAGES, self.stages, strict=True)
        for number, (radius, count, _), stage in levels:
            kept = farthest_points(xyz, min(number, xyz.shape[1]))
            centres = gather_rows(xyz, kept)
            group = ball_query(centres, xyz, radius * spread, count)
            rows = stage(rows, xyz, centres, [group])
            xyz = centres
        rows = self.whole.pool(torch.cat([xyz, rows], dim=-1))
        return self.cls(rows).squeeze(-1), self.box(rows)

    def loss(self, cls, codes, local_boxes, sizes, iou, filled) -> dict[str, Tensor]:
        """Binary cross-entropy over RoIs, the coder's loss over those on objects; means.

        For each RoI: its object in its frame (R, 7), the size that codes are relative to (R, 3),
        their 3D IoU (R,), and whether it has points (R,); without points it does not count.
        """
        target, sure = self._targets(iou)
        sure = sure & filled
        entropy = F.binary_cross_entropy_with_logits(cls, target.to(cls), reduction="none")
        on = filled & (iou >= FOREGROUND)
        codes, boxes, sizes, count = codes[on], local_boxes[on], sizes[on], on.sum().clamp(min=1)
        losses = {
            "roi_cls": entropy[sure].sum() / sure.sum().clamp(min=1),
            "roi_box": self.coder.loss(codes, boxes, sizes).sum() / count,
        }
        if self.released:
            refined = self.coder.decode(codes, sizes)
            losses["roi_corners"] = corner_loss(refined, boxes).sum() / count
        return losses

    def _targets(self, iou: Tensor) -> tuple[Tensor, Tensor]:
        """Of RoIs with an IoU (R,): what their scores should be, and which of them count."""
        if self.released:
            return ((iou - NONE) / (SURE - NONE)).clamp(0, 1), iou >= 0  # all count
        return iou >= POSITIVE, (iou >= POSITIVE) | (iou < NEGATIVE)
