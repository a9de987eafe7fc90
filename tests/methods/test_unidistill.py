"""Nine points of an object against loops."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from kdbench.methods.unidistill import UniDistill
from kdbench.ops.regions import box_points, sample_map
from kdbench.taps import Kind, TapSpec

WEIGHTS = {"feature": 2.0, "relation": 3.0, "response": 5.0}


@pytest.fixture
def specs(student_specs, teacher_specs):
    """Maps of 12 x 8 m; two anchors a cell."""
    return [
        {"neck": replace(s["neck"], cell=1.0), "head.cls": TapSpec(Kind.CLS, 3),
         "head.box": TapSpec(Kind.BOX, 7, cell=1.0)}
        for s in (student_specs, teacher_specs)
    ]  # fmt: skip


@pytest.fixture
def heads(generator, student, teacher):
    def head(taps):
        box = torch.randn(2, 8, 12, 6, 7, generator=generator, dtype=torch.float64)
        return {"neck": taps["neck"], "head.cls": taps["head.cls"], "head.box": box}

    return head(student), head(teacher)


def unidistill(specs):
    torch.manual_seed(0)
    return UniDistill(*specs, **WEIGHTS).double()


def test_the_nine_points_of_a_box():
    box = torch.tensor([[3.0, 2.0, 0, 4.0, 2.0, 1.0, math.pi / 2]])
    points = box_points(box, (-0.5, 0.0, 0.5)).reshape(9, 2).numpy()
    expected = {(3 - w, 2 + length) for length in (-2, 0, 2) for w in (-1, 0, 1)}
    assert {tuple(p) for p in points.round(5).tolist()} == expected


def test_features_and_relations_equal_loops(specs, heads, scene):
    method = unidistill(specs)
    student, teacher = heads
    found = method(student, teacher, scene)
    adapted = method.adapter(student["neck"]).detach()
    feature, relation = [], []
    for frame, own in enumerate(scene.boxes):
        for box in own:
            points = box_points(box[None], (-0.5, 0.0, 0.5))
            s, t = (
                sample_map(x[frame], points, specs[1]["neck"]).reshape(9, -1).numpy()
                for x in (adapted, teacher["neck"])
            )
            feature.append(np.abs(s - t).mean())
            cosine = [
                [[a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-12) for a in x] for b in x]
                for x in (s, t)
            ]
            relation.append(np.abs(np.subtract(*cosine)).mean())
    assert found["feature"].item() == pytest.approx(2 * np.mean(feature))
    assert found["relation"].item() == pytest.approx(3 * np.mean(relation))


def test_the_response_is_weighed_by_the_place(specs, heads, scene):
    student, teacher = heads
    found = unidistill(specs)(student, teacher, scene)["response"].item()
    p_s, p_t = (x["head.cls"].sigmoid().numpy() for x in heads)
    difference = (student["head.box"] - teacher["head.box"]).numpy()
    difference[..., 6] = np.sin(difference[..., 6])
    total = weight = 0.0
    for frame, y, x, a in np.ndindex(2, 8, 12, 6):
        heat = 0.0
        for box in scene.boxes[frame].numpy():
            sigma = max(1.0, math.hypot(box[3], box[4]) / 6)
            away = (x + 0.5 - box[0]) ** 2 + (y + 0.5 - box[1]) ** 2
            heat = max(heat, math.exp(-away / (2 * sigma**2)))
        at = frame, y, x, a
        total += heat * (np.abs(p_s[at] - p_t[at]).sum() + np.abs(difference[at]).sum())
        weight += heat
    assert found == pytest.approx(5 * total / weight, rel=1e-5)


def test_equal_taps_cost_nothing_and_an_empty_scene_too(specs, heads, scene, batch):
    method = unidistill([specs[1]] * 2)
    method.share_adapters()
    teacher = heads[1]
    assert sum(method(teacher, teacher, scene).values()) == 0
    other = {"neck": teacher["neck"] + 1, "head.cls": heads[0]["head.cls"],
             "head.box": heads[0]["head.box"]}  # fmt: skip
    assert sum(method(other, teacher, batch).values()) == 0


def test_the_student_learns_everywhere(specs, heads, scene):
    student, teacher = heads
    for tap in student.values():
        tap.requires_grad_()
    loss = sum(unidistill(specs)(student, teacher, scene).values())
    for gradient in torch.autograd.grad(loss, list(student.values())):
        assert gradient.isfinite().all() and gradient.abs().sum() > 0
