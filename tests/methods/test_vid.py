"""Variational information against the density of the normal distribution."""

import math

import pytest
import torch
from scipy.stats import norm
from torch.autograd import gradcheck

from kdbench.methods.vid import VariationalInformation, gaussian_nll


def vid(student_specs, teacher_specs, **options):
    torch.manual_seed(0)
    return VariationalInformation(student_specs, teacher_specs, **options).double()


def test_equals_the_density_of_the_teachers_features(
    student, teacher, student_specs, teacher_specs
):
    method = vid(student_specs, teacher_specs, tap="backbone.*", weight=2.0)
    for parameter in method.variances:
        torch.nn.init.uniform_(parameter, -1, 1)
    expected = 0.0
    for name, adapter, a in zip(method.names, method.adapters, method.variances, strict=True):
        mean = adapter(student[name]).detach().numpy()
        deviation = [math.sqrt(math.log1p(math.exp(x)) + 1e-5) for x in a.tolist()]
        density = [
            norm.logpdf(teacher[name][:, c].numpy(), mean[:, c], deviation[c]).mean()
            for c in range(len(a))
        ]
        constant = math.log(2 * math.pi) / 2
        expected -= sum(density) / len(density) + constant
    found = method(student, teacher, None)["information"].item()
    assert found == pytest.approx(2 * expected)


@pytest.mark.parametrize("variance", [5.0, 0.1])
def test_starts_with_the_variance_asked_for(student_specs, teacher_specs, variance):
    method = vid(student_specs, teacher_specs, variance=variance)
    (a,) = method.variances
    assert a.shape == (teacher_specs["neck"].channels,)
    torch.testing.assert_close(
        torch.nn.functional.softplus(a) + 1e-5, torch.full_like(a, variance), rtol=1e-5, atol=0
    )


def test_the_best_variance_is_the_mean_squared_error(teacher):
    x = teacher["neck"]
    mean = x.roll(1, dims=3)
    best = (x - mean).square().mean((0, 2, 3))
    for factor in (0.8, 1.25):
        assert gaussian_nll(x, mean, best) < gaussian_nll(x, mean, factor * best)


def test_gradients_equal_finite_differences(student):
    x = student["backbone.2"]
    mean, variance = x.flip(0).clone().requires_grad_(), torch.rand(12).double() + 0.5
    assert gradcheck(lambda m, v: gaussian_nll(x, m, v), (mean, variance.requires_grad_()))


def test_student_adapters_and_variances_learn(student, teacher, student_specs, teacher_specs):
    method = vid(student_specs, teacher_specs)
    student["neck"].requires_grad_()
    method(student, teacher, None)["information"].backward()
    assert student["neck"].grad.any()
    assert all(p.grad.any() for p in method.parameters())
