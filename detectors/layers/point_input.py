"""Clouds of any size to a fixed number of points a frame, the same every time."""

import torch
from torch import Tensor

FAR = 40.0  # metres from the sensor; points beyond are all kept (PointRCNN's code)


def fixed_clouds(
    points: Tensor, frames: int, point_range, count: int
) -> tuple[Tensor, Tensor, list[int]]:
    """Points (n, 5: frame, x, y, z, reflectance) in the range as clouds (frames, count, 4).

    Also whether a frame has any point (frames,), and a number made from each frame's points, to
    seed what else is drawn for it: the same frame always gives the same points and number,
    whatever frames are beside it. A frame without points holds copies of the range's corner.
    """
    low, high = points.new_tensor(point_range[:3]), points.new_tensor(point_range[3:])
    xyz = points[:, 1:4]
    points = points[((xyz >= low) & (xyz < high)).all(dim=1)]
    clouds = [points[points[:, 0] == i, 1:] for i in range(frames)]
    filled = torch.tensor([len(cloud) > 0 for cloud in clouds], device=points.device)
    seeds = [_seed(cloud) for cloud in clouds]
    corner = torch.cat([low, low.new_zeros(1)]).unsqueeze(0)
    chosen = [
        _choose(cloud if len(cloud) else corner, count, seed)
        for cloud, seed in zip(clouds, seeds, strict=True)
    ]
    return torch.stack(chosen), filled, seeds


def generator(seed: int) -> torch.Generator:
    """A generator of the CPU."""
    return torch.Generator().manual_seed(seed)


def _seed(cloud: Tensor) -> int:
    """A number made from all the bits of a cloud (n, 4), exact on every device."""
    return int(cloud.contiguous().view(torch.int32).long().sum()) % 2**63


def _choose(cloud: Tensor, count: int, seed: int) -> Tensor:
    """`count` points of one cloud (n >= 1, 4), in any order.

    Of more than `count` points all far ones are kept and the near ones are sampled, of which
    there are enough; fewer are repeated in turn.
    """
    draw = generator(seed)
    order = torch.randperm(len(cloud), generator=draw).to(cloud.device)
    if len(cloud) > count:
        far = torch.hypot(cloud[order, 0], cloud[order, 1]) > FAR
        if far.sum() < count:
            order = order[far.byte().argsort(descending=True, stable=True)]
    chosen = order[torch.arange(count, device=cloud.device) % len(cloud)]
    return cloud[chosen[torch.randperm(count, generator=draw).to(cloud.device)]]
