"""Proposals of a first stage, which of them a second stage learns from, and what it should say."""

from dataclasses import dataclass

import torch
from torch import Tensor

from kdbench.geometry.nms import rotated_nms
from kdbench.geometry.rotated_iou import BEV_COLUMNS
from kdbench.geometry.rotated_iou_torch import bev_iou

# 3D IoU with an object: from FOREGROUND on a proposal is one for sampling and box regression;
# below EASY it is easy background, of which less is needed (PointRCNN, section 3.4 and code).
FOREGROUND, EASY = 0.55, 0.05
FOREGROUND_SHARE, HARD_SHARE = 0.5, 0.8
COPIES, SHIFT, STRETCH, TWIST = 1, 0.1, 0.1, 0.15  # of proposals: shares of their size; radians


@dataclass(frozen=True)
class Rois:
    """Regions of interest of a batch, sorted by frame."""

    boxes: Tensor  # (r, 7) LiDAR frame
    labels: Tensor  # (r,) int64 class
    scores: Tensor  # (r,) of the first stage
    frame: Tensor  # (r,) int64

    def of(self, frame: int) -> tuple[Tensor, Tensor]:
        """Boxes and classes of one frame."""
        mine = self.frame == frame
        return self.boxes[mine], self.labels[mine]


def collect(boxes: list[Tensor], labels: list[Tensor], scores: list[Tensor]) -> Rois:
    """The RoIs of boxes (a frame: (r, 7)), their classes and scores (a frame: (r,))."""
    counts = torch.tensor([len(b) for b in boxes], device=boxes[0].device)
    frame = torch.arange(len(boxes), device=counts.device).repeat_interleave(counts)
    return Rois(torch.cat(boxes), torch.cat(labels), torch.cat(scores), frame)


def propose(boxes, scores, labels, filled, before: int, after: int, threshold: float) -> Rois:
    """The best of each frame's boxes (B, N, 7) with scores and classes (B, N), after NMS.

    NMS of all classes together, at a BEV IoU of `threshold`, sees `before` boxes a frame and
    leaves `after`. Frames that are not `filled` (B,) have none.
    """
    kept = []
    for b, s, there in zip(boxes, scores, filled.tolist(), strict=True):
        top = s.topk(min(before, len(s)) if there else 0).indices
        kept.append(top[rotated_nms(b[top], s[top], threshold, after)])
    columns = (boxes, labels, scores)
    return collect(*([x[i] for x, i in zip(column, kept, strict=True)] for column in columns))


def sample(rois: Rois, boxes, labels, count: int, generators) -> Rois:
    """At most `count` RoIs a frame to learn from, half of them on objects where there are enough.

    `boxes` and `labels` are the objects, a frame each. Proposals are joined by jittered copies of
    theirs. (Not by copies of the objects: those on hardly seen objects teach that a proposal of
    the first stage's surest points is a bad one.) Draws from the generators (of the CPU), a frame
    each.
    """
    chosen = []
    for i, (objects, classes, generator) in enumerate(zip(boxes, labels, generators, strict=True)):
        mine, names = rois.of(i)
        mine = torch.cat([mine, jittered(mine, generator)])
        names, scores = (x.repeat(1 + COPIES) for x in (names, rois.scores[rois.frame == i]))
        iou = best_object(mine, names, objects, classes)[0]
        index = _choose(iou.cpu(), count, generator).to(mine.device)
        chosen.append((mine[index], names[index], scores[index]))
    return collect(*map(list, zip(*chosen, strict=True)))


def _choose(iou: Tensor, count: int, generator) -> Tensor:
    """Indices of the RoIs to learn from: foreground, then hard and easy background."""
    order = torch.randperm(len(iou), generator=generator)
    iou = iou[order]
    foreground = order[iou >= FOREGROUND]
    hard = order[(iou < FOREGROUND) & (iou >= EASY)]
    easy = order[iou < EASY]
    foreground = foreground[: max(round(count * FOREGROUND_SHARE), count - len(hard) - len(easy))]
    left = count - len(foreground)
    hard = hard[: max(round(left * HARD_SHARE), left - len(easy))]
    return torch.cat([foreground, hard, easy[: left - len(hard)]])


def jittered(boxes: Tensor, generator: torch.Generator) -> Tensor:
    """COPIES of boxes (m, 7), each moved, stretched and turned a little: (COPIES * m, 7)."""
    boxes = boxes.repeat(COPIES, 1)
    noise = (2 * torch.rand(boxes.shape, generator=generator) - 1).to(boxes)
    centre = boxes[:, :3] + SHIFT * noise[:, :3] * boxes[:, 3:6]
    size = boxes[:, 3:6] * (1 + STRETCH * noise[:, 3:6])
    return torch.cat([centre, size, boxes[:, 6:] + TWIST * noise[:, 6:]], dim=1)


def match(rois: Rois, boxes: list[Tensor], labels: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The object (r, 7) that each RoI fits best, of its class and frame, and their 3D IoU (r,).

    `boxes` and `labels` are the objects, a frame each. Where the IoU is 0 the object is the RoI.
    """
    found = []
    for i, (objects, classes) in enumerate(zip(boxes, labels, strict=True)):
        mine, names = rois.of(i)
        iou, index = best_object(mine, names, objects, classes)
        hit = iou > 0
        target = mine.clone()
        target[hit] = objects[index[hit]].to(mine)
        found.append((target, iou))
    target, iou = (torch.cat(parts) for parts in zip(*found, strict=True))
    return target, iou


def best_object(rois: Tensor, names: Tensor, boxes: Tensor, labels: Tensor):
    """3D IoU (r,) of RoIs (r, 7) with the object (m, 7) of their class they fit best, and which.

    Which is an index (r,) into `boxes`; 0 where the IoU is 0.
    """
    if len(boxes) == 0:
        return rois.new_zeros(len(rois)), names.new_zeros(len(rois))
    same = names.unsqueeze(1) == labels
    iou, index = (iou_3d(rois, boxes).to(rois) * same).max(dim=1)
    return iou, index


def iou_3d(a: Tensor, b: Tensor) -> Tensor:
    """3D intersection over union (n, m), float64, of boxes a (n, 7) and b (m, 7), any device."""
    a, b = a.double(), b.double()
    flat = bev_iou(a[:, BEV_COLUMNS], b[:, BEV_COLUMNS])
    areas = a[:, None, 3:5].prod(-1) + b[:, 3:5].prod(-1)
    top = torch.minimum((a[:, 2] + a[:, 5] / 2).unsqueeze(1), b[:, 2] + b[:, 5] / 2)
    bottom = torch.maximum((a[:, 2] - a[:, 5] / 2).unsqueeze(1), b[:, 2] - b[:, 5] / 2)
    # shared / (A + B - shared) = flat  =>  shared = flat (A + B) / (1 + flat)
    shared = flat * areas / (1 + flat) * (top - bottom).clamp(min=0)
    union = a[:, None, 3:6].prod(-1) + b[:, 3:6].prod(-1) - shared
    return torch.where(shared > 0, shared / union, 0.0)
