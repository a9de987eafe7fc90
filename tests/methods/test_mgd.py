"""Masked generation against convolutions by scipy."""

import numpy as np
import pytest
import torch
from scipy.signal import correlate2d

from kdbench.methods.mgd import MaskedGenerativeDistillation


def mgd(student_specs, teacher_specs, **options):
    torch.manual_seed(0)
    return MaskedGenerativeDistillation(student_specs, teacher_specs, **options).double()


def convolved(layer, x):
    """A 3x3 convolution of one frame (C, H, W)."""
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    return np.stack(
        [
            sum(correlate2d(channel, k, mode="same") for channel, k in zip(x, kernels, strict=True))
            + b
            for kernels, b in zip(weight, bias, strict=True)
        ]
    )


def loop(method, student, teacher, seen):
    weight, bias = (p.detach().numpy() for p in method.adapter.parameters())
    total = 0.0
    for x, y, keep in zip(student["neck"].numpy(), teacher["neck"].numpy(), seen, strict=True):
        adapted = np.einsum("dc,chw->dhw", weight[:, :, 0, 0], x) + bias[:, None, None]
        hidden = np.maximum(convolved(method.generator[0], adapted * keep), 0)
        total += ((convolved(method.generator[2], hidden) - y) ** 2).sum()
    return total / len(seen)


@pytest.mark.parametrize("mask", [0.0, 0.65])
def test_equals_a_loop(student, teacher, batch, student_specs, teacher_specs, mask):
    method = mgd(student_specs, teacher_specs, mask=mask, weight=0.1)
    torch.manual_seed(1)
    seen = (torch.rand(2, 1, 8, 12) >= mask).numpy()
    torch.manual_seed(1)
    found = method(student, teacher, batch)["generation"].item()
    assert found == pytest.approx(0.1 * loop(method, student, teacher, seen))


def test_the_published_values_are_the_defaults(student_specs, teacher_specs):
    method = mgd(student_specs, teacher_specs)
    assert (method.mask, method.weight) == (0.65, 2e-5)


def test_each_step_hides_other_cells(student, teacher, batch, student_specs, teacher_specs):
    method = mgd(student_specs, teacher_specs)
    first, second = (method(student, teacher, batch)["generation"] for _ in range(2))
    assert first != second
    method.mask = 0.0
    first, second = (method(student, teacher, batch)["generation"] for _ in range(2))
    assert first == second


def test_the_share_of_hidden_cells_is_the_mask(teacher, batch, student_specs, teacher_specs):
    method = mgd(student_specs, teacher_specs, mask=0.65)
    x = torch.ones(2, 6, 100, 100, dtype=torch.float64, requires_grad=True)
    y = {"neck": torch.zeros(2, 10, 100, 100, dtype=torch.float64)}
    method({"neck": x}, y, batch)["generation"].backward()
    hidden = (x.grad == 0).double()  # a hidden cell has no say, in any channel
    assert torch.equal(hidden.amin(1), hidden.amax(1))
    assert hidden.mean().item() == pytest.approx(0.65, abs=0.02)


def test_student_adapter_and_generator_learn(student, teacher, batch, student_specs, teacher_specs):
    method = mgd(student_specs, teacher_specs)
    student["neck"].requires_grad_()
    method(student, teacher, batch)["generation"].backward()
    assert student["neck"].grad.any()
    assert all(p.grad.any() for p in method.parameters())
