"""What defines a run. Two runs with the same `RunSpec` are the same run.

A run's hash stands in the paths of records and weights, published ones too, so it must not move.
A setting that comes later is declared with `later(neutral)`: `neutral` is the value at which a run
is what it was before the setting existed, and at that value the setting stays out of the hash and
of the record. The same holds for a plugin's options (`Plugin.neutral`, see `registry/options.py`).
"""

import copy
import hashlib
import json
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from kdbench.runs import schema1

ANY = "any"  # device of a run that is the same wherever it is carried out


def later(neutral: Any):
    """A field that came after hashes were published."""
    return field(default=neutral, metadata={"neutral": neutral})


@dataclass(frozen=True)
class DatasetSpec:
    """Which frames. `fingerprint` identifies them wherever they lie; it is filled in."""

    name: str = "synthetic"
    options: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = ""


@dataclass(frozen=True)
class DetectorSpec:
    """Which network, how much compressed."""

    name: str = "pointpillars"
    ratio: float = 1.0
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MethodSpec:
    """Which distillation method, with all its options."""

    name: str = "none"
    options: dict[str, Any] = field(default_factory=dict)
    scale: float = 1.0  # factor on all of the method's losses, beside its published weights


@dataclass(frozen=True)
class TrainSpec:
    """The training schedule: AdamW under a one-cycle rate, as SECOND and PointPillars use."""

    steps: int = 625  # optimiser steps; epochs follow from the size of the data set
    batch_size: int = 4
    lr: float = 3e-3  # peak of the cycle
    weight_decay: float = 0.01
    grad_clip: float = 10.0
    warmup: float = 0.4  # share of the steps in which the rate rises
    precision: str = "float32"  # of the networks in training; losses are always float32
    beta2: float = later(0.999)  # of AdamW: how long the squares of gradients are remembered


@dataclass(frozen=True)
class TeacherSpec(TrainSpec):
    """What a method learns from: a full-width network, and how it was trained.

    Its schedule is the profile's, or that of `--set teacher.*`; a network that is not trained has
    0 steps. Where and by whom it was trained is no part of it: that is what `weights` is for.

    A network that was imported (`runs/inheritance.py`) has 0 steps too, and names its classes.
    """

    detector: str = "pointpillars"
    options: dict[str, Any] = field(default_factory=dict)  # the detector's
    weights: str = ""  # checksum of its tensors (`runs/store.py`); it is filled in
    ratio: float = later(1.0)  # of an imported network
    classes: tuple[str, ...] = later(())  # of an imported network; empty for one of kdbench's own

    def __post_init__(self):
        object.__setattr__(self, "classes", tuple(self.classes))  # JSON has lists

    @property
    def imported(self) -> bool:
        """Whether it was trained elsewhere."""
        return bool(self.classes)

    @property
    def network(self) -> DetectorSpec:
        """The network without its weights."""
        return DetectorSpec(self.detector, self.ratio, self.options)


@dataclass(frozen=True)
class RunSpec:
    """One cell of the leaderboard and one seed."""

    profile: str = "quick"
    dataset: DatasetSpec = field(default_factory=DatasetSpec)
    detector: DetectorSpec = field(default_factory=DetectorSpec)
    method: MethodSpec = field(default_factory=MethodSpec)
    train: TrainSpec = field(default_factory=TrainSpec)
    teacher: TeacherSpec | None = None  # absent for a method that uses none
    seed: int = 0
    device: str = "cpu"  # cpu or cuda: they do not give the same bits; a teacher's is ANY
    weights: str = later("")  # checksum of an imported teacher's, in its own run: it has no other

    @cached_property
    def hash(self) -> str:
        """Ten hexadecimal digits that identify the run."""
        return digest(_plain(self))

    @property
    def label(self) -> str:
        """The run in words: method, detector, ratio, seed."""
        name = "teacher" if self.is_teacher else self.method.name
        return f"{name} {self.cell} seed {self.seed}"

    @property
    def cell(self) -> str:
        """Detector and ratio as they stand in paths and tables: `pointpillars-x4`."""
        return f"{self.detector.name}-x{self.detector.ratio:g}"

    @property
    def record_path(self) -> Path:
        """Where the run's record stands below the results folder."""
        name = f"seed{self.seed}-{self.hash}.json"
        return Path(self.dataset.name) / self.cell / self.method.name / name

    @property
    def is_teacher(self) -> bool:
        """Whether this is a teacher's own run, as `teacher_run` gives it."""
        return self.device == ANY

    def teacher_run(self) -> "RunSpec | None":
        """The training of the teacher as a run: full width, no distillation, seed 0.

        Of an imported one the run is that it was scored: its identity is its weights. None where
        there is no teacher, or one that is not trained.
        """
        if self.teacher is None or not (self.teacher.steps or self.teacher.imported):
            return None
        schedule = {f.name: getattr(self.teacher, f.name) for f in fields(TrainSpec)}
        return replace(
            self,
            detector=self.teacher.network,
            method=MethodSpec(),
            train=TrainSpec(**schedule),
            teacher=None,
            seed=0,
            device=ANY,
            weights=self.teacher.weights if self.teacher.imported else "",
        )

    @property
    def other_teacher(self) -> str | None:
        """The detector of a teacher that is of another one than the student."""
        other = self.teacher is not None and self.teacher.detector != self.detector.name
        return self.teacher.detector if other else None

    def taught_by(self, weights: str) -> "RunSpec":
        """The same run with the checksum of its teacher's weights."""
        return replace(self, teacher=replace(self.teacher, weights=weights))

    def baseline(self) -> "RunSpec":
        """The same student without distillation, the run a gain is measured against."""
        return replace(self, method=MethodSpec(), teacher=None)

    def full_width(self) -> DetectorSpec:
        """The run's network before compression."""
        return replace(self.detector, ratio=1.0)

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dictionaries, as a record holds them and as they are hashed."""
        return copy.deepcopy(_plain(self))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "RunSpec":
        """The inverse of `to_dict`. A spec of an older version keeps the hash that it had."""
        own_hash = digest(values) if schema1.is_old(values) else None
        if own_hash:
            values = schema1.upgraded(values)
        given = {k: PARTS[k](**v) if k in PARTS and v is not None else v for k, v in values.items()}
        spec = cls(**given)
        if own_hash:
            vars(spec)["hash"] = own_hash  # as if it had been computed; copies compute their own
        return spec


PARTS = {
    "dataset": DatasetSpec, "detector": DetectorSpec, "method": MethodSpec, "train": TrainSpec,
    "teacher": TeacherSpec,
}  # fmt: skip


def digest(values: dict[str, Any]) -> str:
    """Ten hexadecimal digits of plain values."""
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _plain(part: Any) -> dict[str, Any]:
    """A part as a dictionary, without later settings at their neutral value."""
    kept = {}
    for f in fields(part):
        value = getattr(part, f.name)
        if "neutral" not in f.metadata or value != f.metadata["neutral"]:
            kept[f.name] = _plain(value) if is_dataclass(value) else value
    return kept
