"""Rotated IoU: closed forms, shapely as the oracle, invariances, torch equal to numba."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import affinity
from shapely.geometry import box as rectangle

from kdbench.geometry import rotated_iou_torch
from kdbench.geometry.rotated_iou import (
    bev_intersection,
    bev_iou,
    iou_3d,
    paired_bev_intersection,
)

position, size, angle = st.floats(-8, 8), st.floats(0.01, 10), st.floats(-7, 7)
boxes_of = st.lists(
    st.tuples(position, position, size, size, angle), min_size=1, max_size=5
).map(np.array)  # fmt: skip
QUARTERS = [k * np.pi / 2 for k in range(-4, 5)]


def polygon(box):
    x, y, dx, dy, yaw = box
    flat = rectangle(-dx / 2, -dy / 2, dx / 2, dy / 2)
    return affinity.translate(affinity.rotate(flat, yaw, (0, 0), use_radians=True), x, y)


def shapely_iou(a, b):
    p, q = [polygon(x) for x in a], [polygon(x) for x in b]
    shared = np.array([[x.intersection(y).area for y in q] for x in p])
    areas = a[:, 2] * a[:, 3], b[:, 2] * b[:, 3]
    return shared / (areas[0][:, None] + areas[1] - shared)


def test_half_covered():
    assert bev_intersection([[0, 0, 4, 2, 0]], [[2, 0, 4, 2, 0]]) == 4.0
    assert bev_iou([[0, 0, 4, 2, 0]], [[2, 0, 4, 2, 0]]) == pytest.approx(4 / 12)


def test_square_on_its_corner_in_a_square():
    # The octagon that a square of side 2 shares with itself turned by 45 degrees.
    shared = bev_intersection([[0, 0, 2, 2, 0]], [[0, 0, 2, 2, np.pi / 4]])[0, 0]
    assert shared == pytest.approx(8 * (np.sqrt(2) - 1), abs=1e-12)


def test_cross():
    along, across = [[1, 1, 6, 2, 0.3]], [[1, 1, 6, 2, 0.3 + np.pi / 2]]
    assert bev_intersection(along, across)[0, 0] == pytest.approx(4, abs=1e-12)


@pytest.mark.parametrize("turn", QUARTERS)
def test_quarter_turns(turn):
    # The larger box around the smaller one, sides along sides.
    inner, outer = [[3, -2, 2, 1, turn]], [[3, -2, 4, 4, 0]]
    assert bev_intersection(inner, outer)[0, 0] == pytest.approx(2, abs=1e-12)
    square = [[3, -2, 4, 4, turn]]
    assert bev_iou(square, outer)[0, 0] == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("yaw", [0, 0.3, 1.2, -2, 5 * np.pi / 2])
def test_identical_boxes_are_exactly_one(yaw):
    boxes = np.array([[3.7, -1.1, 4.2, 1.6, yaw], [1e6, 3, 1e-3, 2e-3, yaw], [0, 0, 3e5, 7, yaw]])
    assert (np.diag(bev_iou(boxes, boxes)) == 1).all()


@pytest.mark.parametrize("yaw", [0, 0.3, 1.2, np.pi / 2])
def test_touching_is_zero(yaw):
    cos, sin = np.cos(yaw), np.sin(yaw)
    side_by_side = [[4 * cos, 4 * sin, 4, 2, yaw], [-2 * sin, 2 * cos, 4, 2, yaw]]
    corner = [[4 * cos - 2 * sin, 4 * sin + 2 * cos, 4, 2, yaw]]
    iou = bev_iou([[0, 0, 4, 2, yaw]], side_by_side + corner)
    np.testing.assert_allclose(iou, 0, atol=1e-12)


def test_shared_edge_and_nested():
    iou = bev_iou([[0, 0, 4, 2, 0.7]], [[0, 0, 2, 2, 0.7], [0, 0, 1, 1, 0.1], [0, 0, 4, 1, 0.7]])
    np.testing.assert_allclose(iou[0], [0.5, 1 / 8, 0.5], atol=1e-12)


def test_no_area_has_no_overlap():
    flat = [[0, 0, 0, 2, 0], [0, 0, 2, 0, 0.4], [0, 0, -1, -1, 0], [0, 0, 0, 0, 0]]
    assert (bev_iou(flat, flat + [[0, 0, 4, 4, 0]]) == 0).all()
    box = torch.tensor(flat + [[0, 0, 4, 4, 0]])
    assert (rotated_iou_torch.bev_iou(box, box) == torch.diag(torch.tensor([0, 0, 0, 0, 1]))).all()


def test_tiny_in_huge():
    tiny, huge = [[0, 0, 1e-4, 1e-4, 0.4]], [[0, 0, 1e5, 1e5, 1.1]]
    assert bev_intersection(tiny, huge)[0, 0] == pytest.approx(1e-8, rel=1e-12)
    assert bev_intersection(huge, tiny)[0, 0] == pytest.approx(1e-8, rel=1e-12)


def test_nothing_with_nothing():
    none, one = np.zeros((0, 5)), np.ones((1, 5))
    assert bev_iou(none, none).shape == (0, 0)
    assert bev_iou(none, one).shape == (0, 1)
    assert bev_iou(one, none).shape == (1, 0)
    assert rotated_iou_torch.bev_iou(torch.zeros(0, 5), torch.ones(1, 5)).shape == (0, 1)


@given(boxes_of, boxes_of)
@settings(max_examples=60, deadline=None)
def test_agrees_with_shapely(a, b):
    np.testing.assert_allclose(bev_iou(a, b), shapely_iou(a, b), atol=1e-9)


@given(boxes_of, boxes_of)
@settings(max_examples=60, deadline=None)
def test_torch_agrees_and_pairs_agree(a, b):
    iou = bev_iou(a, b)
    in_torch = rotated_iou_torch.bev_iou(torch.from_numpy(a), torch.from_numpy(b))
    np.testing.assert_allclose(in_torch.numpy(), iou, atol=1e-12)
    i, j = np.indices(iou.shape).reshape(2, -1)
    pairs = paired_bev_intersection(a, b, i, j)
    np.testing.assert_array_equal(pairs, bev_intersection(a, b).ravel())


@given(boxes_of, boxes_of)
@settings(max_examples=60, deadline=None)
def test_symmetric_and_bounded(a, b):
    iou = bev_iou(a, b)
    assert ((iou >= 0) & (iou <= 1)).all()
    np.testing.assert_allclose(bev_iou(b, a).T, iou, atol=1e-12)
    np.testing.assert_array_equal(np.diag(bev_iou(a, a)), 1)


@given(boxes_of, boxes_of, position, position, angle)
@settings(max_examples=60, deadline=None)
def test_rigid_motion_changes_nothing(a, b, x, y, turn):
    def move(boxes):
        cos, sin = np.cos(turn), np.sin(turn)
        centre = boxes[:, :2] @ np.array([[cos, sin], [-sin, cos]]) + (x, y)
        return np.column_stack([centre, boxes[:, 2:4], boxes[:, 4] + turn])

    np.testing.assert_allclose(bev_iou(move(a), move(b)), bev_iou(a, b), atol=1e-9)


@given(boxes_of)
@settings(max_examples=30, deadline=None)
def test_half_a_turn_and_swapped_sides_are_the_same_box(a):
    turned = a + [0, 0, 0, 0, np.pi]
    swapped = a[:, [0, 1, 3, 2, 4]] + [0, 0, 0, 0, np.pi / 2]
    np.testing.assert_allclose(np.diag(bev_iou(a, turned)), 1, atol=1e-9)
    np.testing.assert_allclose(np.diag(bev_iou(a, swapped)), 1, atol=1e-9)


def test_3d_is_bev_times_height():
    a = [[0, 0, 0, 4, 2, 2, 0.3]]
    same_place = [[0, 0, 1, 4, 2, 2, 0.3], [0, 0, 2, 4, 2, 2, 0.3], [0, 0, 0, 4, 2, 1, 0.3]]
    np.testing.assert_allclose(iou_3d(a, same_place)[0], [1 / 3, 0, 1 / 2], atol=1e-12)
    assert iou_3d(a, a)[0, 0] == 1


@given(boxes_of, st.floats(-2, 2), st.floats(0.1, 3))
@settings(max_examples=30, deadline=None)
def test_3d_bounds_and_self(a, z, dz):
    boxes = np.insert(np.insert(a, 2, z, axis=1), 5, dz, axis=1)
    iou = iou_3d(boxes, boxes)
    assert ((iou >= 0) & (iou <= 1 + 1e-12)).all()
    np.testing.assert_allclose(np.diag(iou), 1, atol=1e-12)
    np.testing.assert_allclose(iou, bev_iou(a, a), atol=1e-9)  # all of one height
