"""From names, a profile and settings such as `train.steps` to the spec of a run."""

import math
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import yaml

from kdbench.errors import UsageError
from kdbench.registry import datasets, detectors, methods
from kdbench.registry.options import coerce, complete, lean
from kdbench.registry.suggest import unknown
from kdbench.runs.profiles import PROFILES
from kdbench.runs.schema1 import without_retired
from kdbench.runs.spec import DatasetSpec, DetectorSpec, MethodSpec, RunSpec, TeacherSpec, TrainSpec
from kdbench.runs.tuned import tuned_scale

PRECISIONS = ("float32", "bfloat16", "float16")


def build_spec(
    *,
    profile: str = "quick",
    dataset: str = "synthetic",
    detector: str = "pointpillars",
    method: str = "none",
    ratio: float = 1.0,
    seed: int = 0,
    device: str = "cpu",
    budget: float | str = 1,
    overrides: dict[str, Any] | None = None,
) -> RunSpec:
    """A run from names, a profile and overrides such as `{"train.lr": 1e-3}`.

    Override keys are `train.*` and `teacher.*`, the schedules of the student and of its teacher,
    and `dataset.*`, `detector.*` and `method.*`, options of that plugin; `method.scale` is a factor
    on the method's losses, by default the one that `kdbench tune` found. `budget` times the
    profile's steps are the student's. Unknown names, keys and types raise UsageError; the nearest
    valid name is in the message.
    """
    if profile not in PROFILES:
        raise UsageError(unknown("profile", profile, PROFILES))
    for registry, name in ((datasets, dataset), (detectors, detector), (methods, method)):
        registry.get(name)
    if not 1 <= ratio < math.inf:
        raise UsageError(f"ratio must be a number of at least 1, not {ratio:g}")
    if not (isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0):
        raise UsageError(f"seed must be a whole number of 0 or more, not {seed!r}")
    parts = _of_profile(profile, detector)
    parts["train"]["steps"] = max(1, round(parse_budget(budget) * parts["train"]["steps"]))
    given = without_retired(overrides or {}, parts["train"]["steps"], device)
    if "train.steps" in given and parse_budget(budget) != 1:
        raise UsageError("give a budget or train.steps: a budget is a number of steps")
    _override(parts, given)
    network = DetectorSpec(
        detector, float(ratio), _complete(detectors, detector, parts["detector"])
    )
    return RunSpec(
        profile=profile,
        dataset=DatasetSpec(dataset, _complete(datasets, dataset, parts["dataset"])),
        detector=network,
        method=_method_spec(method, detector, parts["method"], PROFILES[profile]),
        train=TrainSpec(**_schedule("train", parts["train"])),
        teacher=_teacher_spec(method, network, parts["teacher"]),
        seed=seed,
        device=device,
    )


def with_method(spec: RunSpec, name: str) -> RunSpec:
    """The same run with another method, whose options are those of the profile."""
    teacher = _of_profile(spec.profile, spec.detector.name)["teacher"]
    return replace(
        spec,
        method=_method_spec(name, spec.detector.name, {}, PROFILES[spec.profile]),
        teacher=_teacher_spec(name, spec.detector, teacher),
    )


def parse_budget(budget: float | str) -> float:
    """A budget such as 4, 0.5 or `1/2` as a number. Raises UsageError for anything else."""
    try:
        found = float(Fraction(str(budget)))
    except (ValueError, ZeroDivisionError):
        found = 0.0
    if not 0 < found < 1e6:
        raise UsageError(f"budget: {budget!r} is neither a number above 0 nor such as 1/2")
    return found


def budget_of(spec: RunSpec) -> float | None:
    """How many times the profile's steps a run trains; None in a profile that is no more."""
    if spec.profile not in PROFILES or spec.is_teacher:
        return None
    return spec.train.steps / _of_profile(spec.profile, spec.detector.name)["train"]["steps"]


