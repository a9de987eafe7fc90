"""Aligned overlap against shapely, and anchors near boxes against a loop."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import box as rectangle

from kdbench.ops.bev_iou import aligned_footprints, anchors_near, bev_ious

place, size, yaw = st.floats(-5, 5), st.floats(0.5, 6), st.floats(-7, 7)
some_box = st.tuples(place, place, place, size, size, size, yaw)


def footprint(box):
    """The upright rectangle of a box turned to the nearest multiple of a right angle."""
    x, y, _, length, width, _, angle = box
    if round(angle / (math.pi / 2)) % 2:
        length, width = width, length
    return rectangle(x - length / 2, y - width / 2, x + length / 2, y + width / 2)


def iou(a, b):
    a, b = footprint(a), footprint(b)
    return a.intersection(b).area / a.union(b).area


def tensor(boxes):
    return torch.tensor(boxes, dtype=torch.float64).view(-1, 7)


@given(st.lists(some_box, min_size=1, max_size=4), st.lists(some_box, min_size=1, max_size=3))
def test_equals_shapely(a, b):
    (found,) = bev_ious(tensor(a), [tensor(b)])
    for i, first in enumerate(a):
        for j, second in enumerate(b):
            assert found[i, j].item() == pytest.approx(iou(first, second), abs=1e-9)


def test_a_box_across_the_street_has_its_sides_swapped():
    boxes = tensor([[1, 2, 0, 4, 2, 1, 0.1], [1, 2, 0, 4, 2, 1, math.pi / 2 + 0.1]])
    assert aligned_footprints(boxes).tolist() == [[-1, 1, 3, 3], [0, 0, 2, 4]]


def test_anchors_near_equals_a_loop():
    generator = torch.Generator().manual_seed(0)
    anchors = torch.rand(3, 4, 2, 7, generator=generator, dtype=torch.float64) * 3 + 0.5
    frames = [anchors[:2, 0, 0] + 0.3, tensor([]), tensor([[90, 0, 0, 1, 1, 1, 0]])]
    expected = torch.zeros(3, 3, 4, 2, dtype=torch.bool)
    for f, boxes in enumerate(frames):
        for box in boxes.tolist():
            overlaps = {at: iou(anchors[at].tolist(), box) for at in all_anchors(anchors)}
            for at, overlap in overlaps.items():
                if overlap > 0.5 * max(overlaps.values()):
                    expected[(f, *at)] = True
    found = anchors_near(anchors, frames, 0.5)
    assert torch.equal(found, expected)
    assert 0 < found[0].sum() < 24  # neither none nor all
    assert not found[1].any()  # no boxes
    assert not found[2].any()  # a box off the map


def all_anchors(anchors):
    return [tuple(at) for at in torch.ones(anchors.shape[:3]).nonzero().tolist()]


def test_boxes_of_another_precision_are_taken():
    anchors = torch.ones(1, 1, 1, 7, dtype=torch.float64)
    assert anchors_near(anchors, [torch.ones(1, 7)], 0.9).all()
