"""Places of a box tap near objects: with anchors by the anchors, without them against shapely."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from shapely.affinity import rotate, translate
from shapely.geometry import box as rectangle

from kdbench.ops.anchors import (
    anchor_boxes,
    has_anchors,
    moved_iou,
    near_objects,
    on_objects,
    positive_anchors,
)
from kdbench.ops.bev_iou import anchors_near
from kdbench.taps import Kind, TapSpec

HEIGHT, WIDTH, CELL, CORNER = 6, 8, 0.8, (1.0, -2.0)
ANCHORS = torch.rand(HEIGHT, WIDTH, 2, 7, generator=torch.Generator().manual_seed(0)) * 4 + 0.5
WITH = TapSpec(Kind.BOX, 7, CELL, CORNER, decode=lambda codes: codes + ANCHORS)
WITHOUT = TapSpec(Kind.BOX, 8, CELL, CORNER)
BOXES = [
    torch.tensor([[3.1, 0.2, 0, 4, 1.6, 1.5, 0.4], [6.2, -1.1, 0, 0.8, 0.6, 1.7, 2.0]]),
    torch.zeros(0, 7),
    torch.tensor([[90.0, 90, 0, 4, 2, 1, 0]]),  # off the map
]


def centre(row, column):
    return CORNER[0] + (column + 0.5) * CELL, CORNER[1] + (row + 0.5) * CELL


def shape_iou(box, row, column):
    x, y, _, length, width, _, yaw = box
    flat = rectangle(-length / 2, -width / 2, length / 2, width / 2)
    turned = rotate(flat, yaw, origin=(0, 0), use_radians=True)
    here, there = translate(turned, x, y), translate(turned, *centre(row, column))
    return here.intersection(there).area / here.union(there).area


place, size = st.floats(0, 8), st.floats(0.3, 6)


@given(place, place, size, size, st.floats(-7, 7))
def test_moved_iou_equals_shapely(x, y, length, width, yaw):
    box = [x, y - 2, 0, length, width, 1, yaw]
    found = moved_iou(torch.tensor([box], dtype=torch.float64), WITHOUT, HEIGHT, WIDTH)
    assert found.shape == (HEIGHT, WIDTH, 1)
    for row, column in ((0, 0), (2, 3), (HEIGHT - 1, WIDTH - 1), nearest(box)):
        expected = shape_iou(box, row, column)
        assert found[row, column, 0].item() == pytest.approx(expected, abs=1e-6)


def nearest(box):
    """The cell with its centre next to a box's."""
    column = min(max(int((box[0] - CORNER[0]) / CELL), 0), WIDTH - 1)
    return min(max(int((box[1] - CORNER[1]) / CELL), 0), HEIGHT - 1), column


def test_a_head_has_anchors_when_its_codes_are_offsets():
    assert has_anchors(WITH) and not has_anchors(WITHOUT)


@pytest.mark.parametrize("value", [0.3, 0.7])
def test_with_anchors_they_decide(value):
    codes = torch.full((3, HEIGHT, WIDTH, 2, 7), 5.0)  # predictions, which must not matter
    anchors = anchor_boxes(codes, WITH)
    assert torch.equal(anchors, ANCHORS)
    near, on = (rule(codes, WITH, BOXES, value) for rule in (near_objects, on_objects))
    assert torch.equal(near, anchors_near(ANCHORS, BOXES, value))
    assert torch.equal(on, positive_anchors(ANCHORS, BOXES, value))
    assert near[0].any() and on[0].any()


def without_anchors(rule, value):
    return rule(torch.full((3, HEIGHT, WIDTH, 1, 8), 5.0), WITHOUT, BOXES, value)


@pytest.mark.parametrize("fraction", [0.25, 0.5, 0.9])
def test_without_anchors_near_are_cells_where_the_box_may_stand(fraction):
    found = without_anchors(near_objects, fraction)
    expected = torch.zeros(3, HEIGHT, WIDTH, 1, dtype=torch.bool)
    for box in BOXES[0].tolist():
        ious = {at: shape_iou(box, *at) for at in cells()}
        for at, iou in ious.items():
            if iou > fraction * max(ious.values()):
                expected[0, *at] = True
    assert torch.equal(found, expected)


@pytest.mark.parametrize("least", [0.1, 0.5, 0.9])
def test_without_anchors_a_box_stands_on_its_best_cell_and_those_that_reach_the_iou(least):
    found = without_anchors(on_objects, least)
    expected = torch.zeros(3, HEIGHT, WIDTH, 1, dtype=torch.bool)
    for box in BOXES[0].tolist():
        ious = {at: shape_iou(box, *at) for at in cells()}
        for at, iou in ious.items():
            if iou >= least or iou == max(ious.values()):
                expected[0, *at] = True
    assert torch.equal(found, expected)


def cells():
    return [(row, column) for row in range(HEIGHT) for column in range(WIDTH)]


def test_a_box_at_the_centre_of_a_cell_is_itself_there():
    x, y = centre(2, 3)
    box = torch.tensor([[x, y, 0, 2.0, 1.0, 1, math.pi / 3]])
    iou = moved_iou(box, WITHOUT, HEIGHT, WIDTH)[..., 0]
    assert iou[2, 3].item() == pytest.approx(1) and iou.max() == iou[2, 3]
