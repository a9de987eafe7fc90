"""Augmentation of training frames, as PointPillars and SECOND train on KITTI.

Each step takes a frame and gives a new one; everything random is drawn from the generator it is
given, so the same generator state gives the same bytes. The calibration and the image size of an
augmented frame stay those of the recording and no longer fit its points.
"""

from dataclasses import dataclass, field, fields, replace
from math import cos, pi, sin

import numpy as np
from numba import njit

from kdbench.dataset import Dataset, Frame
from kdbench.datasets.collision import collides_with_any
from kdbench.datasets.gt_database import GroundTruthDatabase
from kdbench.datasets.gt_sampling import choose_objects, paste
from kdbench.errors import UsageError
from kdbench.geometry.boxes import box_of_points, wrap_angle
from kdbench.registry.options import coerce
from kdbench.registry.suggest import unknown

SAMPLES = 15  # of each class


@dataclass(frozen=True)
class Augmentation:
    """Settings of the augmentation; the defaults are those of PointPillars."""

    enabled: bool = True  # False: training frames are the recorded ones, shuffled
    # Class -> how many of it a frame is filled up to by ground-truth sampling; none of a class
    # that is left out.
    samples: dict[str, int] = field(default_factory=lambda: dict.fromkeys(Dataset.classes, SAMPLES))
    object_translation: float = 0.25  # sigma in metres, along each axis
    object_rotation: float = pi / 20  # largest turn of one object in radians, either way
    object_tries: int = 100  # moves tried for an object before it stays where it is
    flip: float = 0.5  # probability of a mirrored frame (left and right exchanged)
    rotation: float = pi / 4  # largest turn of the whole frame in radians, either way
    scale: tuple[float, float] = (0.95, 1.05)  # smallest and largest scaling of the whole frame


def augmentation_from(options: dict | None, classes: tuple[str, ...]) -> Augmentation:
    """Settings from `options`, defaults where not given; None is all defaults.

    Raises UsageError for a key or a class that does not exist and for a value that cannot be.
    """
    if not isinstance(options or {}, dict):
        raise UsageError(f"augmentation: {options!r} is not settings with values")
    usual = Augmentation(samples=dict.fromkeys(classes, SAMPLES))
    values = {f.name: getattr(usual, f.name) for f in fields(Augmentation)}
    for key, value in (options or {}).items():
        if key not in values:
            raise UsageError(unknown("setting of augmentation", key, values))
        values[key] = coerce(f"augmentation.{key}", value, values[key])
        if isinstance(values[key], (int, float)) and values[key] < 0:
            raise UsageError(f"augmentation.{key}: {value} is below 0")
    _check_samples(values["samples"], classes)
    _check_scale(values["scale"])
    return Augmentation(**values)


def _check_samples(samples: dict[str, int], classes: tuple[str, ...]) -> None:
    for name, count in samples.items():
        if name not in classes:
            raise UsageError(unknown("class in augmentation.samples", name, classes))
        coerce(f"augmentation.samples.{name}", count, 0)


def _check_scale(limits) -> None:
    numbers = all(isinstance(limit, (int, float)) for limit in limits)
    if not (len(limits) == 2 and numbers and 0 < limits[0] <= limits[1]):
        raise UsageError(f"augmentation.scale: {limits} is not a smallest and a largest factor")


@dataclass(frozen=True, eq=False)
class Plan:
    """All that was drawn for one frame; drawing it looks at boxes only, not at points."""

    pasted: np.ndarray  # (k,) int64, objects of the database
    moved: np.ndarray  # (m, 7) float32: the frame's boxes and the pasted ones, after their moves
    flipped: bool
    angle: float  # radians
    factor: float


def augment(
    frame: Frame,
    obstacles: np.ndarray,
    settings: Augmentation,
    database: GroundTruthDatabase | None,
    counts: dict[int, int],
    rng: np.random.Generator,
) -> Frame:
    """`frame` after all random steps in the field's order; no sampling without a `database`.

    For `obstacles` and `counts` see `sample_ground_truth`.
    """
    plan = draw_plan(frame, obstacles, settings, database, counts, rng)
    if database is not None:
        frame = paste(frame, database, plan.pasted)
    return move_whole(carry(frame, plan.moved), plan)


def draw_plan(
    frame: Frame,
    obstacles: np.ndarray,
    settings: Augmentation,
    database: GroundTruthDatabase | None,
    counts: dict[int, int],
    rng: np.random.Generator,
) -> Plan:
    """What `augment` will do to `frame`."""
    pasted, boxes = np.zeros(0, np.int64), frame.boxes
    if database is not None:
        pasted = choose_objects(frame, obstacles, database, counts, rng)
        boxes = np.concatenate([boxes, database.boxes[pasted]])
    return Plan(
        pasted,
        choose_moves(boxes, obstacles, settings, rng),
        flipped=rng.random() < settings.flip,
        angle=rng.uniform(-settings.rotation, settings.rotation),
        factor=rng.uniform(*settings.scale),
    )


