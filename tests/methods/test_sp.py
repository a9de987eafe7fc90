"""Similarity preservation against loops over pairs."""

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from kdbench.errors import NotApplicable, UsageError
from kdbench.methods.sp import SimilarityPreserving, similarity
from kdbench.taps import Kind, TapSpec


def similarity_loop(rows):
    gram = np.array([[sum(a * b) for b in rows] for a in rows])
    return np.array([row / np.sqrt(sum(row**2)) for row in gram])


def difference_loop(rows_s, rows_t):
    error = similarity_loop(rows_s) - similarity_loop(rows_t)
    return sum(e**2 for e in error.flat) / len(rows_s) ** 2


def positions(frame):
    return frame.flatten(1).T.numpy()


def sp(student, teacher, specs, **options):
    return SimilarityPreserving(specs, specs, **options)(student, teacher, None)["similarity"]


def test_nodes_equal_a_loop_over_all_positions(student, teacher, student_specs):
    name = "backbone.2"  # 2 x 3 positions, all of them drawn, in any order
    expected = np.mean(
        [
            difference_loop(positions(s), positions(t))
            for s, t in zip(student[name], teacher[name], strict=True)
        ]
    )
    found = sp(student, teacher, student_specs, tap=name, n=100, weight=2.0)
    assert found.item() == pytest.approx(2 * expected)


def test_nodes_equal_a_loop_over_voxels_of_each_frame(student, teacher, student_specs):
    frame = student["voxel"].coordinates[:, 0]
    expected = np.mean(
        [
            difference_loop(*(x["voxel"].features[frame == f].numpy() for x in (student, teacher)))
            for f in (0, 1)
        ]
    )
    found = sp(student, teacher, student_specs, tap="voxel", n=100, weight=1.0)
    assert found.item() == pytest.approx(expected)


def test_batch_equals_a_loop_over_frames(student, teacher, student_specs):
    s, t = (taps["neck"].flatten(1).numpy() for taps in (student, teacher))
    found = sp(student, teacher, student_specs, variant="batch")
    assert found.item() == pytest.approx(3000 * difference_loop(s, t))


def test_student_and_teacher_are_seen_at_the_same_places(student, student_specs):
    torch.manual_seed(0)
    assert sp(student, student, student_specs, n=5) == 0


def test_the_seed_decides_which_places(student, teacher, student_specs):
    def drawn(seed):
        torch.manual_seed(seed)
        return sp(student, teacher, student_specs, n=5).item()

    assert drawn(0) == drawn(0) != drawn(1)


@pytest.mark.parametrize("variant", SimilarityPreserving.variants)
def test_scale_and_a_rotation_of_channels_change_nothing(student, teacher, student_specs, variant):
    rotation = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64)).Q
    turned = {"neck": 3 * torch.einsum("dc,bchw->bdhw", rotation, student["neck"])}
    torch.testing.assert_close(
        sp(turned, teacher, student_specs, variant=variant, n=96),
        sp(student, teacher, student_specs, variant=variant, n=96),
    )


def test_gradient_equals_finite_differences(student):
    x = student["backbone.2"][0].flatten(1).T.clone().requires_grad_()
    assert gradcheck(similarity, x)


def test_maps_of_zeros_stay_finite(student_specs, teacher):
    x = torch.zeros(2, 6, 8, 12, dtype=torch.float64, requires_grad=True)
    loss = sp({"neck": x}, teacher, student_specs)
    loss.backward()
    assert loss.isfinite() and x.grad.isfinite().all()


def test_a_cloud_without_rows_costs_nothing(student, student_specs):
    rows = student["voxel"][:0]
    rows.features.requires_grad_()
    loss = sp({"voxel": rows}, {"voxel": rows}, student_specs, tap="voxel")
    loss.backward()
    assert loss == 0


def test_a_batch_of_voxels_cannot_be_compared(student_specs):
    with pytest.raises(UsageError, match="tap"):
        SimilarityPreserving(student_specs, student_specs, variant="batch", tap="voxel")


def test_points_have_similarities_between_nodes_and_not_between_frames(student, teacher, batch):
    specs = [{"points": TapSpec(Kind.POINTS, c)} for c in (3, 5)]
    points = [{"points": taps["voxel"]} for taps in (student, teacher)]
    found = SimilarityPreserving(*specs)(*points, batch)["similarity"]
    voxels = [{"voxel": TapSpec(Kind.ROWS, c)} for c in (3, 5)]
    expected = SimilarityPreserving(*voxels, tap="voxel")(student, teacher, batch)["similarity"]
    assert found == pytest.approx(expected.item())
    with pytest.raises(NotApplicable, match="needs maps"):
        SimilarityPreserving(*specs, variant="batch")
