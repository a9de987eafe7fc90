"""Scores of sigmoid heads as a distribution over the background and the classes."""

import torch
from torch import Tensor
from torch.nn import functional as F


def with_background(z: Tensor) -> Tensor:
    """Logits (..., 1 + classes) from (..., classes): the background's, which is 0, comes first.

    Their softmax has p_class / p_background = e^z, the odds p / (1 - p) of the class's sigmoid.
    """
    return F.pad(z, (1, 0))


def likely_anchors(z: Tensor, n: int) -> Tensor:
    """The at most `n` anchors of each frame that are most probably no background.

    Takes logits (B, H, W, A, classes); returns indices into `z.flatten(0, -2)`.
    """
    odds = z.logsumexp(-1).flatten(1)
    top = odds.topk(min(n, odds.shape[1])).indices
    first = torch.arange(len(odds), device=z.device).unsqueeze(1) * odds.shape[1]
    return (first + top).flatten()
