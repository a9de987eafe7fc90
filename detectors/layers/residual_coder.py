"""Boxes near a point as plain residuals: the coder of PointDistiller's release of PointRCNN."""

import torch
from torch import Tensor

from kdbench.detectors.layers import anchors as A
from kdbench.detectors.layers.losses import smooth_l1
from kdbench.geometry.boxes import wrap_angle


class ResidualCoder:
    """Codes boxes (n, 7), given relative to their points, as (n, channels).

    Offsets and sizes as SECOND codes them, to a box of a reference size at the point: the mean size
    of the class, or that of a proposal.
    The heading is its cosine and sine (`full_turn`, 8 channels) or, where half a turn does not
    count, its angle (7 channels). No decoded size exceeds e^`largest` times its reference.
    """

    def __init__(self, full_turn: bool = True, largest: float = A.LARGEST):
        self.full_turn, self.largest = full_turn, largest
        self.channels = 8 if full_turn else 7

    def loss(self, codes: Tensor, boxes: Tensor, sizes: Tensor) -> Tensor:
        """Loss (n,) of codes (n, channels) for boxes (n, 7); reference sizes (n, 3)."""
        target = A.encode(boxes, _at_point(sizes))
        yaw = boxes[:, 6:]
        heading = [yaw.cos(), yaw.sin()] if self.full_turn else [wrap_angle(2 * yaw) / 2]
        return smooth_l1(codes, torch.cat([target[:, :6], *heading], dim=1)).sum(1)

    def decode(self, codes: Tensor, sizes: Tensor) -> Tensor:
        """Boxes (n, 7) relative to their points, of codes (n, channels), reference sizes (n, 3)."""
        heading = codes[:, 6:]
        if self.full_turn:
            heading = torch.atan2(codes[:, 7:8], codes[:, 6:7])
        boxes = A.decode(torch.cat([codes[:, :6], heading], dim=1), _at_point(sizes), self.largest)
        return torch.cat([boxes[:, :6], wrap_angle(boxes[:, 6:])], dim=1)


def _at_point(sizes: Tensor) -> Tensor:
    zeros = torch.zeros_like(sizes)
    return torch.cat([zeros, sizes, zeros[:, :1]], dim=1)
