"""Anchors, their matching to ground truth, and the box code (SECOND, PointPillars)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from kdbench.errors import UsageError
from kdbench.geometry.boxes import wrap_angle
from kdbench.registry.suggest import unknown

IGNORED, BACKGROUND = -2, -1


@dataclass(frozen=True)
class AnchorClass:
    """The anchors of one class: one size, two headings."""

    size: tuple[float, float, float]  # length, width, height in metres
    bottom: float  # z of the bottom face in the LiDAR frame, metres
    matched: float  # IoU from which an anchor is positive
    unmatched: float  # IoU below which it is background; between the two it is ignored


# The published KITTI anchors (PointPillars, section 3.2, and the code of SECOND).
KITTI_ANCHORS = {
    "Car": AnchorClass((3.9, 1.6, 1.56), -1.78, 0.6, 0.45),
    "Pedestrian": AnchorClass((0.8, 0.6, 1.73), -0.6, 0.5, 0.35),
    "Cyclist": AnchorClass((1.76, 0.6, 1.73), -0.6, 0.5, 0.35),
}
HEADINGS = (0.0, math.pi / 2)


def make_anchors(classes, point_range, height: int, width: int) -> Tensor:
    """Anchor boxes (height, width, len(classes) * 2, 7), centred on the cells of the map.

    Raises UsageError for a class without published anchors.
    """
    x0, y0, _, x1, y1, _ = point_range
    x = x0 + (torch.arange(width, dtype=torch.float32) + 0.5) * ((x1 - x0) / width)
    y = y0 + (torch.arange(height, dtype=torch.float32) + 0.5) * ((y1 - y0) / height)
    anchors = torch.zeros(height, width, len(classes), len(HEADINGS), 7)
    anchors[..., 0] = x.view(1, -1, 1, 1)
    anchors[..., 1] = y.view(-1, 1, 1, 1)
    for i, name in enumerate(classes):
        if name not in KITTI_ANCHORS:
            raise UsageError(unknown("class of anchors", name, KITTI_ANCHORS))
        anchor = KITTI_ANCHORS[name]
        anchors[:, :, i, :, 2] = anchor.bottom + anchor.size[2] / 2
        anchors[:, :, i, :, 3:6] = torch.tensor(anchor.size)
    anchors[..., 6] = torch.tensor(HEADINGS)
    return anchors.flatten(2, 3)


def encode(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Boxes (..., 7) as offsets to anchors (..., 7); SECOND, equation 2."""
    diagonal = torch.hypot(anchors[..., 3], anchors[..., 4])
    return torch.stack(
        [
            (boxes[..., 0] - anchors[..., 0]) / diagonal,
            (boxes[..., 1] - anchors[..., 1]) / diagonal,
            (boxes[..., 2] - anchors[..., 2]) / anchors[..., 5],
            torch.log(boxes[..., 3] / anchors[..., 3]),
            torch.log(boxes[..., 4] / anchors[..., 4]),
            torch.log(boxes[..., 5] / anchors[..., 5]),
            boxes[..., 6] - anchors[..., 6],
        ],
        dim=-1,
    )


def decode(codes: Tensor, anchors: Tensor) -> Tensor:
    """The inverse of `encode`; no size exceeds e^4 times the anchor's, however wild the code."""
    diagonal = torch.hypot(anchors[..., 3], anchors[..., 4])
    size = torch.exp(codes[..., 3:6].clamp(max=4)) * anchors[..., 3:6]
    return torch.stack(
        [
            codes[..., 0] * diagonal + anchors[..., 0],
            codes[..., 1] * diagonal + anchors[..., 1],
            codes[..., 2] * anchors[..., 5] + anchors[..., 2],
            *size.unbind(-1),
            codes[..., 6] + anchors[..., 6],
        ],
        dim=-1,
    )


def heading_bin(yaw: Tensor) -> Tensor:
    """Which half-turn a heading points to: 0 or 1, the border at -pi/4 and 3 pi/4.

    The border is away from the two headings most objects have, along and across the street.
    """
    return (wrap_angle(yaw + math.pi / 4) < 0).long()


def set_heading(yaw: Tensor, half: Tensor) -> Tensor:
    """`yaw`, turned by pi where its half-turn is not `half`; in [-pi, pi)."""
    return wrap_angle(yaw + math.pi * (heading_bin(yaw) != half))


def match(iou: Tensor, matched: float, unmatched: float) -> Tensor:
    """For each anchor the index of its box, by their IoU (n, ..., m): (n, ...).

    BACKGROUND or IGNORED where it has none. Positive are the anchors whose IoU with a box reaches
    `matched`, and each box's best anchors in any case; each goes to the box it overlaps most.
    Below `unmatched` is background. Never waits for a device.
    """
    if iou.shape[-1] == 0:
        return torch.full(iou.shape[:-1], BACKGROUND, dtype=torch.long, device=iou.device)
    best, index = iou.max(dim=-1)
    top = iou.amax(dim=0)
    is_top = (iou == top.where(top > 0, math.inf)).any(dim=-1)
    missed = torch.where(best >= unmatched, IGNORED, BACKGROUND)
    return torch.where(is_top | (best >= matched), index, missed)
