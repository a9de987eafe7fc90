"""The contract of a data set, and the frames and batches it gives."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch

from kdbench.classes import ObjectClass, described
from kdbench.errors import DataError
from kdbench.geometry.calibration import Calibration
from kdbench.geometry.kitti_labels import KittiObjects


@dataclass(frozen=True)
class Frame:
    """One LiDAR sweep with its ground truth, in the LiDAR frame (`geometry/boxes.py`)."""

    id: str
    points: np.ndarray  # (n, 4) float32: x, y, z in metres, reflectance 0..1
    boxes: np.ndarray  # (m, 7) float32, of the data set's classes only
    labels: np.ndarray  # (m,) int64, index into the data set's classes
    calibration: Calibration
    image_size: tuple[int, int]  # width, height in pixels


@dataclass
class Batch:
    """Frames side by side on one device."""

    ids: list[str]
    points: torch.Tensor  # (n, 5) float32: frame index in the batch, x, y, z, reflectance
    boxes: list[torch.Tensor]  # a frame: (m, 7) float32
    labels: list[torch.Tensor]  # a frame: (m,) int64

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on `device`."""
        return replace(
            self,
            points=self.points.to(device, non_blocking=True),
            boxes=[b.to(device, non_blocking=True) for b in self.boxes],
            labels=[x.to(device, non_blocking=True) for x in self.labels],
        )


def collate(frames: Sequence[Frame]) -> Batch:
    """Frames to one batch of CPU tensors; a frame without points or boxes is allowed."""
    points = [
        np.concatenate([np.full((len(f.points), 1), i, np.float32), f.points], axis=1)
        for i, f in enumerate(frames)
    ]
    return Batch(
        ids=[f.id for f in frames],
        points=torch.from_numpy(np.concatenate(points)),
        # Copies: a data set may hand out the arrays that it keeps.
        boxes=[torch.tensor(f.boxes) for f in frames],
        labels=[torch.tensor(f.labels) for f in frames],
    )


def unlabelled(points: np.ndarray, frame_id: str = "0") -> Batch:
    """A cloud (n, 4) without labels as a batch of its own."""
    frame = np.zeros((len(points), 1))
    return Batch(
        ids=[frame_id],
        points=torch.from_numpy(np.concatenate([frame, points], axis=1).astype(np.float32)),
        boxes=[torch.zeros(0, 7)],
        labels=[torch.zeros(0, dtype=torch.long)],
    )


class DeviceFrames(ABC):
    """Training frames whose points stay on a device and are augmented there.

    They equal `Dataset.training_frame` of the same generator. Any thread may ask for them; what
    it asks of the device must be on the device's default stream, where the training is.
    """

    @abstractmethod
    def plan(self, frame_id: str, rng: np.random.Generator) -> Any:
        """What the CPU draws for a frame."""

    @abstractmethod
    def batch(self, plans: Sequence[Any]) -> Batch:
        """The frames of `plans` as a batch on the device."""


class Dataset(ABC):
    """Frames of the splits `train` and `val`, their labels, and their classes.

    Built as `Dataset(**options)`; options a data set does not know are an error. Every run gives it
    `root` (of `--data-root`, or None), `cache_dir` (KDBENCH_HOME) and `point_range` (what the
    detector sees: x0, y0, z0, x1, y1, z1 in metres, or None; no frame has points or box centres
    outside). Profiles set `train_frames`, `val_frames` and `augmentation` where it has them.

    `classes` are names of KITTI's; who has others says with `kinds_of` and `kinds` what they are.
    """

    name: ClassVar[str]
    classes: tuple[str, ...] = ("Car", "Pedestrian", "Cyclist")
    evaluation: ClassVar[str] = "kitti"  # which evaluator scores it
    # Options that came after results were published -> the value at which nothing is new.
    neutral: ClassVar[dict[str, Any]] = {}
    limits: ClassVar[dict[str, tuple[float, float]]] = {}  # of options: smallest, largest value

    @classmethod
    def kinds_of(cls, options: dict[str, Any]) -> tuple[ObjectClass, ...]:
        """The classes of a data set with these options, sizes as far as these tell them."""
        return described(cls.classes)

    @property
    def kinds(self) -> tuple[ObjectClass, ...]:
        """`classes` with all that is known of them; sizes may be open."""
        return described(self.classes)

    def recorded_options(self) -> dict[str, Any]:
        """Options that were left open and that frames have told: they join a run's spec."""
        return {}

    @abstractmethod
    def ids(self, split: str) -> list[str]:
        """Frame ids of a split, in a fixed order."""

    @abstractmethod
    def frame(self, frame_id: str) -> Frame:
        """One frame as it was recorded. Raises DataError that names the file."""

    def training_frame(self, frame_id: str, rng: np.random.Generator) -> Frame:
        """One augmented frame; everything random in it is drawn from `rng`."""
        return self.frame(frame_id)

    def on_device(self, device: torch.device) -> DeviceFrames | None:
        """Training frames kept on `device`; None if this data set has them on the CPU only."""
        return None

    @abstractmethod
    def objects(self, frame_id: str) -> KittiObjects:
        """Every labelled object of a frame for the evaluator, ignored classes included."""

    @abstractmethod
    def fingerprint(self) -> str:
        """A short hash of what the frames are: the same data on another path gives the same."""

    def preflight(self, splits: Sequence[str] = ("train", "val"), labels: bool = True) -> None:
        """Raises DataError when a split gives nothing to train or judge on, and says why.

        It is asked before anything is trained, and should take a second at the most. Without
        `labels` it is enough that there are frames.
        """
        for split in splits:
            ids = self.ids(split)
            if not ids:
                raise DataError(f"{self.name}: the split {split} has no frames")
            if labels and not any(self._has_target(frame_id) for frame_id in ids):
                raise DataError(
                    f"{self.name}: no {', '.join(self.classes)} in any of the {len(ids)} frames of"
                    f" the split {split}: nothing to train or judge on"
                )

    def _has_target(self, frame_id: str) -> bool:
        return bool(np.isin(self.objects(frame_id).names, self.classes).any())

    def labelled(self, split: str) -> bool:
        """Whether a split has labels; of one without, frames have no boxes and are not judged."""
        return True

    @abstractmethod
    def verify(self) -> list[str]:
        """One line for each missing or damaged file, and all else; empty when all is well."""
