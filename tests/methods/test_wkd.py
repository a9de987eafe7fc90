"""Moments in boxes against NumPy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from kdbench.methods.wkd import WassersteinDistillation
from kdbench.ops.regions import box_grid, sample_map


@pytest.fixture
def specs(student_specs, teacher_specs):
    return [
        {name: replace(spec, cell=1.0) for name, spec in specs.items()}
        for specs in (student_specs, teacher_specs)
    ]


def wkd(specs, **options):
    torch.manual_seed(0)
    return WassersteinDistillation(*specs, **options).double()


def test_equals_a_loop_over_boxes(specs, student, teacher, scene):
    method = wkd(specs, size=3, mean_weight=5.0, weight=0.1)
    expected, boxes = 0.0, 0
    adapted = method.adapter(student["neck"]).detach()
    for frame, own in enumerate(scene.boxes):
        for box in own:
            grid = box_grid(box[None], 3)
            points = [
                sample_map(x[frame], grid, specs[1]["neck"]).reshape(9, -1).numpy()
                for x in (adapted, teacher["neck"])
            ]
            (mu_s, sigma_s), (mu_t, sigma_t) = (
                (p.mean(0), np.sqrt(p.var(0) + 1e-5)) for p in points
            )
            expected += 5 * ((mu_s - mu_t) ** 2).sum() + ((sigma_s - sigma_t) ** 2).sum()
            boxes += 1
    found = method(student, teacher, scene)["wkd"]
    assert found.item() == pytest.approx(0.1 * expected / boxes)


def test_it_is_the_wasserstein_distance_of_two_gaussians(specs, teacher, scene):
    """|mu - mu'|^2 + tr(S + S' - 2 (S S')^(1/2)) of diagonal covariances S, S'."""
    method = wkd([specs[1]] * 2, mean_weight=1.0, weight=1.0)
    method.share_adapters()
    moved = {"neck": 2 * teacher["neck"] + 1}
    total = 0.0
    for taps in zip(*(method._moments(t["neck"], scene) for t in (moved, teacher)), strict=True):
        total += (taps[0] - taps[1]).square().sum()
    assert method(moved, teacher, scene)["wkd"].item() == pytest.approx(total.item() / 5)


def test_equal_features_cost_nothing_and_an_empty_scene_too(specs, teacher, scene, batch):
    method = wkd([specs[1]] * 2)
    method.share_adapters()
    assert method(teacher, teacher, scene)["wkd"] == 0
    assert method({"neck": teacher["neck"] + 1}, teacher, batch)["wkd"] == 0


def test_gradient_equals_finite_differences(specs, student, teacher, scene):
    method = wkd(specs, size=2)
    x = student["neck"][:, :, :, :6].clone().requires_grad_()
    fixed = {"neck": teacher["neck"][:, :, :, :6]}
    assert gradcheck(lambda x: method({"neck": x}, fixed, scene)["wkd"], x)
