"""From names, a profile and settings such as `train.steps` to the spec of a run."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from kdbench.errors import UsageError
from kdbench.registry import datasets, detectors, methods
from kdbench.registry.combination import Combination, option_of
from kdbench.registry.options import coerce, complete, defaults_of, lean
from kdbench.registry.suggest import unknown
from kdbench.runs.inheritance import check_fits, check_student, inherited
from kdbench.runs.profiles import PROFILES
from kdbench.runs.schema1 import without_retired
from kdbench.runs.spec import DatasetSpec, DetectorSpec, MethodSpec, RunSpec, TeacherSpec, TrainSpec
from kdbench.runs.tuned import tuned_scale
from kdbench.runs.validity import (
    FROM_HARNESS,
    check_own,
    check_schedule,
    check_seed,
    check_spec,
)
from kdbench.storage.reading import parse_yaml, read_yaml


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
    teacher: TeacherSpec | None = None,
    teacher_detector: str | None = None,
    teacher_budget: float | str | None = None,
) -> RunSpec:
    """A run from names, a profile and overrides such as `{"train.lr": 1e-3}`.

    Override keys are `train.*` and `teacher.*`, the schedules of the student and of its teacher,
    and `dataset.*`, `detector.*` and `method.*`, options of that plugin; `method.scale` is a factor
    on the method's losses, by default the one that `kdbench tune` found. `budget` times the
    profile's steps are the student's. `teacher` is an imported one, in place of one that is
    trained; the student inherits its options, not the profile's, if it is the same detector.
    `teacher_detector` is the teacher's, where that is another one than the student's, and
    `teacher_budget` times the profile's steps are the teacher's. Unknown names, keys and types
    raise UsageError; the nearest valid name is in the message.
    """
    teacher_detector = teacher_detector or detector
    _check_names(profile, device, dataset, (detector, teacher_detector), method)
    check_seed(seed)
    parts = _of_profile(profile, detector)
    if teacher_detector != detector:
        parts["teacher"] = _of_profile(profile, teacher_detector)["teacher"]
    _leave_out(parts["dataset"], beyond(profile, dataset))
    if teacher is not None:
        _take_from(parts, teacher, teacher_detector, detector, dataset, overrides or {})
    parts["train"]["steps"] = max(1, round(parse_budget(budget) * parts["train"]["steps"]))
    if teacher_budget is not None:
        _set_teacher_budget(parts["teacher"], teacher_budget, teacher, overrides or {})
    given = without_retired(overrides or {}, parts["train"]["steps"], device)
    if "train.steps" in given and parse_budget(budget) != 1:
        raise UsageError("give a budget or train.steps: a budget is a number of steps")
    _override(parts, given)
    ratio = coerce("ratio", ratio, 1.0)
    network = DetectorSpec(detector, ratio, _complete(detectors, detector, parts["detector"]))
    teaching = _teaching(profile, teacher_detector, network)
    spec = RunSpec(
        profile=profile,
        dataset=DatasetSpec(dataset, _complete(datasets, dataset, parts["dataset"])),
        detector=network,
        method=_method_spec(method, detector, parts["method"], PROFILES[profile]),
        train=TrainSpec(**_schedule("train", parts["train"])),
        teacher=_teacher_spec(method, teaching, parts["teacher"], teacher),
        seed=seed,
        device=device,
    )
    # The student of a method without one too: it is what `none` is.
    if teacher is not None and teacher.detector == detector:
        check_student(teacher, network.options)
    check_spec(spec)
    return spec


def _leave_out(options: dict[str, Any], names: list[str]) -> None:
    for name in names:
        del options[name]


def _set_teacher_budget(schedule, budget: float | str, imported, given: dict) -> None:
    if imported is not None:
        raise UsageError("teacher_budget: an imported teacher is not trained; leave it out")
    if "teacher.steps" in given:
        raise UsageError("give a teacher's budget or teacher.steps: a budget is a number of steps")
    schedule["steps"] = max(1, round(parse_budget(budget) * schedule["steps"]))


def _check_names(profile, device, dataset, both_detectors, method) -> None:
    """Raises UsageError for what is no name, or nothing's."""
    for key, value in {"profile": profile, "device": device}.items():
        coerce(key, value, "")
    if profile not in PROFILES:
        raise UsageError(unknown("profile", profile, PROFILES))
    for registry, names in (
        (datasets, [dataset]), (detectors, both_detectors), (methods, [method]),
    ):  # fmt: skip
        for name in names:
            registry.get(coerce(registry.what, name, ""))


def beyond(profile: str, dataset: str) -> list[str]:
    """Options of data sets that a profile sets, and that this one does not have.

    A run leaves them out: the data set alone says what its frames are.
    """
    known = defaults_of(datasets.get(dataset))
    return [name for name in PROFILES[profile]["dataset.options"] if name not in known]


def parse_budget(budget: float | str) -> float:
    """A budget such as 4, 0.5 or `1/2` as a number. Raises UsageError for anything else."""
    above, slash, below = str(budget).partition("/")
    try:
        found = float(above) / float(below if slash else 1)
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


