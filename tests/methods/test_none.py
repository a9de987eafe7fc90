"""The baseline adds nothing."""

from kdbench.methods.none import NoDistillation


def test_has_no_loss_no_parameters_and_no_teacher(student, batch, student_specs):
    method = NoDistillation(student_specs, {})
    assert method(student, {}, batch) == {}
    assert not list(method.parameters())
    assert method.teacher == "none"
