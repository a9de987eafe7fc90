"""Which of the teacher's weights a student starts from."""

import pytest
import torch
from torch import nn

from kdbench.methods.tgi import TeacherGuidedInitialisation
from kdbench.runs.build import build_detector
from kdbench.runs.settings import build_spec
from kdbench.training.conformance import CLASSES, tiny_scene


def detector(ratio, seed):
    torch.manual_seed(seed)
    return build_detector(build_spec(profile="tiny", ratio=ratio).detector, CLASSES)


def initialise(student, teacher):
    TeacherGuidedInitialisation({}, {}).prepare_student(student, teacher)


def block(generator, inputs, outputs):
    conv, norm = nn.Conv2d(inputs, outputs, 1), nn.BatchNorm2d(outputs)
    for x in (norm.running_mean, norm.weight.data):
        x.copy_(torch.randn(outputs, generator=generator))
    return nn.Sequential(conv, norm)


def network(generator, width, wide):
    """Two branches, of `width` and `wide` channels, and a layer over both."""
    branches = nn.ModuleList([block(generator, 3, width), block(generator, 3, wide)])
    return nn.ModuleDict({"branches": branches, "head": nn.Conv2d(width + wide, 6, 1)})


@pytest.mark.parametrize("wide", [4, 5])
def test_tensors_are_slices_and_concatenations_are_sliced_by_branch(generator, wide):
    student, teacher = network(generator, 2, 3), network(generator, 4, wide)
    initialise(student, teacher)
    for i, width in enumerate((2, 3)):
        (conv, norm), (thin, thin_norm) = teacher["branches"][i], student["branches"][i]
        assert torch.equal(thin.weight, conv.weight[:width])
        assert torch.equal(thin_norm.running_mean, norm.running_mean[:width])
        assert torch.equal(thin_norm.weight, norm.weight[:width])
    kept = [0, 1, 4, 5, 6]  # the first 2 of branch one, the first 3 of branch two
    assert torch.equal(student["head"].weight, teacher["head"].weight[:, kept])
    assert torch.equal(student["head"].bias, teacher["head"].bias)


def test_a_student_as_wide_as_its_teacher_becomes_it():
    student, teacher = detector(1.0, 0), detector(1.0, 1)
    initialise(student, teacher)
    for name, value in teacher.state_dict().items():
        assert torch.equal(student.state_dict()[name], value), name


def test_pointpillars_keeps_what_its_thin_layers_can_hold():
    """With the dropped channels zeroed, the teacher's maps are the student's."""
    student, teacher = detector(4.0, 0), detector(1.0, 1)
    initialise(student, teacher)
    with torch.no_grad():
        for name, value in teacher.state_dict().items():
            if name.endswith(".1.weight") or name.endswith("norm.weight"):
                value[len(value) // 2 :] = 0  # a norm's output is its bias then, which is 0
    # In training mode: with the running statistics of no data, deep maps would be all but 0.
    inputs = student.prepare(tiny_scene(student.point_range))
    found, expected = student(inputs), teacher(inputs)
    for name in ("head.cls", "head.box"):
        assert found[name].std() > 0
        torch.testing.assert_close(found[name], expected[name], rtol=1e-3, atol=1e-5)


def test_tensors_the_teacher_lacks_stay(generator):
    student = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(5, 2)})
    teacher = nn.ModuleDict({"a": nn.Linear(3, 3), "b": nn.Linear(4, 2)})
    own = student["b"].weight.clone()
    initialise(student, teacher)
    assert torch.equal(student["a"].weight, teacher["a"].weight[:2, :2])
    assert torch.equal(student["b"].weight, own)
