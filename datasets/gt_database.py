"""The ground-truth database: every usable training object with the points on it.

It is made once for a data set and kept as one file; sampling pastes objects from it into other
frames (`gt_sampling.py`).
"""

import functools
import warnings
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from kdbench.datasets.recording import Recording
from kdbench.geometry.boxes import BOX_COLUMNS, points_in_boxes
from kdbench.storage.files import replacing
from kdbench.storage.lock import alone

MIN_POINTS = 5  # an object with fewer points teaches more noise than shape
VERSION = 2  # part of the file name: raise it when what is stored changes


@dataclass(frozen=True, eq=False)
class GroundTruthDatabase:
    """Objects of the train split as parallel arrays of length n, points of all in one array."""

    points: np.ndarray  # (p, 4) float32, LiDAR frame of the sweep they were recorded in
    starts: np.ndarray  # (n + 1,) int64: object i has points[starts[i]:starts[i + 1]]
    boxes: np.ndarray  # (n, 7) float32
    labels: np.ndarray  # (n,) int64, index into the data set's classes
    difficulty: np.ndarray  # (n,) int64: 0 easy, 1 moderate, 2 hard

    def __len__(self) -> int:
        return len(self.boxes)

    def points_of(self, index: int) -> np.ndarray:
        """The points (k, 4) on object `index`."""
        return self.points[self.starts[index] : self.starts[index + 1]]

    @functools.cached_property
    def by_label(self) -> dict[int, np.ndarray]:
        """Label -> indices of its objects."""
        return {int(label): np.flatnonzero(self.labels == label) for label in set(self.labels)}


def build(recordings: Iterable[Recording]) -> GroundTruthDatabase:
    """The objects of `recordings` that have a KITTI difficulty and at least MIN_POINTS points."""
    crops, boxes = [np.zeros((0, 4), np.float32)], [np.zeros((0, BOX_COLUMNS), np.float32)]
    labels, levels = [], []
    for recording in recordings:
        frame = recording.frame
        inside = points_in_boxes(frame.points, frame.boxes)
        usable = (inside.sum(axis=0) >= MIN_POINTS) & (recording.difficulty >= 0)
        for i in np.flatnonzero(usable):
            crops.append(frame.points[inside[:, i]])
            boxes.append(frame.boxes[i : i + 1])
            labels.append(frame.labels[i])
            levels.append(recording.difficulty[i])
    return GroundTruthDatabase(
        points=np.concatenate(crops),
        starts=np.cumsum([len(crop) for crop in crops]),  # the first crop is the empty one
        boxes=np.concatenate(boxes),
        labels=np.array(labels, np.int64),
        difficulty=np.array(levels, np.int64),
    )


def load_or_build(
    folder: Path | None, fingerprint: str, recordings: Iterable[Recording]
) -> GroundTruthDatabase:
    """The database in `folder` for a data set's `fingerprint`; built and written when not there.

    A damaged file is built anew, with a warning. Without a folder nothing is written.
    """
    if folder is None:
        return build(recordings)
    path = folder / f"gt-database-v{VERSION}-{fingerprint}.npz"
    database = _load(path)
    if database is not None:
        return database
    with alone(folder, (f".{path.name}.*",)):
        database = _load(path)  # another process may have made it meanwhile
        if database is None:
            database = build(recordings)
            with replacing(path) as temporary, temporary.open("wb") as file:
                np.savez(file, **{f.name: getattr(database, f.name) for f in fields(database)})
    return database


def _load(path: Path) -> GroundTruthDatabase | None:
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            database = GroundTruthDatabase(**arrays)
        _check(database)
    except (OSError, EOFError, ValueError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        warnings.warn(f"{path}: damaged, built anew ({error})", RuntimeWarning, stacklevel=2)
        return None
    return database


def _check(database: GroundTruthDatabase) -> None:
    counts = {len(database.starts) - 1, len(database.boxes), len(database.labels)}
    if len(counts) != 1 or database.starts[-1] != len(database.points):
        raise ValueError("its arrays do not fit together")
