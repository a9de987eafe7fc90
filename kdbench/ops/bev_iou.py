"""Which anchors stand on or near an object, by axis-aligned overlap seen from above."""

import math

import torch
from torch import Tensor

from kdbench.geometry.boxes import wrap_angle


def aligned_footprints(boxes: Tensor) -> Tensor:
    """Footprints (..., 4: x0, y0, x1, y1) of boxes (..., 7) turned to the nearest right angle."""
    across = (wrap_angle(boxes[..., 6] * 2).abs() > math.pi / 2).unsqueeze(-1)
    half = torch.where(across, boxes[..., 3:5].flip(-1), boxes[..., 3:5]) / 2
    return torch.cat([boxes[..., :2] - half, boxes[..., :2] + half], dim=-1)


def aligned_iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union (n, m) of footprints (n, 4) and (m, 4)."""
    x0, y0, x1, y1 = a.unsqueeze(-1).unbind(1)  # (n, 1) each
    u0, v0, u1, v1 = b.unbind(1)  # (m,) each
    along = (torch.minimum(x1, u1) - torch.maximum(x0, u0)).clamp_(min=0)
    shared = (torch.minimum(y1, v1) - torch.maximum(y0, v0)).clamp_(min=0).mul_(along)
    areas = (x1 - x0) * (y1 - y0) + (u1 - u0) * (v1 - v0)
    return shared / (areas - shared).clamp_(min=1e-9)


def aligned_bev_iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union (n, m) of the aligned footprints of boxes (n, 7) and (m, 7)."""
    return aligned_iou(aligned_footprints(a), aligned_footprints(b))


def anchors_near(anchors: Tensor, boxes: list[Tensor], fraction: float) -> Tensor:
    """Of anchors (H, W, A, 7), those that overlap a box of a frame (m, 7) well: (B, H, W, A) bool.

    Well is an IoU above `fraction` of the largest that the box has with any anchor, so that
    every box on the map has some. Anchors of every class count, as boxes come without one.
    """
    return torch.stack([_near(anchors.flatten(0, 2), b, fraction) for b in boxes]).view(
        len(boxes), *anchors.shape[:3]
    )


def _near(anchors: Tensor, boxes: Tensor, fraction: float) -> Tensor:
    iou = aligned_bev_iou(anchors, boxes.to(anchors.dtype))
    return (iou > fraction * iou.amax(dim=0)).any(dim=1)
