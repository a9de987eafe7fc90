"""How far the corners of a box are from those of another (Qi et al., "Frustum PointNets", 2018)."""

import math

import torch
from torch import Tensor

from kdbench.detectors.layers.losses import smooth_l1
from kdbench.ops.roi_points import leave_canonical

SIGNS = torch.cartesian_prod(*[torch.tensor([-0.5, 0.5])] * 3)  # (8, 3)


def box_corners(boxes: Tensor) -> Tensor:
    """Corners (n, 8, 3) of boxes (n, 7). Differentiable."""
    local = SIGNS.to(boxes) * boxes[:, None, 3:6]
    return leave_canonical(local, boxes.unsqueeze(1))


def corner_loss(boxes: Tensor, targets: Tensor) -> Tensor:
    """Mean Huber loss (n,) of the distances in metres between corners of boxes (n, 7).

    Of the target (n, 7) and the target turned round, the nearer one counts.
    """
    turned = torch.cat([targets[:, :6], targets[:, 6:] + math.pi], dim=1)
    found = box_corners(boxes)
    away = [(found - box_corners(t)).square().sum(-1).clamp(min=1e-12) for t in (targets, turned)]
    distance = torch.minimum(*away).sqrt()
    return smooth_l1(distance, torch.zeros_like(distance), beta=1.0).mean(1)