def _take_from(
    parts, teacher: TeacherSpec, wanted: str, detector: str, dataset: str, given: dict
) -> None:
    """Puts what a student inherits from an imported teacher in place of the profile's options.

    `wanted` is the detector that the teacher must be of.
    """
    if own := [key for key in given if str(key).startswith("teacher.")]:
        raise UsageError(f"{own[0]}: an imported teacher is not trained; leave it out")
    table = given.get("dataset.classes", {})
    check_fits(teacher, wanted, DatasetSpec(dataset, {"classes": table} if table else {}))
    if teacher.detector == detector:
        parts["detector"] = inherited(teacher)


def _override(parts: dict[str, dict], overrides: dict[str, Any]) -> None:
    for key, value in overrides.items():
        section, _, name = str(key).partition(".")
        if section not in parts or not name:
            valid = [f"{part}.<name>" for part in parts]
            raise UsageError(unknown("configuration key", key, valid))
        parts[section][name] = value


def _method_spec(name: str, detector: str, given: dict, profile: dict) -> MethodSpec:
    """A method with the options given, over the profile's, over its own.

    What a control wraps gets its options from the profile too, and its scale; so do the parts of a
    combination.
    """
    own = profile.get("methods", {})
    plugin = methods.get(name)
    name = plugin.name
    if issubclass(plugin, Combination):
        given = _of_parts(plugin, detector, given, profile)
    options = _complete(methods, name, own.get(name, {}) | given, {"scale": None})
    scale = options.pop("scale")
    loss, of_loss = name, options  # whose loss it is
    if methods.get(name).wraps:
        loss = options["method"]
        options["options"] = _complete(methods, loss, own.get(loss, {}) | options["options"])
        of_loss = options["options"]
    if scale is None:
        scale = tuned_scale(detector, loss, of_loss.get("variant"))
    return MethodSpec(name, options, coerce(f"method {name!r}: option scale", scale, 1.0))


def _of_parts(kind: type[Combination], detector: str, given: dict, profile: dict) -> dict:
    """The options of a combination, those of each part complete; `kd.temperature` is one of kd."""
    options: dict[str, Any] = {key: value for key, value in given.items() if "." not in key}
    own: dict[str, dict] = {option_of(part): {} for part in kind.parts}
    for key, value in given.items():
        part, dot, name = key.partition(".")
        if dot and part not in own:
            raise UsageError(unknown(f"part of method {kind.name!r}", part, own))
        if dot:
            own[part][name] = value
    for part in kind.parts:
        key = option_of(part)
        if not isinstance(options.get(key, {}), dict):
            raise UsageError(f"method.{key}: expected options of {key}, not {options[key]!r}")
        spec = _method_spec(part.name, detector, options.get(key, {}) | own[key], profile)
        options[key] = spec.options | {"scale": spec.scale}
    return options


def _teacher_spec(
    method: str, network: DetectorSpec, schedule: dict, imported: TeacherSpec | None = None
) -> TeacherSpec | None:
    """The teacher that a method asks for: `network` at full width, or `imported`."""
    schedule = _schedule("teacher", schedule)
    kind = methods.get(method).teacher
    if kind == "random":
        return TeacherSpec(steps=0, detector=network.name, options=network.options)
    if kind == "trained" and imported is not None:
        return imported
    if kind == "trained":
        return TeacherSpec(**schedule, detector=network.name, options=network.options)
    return None


def _teaching(profile: str, detector: str, student: DetectorSpec) -> DetectorSpec:
    """The detector that teaches: the student's own, or another one with the profile's options."""
    if detector == student.name:
        return student
    options = _of_profile(profile, detector)["detector"]
    return DetectorSpec(detector, options=_complete(detectors, detector, options))


def _complete(registry, name: str, options: dict[str, Any], common=None) -> dict[str, Any]:
    plugin = registry.get(name)
    found = complete(f"{registry.what} {name!r}", plugin, options, common)
    if registry is datasets:
        check_own(options)
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
    check_schedule(part, found)
    return found


def parse_overrides(assignments: list[str]) -> dict[str, Any]:
    """`["train.steps=3"]` to `{"train.steps": 3}`; values are YAML scalars or lists."""
    overrides = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set {text}: expected key=value")
        overrides[key.strip()] = parse_yaml(value, f"--set {text}")
    return overrides


def read_config(path: Path | str) -> dict[str, Any]:
    """A YAML file of a run: names at the top level, options nested below their part.

    Returns a flat dictionary: `{"method": "kd", "train.steps": 3, ...}`; below a key with a dot
    stands its value. Raises UsageError for what is no such file, and for a setting that is there
    both nested and with a dot.
    """
    path = Path(path)
    flat: dict[str, Any] = {}
    for key, value in read_yaml(path).items():
        nested = isinstance(value, dict) and "." not in str(key)
        found = {f"{key}.{name}": v for name, v in value.items()} if nested else {str(key): value}
        if twice := flat.keys() & found.keys():
            raise UsageError(f"{path}: {min(twice)!r} is given twice")
        flat |= found
    return flat