def move_whole(frame: Frame, plan: Plan) -> Frame:
    """The frame after the steps of `plan` that move all of it."""
    if plan.flipped:
        frame = flip(frame)
    return scale(rotate(frame, plan.angle), plan.factor)


def choose_moves(
    boxes: np.ndarray, obstacles: np.ndarray, settings: Augmentation, rng: np.random.Generator
) -> np.ndarray:
    """Boxes (m, 7) moved and turned a little.

    Up to `object_tries` moves are drawn for each; the first that collides with no other box is
    taken, and where all do the object stays.
    """
    tries, count = settings.object_tries, len(boxes)
    shifts = rng.normal(0, settings.object_translation, (count, tries, 3))
    turns = rng.uniform(-settings.object_rotation, settings.object_rotation, (count, tries))
    places = np.concatenate([boxes, obstacles]).astype(np.float64)
    _first_free_moves(places, shifts, turns)
    moved = places[:count].astype(np.float32)
    moved[:, 6] = wrap_angle(moved[:, 6])
    return moved


@njit(cache=True, nogil=True)
def _first_free_moves(boxes, shifts, turns):
    """Moves the first len(shifts) of `boxes` in place, each by its first move that is free."""
    for i in range(len(shifts)):
        for k in range(shifts.shape[1]):
            candidate = boxes[i].copy()
            candidate[:3] += shifts[i, k]
            candidate[6] += turns[i, k]
            if not collides_with_any(candidate, boxes, i):
                boxes[i] = candidate
                break


def carry(frame: Frame, moved: np.ndarray) -> Frame:
    """The frame with its boxes at `moved` (m, 7), and the points in them with them."""
    points = frame.points.copy()
    box = box_of_points(points, frame.boxes)
    carried = np.flatnonzero(box >= 0)
    box = box[carried]
    cos, sin = turn_between(frame.boxes, moved)
    offset = points[carried, :3] - frame.boxes[box, :3]
    points[carried, :3] = _turned(offset, cos[box], sin[box]) + moved[box, :3]
    return replace(frame, points=points, boxes=moved)


def turn_between(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine (m,) of the angle between boxes (m, 7)."""
    turn = after[:, 6] - before[:, 6]
    return np.cos(turn), np.sin(turn)


def flip(frame: Frame) -> Frame:
    """The frame mirrored at the x axis: left and right exchanged."""
    points, boxes = frame.points.copy(), frame.boxes.copy()
    points[:, 1] *= -1
    boxes[:, [1, 6]] *= -1
    return replace(frame, points=points, boxes=boxes)


def rotate(frame: Frame, angle: float) -> Frame:
    """The frame turned by `angle` (radians, counter-clockwise from above) around the sensor."""
    points, boxes = frame.points.copy(), frame.boxes.copy()
    points[:, :3] = _turned(points[:, :3], cos(angle), sin(angle))
    boxes[:, :3] = _turned(boxes[:, :3], cos(angle), sin(angle))
    boxes[:, 6] = wrap_angle(boxes[:, 6] + angle)
    return replace(frame, points=points, boxes=boxes)


def scale(frame: Frame, factor: float) -> Frame:
    """The frame with all distances and sizes multiplied by `factor`."""
    points, boxes = frame.points.copy(), frame.boxes.copy()
    points[:, :3] *= factor
    boxes[:, :6] *= factor
    return replace(frame, points=points, boxes=boxes)


def crop_to_range(frame: Frame, point_range: np.ndarray | None) -> Frame:
    """The frame without points, and boxes by their centre, outside `point_range`.

    `point_range` (6,) is x0, y0, z0, x1, y1, z1 in metres, the upper ends excluded; None keeps
    all. The arrays are new ones in either case.
    """
    points = np.flatnonzero(_within(frame.points, point_range))
    boxes = _within(frame.boxes, point_range)
    return replace(
        frame,
        points=frame.points.take(points, axis=0),  # faster than by index
        boxes=frame.boxes[boxes],
        labels=frame.labels[boxes],
    )


def _within(rows: np.ndarray, point_range: np.ndarray | None) -> np.ndarray:
    if point_range is None:
        return np.ones(len(rows), np.bool_)
    low, high = point_range.astype(np.float32).reshape(2, 3)
    inside = np.ones(len(rows), np.bool_)
    for axis in range(3):  # one column at a time is faster than all three at once
        inside &= (rows[:, axis] >= low[axis]) & (rows[:, axis] < high[axis])
    return inside


def shuffle_points(frame: Frame, rng: np.random.Generator) -> Frame:
    """The frame with its points in random order, so that no voxel keeps pasted points first."""
    order = rng.permutation(len(frame.points))
    return replace(frame, points=frame.points.take(order, axis=0))


def _turned(xyz: np.ndarray, cos, sin) -> np.ndarray:
    """Positions (n, 3) turned around the z axis; `cos` and `sin` are numbers or (n,)."""
    x, y = xyz[:, 0], xyz[:, 1]
    turned = xyz.copy()
    turned[:, 0] = x * cos - y * sin
    turned[:, 1] = x * sin + y * cos
    return turned
