"""Training frames whose points stay on a device, and are augmented there.

So that threads of the CPU need not keep up with a GPU, the points of all frames and of the object
database are kept on the device (KITTI's train split, cropped to the image, is 1.2 GB) and every
step that touches points runs there. What is random, and what concerns boxes alone, is drawn as on
the CPU by `augmentation.draw_plan`: the same seed gives the same frames, to the bit where the
device rounds sums and products as the CPU does.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from kdbench.dataset import Batch, DeviceFrames, Frame
from kdbench.datasets.augmentation import Plan, crop_to_range, move_whole, turn_between
from kdbench.datasets.gt_database import GroundTruthDatabase

NO_POINTS = np.zeros((0, 4), np.float32)


@dataclass(frozen=True, eq=False)
class Job:
    """A frame as recorded, and what is to be done to it."""

    frame: Frame
    plan: Plan
    rng: np.random.Generator  # draws the order of the points that are left

    def boxes(self, database: GroundTruthDatabase | None, point_range) -> Frame:
        """The augmented frame but for its points."""
        labels = self.frame.labels
        if database is not None:
            labels = np.concatenate([labels, database.labels[self.plan.pasted]])
        bare = replace(self.frame, points=NO_POINTS, boxes=self.plan.moved, labels=labels)
        return crop_to_range(move_whole(bare, self.plan), point_range)


class KittiDeviceFrames(DeviceFrames):
    """The training frames of a KITTI tree on `device`.

    `draw(frame_id, rng)` gives a frame as recorded with its plan. Points of frames are kept until
    they fill `max_bytes`; others are copied to the device each time.
    """

    def __init__(
        self,
        device: torch.device,
        draw,
        database: GroundTruthDatabase | None,
        point_range: np.ndarray | None,
        max_bytes: int,
    ):
        self.device, self.max_bytes, self.bytes = device, max_bytes, 0
        self._draw, self._database, self._range = draw, database, point_range
        self._kept: dict[str, Tensor] = {}
        self._objects = None if database is None else self._there(database.points)

    def plan(self, frame_id: str, rng: np.random.Generator) -> Job:
        return Job(*self._draw(frame_id, rng), rng)

    def batch(self, jobs: Sequence[Job]) -> Batch:
        clouds = [self._augmented(job) for job in jobs]
        frames = [job.boxes(self._database, self._range) for job in jobs]
        return Batch(
            ids=[frame.id for frame in frames],
            points=self._shuffled(clouds, [job.rng for job in jobs]),
            boxes=[self._there(frame.boxes) for frame in frames],
            labels=[self._there(frame.labels) for frame in frames],
        )

    def _augmented(self, job: Job) -> tuple[Tensor, Tensor]:
        """Points (n, 4) of a frame, and which of them (n,) are in it."""
        plan = job.plan
        points, before, there = self._points(job.frame), job.frame.boxes, None
        if len(plan.pasted):
            boxes = self._database.boxes[plan.pasted]
            there = self._box_of(points, boxes) < 0
            pasted = self._objects[self._there(_rows_of(self._database.starts, plan.pasted))]
            points = torch.cat([pasted, points])
            there = torch.cat([there.new_ones(len(pasted)), there])
            before = np.concatenate([before, boxes])
        points = self._carried(points, before, plan.moved)
        points = _moved_whole(points, plan)
        inside = self._in_range(points)
        return points, inside if there is None else inside & there

    def _carried(self, points: Tensor, before: np.ndarray, after: np.ndarray) -> Tensor:
        """Points (n, 4), those in a box of `before` (m, 7) moved with it to `after`."""
        if len(before) == 0:
            return points
        box = self._box_of(points, before)
        # Points in no box, -1, take the last one's; they are put back below.
        cos, sin = (self._there(x)[box] for x in turn_between(before, after))
        offset = points[:, :3] - self._there(before[:, :3])[box]
        moved = _turned(offset, cos, sin) + self._there(after[:, :3])[box]
        xyz = torch.where((box >= 0).unsqueeze(1), moved, points[:, :3])
        return torch.cat([xyz, points[:, 3:]], dim=1)

    def _box_of(self, points: Tensor, boxes: np.ndarray) -> Tensor:
        """As `geometry.boxes.box_of_points`."""
        rows = np.concatenate([boxes.astype(np.float64), _cos_sin(boxes)], axis=1)
        x, y, z, dx, dy, dz, _, cos, sin = self._there(rows).unbind(1)
        px, py, pz = points[:, :3].double().unsqueeze(2).unbind(1)  # (n, 1) each
        ax, ay = px - x, py - y
        inside = (pz - z).abs() <= dz / 2
        inside &= (ax * cos + ay * sin).abs() <= dx / 2
        inside &= (ay * cos - ax * sin).abs() <= dy / 2
        found, first = inside.max(dim=1)
        return first.where(found, -1)

    def _in_range(self, points: Tensor) -> Tensor:
        if self._range is None:
            return torch.ones_like(points[:, 0], dtype=torch.bool)
        low, high = self._there(self._range.astype(np.float32)).view(2, 3)
        return ((points[:, :3] >= low) & (points[:, :3] < high)).all(dim=1)

    def _shuffled(self, clouds: list[tuple[Tensor, Tensor]], draws) -> Tensor:
        """The points that are in their frames, in random order: (n, 5) with the frame's number."""
        points, inside = (torch.cat(parts) for parts in zip(*clouds, strict=True))
        counts = torch.stack([there.sum() for _, there in clouds]).tolist()  # waits for the device
        starts = np.cumsum([0, *counts[:-1]])
        orders = [rng.permutation(n) for rng, n in zip(draws, counts, strict=True)]
        order = np.concatenate([start + o for start, o in zip(starts, orders, strict=True)])
        rows = inside.nonzero().squeeze(1)[self._there(order)]
        number = self._there(np.repeat(np.arange(len(clouds), dtype=np.float32), counts))
        return torch.cat([number.unsqueeze(1), points[rows]], dim=1)

    def _points(self, frame: Frame) -> Tensor:
        """The points of a frame as recorded, on the device."""
        kept = self._kept.get(frame.id)
        if kept is not None:
            return kept
        points = self._there(frame.points)
        if self.bytes + frame.points.nbytes <= self.max_bytes:
            self._kept[frame.id] = points
            self.bytes += frame.points.nbytes
        return points

    def _there(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.array(array)).to(self.device, non_blocking=True)


