"""Corners of boxes and the distance between them."""

import math

import pytest
import torch

from kdbench.detectors.layers.corner_loss import box_corners, corner_loss
from kdbench.geometry.boxes import corners


def boxes(count=5):
    generator = torch.Generator().manual_seed(0)
    x = 6 * torch.rand(count, 7, generator=generator, dtype=torch.float64) - 3
    x[:, 3:6] = x[:, 3:6].abs() + 0.5
    return x


def test_corners_are_those_of_the_geometry():
    found = [sorted(map(tuple, c)) for c in box_corners(boxes()).numpy().round(9).tolist()]
    expected = [sorted(map(tuple, c)) for c in corners(boxes().numpy()).round(9).tolist()]
    assert found == expected


def test_a_box_moved_by_a_little_costs_half_the_square_and_by_much_the_distance():
    moved = boxes()
    moved[:, 0] += 0.4
    torch.testing.assert_close(corner_loss(moved, boxes()), torch.full((5,), 0.08).double())
    small = boxes()
    small[:, 3:6] = 0.1  # a turned box is no nearer
    far = small.clone()
    far[:, 0] += 3
    loss = corner_loss(far, small)
    torch.testing.assert_close(loss, torch.full((5,), 2.5).double(), rtol=0.02, atol=0)


def test_a_box_turned_round_costs_nothing():
    turned = boxes()
    turned[:, 6] += math.pi
    assert corner_loss(turned, boxes()).max() < 1e-9


def test_gradients_are_finite_where_boxes_agree():
    same = boxes().requires_grad_()
    corner_loss(same, boxes()).sum().backward()
    assert same.grad.isfinite().all()


@pytest.mark.parametrize("count", [1, 3])
def test_gradients_equal_finite_differences(count):
    moved = (boxes(count) + 0.05).requires_grad_()
    assert torch.autograd.gradcheck(lambda b: corner_loss(b, boxes(count)), (moved,))
