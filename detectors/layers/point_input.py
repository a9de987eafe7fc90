"""Clouds of any size to a fixed number of points a frame, the same every time."""

import torch
from torch import Tensor

from kdbench.ops.constants import constant

FAR = 40.0  # metres from the sensor; points beyond are all kept (PointRCNN's code)


def fixed_clouds(
    points: Tensor, frames: int, point_range, count: int, even: bool = False
) -> tuple[Tensor, Tensor, list[int]]:
    """Points (n, 5: frame, x, y, z, reflectance) in the range as clouds (frames, count, 4).

    Also whether a frame has any point (frames,), and a number made from each frame's points, to
    seed what else is drawn for it: the same frame always gives the same points and number,
    whatever frames are beside it. A frame without points holds copies of the range's corner.
    Where there are too many points those that stay are drawn as PointRCNN does, or so that near
    and far surfaces are covered `even`ly.
    """
    low, high = constant(point_range[:3], points), constant(point_range[3:], points)
    xyz = points[:, 1:4]
    points = points[((xyz >= low) & (xyz < high)).all(dim=1)]
    clouds = [points[points[:, 0] == i, 1:] for i in range(frames)]
    filled = torch.tensor([len(cloud) > 0 for cloud in clouds], device=points.device)
    seeds = [_seed(cloud) for cloud in clouds]
    corner = torch.cat([low, low.new_zeros(1)]).unsqueeze(0)
    chosen = [
        _choose(cloud if len(cloud) else corner, count, seed, even)
        for cloud, seed in zip(clouds, seeds, strict=True)
    ]
    return torch.stack(chosen), filled, seeds


def generator(seed: int) -> torch.Generator:
    """A generator of the CPU."""
    return torch.Generator().manual_seed(seed)


def _seed(cloud: Tensor) -> int:
    """A number made from all the bits of a cloud (n, 4), exact on every device."""
    return int(cloud.contiguous().view(torch.int32).long().sum()) % 2**63


def _choose(cloud: Tensor, count: int, seed: int, even: bool) -> Tensor:
    """`count` points of one cloud (n >= 1, 4), in any order; fewer are repeated in turn."""
    draw = generator(seed)
    if even:
        order = _evenly(cloud, draw)
    else:
        order = torch.randperm(len(cloud), generator=draw).to(cloud.device)
        order = _far_first(cloud, order, count) if len(cloud) > count else order
    chosen = order[torch.arange(count, device=cloud.device) % len(cloud)]
    return cloud[chosen[torch.randperm(count, generator=draw).to(cloud.device)]]


def _far_first(cloud: Tensor, order: Tensor, count: int) -> Tensor:
    """The order (n,) with all far points in front, unless they alone are `count` or more."""
    far = _distance(cloud)[order] > FAR
    return order if far.sum() >= count else order[far.byte().argsort(descending=True, stable=True)]


def _evenly(cloud: Tensor, draw: torch.Generator) -> Tensor:
    """A random order (n,) in which points come the earlier the farther they are.

    A surface holds as many beams of a LiDAR as it takes up of the view, so its points thin out with
    the square of the distance; drawn with that square as weight, they are as many near and far
    (Efraimidis and Spirakis 2006: the greatest of u^(1 / weight) are a weighted sample).
    """
    chance = torch.rand(len(cloud), generator=draw, dtype=torch.float64).to(cloud.device)
    return (chance.log() / _distance(cloud).double().square()).argsort(descending=True, stable=True)


def _distance(cloud: Tensor) -> Tensor:
    """Metres (n,) from the sensor over ground of points (n, 4)."""
    return torch.hypot(cloud[:, 0], cloud[:, 1])
