"""Anchors and proposals as a method sees them: from the taps of a head alone."""

import torch
from torch import Tensor

from kdbench.geometry.nms import rotated_nms
from kdbench.ops.bev_iou import aligned_bev_iou
from kdbench.taps import TapSpec


def anchor_boxes(codes: Tensor, spec: TapSpec) -> Tensor:
    """The anchors (H, W, A, 7) of a head whose box tap is `codes` (B, H, W, A, 7)."""
    return spec.decode(torch.zeros_like(codes[:1]))[0]


def positive_anchors(anchors: Tensor, boxes: list[Tensor], least: float) -> Tensor:
    """Which anchors (H, W, A, 7) stand on a box of a frame (m, 7): (B, H, W, A) bool.

    Those with an aligned BEV IoU of `least` or more, and the best anchors of each box.
    """
    flat = anchors.flatten(0, 2)
    return torch.stack([_positive(flat, b, least) for b in boxes]).unflatten(1, anchors.shape[:3])


def _positive(anchors: Tensor, boxes: Tensor, least: float) -> Tensor:
    iou = aligned_bev_iou(anchors, boxes.to(anchors.dtype))
    best = (iou == iou.amax(dim=0)) & (iou > 0)
    return ((iou >= least) | best).any(dim=1)


@torch.no_grad()
def proposals(boxes: Tensor, scores: Tensor, count: int, overlap: float) -> Tensor:
    """Indices (k <= count,) of the best of boxes (n, 7) after NMS at a BEV IoU of `overlap`.

    NMS sees the `4 * count` boxes with the highest scores (n,).
    """
    top = scores.topk(min(4 * count, len(scores))).indices
    return top[rotated_nms(boxes[top], scores[top], overlap, count)]
