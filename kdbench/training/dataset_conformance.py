"""What every data set must keep to, checked on its first frames. `kdbench check` runs it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from kdbench.dataset import Dataset, Frame
from kdbench.geometry.boxes import boxes_camera_to_lidar, points_in_boxes
from kdbench.geometry.calibration import Calibration
from kdbench.geometry.kitti_labels import KittiObjects
from kdbench.runs.profiles import PROFILES
from kdbench.runs.settings import build_spec
from kdbench.runs.spec import RunSpec
from kdbench.training.conformance import run_checks
from kdbench.training.data import build_dataset
from kdbench.training.tap_conformance import must

SPLITS = ("train", "val")
FRAMES = 8  # of each split that are looked at
NEAR = 0.05  # metres between a box and the object that it is of; label files have two digits


@dataclass(frozen=True)
class Source:
    """The data set of a run, as the run builds it."""

    spec: RunSpec
    root: str | None  # of `--data-root`

    def build(self) -> Dataset:
        """The data set anew."""
        return build_dataset(self.spec, self.root)

    @property
    def limits(self) -> np.ndarray:
        """Corners (2, 3) of what the run's detector sees: lower, upper, in metres."""
        return np.reshape(self.spec.detector.options["point_range"], (2, 3))


def check_dataset(spec: RunSpec, root: str | None = None) -> list[str]:
    """Runs every check of the data set of a run; returns what was checked.

    Raises Failed with what went wrong.
    """
    source = Source(spec, root)
    checks = ((name, partial(check, source)) for name, check in CHECKS.items())
    return run_checks(spec.dataset.name, checks)


def _options(source: Source) -> None:
    for profile in PROFILES:
        build_spec(profile=profile, dataset=source.spec.dataset.name)


def _ids(source: Source) -> None:
    dataset, again = source.build(), source.build()
    for split in SPLITS:
        ids = dataset.ids(split)
        must(ids, f"the split {split} has no frames")
        must(all(isinstance(i, str) for i in ids), f"ids of {split} must be text")
        must(len(set(ids)) == len(ids), f"an id stands in {split} twice")
        must(ids == dataset.ids(split) == again.ids(split), f"{split} has another order each time")
    shared = sorted(set(dataset.ids("train")) & set(dataset.ids("val")))
    must(not shared, f"{len(shared)} frames are in train and in val: {shared[:1]}")


def _each_frame(dataset: Dataset) -> Iterator[str]:
    for split in SPLITS:
        yield from dataset.ids(split)[:FRAMES]


def _frames(source: Source) -> None:
    dataset, again = source.build(), source.build()
    for frame_id in _each_frame(dataset):
        frame = dataset.frame(frame_id)
        must(frame.id == frame_id, f"frame {frame_id} says that it is {frame.id}")
        _check_frame(frame, dataset, source.limits)
        must(_equal(frame, again.frame(frame_id)), f"frame {frame_id} is another the second time")


def _check_frame(frame: Frame, dataset: Dataset, limits: np.ndarray) -> None:
    where, labels = f"frame {frame.id}", frame.labels
    for what, array, columns in (("points", frame.points, 4), ("boxes", frame.boxes, 7)):
        found = f"{array.dtype} {array.shape}"
        right = array.dtype == np.float32 and array.ndim == 2 and array.shape[1] == columns
        must(right, f"{where}: {what} are {found}, not float32 (n, {columns})")
        must(np.isfinite(array).all(), f"{where}: {what} are not finite")
        inside = (array[:, :3] >= limits[0]) & (array[:, :3] <= limits[1])
        must(inside.all(), f"{where}: {what} are outside of point_range")
    right = labels.dtype == np.int64 and labels.shape == (len(frame.boxes),)
    must(right, f"{where}: labels are {labels.dtype} {labels.shape}, not int64 (boxes,)")
    known = ((labels >= 0) & (labels < len(dataset.classes))).all()
    must(known, f"{where}: a label is not below {len(dataset.classes)}, the number of classes")
    reflectance = frame.points[:, 3]
    must(((reflectance >= 0) & (reflectance <= 1)).all(), f"{where}: reflectance must be 0..1")
    must((frame.boxes[:, 3:6] > 0).all(), f"{where}: a box has a size of 0 or less")
    must(isinstance(frame.calibration, Calibration), f"{where}: has no Calibration")
    size = frame.image_size
    must(len(size) == 2 and min(size) > 0, f"{where}: image_size is {size}, not width and height")


def _training_frames(source: Source) -> None:
    dataset, again = source.build(), source.build()
    for frame_id in dataset.ids("train")[:FRAMES]:
        before = dataset.frame(frame_id)
        first, second = (
            d.training_frame(frame_id, np.random.default_rng(7)) for d in (dataset, again)
        )
        _check_frame(first, dataset, source.limits)
        must(_equal(first, second), f"frame {frame_id}: one seed gives two training frames")
        must(_equal(before, dataset.frame(frame_id)), f"frame {frame_id}: augmenting changes it")


def _objects(source: Source) -> None:
    dataset = source.build()
    touched = 0
    for frame_id in _each_frame(dataset):
        frame, objects = dataset.frame(frame_id), dataset.objects(frame_id)
        must(isinstance(objects, KittiObjects), f"frame {frame_id}: objects are no KittiObjects")
        theirs = boxes_camera_to_lidar(
            objects.hwl, objects.location, objects.rotation_y, frame.calibration
        )
        for box, label in zip(frame.boxes, frame.labels, strict=True):
            kind = dataset.classes[label]
            off = np.abs(theirs[objects.names == kind, :6] - box[:6]).max(axis=1, initial=0.0)
            near = off.min(initial=np.inf) < NEAR
            must(near, f"frame {frame_id}: no {kind} of `objects` is where a box of the frame is")
        touched += points_in_boxes(frame.points, frame.boxes).any(axis=0).sum()
    must(touched, "no box has a point in it: are boxes and points in one frame?")


def _fingerprint(source: Source) -> None:
    first, second = source.build().fingerprint(), source.build().fingerprint()
    must(isinstance(first, str) and first, f"the fingerprint is {first!r}, not a short text")
    must(first == second, f"two fingerprints of the same data: {first}, {second}")


def _whole(source: Source) -> None:
    dataset = source.build()
    dataset.preflight()
    problems = dataset.verify()
    must(not problems, f"verify names {len(problems)} problems: {problems[:1]}")


def _equal(first: Frame, second: Frame) -> bool:
    """Whether frames have the same points, boxes and labels, bit for bit."""
    pairs = ((getattr(first, n), getattr(second, n)) for n in ("points", "boxes", "labels"))
    return all(np.array_equal(one, other) for one, other in pairs)


CHECKS = {
    "takes the options of every profile": _options,
    "ids in a fixed order, splits disjoint": _ids,
    "frames: shapes, types, ranges; the same twice": _frames,
    "training frames follow their seed": _training_frames,
    "objects are where the boxes are": _objects,
    "one fingerprint": _fingerprint,
    "preflight and verify find nothing": _whole,
}
