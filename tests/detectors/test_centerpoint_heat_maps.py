"""Heat maps and their loss, against the published radius function and plain loops."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from kdbench.detectors.layers.heat_maps import gaussian_radius, heat_map_focal, heat_maps

size = st.floats(0.5, 60)


def published_radius(length, width, overlap):
    """CornerNet's three cases, each (b + sqrt(b^2 - 4ac)) / 2 as its code has it."""
    total, area = length + width, length * width
    cases = [
        (1, total, area * (1 - overlap) / (1 + overlap)),
        (4, 2 * total, (1 - overlap) * area),
        (4 * overlap, -2 * overlap * total, (overlap - 1) * area),
    ]
    return min((b + math.sqrt(b * b - 4 * a * c)) / 2 for a, b, c in cases)


@given(size, size, st.floats(0.05, 0.95))
def test_the_radius_is_the_published_one(length, width, overlap):
    expected = published_radius(length, width, overlap)
    assume(abs(expected - round(expected)) > 1e-6)  # rounding decides what the floor is
    sizes = torch.tensor([[length, width]], dtype=torch.float64)
    assert gaussian_radius(sizes, overlap).tolist() == [max(2, int(expected))]


def test_radii_of_usual_objects_on_the_published_map():
    car, pedestrian, truck = sizes = torch.tensor([[3.9, 1.6], [0.8, 0.6], [12.0, 2.6]]) / 0.32
    assert gaussian_radius(sizes).tolist() == [3, 2, 6]
    assert gaussian_radius(sizes[:0]).shape == (0,)


CELLS, RADII, MAPS = [(2, 3), (2, 5), (0, 11), (6, 0), (2, 3)], [2, 3, 2, 4, 2], [0, 0, 1, 3, 3]


def heat_loop(shape):
    heat = np.zeros(shape)
    for (row, column), radius, which in zip(CELLS, RADII, MAPS, strict=True):
        sigma = (2 * radius + 1) / 6
        for y, x in np.ndindex(shape[1:]):
            dy, dx = y - row, x - column
            if max(abs(dy), abs(dx)) <= radius:
                value = math.exp(-(dx * dx + dy * dy) / (2 * sigma**2))
                heat[which, y, x] = max(heat[which, y, x], value)
    return torch.from_numpy(heat).float()


def test_heat_equals_a_loop():
    shape = (4, 7, 12)
    found = heat_maps(*map(torch.tensor, (CELLS, RADII, MAPS)), shape)
    torch.testing.assert_close(found, heat_loop(shape))
    assert (found == 1).sum() == len(CELLS)  # at the centres and nowhere else
    assert not found[2].any()


def test_without_objects_there_is_no_heat():
    none = torch.zeros(0, dtype=torch.long)
    assert torch.equal(heat_maps(none.view(0, 2), none, none, (2, 3, 4)), torch.zeros(2, 3, 4))


@pytest.mark.parametrize("z, heat", [(-2.0, 1.0), (0.7, 1.0), (-1.0, 0.0), (2.0, 0.6), (0.0, 0.99)])
def test_focal_loss_equals_the_formula(z, heat):
    p = 1 / (1 + math.exp(-z))
    centre, elsewhere = (1 - p) ** 2 * math.log(p), (1 - heat) ** 4 * p**2 * math.log(1 - p)
    expected = -(centre if heat == 1 else elsewhere)
    found = heat_map_focal(torch.tensor(z), torch.tensor(heat))
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_focal_loss_has_the_gradient_of_finite_differences():
    z = torch.linspace(-3, 3, 7, dtype=torch.float64).requires_grad_()
    heat = torch.tensor([0, 1, 0.5, 1, 0.9, 0, 1.0])
    assert gradcheck(lambda z: heat_map_focal(z, heat), z)


def test_focal_loss_of_extreme_logits_is_finite():
    z = torch.tensor([-200.0, 200.0, -200.0, 200.0], requires_grad=True)
    loss = heat_map_focal(z, torch.tensor([0.0, 0, 1, 1]))
    assert loss.tolist() == [0, 200, 200, 0]
    loss.sum().backward()
    assert z.grad.isfinite().all()
