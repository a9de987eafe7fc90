"""Points inside boxes, sampled to a fixed number, and a box's own frame (PointRCNN, section 3.3).

Boxes are regions of interest (RoIs) in the LiDAR frame, see `geometry/boxes.py`.
"""

import torch
from torch import Tensor

from kdbench.geometry.boxes import box_of_points, points_in_boxes, wrap_angle

PAIRS_AT_ONCE = 1 << 22


def enlarge(boxes: Tensor, margin: float) -> Tensor:
    """Boxes (..., 7), each side `margin` metres further out."""
    return torch.cat([boxes[..., :3], boxes[..., 3:6] + 2 * margin, boxes[..., 6:]], dim=-1)


def roi_points(points: Tensor, boxes: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Indices (R, count) int64 of points (N, 3) in or on boxes (R, 7), and how many: (R,) int64.

    Of more than `count` points in a box the first ones are taken; fewer are repeated in turn.
    A box without any has number 0 and indices 0. No gradient.
    """
    parts = [_first_inside(points, part, count) for part in boxes.split(_boxes_at_once(points))]
    index, inside = (torch.cat(x) for x in zip(*parts, strict=True))
    turn = torch.arange(count, device=points.device) % inside.clamp(1, count).unsqueeze(1)
    return index.gather(1, turn), inside


def boxes_of_points(points: Tensor, boxes: Tensor) -> Tensor:
    """For each point (N, 3) the first of the boxes (m, 7) that it is in or on, or -1: (N,)."""
    if _on_host(points):
        return torch.from_numpy(box_of_points(points.detach().numpy(), boxes.detach().numpy()))
    inside = inside_boxes(points, boxes)
    first = inside.byte().argmax(1) if inside.shape[1] else inside.new_zeros(len(points)).long()
    return torch.where(inside.any(1), first, -1)


def inside_boxes(points: Tensor, boxes: Tensor) -> Tensor:
    """Which of the points (N, 3) lie in or on which of the boxes (m, 7): (N, m) bool."""
    if _on_host(points):
        found = points_in_boxes(points.detach().numpy(), boxes.detach().numpy())
        return torch.from_numpy(found)
    local = to_canonical(points.detach().double().unsqueeze(1), boxes.detach().double())
    return (local.abs() <= boxes[:, 3:6].double() / 2).all(-1)


def to_canonical(xyz: Tensor, boxes: Tensor) -> Tensor:
    """Points (..., 3) in the frames of boxes (..., 7): centre at 0, length axis along +x.

    The leading dimensions of both broadcast. Differentiable.
    """
    return _turn(xyz - boxes[..., :3], -boxes[..., 6])


def leave_canonical(local: Tensor, boxes: Tensor) -> Tensor:
    """Points (..., 3) in the frames of boxes (..., 7), back in the LiDAR frame."""
    return _turn(local, boxes[..., 6]) + boxes[..., :3]


def from_canonical(local: Tensor, boxes: Tensor) -> Tensor:
    """Boxes (..., 7) given in the frames of `boxes` (..., 7), back in the LiDAR frame."""
    centre = leave_canonical(local[..., :3], boxes)
    yaw = wrap_angle(local[..., 6:] + boxes[..., 6:])
    return torch.cat([centre, local[..., 3:6], yaw], dim=-1)


def boxes_to_canonical(others: Tensor, boxes: Tensor) -> Tensor:
    """Boxes `others` (..., 7) in the frames of `boxes` (..., 7): inverse of `from_canonical`."""
    centre = to_canonical(others[..., :3], boxes)
    yaw = wrap_angle(others[..., 6:] - boxes[..., 6:])
    return torch.cat([centre, others[..., 3:6], yaw], dim=-1)


def _on_host(x: Tensor) -> bool:
    return x.device.type == "cpu"


def _turn(xyz: Tensor, yaw: Tensor) -> Tensor:
    """Points (..., 3) turned counter-clockwise around the z axis by `yaw` (...)."""
    cos, sin = yaw.cos(), yaw.sin()
    x, y, z = xyz.unbind(-1)
    x, y, z = torch.broadcast_tensors(cos * x - sin * y, sin * x + cos * y, z)
    return torch.stack([x, y, z], dim=-1)


def _boxes_at_once(points: Tensor) -> int:
    return max(1, PAIRS_AT_ONCE // max(1, len(points)))


def _first_inside(points: Tensor, boxes: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The first `count` points in each box (R, count), in order, and how many there are (R,)."""
    inside = inside_boxes(points, boxes)
    place = inside.cumsum(0)
    keep = inside & (place <= count)
    point, roi = keep.nonzero(as_tuple=True)
    index = torch.zeros(len(boxes), count, dtype=torch.long, device=points.device)
    index[roi, place[point, roi] - 1] = point
    return index, inside.sum(0)
