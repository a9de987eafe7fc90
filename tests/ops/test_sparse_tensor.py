"""Rows of cells as dense volumes and maps."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from kdbench.ops.sparse import SparseTensor

SHAPE, FRAMES, CHANNELS = (3, 4, 5), 2, 2

some_cells = st.sets(st.tuples(*(st.integers(0, n - 1) for n in (FRAMES, *SHAPE)))).map(sorted)


def tensor_at(cells):
    features = torch.randn(len(cells), CHANNELS, generator=torch.Generator().manual_seed(0))
    return SparseTensor(features, torch.tensor(cells).long().reshape(-1, 4), SHAPE, FRAMES)


@given(some_cells)
def test_dense_holds_each_row_at_its_cell_and_zero_elsewhere(cells):
    x = tensor_at(cells)
    expected = torch.zeros(FRAMES, CHANNELS, *SHAPE)
    for (frame, z, y, column), row in zip(cells, x.features, strict=True):
        expected[frame, :, z, y, column] = row
    assert torch.equal(x.dense(), expected)


@given(some_cells)
def test_the_map_has_the_channels_of_one_z_after_the_other(cells):
    x = tensor_at(cells)
    bev = x.bev()
    assert bev.shape == (FRAMES, SHAPE[0] * CHANNELS, *SHAPE[1:])
    assert bev.is_contiguous(memory_format=torch.channels_last)
    for z in range(SHAPE[0]):
        assert torch.equal(bev[:, z * CHANNELS : (z + 1) * CHANNELS], x.dense()[:, :, z])


def test_gradients_reach_every_row():
    x = tensor_at([(0, 0, 0, 0), (1, 2, 3, 4)])
    x = x.with_features(x.features.requires_grad_())
    factors = torch.arange(FRAMES * 6 * 20.0).view(FRAMES, 6, 4, 5)
    (x.bev() * factors).sum().backward()
    assert torch.equal(x.features.grad, torch.stack([factors[0, :2, 0, 0], factors[1, 4:, 3, 4]]))


def test_other_features_stand_at_the_same_cells_and_share_what_is_known():
    x = tensor_at([(0, 0, 0, 0), (1, 2, 3, 4)])
    other = x.with_features(torch.ones(2, 7))
    assert other.coordinates is x.coordinates and other.known is x.known
    assert other.dense().sum() == 14
