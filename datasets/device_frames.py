"""Training frames whose points stay on a device, and are augmented there.

So that threads of the CPU need not keep up with a GPU, the points of all frames and of the object
database are kept on the device (KITTI's train split, cropped to the image, is 1.2 GB) and every
step that touches points runs there, on all frames of a batch at once: a step is short, and what
it costs is that a kernel is called. What is random, and what concerns boxes alone, is drawn as on
the CPU by `augmentation.draw_plan`: the same seed gives the same frames, to the bit where the
device rounds sums and products as the CPU does.
"""

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from kdbench.dataset import Batch, DeviceFrames, Frame
from kdbench.datasets.augmentation import crop_to_range, move_whole, turn_between
from kdbench.datasets.gt_database import GroundTruthDatabase
from kdbench.ops.constants import constant
from kdbench.ops.point_grouping import gather_rows

NO_POINTS = np.zeros((0, 4), np.float32)
BOX, YAW, TURN, AFTER, PASTED = slice(0, 6), slice(7, 9), slice(9, 11), slice(11, 14), 14
NO_BOX = np.array([0, 0, 0, -1, -1, -1, *np.zeros(9)])  # holds no point


@dataclass(frozen=True, eq=False)
class Job:
    """A frame as recorded, and what is to be done to it."""

    frame: Frame
    pasted: np.ndarray  # (p,) int64, the points of the database that join it
    boxes: np.ndarray  # (m, 15) float64: the objects and how each moves, see `_box_rows`
    whole: np.ndarray  # (4,) float64: sign of y, cosine and sine of the turn, factor
    augmented: Frame  # but for its points
    rng: np.random.Generator  # draws the order of the points that are left


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
        self._lock = threading.Lock()
        self._objects = None if database is None else self._there(database.points)

    def plan(self, frame_id: str, rng: np.random.Generator) -> Job:
        frame, plan = self._draw(frame_id, rng)
        boxes, labels, rows = frame.boxes, frame.labels, np.zeros(0, np.int64)
        if len(plan.pasted):
            boxes = np.concatenate([boxes, self._database.boxes[plan.pasted]])
            labels = np.concatenate([labels, self._database.labels[plan.pasted]])
            rows = _rows_of(self._database.starts, plan.pasted)
        moves = _box_rows(boxes, plan.moved, len(plan.pasted))
        sign, turn = -1 if plan.flipped else 1, (math.cos(plan.angle), math.sin(plan.angle))
        bare = replace(frame, points=NO_POINTS, boxes=plan.moved, labels=labels)
        augmented = crop_to_range(move_whole(bare, plan), self._range)
        return Job(frame, rows, moves, np.array([sign, *turn, plan.factor]), augmented, rng)

    def batch(self, jobs: Sequence[Job]) -> Batch:
        points, there = self._clouds(jobs)
        boxes = self._there(_padded([job.boxes for job in jobs]))
        whole = self._there(np.stack([job.whole for job in jobs]))
        inside = _inside(points, boxes)
        own = torch.arange(points.shape[1], device=self.device) >= self._pasted_points(jobs)
        there &= ~(own & (inside & (boxes[:, None, :, PASTED] > 0)).any(2))
        xyz = _moved_whole(_carried(points[..., :3], inside, boxes), whole)
        there &= self._in_range(xyz)
        frames = [job.augmented for job in jobs]
        return Batch(
            ids=[frame.id for frame in frames],
            points=self._shuffled(torch.cat([xyz, points[..., 3:]], dim=2), there, jobs),
            boxes=self._split([frame.boxes for frame in frames]),
            labels=self._split([frame.labels for frame in frames]),
        )

    def _clouds(self, jobs: Sequence[Job]) -> tuple[Tensor, Tensor]:
        """Points (B, N, 4) of the frames, pasted ones first, and which of them exist (B, N)."""
        clouds = [self._points(job.frame) for job in jobs]
        if self._objects is not None:
            rows = self._there(np.concatenate([job.pasted for job in jobs]))
            pasted = self._objects[rows].split([len(job.pasted) for job in jobs])
            clouds = [torch.cat(pair) for pair in zip(pasted, clouds, strict=True)]
        counts = self._there(np.array([[len(cloud)] for cloud in clouds]))
        points = pad_sequence(clouds, batch_first=True)
        return points, torch.arange(points.shape[1], device=self.device) < counts

    def _pasted_points(self, jobs: Sequence[Job]) -> Tensor:
        """How many points (B, 1) join each frame."""
        return self._there(np.array([[len(job.pasted)] for job in jobs]))

    def _in_range(self, xyz: Tensor) -> Tensor:
        if self._range is None:
            return torch.ones_like(xyz[..., 0], dtype=torch.bool)
        low, high = constant(self._range.astype(np.float32).tolist(), xyz).view(2, 3)
        return ((xyz >= low) & (xyz < high)).all(dim=-1)

    def _shuffled(self, points: Tensor, there: Tensor, jobs: Sequence[Job]) -> Tensor:
        """The points that are there, in random order: (n, 5) with the frame's number."""
        counts = there.sum(1).tolist()  # the only wait for the device
        total, rows = sum(counts), there.numel()
        place = torch.where(there.flatten(), there.flatten().cumsum(0) - 1, total)
        row = place.new_empty(total + 1)
        row = row.scatter_(0, place, torch.arange(rows, device=self.device))[:total]
        orders = [job.rng.permutation(n) for job, n in zip(jobs, counts, strict=True)]
        starts = np.cumsum([0, *counts[:-1]])
        order = np.concatenate([start + o for start, o in zip(starts, orders, strict=True)])
        row = row[self._there(order)]
        number = (row // max(1, points.shape[1])).to(points.dtype)
        return torch.cat([number.unsqueeze(1), points.flatten(0, 1)[row]], dim=1)

    def _points(self, frame: Frame) -> Tensor:
        """The points of a frame as recorded, on the device."""
        with self._lock:
            kept = self._kept.get(frame.id)
            if kept is not None:
                return kept
            points = self._there(frame.points)
            if self.bytes + frame.points.nbytes <= self.max_bytes:
                self._kept[frame.id] = points
                self.bytes += frame.points.nbytes
            return points

    def _split(self, arrays: list[np.ndarray]) -> list[Tensor]:
        """Each of the arrays on the device, in one copy."""
        return list(self._there(np.concatenate(arrays)).split([len(x) for x in arrays]))

    def _there(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.array(array)).to(self.device, non_blocking=True)


def _rows_of(starts: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """Rows of the points of `objects` (k,), where object i has starts[i] to starts[i + 1]."""
    return np.concatenate([np.arange(starts[i], starts[i + 1]) for i in objects])


def _box_rows(before: np.ndarray, after: np.ndarray, pasted: int) -> np.ndarray:
    """What moves the points in boxes (m, 7), the last of which were `pasted`: (m, 15) float64.

    The box before with cosine and sine of its yaw, those of its turn, where its centre comes to,
    and 1 if it was pasted.
    """
    yaw = np.array([(math.cos(x), math.sin(x)) for x in before[:, 6]]).reshape(-1, 2)
    late = np.arange(len(before)) >= len(before) - pasted
    return np.column_stack([before, yaw, *turn_between(before, after), after[:, :3], late])


def _padded(boxes: list[np.ndarray]) -> np.ndarray:
    """Rows of boxes as (B, M, 15), frames with fewer filled up; M is at least 1."""
    padded = np.tile(NO_BOX, (len(boxes), max(1, *map(len, boxes)), 1))
    for row, mine in zip(padded, boxes, strict=True):
        row[: len(mine)] = mine
    return padded


def _inside(points: Tensor, boxes: Tensor) -> Tensor:
    """Which points (B, N, 4) are in which boxes (B, M, 15): (B, N, M), as `points_in_boxes`."""
    x, y, z, dx, dy, dz = boxes[:, None, :, BOX].unbind(3)  # (B, 1, M) each
    cos, sin = boxes[:, None, :, YAW].unbind(3)
    px, py, pz = points[..., None, :3].double().unbind(3)  # (B, N, 1)
    ax, ay = px - x, py - y
    inside = (pz - z).abs() <= dz / 2
    inside &= (ax * cos + ay * sin).abs() <= dx / 2
    return inside.logical_and_((ay * cos - ax * sin).abs() <= dy / 2)


def _carried(xyz: Tensor, inside: Tensor, boxes: Tensor) -> Tensor:
    """Positions (B, N, 3), each in a box moved with the first one it is in."""
    found, first = inside.max(dim=2)
    moves = torch.cat([boxes[..., TURN], boxes[..., :3], boxes[..., AFTER]], dim=2).to(xyz.dtype)
    moves = gather_rows(moves, first)
    (cos, sin), before, after = moves[..., :2].unbind(2), moves[..., 2:5], moves[..., 5:]
    return torch.where(found.unsqueeze(2), _turned(xyz - before, cos, sin) + after, xyz)


def _moved_whole(xyz: Tensor, whole: Tensor) -> Tensor:
    """As `augmentation.move_whole`, of positions (B, N, 3)."""
    sign, cos, sin, factor = whole.to(xyz.dtype).unsqueeze(2).unbind(1)  # (B, 1) each
    x, y, z = xyz.unbind(2)
    return _turned(torch.stack([x, y * sign, z], dim=2), cos, sin) * factor.unsqueeze(2)


def _turned(xyz: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Positions (B, N, 3) turned around the z axis; `cos` and `sin` broadcast with (B, N)."""
    x, y, z = xyz.unbind(-1)
    return torch.stack([x * cos - y * sin, x * sin + y * cos, z], dim=-1)
