"""Correlation congruence against loops over pairs of boxes."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from kdbench.methods.cc import CorrelationCongruence, correlation
from kdbench.ops.embeddings import embed_boxes


def cc(student_specs, teacher_specs, **options):
    located = [{"neck": replace(x["neck"], cell=1.0)} for x in (student_specs, teacher_specs)]
    return CorrelationCongruence(*located, **options)


def kernel(a, b, gamma, order):
    cos = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    terms = [(2 * gamma) ** p / math.factorial(p) * cos**p for p in range(order + 1)]
    return math.exp(-2 * gamma) * sum(terms)


@pytest.mark.parametrize("gamma, order", [(0.4, 2), (1.0, 3), (0.4, 1)])
def test_equals_a_loop(student, teacher, scene, student_specs, teacher_specs, gamma, order):
    method = cc(student_specs, teacher_specs, gamma=gamma, order=order, weight=2.0)
    e_s = embed_boxes(student["neck"], scene.boxes, method.student_specs["neck"]).numpy()
    e_t = embed_boxes(teacher["neck"], scene.boxes, method.teacher_specs["neck"]).numpy()
    errors = [
        kernel(e_s[i], e_s[j], gamma, order) - kernel(e_t[i], e_t[j], gamma, order)
        for i, j in np.ndindex(5, 5)
    ]
    found = method(student, teacher, scene)["correlation"].item()
    assert found == pytest.approx(2 * np.mean(np.square(errors)))


def test_the_series_comes_to_the_gaussian_kernel(generator):
    x = torch.nn.functional.normalize(torch.randn(5, 3, generator=generator), dim=1)
    gaussian = torch.exp(-0.4 * torch.cdist(x, x).square())
    torch.testing.assert_close(correlation(x, 0.4, 12), gaussian, rtol=1e-4, atol=1e-5)
    assert (correlation(x, 0.4, 2) - gaussian).abs().max() < 0.05


def test_equal_maps_cost_nothing(student, scene, student_specs):
    assert cc(student_specs, student_specs)(student, student, scene)["correlation"] == 0


def test_scale_and_a_rotation_of_channels_change_nothing(
    student, teacher, scene, student_specs, teacher_specs
):
    method = cc(student_specs, teacher_specs)
    rotation = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64)).Q
    turned = {"neck": 3 * torch.einsum("dc,bchw->bdhw", rotation, student["neck"])}
    torch.testing.assert_close(method(turned, teacher, scene), method(student, teacher, scene))


def test_gradient_equals_finite_differences(generator):
    x = torch.randn(4, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x: correlation(x, 0.4, 2), x)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_boxes_cost_nothing(
    student, teacher, scene, student_specs, teacher_specs, count
):
    few = replace(scene, boxes=[scene.boxes[0][:count], scene.boxes[1][:0]])
    student["neck"].requires_grad_()
    loss = cc(student_specs, teacher_specs)(student, teacher, few)["correlation"]
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12) and student["neck"].grad.isfinite().all()
