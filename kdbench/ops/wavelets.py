"""The undecimated Haar transform of maps: details of several scales, all of the map's own size."""

import torch
from torch import Tensor
from torch.nn import functional as F


def haar(maps: Tensor, levels: int) -> tuple[Tensor, Tensor]:
    """What is left of maps (B, C, H, W) after `levels`, and details (3, levels, B, C, H, W).

    At level j a cell is seen with those 2^j further along x and y; beyond the border there is 0.
    The three kinds of details are differences along x, along y, and of both.
    """
    low, details = maps, []
    for level in range(levels):
        low, *found = _level(low, 2**level)
        details.append(torch.stack(found))
    return low, torch.stack(details, dim=1)


def inverse_haar(low: Tensor, details: Tensor) -> Tensor:
    """The inverse of `haar`."""
    for found in reversed(details.unbind(1)):
        low = (low + found.sum(0)) / 2
    return low


def _level(maps: Tensor, step: int) -> tuple[Tensor, ...]:
    """One orthonormal 2x2 Haar transform at every cell."""
    height, width = maps.shape[2:]
    padded = F.pad(maps, (0, step, 0, step))
    right, below = padded[:, :, :height, step:], padded[:, :, step:, :width]
    both = padded[:, :, step:, step:]
    return (
        (maps + right + below + both) / 2,
        (maps - right + below - both) / 2,
        (maps + right - below - both) / 2,
        (maps - right - below + both) / 2,
    )
