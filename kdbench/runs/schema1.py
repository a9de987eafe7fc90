"""Specs and records as versions before 0.2 wrote them (schema 1), in today's terms.

There the teacher was no part of a spec: it had the student's schedule, for `train.teacher_steps`
steps, its device, and whatever weights lay under its hash. `train.amp` and `train.extra_steps`
were settings; what became of them is in RETIRED.
"""

import warnings
from typing import Any

from kdbench.errors import Note
from kdbench.registry.options import coerce

# A setting that is no more -> what became of it.
RETIRED = {
    "train.teacher_steps": "it is taken as `teacher.steps`",
    "train.amp": "`train.precision` (float32, bfloat16, float16) takes its place, and float32 is "
    "the default; it is taken as that",
    "train.extra_steps": "they are added to the steps; `--budget 4` is how to train for longer",
}
NO_TEACHER = ("none", "longer", "self", "mean-teacher")
UNTRAINED = ("random-teacher",)
WHAT_CHANGED = (
    "of schema 1: `train.teacher_steps` and the schedule are read as those of `teacher`, "
    "`train.amp` as `train.precision`, `train.extra_steps` as steps; hashes are today's"
)
_OF_TRAIN = ("teacher_steps", "amp", "extra_steps")


def without_retired(settings: dict[str, Any], steps: int, device: str) -> dict[str, Any]:
    """Settings in today's terms; a note tells of each that is no more.

    `steps` are those of a run that does not set them.
    """
    found = {key: value for key, value in settings.items() if key not in RETIRED}
    for key in settings.keys() & RETIRED.keys():
        warnings.warn(Note(f"setting {key!r} is no more: {RETIRED[key]}"), stacklevel=2)
    if "train.teacher_steps" in settings:
        found.setdefault("teacher.steps", settings["train.teacher_steps"])
    if "train.amp" in settings:
        half = settings["train.amp"] is True and device == "cuda"
        found.setdefault("train.precision", "float16" if half else "float32")
    if "train.extra_steps" in settings:
        more = coerce("train.extra_steps", settings["train.extra_steps"], 0)
        found["train.steps"] = found.get("train.steps", steps) + more
    return found


def is_old(spec: dict[str, Any]) -> bool:
    """Whether a spec in plain values is of schema 1."""
    train = spec.get("train") if isinstance(spec, dict) else None
    return isinstance(train, dict) and "teacher_steps" in train


def upgraded(spec: dict[str, Any]) -> dict[str, Any]:
    """The same run as a spec of today; the teacher's weights are not known."""
    old = spec["train"]
    train = {key: value for key, value in old.items() if key not in _OF_TRAIN}
    train["steps"] += old.get("extra_steps", 0)
    half = spec.get("device") == "cuda" and old.get("amp", True)
    train["precision"] = "float16" if half else "float32"
    is_teacher = (spec["method"]["name"], spec["detector"]["ratio"], spec["seed"]) == ("none", 1, 0)
    if is_teacher and train["steps"] == old["teacher_steps"]:
        return spec | {"train": train, "teacher": None, "device": "any"}
    return spec | {"train": train, "teacher": _teacher(spec, train, old["teacher_steps"])}


def _teacher(spec: dict[str, Any], train: dict[str, Any], steps: int) -> dict[str, Any] | None:
    name, detector = spec["method"]["name"], spec["detector"]
    network = {"detector": detector["name"], "options": detector["options"]}
    if name in NO_TEACHER:
        return None
    return network | ({"steps": 0} if name in UNTRAINED else train | {"steps": steps})
