"""The overhaul of features against loops, margins against sampled normal values."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import truncnorm
from torch.autograd import gradcheck

from kdbench.errors import NotApplicable, UsageError
from kdbench.methods.ofd import OverhaulOfFeatures, mean_when_negative, partial_l2
from kdbench.taps import Kind, TapSpec


def specs(channels, generator):
    """Maps before a ReLU of two stages, with batch norms."""
    return {
        f"preact.{i}": TapSpec(
            Kind.BEV, c, affine=tuple(torch.randn(2, c, generator=generator).unbind())
        )
        for i, c in enumerate((channels, 2 * channels))
    }


@pytest.fixture
def sides(generator, student, teacher):
    """Student's and teacher's specs and taps: the backbone's maps serve as maps before a ReLU."""
    taps = [{f"preact.{i}": x[f"backbone.{i}"] for i in (0, 1)} for x in (student, teacher)]
    return [specs(3, generator), specs(5, generator), *taps]


def ofd(student_specs, teacher_specs, **options):
    torch.manual_seed(0)
    return OverhaulOfFeatures(student_specs, teacher_specs, **options).double()


def loop(method, student, teacher, teacher_specs):
    total = 0.0
    for i, adapter in enumerate(method.adapters):
        name = f"preact.{i}"
        scale, shift = (x.numpy() for x in teacher_specs[name].affine)
        adapted = adapter(student[name]).detach().numpy()
        errors = []
        for place in np.ndindex(adapted.shape):
            c = place[1]
            margin = truncnorm.mean(
                -np.inf, -shift[c] / abs(scale[c]), loc=shift[c], scale=abs(scale[c])
            )
            s, t = adapted[place], max(teacher[name].numpy()[place], margin)
            errors.append(0 if s <= t <= 0 else (s - t) ** 2)
        total += np.mean(errors) * (0.5 if i == 0 else 1)
    return total


def test_equals_a_loop(sides):
    student_specs, teacher_specs, student, teacher = sides
    method = ofd(student_specs, teacher_specs, weight=3.0)
    found = method(student, teacher, None)["feature"].item()
    assert found == pytest.approx(3 * loop(method, student, teacher, teacher_specs), rel=1e-5)


@pytest.mark.parametrize(
    "s, t, expected",
    [(-3, -1, 0), (-1, -3, 4), (0.5, -1, 2.25), (-1, 2, 9), (1, 2, 1), (3, 2, 1), (-1, 0, 0)],
)
def test_only_below_a_negative_target_the_student_is_free(s, t, expected):
    s, t = torch.tensor([[float(s), float(t)]]).T
    assert partial_l2(s, t).item() == pytest.approx(expected)


@pytest.mark.parametrize("shift", [-3.0, -0.2, 0.0, 1.5, 4.0])
@pytest.mark.parametrize("scale", [0.3, -1.0, 2.0])
def test_margins_are_the_mean_of_negative_normal_values(shift, scale):
    found = mean_when_negative(torch.tensor([scale]), torch.tensor([shift])).item()
    width = abs(scale)
    expected = truncnorm.mean(-np.inf, -shift / width, loc=shift, scale=width)
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("shift, scale", [(-2.0, 0.0), (2.0, 0.0), (0.0, 0.0), (50.0, 0.1)])
def test_margins_of_dead_or_always_active_channels_are_finite(shift, scale):
    found = mean_when_negative(torch.tensor([scale]), torch.tensor([shift])).item()
    assert math.isfinite(found) and min(shift, 0) - 1e-3 <= found <= 0


def test_margins_follow_the_teachers_weights(sides):
    student_specs, teacher_specs, student, teacher = sides
    method = ofd(student_specs, teacher_specs)
    before = method(student, teacher, None)["feature"]
    teacher_specs["preact.0"].affine[1].sub_(3.0)
    assert method(student, teacher, None)["feature"] != before


def test_equal_maps_cost_nothing_once_adapters_are_shared(sides):
    student_specs, _, student, _ = sides
    method = ofd(student_specs, student_specs)
    assert method(student, student, None)["feature"] > 0
    method.share_adapters()
    assert method(student, student, None)["feature"] == 0


def test_gradient_equals_finite_differences(student):
    s, t = student["backbone.2"], student["backbone.2"].flip(0)
    assert gradcheck(lambda s: partial_l2(s, t), s.clone().requires_grad_())


def test_student_and_adapters_get_gradients(sides):
    student_specs, teacher_specs, student, teacher = sides
    method = ofd(student_specs, teacher_specs)
    student["preact.1"].requires_grad_()
    method(student, teacher, None)["feature"].backward()
    assert student["preact.1"].grad.any()
    assert all(p.grad.any() for p in method.parameters())


def test_refuses_maps_that_come_out_of_no_batch_norm(sides):
    with pytest.raises(NotApplicable, match=r"preact\.0"):
        ofd(sides[0], {f"preact.{i}": TapSpec(Kind.BEV, 5) for i in (0, 1)})


def test_refuses_a_tap_that_is_no_map(sides):
    with pytest.raises(UsageError, match="tap"):
        ofd(sides[0], sides[1], tap="preakt.*")
