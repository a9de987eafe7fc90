"""The command line that repeats a run."""

import shlex
from dataclasses import replace
from typing import Any

import yaml

from kdbench.errors import KdbenchError
from kdbench.runs.settings import build_spec, parse_overrides
from kdbench.runs.spec import DatasetSpec, RunSpec


def command(spec: RunSpec) -> str:
    """`kdbench run ...` with the names of a run and the settings that are not the default.

    Where that would be another run than this one - a plugin is not loaded, a default has changed
    since - the run's record is named instead; `--spec` repeats it exactly.
    """
    assignments = None if spec.is_teacher else _assignments(spec)
    if assignments is None:
        return f"kdbench run --spec {shlex.quote(str(spec.record_path))}"
    options = [("--set", assignment) for assignment in assignments]
    if spec.dataset.name != DatasetSpec().name:  # which is made on the spot
        options.insert(0, ("--data-root", "DIR"))
    if spec.device != RunSpec().device:
        options.insert(0, ("--device", spec.device))
    words = ["kdbench", "run", *_names(spec), *(word for pair in options for word in pair)]
    return shlex.join(words)


def _names(spec: RunSpec) -> list[str]:
    return [
        "--method", spec.method.name, "--detector", spec.detector.name,
        "--ratio", f"{spec.detector.ratio:g}", "--dataset", spec.dataset.name,
        "--profile", spec.profile, "--seed", str(spec.seed),
        *(["--teacher-detector", other] if (other := spec.other_teacher) else []),
    ]  # fmt: skip


def _assignments(spec: RunSpec) -> list[str] | None:
    """What `--set` has to be given; None when that cannot make the run."""
    try:
        plain = _build(spec, [])
        defaults = _settings(plain)
        given = [f"{k}={_yaml(v)}" for k, v in _settings(spec).items() if v != defaults.get(k)]
        made = _build(spec, given) if given else plain
    except KdbenchError:
        return None
    made = replace(made, dataset=replace(made.dataset, fingerprint=spec.dataset.fingerprint))
    if made.teacher and spec.teacher:
        made = made.taught_by(spec.teacher.weights)
    return given if made == spec else None


def _build(spec: RunSpec, assignments: list[str]) -> RunSpec:
    return build_spec(
        profile=spec.profile, dataset=spec.dataset.name, detector=spec.detector.name,
        method=spec.method.name, ratio=float(f"{spec.detector.ratio:g}"), seed=spec.seed,
        device=spec.device, overrides=parse_overrides(assignments),
        teacher_detector=spec.other_teacher,
    )  # fmt: skip


def _settings(spec: RunSpec) -> dict[str, Any]:
    """All settings under the names that `--set` takes."""
    parts = {
        "train": vars(spec.train), "dataset": spec.dataset.options,
        "detector": spec.detector.options,
        "teacher": _schedule(spec),
        "method": spec.method.options | {"scale": spec.method.scale},
    }  # fmt: skip
    return {f"{part}.{name}": v for part, values in parts.items() for name, v in values.items()}


def _schedule(spec: RunSpec) -> dict[str, Any]:
    """That of the teacher."""
    run = spec.teacher_run()
    return vars(run.train) if run else {}


def _yaml(value: Any) -> str:
    """A value on one line, as `--set` reads it."""
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")
