"""Differences between the heads of teacher and student, for logit distillation."""

import torch
from torch import Tensor
from torch.nn import functional as F

from kdbench.geometry.boxes import BOX_COLUMNS


def binary_kl(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """T^2 KL( sigmoid(teacher / T) || sigmoid(student / T) ) of each logit, same shape.

    It is cross-entropy less the teacher's entropy: the same gradient, and 0 when both agree.
    """
    student, teacher = student / temperature, teacher / temperature
    p = torch.sigmoid(teacher)
    cross = F.binary_cross_entropy_with_logits(student, p, reduction="none")
    entropy = F.binary_cross_entropy_with_logits(teacher, p, reduction="none")
    return temperature**2 * (cross - entropy)


def focal(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """The sum of weight |target - p|^2 BCE(p, target), p = sigmoid(logit): a scalar.

    The quality focal loss (Li et al., NeurIPS 2020): that of Lin et al. where targets are 0 or 1,
    and least at the target where they lie between.
    """
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (weights * (targets - logits.sigmoid()).square() * entropy).sum()


def softmax_kl(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """T^2 KL( softmax(teacher / T) || softmax(student / T) ) over the last axis: (...)."""
    log_s, log_t = (F.log_softmax(x / temperature, dim=-1) for x in (student, teacher))
    return temperature**2 * (log_t.exp() * (log_t - log_s)).sum(-1)


def code_difference(student: Tensor, teacher: Tensor) -> Tensor:
    """Difference of encoded boxes (..., n); of 7 entries the last, the heading, by its sine.

    A head that learns the sine of its heading's error is free to be half a turn off, which its
    direction classifier puts right; so half a turn between teacher and student is no difference.
    Longer codes hold sine and cosine of the heading, and no angle.
    """
    difference = student - teacher
    if difference.shape[-1] > BOX_COLUMNS:
        return difference
    return torch.cat([difference[..., :6], difference[..., 6:].sin()], dim=-1)


def box_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Smooth L1 (beta 1/9, as in detection losses) of encoded boxes (..., n), summed: (...)."""
    difference = code_difference(student, teacher)
    zero = torch.zeros_like(difference)
    return F.smooth_l1_loss(difference, zero, reduction="none", beta=1 / 9).sum(-1)
