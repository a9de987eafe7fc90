"""Data sets that stand in KITTI's folders and file formats.

    root/training/velodyne/000000.bin     points, float32 x, y, z, reflectance
                  label_2/000000.txt      objects in the camera frame
                  calib/000000.txt        calibration
                  image_2/000000.png      left colour image, not needed
    root/ImageSets/train.txt, val.txt     frame ids of the splits, one a line

Cars, pedestrians and cyclists are training targets, or the classes of a table. As in the field,
Van, Truck, Person_sitting, Misc and Tram are not, nor are DontCare areas; `objects` gives them all
the same, for the evaluator must know what it may ignore.
"""

import functools
import hashlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from kdbench.class_table import parse_table, table_of, with_means
from kdbench.classes import ObjectClass, described, names_of
from kdbench.dataset import Dataset, DeviceFrames, Frame
from kdbench.datasets import gt_database
from kdbench.datasets.augmentation import (
    Plan,
    augment,
    augmentation_from,
    crop_to_range,
    draw_plan,
    shuffle_points,
)
from kdbench.datasets.device_frames import KittiDeviceFrames
from kdbench.datasets.fingerprint import FILES, tree_fingerprint
from kdbench.datasets.frame_cache import FrameCache
from kdbench.datasets.gt_database import GroundTruthDatabase
from kdbench.datasets.kitti_verify import Inspection
from kdbench.datasets.preflight import SAMPLED, check_once
from kdbench.datasets.progress import progress_bar
from kdbench.datasets.reading import Reading
from kdbench.datasets.recording import (
    AS_KITTI,
    Recording,
    read_camera,
    read_objects,
    read_recording,
)
from kdbench.errors import DataError, UsageError
from kdbench.geometry.calibration import Calibration
from kdbench.geometry.kitti_labels import KittiObjects, empty
from kdbench.storage.text import read_text

CACHE_BYTES = 2 * 10**9  # all of KITTI's train split, cropped to the image, needs 1.2 GB