def _of_profile(profile: str, detector: str) -> dict[str, dict[str, Any]]:
    """What a profile sets of each part."""
    values = PROFILES[profile]
    train = values["train"] | values.get("train of", {}).get(detector, {})
    own = values["teacher"] | values.get("teacher of", {}).get(detector, {})
    return {
        "train": train,
        "teacher": train | own,
        "dataset": dict(values["dataset.options"]),
        "detector": dict(values["detectors"].get(detector, {})),
        "method": {},
    }


def _override(parts: dict[str, dict], overrides: dict[str, Any]) -> None:
    for key, value in overrides.items():
        section, _, name = key.partition(".")
        if section not in parts or not name:
            valid = [f"{part}.<name>" for part in parts]
            raise UsageError(unknown("configuration key", key, valid))
        parts[section][name] = value


def _method_spec(name: str, detector: str, given: dict, profile: dict) -> MethodSpec:
    """A method with the options given, over the profile's, over its own.

    What a control wraps gets its options from the profile too, and its scale.
    """
    own = profile.get("methods", {})
    options = _complete(methods, name, own.get(name, {}) | given, {"scale": None})
    scale = options.pop("scale")
    loss, of_loss = name, options  # whose loss it is
    if methods.get(name).wraps:
        loss = options["method"]
        options["options"] = _complete(methods, loss, own.get(loss, {}) | options["options"])
        of_loss = options["options"]
    if scale is None:
        scale = tuned_scale(detector, loss, of_loss.get("variant"))
    scale = coerce(f"method {name!r}: option scale", scale, 1.0)
    if not scale >= 0:
        raise UsageError(f"method.scale must be 0 or more, not {scale:g}")
    return MethodSpec(name, options, scale)


def _teacher_spec(method: str, student: DetectorSpec, schedule: dict) -> TeacherSpec | None:
    """The teacher that a method asks for: the student's network at full width."""
    schedule = _schedule("teacher", schedule)
    kind = methods.get(method).teacher
    if kind == "random":
        return TeacherSpec(steps=0, detector=student.name, options=student.options)
    if kind == "trained":
        return TeacherSpec(**schedule, detector=student.name, options=student.options)
    return None


# What the harness itself hands to a data set; no part of a run's identity.
FROM_HARNESS = ("root", "cache_dir", "point_range")


def _complete(registry, name: str, options: dict[str, Any], common=None) -> dict[str, Any]:
    plugin = registry.get(name)
    found = complete(f"{registry.what} {name!r}", plugin, options, common)
    if registry is datasets:
        found = {key: value for key, value in found.items() if key not in FROM_HARNESS}
    return lean(plugin, found)


def _schedule(part: str, values: dict[str, Any]) -> dict[str, Any]:
    """All settings of a schedule; `part` (train or teacher) is its name in messages."""
    found = asdict(TrainSpec())
    for name, value in values.items():
        if name not in found:
            known = [f"{part}.{n}" for n in found]
            raise UsageError(unknown("configuration key", f"{part}.{name}", known))
        found[name] = coerce(f"{part}.{name}", value, found[name])
    for name in ("steps", "batch_size", "lr", "grad_clip"):
        if not 0 < found[name] < math.inf:
            raise UsageError(f"{part}.{name} must be above 0, not {found[name]}")
    if not 0 <= found["weight_decay"] < math.inf:
        raise UsageError(f"{part}.weight_decay must be 0 or more, not {found['weight_decay']}")
    if not 0 <= found["beta2"] < 1:
        raise UsageError(f"{part}.beta2 must be from 0 to below 1, not {found['beta2']}")
    if not 0 < found["warmup"] < 1:
        raise UsageError(f"{part}.warmup must be a share between 0 and 1, not {found['warmup']}")
    if found["warmup"] * (found["steps"] + 1) == 1:  # PyTorch divides by the steps between
        raise UsageError(f"{part}.warmup: {found['steps']} steps at {found['warmup']} are too few")
    if found["precision"] not in PRECISIONS:
        raise UsageError(unknown(f"value of {part}.precision", found["precision"], PRECISIONS))
    return found


def parse_overrides(assignments: list[str]) -> dict[str, Any]:
    """`["train.steps=3"]` to `{"train.steps": 3}`; values are YAML scalars or lists."""
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

    Returns a flat dictionary: `{"method": "kd", "train.steps": 3, ...}`.
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
