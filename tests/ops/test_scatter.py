"""Segment reductions and the map of rows against plain loops."""

import pytest
import torch
from torch.autograd import gradcheck

from kdbench.ops.scatter import rows_to_map, segment_max, segment_mean

COUNTS = torch.tensor([3, 1, 4, 2])
REDUCE = {segment_max: lambda x: x.max(0).values, segment_mean: lambda x: x.mean(0)}
reductions = pytest.mark.parametrize("reduction", REDUCE)


def rows(n, channels, **options):
    return torch.randn(n, channels, generator=torch.Generator().manual_seed(0), **options)


@reductions
def test_each_segment_is_reduced_as_in_a_loop(reduction):
    x = rows(10, 5)
    expected = torch.stack([REDUCE[reduction](part) for part in x.split(COUNTS.tolist())])
    torch.testing.assert_close(reduction(x, COUNTS), expected)


@reductions
def test_negative_rows_are_not_cut_at_zero(reduction):
    assert (reduction(-1 - rows(10, 5).abs(), COUNTS) < 0).all()


@reductions
def test_gradient_equals_finite_differences(reduction):
    x = rows(10, 3, dtype=torch.float64).requires_grad_()
    assert gradcheck(lambda x: reduction(x, COUNTS), x)


@reductions
def test_no_segments_give_no_rows(reduction):
    result = reduction(torch.zeros(0, 5), torch.zeros(0, dtype=torch.long))
    assert result.shape == (0, 5)


def test_equal_maxima_share_one_gradient():
    x = torch.ones(4, 1, requires_grad=True)
    segment_max(x, torch.tensor([4])).sum().backward()
    assert x.grad.sum() == 1


COORDINATES = torch.tensor([[0, 0, 0], [0, 2, 1], [1, 0, 3], [1, 2, 3]])
SHAPE = (3, 3, 4)  # the last frame has no rows


def test_the_map_equals_a_loop():
    x = rows(4, 5)
    expected = torch.zeros(3, 5, 3, 4)
    for row, (frame, y, column) in zip(x, COORDINATES.tolist(), strict=True):
        expected[frame, :, y, column] = row
    assert torch.equal(rows_to_map(x, COORDINATES, SHAPE), expected)


def test_the_map_gives_each_row_the_gradient_of_its_place():
    x = rows(4, 5, dtype=torch.float64).requires_grad_()
    assert gradcheck(lambda x: rows_to_map(x, COORDINATES, SHAPE), x)


def test_the_map_is_channels_last():
    placed = rows_to_map(rows(4, 5), COORDINATES, SHAPE)
    assert placed.is_contiguous(memory_format=torch.channels_last)


def test_no_rows_give_a_zero_map():
    placed = rows_to_map(torch.zeros(0, 5), torch.zeros(0, 3, dtype=torch.long), SHAPE)
    assert torch.equal(placed, torch.zeros(3, 5, 3, 4))