class KittiTree(Dataset):
    """The reader of one KITTI tree.

    root: the folder that holds `training` and `ImageSets`.
    point_range: x0, y0, z0, x1, y1, z1 in metres; points outside, and boxes whose centre is
        outside, are dropped from frames. None keeps all.
    train_frames, val_frames: take only the first so many of a split.
    cache_dir: folder for the ground-truth database; None builds it anew in every process.
    augmentation: settings that differ from the defaults of `augmentation.Augmentation`.
    columns, crop, project_boxes, max_reflectance: how the files are read, see `reading.Reading`.
    classes: a table of other classes than KITTI's, see `kdbench/class_table.py`.
    """

    neutral: ClassVar[dict[str, Any]] = asdict(AS_KITTI) | {"classes": None}

    def __init__(
        self,
        *,
        root: Path | str | None = None,
        point_range=None,
        train_frames: int | None = None,
        val_frames: int | None = None,
        cache_dir: Path | str | None = None,
        augmentation: dict | None = None,
        columns: int = AS_KITTI.columns,
        crop: bool = AS_KITTI.crop,
        project_boxes: bool = AS_KITTI.project_boxes,
        max_reflectance: float = AS_KITTI.max_reflectance,
        classes: dict | None = None,
    ):
        self._kinds = self.kinds_of({"classes": classes})
        self.classes = names_of(self._kinds)
        self._has_table = classes is not None
        self.root = Path(self.locate(root)).expanduser()
        self.point_range = _checked_range(point_range)
        self.split_limits = {
            "train": _checked_count("train_frames", train_frames),
            "val": _checked_count("val_frames", val_frames),
        }
        self.cache_dir = None if cache_dir is None else Path(cache_dir).expanduser()
        self.augmentation = augmentation_from(augmentation, self.classes)
        self.reading = Reading(columns, crop, project_boxes, max_reflectance)
        self._cache = FrameCache(CACHE_BYTES)
        self._database: GroundTruthDatabase | None = None
        self._database_lock = threading.Lock()

    @classmethod
    def kinds_of(cls, options: dict[str, Any]) -> tuple[ObjectClass, ...]:
        """The classes of the option `classes`, or else KITTI's."""
        table = options.get("classes")
        return described(cls.classes) if table is None else parse_table(table)

    @property
    def kinds(self) -> tuple[ObjectClass, ...]:
        return self._kinds

    def recorded_options(self) -> dict[str, Any]:
        """The table of classes with all their settings; open sizes are means over `train`."""
        if not self._has_table:
            return {}
        return {"classes": table_of(with_means(self._kinds, self._training_labels()))}

    def _training_labels(self) -> Iterator[tuple[KittiObjects, Calibration]]:
        for frame_id in self.ids("train"):
            camera = read_camera(self.root / "training", frame_id, self.reading)
            yield self.objects(frame_id), camera[0]

    def locate(self, root: Path | str | None) -> Path | str:
        """The folder of the data, from the option `root`; a subclass may know a place itself."""
        if not root:
            raise DataError("give --data-root DIR: the folder that holds training/ and ImageSets/")
        return root

    def ids(self, split: str) -> list[str]:
        """Frame ids of `train` or `val` in the order of their ImageSets file."""
        if split not in self.split_limits:
            raise UsageError(f"no split {split!r}; there are {', '.join(self.split_limits)}")
        path = self.root / "ImageSets" / f"{split}.txt"
        listed = read_text(path, f"list of the split {split}'s frames, one a line").split()
        return listed[: self.split_limits[split]]

    def frame(self, frame_id: str) -> Frame:
        """One frame, its points cropped to the image frustum and to the point range."""
        return crop_to_range(self._recording(frame_id).frame, self.point_range)

    def training_frame(self, frame_id: str, rng: np.random.Generator) -> Frame:
        """One augmented frame; the range is cut last, for steps move points into it and out."""
        recording = self._recording(frame_id)
        frame = recording.frame
        if self.augmentation.enabled:
            database = self.database if self._counts else None
            frame = augment(
                frame, recording.obstacles, self.augmentation, database, self._counts, rng
            )
        return shuffle_points(crop_to_range(frame, self.point_range), rng)

    def on_device(self, device: torch.device) -> DeviceFrames | None:
        """Training frames kept on `device`, up to CACHE_BYTES of them; None if not augmented."""
        if not self.augmentation.enabled:
            return None
        database = self.database if self._counts else None

        def draw(frame_id: str, rng: np.random.Generator) -> tuple[Frame, Plan]:
            recording = self._recording(frame_id)
            frame, obstacles = recording.frame, recording.obstacles
            plan = draw_plan(frame, obstacles, self.augmentation, database, self._counts, rng)
            return frame, plan

        return KittiDeviceFrames(device, draw, database, self.point_range, CACHE_BYTES)

    def objects(self, frame_id: str) -> KittiObjects:
        """Every labelled object of a frame, in file order."""
        if not self._has_labels(frame_id):
            return empty()
        return read_objects(self.root / "training", frame_id, self._kinds, self.reading)

    def labelled(self, split: str) -> bool:
        """Whether any frame of a split has a label file; true of a split without frames."""
        ids = self.ids(split)
        return not ids or any(self._label_file(frame_id).exists() for frame_id in ids)

    @property
    def database(self) -> GroundTruthDatabase:
        """The objects that ground-truth sampling draws from; made when first asked for."""
        with self._database_lock:
            if self._database is None:
                recordings = (self._recording(frame_id) for frame_id in self.ids("train"))
                self._database = gt_database.load_or_build(
                    self.cache_dir, self.fingerprint(), recordings
                )
        return self._database

    def fingerprint(self) -> str:
        """Twelve hex digits over split ids and the bytes of clouds, labels and calibrations.

        Of the options, the number of frames enters, how files are read unless it is as KITTI's, and
        what counts as which class, and as found, unless there is no table of them.
        """
        return self._fingerprint

    @functools.cached_property
    def _fingerprint(self) -> str:
        return self._digest(tuple(self.split_limits), FILES)

    def _digest(self, splits: Sequence[str], files: Sequence[str]) -> str:
        """Twelve hex digits over `files` of the frames of splits, and how they are read."""
        listed = {split: self.ids(split) for split in splits}
        try:
            found = tree_fingerprint(self.root, listed, self.cache_dir, files)
        except OSError as error:
            raise DataError(f"{error.filename}: {error.strerror}; {self._advice}") from None
        if self.reading != AS_KITTI:
            found = _hashed(f"{found} {self.reading}")
        if self._has_table:  # sizes are the detector's, and may be open
            unsized = [replace(kind, size=None, bottom=None) for kind in self._kinds]
            found = _hashed(f"{found} {table_of(unsized)}")
        return found

    def preflight(self, splits: Sequence[str] = ("train", "val"), labels: bool = True) -> None:
        """Raises DataError when splits give nothing to train or judge on, or are misread."""
        whole = labels and set(splits) == set(self.split_limits)
        files = [name for name in FILES if labels or "label_2" not in name]
        key = self.fingerprint() if whole else self._digest(splits, files)
        inspection = self._inspection(labels, SAMPLED)
        look = functools.partial(inspection.problems, splits, self.ids)
        check_once(self.cache_dir, "-".join((key, *splits, *self.classes)), look, self._advice)

    def verify(self) -> list[str]:
        """One line for each file of both splits that is missing, damaged, misread or of no use."""
        with progress_bar("checking frames") as show:
            return self._inspection().problems(tuple(self.split_limits), self.ids, show)

    def _inspection(self, labelled: bool = True, sampled: int | None = None) -> Inspection:
        return Inspection(self.root, self._kinds, self.reading, labelled, sampled)

    def _label_file(self, frame_id: str) -> Path:
        return self.root / "training" / "label_2" / f"{frame_id}.txt"

    def _has_labels(self, frame_id: str) -> bool:
        """False for a frame of a split in which none has a label file."""
        if self._label_file(frame_id).exists():
            return True
        return not any(frame_id in self.ids(split) for split in self._unlabelled)

    @functools.cached_property
    def _unlabelled(self) -> list[str]:
        lists = [s for s in self.split_limits if (self.root / f"ImageSets/{s}.txt").exists()]
        return [split for split in lists if not self.labelled(split)]

    def _recording(self, frame_id: str) -> Recording:
        return self._cache.get(frame_id, self._read)

    def _read(self, frame_id: str) -> Recording:
        try:
            return read_recording(
                self.root / "training", frame_id, self._kinds, self.reading,
                self._has_labels(frame_id),
            )  # fmt: skip
        except DataError as error:
            raise DataError(f"{error}; {self._advice}") from None

    @property
    def _advice(self) -> str:
        return f"`kdbench data verify {self.root}` lists all that is missing or damaged"

    @functools.cached_property
    def _counts(self) -> dict[int, int]:
        """Label -> how many objects ground-truth sampling fills a frame up to."""
        samples = self.augmentation.samples
        return {self.classes.index(name): count for name, count in samples.items() if count > 0}


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _checked_count(option: str, count) -> int | None:
    if count is None or (type(count) is int and count > 0):
        return count
    raise UsageError(f"{option}: {count!r} is not a number of frames")


def _checked_range(point_range) -> np.ndarray | None:
    if point_range is None:
        return None
    try:
        low, high = np.asarray(point_range, np.float64).reshape(2, 3)
    except (TypeError, ValueError):
        low, high = np.ones(3), np.zeros(3)
    if not (low < high).all():
        raise UsageError(
            f"point_range: {point_range!r} is not x0, y0, z0, x1, y1, z1 with x0 < x1 and so on"
        )
    return np.concatenate([low, high])
