"""Whether a spec can be run: type and range of every field, said before anything starts.

All ways to ask for a run go through here: names and `--set`, configuration files, sweeps, and
specs in JSON. Records do not: they tell of what was run, perhaps with a plugin that is no more.
"""

import math
from dataclasses import fields
from typing import Any

from kdbench.errors import UsageError
from kdbench.registry import datasets, detectors, methods
from kdbench.registry.options import coerce, stored
from kdbench.registry.suggest import unknown
from kdbench.runs.inheritance import check_classes, check_student
from kdbench.runs.spec import ANY, PARTS, DetectorSpec, RunSpec

PRECISIONS = ("float32", "bfloat16", "float16")
DEVICES = ("cpu", "cuda", ANY)
MOST_SEED = 2**63 - 1  # what torch takes, with room for the seeds that are derived
MOST_STEPS = 10**9  # for ever, at any speed; beyond, floats no longer tell steps apart
# What the harness itself hands to a data set, no part of a run's identity -> where it is from.
FROM_HARNESS = {
    "root": "--data-root says where frames lie",
    "cache_dir": "KDBENCH_HOME says where it is",
    "point_range": "it is the detector's, detector.point_range",
}
_OPTIONAL = ("teacher",)


def typed(values: Any, kind: type = RunSpec, where: str = "") -> dict[str, Any]:
    """A spec's or a part's plain values, each of the type of its field.

    Raises UsageError that names the field: an unknown one, a missing one, or another type.
    """
    if not isinstance(values, dict):
        raise UsageError(f"{where.rstrip('.') or 'spec'}: expected fields, not {values!r}")
    known = {f.name: f for f in fields(kind)}
    if strange := [name for name in values if name not in known]:
        raise UsageError(unknown("field of a spec", where + strange[0], [where + n for n in known]))
    needed = {"name", "steps"} & known.keys()
    if kind is RunSpec:
        needed = [name for name, f in known.items() if "neutral" not in f.metadata]
    if absent := [name for name in needed if name not in values and name not in _OPTIONAL]:
        raise UsageError(f"spec: the field {where}{absent[0]} is missing")
    default, found = kind(), {}
    for name, value in values.items():
        if name not in PARTS or kind is not RunSpec:
            found[name] = coerce(where + name, value, getattr(default, name))
        elif name not in _OPTIONAL or value is not None:
            found[name] = typed(value, PARTS[name], f"{name}.")
    return found


def check_spec(spec: RunSpec) -> None:
    """Raises UsageError that names the field of a spec, of the right types, that cannot be."""
    check_own(spec.dataset.options)
    _check_plugin(datasets, spec.dataset)
    check_network(spec.detector)
    _check_plugin(methods, spec.method)
    if not spec.method.scale >= 0:
        raise UsageError(f"method.scale must be 0 or more, not {spec.method.scale:g}")
    check_seed(spec.seed)
    if spec.device not in DEVICES:
        raise UsageError(unknown("device", spec.device, DEVICES[:2]))
    if not spec.weights:
        check_schedule("train", vars(spec.train))
    _check_teacher(spec)


def check_own(options: dict[str, Any]) -> None:
    """Raises UsageError for an option of a data set that is not the user's to set."""
    for name in options.keys() & FROM_HARNESS.keys():
        raise UsageError(f"dataset.{name} cannot be set: {FROM_HARNESS[name]}")


def check_seed(seed: Any) -> None:
    """Raises UsageError for what is no seed."""
    if type(seed) is not int or seed < 0:
        raise UsageError(f"seed must be a whole number of 0 or more, not {seed!r}")
    if seed > MOST_SEED:
        raise UsageError(f"seed must be at most {MOST_SEED:,}, not {seed}")


def check_network(spec: DetectorSpec) -> None:
    """Raises UsageError for a detector, a ratio or an option that there is not."""
    if not 1 <= spec.ratio < math.inf:
        raise UsageError(f"ratio must be a number of at least 1, not {spec.ratio:g}")
    _check_plugin(detectors, spec)


def check_schedule(part: str, values: dict[str, Any]) -> None:
    """Raises UsageError for a schedule that cannot be; `part` (train or teacher) is its name."""
    for name in ("steps", "batch_size", "lr", "grad_clip"):
        if not 0 < values[name] < math.inf:
            raise UsageError(f"{part}.{name} must be above 0, not {values[name]}")
    for name in ("steps", "batch_size"):
        if values[name] > MOST_STEPS:
            raise UsageError(f"{part}.{name} must be at most {MOST_STEPS:,}, not {values[name]}")
    if not 0 <= values["weight_decay"] < math.inf:
        raise UsageError(f"{part}.weight_decay must be 0 or more, not {values['weight_decay']}")
    if not 0 <= values["beta2"] < 1:
        raise UsageError(f"{part}.beta2 must be from 0 to below 1, not {values['beta2']}")
    if not 0 < values["warmup"] < 1:
        raise UsageError(f"{part}.warmup must be a share between 0 and 1, not {values['warmup']}")
    steps, warmup = values["steps"], values["warmup"]
    if warmup * (steps + 1) == 1:  # PyTorch divides by the steps between
        raise UsageError(f"{part}.warmup: {steps} steps at {warmup} are too few")
    if values["precision"] not in PRECISIONS:
        raise UsageError(unknown(f"value of {part}.precision", values["precision"], PRECISIONS))


def _check_plugin(registry, part) -> None:
    stored(f"{registry.what} {part.name!r}", registry.get(part.name), part.options)


def _check_teacher(spec: RunSpec) -> None:
    """The teacher must be of the kind that the method learns from."""
    kind, teacher = methods.get(spec.method.name).teacher, spec.teacher
    ratio = 1 if spec.weights else spec.detector.ratio
    if spec.is_teacher and (kind, ratio, spec.seed) != ("none", 1, 0):
        raise UsageError(f"device {ANY}: only a teacher's own run has it: `none`, ratio 1, seed 0")
    if spec.weights and not (spec.is_teacher and spec.train.steps == 0):
        raise UsageError(f"weights: only an imported teacher has them: device {ANY}, 0 steps")
    if (teacher is not None) != (kind in ("trained", "random")):
        has = "has none" if teacher is None else f"has one ({teacher.detector})"
        raise UsageError(f"teacher: the spec {has}, method {spec.method.name!r} learns from {kind}")
    if teacher is None:
        return
    check_network(teacher.network)
    if teacher.imported:
        _check_imported(spec)
    elif kind == "trained":
        check_schedule("teacher", vars(teacher))
    elif teacher.steps:
        raise UsageError(f"teacher.steps: an untrained teacher has 0, not {teacher.steps}")


def _check_imported(spec: RunSpec) -> None:
    """An imported teacher has weights and no schedule, and the student what it inherits."""
    teacher = spec.teacher
    if methods.get(spec.method.name).teacher != "trained" or teacher.steps or not teacher.weights:
        raise UsageError("teacher.classes: of an imported teacher alone, with weights and 0 steps")
    check_classes("teacher", teacher.classes, spec.dataset)
    if not spec.other_teacher:
        check_student(teacher, spec.detector.options)
