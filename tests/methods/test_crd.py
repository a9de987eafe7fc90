"""Contrastive distillation against a loop over boxes."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from kdbench.methods.crd import ContrastiveRepresentation
from kdbench.ops.embeddings import embed_boxes


@pytest.fixture
def scene(batch, generator):
    """Frames of 12 x 8 m with 4 boxes and 1."""
    boxes = [
        torch.rand(m, 7, generator=generator) * 3 + torch.tensor([4.0, 2] + [1] * 5) for m in (4, 1)
    ]
    return replace(batch, boxes=boxes)


def crd(student_specs, teacher_specs, **options):
    torch.manual_seed(0)
    located = [{"neck": replace(x["neck"], cell=1.0)} for x in (student_specs, teacher_specs)]
    return ContrastiveRepresentation(*located, **options).double()


def loop(method, student, teacher, boxes, temperature):
    sides = []
    for taps, specs, projection in (
        (student, method.student_specs, method.student_projection),
        (teacher, method.teacher_specs, method.teacher_projection),
    ):
        weight, bias = (p.detach().numpy() for p in (projection.weight, projection.bias))
        projected = [
            weight @ e + bias for e in embed_boxes(taps["neck"], boxes, specs["neck"]).numpy()
        ]
        sides.append([x / np.linalg.norm(x) for x in projected])
    s, t = sides
    total = 0.0
    for i in range(len(s)):
        scores = [math.exp(s[i] @ t[j] / temperature) for j in range(len(t))]
        total -= math.log(scores[i] / sum(scores))
    return total / len(s)


@pytest.mark.parametrize("temperature, channels", [(0.07, 128), (1.0, 4)])
def test_equals_a_loop(
    student, teacher, scene, student_specs, teacher_specs, temperature, channels
):
    method = crd(student_specs, teacher_specs, temperature=temperature, channels=channels)
    found = method(student, teacher, scene)["contrast"].item()
    assert found == pytest.approx(0.8 * loop(method, student, teacher, scene.boxes, temperature))


def test_a_student_that_tells_the_boxes_as_the_teacher_does_costs_less(
    student, teacher, scene, teacher_specs
):
    method = crd(teacher_specs, teacher_specs)
    method.student_projection.load_state_dict(method.teacher_projection.state_dict())
    same = method(teacher, teacher, scene)["contrast"]
    swapped = replace(scene, boxes=[scene.boxes[0].flip(0), scene.boxes[1]])
    other = {"neck": teacher["neck"].flip(2, 3)}
    assert same < method(other, teacher, scene)["contrast"]
    torch.testing.assert_close(method(teacher, teacher, swapped)["contrast"], same)


def test_scaling_a_projection_changes_nothing(
    student, teacher, scene, student_specs, teacher_specs
):
    method = crd(student_specs, teacher_specs)
    before = method(student, teacher, scene)["contrast"]
    with torch.no_grad():
        for parameter in method.student_projection.parameters():
            parameter.mul_(5)
    torch.testing.assert_close(method(student, teacher, scene)["contrast"], before)


def test_gradient_equals_finite_differences(student, teacher, scene, student_specs, teacher_specs):
    method = crd(student_specs, teacher_specs, channels=4, temperature=0.5)
    x = student["neck"].clone().requires_grad_()
    assert gradcheck(lambda x: method({"neck": x}, teacher, scene)["contrast"], x, fast_mode=True)


def test_student_and_both_projections_learn(student, teacher, scene, student_specs, teacher_specs):
    method = crd(student_specs, teacher_specs)
    student["neck"].requires_grad_()
    method(student, teacher, scene)["contrast"].backward()
    assert student["neck"].grad.any()
    assert all(p.grad.any() for p in method.parameters())


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_boxes_cost_nothing(
    student, teacher, scene, student_specs, teacher_specs, count
):
    few = replace(scene, boxes=[scene.boxes[0][:count], scene.boxes[1][:0]])
    student["neck"].requires_grad_()
    loss = crd(student_specs, teacher_specs)(student, teacher, few)["contrast"]
    loss.backward()
    assert loss == 0
