"""A wrapped method and the teacher it gets."""

import pytest
import torch

from kdbench.errors import UsageError
from kdbench.methods.fitnet import FitNet
from kdbench.methods.random_teacher import RandomTeacher
from kdbench.runs.build import build_detector
from kdbench.runs.settings import build_spec
from kdbench.runs.store import checksum
from kdbench.training.conformance import CLASSES, tiny_scene
from kdbench.training.teachers import make_teacher

SPEC = build_spec(profile="tiny", method="random-teacher", ratio=4.0)


def networks(seed=0):
    torch.manual_seed(seed)
    student = build_detector(SPEC.detector, CLASSES)
    return student, make_teacher(SPEC, student, load=None)


def test_the_teacher_is_wide_frozen_and_drawn_from_the_seed():
    (student, teacher), (_, again), (_, other) = networks(), networks(), networks(1)
    assert teacher.taps["neck"].channels == 2 * student.taps["neck"].channels
    assert not any(p.requires_grad for p in teacher.parameters())
    sums = [checksum(t.state_dict()) for t in (teacher, again, other)]
    assert sums[0] == sums[1] != sums[2]


def test_its_features_do_not_fade_and_its_statistics_stay():
    student, teacher = networks()
    before = checksum(teacher.state_dict())
    inputs = student.prepare(tiny_scene(student.point_range))
    with torch.no_grad():
        taps = teacher(inputs)
        deepest = [taps[f"backbone.{i}"].std().item() for i in range(3)]
        assert checksum(teacher.state_dict()) == before
        faded = teacher.eval()  # even so: there are no running statistics to take
        for module in faded.modules():
            module.track_running_stats = True
        still = faded(inputs)["backbone.2"].std().item()
    assert min(deepest) > 0.2
    assert still < 0.01


def test_it_hands_everything_to_the_wrapped_method(
    student, teacher, batch, student_specs, teacher_specs
):
    torch.manual_seed(0)
    control = RandomTeacher(student_specs, teacher_specs).double()
    torch.manual_seed(0)
    inner = FitNet(student_specs, teacher_specs).double()
    assert control(student, teacher, batch) == inner(student, teacher, batch)
    assert len(list(control.parameters())) == len(list(inner.parameters()))


def test_hooks_reach_the_wrapped_method(student_specs, teacher_specs):
    control, called = RandomTeacher(student_specs, teacher_specs), []
    for hook in ("share_adapters", "prepare_student", "relabel", "after_step"):
        setattr(control.method, hook, lambda *a, hook=hook: called.append((hook, len(a))))
    control.share_adapters()
    control.prepare_student(None, None)
    control.relabel(None, None, None)
    control.after_step(None, None, 1, 2)
    expected = [("share_adapters", 0), ("prepare_student", 2), ("relabel", 3), ("after_step", 4)]
    assert called == expected


def test_a_random_control_of_none_is_refused(student_specs):
    with pytest.raises(UsageError, match="trained teacher"):
        RandomTeacher(student_specs, student_specs, method="none")
