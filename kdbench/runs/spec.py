"""What defines a run. Two runs with the same `RunSpec` are the same run."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from kdbench.errors import UsageError
from kdbench.registry import datasets, detectors, methods
from kdbench.registry.options import coerce, complete
from kdbench.registry.suggest import unknown
from kdbench.runs.profiles import PROFILES
from kdbench.runs.tuned import tuned_scale


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
    teacher_steps: int = 625  # those of the teacher
    batch_size: int = 4
    lr: float = 3e-3  # peak of the cycle
    weight_decay: float = 0.01
    grad_clip: float = 10.0
    warmup: float = 0.4  # share of the steps in which the rate rises
    amp: bool = True  # half precision, on CUDA only
    # Steps on top of `steps`: what distilling would have cost, paid back to a student that
    # trains without. The control `longer` sets it.
    extra_steps: int = 0

    @property
    def total_steps(self) -> int:
        """Optimiser steps in all."""
        return self.steps + self.extra_steps


@dataclass(frozen=True)
class RunSpec:
    """One cell of the leaderboard and one seed."""

    profile: str = "quick"
    dataset: DatasetSpec = field(default_factory=DatasetSpec)
    detector: DetectorSpec = field(default_factory=DetectorSpec)
    method: MethodSpec = field(default_factory=MethodSpec)
    train: TrainSpec = field(default_factory=TrainSpec)
    seed: int = 0
    device: str = "cpu"  # cpu or cuda: they do not give the same bits

    @cached_property
    def hash(self) -> str:
        """Ten hexadecimal digits that identify the run."""
        parts = {part.name: getattr(self, part.name) for part in fields(self)}
        text = json.dumps(parts, sort_keys=True, default=vars)  # that of `to_dict`, without copies
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    @property
    def label(self) -> str:
        """The run in words: method, detector, ratio, seed."""
        return f"{self.method.name} {self.cell} seed {self.seed}"

    @property
    def cell(self) -> str:
        """Detector and ratio as they stand in paths and tables: `pointpillars-x4`."""
        return f"{self.detector.name}-x{self.detector.ratio:g}"

    @property
    def record_path(self) -> Path:
        """Where the run's record stands below the results folder."""
        name = f"seed{self.seed}-{self.hash}.json"
        return Path(self.dataset.name) / self.cell / self.method.name / name

    def teacher(self) -> "RunSpec":
        """The teacher's own run: full width, no distillation, seed 0."""
        return replace(
            self,
            detector=replace(self.detector, ratio=1.0),
            method=MethodSpec(),
            train=replace(self.train, steps=self.train.teacher_steps, extra_steps=0),
            seed=0,
        )

    def baseline(self) -> "RunSpec":
        """The same student without distillation, the run a gain is measured against."""
        return replace(self, method=MethodSpec(), train=replace(self.train, extra_steps=0))

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dictionaries, as a record holds them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "RunSpec":
        """The inverse of `to_dict`."""
        parts = {
            "dataset": DatasetSpec, "detector": DetectorSpec,
            "method": MethodSpec, "train": TrainSpec,
        }  # fmt: skip
        return cls(**{k: parts[k](**v) if k in parts else v for k, v in values.items()})


def build_spec(
    *,
    profile: str = "quick",
    dataset: str = "synthetic",
    detector: str = "pointpillars",
    method: str = "none",
    ratio: float = 1.0,
    seed: int = 0,
    device: str = "cpu",
    overrides: dict[str, Any] | None = None,
) -> RunSpec:
    """A run from names, a profile and overrides such as `{"train.epochs": 3}`.

    Override keys are `train.*`, `dataset.*`, `detector.*` and `method.*`; the last three set
    options of that plugin; `method.scale` is a factor on the method's losses, by default the one
    that `kdbench tune` found. Unknown names, keys and types raise UsageError; the nearest valid
    name is in the message.
    """
    if profile not in PROFILES:
        raise UsageError(unknown("profile", profile, PROFILES))
    for registry, name in ((datasets, dataset), (detectors, detector), (methods, method)):
        registry.get(name)
    if not ratio >= 1:
        raise UsageError(f"ratio must be a number of at least 1, not {ratio:g}")
    values = PROFILES[profile]
    parts = {
        "train": values["train"] | values.get("train of", {}).get(detector, {}),
        "dataset": dict(values["dataset.options"]),
        "detector": dict(values["detectors"].get(detector, {})),
        "method": {},
    }
    for key, value in (overrides or {}).items():
        section, _, name = key.partition(".")
        if section not in parts or not name:
            valid = [f"{part}.<name>" for part in parts]
            raise UsageError(unknown("configuration key", key, valid))
        parts[section][name] = value
    return RunSpec(
        profile=profile,
        dataset=DatasetSpec(dataset, _complete(datasets, dataset, parts["dataset"])),
        detector=DetectorSpec(
            detector, float(ratio), _complete(detectors, detector, parts["detector"])
        ),
        method=_method_spec(method, detector, parts["method"], values.get("methods", {})),
        train=_train_spec(parts["train"]),
        seed=seed,
        device=device,
    )


