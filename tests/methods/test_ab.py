"""Activation boundaries against a loop over neurons."""

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from kdbench.errors import UsageError
from kdbench.methods.ab import ActivationBoundaries, boundary_hinge
from kdbench.taps import Kind, TapSpec


def specs(channels):
    return {f"preact.{i}": TapSpec(Kind.BEV, channels * 2**i) for i in range(3)}


def before_relu(taps):
    """The backbone's maps under the names of maps before a ReLU."""
    return {f"preact.{i}": taps[f"backbone.{i}"] for i in range(3)}


def ab(**options):
    torch.manual_seed(0)
    return ActivationBoundaries(specs(3), specs(5), **options).double()


def hinge_loop(s, t, margin):
    errors = []
    for place in np.ndindex(s.shape):
        if t[place] > 0:
            errors.append(max(0, margin - s[place]) ** 2)
        else:
            errors.append(max(0, margin + s[place]) ** 2)
    return np.mean(errors)


@pytest.mark.parametrize("margin", [1.0, 0.25])
def test_equals_a_loop(student, teacher, margin):
    student, teacher, method = before_relu(student), before_relu(teacher), ab(margin=margin)
    expected = sum(
        hinge_loop(adapter(student[name]).detach().numpy(), teacher[name].numpy(), margin) * share
        for name, adapter, share in zip(student, method.adapters, (0.25, 0.5, 1), strict=True)
    )
    assert method(student, teacher, None)["boundary"].item() == pytest.approx(expected)


def test_beyond_the_margin_on_the_teachers_side_nothing_is_left_to_learn():
    t = torch.tensor([-0.1, 0.1, 5.0])
    s = torch.tensor([-1.0, 1.0, 2.0], requires_grad=True)
    loss = boundary_hinge(s, t, 1.0)
    loss.backward()
    assert loss == 0 and not s.grad.any()


def test_only_the_teachers_signs_count(student, teacher):
    method, student, teacher = ab(), before_relu(student), before_relu(teacher)
    signs = {name: x.sign() * 0.01 for name, x in teacher.items()}
    found = method(student, signs, None)["boundary"]
    torch.testing.assert_close(found, method(student, teacher, None)["boundary"])
    opposite = {name: -x for name, x in teacher.items()}
    assert found != method(student, opposite, None)["boundary"]


def test_gradient_equals_finite_differences(student):
    s, t = student["backbone.2"], student["backbone.2"].flip(0)
    assert gradcheck(lambda s: boundary_hinge(s, t, 1.0), s.clone().requires_grad_())


def test_student_and_adapters_get_gradients(student, teacher):
    method, student = ab(), before_relu(student)
    student["preact.0"].requires_grad_()
    method(student, before_relu(teacher), None)["boundary"].backward()
    assert student["preact.0"].grad.any()
    assert all(p.grad.any() for p in method.parameters())


def test_refuses_a_tap_that_is_no_map():
    with pytest.raises(UsageError, match="tap"):
        ab(tap="preakt.*")
