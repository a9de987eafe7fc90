"""Relational distillation against loops over pairs and triplets of boxes."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from kdbench.methods.rkd import RelationalDistillation, relations
from kdbench.ops.embeddings import embed_boxes


def rkd(student_specs, teacher_specs, **options):
    located = [{"neck": replace(x["neck"], cell=1.0)} for x in (student_specs, teacher_specs)]
    return RelationalDistillation(*located, **options)


def huber(x):
    return 0.5 * x**2 if abs(x) < 1 else abs(x) - 0.5


def distances(e):
    found = {(i, j): np.linalg.norm(e[i] - e[j]) for i, j in permutations(range(len(e)), 2)}
    mean = np.mean(list(found.values()))
    return {pair: d / mean for pair, d in found.items()}


def angles(e):
    def cos(i, j, k):
        a, b = e[i] - e[j], e[k] - e[j]
        return a @ b / np.linalg.norm(a) / np.linalg.norm(b)

    return {ijk: cos(*ijk) for ijk in permutations(range(len(e)), 3)}


def test_equals_a_loop(student, teacher, scene, student_specs, teacher_specs):
    method = rkd(student_specs, teacher_specs)
    e_s = embed_boxes(student["neck"], scene.boxes, method.student_specs["neck"]).numpy()
    e_t = embed_boxes(teacher["neck"], scene.boxes, method.teacher_specs["neck"]).numpy()
    found = method(student, teacher, scene)
    for name, relation, weight in (("distance", distances, 25), ("angle", angles, 50)):
        r_s, r_t = relation(e_s), relation(e_t)
        expected = weight * np.mean([huber(r_s[key] - r_t[key]) for key in r_s])
        assert found[name].item() == pytest.approx(expected)


def test_equal_maps_cost_nothing(student, scene, student_specs):
    assert sum(rkd(student_specs, student_specs)(student, student, scene).values()) == 0


def test_moving_turning_and_scaling_embeddings_changes_nothing(
    student, teacher, scene, student_specs, teacher_specs
):
    method = rkd(student_specs, teacher_specs)
    rotation = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64)).Q
    moved = {"neck": 3 * torch.einsum("dc,bchw->bdhw", rotation, student["neck"]) + 2}
    torch.testing.assert_close(method(moved, teacher, scene), method(student, teacher, scene))


def test_at_most_n_boxes_are_related(student, teacher, scene, student_specs, teacher_specs):
    def values(n):
        torch.manual_seed(0)
        terms = rkd(student_specs, teacher_specs, n=n)(student, teacher, scene)
        return [x.item() for x in terms.values()]

    assert values(5) == pytest.approx(values(100))
    assert values(4) != pytest.approx(values(100))
    assert values(2) == pytest.approx([0, 0])  # the one relative distance of two boxes is 1


def test_gradient_equals_finite_differences(generator):
    x = torch.randn(4, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    assert gradcheck(relations, x)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_boxes_cost_nothing(student, teacher, scene, student_specs, teacher_specs, count):
    few = replace(scene, boxes=[scene.boxes[0][:count], scene.boxes[1][:0]])
    student["neck"].requires_grad_()
    loss = sum(rkd(student_specs, teacher_specs)(student, teacher, few).values())
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12) and student["neck"].grad.isfinite().all()


def test_equal_embeddings_stay_finite(teacher, scene, student_specs, teacher_specs):
    x = torch.zeros(2, 6, 8, 12, dtype=torch.float64, requires_grad=True)
    loss = sum(rkd(student_specs, teacher_specs)({"neck": x}, teacher, scene).values())
    loss.backward()
    assert loss.isfinite() and x.grad.isfinite().all()
