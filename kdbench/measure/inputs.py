"""The frames a detector is measured on."""

from dataclasses import dataclass

import numpy as np

from kdbench.dataset import Batch, Dataset, collate, unlabelled
from kdbench.errors import UsageError

POINTS = 18_000  # about what a frame of KITTI holds within the camera's view


@dataclass(frozen=True)
class Inputs:
    """Frames to measure on, one a batch, and where they come from in words."""

    batches: list[Batch]
    description: str


def generated(point_range: tuple[float, ...], frames: int, points: int = POINTS) -> Inputs:
    """Made-up clouds within `point_range` (metres); no data needed, the same every time.

    Dense nearby and thin far away, low rather than high: as many points as a real frame has,
    but no objects. What depends on the number of points or occupied cells is about right; what
    depends on detections is not.
    """
    _check(frames)
    return Inputs(
        [_cloud(point_range, points, i) for i in range(frames)],
        f"{frames} generated cloud(s) of {points:,} points",
    )


def from_dataset(dataset: Dataset, frames: int) -> Inputs:
    """Frames spread evenly over the `val` split of a data set; all of it when it has fewer."""
    _check(frames)
    ids = dataset.ids("val")
    if not ids:
        raise UsageError(f"dataset {dataset.name!r} has no val frames to measure on")
    chosen = spread(ids, frames)
    return Inputs(
        [collate([dataset.frame(frame_id)]) for frame_id in chosen],
        f"{len(chosen)} val frame(s) of {dataset.name}",
    )


def spread(ids: list[str], most: int) -> list[str]:
    """At most that many of `ids`, evenly spread over them."""
    count = min(most, len(ids))
    return [ids[i * len(ids) // count] for i in range(count)]


def _cloud(point_range: tuple[float, ...], count: int, seed: int) -> Batch:
    rng = np.random.default_rng(seed)
    low, high = np.array(point_range[:3]), np.array(point_range[3:])
    share = np.stack(
        [rng.beta(1, 3, count), rng.beta(3, 3, count), rng.beta(1.5, 3, count)], axis=1
    )
    xyz = low + share * (high - low)
    points = np.concatenate([xyz, rng.random((count, 1))], axis=1)
    return unlabelled(points, f"generated-{seed}")


def _check(frames: int) -> None:
    if frames < 1:
        raise UsageError(f"frames must be at least 1, not {frames}")
