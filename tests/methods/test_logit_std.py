"""Standardised logits against NumPy."""

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from kdbench.methods.logit_std import LogitStandardisation


def loss(z_s, z_t, **options):
    return LogitStandardisation({}, {}, **options)({"head.cls": z_s}, {"head.cls": z_t}, None)["kl"]


def softmax(x):
    exponential = np.exp(x - x.max())
    return exponential / exponential.sum()


def test_equals_a_loop_over_frames_and_classes(student, teacher):
    z_s, z_t = (taps["head.cls"].numpy() for taps in (student, teacher))
    expected = []
    for frame in range(2):
        for c in range(3):
            rows = [z[frame, ..., c].ravel() for z in (z_s, z_t)]
            s, t = (softmax((z - z.mean()) / z.std(ddof=1) / 4) for z in rows)
            expected.append(16 * (t * np.log(t / s)).sum())
    found = loss(student["head.cls"], teacher["head.cls"], temperature=4.0, weight=3.0)
    assert found.item() == pytest.approx(3 * np.mean(expected), rel=1e-6)


def test_size_and_level_of_the_logits_are_left_to_the_student(student, teacher):
    z_s, z_t = student["head.cls"], teacher["head.cls"]
    torch.testing.assert_close(loss(5 * z_s - 2, z_t), loss(z_s, z_t))
    assert loss(0.1 * z_t + 7, z_t).item() == pytest.approx(0, abs=1e-9)


def test_equal_logits_cost_nothing(student):
    assert loss(student["head.cls"], student["head.cls"]) == 0


def test_gradient_equals_finite_differences(student, teacher):
    z_s, z_t = student["head.cls"][:, :1, :2].clone(), teacher["head.cls"][:, :1, :2]
    assert gradcheck(lambda z: loss(z, z_t), z_s.requires_grad_())


def test_constant_logits_stay_finite(teacher):
    z = torch.zeros(2, 8, 12, 6, 3, dtype=torch.float64, requires_grad=True)
    found = loss(z, teacher["head.cls"])
    found.backward()
    assert found.isfinite() and z.grad.isfinite().all()
