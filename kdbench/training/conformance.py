"""What every method must keep to, checked on a tiny scene. `kdbench check` runs it."""

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from kdbench.dataset import Batch
from kdbench.detector import Detector
from kdbench.errors import KdbenchError, NotApplicable
from kdbench.method import Method
from kdbench.registry import methods
from kdbench.runs.build import build_detector, build_method
from kdbench.runs.spec import RunSpec
from kdbench.runs.store import checksum
from kdbench.taps import Taps
from kdbench.training.aligned import check_teacher, inputs_of, shown_to_method
from kdbench.training.loop import Training
from kdbench.training.progress import Reporter
from kdbench.training.teachers import make_teacher
from kdbench.training.terms import checked_terms

CLASSES = ("Car", "Pedestrian", "Cyclist")
SIZES = np.array([[3.9, 1.6, 1.56], [0.8, 0.6, 1.73], [1.76, 0.6, 1.73]], np.float32)
ZERO = 1e-6  # a loss below this counts as zero
CONFIDENCE = 5.0  # added to the logits of untrained heads, which start at scores of 0.01


# What another detector than the student's teaches on in a check: so that something is resampled,
# and something of the student's map left out.
OTHER_GRID = {
    "point_range": [0.0, -8.192, -3.0, 16.384, 8.192, 1.0],
    "pillar_size": 0.512,
    "voxel_size": [0.128, 0.128, 0.1],
}


class Failed(AssertionError):
    """A plugin breaks its contract; the message says how."""


def tiny_scene(point_range, frames: int = 2, objects: int = 6, seed: int = 0) -> Batch:
    """A batch of flat ground with boxes standing on it, points on both; the last frame empty.

    Coordinates in the LiDAR frame, inside `point_range`.
    """
    rng = np.random.default_rng(seed)
    low, high = np.split(np.asarray(point_range, np.float32), 2)
    points, boxes, labels = [], [], []
    for frame in range(frames):
        label = np.arange(objects) % len(CLASSES) if frame + 1 < frames else np.zeros(0, int)
        box = np.zeros((len(label), 7), np.float32)
        box[:, :2] = rng.uniform(low[:2] + 4, high[:2] - 4, (len(label), 2))
        box[:, 3:6] = SIZES[label]
        box[:, 2] = -1.7 + box[:, 5] / 2
        box[:, 6] = rng.uniform(-np.pi, np.pi, len(label))
        ground = rng.uniform(low[:2], high[:2], (600, 2))
        cloud = [np.column_stack([ground, rng.normal(-1.7, 0.02, 600)])]
        cloud += [_inside(b, 60, rng) for b in box]
        xyz = np.concatenate(cloud)
        rest = rng.uniform(0, 1, (len(xyz), 1))
        points.append(np.column_stack([np.full(len(xyz), frame), xyz, rest]))
        boxes.append(torch.from_numpy(box))
        labels.append(torch.from_numpy(label.astype(np.int64)))
    cloud = torch.from_numpy(np.concatenate(points).astype(np.float32))
    return Batch([f"scene{i}" for i in range(frames)], cloud, boxes, labels)


def _inside(box: np.ndarray, count: int, rng) -> np.ndarray:
    local = rng.uniform(-0.5, 0.5, (count, 3)) * box[3:6]
    cos, sin = np.cos(box[6]), np.sin(box[6])
    x, y = local[:, 0] * cos - local[:, 1] * sin, local[:, 0] * sin + local[:, 1] * cos
    return np.column_stack([x, y, local[:, 2]]) + box[:3]


def check_method(spec: RunSpec) -> list[str]:
    """Runs every check of a method on a detector; returns what was checked.

    Raises Failed with what went wrong.
    """
    kind = methods.get(spec.method.name)
    if spec.other_teacher:
        options = spec.teacher.options
        options |= {name: value for name, value in OTHER_GRID.items() if name in options}
        spec = replace(spec, teacher=replace(spec.teacher, options=options))
    checks = ((name, partial(check, spec)) for name, check in _checks(kind))
    return run_checks(f"{spec.method.name} on {spec.detector.name}", checks)


def run_checks(what: str, checks: Iterable[tuple[str, Callable[[], None]]]) -> list[str]:
    """Runs named checks of `what` in turn; returns their names.

    Raises Failed that says which one went wrong, and how; NotApplicable as it comes.
    """
    done = []
    with own_randomness():
        for name, check in checks:
            try:
                check()
            except NotApplicable:
                raise
            except Exception as error:
                said = isinstance(error, (Failed, KdbenchError))
                why = str(error) if said else f"{type(error).__name__}: {error}"
                raise Failed(f"{what}: {name}: {why}") from error
            done.append(name)
    return done


def _checks(kind: type[Method]) -> Iterator[tuple]:
    yield "finite losses, deterministic under a seed", _deterministic
    yield "two training steps, teacher unchanged", _trains
    if kind.teacher == "none":
        return
    if kind.teaches_by_loss:
        yield "gradients into student and adapters only", _gradients
    if kind.stage_loss is not Method.stage_loss:
        yield "a stage before that trains what is its own", _stage
    if kind.zero_when_equal:
        yield "zero when student and teacher are equal", _zero_when_equal