# What the harness itself hands to a data set; no part of a run's identity.
_FROM_HARNESS = ("root", "cache_dir", "point_range")


def with_method(spec: RunSpec, name: str) -> RunSpec:
    """The same run with another method, whose options are those of the profile."""
    own = PROFILES[spec.profile].get("methods", {})
    method = _method_spec(name, spec.detector.name, {}, own)
    return replace(spec, method=method, train=replace(spec.train, extra_steps=0))


def _method_spec(name: str, detector: str, given: dict, profile: dict[str, dict]) -> MethodSpec:
    """A method with the options given, over the profile's, over its own.

    What a control wraps gets its options from the profile too, and its scale.
    """
    options = _complete(methods, name, profile.get(name, {}) | given, {"scale": None})
    scale = options.pop("scale")
    loss, of_loss = name, options  # whose loss it is
    if methods.get(name).wraps:
        loss = options["method"]
        options["options"] = _complete(methods, loss, profile.get(loss, {}) | options["options"])
        of_loss = options["options"]
    if scale is None:
        scale = tuned_scale(detector, loss, of_loss.get("variant"))
    scale = coerce(f"method {name!r}: option scale", scale, 1.0)
    if not scale >= 0:
        raise UsageError(f"method.scale must be 0 or more, not {scale:g}")
    return MethodSpec(name, options, scale)


def _complete(registry, name: str, options: dict[str, Any], common=None) -> dict[str, Any]:
    found = complete(f"{registry.what} {name!r}", registry.get(name), options, common)
    if registry is datasets:
        found = {key: value for key, value in found.items() if key not in _FROM_HARNESS}
    return found


def _train_spec(values: dict[str, Any]) -> TrainSpec:
    defaults = asdict(TrainSpec())
    for name, value in values.items():
        if name not in defaults:
            known = [f"train.{n}" for n in defaults]
            raise UsageError(unknown("configuration key", f"train.{name}", known))
        defaults[name] = coerce(f"train.{name}", value, defaults[name])
    spec = TrainSpec(**defaults)
    for name in ("steps", "teacher_steps", "batch_size", "lr", "grad_clip"):
        if not getattr(spec, name) > 0:
            raise UsageError(f"train.{name} must be above 0, not {getattr(spec, name)}")
    if spec.extra_steps < 0:
        raise UsageError(f"train.extra_steps must be 0 or more, not {spec.extra_steps}")
    return spec


def parse_overrides(assignments: list[str]) -> dict[str, Any]:
    """`["train.epochs=3"]` to `{"train.epochs": 3}`; values are YAML scalars or lists."""
    overrides = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set {text}: expected key=value")
        try:
            overrides[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise UsageError(f"--set {text}: the value is not valid YAML") from None
    return overrides


def read_config(path: Path | str) -> dict[str, Any]:
    """A YAML file of a run: names at the top level, options nested below their part.

    Returns a flat dictionary: `{"method": "kd", "train.epochs": 3, ...}`.
    """
    try:
        values = yaml.safe_load(Path(path).read_text())
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: not valid YAML ({error})") from None
    if not isinstance(values, dict):
        raise UsageError(f"{path}: expected `key: value` lines")
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= {f"{key}.{name}": v for name, v in value.items()}
        else:
            flat[str(key)] = value
    return flat
