"""Pearson distillation against scipy's correlation."""

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr
from torch import nn
from torch.autograd import gradcheck

from kdbench.errors import UsageError
from kdbench.methods.pkd import PearsonDistillation, standardised


def pkd(student_specs, teacher_specs, **options):
    torch.manual_seed(0)
    return PearsonDistillation(student_specs, teacher_specs, **options).double()


def channels(x):
    """A channel's values over all frames, one row each."""
    return x.transpose(0, 1).flatten(1).numpy()


def correlation_loss(x, y):
    pairs = zip(channels(x), channels(y), strict=True)
    return np.mean([1 - pearsonr(a, b).statistic for a, b in pairs])


@pytest.mark.parametrize("tap, count", [("neck", 1), ("backbone.*", 3)])
def test_equals_one_less_the_correlation(
    student, teacher, batch, student_specs, teacher_specs, tap, count
):
    method = pkd(student_specs, teacher_specs, tap=tap, weight=2.0)
    assert len(method.adapters) == count
    expected = 0.0
    for name, adapter in zip(method.names, method.adapters, strict=True):
        weight = adapter.map.weight.detach()[:, :, 0, 0]  # the bias plays no part
        adapted = torch.einsum("dc,bchw->bdhw", weight, student[name])
        expected += correlation_loss(adapted, teacher[name])
    found = method(student, teacher, batch)["pearson"].item()
    assert found == pytest.approx(2 * expected, rel=1e-5)


def test_equal_widths_are_not_adapted(teacher, batch, teacher_specs):
    method = pkd(teacher_specs, teacher_specs)
    assert isinstance(method.adapters[0], nn.Identity)
    assert method(teacher, teacher, batch)["pearson"] == 0


def test_scale_and_shift_of_a_channel_change_nothing(teacher, batch, teacher_specs, generator):
    method = pkd(teacher_specs, teacher_specs)
    x = torch.randn(teacher["neck"].shape, generator=generator, dtype=torch.float64)
    scale, shift = (torch.arange(10.0).view(10, 1, 1) + i for i in (1, 0))
    found, expected = (
        method({"neck": x}, teacher, batch)["pearson"] for x in (x * scale + shift, x)
    )
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)


def test_opposite_maps_cost_most(teacher, batch, teacher_specs):
    method = pkd(teacher_specs, teacher_specs, weight=1.0)
    found = method({"neck": -teacher["neck"]}, teacher, batch)["pearson"].item()
    assert found == pytest.approx(2, rel=1e-5)


def test_a_constant_channel_stays_finite():
    x = torch.ones(2, 3, 4, 4, requires_grad=True)
    y = standardised(x)
    y.square().sum().backward()
    assert (y == 0).all()
    assert x.grad.isfinite().all()


def test_gradient_equals_finite_differences(student):
    assert gradcheck(standardised, student["backbone.2"].clone().requires_grad_())


def test_student_and_adapter_learn(student, teacher, batch, student_specs, teacher_specs):
    method = pkd(student_specs, teacher_specs)
    student["neck"].requires_grad_()
    method(student, teacher, batch)["pearson"].backward()
    assert student["neck"].grad.any()
    assert method.adapters[0].map.weight.grad.any()
    assert method.adapters[0].map.bias.grad is not None  # but 0: a shift changes nothing


def test_a_tap_that_is_no_map_is_refused(student_specs, teacher_specs):
    with pytest.raises(UsageError, match="tap.*neck"):
        pkd(student_specs, teacher_specs, tap="head.cls")
