"""Anchors and proposals as a method sees them: from the taps of a head alone.

The code of a box with 7 numbers is its offset to an anchor. A head with more regresses the box
itself, at the cell of its centre: it has no anchors, and one place a cell.
"""

import math

import torch
from torch import Tensor

from kdbench.geometry.boxes import BOX_COLUMNS
from kdbench.geometry.nms import rotated_nms
from kdbench.ops.bev_iou import anchors_near, bev_ious
from kdbench.ops.regions import cell_centres
from kdbench.taps import TapSpec


def near_objects(codes: Tensor, spec: TapSpec, boxes: list[Tensor], fraction: float) -> Tensor:
    """Which places of a box tap `codes` (B, H, W, A, n) are near a box of a frame (m, 7).

    Returns (B, H, W, A) bool: where an anchor has an IoU above `fraction` of the largest that
    the box has with any. Without anchors, the IoU is that of `moved_iou`.
    """
    if has_anchors(spec):
        return anchors_near(anchor_boxes(codes, spec), boxes, fraction)
    ious = (moved_iou(b, spec, *codes.shape[1:3]) for b in boxes)
    return torch.stack([(iou > fraction * iou.amax((0, 1))).any(-1) for iou in ious])[..., None]


def on_objects(codes: Tensor, spec: TapSpec, boxes: list[Tensor], least: float) -> Tensor:
    """Which places of a box tap stand on a box, as `near_objects`.

    Those with an IoU of `least` or more, and the best of each box.
    """
    if has_anchors(spec):
        return positive_anchors(anchor_boxes(codes, spec), boxes, least)
    ious = (moved_iou(b, spec, *codes.shape[1:3]).flatten(0, 1) for b in boxes)
    return torch.stack([_positive(iou, least) for iou in ious]).view(codes.shape[:4])


def has_anchors(spec: TapSpec) -> bool:
    """Whether the codes of a box tap are offsets to anchors."""
    return spec.channels == BOX_COLUMNS


def moved_iou(boxes: Tensor, spec: TapSpec, height: int, width: int) -> Tensor:
    """BEV IoU (height, width, m) of each box (m, 7) with itself, moved to the centre of a cell.

    What an anchor's IoU is to a head with anchors: how far off a box may be said at that cell.
    """
    offset = cell_centres(spec, height, width, boxes.device)[:, :, None] - boxes[:, :2]
    cos, sin = boxes[:, 6].cos(), boxes[:, 6].sin()
    along = (offset[..., 0] * cos + offset[..., 1] * sin).abs()
    across = (offset[..., 1] * cos - offset[..., 0] * sin).abs()
    shared = (boxes[:, 3] - along).clamp(min=0) * (boxes[:, 4] - across).clamp(min=0)
    return shared / (2 * boxes[:, 3] * boxes[:, 4] - shared).clamp(min=1e-9)


def anchor_boxes(codes: Tensor, spec: TapSpec) -> Tensor:
    """The anchors (H, W, A, 7) of a head whose box tap is `codes` (B, H, W, A, 7)."""
    return spec.decode(torch.zeros_like(codes[:1]))[0]


def positive_anchors(anchors: Tensor, boxes: list[Tensor], least: float) -> Tensor:
    """Which anchors (H, W, A, 7) stand on a box of a frame (m, 7): (B, H, W, A) bool.

    Those with an aligned BEV IoU of `least` or more, and the best anchors of each box.
    """
    ious = bev_ious(anchors, boxes)
    return torch.stack([_positive(iou, least) for iou in ious]).unflatten(1, anchors.shape[:3])


def _positive(iou: Tensor, least: float) -> Tensor:
    """Which rows of a table (n, m) reach `least`, or are the best of a column."""
    best = iou.amax(dim=0)
    needed = best.where(best > 0, math.inf).clamp(max=least)
    return (iou >= needed).any(dim=1)


@torch.no_grad()
def proposals(boxes: Tensor, scores: Tensor, count: int, overlap: float) -> Tensor:
    """Indices (k <= count,) of the best of boxes (n, 7) after NMS at a BEV IoU of `overlap`.

    NMS sees the `4 * count` boxes with the highest scores (n,).
    """
    top = scores.topk(min(4 * count, len(scores))).indices
    return top[rotated_nms(boxes[top], scores[top], overlap, count)]
