"""Heat maps of object centres, the targets of centre heads (CenterNet, CenterPoint)."""

import torch
from torch import Tensor
from torch.nn import functional as F

MIN_OVERLAP, MIN_RADIUS = 0.1, 2  # published: CenterPoint, section 4, and its configurations


def gaussian_radius(sizes: Tensor, overlap: float = MIN_OVERLAP) -> Tensor:
    """Radii (m,) in whole cells for objects of `sizes` (m, 2: length, width) in cells.

    The radius function of CornerNet as its code and CenterPoint's have it. That takes the least
    of three roots, of which the one for a predicted box that is larger on all sides is the least
    at every overlap and size. The code divides it by 2 where the formula says 8 * overlap; the
    published results were made with that, so it stays.
    """
    reach = overlap * sizes.sum(1)
    root = (reach.square() + 4 * overlap * (1 - overlap) * sizes.prod(1)).sqrt()
    return (root - reach).floor().clamp(min=MIN_RADIUS).long()


def heat_maps(cells: Tensor, radii: Tensor, maps: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Maps (n, H, W) = `shape` with a Gaussian of height 1 around the cell of each object.

    cells (m, 2) are row and column, radii (m,) in cells, `maps` (m,) says on which map. A
    Gaussian has sigma = (2 radius + 1) / 6 and ends at its radius both ways; where some meet,
    the highest counts.
    """
    count, height, width = shape
    down = _profile(cells[:, 0], radii, height)
    along = _profile(cells[:, 1], radii, width)
    heat = (down[:, :, None] * along[:, None, :]).flatten(1)
    index = maps[:, None].expand_as(heat)
    highest = heat.new_zeros(count, height * width).scatter_reduce_(0, index, heat, "amax")
    return highest.view(shape)


def _profile(centres: Tensor, radii: Tensor, length: int) -> Tensor:
    """A Gaussian (m, length) over the cells of one axis, for each object."""
    distance = torch.arange(length, device=centres.device) - centres[:, None]
    sigma = (2 * radii[:, None] + 1) / 6
    gaussian = torch.exp(-distance.square() / (2 * sigma**2))
    return gaussian * (distance.abs() <= radii[:, None])


def heat_map_focal(logits: Tensor, heat: Tensor) -> Tensor:
    """Penalty-reduced focal loss of each cell against `heat`, same shape (CornerNet, equation 1).

    Centres, where the heat is 1, are asked for 1; elsewhere 0 is, the less the hotter the cell.
    """
    p = torch.sigmoid(logits)
    centre = (1 - p).square() * F.softplus(-logits)
    elsewhere = (1 - heat).pow(4) * p.square() * F.softplus(logits)
    return torch.where(heat == 1, centre, elsewhere)


def heat_weight(heat: Tensor) -> Tensor:
    """The weight of each cell in `heat_map_focal`: 1 at centres, the less the hotter elsewhere."""
    return torch.where(heat == 1, 1.0, (1 - heat).pow(4))
