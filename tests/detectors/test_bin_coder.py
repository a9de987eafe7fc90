"""Coders of boxes near a point: what the loss asks for is what decoding gives back."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdbench.detectors.layers.bin_coder import BinCoder
from kdbench.detectors.layers.residual_coder import ResidualCoder
from kdbench.geometry.boxes import wrap_angle

CODERS = {
    "bins, full turn": BinCoder(3.0, 0.5, 12),
    "bins, half turn": BinCoder(1.5, 0.5, 9, turn=math.pi / 2),
    "residuals, full turn": ResidualCoder(),
    "residuals, half turn": ResidualCoder(full_turn=False),
}
SIZES = torch.tensor([[3.9, 1.6, 1.56], [0.8, 0.6, 1.73]])
coders = pytest.mark.parametrize("coder", CODERS.values(), ids=CODERS)


def boxes(n=12, reach=1.4, turn=math.pi / 4, seed=0):
    draw = torch.Generator().manual_seed(seed)
    noise = 2 * torch.rand(n, 7, generator=draw) - 1
    size = SIZES[torch.arange(n) % 2]
    spread = [reach * noise[:, :3], size * (1 + 0.3 * noise[:, 3:6]), turn * noise[:, 6:]]
    return torch.cat(spread, dim=1), size


def learned(coder, boxes, sizes):
    """Codes that minimise the loss, found by descent from zero."""
    codes = torch.zeros(len(boxes), coder.channels, requires_grad=True)
    optimizer = torch.optim.Adam([codes], lr=0.1)
    for step in range(200):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / 200)
        optimizer.zero_grad()
        coder.loss(codes, boxes, sizes).sum().backward()
        optimizer.step()
    return codes.detach()


@coders
def test_codes_of_least_loss_decode_to_the_boxes(coder):
    truth, sizes = boxes(turn=math.pi if coder.full_turn else 0.7)
    found = coder.decode(learned(coder, truth, sizes), sizes)
    torch.testing.assert_close(found[:, :6], truth[:, :6], atol=0.02, rtol=0.02)
    assert wrap_angle(found[:, 6] - truth[:, 6]).abs().max() < 0.03


@pytest.mark.parametrize("name", [n for n in CODERS if "half" in n])
def test_where_half_a_turn_does_not_count_the_nearer_heading_is_meant(name):
    coder = CODERS[name]
    truth, sizes = boxes(turn=0.7)
    turned = truth + torch.tensor([0, 0, 0, 0, 0, 0, math.pi])
    codes = torch.randn(12, coder.channels, generator=torch.Generator().manual_seed(1))
    loss = coder.loss(codes, truth, sizes)
    torch.testing.assert_close(coder.loss(codes, turned, sizes), loss, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", [n for n in CODERS if "full" in n])
def test_a_heading_and_its_opposite_are_apart(name):
    coder = CODERS[name]
    truth, sizes = boxes()
    turned = truth + torch.tensor([0, 0, 0, 0, 0, 0, math.pi])
    codes = learned(coder, truth, sizes)
    assert (coder.loss(codes, turned, sizes) > 1 + coder.loss(codes, truth, sizes)).all()


@coders
def test_zero_residuals_mean_the_size_of_the_class(coder):
    sizes = SIZES.repeat(3, 1)
    found = coder.decode(torch.zeros(6, coder.channels), sizes)
    torch.testing.assert_close(found[:, 3:6], sizes)


@coders
def test_wild_codes_decode_to_boxes_all_the_same(coder):
    codes = 50 * torch.randn(200, coder.channels, generator=torch.Generator().manual_seed(0))
    found = coder.decode(codes, SIZES[:1].expand(200, 3))
    assert found.isfinite().all()
    assert (found[:, 3:6] >= 0).all()
    assert ((found[:, 6] >= -math.pi) & (found[:, 6] <= math.pi)).all()


@coders
def test_no_boxes_have_no_loss(coder):
    empty = torch.zeros(0, 7)
    assert coder.loss(torch.zeros(0, coder.channels), empty, empty[:, :3]).shape == (0,)
    assert coder.decode(torch.zeros(0, coder.channels), empty[:, :3]).shape == (0, 7)


@coders
def test_the_loss_has_the_right_gradient(coder):
    truth, sizes = (x.double() for x in boxes(n=3))
    draw = torch.Generator().manual_seed(0)
    codes = torch.randn(3, coder.channels, generator=draw, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda c: coder.loss(c, truth, sizes), codes)


def test_published_numbers_of_channels():
    assert [coder.channels for coder in CODERS.values()] == [76, 46, 8, 7]


def test_the_loss_of_bins_is_the_papers():
    """Cross-entropy of the right bins, smooth L1 of their residuals; equations 2 and 3."""
    coder = CODERS["bins, full turn"]
    box = torch.tensor([[0.6, -1.3, 0.2, 4.0, 1.6, 1.5, math.pi / 2 + 0.1]])
    codes = torch.randn(1, 76, generator=torch.Generator().manual_seed(0))
    x, y, yaw, dx, dy, dyaw, z, size = codes[0].split([12, 12, 12, 12, 12, 12, 1, 3])
    step = math.pi / 6
    # x: -3 + 7 * 0.5 = 0.5 is the edge of bin 7; y: -1.5 of bin 3; heading: bin 3 is centred on
    # pi / 2. Residuals are counted from the middle, in bins (heading: in half bins).
    expected = -sum(torch.log_softmax(logits, 0)[i] for logits, i in ((x, 7), (y, 3), (yaw, 3)))
    right = [(0.6 - 0.75) / 0.5, (-1.3 + 1.25) / 0.5, 0.1 / (step / 2), 0.2]
    right += [4.0 / 3.9 - 1, 1.6 / 1.6 - 1, 1.5 / 1.56 - 1]
    given_ = torch.stack([dx[7], dy[3], dyaw[3], z[0], *size])
    expected += torch.nn.functional.smooth_l1_loss(given_, torch.tensor(right), reduction="sum")
    torch.testing.assert_close(coder.loss(codes, box, SIZES[:1])[0], expected)


@given(st.floats(-20, 20), st.floats(-20, 20))
def test_centres_out_of_reach_take_the_outermost_bins(x, y):
    part = CODERS["bins, full turn"].parts[0]
    value = torch.tensor([x, y])
    index, residual = part.encode(value)
    assert ((index >= 0) & (index < 12)).all()
    assert (residual.abs() <= 0.5 + 1e-5).all()
    nearest = value.clamp(-3, 3)
    torch.testing.assert_close(-3 + (index + 0.5 + residual) * 0.5, nearest, atol=1e-5, rtol=0)
