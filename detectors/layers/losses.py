"""Losses of anchor heads."""

import torch
from torch import Tensor
from torch.nn import functional as F


def sigmoid_focal(logits: Tensor, targets: Tensor, alpha=0.25, gamma=2.0) -> Tensor:
    """Focal loss (Lin et al. 2017, equation 5) of each logit; targets 0 or 1, same shape."""
    p = torch.sigmoid(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    miss = targets + p - 2 * targets * p  # 1 - p where the target is 1, p where it is 0
    return balance(targets, alpha) * miss.pow(gamma) * entropy


def balance(targets: Tensor, alpha=0.25) -> Tensor:
    """The focal loss's weight of each target, 0 or 1."""
    return targets * alpha + (1 - targets) * (1 - alpha)


def smooth_l1(prediction: Tensor, target: Tensor, beta: float = 1 / 9) -> Tensor:
    """Smooth L1 of each element, quadratic below `beta`."""
    return F.smooth_l1_loss(prediction, target, reduction="none", beta=beta)


def box_code_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Smooth L1 of box codes (n, 7), the heading by the sine of its error (SECOND, eq. 6)."""
    angle = torch.sin(prediction[:, 6:] - target[:, 6:])
    error = torch.cat([prediction[:, :6] - target[:, :6], angle], dim=1)
    return smooth_l1(error, torch.zeros_like(error))
