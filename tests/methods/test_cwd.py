"""Channel-wise distillation against a loop over channels and cells."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from kdbench.errors import UsageError
from kdbench.methods.cwd import ChannelWiseDistillation, divergence


def cwd(student_specs, teacher_specs, **options):
    torch.manual_seed(0)
    return ChannelWiseDistillation(student_specs, teacher_specs, **options).double()


def softmax(values):
    exponential = [math.exp(v) for v in values]
    return [e / sum(exponential) for e in exponential]


def divergence_loop(student, teacher, temperature):
    terms = []
    for s, t in zip(student.flatten(0, 1), teacher.flatten(0, 1), strict=True):  # each channel
        p_s, p_t = (softmax((x / temperature).flatten().tolist()) for x in (s, t))
        terms.append(sum(t * math.log(t / s) for s, t in zip(p_s, p_t, strict=True)))
    return temperature**2 * sum(terms) / len(terms)


@pytest.mark.parametrize("tap, temperature", [("neck", 1.0), ("neck", 4.0), ("backbone.*", 1.0)])
def test_equals_a_loop(student, teacher, batch, student_specs, teacher_specs, tap, temperature):
    method = cwd(student_specs, teacher_specs, tap=tap, temperature=temperature, weight=3.0)
    expected = 0.0
    for name, adapter in zip(method.names, method.adapters, strict=True):
        weight, bias = (p.detach() for p in adapter.parameters())
        adapted = torch.einsum("dc,bchw->bdhw", weight[:, :, 0, 0], student[name])
        adapted = adapted + bias[:, None, None]
        expected += divergence_loop(adapted, teacher[name], temperature)
    found = method(student, teacher, batch)["channels"].item()
    assert found == pytest.approx(3 * expected)


def test_a_constant_added_to_a_channel_changes_nothing(teacher, generator):
    y = teacher["neck"]
    x = torch.randn(y.shape, generator=generator, dtype=y.dtype)
    shift = torch.arange(10.0).view(1, 10, 1, 1)
    torch.testing.assert_close(divergence(x + shift, y, 1.0), divergence(x, y, 1.0))


def test_equal_maps_cost_nothing_once_adapters_are_shared(teacher, batch, teacher_specs):
    method = cwd(teacher_specs, teacher_specs, tap="backbone.*")
    assert method(teacher, teacher, batch)["channels"] > 0
    method.share_adapters()
    assert method(teacher, teacher, batch)["channels"] == 0


def test_gradient_equals_finite_differences(student, generator):
    x = student["backbone.2"].clone()
    y = torch.randn(x.shape, generator=generator, dtype=x.dtype)
    assert gradcheck(lambda x: divergence(x, y, 2.0), x.requires_grad_())


def test_student_and_adapter_learn(student, teacher, batch, student_specs, teacher_specs):
    method = cwd(student_specs, teacher_specs)
    student["neck"].requires_grad_()
    method(student, teacher, batch)["channels"].backward()
    assert student["neck"].grad.any()
    assert method.adapters[0].map.weight.grad.any()
    # A bias shifts a channel as a whole, which the softmax does not see.
    assert method.adapters[0].map.bias.grad.abs().max() < 1e-12


def test_strong_features_stay_finite():
    x = torch.tensor([-1e4, 0, 1e4]).view(1, 1, 1, 3).requires_grad_()
    loss = divergence(x, -x.detach(), 1.0)
    loss.backward()
    assert loss.isfinite() and x.grad.isfinite().all()


def test_a_tap_that_is_no_map_is_refused(student_specs, teacher_specs):
    with pytest.raises(UsageError, match="tap.*neck"):
        cwd(student_specs, teacher_specs, tap="voxel")
