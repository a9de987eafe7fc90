"""Boxes near a point as bins and residuals (Shi et al., "PointRCNN", section 3.2, eqs 2 to 4).

The ground plane around the point is cut into bins along x and along y, the heading's range into
bins of angle. A box is the bins that its centre and heading fall in and its residuals in those;
its height and size are regressed directly.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from kdbench.detectors.layers.losses import smooth_l1
from kdbench.geometry.boxes import wrap_angle

LEAST_SIZE = 0.1  # of the mean size: a decoded box is never flat or inside out


@dataclass(frozen=True)
class Bins:
    """`count` bins of length `size` that begin at `low`; residuals in units of `unit`."""

    low: float
    size: float
    count: int
    unit: float

    def encode(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """The bin (n,) int64 and residual (n,) of values (n,); the outermost bins take the rest."""
        value = value.clamp(self.low, self.low + self.size * self.count)
        index = ((value - self.low) / self.size).long().clamp(max=self.count - 1)
        return index, (value - self._centre(index)) / self.unit

    def decode(self, logits: Tensor, residuals: Tensor) -> Tensor:
        """Values (n,) of the most probable bins; logits and residuals (n, count)."""
        index = logits.argmax(1)
        return self._centre(index) + residuals.gather(1, index[:, None]).squeeze(1) * self.unit

    def _centre(self, index: Tensor) -> Tensor:
        return self.low + (index + 0.5) * self.size


class BinCoder:
    """Codes boxes (n, 7), given relative to their points, as (n, channels).

    `reach` and `bin_size` (metres) cut the plane from -reach to reach; `turn` (radians) is the
    range of headings around 0, in `headings` bins. Of a range smaller than the full turn, half a
    turn does not count: the nearer of the two headings is coded.

    The channels: logits of the bins of x, of y and of the heading, then one residual for each of
    those bins in the same order, then z (metres), then the relative size error (3).
    """

    def __init__(self, reach: float, bin_size: float, headings: int, turn: float = 2 * math.pi):
        plane = Bins(-reach, bin_size, round(2 * reach / bin_size), bin_size)
        # Bins centred on 0, where the range is the full turn; else from end to end.
        step = turn / headings
        self.full_turn = turn == 2 * math.pi
        low = -step / 2 if self.full_turn else -turn / 2
        self.parts = [plane, plane, Bins(low, step, headings, step / 2)]
        self.bins = [part.count for part in self.parts]
        self.channels = 2 * sum(self.bins) + 4

    def loss(self, codes: Tensor, boxes: Tensor, sizes: Tensor) -> Tensor:
        """Loss (n,) of codes (n, channels) for boxes (n, 7); mean sizes (n, 3) of their classes."""
        logits, residuals, z, size = self._split(codes)
        values = [boxes[:, 0], boxes[:, 1], self._heading(boxes[:, 6])]
        error = torch.cat([z - boxes[:, 2:3], size - (boxes[:, 3:6] / sizes - 1)], dim=1)
        loss = _l1(error).sum(1)
        for part, value, x, r in zip(self.parts, values, logits, residuals, strict=True):
            index, residual = part.encode(value)
            loss = loss + F.cross_entropy(x, index, reduction="none")
            loss = loss + _l1(r.gather(1, index[:, None]).squeeze(1) - residual)
        return loss

    def decode(self, codes: Tensor, sizes: Tensor) -> Tensor:
        """Boxes (n, 7) relative to their points, of codes (n, channels) and mean sizes (n, 3)."""
        logits, residuals, z, size = self._split(codes)
        values = zip(self.parts, logits, residuals, strict=True)
        x, y, yaw = (part.decode(*both)[:, None] for part, *both in values)
        size = (1 + size).clamp(min=LEAST_SIZE) * sizes
        return torch.cat([x, y, z, size, wrap_angle(yaw)], dim=1)

    def _heading(self, yaw: Tensor) -> Tensor:
        """Headings (n,) in the range that the bins cover."""
        if self.full_turn:
            low = self.parts[2].low
            return (yaw - low) % (2 * math.pi) + low
        return wrap_angle(2 * yaw) / 2

    def _split(self, codes: Tensor):
        """Logits and residuals of x, y and heading, then z (n, 1) and size (n, 3)."""
        *binned, z, size = codes.split([*self.bins, *self.bins, 1, 3], dim=1)
        return binned[:3], binned[3:], z, size


def _l1(error: Tensor) -> Tensor:
    return smooth_l1(error, torch.zeros_like(error), beta=1.0)
