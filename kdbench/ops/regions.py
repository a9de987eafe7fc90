"""Boxes on BEV maps: pooled features and foreground masks, for detection distillation."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from kdbench.ops.constants import constant
from kdbench.taps import TapSpec


def box_grid(boxes: Tensor, size: int) -> Tensor:
    """Points (m, size, size, 2: x, y) spread evenly over boxes (m, 7), turned with them.

    The first axis runs along the box's length, the second along its width; metres, LiDAR frame.
    """
    numbers = torch.arange(size, device=boxes.device, dtype=boxes.dtype)
    return _turned(boxes, (numbers + 0.5) / size - 0.5)


def box_points(boxes: Tensor, places: Sequence[float]) -> Tensor:
    """Points (m, n, n, 2) as `box_grid`'s, at n places from -0.5 to 0.5 along length and width."""
    return _turned(boxes, constant(places, boxes))


def _turned(boxes: Tensor, steps: Tensor) -> Tensor:
    along = steps[None, :, None] * boxes[:, 3, None, None]
    across = steps[None, None, :] * boxes[:, 4, None, None]
    cos, sin = boxes[:, 6].cos()[:, None, None], boxes[:, 6].sin()[:, None, None]
    x = boxes[:, 0, None, None] + along * cos - across * sin
    y = boxes[:, 1, None, None] + along * sin + across * cos
    return torch.stack([x, y], dim=-1)


def sample_map(x: Tensor, points: Tensor, spec: TapSpec) -> Tensor:
    """A map (C, H, W) at points (..., 2: x, y in metres), bilinear; (..., C), 0 outside."""
    height, width = x.shape[1:]
    origin = constant(spec.origin, points)
    extent = constant([width, height], points) * spec.cell
    place = (points - origin) / extent * 2 - 1
    flat = F.grid_sample(
        x[None], place.to(x.dtype).view(1, 1, -1, 2), mode="bilinear", align_corners=False
    )
    return flat[0, :, 0].T.unflatten(0, points.shape[:-1])


def pool_boxes(x: Tensor, boxes: list[Tensor], spec: TapSpec, size: int = 7) -> Tensor:
    """Features of a batch of maps (B, C, H, W) inside boxes (a frame: (m, 7)).

    Returns (M, size, size, C), the boxes of all frames one after the other; M may be 0.
    """
    return torch.cat(
        [sample_map(frame, box_grid(b, size), spec) for frame, b in zip(x, boxes, strict=True)]
    )


def cell_centres(spec: TapSpec, height: int, width: int, device=None) -> Tensor:
    """Centres (height, width, 2: x, y in metres) of a map's cells."""
    x = spec.origin[0] + (torch.arange(width, device=device) + 0.5) * spec.cell
    y = spec.origin[1] + (torch.arange(height, device=device) + 0.5) * spec.cell
    return torch.stack(torch.broadcast_tensors(x[None, :], y[:, None]), dim=-1)


def foreground(boxes: list[Tensor], spec: TapSpec, height: int, width: int) -> Tensor:
    """For each cell (B, height, width) int64 the box of its frame that holds its centre, or -1.

    A box that holds no cell's centre takes the cell that its own centre is in; where boxes
    overlap, the later one counts.
    """
    return torch.stack([_foreground(b, spec, height, width) for b in boxes])


def _foreground(boxes: Tensor, spec: TapSpec, height: int, width: int) -> Tensor:
    x, y, dx, dy, yaw = (boxes[:, i, None, None] for i in (0, 1, 3, 4, 6))  # (m, 1, 1) each
    centres = cell_centres(spec, height, width, boxes.device)
    away, aside = centres[..., 0] - x, centres[..., 1] - y
    cos, sin = yaw.cos(), yaw.sin()
    along, across = (away * cos + aside * sin).abs(), (aside * cos - away * sin).abs()
    inside = ((along <= dx / 2) & (across <= dy / 2)).flatten(1)  # (m, cells)
    inside |= ~inside.any(1, keepdim=True) & _own_cells(boxes, spec, height, width)
    number = torch.arange(1, len(boxes) + 1, device=boxes.device)
    last = F.pad(inside * number[:, None], (0, 0, 1, 0)).amax(0)  # 0 where there is no box
    return (last - 1).view(height, width)


def _own_cells(boxes: Tensor, spec: TapSpec, height: int, width: int) -> Tensor:
    """For each box (m, 7) the cell with its centre, of a map's: (m, height * width) bool."""
    place = ((boxes[:, :2] - constant(spec.origin, boxes)) / spec.cell).floor()
    column, row = (x[:, None] for x in place.unbind(1))
    cell = torch.arange(height * width, device=boxes.device)
    return (cell % width == column) & (cell // width == row)


def centre_heat(boxes: list[Tensor], spec: TapSpec, height: int, width: int) -> Tensor:
    """Gaussians (B, height, width) around the centres of boxes (a frame: (m, 7)); 0..1.

    Three deviations are half a box's diagonal; one is a cell at least.
    """
    centres = cell_centres(spec, height, width, boxes[0].device)
    return torch.stack([_heat(centres, b, spec.cell) for b in boxes])


def _heat(centres: Tensor, boxes: Tensor, cell: float) -> Tensor:
    heat = centres.new_zeros(centres.shape[:2])
    for box in boxes:
        sigma = (torch.hypot(box[3], box[4]) / 6).clamp(min=cell)
        distance = (centres - box[:2]).square().sum(-1)
        heat = torch.maximum(heat, torch.exp(-distance / (2 * sigma**2)))
    return heat
