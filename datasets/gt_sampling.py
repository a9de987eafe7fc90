"""Ground-truth sampling: objects of other frames pasted into this one (Yan et al., SECOND, 2018).

A KITTI frame holds a handful of objects; the rare classes are learnt mostly from pasted ones.
"""

from dataclasses import replace

import numpy as np

from kdbench.dataset import Frame
from kdbench.datasets.collision import free_of_collision
from kdbench.datasets.gt_database import GroundTruthDatabase
from kdbench.geometry.boxes import box_of_points


def sample_ground_truth(
    frame: Frame,
    obstacles: np.ndarray,
    database: GroundTruthDatabase,
    counts: dict[int, int],
    rng: np.random.Generator,
) -> Frame:
    """`frame` with objects pasted in until each label has as many as `counts` says.

    An object keeps the place it was recorded at, its height too: KITTI's road planes, which
    some use to set objects on the ground, are no part of the standard download. One that would
    collide with a box of the frame, with `obstacles` (k, 7) or with one pasted before is left
    out, so a frame may end with fewer. Scene points inside a pasted box make way for its own.
    """
    return paste(frame, database, choose_objects(frame, obstacles, database, counts, rng))


def choose_objects(
    frame: Frame,
    obstacles: np.ndarray,
    database: GroundTruthDatabase,
    counts: dict[int, int],
    rng: np.random.Generator,
) -> np.ndarray:
    """Which objects of `database` to paste: (k,) indices; see `sample_ground_truth`."""
    drawn = _draw(frame.labels, database, counts, rng)
    taken = np.concatenate([frame.boxes, obstacles])
    return drawn[free_of_collision(database.boxes[drawn], taken)]


def paste(frame: Frame, database: GroundTruthDatabase, pasted: np.ndarray) -> Frame:
    """`frame` with the objects `pasted` (k,), their points first."""
    if len(pasted) == 0:
        return frame
    boxes = database.boxes[pasted]
    scene = frame.points[box_of_points(frame.points, boxes) < 0]
    return replace(
        frame,
        points=np.concatenate([*(database.points_of(i) for i in pasted), scene]),
        boxes=np.concatenate([frame.boxes, boxes]),
        labels=np.concatenate([frame.labels, database.labels[pasted]]),
    )


def _draw(labels, database, counts, rng) -> np.ndarray:
    """Indices of objects to try, without repetition: what the frame lacks of each label."""
    drawn = [np.zeros(0, np.int64)]
    for label, count in counts.items():
        pool = database.by_label.get(label, drawn[0])
        lacking = min(max(count - int((labels == label).sum()), 0), len(pool))
        drawn.append(rng.choice(pool, lacking, replace=False))
    return np.concatenate(drawn)
