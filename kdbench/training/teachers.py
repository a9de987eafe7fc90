"""Where the teacher of a run comes from."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from kdbench.detector import Detector
from kdbench.method import Method
from kdbench.ops.fold import fold_norms
from kdbench.registry import methods
from kdbench.runs import published
from kdbench.runs.build import build_detector
from kdbench.runs.records import Record, find_record
from kdbench.runs.spec import RunSpec
from kdbench.runs.store import found_weights
from kdbench.training.aligned import as_teacher


def source_run(spec: RunSpec) -> RunSpec | None:
    """The run whose trained weights are those of the teacher; None when there is no such run."""
    kind = methods.get(spec.method.name).teacher
    return {"trained": spec.teacher_run(), "self": spec.baseline()}.get(kind)


def known_teacher(results: Path, run: RunSpec, own: bool = False) -> Record | None:
    """The record of a teacher's run whose weights are there: one of `results`, or published.

    That of `results` comes first, so that all students of a folder learn from the same bits. If
    `own`, a published one will not do.
    """
    for record in (find_record(results, run), published.record_of(run)):
        path = found_weights(run, record["weights_sha256"]) if record else None
        if path and not (own and is_published(path)):
            return record
    return None


def is_published(path: Path) -> bool:
    """Whether a file of weights came with kdbench."""
    return path.is_relative_to(published.FOLDER)


def why_trained(run: RunSpec) -> str | None:
    """In which settings a teacher's run is not that of a published one, and how long that took.

    None where no teacher of the profile and detector is published.
    """
    near = published.nearest(run)
    if near is None:
        return None
    record, differing = near
    minutes = record["training"]["seconds"] / 60
    what = ", ".join(differing) or "its weights are not here"
    return (
        f"{run.label}: not the published one ({what}), so it is trained here; the training of that "
        f"one took {minutes:.0f} min on {record['environment'].get('cpu', 'another machine')}"
    )


def make_teacher(
    spec: RunSpec, student: Detector, load: Callable[[RunSpec], Detector]
) -> Detector | None:
    """The teacher a run's method asks for, frozen; `load` gives the trained detector of a run.

    One of another detector than the student's is aligned to it. It is in evaluation mode, save an
    untrained one: its running statistics are those of no data, and would let its features fade
    from layer to layer. Its batch norms take the statistics of each batch, and keep none.
    """
    kind = methods.get(spec.method.name).teacher
    if kind == "none":
        return None
    if kind == "ema":
        teacher = copy.deepcopy(student)
    elif kind == "random":
        teacher = build_detector(spec.teacher.network, student.kinds)
    else:
        teacher = load(source_run(spec))
    teacher = as_teacher(teacher, student).requires_grad_(False).eval()
    if kind == "random":
        for module in teacher.train().modules():
            if hasattr(module, "track_running_stats"):
                module.track_running_stats = False
    return teacher


@torch.no_grad()
def reader(teacher: Detector, method: Method, inputs: Any) -> Detector:
    """What a training reads the taps of a frozen teacher from: a copy, its batch norms folded.

    `inputs` are prepared ones, as an example. The taps are equal but for rounding. An untrained
    teacher's norms take the statistics of each batch, and a moving average changes at each step:
    those are read as they are.
    """
    if method.teacher not in ("trained", "self"):
        return teacher
    folded = copy.deepcopy(teacher)
    fold_norms(folded, lambda: folded(inputs))
    return folded
