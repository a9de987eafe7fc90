"""Points of boxes against a loop over points, and the boxes' own frames."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdbench.geometry.boxes import corners, wrap_angle
from kdbench.ops import roi_points as R

coordinate = st.floats(-20, 20)
boxes_of = st.builds(
    lambda centre, size, yaw: torch.tensor([[*centre, *size, yaw]], dtype=torch.float64),
    st.tuples(coordinate, coordinate, coordinate),
    st.tuples(*[st.floats(0.1, 5)] * 3),
    st.floats(-7, 7),
)


@pytest.fixture(params=["host", "device"])
def implementation(request, monkeypatch):
    """What runs on the CPU, and what runs on any other device: both on the CPU."""
    if request.param == "device":
        monkeypatch.setattr(R, "_on_host", lambda x: False)
        monkeypatch.setattr(R, "PAIRS_AT_ONCE", 500)  # several chunks


def scene(points=200, boxes=7, seed=0):
    rng = np.random.default_rng(seed)
    cloud = rng.uniform(-4, 4, (points, 3))
    rois = np.column_stack(
        [rng.uniform(-3, 3, (boxes, 3)), rng.uniform(1, 4, (boxes, 3)), rng.uniform(-4, 4, boxes)]
    )
    return torch.tensor(cloud, dtype=torch.float32), torch.tensor(rois, dtype=torch.float32)


def contains(box, point):
    """By the box's faces: on the inner side of each pair."""
    c = corners(box[None].astype(np.float64))[0]
    axes = c[[1, 3, 4]] - c[0]  # from corner 0 along width, length and height
    along = (axes * (point - c[0])).sum(1) / np.square(axes).sum(1)
    return bool(((along >= 0) & (along <= 1)).all())


def by_loop(points, boxes, count):
    rows, inside = [], []
    for box in boxes.numpy():
        mine = [i for i, p in enumerate(points.numpy()) if contains(box, p)]
        inside.append(len(mine))
        first = mine[:count] or [0]
        rows.append([first[i % len(first)] for i in range(count)])
    return torch.tensor(rows), torch.tensor(inside)


@pytest.mark.parametrize("count", [1, 4, 64])
def test_equals_a_loop_over_points(implementation, count):
    points, boxes = scene()
    index, inside = R.roi_points(points, boxes, count)
    expected, number = by_loop(points, boxes, count)
    assert number.max() > 4 > number.min()
    assert torch.equal(index, expected)
    assert torch.equal(inside, number)


def test_a_box_without_points_says_so(implementation):
    points, boxes = scene()
    index, inside = R.roi_points(points + 100, boxes, 5)
    assert inside.tolist() == [0] * 7
    assert (index == 0).all()


def test_no_boxes_and_no_points(implementation):
    points, boxes = scene()
    assert R.roi_points(points, boxes[:0], 5)[0].shape == (0, 5)
    assert R.roi_points(points[:0], boxes, 5)[1].tolist() == [0] * 7
    assert R.boxes_of_points(points, boxes[:0]).tolist() == [-1] * 200
    assert R.boxes_of_points(points[:0], boxes).shape == (0,)


def test_the_box_of_a_point_is_the_first_around_it(implementation):
    points, boxes = scene()
    expected = [
        next((i for i, box in enumerate(boxes.numpy()) if contains(box, p)), -1)
        for p in points.numpy()
    ]
    assert R.boxes_of_points(points, boxes).tolist() == expected
    assert len(set(expected)) > 4


@given(boxes_of, st.floats(0, 2))
def test_an_enlarged_box_has_its_faces_further_out(box, margin):
    larger = R.enlarge(box, margin)
    assert torch.equal(larger[:, [0, 1, 2, 6]], box[:, [0, 1, 2, 6]])
    torch.testing.assert_close(
        larger[:, 3:6] / 2 - box[:, 3:6] / 2, torch.full((1, 3), margin).to(box)
    )


@given(boxes_of)
def test_the_corners_of_a_box_are_half_its_size_away_in_its_own_frame(box):
    local = R.to_canonical(torch.from_numpy(corners(box.numpy())[0]), box)
    size = box[0, 3:6] / 2
    torch.testing.assert_close(local.abs(), size.expand(8, 3), rtol=0, atol=1e-9)
    assert (local[0, :2] > 0).all()  # corner 0 is front left


@given(boxes_of, boxes_of)
def test_to_a_frame_and_back(other, box):
    local = R.boxes_to_canonical(other, box)
    back = R.from_canonical(local, box)
    torch.testing.assert_close(back[:, :6], other[:, :6])
    assert abs(wrap_angle(float(back[0, 6] - other[0, 6]))) < 1e-9
    assert (back[:, 6].abs() <= math.pi).all()


@given(boxes_of)
def test_a_box_in_its_own_frame_is_at_the_origin(box):
    local = R.boxes_to_canonical(box, box)
    expected = torch.cat([torch.zeros(1, 3).to(box), box[:, 3:6], torch.zeros(1, 1).to(box)], dim=1)
    torch.testing.assert_close(local, expected, atol=1e-9, rtol=0)


def test_a_point_ahead_of_a_box_is_on_its_x_axis():
    box = torch.tensor([1.0, 2, 3, 4, 2, 1, math.pi / 2])
    local = R.to_canonical(torch.tensor([[1.0, 4, 3]]), box)
    torch.testing.assert_close(local, torch.tensor([[2.0, 0, 0]]), atol=1e-6, rtol=0)


def test_points_and_boxes_broadcast():
    points, boxes = scene()
    together = R.to_canonical(points[:, None], boxes)
    for i in range(7):
        torch.testing.assert_close(together[:, i], R.to_canonical(points, boxes[i]))


def test_the_own_frame_has_the_right_gradient():
    points, boxes = scene(points=6, boxes=6)
    arguments = points.double().requires_grad_(), boxes.double().requires_grad_()
    assert torch.autograd.gradcheck(R.to_canonical, arguments)


@pytest.mark.cuda
def test_a_gpu_finds_the_same_points():
    points, boxes = scene()
    there = points.cuda(), boxes.cuda()
    for found, expected in zip(
        R.roi_points(*there, 16), R.roi_points(points, boxes, 16), strict=True
    ):
        assert torch.equal(found.cpu(), expected)
    assert torch.equal(R.boxes_of_points(*there).cpu(), R.boxes_of_points(points, boxes))
