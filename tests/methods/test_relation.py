"""Inter-voxel affinity against loops over pairs."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from kdbench.methods.relation import VoxelRelation, affinity
from kdbench.taps import Kind, Rows, TapSpec

SPECS = {"voxel": TapSpec(Kind.ROWS, 3)}


def cosine(a, b):
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def loop(student, teacher, drawn):
    """`drawn`: the rows of each frame."""
    s, t = (taps["voxel"].features.tolist() for taps in (student, teacher))
    means = []
    for rows in drawn:
        errors = [(cosine(s[i], s[j]) - cosine(t[i], t[j])) ** 2 for i in rows for j in rows]
        means.append(sum(errors) / len(errors))
    return sum(means) / len(means)


def test_equals_a_loop_over_all_voxels(student, teacher, batch):
    method = VoxelRelation(SPECS, SPECS, n=100, weight=2.0)
    expected = 2 * loop(student, teacher, [range(14), range(14, 24)])
    assert method(student, teacher, batch)["affinity"].item() == pytest.approx(expected)


def test_equals_a_loop_over_drawn_voxels(student, teacher, batch):
    torch.manual_seed(3)
    drawn = [torch.randperm(14)[:5].tolist(), (14 + torch.randperm(10)[:5]).tolist()]
    torch.manual_seed(3)
    found = VoxelRelation(SPECS, SPECS, n=5)(student, teacher, batch)["affinity"].item()
    assert found == pytest.approx(loop(student, teacher, drawn))


def test_equal_rows_cost_nothing_and_scale_does_not_matter(student, batch):
    rows = student["voxel"]
    scaled = {"voxel": Rows(3 * rows.features, rows.coordinates, rows.counts)}
    method = VoxelRelation(SPECS, SPECS, n=100)
    assert method(student, student, batch)["affinity"] == 0
    assert method(student, scaled, batch)["affinity"].item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_voxels_cost_nothing(batch, rows):
    x = torch.ones(rows, 3, requires_grad=True)
    places = torch.zeros(rows, 3, dtype=torch.long)
    taps = {"voxel": Rows(x, places, torch.ones(rows, dtype=torch.long))}
    teacher = {"voxel": Rows(-2 * x.detach(), places, taps["voxel"].counts)}
    loss = VoxelRelation(SPECS, SPECS)(taps, teacher, batch)["affinity"]
    loss.backward()
    assert loss == 0 and x.grad is not None


def test_rows_of_zeros_stay_finite(student, teacher, batch):
    student["voxel"].features[3] = 0
    student["voxel"].features.requires_grad_()
    loss = VoxelRelation(SPECS, SPECS, n=100)(student, teacher, batch)["affinity"]
    loss.backward()
    assert loss.isfinite() and student["voxel"].features.grad.isfinite().all()


def test_gradient_equals_finite_differences(student):
    assert gradcheck(affinity, student["voxel"].features[:4].clone().requires_grad_())
