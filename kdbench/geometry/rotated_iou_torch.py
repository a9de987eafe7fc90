"""Overlap of rotated boxes in torch: the method of `rotated_iou.py`, batched, on any device."""

import torch
from torch import Tensor

PAIRS_AT_ONCE = 1 << 20  # bounds the memory of the intermediate tensors to some 500 MB


def _edge_integrals(start: Tensor, step: Tensor, half: Tensor) -> Tensor:
    """Integral (p, 4) of clamp(y) d clamp(x) along segments.

    start, step (p, 4, 2): where each segment begins and its vector; half (p, 1, 2): half sizes.
    """
    # Parameters of the segment where x, and where y, meets the clamp's two bounds; a segment
    # along a bound gets 0 / 0, and there any finite value does.
    first, second = (-half - start) / step, (half - start) / step
    low = torch.minimum(first, second).nan_to_num(0.0)
    high = torch.maximum(first, second).nan_to_num(0.0)
    enter, leave = low[..., 0].clamp(0, 1), high[..., 0].clamp(0, 1)
    bend_1 = low[..., 1].maximum(enter).minimum(leave)
    bend_2 = high[..., 1].maximum(enter).minimum(leave)
    at = torch.stack([enter, bend_1, bend_2, leave], dim=-1)
    half_y = half[..., 1:]
    y = start[..., 1:] + at * step[..., 1:]
    y = y.maximum(-half_y).minimum(half_y)
    twice = (at.diff(dim=-1) * (y[..., 1:] + y[..., :-1])).sum(-1)
    return 0.5 * step[..., 0] * twice


def _rotate(vector: Tensor, angle: Tensor) -> Tensor:
    """Vectors (p, 2) turned counter-clockwise by angles (p,)."""
    cos, sin = angle.cos(), angle.sin()
    x, y = vector.unbind(-1)
    return torch.stack([cos * x - sin * y, sin * x + cos * y], dim=-1)


def _paired(a: Tensor, b: Tensor) -> Tensor:
    """Shared areas (p,) of box pairs a, b (p, 5)."""
    swap = (a[:, 2] * a[:, 3] < b[:, 2] * b[:, 3])[:, None]
    a, b = torch.where(swap, b, a), torch.where(swap, a, b)
    centre = _rotate(b[:, :2] - a[:, :2], -a[:, 4])
    turn, zero = b[:, 4] - a[:, 4], torch.zeros_like(b[:, 4])
    u = _rotate(torch.stack([b[:, 2] / 2, zero], dim=-1), turn)  # to b's front
    v = _rotate(torch.stack([zero, b[:, 3] / 2], dim=-1), turn)  # to b's left side
    start = torch.stack([u + v, v - u, -u - v, u - v], dim=1) + centre[:, None]
    step = 2 * torch.stack([-u, -v, u, v], dim=1)
    area = -_edge_integrals(start, step, a[:, None, 2:4] / 2).sum(dim=1)
    return area.clamp(min=0).minimum(b[:, 2] * b[:, 3])


def near_pairs(a: Tensor, b: Tensor) -> Tensor:
    """Indices (p, 2), in row order, of the pairs of boxes (n, 5), (m, 5) that may overlap."""
    distance = (a[:, None, :2] - b[None, :, :2]).square().sum(-1)
    reach = (a[:, None, 2:4].square().sum(-1) + b[None, :, 2:4].square().sum(-1)) / 2
    solid = (a[:, 2:4] > 0).all(1)[:, None] & (b[:, 2:4] > 0).all(1)
    return ((distance <= reach) & solid).nonzero()


def paired_bev_intersection(a: Tensor, b: Tensor, pairs: Tensor) -> Tensor:
    """Shared areas (p,) of boxes a (n, 5), b (m, 5), both with area, at index pairs (p, 2)."""
    shared = [_paired(a[i], b[j]) for i, j in (c.unbind(1) for c in pairs.split(PAIRS_AT_ONCE))]
    return torch.cat(shared) if shared else a.new_zeros(0)


def paired_bev_iou(a: Tensor, b: Tensor, pairs: Tensor) -> Tensor:
    """IoU (p,) of boxes a (n, 5), b (m, 5), both with area, at index pairs (p, 2)."""
    shared = paired_bev_intersection(a, b, pairs)
    area_a, area_b = a[pairs[:, 0], 2:4].prod(dim=1), b[pairs[:, 1], 2:4].prod(dim=1)
    return shared / (area_a + area_b - shared)


def bev_iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union (n, m), float64, of boxes a (n, 5) and b (m, 5) on one device.

    A box is [x, y, dx, dy, yaw] in metres and radians; one without area has IoU 0. The host
    waits for the device once, to learn how many pairs are near each other.
    """
    a, b = a.detach().double(), b.detach().double()
    pairs = near_pairs(a, b)
    iou = a.new_zeros(len(a), len(b))
    iou[pairs[:, 0], pairs[:, 1]] = paired_bev_iou(a, b, pairs)
    return iou
