"""The geometry of PointNet++: which points each level keeps, and who is whose neighbour.

It depends on positions alone, so one pyramid serves every network that looks at the same cloud.
"""

from dataclasses import dataclass

from torch import Tensor

from kdbench.ops.point_grouping import ball_query, gather_rows, three_nearest
from kdbench.ops.point_sampling import farthest_points


@dataclass(frozen=True)
class PointPyramid:
    """Levels of ever fewer points of a batch; level 0 is all of them."""

    xyz: list[Tensor]  # a level: (B, n, 3) metres, LiDAR frame
    # From level i to i + 1: for each radius the neighbours (B, n of i + 1, k) among level i.
    groups: list[list[Tensor]]
    # From level i + 1 back to i: indices and weights (B, n of i, 3) of points of level i + 1.
    above: list[tuple[Tensor, Tensor]]


def build_pyramid(xyz: Tensor, counts: list[int], balls, power: int = 2) -> PointPyramid:
    """The pyramid over points (B, N, 3) with `counts` points in the levels above.

    `balls` holds for each of these levels the pairs of a radius in metres and how many
    neighbours to take within it, `power` is that of distances in `three_nearest`.
    """
    levels, groups, above = [xyz], [], []
    for count, pairs in zip(counts, balls, strict=True):
        below = levels[-1]
        kept = gather_rows(below, farthest_points(below, count))
        groups.append([ball_query(kept, below, radius, k) for radius, k in pairs])
        above.append(three_nearest(below, kept, power))
        levels.append(kept)
    return PointPyramid(levels, groups, above)
