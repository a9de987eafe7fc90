"""Probabilistic transfer against loops over boxes and their neighbours."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from kdbench.methods.pkt import ProbabilisticTransfer, neighbour_chances
from kdbench.ops.embeddings import embed_boxes


def pkt(student_specs, teacher_specs, **options):
    located = [{"neck": replace(x["neck"], cell=1.0)} for x in (student_specs, teacher_specs)]
    return ProbabilisticTransfer(*located, **options)


def chances_loop(rows):
    def kernel(a, b):
        return (a @ b / np.linalg.norm(a) / np.linalg.norm(b) + 1) / 2

    n = range(len(rows))
    sums = [sum(kernel(rows[i], rows[k]) for k in n if k != i) for i in n]
    return [[kernel(rows[i], rows[j]) / sums[i] for j in n if j != i] for i in n]


def divergence_loop(rows_s, rows_t):
    p_s, p_t = chances_loop(rows_s), chances_loop(rows_t)
    rows = [
        sum(t * math.log(t / s) for s, t in zip(*row, strict=True))
        for row in zip(p_s, p_t, strict=True)
    ]
    return np.mean(rows)


def test_equals_a_loop_over_boxes(student, teacher, scene, student_specs, teacher_specs):
    method = pkt(student_specs, teacher_specs, weight=2.0)
    e_s = embed_boxes(student["neck"], scene.boxes, method.student_specs["neck"]).numpy()
    e_t = embed_boxes(teacher["neck"], scene.boxes, method.teacher_specs["neck"]).numpy()
    found = method(student, teacher, scene)["affinity"].item()
    assert found == pytest.approx(2 * divergence_loop(e_s, e_t), rel=1e-4)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_with_too_few_boxes_it_equals_a_loop_over_positions(
    student, teacher, scene, student_specs, teacher_specs, count
):
    few = replace(scene, boxes=[scene.boxes[0][:count], scene.boxes[1][:0]])
    taps = [{"neck": x["neck"][..., :3, :4]} for x in (student, teacher)]
    rows = [x["neck"].permute(0, 2, 3, 1).flatten(0, 2).numpy() for x in taps]
    found = pkt(student_specs, teacher_specs, n=100, weight=1.0)(*taps, few)["affinity"].item()
    assert found == pytest.approx(divergence_loop(*rows), rel=1e-4)


def test_equal_maps_cost_nothing(student, scene, batch, student_specs):
    method = pkt(student_specs, student_specs)
    assert method(student, student, scene)["affinity"] == 0
    assert method(student, student, batch)["affinity"] == 0  # no boxes: positions


def test_chances_are_of_the_others_alone():
    p = neighbour_chances(torch.tensor([[1.0, 0], [0, 1], [2, 0], [-1, 0]]))
    torch.testing.assert_close(p[0], torch.tensor([0, 1 / 3, 2 / 3, 0]))
    torch.testing.assert_close(p.sum(1), torch.ones(4))


def test_scale_and_a_rotation_of_channels_change_nothing(
    student, teacher, scene, student_specs, teacher_specs
):
    method = pkt(student_specs, teacher_specs)
    rotation = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64)).Q
    turned = {"neck": 3 * torch.einsum("dc,bchw->bdhw", rotation, student["neck"])}
    torch.testing.assert_close(method(turned, teacher, scene), method(student, teacher, scene))


def test_gradient_equals_finite_differences(generator):
    x = torch.randn(5, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    assert gradcheck(neighbour_chances, x)


def test_equal_embeddings_stay_finite(teacher, scene, student_specs, teacher_specs):
    x = torch.zeros(2, 6, 8, 12, dtype=torch.float64, requires_grad=True)
    loss = pkt(student_specs, teacher_specs)({"neck": x}, teacher, scene)["affinity"]
    loss.backward()
    assert loss.isfinite() and x.grad.isfinite().all()
