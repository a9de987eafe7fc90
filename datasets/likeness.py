"""What decides whether a detector that learned from one data set finds objects in another.

Two things that a detector trained on simulated frames was led astray by on real ones: where the
points of a car lie behind its near end, by which it is placed, and what stands about that has the
size of a person, in which people are seen.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from kdbench.dataset import Frame
from kdbench.geometry.boxes import points_in_boxes

BEHIND = np.radians(15)  # between a car's heading and the view: seen from behind
NEAR, FAR = 8.0, 30.0  # metres
ENLARGED = (0.0, 0.0, 0.0, 0.3, 0.2, 0.1, 0.0)  # on boxes, against labels that are a little off

CELL, COLUMN = 0.3, 2.0  # metres: cells that hang together, and columns that share a ground
OFF_GROUND = 0.25  # metres above it
BLOB_RANGE = (5.0, 40.0)  # metres
TALL, WIDE, FEWEST = (0.6, 2.0), 1.2, 10  # metres of a person's size, and its fewest points
APART = (0.0, 0.0, 0.0, 0.6, 0.6, 0.6, 0.0)  # on boxes: what touches an object is none of these


@dataclass(frozen=True)
class Blob:
    """A thing that stands alone, is no labelled object, and is as large as a person."""

    height: float  # metres that its points span
    width: float  # metres, the larger horizontal side
    points: int
    reflectance_spread: float  # standard deviation


def depths_behind(frame: Frame, label: int = 0) -> np.ndarray:
    """Metres (n,) from the near end of objects seen from behind, cars, to each of their points.

    They are the objects of `label` between NEAR and FAR.
    """
    boxes = frame.boxes[frame.labels == label].astype(np.float64)
    distance = np.hypot(boxes[:, 0], boxes[:, 1])
    turned = boxes[:, 6] - np.arctan2(boxes[:, 1], boxes[:, 0])
    turned = (turned + np.pi) % (2 * np.pi) - np.pi
    boxes = boxes[(distance > NEAR) & (distance < FAR) & (np.abs(turned) < BEHIND)]
    inside = points_in_boxes(frame.points, boxes + ENLARGED)
    found = [np.zeros(0)]
    for box, own in zip(boxes, inside.T, strict=True):
        x, y = (frame.points[own, :2] - box[:2]).T
        found.append(box[3] / 2 + x * np.cos(box[6]) + y * np.sin(box[6]))
    return np.concatenate(found)


def person_sized(frame: Frame) -> list[Blob]:
    """The blobs of a frame: what hangs together off the ground and has a person's size."""
    points = frame.points[np.hypot(frame.points[:, 0], frame.points[:, 1]) < BLOB_RANGE[1]]
    points = points[points[:, 2] - _ground(points) > OFF_GROUND]
    if not len(points):
        return []
    cell = np.floor(points[:, :2] / CELL).astype(int)
    cell -= cell.min(axis=0)
    taken = np.zeros(cell.max(axis=0) + 1, bool)
    taken[tuple(cell.T)] = True
    names, count = ndimage.label(taken, np.ones((3, 3)))
    name = names[tuple(cell.T)]
    order = np.argsort(name, kind="stable")
    groups = np.split(points[order], np.cumsum(np.bincount(name, minlength=count + 1))[:-1])
    blobs = [group for group in groups if _has_size(group)]
    free = _free([group[:, :3].mean(axis=0) for group in blobs], frame.boxes)
    return [_blob(group) for group, alone in zip(blobs, free, strict=True) if alone]


def _ground(points: np.ndarray) -> np.ndarray:
    """Height (n,) of the lowest point of each point's column."""
    column = np.floor(points[:, :2] / COLUMN).astype(np.int64)
    _, row = np.unique(column[:, 0] * 100_000 + column[:, 1], return_inverse=True)
    lowest = np.full(row.max(initial=0) + 1, np.inf)
    np.minimum.at(lowest, row, points[:, 2])
    return lowest[row]


def _has_size(group: np.ndarray) -> bool:
    if len(group) < FEWEST:
        return False
    side = np.ptp(group[:, :3], axis=0)
    near = np.hypot(*group[:, :2].mean(axis=0)) > BLOB_RANGE[0]
    return near and max(side[:2]) <= WIDE and TALL[0] <= side[2] <= TALL[1]


def _free(centres: list[np.ndarray], boxes: np.ndarray) -> np.ndarray:
    """Which centres (k,) lie in no labelled object."""
    if not centres or not len(boxes):
        return np.ones(len(centres), bool)
    return ~points_in_boxes(np.array(centres), boxes + np.array(APART)).any(axis=1)


def _blob(group: np.ndarray) -> Blob:
    side = np.ptp(group[:, :3], axis=0)
    return Blob(float(side[2]), float(max(side[:2])), len(group), float(group[:, 3].std()))
