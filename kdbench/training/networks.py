"""The networks of a run and its method, as they are before the first step."""

from collections.abc import Callable

import torch

from kdbench.detector import Detector
from kdbench.method import Method
from kdbench.registry import methods
from kdbench.runs import store
from kdbench.runs.build import build_detector, build_method, classes_of
from kdbench.runs.spec import RunSpec
from kdbench.taps import require
from kdbench.training.aligned import check_teacher, shown_to_method
from kdbench.training.teachers import make_teacher

Load = Callable[[RunSpec, str], Detector]


def build_networks(
    spec: RunSpec, device: torch.device, load: Load = store.load_trained
) -> tuple[Detector, Detector | None, Method]:
    """Student, teacher (when the method has one) and method, initialised from the seed.

    The student is drawn first and from the seed alone: students of one seed start equal
    whatever the method. `load` gives the trained detector of a run, of the weights that are wanted.
    """
    torch.manual_seed(spec.seed)
    student = build_detector(spec.detector, classes_of(spec.dataset))
    kind = methods.get(spec.method.name)
    require(kind.name, kind.needs, spec.detector.name, student.taps)
    weights = spec.teacher.weights if spec.teacher else ""
    teacher = make_teacher(spec, student, lambda run: load(run, weights))
    if teacher is not None:
        check_teacher(spec.method, student, teacher)
        teacher.to(device)
    torch.manual_seed(spec.seed + 1)
    method = build_method(spec.method, *shown_to_method(student, teacher))
    if teacher is not None:
        method.prepare_student(student, teacher)
    return student.to(device), teacher, method.to(device)
