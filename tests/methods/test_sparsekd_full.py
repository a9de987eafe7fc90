"""The combination does what its parts do."""

import torch

from kdbench.methods.label_kd import LabelKD
from kdbench.methods.sparsekd import SparseKD
from kdbench.methods.sparsekd_full import SparseKDFull
from kdbench.methods.tgi import TeacherGuidedInitialisation
from kdbench.registry.options import defaults_of
from kdbench.runs.build import build_detector
from kdbench.runs.settings import build_spec
from kdbench.training.conformance import CLASSES, tiny_scene


def detector(ratio):
    torch.manual_seed(0)
    return build_detector(build_spec(profile="tiny", ratio=ratio).detector, CLASSES).eval()


def test_it_initialises_relabels_and_distils_as_its_parts_do():
    student, teacher, alone = detector(4.0), detector(1.0), detector(4.0)
    method = SparseKDFull(student.taps, teacher.taps, variant="rank", scores=[0.009])
    method.prepare_student(student, teacher)
    TeacherGuidedInitialisation({}, {}).prepare_student(alone, teacher)
    for name, value in alone.state_dict().items():
        assert torch.equal(student.state_dict()[name], value)

    batch = tiny_scene(student.point_range)
    inputs = student.prepare(batch)
    taps, teacher_taps = student(inputs), teacher(inputs)
    teacher_taps["head.cls"] = teacher_taps["head.cls"] + 5
    after = method.relabel(batch, teacher, teacher_taps)
    expected = LabelKD({}, {}, scores=[0.009]).relabel(batch, teacher, teacher_taps)
    assert len(after.boxes[1]) > 0
    assert all(map(torch.equal, after.boxes, expected.boxes))
    assert method.logs["labels_added"] > 0

    sparse = SparseKD(student.taps, teacher.taps, variant="rank")
    for name, value in sparse(taps, teacher_taps, after).items():
        assert torch.equal(method(taps, teacher_taps, after)[name], value)


def test_its_options_have_the_defaults_of_its_parts():
    parts = defaults_of(SparseKD) | defaults_of(LabelKD)
    assert defaults_of(SparseKDFull).items() <= parts.items()
