"""Neuron selectivity against loops over pairs of channels."""

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from kdbench.methods.nst import NeuronSelectivity, squared_mmd


def mmd_loop(frame_s, frame_t):
    s, t = (
        [c / np.linalg.norm(c) for c in frame.flatten(1).numpy()] for frame in (frame_s, frame_t)
    )

    def mean_kernel(xs, ys):
        return np.mean([sum(x * y) ** 2 for x in xs for y in ys])

    return mean_kernel(t, t) + mean_kernel(s, s) - 2 * mean_kernel(s, t)


def nst(student, teacher, specs, **options):
    return NeuronSelectivity(specs, specs, **options)(student, teacher, None)["selectivity"]


@pytest.mark.parametrize("tap", ["neck", "backbone.2"])
def test_equals_a_loop(student, teacher, student_specs, tap):
    expected = np.mean([mmd_loop(*x) for x in zip(student[tap], teacher[tap], strict=True)])
    found = nst(student, teacher, student_specs, tap=tap)
    assert found.item() == pytest.approx(50 * expected)


def test_is_a_squared_distance_of_mean_outer_products(student, teacher):
    """The kernel (x . y)^2 is the dot product of the outer products x x' and y y'."""
    means = []
    for taps in (student, teacher):
        x = torch.nn.functional.normalize(taps["backbone.2"].flatten(2), dim=2)
        means.append(torch.einsum("bci,bcj->bij", x, x) / x.shape[1])
    expected = (means[0] - means[1]).square().sum((1, 2)).mean()
    torch.testing.assert_close(squared_mmd(student["backbone.2"], teacher["backbone.2"]), expected)


def test_equal_maps_cost_nothing(student, student_specs):
    assert nst(student, student, student_specs) == 0


def test_scale_sign_and_order_of_channels_change_nothing(student, teacher, student_specs):
    turned = {"neck": student["neck"].flip(1) * -torch.arange(1.0, 7).view(-1, 1, 1).double()}
    torch.testing.assert_close(
        nst(turned, teacher, student_specs), nst(student, teacher, student_specs)
    )


def test_where_a_channel_is_strong_counts(student, teacher, student_specs):
    moved = {"neck": student["neck"].roll(1, dims=3)}
    assert nst(moved, teacher, student_specs) != nst(student, teacher, student_specs)


def test_gradient_equals_finite_differences(student, teacher):
    x, y = student["backbone.2"].clone().requires_grad_(), teacher["backbone.2"]
    assert gradcheck(lambda x: squared_mmd(x, y), x)


def test_dead_channels_stay_finite(student, teacher):
    x = student["neck"].clone()
    x[:, 2] = 0
    x.requires_grad_()
    loss = squared_mmd(x, teacher["neck"])
    loss.backward()
    assert loss.isfinite() and x.grad.isfinite().all()
