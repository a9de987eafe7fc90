"""The teacher of a student that learns from itself."""

import torch

from kdbench.methods.self import SelfTeaching
from kdbench.runs.build import build_detector
from kdbench.runs.settings import build_spec
from kdbench.training.conformance import CLASSES
from kdbench.training.teachers import make_teacher, source_run

SPEC = build_spec(profile="tiny", method="self", ratio=4.0, seed=3)


def test_the_teacher_is_the_same_student_without_distillation():
    run = source_run(SPEC)
    assert run == SPEC.baseline()
    assert (run.detector.ratio, run.seed, run.method.name) == (4.0, 3, "none")


def test_the_teacher_has_the_weights_of_that_run():
    student, trained = (build_detector(SPEC.detector, CLASSES) for _ in range(2))
    asked = []

    def load(run):
        asked.append(run)
        return trained

    teacher = make_teacher(SPEC, student, load)
    assert teacher is trained and asked == [SPEC.baseline()]
    assert not teacher.training and not any(p.requires_grad for p in teacher.parameters())


def test_hints_of_equal_widths_vanish_with_shared_adapters(student, student_specs, batch):
    method = SelfTeaching(student_specs, student_specs).double()
    assert method(student, student, batch)["hint"] > 0
    method.share_adapters()
    assert torch.equal(method(student, student, batch)["hint"], torch.zeros(()).double())
