"""Attention transfer against a loop over positions."""

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from kdbench.errors import UsageError
from kdbench.methods.at import AttentionTransfer, attention


def attention_loop(maps):
    """(B, H * W) of maps (B, C, H, W)."""
    result = []
    for frame in maps.numpy():
        channels, height, width = frame.shape
        q = [
            sum(frame[c, y, x] ** 2 for c in range(channels)) / channels
            for y, x in np.ndindex(height, width)
        ]
        result.append(np.array(q) / np.linalg.norm(q))
    return np.stack(result)


def at(student, teacher, specs, batch=None, **options):
    return AttentionTransfer(specs, specs, **options)(student, teacher, batch)["attention"]


def test_equals_a_loop(student, teacher, student_specs):
    expected = sum(
        np.mean((attention_loop(student[name]) - attention_loop(teacher[name])) ** 2)
        for name in ("backbone.0", "backbone.1", "backbone.2")
    )
    assert at(student, teacher, student_specs).item() == pytest.approx(1000 * expected)
    assert at(student, teacher, student_specs, weight=1.0).item() == pytest.approx(expected)


def test_has_nothing_to_train(student_specs, teacher_specs):
    assert not list(AttentionTransfer(student_specs, teacher_specs).parameters())


def test_scaling_a_map_changes_nothing(student, teacher, student_specs):
    scaled = {n: x * 7.0 if n.startswith("backbone") else x for n, x in student.items()}
    torch.testing.assert_close(
        at(scaled, teacher, student_specs), at(student, teacher, student_specs)
    )


def test_the_order_of_channels_changes_nothing(student, teacher, student_specs):
    turned = {n: x.flip(1) if n.startswith("backbone") else x for n, x in student.items()}
    torch.testing.assert_close(
        at(turned, teacher, student_specs), at(student, teacher, student_specs)
    )


def test_equal_maps_cost_nothing(student, student_specs):
    assert at(student, student, student_specs) == 0


def test_maps_of_zeros_stay_finite():
    x = torch.zeros(2, 3, 4, 4, requires_grad=True)
    loss = (attention(x) - attention(torch.rand(2, 5, 4, 4))).square().mean()
    loss.backward()
    assert loss.isfinite() and x.grad.isfinite().all()


def test_gradient_equals_finite_differences(student):
    x = student["backbone.2"].clone().requires_grad_()
    assert gradcheck(attention, x)


@pytest.mark.parametrize("tap", ["bakbone.*", "voxel"])
def test_a_tap_that_is_no_map_is_refused(student_specs, tap):
    with pytest.raises(UsageError, match="tap.*backbone.0"):
        AttentionTransfer(student_specs, student_specs, tap=tap)