def _networks(spec: RunSpec, equal: bool = False) -> tuple[Training, Batch]:
    """A training of untrained networks, and a scene. If `equal`, the teacher copies the student."""
    torch.manual_seed(spec.seed)
    student = build_detector(spec.detector, CLASSES)
    teacher = make_teacher(
        spec,
        student,
        lambda run: copy.deepcopy(student) if equal else build_detector(run.detector, CLASSES),
    )
    if teacher is not None:
        check_teacher(spec.method, student, teacher)
    method = build_method(spec.method, *shown_to_method(student, teacher))
    if teacher is not None and not equal:
        method.prepare_student(student, teacher)
    for network in filter(None, (student, teacher)):
        make_confident(network)
    training = Training(
        spec, None, student, teacher, method,
        torch.device("cpu"), None, Reporter(quiet=True),
    )  # fmt: skip
    return training, tiny_scene(student.point_range)


def make_confident(network: Detector) -> None:
    """Raises class scores as if objects were found, for methods that learn from those."""
    kind = type(network)
    has_stages = kind.stages is not Detector.stages  # else they come from `forward`

    class Confident(kind):
        raised_later = False  # while `forward` runs, which may go through `stages`

        def forward(self, inputs):
            self.raised_later = True
            taps = super().forward(inputs)
            self.raised_later = False
            return _confident(taps)

        def stages(self, inputs):
            for taps in super().stages(inputs):
                yield _confident(taps) if has_stages and not self.raised_later else taps

    network.__class__ = Confident


def _confident(taps: Taps) -> Taps:
    raised = {"head.cls": taps["head.cls"] + CONFIDENCE} if "head.cls" in taps else {}
    return dict(taps) | raised


def _distillation(training: Training, batch: Batch) -> list[torch.Tensor]:
    return [x for name, x in training.losses(batch).items() if name.startswith("kd.")]


def _deterministic(spec: RunSpec) -> None:
    first, second = (_losses_anew(spec) for _ in range(2))
    if first != second:
        raise Failed(f"two builds from one seed gave {first} and {second}")


def _losses_anew(spec: RunSpec) -> dict[str, float]:
    training, batch = _networks(spec)
    losses = training.losses(batch)
    for name, value in losses.items():
        if not torch.isfinite(value):
            raise Failed(f"{name} is {float(value.detach())}")
    return {name: float(value.detach()) for name, value in losses.items()}


def _gradients(spec: RunSpec) -> None:
    training, batch = _networks(spec)
    if training.method.stage_steps:
        training.method.freeze_stage()
    terms = _distillation(training, batch)
    if not terms:
        raise Failed("gives no loss term")
    total = sum(terms)
    if not total.requires_grad:
        raise Failed("the loss does not depend on the student")
    total.backward()
    if any(p.grad is not None for p in training.teacher.parameters()):
        raise Failed("a gradient reaches the teacher")
    teachers = set(training.teacher.parameters())
    if not teachers.isdisjoint(training.method.parameters()):
        raise Failed("parameters of the teacher are among its own, trained and counted with them")
    if not any(_moves(p) for p in training.student.parameters()):
        raise Failed("no gradient reaches the student")
    for name, parameter in training.method.named_parameters():
        if parameter.requires_grad and parameter.grad is None:
            raise Failed(f"no gradient reaches the method's parameter {name}")


def _stage(spec: RunSpec) -> None:
    training, batch = _networks(spec)
    method, teacher = training.method, training.teacher
    if not method.stage_steps:
        return
    method.train()
    taps = training._teacher_taps(inputs_of(teacher, training.student.prepare(batch), batch))
    sum(checked_terms("its stage", method.stage_loss(teacher, taps, batch)).values()).backward()
    own = {p for module in method.stage_modules() for p in module.parameters()}
    if not own or not own <= set(method.parameters()):
        raise Failed("stage_modules must give parts of the method")
    if unmoved := [name for name, p in method.named_parameters() if p in own and not _moves(p)]:
        raise Failed(f"its stage has no gradient for {unmoved[0]}")
    if any(p.grad is not None for p in teacher.parameters()):
        raise Failed("its stage has a gradient for the teacher")


def _moves(parameter) -> bool:
    return parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)


def _trains(spec: RunSpec) -> None:
    training, batch = _networks(spec)
    student, teacher = _checksum(training.student), _checksum(training.teacher)
    state = training.initial_state()
    for _ in range(2):
        training.step(state, batch)
    if _checksum(training.student) == student:
        raise Failed("two steps did not change the student")
    follows = methods.get(spec.method.name).teacher == "ema"
    if not follows and _checksum(training.teacher) != teacher:
        raise Failed("training changed the teacher's weights or statistics")


def _checksum(network) -> str | None:
    return checksum(network.state_dict()) if network is not None else None


def _zero_when_equal(spec: RunSpec) -> None:
    training, batch = _networks(spec, equal=True)
    training.method.share_adapters()
    training.student.eval()  # so that both sides normalise alike
    training.reads_from(training.teacher)  # as it is: folded norms round otherwise
    total = float(sum(_distillation(training, batch)).detach())
    if not abs(total) < ZERO:
        raise Failed(f"the loss is {total:g}, the formula says 0")


@contextmanager
def own_randomness():
    """Leaves torch's random state as it was."""
    state = torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_rng_state(state)