def _rows_of(starts: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """Rows of the points of `objects` (k,), where object i has starts[i] to starts[i + 1]."""
    return np.concatenate([np.arange(starts[i], starts[i + 1]) for i in objects])


def _cos_sin(boxes: np.ndarray) -> np.ndarray:
    """Cosine and sine of the yaw of boxes (m, 7): (m, 2) float64."""
    return np.array([(math.cos(yaw), math.sin(yaw)) for yaw in boxes[:, 6]]).reshape(-1, 2)


def _moved_whole(points: Tensor, plan: Plan) -> Tensor:
    """As `augmentation.move_whole`, of points (n, 4)."""
    x, y, z, reflectance = points.unbind(1)
    if plan.flipped:
        y = -y
    xyz = torch.stack([x, y, z], dim=1)
    xyz = _turned(xyz, math.cos(plan.angle), math.sin(plan.angle)) * plan.factor
    return torch.cat([xyz, reflectance.unsqueeze(1)], dim=1)


def _turned(xyz: Tensor, cos, sin) -> Tensor:
    """Positions (n, 3) turned around the z axis; `cos` and `sin` are numbers or (n,)."""
    x, y, z = xyz.unbind(1)
    return torch.stack([x * cos - y * sin, x * sin + y * cos, z], dim=1)
