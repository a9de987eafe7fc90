"""BEV maps and head outputs of one grid, read at the cells of another."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

EDGE = 1e-4  # of a cell: how far beyond a border still counts as on it


@dataclass(frozen=True)
class Cells:
    """The cells of a map: y along its rows, x along its columns, metres, LiDAR frame."""

    origin: tuple[float, float]  # x, y of the corner
    cell: float  # length of a side
    height: int
    width: int

    def centres(self, device=None) -> tuple[Tensor, Tensor]:
        """x (width,) and y (height,) of the cells' centres."""
        sides = zip(self.origin, (self.width, self.height), strict=True)
        x, y = (o + (torch.arange(n, device=device) + 0.5) * self.cell for o, n in sides)
        return x, y

    def holding(self, other: "Cells", device=None) -> tuple[Tensor, Tensor]:
        """Of each row and each column of `other` the one of this map that holds its centre.

        Indices (height,) and (width,) of `other`; beyond the border it is the nearest.
        """
        x, y = other.centres(device)
        column = ((x - self.origin[0]) / self.cell + EDGE).floor().long().clamp(0, self.width - 1)
        row = ((y - self.origin[1]) / self.cell + EDGE).floor().long().clamp(0, self.height - 1)
        return row, column


def bilinear(maps: Tensor, own: Cells, other: Cells) -> Tensor:
    """Maps (B, C, H, W) over the cells `own` at the centres of `other`: (B, C, H', W').

    Bilinear by metres; beyond the outermost centres a map goes on as it is there.
    """
    if own == other:
        return maps
    x, y = other.centres(maps.device)
    across = (x - own.origin[0]) / (own.cell * own.width) * 2 - 1
    along = (y - own.origin[1]) / (own.cell * own.height) * 2 - 1
    grid = torch.stack(torch.broadcast_tensors(across[None, :], along[:, None]), dim=-1)
    grid = grid.to(maps.dtype).expand(len(maps), -1, -1, -1)
    return F.grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=False)


def nearest(outputs: Tensor, own: Cells, other: Cells) -> Tensor:
    """Outputs (B, H, W, ...) over `own`, those of the cell that holds each centre of `other`."""
    if own == other:
        return outputs
    row, column = own.holding(other, outputs.device)
    return outputs[:, row][:, :, column]
